// See printable.h.
#include <rill/net/printable.h>

#include <algorithm>
#include <cstddef>

#include <rill/net/text.h>

namespace rill {
namespace {

/// Bytes of the character with which the text begins; 0: it is none that may be shown.
std::size_t shown_size(std::string_view text) noexcept {
  const auto byte = [&](std::size_t at) {
    return at < text.size() ? static_cast<unsigned char>(text[at]) : 0U;
  };
  const unsigned first = byte(0);
  if (first < 0x80) return first >= ' ' && first != 0x7f ? 1 : 0;
  const std::size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  // RFC 3629 section 4: neither overlong forms nor surrogates, nothing beyond U+10FFFF.
  unsigned least = 0x80;
  unsigned greatest = 0xbf;
  if (first == 0xe0) least = 0xa0;
  if (first == 0xed) greatest = 0x9f;
  if (first == 0xf0) least = 0x90;
  if (first == 0xf4) greatest = 0x8f;
  if (first == 0xc2) least = 0xa0;  // C1
  if (first < 0xc2 || first > 0xf4 || byte(1) < least || byte(1) > greatest) return 0;
  for (std::size_t at = 2; at < size; ++at) {
    if ((byte(at) & 0xc0U) != 0x80U) return 0;
  }
  return size;
}

}  // namespace

std::string printable(std::string_view text) {
  std::string made;
  while (!text.empty()) {
    const std::size_t size = shown_size(text);
    if (size == 0) {
      detail::append_escaped(made, text.front());
    } else {
      made.append(text.substr(0, size));
    }
    text.remove_prefix(std::max<std::size_t>(size, 1));
  }
  return made;
}

}  // namespace rill
