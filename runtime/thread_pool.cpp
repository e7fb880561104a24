// The pool of threads for blocking calls. See thread_pool.h.
#include <rill/runtime/thread_pool.h>

#include <unistd.h>

#include <atomic>
#include <memory>
#include <thread>

#include <rill/runtime/loop_group.h>

namespace rill::detail {

thread_pool& thread_pool::shared() {
  // A fork has none of the threads, and its copy of the mutex may be locked by one of them for
  // ever: the child gets a pool of its own.
  static std::atomic<thread_pool*> newest{nullptr};
  thread_pool* pool = newest.load();
  while (pool == nullptr || pool->process_ != ::getpid()) {
    auto made = std::make_unique<thread_pool>(pool);
    if (newest.compare_exchange_strong(pool, made.get())) return *made.release();
  }
  return *pool;
}

thread_pool::thread_pool(thread_pool* parents) noexcept : process_(::getpid()), parents_(parents) {}

void thread_pool::submit(offload_job& job) {
  {
    const std::scoped_lock lock(mutex_);
    jobs_.push_back(&job);
    if (jobs_.size() > idle_count_ && thread_count_ < thread_max) {
      try {
        start_thread();
      } catch (...) {
        if (thread_count_ == 0) {  // else those that there are will come to it
          jobs_.pop_back();
          throw;
        }
      }
    }
  }
  wake_.notify_one();
}

void thread_pool::start_thread() {
  const all_signals_blocked guard;  // signals belong to the loops, never to the pool
  std::thread([this] { work(); }).detach();
  ++thread_count_;
}

void thread_pool::work() {
  leave_core();  // the pool is not bound to the core of the loop that needed it first
  std::unique_lock lock(mutex_);
  for (;;) {
    ++idle_count_;
    wake_.wait(lock, [this] { return !jobs_.empty(); });
    --idle_count_;
    offload_job& job = *jobs_.front();
    jobs_.pop_front();
    lock.unlock();
    job.run();
    job.finished();
    lock.lock();
  }
}

}  // namespace rill::detail
