// What is tried again, and when. See retry.h.
#include <rill/net/retry.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include <rill/net/resolve_error.h>
#include <rill/runtime/loop.h>
#include <rill/runtime/sleep.h>

namespace rill {
namespace {

/// In [0, 1).
double random_share() {
  std::array<std::byte, 4> bytes;
  loop::current().kernel().random(bytes);
  std::uint32_t number = 0;
  for (const std::byte each : bytes) number = number << 8 | std::to_integer<std::uint32_t>(each);
  return static_cast<double>(number) / 4294967296.0;
}

constexpr std::errc transient[] = {
    std::errc::timed_out,           std::errc::connection_refused,
    std::errc::connection_reset,    std::errc::connection_aborted,
    std::errc::broken_pipe,         std::errc::network_unreachable,
    std::errc::network_down,        std::errc::network_reset,
    std::errc::host_unreachable,    std::errc::resource_unavailable_try_again,
    std::errc::too_many_files_open, std::errc::too_many_files_open_in_system,
    std::errc::no_buffer_space,     std::errc::not_enough_memory,
};

}  // namespace

bool is_transient(const std::error_code& code) noexcept {
  return code == resolve_error::no_answer || code == resolve_error::server_failure ||
         std::any_of(std::begin(transient), std::end(transient),
                     [&](std::errc each) { return code == each; });
}

bool is_transient(const std::exception& error) noexcept {
  const auto* const failure = dynamic_cast<const std::system_error*>(&error);
  return failure != nullptr && is_transient(failure->code());
}

retry_schedule::retry_schedule(const retry_limits& limits, loop_clock::time_point deadline) noexcept
    : limits_(limits), deadline_(deadline), delay_(std::min(limits.delay, limits.delay_max)) {}

std::optional<std::chrono::nanoseconds> retry_schedule::next(std::chrono::nanoseconds least) {
  ++failed_count_;
  if (failed_count_ >= limits_.attempt_count_max) return std::nullopt;
  std::chrono::nanoseconds delay = delay_;
  delay_ = delay_ > limits_.delay_max / 2 ? limits_.delay_max : delay_ * 2;
  if (limits_.jitter > 0) {
    const double spread = static_cast<double>(delay.count()) * std::min(limits_.jitter, 1.0);
    delay -= std::chrono::nanoseconds(static_cast<std::int64_t>(spread * random_share()));
  }
  delay = std::max(delay, least);
  if (loop_clock::after(loop_clock::now(), delay) >= deadline_) return std::nullopt;
  return delay;
}

namespace detail {

std::optional<std::chrono::nanoseconds> after_failure(const retry_policy& policy,
                                                      retry_schedule& schedule,
                                                      const std::exception& error) {
  std::optional<std::chrono::nanoseconds> delay = schedule.next();
  if (policy.is_worth_another && !policy.is_worth_another(error)) delay.reset();
  if (policy.on_failure) {
    policy.on_failure(failed_attempt{schedule.failed_count(), error, delay});
  }
  return delay;
}

task<> pause_for(std::chrono::nanoseconds delay) { co_await sleep_for(delay); }

}  // namespace detail
}  // namespace rill
