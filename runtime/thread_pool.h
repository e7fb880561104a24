// A pool of threads for calls that block: name services, stubborn disks, users' computations.
// One per process, started with the first job. Not for waiting on sockets: that is the loop's work.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include <rill/runtime/kernel.h>

namespace rill::detail {

class thread_pool {
 public:
  /// Threads at most. Jobs that block on a disk or a lock, not on a processor, are the common
  /// case, so it is not tied to the number of cores.
  static constexpr std::size_t thread_max = 16;

  static thread_pool& shared();
  ~thread_pool();

  /// Queues the job. Throws std::system_error when not a single thread can be started.
  void submit(offload_job& job);

 private:
  void work();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<offload_job*> jobs_;
  std::vector<std::thread> threads_;
  std::size_t idle_count_ = 0;
  bool stopping_ = false;
};

}  // namespace rill::detail
