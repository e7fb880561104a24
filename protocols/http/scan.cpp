// Three widths of one search. See scan.h.
#include <rill/protocols/http/scan.h>

#include <bit>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace rill::http::detail {
namespace {

// Both searches are for bytes outside a range: value - first > last - first, in eight bits.

struct control {
  static constexpr unsigned char first = 0x20;
  static constexpr unsigned char last = 0xff;
  static bool stops(unsigned char c) noexcept { return (c < first && c != '\t') || c == 0x7f; }
};

struct invisible {
  static constexpr unsigned char first = 0x21;
  static constexpr unsigned char last = 0x7e;
  static bool stops(unsigned char c) noexcept { return c < first || c > last; }
};

template <class Set>
const char* find_portable(const char* from, const char* end) noexcept {
  while (from != end && !Set::stops(static_cast<unsigned char>(*from))) ++from;
  return from;
}

#if defined(__x86_64__)

constexpr char as_char(unsigned value) noexcept { return static_cast<char>(value); }

/// One bit for each byte that stops.
template <class Set>
unsigned stops_sse2(__m128i bytes) noexcept {
  const __m128i from_first = _mm_sub_epi8(bytes, _mm_set1_epi8(as_char(Set::first)));
  const __m128i range = _mm_set1_epi8(as_char(Set::last - Set::first));
  // Unsigned "at most": the smaller of the two is the value itself.
  __m128i passes = _mm_cmpeq_epi8(_mm_min_epu8(from_first, range), from_first);
  if constexpr (Set::last == 0xff) {
    passes = _mm_or_si128(passes, _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\t')));
    passes = _mm_andnot_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7f)), passes);
  }
  return ~static_cast<unsigned>(_mm_movemask_epi8(passes)) & 0xffffU;
}

template <class Set>
const char* find_sse2(const char* from, const char* end) noexcept {
  constexpr int width = 16;
  for (; end - from >= width; from += width) {
    const auto stops = stops_sse2<Set>(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
    if (stops != 0) return from + std::countr_zero(stops);
  }
  return find_portable<Set>(from, end);
}

template <class Set>
__attribute__((target("avx2"))) const char* find_avx2(const char* from, const char* end) noexcept {
  constexpr int width = 32;
  const __m256i first = _mm256_set1_epi8(as_char(Set::first));
  const __m256i range = _mm256_set1_epi8(as_char(Set::last - Set::first));
  for (; end - from >= width; from += width) {
    const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    const __m256i from_first = _mm256_sub_epi8(bytes, first);
    __m256i passes = _mm256_cmpeq_epi8(_mm256_min_epu8(from_first, range), from_first);
    if constexpr (Set::last == 0xff) {
      passes = _mm256_or_si256(passes, _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('\t')));
      passes = _mm256_andnot_si256(_mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(0x7f)), passes);
    }
    const unsigned stops = ~static_cast<unsigned>(_mm256_movemask_epi8(passes));
    if (stops != 0) return from + std::countr_zero(stops);
  }
  return find_sse2<Set>(from, end);
}

#endif

template <class Set>
const char* find_by(const char* from, const char* end, scan_path path) noexcept {
#if defined(__x86_64__)
  if (path == scan_path::avx2) return find_avx2<Set>(from, end);
  if (path == scan_path::sse2) return find_sse2<Set>(from, end);
#endif
  (void)path;
  return find_portable<Set>(from, end);
}

/// The widest that this processor has, asked for once.
const scan_path best = [] {
  for (const scan_path each : {scan_path::avx2, scan_path::sse2}) {
    if (is_supported(each)) return each;
  }
  return scan_path::portable;
}();

template <class Set>
const char* find(const char* from, const char* end) noexcept {
#if defined(__x86_64__)
  // Most values are shorter than what pays for the indirection.
  constexpr int long_enough = 64;
  if (end - from < long_enough) return find_sse2<Set>(from, end);
#endif
  return find_by<Set>(from, end, best);
}

}  // namespace

bool is_supported(scan_path path) noexcept {
#if defined(__x86_64__)
  __builtin_cpu_init();  // may run before the constructors of libgcc
  return path != scan_path::avx2 || __builtin_cpu_supports("avx2") != 0;
#else
  return path == scan_path::portable;
#endif
}

const char* find_control(const char* from, const char* end) noexcept {
  return find<control>(from, end);
}
const char* find_control(const char* from, const char* end, scan_path path) noexcept {
  return find_by<control>(from, end, path);
}
const char* find_invisible(const char* from, const char* end) noexcept {
  return find<invisible>(from, end);
}
const char* find_invisible(const char* from, const char* end, scan_path path) noexcept {
  return find_by<invisible>(from, end, path);
}

}  // namespace rill::http::detail
