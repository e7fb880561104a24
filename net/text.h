// Lines and words of configuration files, and bytes that must not confuse a log.
// Private: no public header shows it. Read next: resolver_config.cpp, endpoint.cpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

namespace rill::detail {

inline constexpr std::string_view blanks = " \t\r\v\f";

/// Cuts the first line off `text`.
inline std::string_view take_line(std::string_view& text) {
  const std::size_t end = text.find('\n');
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return line;
}

/// Cuts the first word off `text`; empty when there is none left.
inline std::string_view take_word(std::string_view& text) {
  text.remove_prefix(std::min(text.find_first_not_of(blanks), text.size()));
  const std::string_view word = text.substr(0, text.find_first_of(blanks));
  text.remove_prefix(word.size());
  return word;
}

/// As `\xNN`.
inline void append_escaped(std::string& text, char byte) {
  constexpr std::string_view digits = "0123456789abcdef";
  const auto value = static_cast<unsigned char>(byte);
  text += "\\x";
  text += digits[value >> 4];
  text += digits[value & 0xfU];
}

}  // namespace rill::detail
