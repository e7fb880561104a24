// JSON messages of browsers; see browser.h.
#include <rill/protocols/chat/browser.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <rill/protocols/chat/pace.h>
#include <rill/protocols/chat/shard.h>
#include <rill/protocols/chat/text.h>
#include <rill/runtime/event.h>
#include <rill/runtime/loop.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/timeout.h>

namespace rill::chat {
namespace {

using nlohmann::json;

constexpr std::size_t text_size_max = 4096;  // bytes of what one message says

std::string written(const json& of) {
  return of.dump(-1, ' ', false, json::error_handler_t::replace);
}

/// What a browser shows keeps its lines, and nothing else that is no text.
std::string harmless_lines(std::string_view text) {
  std::string made;
  for (bool is_first = true; !text.empty() || is_first; is_first = false) {
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!is_first) made += '\n';
    append_harmless(made, line);
  }
  return made;
}

json to_json(const event& of) {
  json made{{"id", of.id}, {"time", of.time}, {"name", *of.who}};
  switch (of.kind) {
    case event_kind::said:
    case event_kind::done:
      made["type"] = "message";
      made["kind"] = of.kind == event_kind::said ? "said" : "done";
      made["text"] = of.is_raw ? harmless_lines(of.text) : of.text;
      break;
    case event_kind::joined:
      made["type"] = "joined";
      break;
    case event_kind::left:
      made["type"] = "left";
      break;
    case event_kind::renamed:
      made["type"] = "renamed";
      made["to"] = of.text;
      break;
  }
  return made;
}

std::string browser_form(const event& of) { return written(to_json(of)); }

std::string text_of(const json& from, const char* key) {
  const auto found = from.find(key);
  return found != from.end() && found->is_string() ? found->get<std::string>() : std::string();
}

class browser_member final : public member {
 public:
  explicit browser_member(branch& here) : branch_(&here), first_room_(here.part.options().lobby) {
    here.part.attach(*this);
  }
  ~browser_member() { branch_->part.detach(*this); }

  // --- what the hub tells ---
  void name_answered(const shared_text& name, bool granted) override {
    if (!granted) return fail("name", *name + " is taken");
    tell({{"type", "name"}, {"name", *name}});
    if (room() == nullptr) enter(first_room_, seen_id_);
  }
  void room_answered(const shared_text& room, bool granted,
                     const std::vector<shared_event>& history) override {
    if (!granted) return fail("room", "there are too many rooms");
    std::string text = "{\"type\":\"room\",\"room\":" + written(*room) + ",\"history\":[";
    bool is_first = true;
    for (const std::string& each : newest_forms(history, browser_form)) {
      if (!std::exchange(is_first, false)) text += ',';
      text += each;
    }
    send(text + "]}");
    home()->ask_who(*this);
  }
  void happened(const shared_text&, outgoing_event& what) override {
    send(what.form(member_form::browser, browser_form));
  }
  void someone_types(outgoing_typing& what) override {
    if (queue().size() != 0) return;  // it is stale by then, and would push out what was said
    send(what.form(
        [](const std::string& name) { return written({{"type", "typing"}, {"name", name}}); }));
  }
  void who_answered(const who_answer& answer) override {
    json names = json::array();
    for (const shared_text& each : answer.names) names.push_back(*each);
    tell({{"type", "who"},
          {"room", *answer.room},
          {"names", std::move(names)},
          {"count", answer.count}});
  }
  void rooms_answered(std::vector<room_count> rooms) override {
    json listed = json::array();
    for (const room_count& each : rooms) {
      listed.push_back({{"room", *each.room}, {"count", each.count}});
    }
    tell({{"type", "rooms"}, {"rooms", std::move(listed)}});
  }
  void whispered(const std::string& sender, const std::string& text) override {
    tell({{"type", "private"}, {"from", sender}, {"text", text}});
  }
  void whisper_answered(const std::string& to, const std::string& text, bool delivered) override {
    if (!delivered) return fail("private", "there is no " + to);
    tell({{"type", "private"}, {"to", to}, {"text", text}});
  }
  bool wants_own() const noexcept override { return true; }

  // --- what the browser says; false: it is no message of ours ---
  bool take(std::string_view text) {
    const json said = json::parse(text, nullptr, false);
    if (!said.is_object()) return false;
    const std::string type = text_of(said, "type");
    if (type == "hello") return hello(said);
    if (name() == nullptr) return type == "name" && claim(text_of(said, "name"));
    if (type == "say") return say(event_kind::said, text_of(said, "text"));
    if (type == "me") return say(event_kind::done, text_of(said, "text"));
    if (type == "join") return join(said);
    if (type == "name") return claim(text_of(said, "name"));
    if (type == "private") return whisper(text_of(said, "to"), text_of(said, "text"));
    if (type == "who" || type == "rooms") {
      cost_ = pace::list_cost;
      type == "who" ? home()->ask_who(*this) : home()->ask_rooms(*this);
      return true;
    }
    if (type == "typing") return home()->type(*this), true;
    fail("type", "there is no message of type '" + type + "'");
    return true;
  }

  /// When the next may be said, after what take() has taken.
  std::int64_t next_time(std::int64_t now, const pace_limits& limits) noexcept {
    pace_.spend(now, limits, std::exchange(cost_, 1U));
    return pace_.next(limits);
  }
  task<> write_queue(websocket::connection& peer);
  /// Waits until nothing waits to be sent.
  task<> all_sent() {
    while (queue().size() != 0) {
      sent_.reset();
      co_await sent_.wait();
    }
  }

 private:
  void wake() noexcept override { ready_.set(); }
  std::string missed_note(std::uint32_t count) const override {
    return written({{"type", "missed"}, {"count", count}});
  }
  void tell(const json& of) { send(written(of)); }
  void fail(const char* about, const std::string& text) {
    tell({{"type", "error"}, {"about", about}, {"text", text}});
  }

  bool hello(const json& said) {
    const std::string room = text_of(said, "room");
    first_room_ = room.empty() ? std::string(home()->options().lobby) : room;
    seen_id_ = seen_of(said);
    return claim(text_of(said, "name"));
  }
  bool claim(std::string_view name) {
    if (const name_fault fault = check_name(name); fault != name_fault::none) {
      fail("name", std::string(describe(fault)));
    } else {
      home()->claim(*this, name);
    }
    return true;
  }
  bool join(const json& said) {
    enter(text_of(said, "room"), seen_of(said));
    return true;
  }
  void enter(const std::string& name, std::uint64_t seen_id) {
    if (const name_fault fault = check_name(name); fault != name_fault::none) {
      fail("room", std::string(describe(fault)));
    } else {
      home()->join(*this, name, seen_id);
    }
  }
  bool say(event_kind kind, const std::string& text) {
    if (text.size() > text_size_max) {
      fail("text", "that is too long");
    } else if (!text.empty() && !home()->speak(*this, kind, false, one_line(text))) {
      fail("room", "you are in no room");
    }
    return true;
  }
  bool whisper(const std::string& to, const std::string& text) {
    if (check_name(to) != name_fault::none) {
      fail("private", "that is no name");
    } else if (text.size() > text_size_max) {
      fail("text", "that is too long");
    } else {
      home()->whisper(*this, to, one_line(text));
    }
    return true;
  }
  static std::string one_line(std::string_view text) {
    std::string made;
    append_harmless(made, text);
    return made;
  }
  static std::uint64_t seen_of(const json& said) {
    const auto found = said.find("seen");
    return found != said.end() && found->is_number_unsigned() ? found->get<std::uint64_t>() : 0;
  }

  branch* branch_;
  rill::event ready_;
  rill::event sent_;  // some of the queue
  pace pace_;
  unsigned cost_ = 1;  // of what was taken last, in messages
  std::string first_room_;
  std::uint64_t seen_id_ = 0;
};

task<> browser_member::write_queue(websocket::connection& peer) {
  for (;;) {
    co_await ready_.wait();
    ready_.reset();
    const std::vector<shared_bytes> pieces = take_queue();
    for (const shared_bytes& each : pieces) {
      const bool written_all = co_await peer.write_text(*each);
      if (!written_all) co_return;
    }
    sent(pieces);
    sent_.set();
  }
}

/// Until it ends, or why it is to be closed.
task<std::string_view> read_until(websocket::connection& peer, browser_member& me,
                                  const session_options& how) {
  const auto name_end = loop_clock::after(loop_clock::now(), how.nickname_timeout);
  for (;;) {
    const auto idle_end = loop_clock::after(loop_clock::now(), how.idle_timeout);
    const bool has_name = me.name() != nullptr;
    std::optional<websocket::message> came;
    try {
      if (has_name && idle_end == loop_clock::time_point::max()) {
        came = co_await peer.read();  // without the chain of a deadline, for as long as it listens
      } else {
        came = co_await with_deadline(has_name ? idle_end : name_end, peer.read());
      }
    } catch (const timeout_error&) {
      co_return has_name ? "nothing was said for too long" : "there was no name for too long";
    }
    if (!came) co_return {};
    const bool is_ours = came->kind == websocket::message_kind::text && me.take(came->data);
    if (!is_ours) co_return "messages are JSON objects";
    const std::int64_t now = loop::current().now;
    const std::int64_t next = me.next_time(now, how.pace);
    if (next > now) co_await sleep_until(loop_clock::time_point(loop_clock::duration(next)));
  }
}

task<> read_all(websocket::connection& peer, browser_member& me, const session_options& how) {
  const std::string_view why = co_await read_until(peer, me, how);
  if (!why.empty()) co_await peer.close(websocket::close_code::policy_violation, why);
}

task<> say_farewell(websocket::connection& peer, browser_member& me, branch& here,
                    drain_signal& drain) {
  co_await drain.wait();
  here.part.begin_drain();
  co_await me.all_sent();
  co_await peer.close(websocket::close_code::going_away, "the server is about to end");
}

}  // namespace

task<> browse(websocket::connection& peer, branch& here, drain_signal* drain) {
  browser_member me(here);
  address_counter::place counted;
  if (here.addresses != nullptr && !counted.enter(*here.addresses, peer.peer())) {
    co_await peer.close(websocket::close_code::policy_violation,
                        "too many connections from your address");
    co_return;
  }
  co_await with_nursery([&](nursery& both) -> task<> {
    both.start([&]() -> task<> {
      co_await me.write_queue(peer);
      both.cancel();
    });
    if (drain != nullptr) {
      both.start([&]() -> task<> { co_await say_farewell(peer, me, here, *drain); });
    }
    co_await read_all(peer, me, here.options);
    both.cancel();
  });
  if (peer.cause() == std::errc::timed_out && me.queue().size() != 0) {
    shard_statistics::add(here.part.statistics().cut_count, 1);
  }
}

}  // namespace rill::chat
