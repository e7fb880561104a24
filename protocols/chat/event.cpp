// The words of events; see event.h.
#include <rill/protocols/chat/event.h>

#include <rill/protocols/chat/text.h>

namespace rill::chat {
namespace {

/// What is not said. The first two are the original server's, byte for byte.
std::string sentence(const event& of) {
  switch (of.kind) {
    case event_kind::joined:
      return *of.who + " joined the chat!";
    case event_kind::left:
      return *of.who + " left the chat!";
    case event_kind::renamed:
      return *of.who + " is now called " + of.text;
    case event_kind::done:
      return "* " + *of.who + ' ' + of.text;
    case event_kind::said:
      break;
  }
  return *of.who + ": " + of.text;
}

}  // namespace

std::string raw_form(const event& of) { return of.is_raw ? of.text : sentence(of); }

std::string line_form(const event& of) {
  if (!of.is_raw) return sentence(of) + '\n';
  // So many lines of their own has one chunk at most; what follows them is one, with the newlines
  // made visible. Otherwise a chunk of newlines would come out a hundred times as long.
  constexpr std::size_t line_count_max = 16;
  std::string lines;
  std::string_view rest = of.text;
  for (std::size_t count = 1; !rest.empty(); ++count) {
    const std::size_t end = count < line_count_max ? rest.find('\n') : std::string_view::npos;
    std::string_view text = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    if (text.ends_with('\r')) text.remove_suffix(1);
    lines += *of.who + ": ";
    append_harmless(lines, text);
    lines += '\n';
  }
  return lines;
}

}  // namespace rill::chat
