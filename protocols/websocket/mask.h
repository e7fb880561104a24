// Masking (RFC 6455 section 5.3): bytes xor a key of four, repeated.
// The vectorised paths give what the portable one gives; tests compare them.
// Not here: where the key comes from (encoder.h, driver).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace rill::websocket::detail {

using mask_key = std::array<unsigned char, 4>;

/// How many bytes are masked at once.
enum class mask_path : std::uint8_t { portable, sse2, avx2 };

/// False where this processor, or this build, cannot.
bool is_supported(mask_path path) noexcept;

/// Writes `size` bytes of `from`, masked, to `to`, which may be the same memory but must not
/// overlap it otherwise. `offset`: where in the payload the first of them stands. Masking twice
/// gives the bytes again.
void mask(char* to, const char* from, std::size_t size, mask_key key,
          std::uint64_t offset) noexcept;
void mask(char* to, const char* from, std::size_t size, mask_key key, std::uint64_t offset,
          mask_path path) noexcept;

}  // namespace rill::websocket::detail
