// See base64.h.
#include <rill/net/base64.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace rill::detail {
namespace {

constexpr std::string_view alphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr unsigned char no_digit = 0xff;
/// What each byte stands for.
constexpr std::array<unsigned char, 256> values = [] {
  std::array<unsigned char, 256> made{};
  made.fill(no_digit);
  for (std::size_t i = 0; i < alphabet.size(); ++i) {
    made[static_cast<unsigned char>(alphabet[i])] = static_cast<unsigned char>(i);
  }
  return made;
}();

}  // namespace

std::optional<std::string> decode_base64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  std::string_view digits = text;
  for (int i = 0; i < 2 && digits.ends_with('='); ++i) digits.remove_suffix(1);
  std::string made;
  std::uint32_t bits = 0;
  unsigned count = 0;
  for (const char c : digits) {
    const std::uint32_t value = values[static_cast<unsigned char>(c)];
    if (value == no_digit) return std::nullopt;
    bits = (bits << 6U | value) & 0xffffU;
    count += 6;
    if (count < 8) continue;
    count -= 8;
    made += static_cast<char>(bits >> count & 0xffU);
  }
  if ((bits & ((1U << count) - 1)) != 0 || count >= 6) return std::nullopt;
  return made;
}

std::string encode_base64(std::string_view text) {
  std::string made;
  for (; !text.empty(); text.remove_prefix(std::min<std::size_t>(3, text.size()))) {
    std::uint32_t bits = 0;
    for (std::size_t i = 0; i < 3; ++i) {
      bits = bits << 8U | (i < text.size() ? static_cast<unsigned char>(text[i]) : 0U);
    }
    for (std::size_t i = 0; i < 4; ++i) {
      made += i <= text.size() ? alphabet[bits >> (18 - 6 * i) & 63U] : '=';
    }
  }
  return made;
}

}  // namespace rill::detail
