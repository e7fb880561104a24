// The unit that is scheduled and cancelled: a chain of coroutine frames, each awaiting the next.
// The outermost frame belongs to a scope (a nursery, a time-out, any_of ...); only the innermost is
// ever resumed. This is machinery: users meet it through task.h, nursery.h and timeout.h.
// Read next: task.h (how frames join a chain), loop.cpp (the one place that resumes or destroys).
#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <source_location>
#include <string>

#include <rill/runtime/error.h>

namespace rill {
class loop;
}

namespace rill::detail {

class chain;
class scope;
struct promise_base;

/// Something that a chain is suspended on: an operation, a timer, a queue, a scope.
class waiting {
 public:
  /// The chain is to be cancelled while it waits here. Either withdraws at once and calls
  /// chain::destroy_later, or starts to withdraw and settles the chain when the answer comes: by
  /// make_ready if the awaited thing had completed anyway, by destroy_later if not.
  virtual void cancel(chain& waiter) noexcept = 0;
  /// Appends one phrase for the task tree, such as "read 127.0.0.1:40112 (descriptor 9)".
  virtual void describe(std::string& text) const = 0;
  /// The scope whose children stand below the waiting chain in the task tree, or nullptr.
  virtual const scope* as_scope() const noexcept { return nullptr; }

 protected:
  waiting() = default;
  waiting(const waiting&) = default;
  waiting& operator=(const waiting&) = default;
  ~waiting() = default;
};

/// What the coroutine headers need of a loop; class loop derives from it.
struct scheduler {
  /// Resumptions that a chain may make without suspending before others get their turn. A chain
  /// that is always ready (a full channel, a long buffer) cannot starve the ring.
  static constexpr int tick_budget = 256;

  chain* running = nullptr;
  chain* finished = nullptr;           // its outermost frame has just reached its end
  int budget = 0;                      // what `running` has left in this tick
  std::coroutine_handle<> transfer{};  // the frame that the trampoline resumes next
  chain* ready_head = nullptr;
  chain* ready_tail = nullptr;
  std::size_t ready_count = 0;
  std::size_t chain_count = 0;
  std::int64_t now = 0;  // nanoseconds on the kernel's clock, read once a turn

  void make_ready(chain& waiter) noexcept;
  /// For await_ready: true while the running chain may go on without suspending.
  bool may_continue() noexcept { return --budget >= 0; }

 protected:
  ~scheduler() = default;
};

/// The part of a coroutine's promise that does not depend on its result.
struct promise_base {
  std::coroutine_handle<> self{};
  chain* owner_chain = nullptr;
  promise_base* parent = nullptr;       // the frame that awaits this one
  promise_base** owner_slot = nullptr;  // where the parent's awaiter keeps this frame
  std::source_location location{};      // of the co_await in progress
};

/// The chain itself. Embedded in whatever starts it: an awaiter, or a nursery's child record.
class chain {
 public:
  chain(scope& parent, scheduler& on) noexcept;
  chain(const chain&) = delete;
  chain& operator=(const chain&) = delete;
  virtual ~chain();

  /// Takes the outermost frame, which must be suspended at its start, and queues the chain.
  void start(promise_base& root) noexcept;

  /// Asks for cancellation. Idempotent. A chain whose awaited operation has completed still gets
  /// the result and is destroyed at its next co_await.
  void cancel() noexcept;
  bool cancel_requested() const noexcept { return cancel_requested_; }

  /// The innermost frame suspends on `on`. Returns false when the chain is being cancelled: then
  /// nothing may be started, the frame is destroyed by the loop.
  bool suspend(promise_base& innermost, waiting& on) noexcept {
    top_ = &innermost;
    if (cancel_requested_) [[unlikely]] {
      destroy_later();
      return false;
    }
    waiting_on_ = &on;
    since_ = scheduler_->now;
    return true;
  }
  /// The innermost frame gives way: it goes on after the others that are ready. Returns false
  /// when the chain is being cancelled.
  bool yield(promise_base& innermost) noexcept;

  void make_ready() noexcept { scheduler_->make_ready(*this); }
  /// The loop will destroy the frames, innermost first, and tell the parent scope.
  void destroy_later() noexcept;
  /// Destroys the outermost frame of a chain that has completed, and with it what the task owns by
  /// value. After its outcome was taken, and before what it may refer to.
  void free_root() noexcept;

  scheduler& on() const noexcept { return *scheduler_; }
  loop& owner_loop() const noexcept;
  const waiting* waiting_on() const noexcept { return waiting_on_; }
  const promise_base* top() const noexcept { return top_; }
  promise_base* root() const noexcept { return root_; }
  std::int64_t since() const noexcept { return since_; }
  bool is_ready() const noexcept { return queued_; }

 private:
  friend struct scheduler;
  friend class scope;
  friend class rill::loop;
  friend struct final_awaiter;

  void destroy_frames() noexcept;

  chain* next_ready_ = nullptr;
  chain* previous_sibling_ = nullptr;
  chain* next_sibling_ = nullptr;
  scope* parent_;
  scheduler* scheduler_;
  promise_base* root_ = nullptr;
  promise_base* top_ = nullptr;
  waiting* waiting_on_ = nullptr;
  std::int64_t since_ = 0;
  bool queued_ = false;
  bool started_ = false;
  bool cancel_requested_ = false;
  bool destroy_requested_ = false;
};

/// A set of chains that one chain waits for.
class scope : public waiting {
 public:
  scope() = default;
  scope(const scope&) = delete;
  scope& operator=(const scope&) = delete;

  /// A child has ended: by completing (its result or exception lies in its root's promise) or by
  /// being destroyed. Called by the loop, never from within a coroutine.
  virtual void child_done(chain& child, bool completed) noexcept = 0;
  const scope* as_scope() const noexcept override { return this; }

  chain* first_child() const noexcept { return first_; }
  static chain* next_child(const chain& child) noexcept { return child.next_sibling_; }
  std::size_t child_count() const noexcept { return count_; }
  void cancel_children() noexcept;
  /// The chain that waits for this scope; nullptr until it is awaited.
  chain* owner() const noexcept { return owner_; }

 protected:
  ~scope();
  chain* owner_ = nullptr;

 private:
  friend class chain;
  chain* first_ = nullptr;
  chain* last_ = nullptr;
  std::size_t count_ = 0;
};

inline void scheduler::make_ready(chain& waiter) noexcept {
  RILL_ASSERT(!waiter.queued_, "a chain was made ready twice");
  waiter.queued_ = true;
  waiter.next_ready_ = nullptr;
  if (ready_tail == nullptr) {
    ready_head = &waiter;
  } else {
    ready_tail->next_ready_ = &waiter;
  }
  ready_tail = &waiter;
  ++ready_count;
}

// How control passes from frame to frame. Clang: symmetric transfer. GCC keeps its tail call only
// from -O2 on and never under ASan or TSan, and overflows the stack without it; there every
// transfer returns to loop::resume, which resumes the next frame (about 2 ns more an await).
#if defined(__clang__)
using transfer_result = std::coroutine_handle<>;
inline transfer_result transfer_to(scheduler&, std::coroutine_handle<> next) noexcept {
  return next;
}
inline transfer_result transfer_to_loop() noexcept { return std::noop_coroutine(); }
#else
using transfer_result = void;
inline void transfer_to(scheduler& on, std::coroutine_handle<> next) noexcept {
  on.transfer = next;
}
inline void transfer_to_loop() noexcept {}
#endif

}  // namespace rill::detail
