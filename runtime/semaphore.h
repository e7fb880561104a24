// semaphore and mutex: permits that are given back by themselves.
// For tasks of one loop, where a mutex is needed only around a co_await. Not for threads: what they
// share needs a lock of theirs. Read next: wait_queue.h.
#pragma once

#include <coroutine>
#include <cstddef>
#include <string>
#include <utility>

#include <rill/runtime/task.h>
#include <rill/runtime/wait_queue.h>

namespace rill {

/// A number of permits, given in the order of asking. Thread rule: one loop's thread.
/// REQUIRES: outlives its permits; nobody waits when it is destroyed.
class semaphore {
  class awaiter_type;

 public:
  /// Held permission; gives itself back when destroyed, so a cancelled task keeps nothing.
  class [[nodiscard]] permit {
   public:
    permit() noexcept {}
    permit(permit&& other) noexcept : from_(std::exchange(other.from_, nullptr)) {}
    permit& operator=(permit&& other) noexcept {
      if (this != &other) {
        release();
        from_ = std::exchange(other.from_, nullptr);
      }
      return *this;
    }
    ~permit() { release(); }

    void release() noexcept {
      if (from_ != nullptr) std::exchange(from_, nullptr)->give_back();
    }
    explicit operator bool() const noexcept { return from_ != nullptr; }

   private:
    friend class semaphore;
    explicit permit(semaphore& from) noexcept : from_(&from) {}
    semaphore* from_ = nullptr;
  };

  explicit semaphore(std::size_t permit_count) noexcept : available_(permit_count) {}

  /// Waits for a permit. A permit that was handed over just before a cancellation is delivered.
  [[nodiscard]] auto acquire() noexcept { return awaiter_type(*this); }
  /// An empty permit (false) when none is free.
  permit try_acquire() noexcept {
    if (available_ == 0) return permit();
    --available_;
    return permit(*this);
  }
  /// Adds a permit that nobody held, for permits that stand for produced items.
  void add() noexcept { give_back(); }

  std::size_t available() const noexcept { return available_; }
  std::size_t waiting_count() const noexcept { return queue_.size(); }

 private:
  class awaiter_type final : public detail::queue_waiter {
   public:
    using rill_awaiter = void;
    explicit awaiter_type(semaphore& of) noexcept : semaphore_(&of) {}
    awaiter_type(awaiter_type&& other) noexcept : semaphore_(other.semaphore_) {}

    bool await_ready() const noexcept { return false; }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> frame) noexcept {
      detail::promise_base& mine = frame.promise();
      if (semaphore_->available_ == 0) {
        semaphore_->queue_.wait(mine, *this);
        return true;
      }
      if (!mine.owner_chain->on().may_continue() && !mine.owner_chain->yield(mine)) return true;
      --semaphore_->available_;
      return mine.owner_chain->is_ready();
    }
    permit await_resume() const noexcept { return permit(*semaphore_); }
    void describe(std::string& text) const override { text += "semaphore"; }

   private:
    semaphore* semaphore_;
  };

  void give_back() noexcept {
    if (queue_.empty()) {
      ++available_;
    } else {
      queue_.wake_first();  // the permit passes to it directly
    }
  }

  detail::wait_queue queue_;
  std::size_t available_;
};

/// Mutual exclusion between tasks of one loop, across their co_awaits. Within one loop nothing
/// else needs a lock: tasks change only at co_await.
class mutex {
 public:
  /// Holds the mutex until it is destroyed.
  using guard = semaphore::permit;

  mutex() noexcept : one_(1) {}
  /// `auto guard = co_await m.lock();` First come, first served.
  [[nodiscard]] auto lock() noexcept { return one_.acquire(); }
  guard try_lock() noexcept { return one_.try_acquire(); }
  bool is_locked() const noexcept { return one_.available() == 0; }

 private:
  semaphore one_;
};

}  // namespace rill
