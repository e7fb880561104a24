// task<T>: a lazy coroutine with one owner and one result.
// Calling a coroutine that returns task<T> runs nothing; `co_await` starts it, and the awaiting
// coroutine goes on when it has ended. There is no detach: to run something beside yourself open a
// nursery. Not here: how a chain of tasks is scheduled (chain.h, loop.cpp).
// Read next: nursery.h.
#pragma once

#include <coroutine>
#include <cstddef>
#include <exception>
#include <memory>
#include <new>
#include <source_location>
#include <type_traits>
#include <utility>

#include <rill/runtime/chain.h>
#include <rill/runtime/error.h>
#include <rill/runtime/frame_cache.h>

namespace rill {

template <class T = void>
class task;

/// What may stand behind co_await in a rill coroutine: awaiters of this library, which name the
/// member type `rill_awaiter`, and tasks that are given away (`co_await std::move(t)`).
template <class Awaiter>
concept awaiter = requires { typename std::remove_cvref_t<Awaiter>::rill_awaiter; };

namespace detail {

template <class T>
class task_awaiter;

/// The end of a coroutine: control passes to the frame that awaits it, or back to the loop.
struct final_awaiter {
  bool await_ready() const noexcept { return false; }
  void await_resume() const noexcept {}
  template <class Promise>
  transfer_result await_suspend(std::coroutine_handle<Promise> ended) noexcept {
    promise_base& frame = ended.promise();
    chain& mine = *frame.owner_chain;
    scheduler& on = mine.on();
    mine.top_ = frame.parent;  // the task tree must not look at a frame that is about to go
    if (frame.parent == nullptr) [[unlikely]] {
      on.finished = &mine;
      return transfer_to_loop();
    }
    if (!on.may_continue()) [[unlikely]] {
      mine.make_ready();
      return transfer_to_loop();
    }
    return transfer_to(on, frame.parent->self);
  }
};

/// Stands for an awaiter that lives elsewhere in the same frame. await_transform must return
/// something, and g++ 12 copies or moves an awaiter that it returns by reference.
template <class Awaiter>
class awaiter_reference {
 public:
  explicit awaiter_reference(Awaiter& awaiter) noexcept : awaiter_(&awaiter) {}
  bool await_ready() { return awaiter_->await_ready(); }
  template <class Promise>
  auto await_suspend(std::coroutine_handle<Promise> frame) {
    return awaiter_->await_suspend(frame);
  }
  decltype(auto) await_resume() { return awaiter_->await_resume(); }

 private:
  Awaiter* awaiter_;
};

/// What every coroutine of this library has in common.
struct coroutine_promise : promise_base {
  static void* operator new(std::size_t size) { return allocate_frame(size); }
  static void operator delete(void* memory, std::size_t size) noexcept { free_frame(memory, size); }

  std::suspend_always initial_suspend() const noexcept { return {}; }
  final_awaiter final_suspend() const noexcept { return {}; }

  /// Every co_await passes here and leaves its place behind, for the task tree: one store.
  template <class Awaitable>
  awaiter_reference<std::remove_reference_t<Awaitable>> await_transform(
      Awaitable&& awaitable, std::source_location here = std::source_location::current()) {
    static_assert(awaiter<Awaitable>, "only awaitables of rill can be awaited in a rill coroutine");
    location = here;
    return awaiter_reference<std::remove_reference_t<Awaitable>>(awaitable);
  }
  template <class T>
  task_awaiter<T> await_transform(task<T>&& child,
                                  std::source_location here = std::source_location::current()) {
    location = here;
    return task_awaiter<T>(&child.release());
  }
  template <class T>
  task_awaiter<T> await_transform(task<T>& child) {
    static_assert(sizeof(task<T>) == 0,
                  "a task has one owner and is given away: co_await std::move(task)");
    return await_transform(std::move(child));
  }
};

/// The result of a coroutine: nothing yet, a value, or an exception.
template <class T>
class result_storage {
 public:
  result_storage() noexcept {}
  result_storage(const result_storage&) = delete;
  result_storage& operator=(const result_storage&) = delete;
  ~result_storage() {
    if (state_ == state::value) value_.~T();
    if (state_ == state::exception) exception_.~exception_ptr();
  }

  template <class Value = T>
    requires std::is_constructible_v<T, Value&&>
  void return_value(Value&& value) noexcept(std::is_nothrow_constructible_v<T, Value&&>) {
    ::new (static_cast<void*>(std::addressof(value_))) T(std::forward<Value>(value));
    state_ = state::value;
  }
  void unhandled_exception() noexcept {
    ::new (static_cast<void*>(std::addressof(exception_)))
        std::exception_ptr(std::current_exception());
    state_ = state::exception;
  }
  bool has_exception() const noexcept { return state_ == state::exception; }
  std::exception_ptr exception() const noexcept { return exception_; }
  T take() {
    if (state_ == state::exception) std::rethrow_exception(exception_);
    return std::move(value_);
  }

 private:
  enum class state : unsigned char { none, value, exception };
  union {
    T value_;
    std::exception_ptr exception_;
  };
  state state_ = state::none;
};

template <class T>
class result_storage<T&> {
 public:
  void return_value(T& value) noexcept { value_ = std::addressof(value); }
  void return_value(std::add_const_t<T>&& temporary) = delete;  // gone before it could be read
  void unhandled_exception() noexcept { exception_ = std::current_exception(); }
  bool has_exception() const noexcept { return exception_ != nullptr; }
  std::exception_ptr exception() const noexcept { return exception_; }
  T& take() {
    if (exception_) std::rethrow_exception(exception_);
    return *value_;
  }

 private:
  T* value_ = nullptr;
  std::exception_ptr exception_;
};

template <>
class result_storage<void> {
 public:
  void return_void() const noexcept {}
  void unhandled_exception() noexcept { exception_ = std::current_exception(); }
  bool has_exception() const noexcept { return exception_ != nullptr; }
  std::exception_ptr exception() const noexcept { return exception_; }
  void take() const {
    if (exception_) std::rethrow_exception(exception_);
  }

 private:
  std::exception_ptr exception_;
};

template <class T>
struct task_promise : coroutine_promise, result_storage<T> {
  task_promise() noexcept { self = std::coroutine_handle<task_promise>::from_promise(*this); }
  task<T> get_return_object() noexcept;
};

/// Starts a task and waits for its end. Owns the task's frame.
template <class T>
class task_awaiter {
 public:
  using rill_awaiter = void;

  explicit task_awaiter(promise_base* child) noexcept : child_(child) {}
  task_awaiter(const task_awaiter&) = delete;
  task_awaiter& operator=(const task_awaiter&) = delete;
  ~task_awaiter() {
    if (child_ != nullptr) child_->self.destroy();
  }

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  transfer_result await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
    promise_base& parent = awaiting.promise();
    chain& mine = *parent.owner_chain;
    if (mine.cancel_requested()) [[unlikely]] {
      mine.yield(parent);  // destroys: the child never begins
      return transfer_to_loop();
    }
    child_->owner_chain = &mine;
    child_->parent = &parent;
    child_->owner_slot = &child_;
    return transfer_to(mine.on(), child_->self);
  }
  T await_resume() { return static_cast<task_promise<T>*>(child_)->take(); }

 private:
  promise_base* child_;
};

}  // namespace detail

/// A coroutine that has not begun.
///
/// Awaiting: `T value = co_await f();` runs f to its end and gives its result, or rethrows what it
///   threw. Only an rvalue can be awaited, once.
/// Cancellation: when the chain that awaits it is cancelled, the innermost operation is withdrawn
///   and the frames are destroyed from the inside out; catch blocks do not run, destructors do.
/// Lifetime: the frame holds copies of the arguments; references in parameters must outlive the
///   co_await. Destroying a task that was never awaited destroys its arguments and runs nothing.
/// Cost: one frame from the per-thread cache, no allocation once it is warm.
template <class T>
class [[nodiscard("a task does nothing until it is awaited")]] task {
 public:
  using promise_type = detail::task_promise<T>;
  using value_type = T;

  task(task&& other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
  task& operator=(task&& other) noexcept {
    if (this != &other) {
      if (frame_ != nullptr) frame_->self.destroy();
      frame_ = std::exchange(other.frame_, nullptr);
    }
    return *this;
  }
  ~task() {
    if (frame_ != nullptr) frame_->self.destroy();
  }

  /// Gives the frame to whoever runs it. For this library's awaiters and scopes.
  detail::task_promise<T>& release() noexcept {
    RILL_ASSERT(frame_ != nullptr, "a task was awaited or started twice");
    return *static_cast<detail::task_promise<T>*>(std::exchange(frame_, nullptr));
  }

 private:
  friend struct detail::task_promise<T>;
  explicit task(detail::promise_base& frame) noexcept : frame_(&frame) {}

  detail::promise_base* frame_;
};

template <class T>
task<T> detail::task_promise<T>::get_return_object() noexcept {
  return task<T>(*this);
}

/// What `co_await` of a task or awaiter gives.
namespace detail {
template <class Awaitable>
struct await_result {
  using type = decltype(std::declval<Awaitable&>().await_resume());
};
template <class T>
struct await_result<task<T>> {
  using type = T;
};
}  // namespace detail
template <class Awaitable>
using await_result_t = typename detail::await_result<std::remove_cvref_t<Awaitable>>::type;

}  // namespace rill
