// How fast one member may speak: so many messages a second, with a burst.
// Who is faster is not refused but read more slowly: a flood waits in the flooder's own socket.
// A value that is given the time. Read next: session.h.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace rill::chat {

/// How fast is too fast.
struct pace_limits {
  /// Messages and commands a second. 0: no limit.
  double rate = 20;
  /// So many at once, after a silence as long as they would have taken.
  unsigned burst = 40;
};

/// The generic cell rate algorithm (ITU-T I.371): one point in time instead of a bucket and a
/// clock.
class pace {
 public:
  /// What a list of names or rooms costs, in messages: they are copied and sorted for it.
  static constexpr unsigned list_cost = 10;

  /// A message was taken at `now`, nanoseconds on the loop's clock; or what costs as much as
  /// `count` of them.
  void spend(std::int64_t now, const pace_limits& limits, unsigned count = 1) noexcept {
    if (limits.rate > 0) due_ = std::max(due_, now) + interval(limits) * count;
  }
  /// When the next message may be taken; not after `now`: at once.
  std::int64_t next(const pace_limits& limits) const noexcept {
    if (limits.rate <= 0) return INT64_MIN;
    return due_ - interval(limits) * std::max(limits.burst, 1U) + interval(limits);
  }

 private:
  static std::int64_t interval(const pace_limits& limits) noexcept {
    return static_cast<std::int64_t>(1e9 / limits.rate);
  }

  std::int64_t due_ = INT64_MIN / 2;  // when all that was taken would have been at an even pace
};

}  // namespace rill::chat
