// The queues, and one turn: take SQEs, wait, hand what epoll reports to the requests that wait.
// Nothing is registered twice: a descriptor is watched edge-triggered in all directions that were
// ever waited for, and what a call said last (watch::readable) decides whether to try or to wait.
// See epoll_kernel.h. Read next: epoll_submit.cpp.
#include <rill/runtime/epoll_kernel.h>

#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

namespace rill {
namespace detail {
namespace {

// Events taken at once. Few, so that what a turn has received is still in the cache when the tasks
// get it, and so that the lent receive buffers (128 at first) last for a turn.
constexpr int event_max = 64;
// How far ahead a descriptor's record is fetched into the cache; with thousands of connections each
// event finds it elsewhere.
constexpr int prefetch_distance = 4;
// Nothing tells when the queue of another Unix socket has room again: connect(2), or sendmsg(2) of
// a datagram, is repeated.
constexpr std::int64_t stalled_pause = 2'000'000;  // nanoseconds
constexpr std::size_t cancelled_usually = 256;     // by one request: room made ahead

}  // namespace

epoll_kernel::~epoll_kernel() {
  wait_for_jobs();
  for (const std::unique_ptr<watch[]>& block : watches_) {
    if (block == nullptr) continue;
    for (unsigned i = 0; i < watch_block_size; ++i) {
      if (block[i].closing) ::close(block[i].descriptor);  // for which a request still waited
    }
  }
  for (request& each : requests_) delete each.message;
  if (job_descriptor_ >= 0) ::close(job_descriptor_);
  if (epoll_ >= 0) ::close(epoll_);
}

io_uring& epoll_kernel::open(const queue_sizes& sizes) {
  const unsigned submission = std::min(sizes.submission, ring_entry_max);
  const unsigned completion = std::max(submission, std::min(sizes.completion, 2 * ring_entry_max));
  if (!std::has_single_bit(submission) || !std::has_single_bit(completion)) {
    throw kernel_error(EINVAL, "the sizes of the queues must be powers of two");
  }
  epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
  if (epoll_ < 0) {
    throw kernel_error(errno, std::string("cannot use epoll: ") + std::strerror(errno));
  }
  open_wake_descriptor();
  found_.reserve(cancelled_usually);
  return queues_.open(submission, completion);
}

// ---------------------------------------------------------------- a turn

int epoll_kernel::enter(unsigned to_submit, unsigned min_complete, std::int64_t deadline) noexcept {
  flush_overflow();
  const unsigned taken = take_submissions(to_submit);
  // What has completed at once is worth a turn of the loop before epoll is asked, but not two:
  // whoever keeps completing must not keep the others from being heard.
  if (looked_ && queues_.completion_count() >= std::max(min_complete, 1U)) {
    looked_ = false;
    return static_cast<int>(taken);
  }
  looked_ = true;
  const int status = wait(min_complete, deadline);
  return taken != 0 || status == 0 ? static_cast<int>(taken) : status;
}

unsigned epoll_kernel::take_submissions(unsigned count) noexcept {
  const unsigned published = std::min(count, queues_.published_count());
  for (unsigned i = 0; i < published; ++i) submit(queues_.take());
  return published;
}

int epoll_kernel::wait(unsigned min_complete, std::int64_t deadline) noexcept {
  std::array<epoll_event, event_max> events;
  for (;;) {
    // Those that had their share come behind what epoll reports.
    watch* const queued = std::exchange(queued_first_, nullptr);
    queued_last_ = nullptr;
    std::int64_t until = deadline;
    if (queues_.completion_count() >= min_complete || queued != nullptr) {
      until = 0;
    } else if (!stalled_.empty()) {
      until = std::min(until, stalled_until_);
    }
    const int count = wait_for_events(events.data(), event_max, until);
    for (int i = 0; i < count; ++i) {
      if (i + prefetch_distance < count) {
        __builtin_prefetch(find(static_cast<int>(events[i + prefetch_distance].data.u32)));
      }
      handle(events[i].data.u64, events[i].events);
    }
    if (!stalled_.empty() && now() >= stalled_until_) [[unlikely]]
      retry_stalled();
    serve_queued(queued);
    if (queues_.completion_count() >= min_complete) return 0;
    if (count < 0) return count;
    if (deadline != no_deadline && now() >= deadline) return -ETIME;
  }
}

/// At least one event, or none at the deadline; at once when that has passed.
int epoll_kernel::wait_for_events(epoll_event* events, int count, std::int64_t deadline) noexcept {
  constexpr std::int64_t per_second = 1'000'000'000;
  constexpr std::int64_t per_millisecond = 1'000'000;
  std::int64_t left = 0;
  if (deadline == no_deadline) {
    left = -1;
  } else if (deadline != 0) {
    left = std::max<std::int64_t>(0, deadline - now());
  }
  if (left > 0 && has_precise_wait_) {
    const timespec timeout{left / per_second, left % per_second};
    const long status =
        ::syscall(SYS_epoll_pwait2, epoll_, events, count, &timeout, nullptr, std::size_t{0});
    if (status >= 0) return static_cast<int>(status);
    // Missing, or unknown to an old seccomp profile.
    if (errno != ENOSYS && errno != EPERM) return -errno;
    has_precise_wait_ = false;
  }
  int timeout = -1;
  if (left >= 0) {
    // Rounded up: a sleep is never too short.
    const std::int64_t rounded = (left + per_millisecond - 1) / per_millisecond;
    timeout = static_cast<int>(std::min<std::int64_t>(rounded, INT32_MAX));
  }
  return negative_errno(::epoll_wait(epoll_, events, count, timeout));
}

// ---------------------------------------------------------------- what epoll reports

void epoll_kernel::handle(std::uint64_t tag, unsigned events) noexcept {
  if (tag == job_tag) {
    take_finished_jobs();
    return;
  }
  watch* const on = find(static_cast<int>(static_cast<std::uint32_t>(tag)));
  // Of another life of the number: a copy of the descriptor in another process keeps it registered.
  if (on == nullptr || on->generation != tag >> 32) return;
  constexpr unsigned unusual = EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI;
  if ((events & (EPOLLIN | unusual)) != 0) on->readable = true;
  // A stalled socket is writable as epoll has it, and each attempt makes it say so anew.
  const unsigned writable = on->stalled ? EPOLLHUP | EPOLLERR : EPOLLOUT | EPOLLHUP | EPOLLERR;
  if ((events & writable) != 0) on->writable = true;
  // An end of the stream that has come together with bytes is reported only once, and urgent data
  // makes a receive stop in the middle.
  if ((events & unusual) != 0) on->until_empty = true;
  if (on->pollers != nullptr) tell_pollers(*on, events);
  serve(*on);
}

void epoll_kernel::tell_pollers(watch& on, unsigned events) noexcept {
  for (request* each = on.pollers; each != nullptr;) {
    request* const next = each->next;
    if (poll_completed(*each, events) == progress::finished) end(*each);
    each = next;
  }
}

void epoll_kernel::serve(watch& on) noexcept {
  const bool more_to_read = serve_list(on, on.readers, true);
  const bool more_to_write = serve_list(on, on.writers, false);
  if (more_to_read || more_to_write) queue(on);
  if (on.closing) [[unlikely]]
    close_if_idle(on);
}

/// True when there is more to do, but not in this turn.
bool epoll_kernel::serve_list(watch& on, request_list& waiting, bool readers) noexcept {
  while (waiting.first != nullptr && (readers ? on.readable : on.writable)) {
    request& first = *waiting.first;
    switch (attempt(on, first)) {
      case progress::finished:
        end(first);
        break;
      case progress::blocked:
        return false;
      case progress::unfinished:
        return true;
    }
  }
  return false;
}

void epoll_kernel::queue(watch& on) noexcept {
  if (on.queued) return;
  on.queued = true;
  on.next_queued = nullptr;
  (queued_last_ == nullptr ? queued_first_ : queued_last_->next_queued) = &on;
  queued_last_ = &on;
}

void epoll_kernel::serve_queued(watch* first) noexcept {
  while (first != nullptr) {
    watch& on = *first;
    first = on.next_queued;
    on.queued = false;
    serve(on);
  }
}

/// Its first writer is to be tried again after a while.
void epoll_kernel::stall(watch& on) noexcept {
  if (on.stalled) return;
  if (stalled_.empty()) stalled_until_ = now() + stalled_pause;
  stalled_.push_back(&on);
  on.stalled = true;
}

void epoll_kernel::retry_stalled() noexcept {
  for (watch* const each : std::exchange(stalled_, {})) {
    each->stalled = false;
    each->writable = true;
    serve(*each);
  }
}

// ---------------------------------------------------------------- completions

void epoll_kernel::flush_overflow() noexcept {
  if (overflow_.empty()) [[likely]]
    return;
  const auto place = [this](const completion& kept) {
    return queues_.place(kept.user_data, kept.result, kept.flags);
  };
  while (!overflow_.empty() && place(overflow_.front())) overflow_.pop_front();
  queues_.tell_overflow(!overflow_.empty());
}

void epoll_kernel::post(std::uint64_t user_data, int result, unsigned flags) noexcept {
  if (overflow_.empty() && queues_.place(user_data, result, flags)) [[likely]]
    return;
  overflow_.push_back({user_data, result, flags});
  queues_.tell_overflow(true);
}

/// One of several completions. False when the queue is full: then the request must end, as a
/// multishot does on the ring.
bool epoll_kernel::post_more(request& continued, int result, unsigned flags) noexcept {
  if (!overflow_.empty() || queues_.is_full()) return false;
  post(continued.user_data, result, flags | IORING_CQE_F_MORE);
  return true;
}

// ---------------------------------------------------------------- buffer rings

int epoll_kernel::register_buffer_ring(void* ring, unsigned entry_count,
                                       std::uint16_t group) noexcept {
  return queues_.register_buffers(ring, entry_count, group);
}

int epoll_kernel::unregister_buffer_ring(std::uint16_t group) noexcept {
  return queues_.unregister_buffers(group);
}

}  // namespace detail

std::unique_ptr<kernel> make_epoll_kernel() { return std::make_unique<detail::epoll_kernel>(); }

}  // namespace rill
