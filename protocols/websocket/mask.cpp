// Three widths of one xor. See mask.h.
#include <rill/protocols/websocket/mask.h>

#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace rill::websocket::detail {
namespace {

/// The key as it meets the byte at `offset`.
mask_key turned(mask_key key, std::uint64_t offset) noexcept {
  mask_key made;
  for (std::size_t i = 0; i < made.size(); ++i) made[i] = key[(offset + i) % key.size()];
  return made;
}

// Each begins where the key does, and every width is a multiple of its size.

void mask_portable(char* to, const char* from, std::size_t size, mask_key key) noexcept {
  constexpr std::size_t width = 8;
  std::uint64_t keys = 0;
  std::memcpy(&keys, key.data(), key.size());
  std::memcpy(reinterpret_cast<char*>(&keys) + key.size(), key.data(), key.size());
  std::size_t at = 0;
  for (; size - at >= width; at += width) {
    std::uint64_t bytes = 0;
    std::memcpy(&bytes, from + at, width);
    bytes ^= keys;
    std::memcpy(to + at, &bytes, width);
  }
  for (; at != size; ++at) {
    to[at] = static_cast<char>(static_cast<unsigned char>(from[at]) ^ key[at % key.size()]);
  }
}

#if defined(__x86_64__)

int as_int(mask_key key) noexcept {
  int made = 0;
  std::memcpy(&made, key.data(), key.size());
  return made;
}

void mask_sse2(char* to, const char* from, std::size_t size, mask_key key) noexcept {
  constexpr std::size_t width = 16;
  const __m128i keys = _mm_set1_epi32(as_int(key));
  std::size_t at = 0;
  for (; size - at >= width; at += width) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + at));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + at), _mm_xor_si128(bytes, keys));
  }
  mask_portable(to + at, from + at, size - at, key);
}

__attribute__((target("avx2"))) void mask_avx2(char* to, const char* from, std::size_t size,
                                               mask_key key) noexcept {
  constexpr std::size_t width = 32;
  const __m256i keys = _mm256_set1_epi32(as_int(key));
  std::size_t at = 0;
  for (; size - at >= width; at += width) {
    const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + at));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + at), _mm256_xor_si256(bytes, keys));
  }
  mask_portable(to + at, from + at, size - at, key);
}

#endif

/// The widest that this processor has, asked for once.
const mask_path best = [] {
  for (const mask_path each : {mask_path::avx2, mask_path::sse2}) {
    if (is_supported(each)) return each;
  }
  return mask_path::portable;
}();

}  // namespace

bool is_supported(mask_path path) noexcept {
#if defined(__x86_64__)
  __builtin_cpu_init();  // may run before the constructors of libgcc
  return path != mask_path::avx2 || __builtin_cpu_supports("avx2") != 0;
#else
  return path == mask_path::portable;
#endif
}

void mask(char* to, const char* from, std::size_t size, mask_key key, std::uint64_t offset,
          mask_path path) noexcept {
  const mask_key here = turned(key, offset);
#if defined(__x86_64__)
  if (path == mask_path::avx2) return mask_avx2(to, from, size, here);
  if (path == mask_path::sse2) return mask_sse2(to, from, size, here);
#endif
  (void)path;
  mask_portable(to, from, size, here);
}

void mask(char* to, const char* from, std::size_t size, mask_key key,
          std::uint64_t offset) noexcept {
  mask(to, from, size, key, offset, best);
}

}  // namespace rill::websocket::detail
