// What members of the TCP protocol read and what they may say; see text_member.h.
#include <rill/protocols/chat/text_member.h>

#include <utility>

#include <rill/protocols/chat/shard.h>
#include <rill/protocols/chat/text.h>

namespace rill::chat {
namespace {

std::string counted(std::size_t count, std::string_view what) {
  std::string text = std::to_string(count) + ' ';
  text += what;
  if (count != 1) text += 's';
  return text;
}

}  // namespace

std::string text_member::note_form(std::string_view text) const {
  std::string form = "-- ";
  form += text;
  if (form_ != member_form::raw) form += '\n';
  return form;
}

void text_member::note(std::string_view text) { send(note_form(text)); }

std::string text_member::missed_note(std::uint32_t count) const {
  return note_form("you missed " + counted(count, "message"));
}

// --- what the hub tells ---

void text_member::ask_for_name(std::string_view name) {
  claim_ = claim_state::asked;
  home()->claim(*this, name);
}

void text_member::name_answered(const shared_text& name, bool granted) {
  if (claim_ == claim_state::asked) {
    claim_ = granted ? claim_state::granted : claim_state::refused;
    claim_changed();
  } else if (granted) {
    note("you are now called " + *name);
  } else {
    note(*name + " is taken");
  }
}

void text_member::room_answered(const shared_text& room, bool granted,
                                const std::vector<shared_event>& history) {
  if (!granted) {
    note("there are too many rooms: you are in none; /join another");
    return;
  }
  if (form_ == member_form::raw || history.empty()) return;
  // One entry for all of it, so that the queue takes it whole.
  std::string lines;
  for (const std::string& each : newest_forms(history, line_form)) lines += each;
  if (!lines.empty()) send(std::move(lines));
  static_cast<void>(room);
}

void text_member::happened(const shared_text&, outgoing_event& what) {
  send(form_ == member_form::raw ? what.form(member_form::raw, raw_form)
                                 : what.form(member_form::line, line_form));
}

void text_member::who_answered(const who_answer& answer) {
  std::string text = "in " + *answer.room + ": ";
  for (std::size_t i = 0; i != answer.names.size(); ++i) {
    if (i != 0) text += ", ";
    text += *answer.names[i];
  }
  if (answer.count > answer.names.size()) {
    text += " and " + std::to_string(answer.count - answer.names.size()) + " more";
  }
  note(text);
}

void text_member::rooms_answered(std::vector<room_count> rooms) {
  std::string lines;
  for (const room_count& each : rooms) {
    lines += note_form(*each.room + " (" + std::to_string(each.count) + ")");
  }
  if (!lines.empty()) send(std::move(lines));
}

void text_member::whispered(const std::string& sender, const std::string& text) {
  note(sender + " to you: " + text);
}

void text_member::whisper_answered(const std::string& to, const std::string& text, bool delivered) {
  note(delivered ? "you to " + to + ": " + text : "there is no " + to);
}

// --- what it sends ---

void text_member::take(std::string_view& input, std::int64_t now, const line_limits& lines,
                       const pace_limits& limits) {
  while (!input.empty() && !done_ && pace_.next(limits) <= now) {
    if (form_ == member_form::raw) {
      const std::string_view chunk = input.substr(0, chunk_size_max);
      input.remove_prefix(chunk.size());
      home()->speak(*this, event_kind::said, true, std::string(chunk));
      pace_.spend(now, limits);
    } else if (const std::optional<line> next = reader_.next(input, lines)) {
      pace_.spend(now, limits, take_line(*next));
    }
  }
}

unsigned text_member::take_line(const line& of) {
  switch (of.kind) {
    case line_kind::text: {
      const command said = parse_command(of.text);
      carry_out(said);
      if (said.what == verb::nothing) return 0;  // a buffer of nothing but newlines takes no time
      return said.what == verb::who || said.what == verb::rooms ? pace::list_cost : 1;
    }
    case line_kind::not_utf8:
      note("that was not UTF-8, and nobody has seen it");
      break;
    case line_kind::too_long:
      note("that line is too long, and nobody has seen it");
      break;
    case line_kind::endless:
      note("that line has no end");
      done_ = true;
      break;
  }
  return 1;
}

void text_member::carry_out(const command& of) {
  switch (of.what) {
    case verb::nothing:
      break;
    case verb::say:
      say(event_kind::said, of.text);
      break;
    case verb::me:
      say(event_kind::done, of.text);
      break;
    case verb::nick:
      if (const name_fault fault = check_name(of.name); fault != name_fault::none) {
        note(describe(fault));
      } else {
        home()->claim(*this, of.name);
      }
      break;
    case verb::who:
      home()->ask_who(*this);
      break;
    case verb::join:
      enter(of.name);
      break;
    case verb::leave:
      enter(home()->options().lobby);
      break;
    case verb::rooms:
      home()->ask_rooms(*this);
      break;
    case verb::msg: {
      std::string text;
      append_harmless(text, of.text);
      if (check_name(of.name) == name_fault::none) {
        home()->whisper(*this, of.name, std::move(text));
      } else {
        note("that is no name");
      }
      break;
    }
    case verb::help:
      send(std::string(help_text()));
      break;
    case verb::quit:
      done_ = true;
      break;
    case verb::incomplete:
      note("/" + std::string(of.name) + " needs more; see /help");
      break;
    case verb::unknown:
      note("there is no such command; see /help");
      break;
  }
}

void text_member::say(event_kind kind, std::string_view text) {
  std::string harmless;
  append_harmless(harmless, text);
  if (harmless.size() > shard::said_size_max) {
    note("that line is too long, and nobody has seen it");
  } else if (!home()->speak(*this, kind, false, std::move(harmless))) {
    note("you are in no room; /join one");
  }
}

void text_member::enter(std::string_view name) {
  if (const name_fault fault = check_name(name); fault != name_fault::none) {
    note(describe(fault));
  } else if (room() != nullptr && **room() == name) {
    note("you are in " + std::string(name));
  } else {
    home()->join(*this, name);
  }
}

}  // namespace rill::chat
