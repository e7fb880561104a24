// generator<T>: a sequence that a coroutine produces while a range-based for consumes it.
//   rill::generator<std::string_view> words(std::string_view text);
//   for (std::string_view word : words(line)) ...
// Purely synchronous: no loop, no task, no co_await in the body; inside a task it may be iterated
// like any range. Not for a body that waits for something: that is read next, async_generator.h.
#pragma once

#include <coroutine>
#include <cstddef>
#include <exception>
#include <iterator>
#include <memory>
#include <type_traits>
#include <utility>

#include <rill/runtime/error.h>
#include <rill/runtime/frame_cache.h>

namespace rill {

template <class T>
class generator;

namespace detail {

/// co_yield of a temporary aggregate with a destructor: g++ 12 destroys it twice.
template <class T>
inline constexpr bool yields_temporaries =
    !std::is_aggregate_v<T> || std::is_trivially_destructible_v<T>;

template <class T>
class generator_promise {
 public:
  using value_type = std::remove_cvref_t<T>;
  using reference = std::conditional_t<std::is_reference_v<T>, T, T&&>;

  static void* operator new(std::size_t size) { return allocate_frame(size); }
  static void operator delete(void* memory, std::size_t size) noexcept { free_frame(memory, size); }

  generator<T> get_return_object() noexcept;
  std::suspend_always initial_suspend() const noexcept { return {}; }
  std::suspend_always final_suspend() const noexcept { return {}; }
  void return_void() const noexcept {}
  void unhandled_exception() noexcept { exception_ = std::current_exception(); }

  /// Lends the value to the loop's body until the generator is resumed; nothing is copied.
  std::suspend_always yield_value(std::remove_reference_t<T>& value) noexcept {
    value_ = std::addressof(value);
    return {};
  }
  std::suspend_always yield_value(std::remove_reference_t<T>&& value) noexcept
    requires(!std::is_lvalue_reference_v<T> || std::is_const_v<std::remove_reference_t<T>>)
  {
    static_assert(yields_temporaries<value_type>,
                  "g++ 12 destroys a temporary aggregate twice: co_yield a named object, or give "
                  "the type a constructor");
    value_ = std::addressof(value);
    return {};
  }
  /// A constant cannot be lent as T&&: a copy of it is.
  auto yield_value(const value_type& value)
    requires(!std::is_reference_v<T> && !std::is_const_v<T> &&
             std::is_copy_constructible_v<value_type>)
  {
    return copied(value);
  }
  /// The body is synchronous.
  template <class Awaitable>
  void await_transform(Awaitable&&) = delete;

  reference value() const noexcept { return static_cast<reference>(*value_); }
  void rethrow() {
    if (exception_) std::rethrow_exception(std::exchange(exception_, nullptr));
  }

 private:
  class copied {
   public:
    explicit copied(const value_type& value) : copy_(value) {}
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<generator_promise> frame) noexcept {
      frame.promise().value_ = std::addressof(copy_);
    }
    void await_resume() const noexcept {}

   private:
    value_type copy_;
  };

  // What `const T` and references to const yield may be constant.
  std::remove_reference_t<T>* value_ = nullptr;
  std::exception_ptr exception_;
};

}  // namespace detail

/// A lazy sequence, consumed once, front to back.
///
/// Elements: iterating a generator<T> gives T&& to the very object that the body yielded, which
///   may be moved from; generator<const T&> and generator<T&> give those references. An element is
///   valid until the next step.
/// Errors: what leaves the body is rethrown from begin() or from ++.
/// Ending early: destroying the generator destroys the body at its co_yield, with its locals.
/// Lifetime: as a task: arguments are copied into the frame, references must outlive it.
/// Cost: one frame from the per-thread cache, a resumption a step.
template <class T>
class [[nodiscard]] generator {
 public:
  using promise_type = detail::generator_promise<T>;
  class iterator;

  generator(generator&& other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
  generator& operator=(generator&& other) noexcept {
    if (this != &other) {
      if (frame_) frame_.destroy();
      frame_ = std::exchange(other.frame_, nullptr);
    }
    return *this;
  }
  ~generator() {
    if (frame_) frame_.destroy();
  }

  /// Runs the body to its first co_yield. REQUIRES: called once.
  iterator begin() {
    RILL_ASSERT(frame_ && !begun_, "a generator is iterated once");
    begun_ = true;
    iterator first(frame_);
    ++first;
    return first;
  }
  std::default_sentinel_t end() const noexcept { return std::default_sentinel; }

 private:
  friend promise_type;
  explicit generator(std::coroutine_handle<promise_type> frame) noexcept : frame_(frame) {}

  std::coroutine_handle<promise_type> frame_;
  bool begun_ = false;
};

/// An input iterator; move-only, as there is one position.
template <class T>
class generator<T>::iterator {
 public:
  using value_type = typename promise_type::value_type;
  using reference = typename promise_type::reference;
  using difference_type = std::ptrdiff_t;
  using iterator_concept = std::input_iterator_tag;

  iterator(iterator&& other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
  iterator& operator=(iterator&& other) noexcept {
    frame_ = std::exchange(other.frame_, nullptr);
    return *this;
  }

  reference operator*() const noexcept { return frame_.promise().value(); }
  iterator& operator++() {
    frame_.resume();
    if (frame_.done()) frame_.promise().rethrow();
    return *this;
  }
  void operator++(int) { ++*this; }
  friend bool operator==(const iterator& at, std::default_sentinel_t) noexcept {
    return at.frame_.done();
  }

 private:
  friend generator;
  explicit iterator(std::coroutine_handle<promise_type> frame) noexcept : frame_(frame) {}

  std::coroutine_handle<promise_type> frame_;
};

template <class T>
generator<T> detail::generator_promise<T>::get_return_object() noexcept {
  return generator<T>(std::coroutine_handle<generator_promise>::from_promise(*this));
}

}  // namespace rill
