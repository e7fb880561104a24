// Decoding of charsets. See charset.h.
#include <rill/protocols/http/charset.h>

#include <array>
#include <cstddef>

#include <rill/protocols/http/head.h>

namespace rill::http {
namespace {

constexpr std::string_view replacement = "\xef\xbf\xbd";

/// What windows-1252 has in place of the controls 0x80 to 0x9f (WHATWG, index windows-1252).
constexpr std::array<char16_t, 32> windows_1252 = {
    0x20ac, 0x0081, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160,
    0x2039, 0x0152, 0x008d, 0x017d, 0x008f, 0x0090, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
    0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0x009d, 0x017e, 0x0178};

/// Bytes of the well-formed sequence at the beginning of `text`, or, negative, of the malformed one
/// (Unicode 15, table 3-7; one U+FFFD for each maximal part of a sequence).
int sequence_size(std::string_view text) noexcept {
  const auto byte = [&](std::size_t at) -> unsigned {
    return at < text.size() ? static_cast<unsigned char>(text[at]) : 0U;
  };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first < 0xc2 || first > 0xf4) return -1;
  unsigned low = 0x80;
  unsigned high = 0xbf;
  if (first == 0xe0) low = 0xa0;
  if (first == 0xed) high = 0x9f;
  if (first == 0xf0) low = 0x90;
  if (first == 0xf4) high = 0x8f;
  const int size = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  for (int at = 1; at < size; ++at) {
    const unsigned next = byte(static_cast<std::size_t>(at));
    if (next < low || next > high) return -at;
    low = 0x80;
    high = 0xbf;
  }
  return size;
}

std::string repair_utf8(std::string_view text) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  std::string made;
  made.reserve(text.size());
  while (!text.empty()) {
    const int size = sequence_size(text);
    const auto taken = static_cast<std::size_t>(size < 0 ? -size : size);
    made += size < 0 ? replacement : text.substr(0, taken);
    text.remove_prefix(taken);
  }
  return made;
}

void append_character(std::string& to, unsigned character) {
  if (character < 0x80) {
    to += static_cast<char>(character);
  } else if (character < 0x800) {
    to += static_cast<char>(0xc0U | character >> 6);
    to += static_cast<char>(0x80U | (character & 0x3fU));
  } else {
    to += static_cast<char>(0xe0U | character >> 12);
    to += static_cast<char>(0x80U | (character >> 6 & 0x3fU));
    to += static_cast<char>(0x80U | (character & 0x3fU));
  }
}

}  // namespace

std::optional<std::string> to_utf8(std::string_view bytes, std::string_view charset) {
  for (const std::string_view each : {"", "utf-8", "utf8"}) {
    if (equals_without_case(charset, each)) return repair_utf8(bytes);
  }
  bool is_known = false;
  for (const std::string_view each : {"us-ascii", "ascii", "iso-8859-1", "iso8859-1", "latin1",
                                      "l1", "windows-1252", "cp1252", "x-cp1252"}) {
    is_known = is_known || equals_without_case(charset, each);
  }
  if (!is_known) return std::nullopt;
  std::string made;
  for (const char c : bytes) {
    const unsigned byte = static_cast<unsigned char>(c);
    append_character(made, byte >= 0x80 && byte < 0xa0 ? windows_1252[byte - 0x80] : byte);
  }
  return made;
}

}  // namespace rill::http
