// Reading of commands. See command.h.
#include <rill/protocols/smtp/command.h>

#include <algorithm>
#include <array>

#include <rill/protocols/smtp/address.h>

namespace rill::smtp {
namespace {

std::string to_upper(std::string_view text) {
  std::string made(text);
  for (char& c : made) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return made;
}

std::string_view trimmed(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  return text.substr(0, text.find_last_not_of(' ') + 1);
}

bool is_keyword(std::string_view text) {
  const auto is_fine = [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  };
  return !text.empty() && text.front() != '-' && std::all_of(text.begin(), text.end(), is_fine);
}

/// Anything but blanks, "=" and controls (RFC 5321 section 4.1.2, RFC 6531 section 3.3).
bool is_value(std::string_view text) {
  const auto is_fine = [](char c) {
    const auto value = static_cast<unsigned char>(c);
    return value > ' ' && value != '=' && value != 0x7f;
  };
  return !text.empty() && std::all_of(text.begin(), text.end(), is_fine);
}

/// Where the path that begins behind "<" ends; a ">" within quotation marks is a part of it.
std::size_t path_end(std::string_view text) {
  bool is_quoted = false;
  bool is_escaped = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (is_escaped) {
      is_escaped = false;
    } else if (text[i] == '\\' && is_quoted) {
      is_escaped = true;
    } else if (text[i] == '"') {
      is_quoted = !is_quoted;
    } else if (text[i] == '>' && !is_quoted) {
      return i;
    }
  }
  return std::string_view::npos;
}

}  // namespace

line_step take_line(std::string_view bytes, std::size_t size_max) noexcept {
  constexpr std::string_view breaks("\r\n\0", 3);
  const std::size_t end = bytes.find_first_of(breaks);
  if (std::min(end, bytes.size()) > size_max) return {line_state::too_long, {}, 0};
  if (end == std::string_view::npos) return {line_state::incomplete, {}, 0};
  if (bytes[end] != '\r') return {line_state::bare_break, {}, 0};
  if (end + 1 == bytes.size()) return {line_state::incomplete, {}, 0};
  if (bytes[end + 1] != '\n') return {line_state::bare_break, {}, 0};
  return {line_state::complete, bytes.substr(0, end), end + 2};
}

command parse_command(std::string_view line) noexcept {
  constexpr std::array<std::pair<std::string_view, verb>, 13> verbs{{{"HELO", verb::helo},
                                                                     {"EHLO", verb::ehlo},
                                                                     {"MAIL", verb::mail},
                                                                     {"RCPT", verb::rcpt},
                                                                     {"DATA", verb::data},
                                                                     {"RSET", verb::rset},
                                                                     {"NOOP", verb::noop},
                                                                     {"QUIT", verb::quit},
                                                                     {"VRFY", verb::vrfy},
                                                                     {"EXPN", verb::expn},
                                                                     {"HELP", verb::help},
                                                                     {"STARTTLS", verb::starttls},
                                                                     {"AUTH", verb::auth}}};
  const std::size_t size = std::min(line.find(' '), line.size());
  const std::string name = to_upper(line.substr(0, std::min<std::size_t>(size, 9)));
  const std::string_view argument = trimmed(line.substr(size));
  for (const auto& [text, what] : verbs) {
    if (name == text) return {what, argument};
  }
  return {verb::unknown, argument};
}

std::optional<std::string_view> path_argument::find(std::string_view name) const noexcept {
  for (const auto& [key, value] : parameters) {
    if (key == name) return value;
  }
  return std::nullopt;
}

std::optional<path_argument> parse_path(std::string_view argument, std::string_view keyword,
                                        bool may_be_empty) {
  if (to_upper(argument.substr(0, keyword.size())) != keyword) return std::nullopt;
  argument.remove_prefix(keyword.size());
  if (!argument.starts_with(':')) return std::nullopt;
  argument = trimmed(argument.substr(1));
  if (!argument.starts_with('<')) return std::nullopt;
  argument.remove_prefix(1);
  const std::size_t end = path_end(argument);
  if (end == std::string_view::npos) return std::nullopt;
  std::string_view path = argument.substr(0, end);
  if (path.starts_with('@')) {
    const std::size_t colon = path.find(':');
    if (colon == std::string_view::npos) return std::nullopt;
    path.remove_prefix(colon + 1);
  }
  const bool is_postmaster = !may_be_empty && to_upper(path) == "POSTMASTER";
  if (path.empty() ? !may_be_empty : !is_postmaster && !mail::is_address(path)) {
    return std::nullopt;
  }
  path_argument made(path);
  std::string_view rest = argument.substr(end + 1);
  if (!rest.empty() && rest.front() != ' ') return std::nullopt;
  for (rest = trimmed(rest); !rest.empty(); rest = trimmed(rest)) {
    const std::string_view one = rest.substr(0, rest.find(' '));
    rest.remove_prefix(one.size());
    const std::size_t equal = one.find('=');
    const std::string_view name = one.substr(0, equal);
    const bool has_value = equal != std::string_view::npos;
    const std::string_view value = has_value ? one.substr(equal + 1) : std::string_view();
    if (!is_keyword(name) || (has_value && !is_value(value))) return std::nullopt;
    std::string key = to_upper(name);
    if (made.find(key)) return std::nullopt;
    made.parameters.emplace_back(std::move(key), value);
  }
  return made;
}

std::string to_xtext(std::string_view text) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  std::string made;
  for (const char c : text) {
    const auto value = static_cast<unsigned char>(c);
    if (value > ' ' && value < 0x7f && c != '+' && c != '=') {
      made += c;
      continue;
    }
    made += '+';
    made += digits[value >> 4];
    made += digits[value & 0xfU];
  }
  return made;
}

std::optional<std::string> from_xtext(std::string_view text) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  std::string made;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '+') {
      if (text[i] == '=' || text[i] <= ' ' || text[i] > '~') return std::nullopt;
      made += text[i];
      continue;
    }
    if (text.size() - i < 3) return std::nullopt;
    const std::size_t high = digits.find(text[i + 1]);
    const std::size_t low = digits.find(text[i + 2]);
    if (high == std::string_view::npos || low == std::string_view::npos) return std::nullopt;
    made += static_cast<char>(high << 4 | low);
    i += 2;
  }
  return made;
}

}  // namespace rill::smtp
