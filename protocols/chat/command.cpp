// Commands; see command.h.
#include <rill/protocols/chat/command.h>

namespace rill::chat {
namespace {

enum class needs : std::uint8_t { nothing, name, text, name_and_text };

struct entry {
  std::string_view word;
  verb what;
  needs needed;
};

constexpr entry entries[] = {
    {"nick", verb::nick, needs::name},      {"who", verb::who, needs::nothing},
    {"join", verb::join, needs::name},      {"leave", verb::leave, needs::nothing},
    {"rooms", verb::rooms, needs::nothing}, {"msg", verb::msg, needs::name_and_text},
    {"me", verb::me, needs::text},          {"help", verb::help, needs::nothing},
    {"quit", verb::quit, needs::nothing},
};

void skip_blanks(std::string_view& text) noexcept {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
}

std::string_view take_word(std::string_view& text) noexcept {
  skip_blanks(text);
  const std::string_view word = text.substr(0, text.find(' '));
  text.remove_prefix(word.size());
  skip_blanks(text);
  return word;
}

}  // namespace

command parse_command(std::string_view line) noexcept {
  if (line.empty()) return {verb::nothing, {}, {}};
  if (line.front() != '/') return {verb::say, {}, line};
  line.remove_prefix(1);
  if (line.starts_with('/')) return {verb::say, {}, line};
  const std::string_view word = take_word(line);
  for (const entry& each : entries) {
    if (each.word != word) continue;
    command parsed{each.what, {}, {}};
    if (each.needed == needs::name || each.needed == needs::name_and_text) {
      parsed.name = take_word(line);
      if (parsed.name.empty()) return {verb::incomplete, word, {}};
    }
    if (each.needed == needs::text || each.needed == needs::name_and_text) {
      parsed.text = line;
      if (parsed.text.empty()) return {verb::incomplete, word, {}};
    }
    return parsed;
  }
  return {verb::unknown, word, {}};
}

std::string_view help_text() noexcept {
  return "/nick NAME       be called NAME\n"
         "/who             who is in this room\n"
         "/join ROOM       go to another room\n"
         "/leave           go back to the lobby\n"
         "/rooms           the rooms that there are\n"
         "/msg NAME TEXT   tell NAME alone\n"
         "/me TEXT         say what you do\n"
         "//TEXT           say /TEXT\n"
         "/help            this\n"
         "/quit            leave the chat\n";
}

}  // namespace rill::chat
