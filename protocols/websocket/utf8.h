// Whether text is UTF-8 (RFC 3629), piece by piece, told at the first byte that cannot belong.
// Not here: what the characters are.
// Read next: utf8.cpp.
#pragma once

#include <cstdint>
#include <string_view>

namespace rill::websocket {

/// Overlong forms, surrogates and what lies above U+10FFFF are refused as well as bytes that begin
/// nothing. Cost: ASCII is passed over 16 bytes at a time.
class utf8_validator {
 public:
  /// False: with these bytes, whatever follows, it is not UTF-8; so it stays until reset().
  bool add(std::string_view bytes) noexcept;
  /// What was added ends with a character.
  bool is_complete() const noexcept { return missing_ == 0; }
  void reset() noexcept { *this = utf8_validator(); }

 private:
  std::uint8_t missing_ = 0;  // bytes of the character that has begun; failed for ever
  // Between which the next of them must lie.
  std::uint8_t first_ = 0x80;
  std::uint8_t last_ = 0xbf;
};

/// All of `text`.
bool is_utf8(std::string_view text) noexcept;

}  // namespace rill::websocket
