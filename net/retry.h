// retry: an operation tried again while its failures are worth another attempt.
//   rill::retry_policy policy;
//   policy.limits.attempt_count_max = 5;
//   auto stream = co_await rill::retry(policy, [&] { return rill::connect(host, port); });
// Not here: sparing a peer that fails again and again (circuit_breaker.h), a limit on how often
// something is begun (rate_limiter.h), a time-out for each attempt (with_timeout inside of it).
// Read next: retry.cpp; tests/net/retry_test.cpp shows how they are put together.
#pragma once

#include <chrono>
#include <exception>
#include <functional>
#include <optional>
#include <system_error>
#include <type_traits>
#include <utility>

#include <rill/runtime/task.h>
#include <rill/runtime/timeout.h>

namespace rill {

/// How often, and how far apart.
struct retry_limits {
  /// The first attempt counts too; 0 is as good as 1.
  unsigned attempt_count_max = 3;
  /// Before the second attempt; doubled for each that follows. Equal to delay_max: always that.
  std::chrono::nanoseconds delay = std::chrono::milliseconds(250);
  std::chrono::nanoseconds delay_max = std::chrono::seconds(10);
  /// The share of a delay that is drawn at random, so that many clients which failed together do
  /// not come back together: with 0.5 between half of it and all of it is waited. 0: all of it.
  double jitter = 0.5;
  /// Of everything, the delays included. Far off: only the attempts are counted.
  std::chrono::nanoseconds timeout = std::chrono::nanoseconds::max();
};
static_assert(std::is_trivially_destructible_v<retry_limits>);

/// The delays between the attempts of one operation. For those who retry by hand, because failures
/// are values or the peer says when to come back; retry() is made of it.
/// Thread rule: the loop's thread; it draws its random numbers from the loop's kernel.
class retry_schedule {
 public:
  /// `deadline`: no attempt begins at that time or later.
  explicit retry_schedule(const retry_limits& limits,
                          loop_clock::time_point deadline = loop_clock::time_point::max()) noexcept;

  /// Counts a failed attempt. How long to wait before the next one, at least `least`; nullopt:
  /// there is none, because all have been made or the deadline would pass first.
  std::optional<std::chrono::nanoseconds> next(
      std::chrono::nanoseconds least = std::chrono::nanoseconds(0));
  unsigned failed_count() const noexcept { return failed_count_; }

 private:
  retry_limits limits_;
  loop_clock::time_point deadline_;
  std::chrono::nanoseconds delay_;  // before the next attempt, without jitter
  unsigned failed_count_ = 0;
};

/// One attempt has failed.
struct failed_attempt {
  unsigned number;  ///< 1 for the first
  const std::exception& error;
  /// Until the next attempt; nullopt: there is none, and retry() throws `error`.
  std::optional<std::chrono::nanoseconds> delay;
};

/// True for what may be gone the next time: a time-out, a connection that was refused, reset or
/// unreachable, name servers that did not answer or could not tell, an open circuit, descriptors or
/// memory of the kernel's that were short. False for what stays: no such name, a bad argument, a
/// rejected certificate, and everything that is no std::system_error.
bool is_transient(const std::exception& error) noexcept;
/// The same of the code alone.
bool is_transient(const std::error_code& code) noexcept;

/// What is tried again, how often, and who is told of it.
class retry_policy {
 public:
  retry_policy() {}
  explicit retry_policy(const retry_limits& how) : limits(how) {}

  retry_limits limits{};
  /// Whether a failure is worth another attempt. What the operation does must bear repetition:
  /// retry() cannot know how far a failed attempt got. Empty: every std::exception is.
  std::function<bool(const std::exception&)> is_worth_another =
      static_cast<bool (*)(const std::exception&)>(is_transient);
  /// Told of each failed attempt before the delay, and of the last. What it throws ends retry().
  std::function<void(const failed_attempt&)> on_failure;
};

namespace detail {

/// The end of a failed attempt: nullopt if its error is to be thrown.
std::optional<std::chrono::nanoseconds> after_failure(const retry_policy& policy,
                                                      retry_schedule& schedule,
                                                      const std::exception& error);
/// Waits between two attempts.
task<> pause_for(std::chrono::nanoseconds delay);

template <class T, class Operation>
task<T> retry_until(retry_policy policy, Operation operation) {
  const bool has_deadline = policy.limits.timeout != std::chrono::nanoseconds::max();
  const loop_clock::time_point deadline =
      loop_clock::after(loop_clock::now(), policy.limits.timeout);
  retry_schedule schedule(policy.limits, deadline);
  for (;;) {
    std::optional<std::chrono::nanoseconds> delay;
    try {
      if (has_deadline) co_return co_await with_deadline(deadline, operation());
      co_return co_await operation();
    } catch (const std::exception& error) {
      delay = after_failure(policy, schedule, error);
      if (!delay) throw;
    }
    co_await pause_for(*delay);
  }
}

}  // namespace detail

/// Calls `operation()`, which returns a task or an operation, and awaits it; after a failure that
/// is worth it again, until it succeeds.
///
/// Completes with the first success, or with the error of the last attempt.
/// Errors: what the last attempt threw. When limits.timeout has passed, the attempt under way is
///   cancelled and its timeout_error is thrown; a delay that would end after it is not begun, and
///   the error of the last attempt is thrown at once. An exception that is no std::exception is
///   not caught.
/// Cancellation: at any time; what an attempt had done stays done.
/// Lifetime: an operation with a name is referred to and must outlive the co_await; one without is
///   moved into the frame, and captures by reference, for g++ 12 destroys such a lambda twice
///   otherwise.
/// Cost: a frame, a chain for each attempt if there is a time-out, and what the attempts cost.
/// Example: examples/robust_client.cpp.
template <class Operation>
[[nodiscard]] auto retry(retry_policy policy, Operation&& operation) {
  static_assert(
      std::is_lvalue_reference_v<Operation> || std::is_trivially_destructible_v<Operation>,
      "capture by reference, or give the operation a name: a temporary lambda with "
      "captures by value is destroyed twice by g++ 12");
  using result_type = await_result_t<std::invoke_result_t<Operation&>>;
  return detail::retry_until<result_type, Operation>(std::move(policy),
                                                     std::forward<Operation>(operation));
}

}  // namespace rill
