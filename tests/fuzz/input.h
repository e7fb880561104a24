// What fuzz targets share: a finding, and taking the input apart.
// Numbers come from the front, one byte each where that is enough, so that a change of one byte is
// a small change of what is done.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string_view>

namespace rill::fuzz {

/// Ends the program, which is a finding, unless `holds`.
inline void check(bool holds, std::string_view promise) {
  if (holds) return;
  std::fprintf(stderr, "not kept: %.*s\n", static_cast<int>(promise.size()), promise.data());
  std::abort();
}

class input {
 public:
  input(const std::uint8_t* data, std::size_t size) : rest_(data, size) {}

  bool empty() const { return rest_.empty(); }
  /// 0 when there is none left.
  std::uint8_t byte() {
    if (rest_.empty()) return 0;
    const std::uint8_t taken = rest_.front();
    rest_ = rest_.subspan(1);
    return taken;
  }
  /// 0 to `most`, which is at most 65,535.
  std::size_t number(std::size_t most) {
    const std::size_t low = byte();
    return most < 256 ? low % (most + 1) : (low | std::size_t{byte()} << 8) % (most + 1);
  }
  /// At most `size` bytes.
  std::span<const std::uint8_t> bytes(std::size_t size) {
    const auto taken = rest_.first(std::min(size, rest_.size()));
    rest_ = rest_.subspan(taken.size());
    return taken;
  }
  std::string_view text(std::size_t size) {
    const auto taken = bytes(size);
    return {reinterpret_cast<const char*>(taken.data()), taken.size()};
  }
  std::string_view rest() { return text(rest_.size()); }

 private:
  std::span<const std::uint8_t> rest_;
};

}  // namespace rill::fuzz
