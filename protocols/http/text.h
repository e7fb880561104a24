// What single characters of HTTP are, without a locale. Private: no public header shows it.
#pragma once

#include <string>
#include <string_view>

#include <rill/net/address.h>
#include <rill/protocols/http/scan.h>

namespace rill::http::detail {

constexpr bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }
constexpr char lower(char c) noexcept {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}
constexpr bool is_letter(char c) noexcept { return lower(c) >= 'a' && lower(c) <= 'z'; }

/// Of a hexadecimal digit; -1 for other characters.
constexpr int hex_value(char c) noexcept {
  if (is_digit(c)) return c - '0';
  return lower(c) >= 'a' && lower(c) <= 'f' ? lower(c) - 'a' + 10 : -1;
}

/// OWS of RFC 9110 section 5.6.3.
constexpr bool is_blank(char c) noexcept { return c == ' ' || c == '\t'; }
constexpr std::string_view without_blanks(std::string_view text) noexcept {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

inline std::string in_lower_case(std::string_view text) {
  std::string made(text);
  for (char& c : made) c = lower(c);
  return made;
}

/// Holds what a field value may not: a control other than the tab.
/// What may stand in the brackets of a URL or Host. A scope is one machine's own affair.
inline bool is_ipv6_literal(std::string_view text) noexcept {
  if (text.find('%') != text.npos) return false;
  const auto parsed = address::parse(text);
  return parsed && parsed->is_v6();
}

inline bool has_control(std::string_view text) noexcept {
  const char* const end = text.data() + text.size();
  return find_control(text.data(), end) != end;
}

/// token of RFC 9110 section 5.6.2.
inline bool is_token(std::string_view text) noexcept {
  const char* const end = text.data() + text.size();
  return !text.empty() && find_not_token(text.data(), end) == end;
}

}  // namespace rill::http::detail
