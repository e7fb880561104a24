// run_blocking: a call that blocks, made on a thread of the pool while the task waits.
// For what has no operation of its own: a database client, a slow computation, a file system that
// stalls. Not for sockets, and not for anything that touches the loop or its tasks.
// Read next: blocking.cpp, thread_pool.h.
#pragma once

#include <atomic>
#include <coroutine>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include <rill/runtime/kernel.h>
#include <rill/runtime/loop.h>
#include <rill/runtime/task.h>

namespace rill {
namespace detail {

/// A call on its way through the pool and back. It is freed on the loop's thread, by the awaiter or
/// by the call's return, whichever comes last; on the pool's thread once the loop has let it go.
class blocking_job : public waiting, public loop_object, public offload_job, public message {
 public:
  /// Hands the call to the pool and suspends. Throws std::system_error when no thread can be had.
  void start(promise_base& awaiting);
  /// The awaiter is gone.
  void release() noexcept;

  void cancel(chain& waiter) noexcept final;
  void describe(std::string& text) const final { text += "blocking call"; }
  void run() noexcept final;
  void finished() noexcept final;
  bool let_go() noexcept final;
  void deliver() noexcept final;
  void drop() noexcept final { delete this; }

 protected:
  blocking_job() = default;
  virtual ~blocking_job() = default;

 private:
  virtual void call() noexcept = 0;
  virtual void forget() noexcept = 0;

  loop* loop_ = nullptr;
  // Who frees it: whoever of loop and pool comes second to say so.
  enum class fate : unsigned char { under_way, returned, let_go };

  std::atomic<bool> dropped_{false};  // nobody wants the result
  std::atomic<fate> fate_{fate::under_way};
  // The loop's thread only:
  chain* waiter_ = nullptr;
  bool in_flight_ = false;
  bool released_ = false;  // the awaiter is gone
};

template <class Result, class Function, class... Arguments>
class blocking_call final : public blocking_job, public result_storage<Result> {
 public:
  template <class F, class... A>
  explicit blocking_call(F&& function, A&&... arguments)
      : bound_(std::in_place, std::forward<F>(function), std::forward<A>(arguments)...) {}

 private:
  void call() noexcept override {
    try {
      if constexpr (std::is_void_v<Result>) {
        invoke();
      } else {
        this->return_value(invoke());
      }
    } catch (...) {
      this->unhandled_exception();
    }
    forget();
  }
  Result invoke() {
    return std::apply(
        [](Function&& function, Arguments&&... arguments) -> Result {
          return std::invoke(std::move(function), std::move(arguments)...);
        },
        std::move(*bound_));
  }
  void forget() noexcept override { bound_.reset(); }

  std::optional<std::tuple<Function, Arguments...>> bound_;
};

template <class Result, class Call>
class blocking_awaiter {
 public:
  using rill_awaiter = void;
  explicit blocking_awaiter(Call* made) noexcept : call_(made) {}

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> frame) {
    call_->start(frame.promise());
  }
  Result await_resume() { return call_->take(); }

 private:
  struct release {
    void operator()(Call* call) const noexcept { call->release(); }
  };
  std::unique_ptr<Call, release> call_;
};

}  // namespace detail

/// `auto rows = co_await run_blocking(query, std::move(statement));` calls `query(statement)` on a
/// thread of the pool (one pool a process, 16 threads at most; inline under simulation).
///
/// Result: what the call returns, or what it throws.
/// Cancellation: the waiter is released at once. A call that has begun runs to its end on its
///   thread and its result is dropped; one that has not begun is not made. The loop ends only when
///   the call has returned, or after loop::stop_now() (the second SIGTERM): then a call that does
///   not return goes on beside whatever follows, to the end of the process, static destructors
///   included.
/// Lifetime: callable and arguments are moved or copied into a record of the pool and destroyed on
///   its thread, after the call. So NEVER capture or pass a reference to something in your frame
///   unless the task cannot be cancelled: the frame may be gone while the call still runs.
/// The callable is a named object, or a function or lambda that is trivially destructible: g++ 12
///   destroys a temporary with captures by value twice inside a co_await. Owned data travels as
///   arguments, as in nursery::start.
/// Concurrency: the call runs beside the loop; what it shares with tasks needs its own locks.
/// Cost: one allocation, two context switches.
template <class Function, class... Arguments>
[[nodiscard]] auto run_blocking(Function&& function, Arguments&&... arguments) {
  static_assert(std::is_lvalue_reference_v<Function> || std::is_trivially_destructible_v<Function>,
                "pass what it owns as arguments, or give the callable a name: a temporary lambda "
                "with captures by value is destroyed twice by g++ 12");
  using result_type = std::invoke_result_t<std::decay_t<Function>, std::decay_t<Arguments>...>;
  static_assert(!std::is_rvalue_reference_v<result_type>, "return the object itself");
  static_assert(
      !requires { typename result_type::promise_type; },
      "run_blocking calls ordinary functions; a coroutine belongs on the loop");
  using call =
      detail::blocking_call<result_type, std::decay_t<Function>, std::decay_t<Arguments>...>;
  return detail::blocking_awaiter<result_type, call>(
      new call(std::forward<Function>(function), std::forward<Arguments>(arguments)...));
}

}  // namespace rill
