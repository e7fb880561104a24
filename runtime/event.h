// event: a flag that tasks of one loop wait for.
// Not for threads, which set it by loop::post, and not for values: channel.h, remote_channel.h.
// Read next: wait_queue.h.
#pragma once

#include <coroutine>
#include <string>

#include <rill/runtime/task.h>
#include <rill/runtime/wait_queue.h>

namespace rill {

/// A flag, set once or reset and set again. set() makes every waiting task ready, in the order of
/// waiting. Thread rule: one loop's thread; from elsewhere loop::post a function that sets it.
/// REQUIRES: nobody waits when it is destroyed.
class event {
  class awaiter_type;

 public:
  event() noexcept {}

  void set() noexcept {
    set_ = true;
    while (!queue_.empty()) queue_.wake_first();
  }
  void reset() noexcept { set_ = false; }
  bool is_set() const noexcept { return set_; }

  /// Suspends until the flag is set; does not suspend if it is. Cancellation: leaves the queue.
  [[nodiscard]] auto wait() noexcept { return awaiter_type(*this); }

 private:
  class awaiter_type final : public detail::queue_waiter {
   public:
    using rill_awaiter = void;
    explicit awaiter_type(event& of) noexcept : event_(&of) {}
    awaiter_type(awaiter_type&&) noexcept = default;

    bool await_ready() const noexcept { return false; }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> frame) noexcept {
      detail::promise_base& mine = frame.promise();
      if (!event_->set_) {
        event_->queue_.wait(mine, *this);
        return true;
      }
      if (mine.owner_chain->on().may_continue()) return false;
      mine.owner_chain->yield(mine);
      return true;
    }
    void await_resume() const noexcept {}
    void describe(std::string& text) const override { text += "event"; }

   private:
    event* event_;
  };

  detail::wait_queue queue_;
  bool set_ = false;
};

}  // namespace rill
