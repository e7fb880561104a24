// The pool of threads for blocking calls. See thread_pool.h.
#include <rill/runtime/thread_pool.h>

#include <unistd.h>

#include <csignal>

#include <rill/runtime/loop_group.h>

namespace rill::detail {
namespace {

/// A child made by fork(2) has no threads but the one that called it: it gets a pool of its own,
/// and leaves its parent's as it is, for nobody there would end.
class pool_of_process {
 public:
  ~pool_of_process() {
    if (process_ == ::getpid()) delete pool_;
  }
  thread_pool& get() {
    const std::scoped_lock lock(mutex_);
    if (process_ != ::getpid()) {
      pool_ = new thread_pool;
      process_ = ::getpid();
    }
    return *pool_;
  }

 private:
  std::mutex mutex_;
  thread_pool* pool_ = nullptr;
  pid_t process_ = 0;
};

}  // namespace

thread_pool& thread_pool::shared() {
  static pool_of_process all;
  return all.get();
}

thread_pool::~thread_pool() {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void thread_pool::submit(offload_job& job) {
  {
    const std::scoped_lock lock(mutex_);
    jobs_.push_back(&job);
    if (jobs_.size() > idle_count_ && threads_.size() < thread_max) {
      // New threads inherit the mask: signals belong to the loops, never to the pool.
      sigset_t all;
      sigset_t before;
      sigfillset(&all);
      pthread_sigmask(SIG_SETMASK, &all, &before);
      try {
        threads_.emplace_back([this] { work(); });
      } catch (const std::system_error&) {
        if (threads_.empty()) {
          jobs_.pop_back();
          pthread_sigmask(SIG_SETMASK, &before, nullptr);
          throw;
        }
      }
      pthread_sigmask(SIG_SETMASK, &before, nullptr);
    }
  }
  wake_.notify_one();
}

void thread_pool::work() {
  leave_core();  // the pool is not bound to the core of the loop that needed it first
  std::unique_lock lock(mutex_);
  for (;;) {
    ++idle_count_;
    wake_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
    --idle_count_;
    if (jobs_.empty()) return;
    offload_job& job = *jobs_.front();
    jobs_.pop_front();
    lock.unlock();
    job.run();
    job.finished();
    lock.lock();
  }
}

}  // namespace rill::detail
