// async_generator<T>: a sequence whose producer may wait between its elements.
//   rill::async_generator<std::string> lines(rill::tcp_stream& from);
//   auto all = lines(peer);
//   while (std::string* line = co_await all.next()) ...
// The body runs inside the consumer's chain, only while next() is awaited: it is a part of the
// consumer, not a task beside it. For a producer that runs by itself: a nursery and a channel.
// Read next: task.h, whose frames join a chain in the same way.
#pragma once

#include <coroutine>
#include <exception>
#include <memory>
#include <type_traits>
#include <utility>

#include <rill/runtime/generator.h>
#include <rill/runtime/task.h>

namespace rill {

template <class T>
class async_generator;

namespace detail {

template <class T>
class async_generator_promise : public coroutine_promise {
 public:
  async_generator_promise() noexcept {
    self = std::coroutine_handle<async_generator_promise>::from_promise(*this);
  }
  async_generator<T> get_return_object() noexcept;
  void return_void() const noexcept {}
  void unhandled_exception() noexcept { exception_ = std::current_exception(); }

  /// Lends the value to the consumer until its next next(). Control passes as at the end of a
  /// frame: to the frame that awaits this one, or to the loop when the tick's budget is spent.
  final_awaiter yield_value(T& value) noexcept {
    value_ = std::addressof(value);
    return final_awaiter();
  }
  final_awaiter yield_value(T&& value) noexcept {
    static_assert(yields_temporaries<T>,
                  "g++ 12 destroys a temporary aggregate twice: co_yield a named object, or give "
                  "the type a constructor");
    value_ = std::addressof(value);
    return final_awaiter();
  }
  auto yield_value(const T& value)
    requires(!std::is_const_v<T> && std::is_copy_constructible_v<T>)
  {
    return copied(value);
  }

 private:
  friend class async_generator<T>;

  class copied : public final_awaiter {
   public:
    explicit copied(const T& value) : copy_(value) {}
    transfer_result await_suspend(std::coroutine_handle<async_generator_promise> frame) noexcept {
      frame.promise().value_ = std::addressof(copy_);
      return final_awaiter::await_suspend(frame);
    }

   private:
    T copy_;
  };

  T* value_ = nullptr;
  std::exception_ptr exception_;
  bool running_ = false;  // between next() and what it gives
};

}  // namespace detail

/// A lazy sequence with one consumer at a time.
///
/// Elements: next() gives a pointer to the very object that the body yielded, which may be moved
///   from; it is valid until the next next(). nullptr is the end, and stays the end.
/// Errors: what leaves the body is rethrown from next(), once; then the sequence has ended.
/// Cancellation: a chain that is cancelled while it awaits next() destroys the body at its
///   co_await, then the consumer. If the generator object outlives that (next() under with_timeout,
///   say), the sequence has ended: the body and its progress are gone.
/// Ending early: destroying the generator destroys the body at its co_yield, with its locals.
/// REQUIRES: no second next() while one is awaited; the object stays where it is meanwhile.
/// Lifetime: as a task: arguments are copied into the frame, references must outlive it.
/// Cost: one frame from the per-thread cache for the whole sequence, a transfer of control a step.
template <class T>
class [[nodiscard]] async_generator {
  static_assert(std::is_object_v<T>, "an async_generator yields objects; for references, pointers");
  class next_awaiter;

 public:
  using promise_type = detail::async_generator_promise<T>;
  using value_type = T;

  async_generator(async_generator&& other) noexcept : frame_(other.give_frame()) {}
  async_generator& operator=(async_generator&& other) noexcept {
    if (this != &other) {
      destroy();
      frame_ = other.give_frame();
    }
    return *this;
  }
  ~async_generator() { destroy(); }

  /// Runs the body to its next co_yield: `while (auto* value = co_await numbers.next())`.
  [[nodiscard]] auto next() noexcept { return next_awaiter(*this); }

 private:
  friend promise_type;
  explicit async_generator(promise_type& frame) noexcept : frame_(&frame) {}

  promise_type* frame() const noexcept { return static_cast<promise_type*>(frame_); }
  void destroy() noexcept {
    if (frame_ != nullptr) give_frame()->self.destroy();
  }
  detail::promise_base* give_frame() noexcept {
    RILL_ASSERT(frame_ == nullptr || !frame()->running_,
                "an async_generator was moved or destroyed while its next() is awaited");
    return std::exchange(frame_, nullptr);
  }

  detail::promise_base* frame_;  // nulled by the chain that destroys it
};

/// What next() gives.
template <class T>
class async_generator<T>::next_awaiter {
 public:
  using rill_awaiter = void;
  explicit next_awaiter(async_generator& of) noexcept : generator_(&of) {}

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  detail::transfer_result await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
    detail::promise_base& consumer = awaiting.promise();
    detail::chain& mine = *consumer.owner_chain;
    if (mine.cancel_requested()) [[unlikely]] {
      mine.yield(consumer);  // destroys: the body does not go on
      return detail::transfer_to_loop();
    }
    promise_type* const body = generator_->frame();
    if (body == nullptr || body->self.done()) {
      if (mine.on().may_continue()) return detail::transfer_to(mine.on(), awaiting);
      mine.yield(consumer);
      return detail::transfer_to_loop();
    }
    RILL_ASSERT(!body->running_, "two next() of one async_generator at once");
    body->running_ = true;
    body->value_ = nullptr;
    body->owner_chain = &mine;
    body->parent = &consumer;
    body->owner_slot = &generator_->frame_;
    return detail::transfer_to(mine.on(), body->self);
  }
  T* await_resume() {
    promise_type* const body = generator_->frame();
    if (body == nullptr) return nullptr;
    body->running_ = false;
    if (!body->self.done()) return body->value_;
    if (body->exception_) std::rethrow_exception(std::exchange(body->exception_, nullptr));
    return nullptr;
  }

 private:
  async_generator* generator_;
};

template <class T>
async_generator<T> detail::async_generator_promise<T>::get_return_object() noexcept {
  return async_generator<T>(*this);
}

}  // namespace rill
