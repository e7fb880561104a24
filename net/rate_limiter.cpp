// A bucket of tokens as a point in time. See rate_limiter.h.
#include <rill/net/rate_limiter.h>

#include <algorithm>
#include <cstdint>

#include <rill/runtime/error.h>
#include <rill/runtime/sleep.h>

namespace rill {
namespace {

constexpr std::chrono::nanoseconds century = std::chrono::hours(24 * 36525);

}  // namespace

rate_limiter::rate_limiter(std::size_t count, std::chrono::nanoseconds period, std::size_t burst) {
  RILL_ASSERT(count != 0 && period.count() > 0 && burst != 0,
              "a rate limiter lets something through, in some time");
  const auto whole = static_cast<std::uint64_t>(period.count());
  const std::uint64_t interval = whole / count + (whole % count == 0 ? 0 : 1);
  RILL_ASSERT(burst <= static_cast<std::uint64_t>(century.count()) / interval,
              "a rate limiter's burst takes more than a century to fill");
  interval_ = std::chrono::nanoseconds(interval);
  capacity_ = std::chrono::nanoseconds(interval * burst);
}

/// When `count` tokens are in the bucket. Each that is missing is an interval until it is full.
loop_clock::time_point rate_limiter::available_at(std::size_t count) const noexcept {
  RILL_ASSERT(count != 0 && count <= static_cast<std::size_t>(capacity_ / interval_),
              "more tokens were asked for than a burst has, or none");
  return full_at_ + interval_ * static_cast<std::int64_t>(count) - capacity_;
}

void rate_limiter::take(std::size_t count) noexcept {
  full_at_ = std::max(full_at_, loop_clock::now()) + interval_ * static_cast<std::int64_t>(count);
}

bool rate_limiter::try_acquire(std::size_t count) noexcept {
  if (turn_.is_locked() || loop_clock::now() < available_at(count)) return false;
  take(count);
  return true;
}

task<> rate_limiter::acquire(std::size_t count) {
  const auto mine = co_await turn_.lock();
  const loop_clock::time_point when = available_at(count);
  if (loop_clock::now() < when) co_await sleep_until(when);
  take(count);
}

}  // namespace rill
