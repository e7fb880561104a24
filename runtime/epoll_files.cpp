// Calls that a disk may hold up: open, stat, sync, close of a file, and reads that the page cache
// cannot answer; and the close of a socket that lingers. A thread of the pool makes them; an
// eventfd tells the loop that one has returned. Not here: pipes and terminals, which epoll can
// watch (epoll_attempt.cpp).
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <exception>
#include <new>
#include <string>
#include <utility>

#include <rill/runtime/epoll_kernel.h>
#include <rill/runtime/frame_cache.h>
#include <rill/runtime/thread_pool.h>

namespace rill::detail {
namespace {

// Reads up to this size are tried from the page cache, by the loop itself. Longer ones would keep
// the other tasks waiting while they are copied.
constexpr std::size_t cached_read_size_max = 128 * 1024;
constexpr std::uint64_t current_position = UINT64_MAX;  // sqe->off of -1

template <class Call>
std::int64_t repeat(Call call) noexcept {
  for (;;) {
    const auto result = call();
    if (result >= 0) return result;
    if (errno != EINTR) return -errno;
  }
}

bool is_open(unsigned opcode) noexcept {
  return opcode == IORING_OP_OPENAT || opcode == IORING_OP_OPENAT2;
}

}  // namespace

/// One call in the pool. The request stays with the kernel; what the call needs of it is here.
class file_job final : public offload_job {
 public:
  file_job(epoll_kernel& on, request& asked) : request_of(&asked), kernel_(&on), asked_(asked) {
    if (is_open(asked.opcode) || asked.opcode == IORING_OP_STATX) {
      path_ = reinterpret_cast<const char*>(asked.memory);
    }
    if (asked.target != nullptr) generation = asked.target->generation;
  }

  static void* operator new(std::size_t size) { return allocate_frame(size); }
  static void operator delete(void* memory, std::size_t size) noexcept { free_frame(memory, size); }

  void run() noexcept override {
    stage expected = stage::queued;
    if (stage_.compare_exchange_strong(expected, stage::running)) result = call();
  }
  void finished() noexcept override { kernel_->job_finished(*this); }

  /// Before it has begun: then it never will.
  bool withdraw() noexcept {
    stage expected = stage::queued;
    return stage_.compare_exchange_strong(expected, stage::withdrawn);
  }
  void unblock() noexcept;
  void finish_unblocking() noexcept;

  unsigned opcode() const noexcept { return asked_.opcode; }

  request* request_of;  // nullptr: withdrawn
  std::uint32_t generation = 0;
  std::int64_t result = -ECANCELED;
  descriptor_kind opened_kind = descriptor_kind::unknown;

 private:
  enum class stage : std::uint8_t { queued, running, withdrawn };

  std::int64_t call() noexcept;
  std::int64_t open() noexcept;
  std::int64_t transfer() noexcept;

  epoll_kernel* kernel_;
  request asked_;
  std::string path_;
  std::atomic<stage> stage_{stage::queued};
  int other_end_ = -1;  // of a FIFO, opened by unblock()
};

std::int64_t file_job::call() noexcept {
  switch (asked_.opcode) {
    case IORING_OP_OPENAT:
    case IORING_OP_OPENAT2:
      return open();
    case IORING_OP_STATX:
      return repeat([this] {
        return ::statx(asked_.descriptor, path_.c_str(), static_cast<int>(asked_.flags),
                       asked_.size, reinterpret_cast<struct statx*>(asked_.offset));
      });
    case IORING_OP_FSYNC:
      return repeat([this] {
        const bool data_only = (asked_.flags & IORING_FSYNC_DATASYNC) != 0;
        return data_only ? ::fdatasync(asked_.descriptor) : ::fsync(asked_.descriptor);
      });
    case IORING_OP_CLOSE:
      return negative_errno(
          ::close(asked_.descriptor));  // never again: the number may be another's
    default:
      return transfer();
  }
}

std::int64_t file_job::open() noexcept {
  const std::int64_t made = repeat([this]() -> long {
    if (asked_.opcode == IORING_OP_OPENAT2) {
      open_how how{asked_.flags, asked_.size, asked_.offset};
      return ::syscall(SYS_openat2, asked_.descriptor, path_.c_str(), &how, sizeof(how));
    }
    return ::openat(asked_.descriptor, path_.c_str(), static_cast<int>(asked_.flags),
                    static_cast<mode_t>(asked_.size));
  });
  struct stat status{};
  if (made >= 0 && ::fstat(static_cast<int>(made), &status) == 0) {
    // The loop need not ask a slow disk for it.
    opened_kind = kind_of_file(status.st_mode);
  }
  return made;
}

std::int64_t file_job::transfer() noexcept {
  std::byte* const memory = asked_.memory + asked_.done;
  const std::size_t size = asked_.size - asked_.done;
  const bool reads = asked_.opcode == IORING_OP_READ;
  const auto done = static_cast<std::int64_t>(asked_.done);
  std::int64_t moved = -ESPIPE;
  if (asked_.offset != current_position) {
    const auto offset = static_cast<off_t>(asked_.offset + asked_.done);
    moved = repeat([&] {
      return reads ? ::pread(asked_.descriptor, memory, size, offset)
                   : ::pwrite(asked_.descriptor, memory, size, offset);
    });
  }
  if (moved == -ESPIPE) {  // a device without a position
    moved = repeat([&] {
      return reads ? ::read(asked_.descriptor, memory, size)
                   : ::write(asked_.descriptor, memory, size);
    });
  }
  if (moved < 0) return done != 0 ? done : moved;
  return done + moved;
}

/// To open a FIFO waits for somebody who opens its other end, and no call can take that back: so
/// both ends are opened here, until the thread has returned.
void file_job::unblock() noexcept {
  struct stat status{};
  if (other_end_ >= 0 || !is_open(asked_.opcode) ||
      ::fstatat(asked_.descriptor, path_.c_str(), &status, 0) != 0 || !S_ISFIFO(status.st_mode)) {
    return;
  }
  other_end_ = ::openat(asked_.descriptor, path_.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
}

void file_job::finish_unblocking() noexcept {
  if (other_end_ < 0) return;
  ::close(std::exchange(other_end_, -1));
  if (result < 0) return;
  ::close(static_cast<int>(result));
  result = -ECANCELED;
}

// ---------------------------------------------------------------- the kernel's side

/// 0, or a negative errno: then the next job tries again.
int epoll_kernel::open_job_descriptor() noexcept {
  if (job_descriptor_ >= 0) return 0;
  const int made = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (made < 0) return -errno;
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;
  event.data.u64 = job_tag;
  if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, made, &event) != 0) {
    const int failure = -errno;
    ::close(made);
    return failure;
  }
  job_descriptor_ = made;
  return 0;
}

void epoll_kernel::start_job(const request& asked, watch* on) noexcept {
  if (on != nullptr && on->closing && asked.opcode != IORING_OP_CLOSE) {
    answer(asked, -EBADF);
    return;
  }
  int status = open_job_descriptor();
  request* const kept = status < 0 ? nullptr : keep(asked);
  file_job* const job = kept == nullptr ? nullptr : make_job(*kept, on);
  if (job == nullptr) {
    if (kept != nullptr) drop(*kept);
    if (status == 0) status = -ENOMEM;
    if (asked.opcode == IORING_OP_CLOSE) {  // closed it is in any case: the loop has to wait
      on->closing = false;
      status = negative_errno(::close(asked.descriptor));
    }
    answer(asked, status);
    return;
  }
  try {
    thread_pool::shared().submit(*job);
  } catch (const std::exception&) {  // not one thread, or no memory: the loop has to wait
    job->run();
    job->finished();
  }
}

/// nullptr: there is no memory.
file_job* epoll_kernel::make_job(request& kept, watch* on) noexcept {
  try {
    {
      const std::scoped_lock lock(job_mutex_);
      finished_jobs_.reserve(finished_jobs_.size() + running_job_count_ + 1);
    }
    kept.target = on;
    kept.job = new file_job(*this, kept);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
  if (on != nullptr) ++on->job_count;
  const std::scoped_lock lock(job_mutex_);
  ++running_job_count_;
  return kept.job;
}

void epoll_kernel::job_finished(file_job& job) noexcept {
  // All of it under the lock: wait_for_jobs() may end the kernel right behind it.
  const std::scoped_lock lock(job_mutex_);
  finished_jobs_.push_back(&job);
  --running_job_count_;
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(job_descriptor_, &one, sizeof(one));
  job_ended_.notify_all();
}

void epoll_kernel::take_finished_jobs() noexcept {
  for (;;) {
    std::unique_ptr<file_job> job;
    {
      // Taken one by one, so that the list keeps the room that make_job() has seen to.
      const std::scoped_lock lock(job_mutex_);
      if (finished_jobs_.empty()) return;
      job.reset(finished_jobs_.front());
      finished_jobs_.erase(finished_jobs_.begin());
    }
    job->finish_unblocking();
    request* const asked = job->request_of;
    if (asked == nullptr) continue;  // withdrawn: its descriptor was let go with it
    if (is_open(job->opcode()) && job->result >= 0) {
      job->result = begin_life(static_cast<int>(job->result), job->opened_kind);
    }
    watch* const on = asked->target;
    asked->result = static_cast<int>(job->result);
    end(*asked);
    if (on == nullptr || on->generation != job->generation) continue;
    --on->job_count;
    if (job->opcode() == IORING_OP_CLOSE) {
      on->closing = false;  // the number is free, unless it has begun anew
    } else if (on->closing) {
      close_if_idle(*on);
    }
  }
}

void epoll_kernel::wait_for_jobs() noexcept {
  std::unique_lock lock(job_mutex_);
  job_ended_.wait(lock, [this] { return running_job_count_ == 0; });
  for (file_job* const each : finished_jobs_) {
    each->finish_unblocking();
    if (is_open(each->opcode()) && each->result >= 0) {
      ::close(static_cast<int>(each->result));
    }
    if (each->opcode() == IORING_OP_CLOSE && each->request_of != nullptr) {
      watch* const on = each->request_of->target;  // nobody closes the number again
      if (on != nullptr && on->generation == each->generation) on->closing = false;
    }
    delete each;
  }
  finished_jobs_.clear();
}

/// True when it will not be made. Else it is being made, and completes by itself.
bool epoll_kernel::cancel_job(file_job& job) noexcept {
  if (job.withdraw()) {
    watch* const on = job.request_of->target;
    if (on != nullptr && on->generation == job.generation) --on->job_count;
    job.request_of = nullptr;
    return true;
  }
  job.unblock();
  return false;
}

/// What the page cache holds of a file, without a thread. blocked: the pool has to read the rest.
progress epoll_kernel::read_cached(watch& on, request& tried) noexcept {
  if (tried.offset == current_position || tried.size > cached_read_size_max) {
    return progress::blocked;
  }
  while (!on.no_nowait) {
    const iovec piece{tried.memory + tried.done, tried.size - tried.done};
    const ssize_t got = ::preadv2(tried.descriptor, &piece, 1,
                                  static_cast<off_t>(tried.offset + tried.done), RWF_NOWAIT);
    if (got < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN) on.no_nowait = true;  // or an error, which the pool finds again
      break;
    }
    tried.done += static_cast<std::size_t>(got);
    if (got == 0 || tried.done == tried.size) {
      tried.result = static_cast<int>(tried.done);
      return progress::finished;
    }
  }
  return progress::blocked;
}

}  // namespace rill::detail
