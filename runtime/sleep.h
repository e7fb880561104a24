// Sleeping and giving way: sleep_for, sleep_until, yield.
// Not here: limits on how long something may take (timeout.h). Read next: timer.h, which holds the
// deadlines.
#pragma once

#include <chrono>
#include <coroutine>
#include <cstdint>

#include <rill/runtime/loop.h>
#include <rill/runtime/operation.h>
#include <rill/runtime/timeout.h>

namespace rill {

namespace detail {

inline constexpr operation_type sleep_type{"sleep", nullptr, nullptr, nullptr};

class sleep_awaiter {
 public:
  using rill_awaiter = void;
  sleep_awaiter(std::int64_t amount, bool relative) noexcept
      : amount_(amount), relative_(relative) {}

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> frame) {
    promise_base& awaiting = frame.promise();
    loop& on = awaiting.owner_chain->owner_loop();
    operation& slot = slot_.acquire(on);
    slot.set_deadline(relative_ ? on.deadline_in(amount_) : amount_);
    slot.wait(awaiting, sleep_type);
  }
  void await_resume() noexcept { slot_.release(); }

 private:
  pooled_operation slot_;
  std::int64_t amount_;
  bool relative_;
};

class yield_awaiter {
 public:
  using rill_awaiter = void;
  yield_awaiter() noexcept {}
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> frame) noexcept {
    promise_base& awaiting = frame.promise();
    awaiting.owner_chain->yield(awaiting);
  }
  void await_resume() const noexcept {}
};

}  // namespace detail

/// Suspends for `duration` or longer. Counted from the call, but up to 10 ms of what the loop's
/// turn has done before it may count too. A duration of zero or less still lets the others run.
/// Cancellation: at once. Cost: one pooled slot, no system call of its own (the loop's wait is
/// given the deadline).
[[nodiscard]] inline auto sleep_for(std::chrono::nanoseconds duration) noexcept {
  return detail::sleep_awaiter(duration.count(), true);
}

/// Suspends until the loop's clock has reached `time`.
[[nodiscard]] inline auto sleep_until(loop_clock::time_point time) noexcept {
  return detail::sleep_awaiter(time.time_since_epoch().count(), false);
}

/// Lets every other ready task run once. Also a cancellation point, for long computations.
[[nodiscard]] inline auto yield() noexcept { return detail::yield_awaiter(); }

}  // namespace rill
