// loop_group: one task on each of several loops, each loop on a thread and a core of its own.
//   rill::loop_group group(settings.threads);
//   co_await group.run([&](unsigned index) -> rill::task<> {
//     co_await rill::serve(listeners[index], session);
//   });
// Loops share nothing: what one has for another travels by loop::post or remote_channel.h.
// Not here: threads for calls that block (blocking.h). Read next: loop_group.cpp.
#pragma once

#include <concepts>
#include <coroutine>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <rill/runtime/chain.h>
#include <rill/runtime/loop.h>
#include <rill/runtime/task.h>

namespace rill {

/// How the loops of a group are made.
struct loop_group_options {
  /// Each loop's thread stays on a core of its own, if there are as many cores as loops. Threads
  /// that a task starts begin with that core; the pool of run_blocking is not bound to it.
  bool pin = true;
};

namespace detail {
class group_scope;
}

/// Several loops: the one that runs here, and new ones for as many threads. In the simulator, which
/// is one thread, they run on the same host in turns that the seed orders.
///
/// Thread rule: made, run and destroyed in one task; stop(), stop_now(), at() and size() from any
///   thread while the group runs.
/// Cost: a ring and a thread per further loop. With one loop nothing but a task beside the caller.
class loop_group {
 public:
  /// Opens the queues of `loop_count` - 1 loops, on the kernel and with the options of the loop
  /// that runs here. Throws kernel_error. REQUIRES: loop_count is not 0.
  explicit loop_group(unsigned loop_count, const loop_group_options& options = {});
  loop_group(const loop_group&) = delete;
  loop_group& operator=(const loop_group&) = delete;
  ~loop_group();

  unsigned size() const noexcept { return static_cast<unsigned>(loops_.size()) + 1; }
  /// Number 0 is the loop on which the group was made. The others live until run() has ended.
  loop& at(unsigned index) noexcept { return index == 0 ? *home_ : *loops_[index - 1]; }

  /// Runs `body(index)`, which returns task<>, on every loop of the group, and waits for all of
  /// them. A loop whose task has ended still takes messages until all have ended. Once only.
  ///
  /// Errors: the first exception cancels the tasks of all loops and is rethrown when they have
  ///   ended; a thread that cannot be started counts as one (io_error, EAGAIN). Later exceptions
  ///   are dropped.
  /// Cancellation: of the awaiting task cancels the tasks of all loops. A task that is cancelled
  ///   by its own loop's stop() ends alone. loop::stop_now() of loop 0 reaches all.
  /// Body: is called on every loop's thread at once; what it captures by reference is shared. In
  ///   the simulator a body that blocks its thread until another loop has done something (a mutex
  ///   held across turns, std::latch) blocks all of them for ever.
  template <class Body>
    requires std::same_as<std::invoke_result_t<Body&, unsigned>, task<void>>
  [[nodiscard]] auto run(Body&& body) noexcept;

  /// Cancels the tasks of all loops; run() then returns normally. No effect when it does not run.
  void stop();
  /// stop(), and hurry() is set on every loop.
  void stop_now();

 private:
  friend class detail::group_scope;

  loop* home_;
  std::vector<std::unique_ptr<loop>> loops_;  // all but number 0
  loop_group_options options_;
  bool has_run_ = false;
  detail::group_scope* running_ = nullptr;  // touched on loop 0 only
};

namespace detail {

/// The wait for the tasks of a group.
class group_scope : public scope {
 public:
  void child_done(chain& child, bool completed) noexcept override;
  void cancel(chain&) noexcept override { stop_all(); }
  void describe(std::string& text) const override;

  void stop_all() noexcept;
  void hurry_all() noexcept;

 protected:
  explicit group_scope(loop_group& group) noexcept;
  ~group_scope();
  virtual task<void> begin(unsigned index) = 0;
  void suspend(promise_base& awaiting);
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  struct member;
  static task<void> relay_hurry(group_scope& scope);

  void start_threads();
  void fail(std::exception_ptr error) noexcept;
  void member_ended(member& ended) noexcept;
  void one_ended() noexcept;
  void finish() noexcept;
  void member_gone() noexcept;
  void all_gone() noexcept;
  void settle() noexcept;

  loop_group* group_;
  std::optional<chain> local_;  // the task of loop 0
  std::optional<chain> relay_;  // waits for loop 0's hurry; not cancelled before the end
  std::vector<std::unique_ptr<member>> members_;
  std::exception_ptr error_;
  std::size_t running_count_ = 0;
  std::size_t gone_count_ = 0;
  bool any_destroyed_ = false;
};

template <class Body>
class group_awaiter final : public group_scope {
 public:
  using rill_awaiter = void;

  group_awaiter(loop_group& group, Body&& body) noexcept
      : group_scope(group), body_(std::forward<Body>(body)) {}

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> frame) {
    suspend(frame.promise());
  }
  void await_resume() const { rethrow(); }

 private:
  task<void> begin(unsigned index) override { return std::invoke(body_, index); }

  Body body_;
};

/// Lets the calling thread use all cores that the process had before a group pinned its threads.
void leave_core() noexcept;

}  // namespace detail

template <class Body>
  requires std::same_as<std::invoke_result_t<Body&, unsigned>, task<void>>
auto loop_group::run(Body&& body) noexcept {
  static_assert(std::is_lvalue_reference_v<Body> || std::is_trivially_destructible_v<Body>,
                "capture by reference, or give the body a name: a temporary lambda with captures "
                "by value is destroyed twice by g++ 12");
  return detail::group_awaiter<Body>(*this, std::forward<Body>(body));
}

}  // namespace rill
