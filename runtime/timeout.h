// Deadlines and shields: with_timeout, with_deadline, shielded.
// Deadlines nest; the nearest wins. A deadline on a single operation is a timer in its slot and
// costs a store; on a task it is a chain of its own that is cancelled.
// Read next: sleep.h.
#pragma once

#include <chrono>
#include <coroutine>
#include <cstdint>
#include <string>
#include <utility>

#include <rill/runtime/loop.h>
#include <rill/runtime/operation.h>
#include <rill/runtime/task.h>

namespace rill {

/// The loop's clock: monotonic, virtual under simulation.
struct loop_clock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<loop_clock>;
  static constexpr bool is_steady = true;

  /// The time at which the current turn of this thread's loop began. REQUIRES: a loop runs.
  static time_point now() noexcept { return time_point(duration(loop::current().now)); }
  /// `amount` after `start`; the end of the clock where that does not fit.
  static constexpr time_point after(time_point start, duration amount) noexcept {
    return time_point(
        duration(detail::deadline_after(start.time_since_epoch().count(), amount.count())));
  }
};

namespace detail {

/// A chain that runs one task for another chain: what with_timeout and shielded are made of.
template <class T>
class subtask : public scope {
 public:
  /// The task comes with begin().
  subtask() noexcept : root_(nullptr) {}
  explicit subtask(task<T>&& inner) noexcept : root_(&inner.release()) {}
  /// Before it is awaited only: so that it can be given to all_of, any_of and the like.
  subtask(subtask&& other) noexcept : root_(std::exchange(other.root_, nullptr)) {}
  ~subtask() {
    if (chain_) {
      chain_->~chain();
    } else if (root_ != nullptr) {
      root_->self.destroy();
    }
  }

 protected:
  bool begin(promise_base& awaiting) noexcept {
    RILL_ASSERT(owner_ == nullptr && root_ != nullptr, "a time-out or a shield was awaited twice");
    if (!awaiting.owner_chain->suspend(awaiting, *this)) return false;
    owner_ = awaiting.owner_chain;
    chain_ = ::new (static_cast<void*>(storage_)) chain(*this, owner_->on());
    chain_->start(*std::exchange(root_, nullptr));
    return true;
  }
  bool begin(promise_base& awaiting, task<T>&& inner) noexcept {
    root_ = &inner.release();
    return begin(awaiting);
  }
  chain& inner() noexcept { return *chain_; }
  task_promise<T>& outcome() noexcept { return *static_cast<task_promise<T>*>(chain_->root()); }

 private:
  task_promise<T>* root_;
  alignas(chain) std::byte storage_[sizeof(chain)];
  chain* chain_ = nullptr;
};

template <class T>
class timeout_task_awaiter final : public subtask<T>, public timer_node {
 public:
  using rill_awaiter = void;

  timeout_task_awaiter(task<T>&& inner, std::int64_t amount, bool relative) noexcept
      : subtask<T>(std::move(inner)), amount_(amount), relative_(relative) {}
  timeout_task_awaiter(timeout_task_awaiter&& other) noexcept
      : subtask<T>(std::move(other)), amount_(other.amount_), relative_(other.relative_) {}

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> frame) {
    promise_base& awaiting = frame.promise();
    loop& on = awaiting.owner_chain->owner_loop();
    // First, since it may throw for want of memory: nothing has begun then.
    on.timers().arm(*this, relative_ ? on.deadline_in(amount_) : amount_);
    if (!this->begin(awaiting)) on.timers().remove(*this);
  }
  T await_resume() {
    if (!completed_) throw timeout_error("task");
    return this->outcome().take();
  }

  void expired() noexcept override { this->inner().cancel(); }
  void child_done(chain&, bool completed) noexcept override {
    this->owner_->owner_loop().timers().remove(*this);
    completed_ = completed;
    // Destroyed although its own waiter is not being cancelled: only the deadline does that.
    if (!completed && this->owner_->cancel_requested()) {
      this->owner_->destroy_later();
    } else {
      this->owner_->make_ready();
    }
  }
  void cancel(chain&) noexcept override { this->inner().cancel(); }
  void describe(std::string& text) const override { text += "task with a deadline"; }

 private:
  std::int64_t amount_;
  bool relative_;
  bool completed_ = false;
};

template <class T>
class shield_awaiter final : public subtask<T> {
 public:
  using rill_awaiter = void;
  explicit shield_awaiter(task<T>&& inner) noexcept : subtask<T>(std::move(inner)) {}
  shield_awaiter(shield_awaiter&& other) noexcept : subtask<T>(std::move(other)) {}

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> frame) {
    this->begin(frame.promise());
  }
  T await_resume() { return this->outcome().take(); }

  void child_done(chain&, bool) noexcept override { this->owner_->make_ready(); }
  void cancel(chain&) noexcept override {}
  void describe(std::string& text) const override { text += "shielded task"; }
};

/// An operation with a deadline of its own: no chain, no frame.
template <operation_awaiter Awaiter>
class timeout_operation_awaiter {
 public:
  using rill_awaiter = void;
  timeout_operation_awaiter(Awaiter&& inner, std::int64_t amount, bool relative) noexcept
      : inner_(std::move(inner)), amount_(amount), relative_(relative) {}

  bool await_ready() { return inner_.await_ready(); }
  template <class Promise>
  auto await_suspend(std::coroutine_handle<Promise> frame) {
    const std::int64_t own =
        relative_ ? frame.promise().owner_chain->owner_loop().deadline_in(amount_) : amount_;
    inner_.set_deadline(own < outer_ ? own : outer_);
    return inner_.await_suspend(frame);
  }
  decltype(auto) await_resume() { return inner_.await_resume(); }
  /// A nearer deadline from outside wins.
  void set_deadline(std::int64_t deadline) noexcept { outer_ = deadline; }
  auto take_result() { return inner_.take_result(); }

 private:
  Awaiter inner_;
  std::int64_t amount_;
  std::int64_t outer_ = timer_node::never;
  bool relative_;
};

/// Any other awaiter becomes a task of one line.
template <awaiter Awaiter>
task<await_result_t<Awaiter>> as_task(Awaiter inner) {
  co_return co_await std::move(inner);
}

}  // namespace detail

/// Runs a task or an operation for at most `duration`, then cancels it and throws timeout_error
/// (as_result, for an operation: a value with is_timeout()). What completed before it could be
/// withdrawn is returned all the same.
///
/// The time counts from the await. Of what the loop's turn has done before it, up to 10 ms may
///   count too: a limit shorter than that, after a computation as long, may pass at once.
/// Errors: what the task or operation throws; timeout_error names the operation, or "task".
/// Cancellation: passes through. To be awaited once.
/// Cost: of an operation, the reading of a coarse clock (3 ns) and a store or, the first
///   time, a place in the heap of timers. Of a task also a chain in the caller's frame (about 200
///   bytes), its own place in the ready list, and the removal from the heap, O(log n). No
///   allocation on a warm loop.
/// Example: examples/03_timeout.cpp.
template <class T>
[[nodiscard]] auto with_timeout(std::chrono::nanoseconds duration, task<T> inner) noexcept {
  return detail::timeout_task_awaiter<T>(std::move(inner), duration.count(), true);
}
template <awaiter Awaiter>
[[nodiscard]] auto with_timeout(std::chrono::nanoseconds duration, Awaiter&& inner) {
  static_assert(!std::is_lvalue_reference_v<Awaiter>, "give the operation itself");
  if constexpr (operation_awaiter<Awaiter>) {
    return detail::timeout_operation_awaiter<Awaiter>(std::forward<Awaiter>(inner),
                                                      duration.count(), true);
  } else {
    return with_timeout(duration, detail::as_task(std::forward<Awaiter>(inner)));
  }
}

/// The same with a point in time on the loop's clock, for a limit over several awaits.
template <class T>
[[nodiscard]] auto with_deadline(loop_clock::time_point deadline, task<T> inner) noexcept {
  return detail::timeout_task_awaiter<T>(std::move(inner), deadline.time_since_epoch().count(),
                                         false);
}
template <awaiter Awaiter>
[[nodiscard]] auto with_deadline(loop_clock::time_point deadline, Awaiter&& inner) {
  static_assert(!std::is_lvalue_reference_v<Awaiter>, "give the operation itself");
  if constexpr (operation_awaiter<Awaiter>) {
    return detail::timeout_operation_awaiter<Awaiter>(std::forward<Awaiter>(inner),
                                                      deadline.time_since_epoch().count(), false);
  } else {
    return with_deadline(deadline, detail::as_task(std::forward<Awaiter>(inner)));
  }
}

/// Runs a task to its end even if the awaiting chain is cancelled meanwhile; the cancellation
/// takes effect at the next co_await after it. For the few steps that must not stop half-way, such
/// as telling a database to roll back: put a deadline inside, nothing else will end it. To be
/// awaited once. Cost: a chain in the caller's frame (about 160 bytes) and two passes through the
/// ready list; no allocation.
template <class T>
[[nodiscard]] auto shielded(task<T> inner) noexcept {
  return detail::shield_awaiter<T>(std::move(inner));
}

}  // namespace rill
