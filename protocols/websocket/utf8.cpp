// The table 3-7 of the Unicode standard as ranges. See utf8.h.
#include <rill/protocols/websocket/utf8.h>

#include <cstddef>
#include <cstring>

namespace rill::websocket {
namespace {

constexpr std::uint8_t failed = 0xff;

/// The end of the ASCII that `at` begins with, or not much before it.
const unsigned char* skip_ascii(const unsigned char* at, const unsigned char* end) noexcept {
  constexpr std::ptrdiff_t width = 16;
  constexpr std::uint64_t high_bits = 0x8080808080808080;
  for (; end - at >= width; at += width) {
    std::uint64_t words[2];
    std::memcpy(words, at, sizeof(words));
    if (((words[0] | words[1]) & high_bits) != 0) break;
  }
  return at;
}

}  // namespace

bool utf8_validator::add(std::string_view bytes) noexcept {
  if (missing_ == failed) return false;
  const auto* at = reinterpret_cast<const unsigned char*>(bytes.data());
  const auto* const end = at + bytes.size();
  while (at != end) {
    const unsigned char c = *at;
    if (missing_ != 0) {
      if (c < first_ || c > last_) break;
      --missing_;
      first_ = 0x80;
      last_ = 0xbf;
      ++at;
    } else if (c < 0x80) {
      const auto* const next = skip_ascii(at, end);
      at = next == at ? at + 1 : next;
    } else {
      if (c < 0xc2 || c > 0xf4) break;
      missing_ = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
      if (c == 0xe0) first_ = 0xa0;  // shorter forms would do
      if (c == 0xed) last_ = 0x9f;   // surrogates
      if (c == 0xf0) first_ = 0x90;
      if (c == 0xf4) last_ = 0x8f;  // beyond U+10FFFF
      ++at;
    }
  }
  if (at != end) missing_ = failed;
  return at == end;
}

bool is_utf8(std::string_view text) noexcept {
  utf8_validator all;
  return all.add(text) && all.is_complete();
}

}  // namespace rill::websocket
