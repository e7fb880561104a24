// A pool of threads for calls that block: name services, stubborn disks, users' computations.
// One per process, started with the first job and never ended: a call that does not return must
// not keep the program from its end. Not for waiting on sockets: that is the loop's work.
#pragma once

#include <condition_variable>
#include <csignal>
#include <cstddef>
#include <deque>
#include <mutex>

#include <rill/runtime/kernel.h>

namespace rill::detail {

/// While it lives the calling thread takes no signal. New threads inherit the mask of their maker.
class all_signals_blocked {
 public:
  all_signals_blocked() noexcept {
    sigset_t all;
    sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  all_signals_blocked(const all_signals_blocked&) = delete;
  all_signals_blocked& operator=(const all_signals_blocked&) = delete;
  ~all_signals_blocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

class thread_pool {
 public:
  /// Threads at most. Jobs that block on a disk or a lock, not on a processor, are the common
  /// case, so it is not tied to the number of cores.
  static constexpr std::size_t thread_max = 16;

  static thread_pool& shared();
  explicit thread_pool(thread_pool* parents) noexcept;

  /// Queues the job. Throws std::system_error when not a single thread can be started, or
  /// std::bad_alloc; then the job is not queued.
  void submit(offload_job& job);

 private:
  void start_thread();
  [[noreturn]] void work();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<offload_job*> jobs_;
  std::size_t thread_count_ = 0;
  std::size_t idle_count_ = 0;
  int process_;
  [[maybe_unused]] thread_pool*
      parents_;  // of the process that this one was forked from: not to be lost, only
};

}  // namespace rill::detail
