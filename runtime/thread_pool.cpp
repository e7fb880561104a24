// The pool of threads for blocking calls. See thread_pool.h.
#include <rill/runtime/thread_pool.h>

#include <unistd.h>

#include <csignal>
#include <thread>

#include <rill/runtime/loop_group.h>

namespace rill::detail {
namespace {

/// A child made by fork(2) has no threads but the one that called it: it gets a pool of its own,
/// and leaves its parent's as it is.
class pool_of_process {
 public:
  thread_pool& get() {
    const std::scoped_lock lock(mutex_);
    if (process_ != ::getpid()) {
      inherited_ = pool_;  // of no use, and no leak
      pool_ = new thread_pool;
      process_ = ::getpid();
    }
    return *pool_;
  }

 private:
  std::mutex mutex_;
  thread_pool* pool_ = nullptr;
  [[maybe_unused]] thread_pool* inherited_ = nullptr;
  pid_t process_ = 0;
};

/// New threads inherit the mask of their maker: signals belong to the loops, never to the pool.
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

}  // namespace

thread_pool& thread_pool::shared() {
  static auto* const all = new pool_of_process;
  return all->get();
}

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
  const all_signals_blocked guard;
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
