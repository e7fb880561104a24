// The nursery: the only way to run tasks beside each other.
// A nursery is a body, an awaited call, and ends when the body and every task started in it have
// ended; so no task outlives the scope that started it, and no error is lost.
//   co_await rill::with_nursery([&](rill::nursery& tasks) -> rill::task<> {
//     tasks.start(serve_one, std::move(peer));
//     co_await something();
//   });
// Read next: combine.h for results of several tasks, timeout.h for deadlines.
#pragma once

#include <concepts>
#include <coroutine>
#include <exception>
#include <functional>
#include <memory>
#include <new>
#include <tuple>
#include <type_traits>
#include <utility>

#include <rill/runtime/chain.h>
#include <rill/runtime/task.h>

namespace rill {

/// The handle inside the body: start() and cancel().
///
/// Errors: the first exception that leaves the body or a child cancels all others; when they have
///   ended it is rethrown from the co_await of with_nursery. Later ones are dropped.
/// Cancellation: cancelling the chain that awaits the nursery cancels body and children; it is
///   destroyed when the last of them has ended. If the body and all children completed all the
///   same, the awaiting task goes on and is cancelled at its next co_await.
/// Thread rule: the loop's thread only.
class nursery : public detail::scope {
 public:
  /// Runs `function(arguments...)`, which must return task<>, beside the caller: it begins after
  /// the tasks that are ready now. Callable and arguments are moved into storage that lives as
  /// long as the task, so a lambda with captures and references to arguments are safe here; pass
  /// std::ref for an object that outlives the nursery. The arguments reach the function as
  /// rvalues. Cost: one record and one frame from the cache. In a nursery that is ending with an
  /// error or a cancellation the task is destroyed before it begins.
  template <class Function, class... Arguments>
  void start(Function&& function, Arguments&&... arguments);

  /// Cancels the body and all children. The co_await of with_nursery then returns normally.
  void cancel() noexcept {
    cancelled_ = true;
    cancel_children();
  }
  bool cancel_requested() const noexcept { return cancelled_; }

  /// Children that have not ended yet, the body not counted.
  std::size_t size() const noexcept { return child_count() - (body_ == nullptr ? 0 : 1); }

  void child_done(detail::chain& child, bool completed) noexcept override;
  void cancel(detail::chain& waiter) noexcept override;
  void describe(std::string& text) const override;

 protected:
  nursery() = default;
  /// Before it is awaited only: so that it can be given to with_timeout, all_of and the like.
  nursery(nursery&&) noexcept : scope() {}
  ~nursery() = default;
  /// Suspends the awaiting chain; false: it is being cancelled. After that start() works.
  bool enter(detail::promise_base& awaiting) noexcept;
  void begin(detail::promise_base& body) noexcept;
  /// There is no body: making it threw the exception that is current.
  void begin_without_body() noexcept;
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  /// A child's record. `storage` is what it was allocated with.
  struct child_chain : detail::chain {
    child_chain(nursery& parent, detail::scheduler& on) noexcept : chain(parent, on) {}
    virtual void dispose() noexcept = 0;
    virtual const detail::result_storage<void>& outcome() const noexcept = 0;
  };
  template <class Function, class... Arguments>
  struct child_of;
  struct body_chain final : detail::chain {
    using chain::chain;
  };

  void fail(std::exception_ptr error) noexcept;

  detail::scheduler* scheduler_ = nullptr;
  alignas(body_chain) std::byte body_storage_[sizeof(body_chain)];
  detail::chain* body_ = nullptr;  // while it runs
  std::exception_ptr error_;
  bool cancelled_ = false;
  bool any_destroyed_ = false;
};

/// A child with what it is called with.
template <class Function, class... Arguments>
struct nursery::child_of final : nursery::child_chain {
  template <class F, class... A>
  child_of(nursery& parent, detail::scheduler& on, F&& f, A&&... a)
      : child_chain(parent, on), function(std::forward<F>(f)), arguments(std::forward<A>(a)...) {}

  static void* operator new(std::size_t size) { return detail::allocate_frame(size); }
  static void operator delete(void* memory, std::size_t size) noexcept {
    detail::free_frame(memory, size);
  }
  void dispose() noexcept override {
    this->free_root();  // its parameters may refer to what the callable and the arguments own
    delete this;
  }
  const detail::result_storage<void>& outcome() const noexcept override {
    return *static_cast<const detail::task_promise<void>*>(root());
  }

  Function function;
  std::tuple<Arguments...> arguments;
};

template <class Function, class... Arguments>
void nursery::start(Function&& function, Arguments&&... arguments) {
  static_assert(std::is_invocable_r_v<task<void>, std::decay_t<Function>&,
                                      std::unwrap_ref_decay_t<Arguments>...>,
                "start(function, arguments...) takes a function that returns task<>, and its "
                "arguments, which it is given as rvalues; std::ref passes a reference");
  using record = child_of<std::decay_t<Function>, std::unwrap_ref_decay_t<Arguments>...>;
  static_assert(alignof(record) <= detail::frame_alignment,
                "a task's memory is aligned to 16 bytes: give an argument that needs more by "
                "std::unique_ptr or std::ref");
  auto made = std::make_unique<record>(*this, *scheduler_, std::forward<Function>(function),
                                       std::forward<Arguments>(arguments)...);
  task<void> root = std::apply(
      [&](auto&&... each) {
        return std::invoke(made->function, std::forward<decltype(each)>(each)...);
      },
      std::move(made->arguments));
  record& child = *made.release();
  child.chain::start(root.release());
  if (cancelled_ || error_ || owner_->cancel_requested()) child.chain::cancel();
}

namespace detail {

template <class Body>
class nursery_awaiter final : public nursery {
 public:
  using rill_awaiter = void;

  explicit nursery_awaiter(Body&& body) noexcept : body_function_(std::forward<Body>(body)) {}
  nursery_awaiter(nursery_awaiter&& other) noexcept
      : nursery(std::move(other)), body_function_(std::forward<Body>(other.body_function_)) {}

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> frame) {
    if (!enter(frame.promise())) return;
    // A body that is no coroutine itself may start tasks, and throw after that.
    try {
      begin(std::invoke(body_function_, static_cast<nursery&>(*this)).release());
    } catch (...) {
      begin_without_body();
    }
  }
  void await_resume() const { rethrow(); }

 private:
  Body body_function_;
};

}  // namespace detail

/// Opens a nursery, runs `body(nursery&)`, which returns task<>, and waits for it and for all that
/// was started in it. To be awaited once.
///
/// The body captures by reference; what a task is to own travels through start(). A body that
/// captures by value must be a named object (g++ 12 destroys such a lambda twice when it stands
/// inside the co_await expression), which is why it is refused as a temporary.
/// Example: examples/02_nursery.cpp.
template <class Body>
[[nodiscard]] auto with_nursery(Body&& body) noexcept {
  static_assert(std::is_invocable_r_v<task<void>, Body&, nursery&>,
                "a nursery's body takes a nursery& and returns task<>");
  static_assert(std::is_lvalue_reference_v<Body> || std::is_trivially_destructible_v<Body>,
                "capture by reference, or give the body a name: a temporary lambda with captures "
                "by value is destroyed twice by g++ 12");
  return detail::nursery_awaiter<Body>(std::forward<Body>(body));
}

}  // namespace rill
