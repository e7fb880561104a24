// Looking for the first byte that does not belong: in tokens, field values and request targets.
// The vectorised paths give what the portable one gives; tests compare them.
// Not here: what the bytes mean (head.cpp).
#pragma once

#include <array>
#include <cstdint>

namespace rill::http::detail {

/// How many bytes are looked at at once.
enum class scan_path : std::uint8_t { portable, sse2, avx2 };

/// False where this processor, or this build, cannot.
bool is_supported(scan_path path) noexcept;

/// The first byte of [from, end) that a field value may not hold, or `end`: every control but the
/// tab, and DEL (RFC 9110 section 5.5). CR and LF, which end the value, are among them.
const char* find_control(const char* from, const char* end) noexcept;
const char* find_control(const char* from, const char* end, scan_path path) noexcept;

/// The first byte of [from, end) that a request target may not hold, or `end`: what is not a
/// visible character of ASCII. The space, which ends the target, is among them.
const char* find_invisible(const char* from, const char* end) noexcept;
const char* find_invisible(const char* from, const char* end, scan_path path) noexcept;

/// tchar of RFC 9110 section 5.6.2.
inline constexpr std::array<bool, 256> token_characters = [] {
  std::array<bool, 256> all{};
  for (const char c :
       {'!', '#', '$', '%', '&', '\'', '*', '+', '-', '.', '^', '_', '`', '|', '~'}) {
    all[static_cast<unsigned char>(c)] = true;
  }
  for (unsigned c = '0'; c <= '9'; ++c) all[c] = true;
  for (unsigned c = 'A'; c <= 'Z'; ++c) all[c] = all[c + ('a' - 'A')] = true;
  return all;
}();

constexpr bool is_token_character(char c) noexcept {
  return token_characters[static_cast<unsigned char>(c)];
}

/// Names are short: a table, byte by byte.
inline const char* find_not_token(const char* from, const char* end) noexcept {
  while (from != end && is_token_character(*from)) ++from;
  return from;
}

}  // namespace rill::http::detail
