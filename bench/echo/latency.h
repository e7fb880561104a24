// A histogram of latencies with a relative error below 2 %: 64 linear steps in each power of two.
//
// Fixed size, so that recording never allocates. Values are nanoseconds, up to 18 minutes.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace bench {

class latency_histogram {
 public:
  void record(std::uint64_t nanoseconds) {
    ++counts_[index(std::min(nanoseconds, value_max))];
    ++count_;
    max_ = std::max(max_, nanoseconds);
  }

  std::uint64_t count() const { return count_; }
  std::uint64_t max() const { return max_; }

  // The smallest recorded value, up to a step, that `share` (0 to 1) of all values do not exceed.
  std::uint64_t percentile(double share) const {
    auto wanted = static_cast<std::uint64_t>(share * static_cast<double>(count_));
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      seen += counts_[i];
      if (seen > wanted || seen == count_) return std::min(upper_edge(i), max_);
    }
    return max_;
  }

 private:
  static constexpr unsigned step_bits = 6;
  static constexpr std::uint64_t steps = 1U << step_bits;
  static constexpr unsigned value_bits = 40;
  static constexpr std::uint64_t value_max = (std::uint64_t{1} << value_bits) - 1;

  // Below 128 ns the value itself; above, its seven highest bits and how far they were shifted.
  static std::size_t index(std::uint64_t value) {
    unsigned shift =
        value < 2 * steps ? 0 : static_cast<unsigned>(std::bit_width(value)) - (step_bits + 1);
    return static_cast<std::size_t>(shift * steps + (value >> shift));
  }

  static std::uint64_t upper_edge(std::size_t index) {
    if (index < 2 * steps) return index;
    std::uint64_t shift = index / steps - 1;
    return ((index - shift * steps + 1) << shift) - 1;
  }

  std::array<std::uint64_t, (value_bits - step_bits + 1) * steps> counts_{};
  std::uint64_t count_ = 0;
  std::uint64_t max_ = 0;
};

}  // namespace bench
