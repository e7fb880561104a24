// rate_limiter: no more than so many in a time, as a peer's rules or one's own courtesy demand.
// A bucket of tokens: it fills at a steady rate, holds a burst, and who begins something takes one.
// Not here: how many may be under way at once (semaphore.h). Read next: rate_limiter.cpp.
#pragma once

#include <chrono>
#include <cstddef>

#include <rill/runtime/semaphore.h>
#include <rill/runtime/task.h>
#include <rill/runtime/timeout.h>

namespace rill {

/// Thread rule: one loop's thread. REQUIRES: outlives its acquire()s.
class rate_limiter {
 public:
  /// `count` in each `period`, evenly: one token every period / count, rounded up to a nanosecond.
  /// After a pause up to `burst` may be taken at once; at the beginning too.
  /// REQUIRES: none of them is 0, and the burst fills within a century.
  rate_limiter(std::size_t count, std::chrono::nanoseconds period, std::size_t burst = 1);
  rate_limiter(const rate_limiter&) = delete;
  rate_limiter& operator=(const rate_limiter&) = delete;

  /// Waits for `count` tokens and takes them; first come, first served, whatever they ask for.
  ///
  /// Cancellation: leaves the line and takes nothing. Cost: a frame; a sleep for the first in line.
  /// REQUIRES: 1 <= count <= burst.
  [[nodiscard]] task<> acquire(std::size_t count = 1);
  /// Takes them if they are there and nobody waits; false: takes none. REQUIRES: as acquire().
  bool try_acquire(std::size_t count = 1) noexcept;

 private:
  loop_clock::time_point available_at(std::size_t count) const noexcept;
  void take(std::size_t count) noexcept;

  std::chrono::nanoseconds interval_;  // for one token
  std::chrono::nanoseconds capacity_;  // for a burst
  loop_clock::time_point full_at_{};   // when the bucket is full again; long ago: it is
  mutex turn_;                         // who holds it is the first in line
};

}  // namespace rill
