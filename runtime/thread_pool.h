// A pool of threads for calls that block: name services, stubborn disks, users' computations.
// One per process, started with the first job and never ended: a call that does not return must
// not keep the program from its end. Not for waiting on sockets: that is the loop's work.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>

#include <rill/runtime/kernel.h>

namespace rill::detail {

class thread_pool {
 public:
  /// Threads at most. Jobs that block on a disk or a lock, not on a processor, are the common
  /// case, so it is not tied to the number of cores.
  static constexpr std::size_t thread_max = 16;

  static thread_pool& shared();

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
};

}  // namespace rill::detail
