// The simulator's randomness: xoshiro256**, seeded by splitmix64 (Blackman and Vigna, 2018).
// Own code, because std distributions give different numbers in different libraries. Not fit for
// keys. Each part of the world draws from a stream of its own, so that a new draw in one part does
// not change what the others see.
#pragma once

#include <cstdint>
#include <string_view>

namespace rill::sim {

/// Random numbers that are the same for a seed, whatever the library.
class random_source {
 public:
  explicit random_source(std::uint64_t seed) noexcept {
    for (std::uint64_t& word : state_) word = mix(seed += 0x9e3779b97f4a7c15U);
  }
  /// The stream called `name` of a world with this seed; `number` tells equal names apart.
  random_source(std::uint64_t seed, std::string_view name, std::uint64_t number = 0) noexcept
      : random_source(fork(seed, name, number)) {}

  std::uint64_t next() noexcept {
    const std::uint64_t result = rotate(state_[1] * 5, 7) * 9;
    const std::uint64_t shifted = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= shifted;
    state_[3] = rotate(state_[3], 45);
    return result;
  }
  /// 0 .. limit - 1; 0 when limit is 0. The bias of the remainder is below 2^-20 for our ranges.
  std::uint64_t below(std::uint64_t limit) noexcept { return limit == 0 ? 0 : next() % limit; }
  /// least .. most, both included.
  std::int64_t between(std::int64_t least, std::int64_t most) noexcept {
    if (most <= least) return least;
    const auto width = static_cast<std::uint64_t>(most - least) + 1;
    return least + static_cast<std::int64_t>(below(width));
  }
  /// True with this probability. Draws nothing when it is 0, so that a fault which is switched off
  /// leaves the rest of a run as it was.
  bool chance(double probability) noexcept {
    if (probability <= 0) return false;
    return static_cast<double>(next() >> 11) * 0x1.0p-53 < probability;
  }

 private:
  static constexpr std::uint64_t rotate(std::uint64_t word, int by) noexcept {
    return (word << by) | (word >> (64 - by));
  }
  static constexpr std::uint64_t mix(std::uint64_t word) noexcept {
    word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9U;
    word = (word ^ (word >> 27)) * 0x94d049bb133111ebU;
    return word ^ (word >> 31);
  }
  static constexpr std::uint64_t fork(std::uint64_t seed, std::string_view name,
                                      std::uint64_t number) noexcept {
    std::uint64_t word = mix(seed + 0x9e3779b97f4a7c15U);
    for (const char letter : name) word = mix(word ^ static_cast<unsigned char>(letter));
    return mix(word + number);
  }

  std::uint64_t state_[4];
};

}  // namespace rill::sim
