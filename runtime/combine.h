// all_of and any_of: several tasks at once, for their results.
// Each task runs as a chain of its own below the caller, who waits for all of them in either case:
// nothing that was started here is left when the co_await returns. Not for a number of tasks that
// grows while they run: that is a nursery (nursery.h). Read next: combine.cpp.
#pragma once

#include <array>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <rill/runtime/chain.h>
#include <rill/runtime/frame_cache.h>
#include <rill/runtime/task.h>
#include <rill/runtime/timeout.h>

namespace rill {
namespace detail {

/// How a result stands in a tuple: void as std::monostate, a reference as itself.
template <class T>
using tuple_part = std::conditional_t<std::is_void_v<T>, std::monostate, T>;
/// How it stands in a variant or a vector, which cannot hold references.
template <class T>
struct stored_part {
  using type = tuple_part<T>;
};
template <class T>
struct stored_part<T&> {
  using type = std::reference_wrapper<T>;
};
template <class T>
using stored_part_t = typename stored_part<T>::type;

class branch;

/// A child's chain that knows which task it is.
class branch_chain final : public chain {
 public:
  branch_chain(scope& parent, scheduler& on, branch& task) noexcept : chain(parent, on), of(task) {}
  branch& of;
};

/// One of the tasks: its frame, then its chain, then its result. The frame goes as soon as the task
/// has ended, for its arguments may be what another task waits to see destroyed.
class branch {
 public:
  branch(branch&& other) noexcept : root_(std::exchange(other.root_, nullptr)) {}
  branch& operator=(branch&&) = delete;

  void begin(scope& parent, scheduler& on, std::size_t index) noexcept;
  std::size_t index() const noexcept { return index_; }
  /// The task has completed: keeps its result, or returns its error.
  std::exception_ptr collect() noexcept { return collect_from(*chain_->root()); }
  /// Destroys chain and frame.
  void end() noexcept;

 protected:
  explicit branch(promise_base& root) noexcept : root_(&root) {}
  ~branch() { end(); }

 private:
  virtual std::exception_ptr collect_from(promise_base& root) noexcept = 0;

  promise_base* root_;
  branch_chain* chain_ = nullptr;
  std::size_t index_ = 0;
  alignas(branch_chain) std::byte storage_[sizeof(branch_chain)];
};

template <class T>
class branch_of final : public branch {
  static_assert(alignof(stored_part_t<T>) <= frame_alignment,
                "a task's memory is aligned to 16 bytes: return a std::unique_ptr to a result that "
                "needs more");

 public:
  explicit branch_of(task<T>&& inner) noexcept : branch(inner.release()) {}
  /// Before it begins only.
  branch_of(branch_of&& other) noexcept : branch(std::move(other)) {}

  /// REQUIRES: collect() has kept it.
  tuple_part<T> take() { return std::move(*result_); }

 private:
  std::exception_ptr collect_from(promise_base& root) noexcept override {
    auto& outcome = static_cast<task_promise<T>&>(root);
    if (outcome.has_exception()) return outcome.exception();
    try {
      if constexpr (std::is_void_v<T>) {
        result_.emplace();
      } else {
        result_.emplace(outcome.take());
      }
    } catch (...) {
      return std::current_exception();
    }
    return nullptr;
  }

  std::optional<stored_part_t<T>> result_;
};

/// As many branches as there are tasks in a vector, in one block from the frame cache.
template <class T>
class branch_list {
 public:
  explicit branch_list(std::vector<task<T>>&& tasks) : size_(tasks.size()) {
    if (size_ == 0) return;
    first_ = static_cast<branch_of<T>*>(allocate_frame(size_ * sizeof(branch_of<T>)));
    for (std::size_t i = 0; i != size_; ++i) {
      ::new (static_cast<void*>(first_ + i)) branch_of<T>(std::move(tasks[i]));
    }
  }
  branch_list(branch_list&& other) noexcept
      : first_(std::exchange(other.first_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  branch_list& operator=(branch_list&&) = delete;
  ~branch_list() {
    if (first_ == nullptr) return;
    std::destroy_n(first_, size_);
    free_frame(first_, size_ * sizeof(branch_of<T>));
  }

  std::size_t size() const noexcept { return size_; }
  branch_of<T>& operator[](std::size_t index) noexcept { return first_[index]; }

 private:
  branch_of<T>* first_ = nullptr;
  std::size_t size_;
};

/// What all_of and any_of have in common: starting, waiting for the last child, being cancelled.
class branches_scope : public scope {
 public:
  void cancel(chain&) noexcept final { cancel_children(); }
  void child_done(chain& child, bool completed) noexcept final;

 protected:
  enum class entry : unsigned char { begin, suspended, ready };
  /// begin: the awaiting chain is suspended and `count` branches are to begin.
  entry enter(promise_base& awaiting, std::size_t count) noexcept;
  ~branches_scope() = default;
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

  std::size_t running_count_ = 0;
  std::exception_ptr error_;

 private:
  virtual void branch_done(branch& ended, bool completed) noexcept = 0;
  /// True when the caller gets a result or an error, false when it was cancelled first.
  virtual bool has_outcome() const noexcept = 0;
};

class all_scope : public branches_scope {
 public:
  void describe(std::string& text) const override;

 private:
  void branch_done(branch& ended, bool completed) noexcept override;
  bool has_outcome() const noexcept override { return error_ || !any_destroyed_; }

  bool any_destroyed_ = false;
};

class any_scope : public branches_scope {
 public:
  void describe(std::string& text) const override;

 protected:
  std::size_t winner() const noexcept { return winner_; }

 private:
  static constexpr std::size_t nobody = static_cast<std::size_t>(-1);

  void branch_done(branch& ended, bool completed) noexcept override;
  bool has_outcome() const noexcept override { return winner_ != nobody; }

  std::size_t winner_ = nobody;
};

/// An awaiter over the scope `Base` for tasks that are listed one by one ...
template <class Base, class... Results>
class listed_branches : public Base {
 public:
  using rill_awaiter = void;

  explicit listed_branches(task<Results>&&... tasks) noexcept : branches_(std::move(tasks)...) {}
  listed_branches(listed_branches&& other) noexcept : branches_(std::move(other.branches_)) {}

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> frame) noexcept {
    const auto entered = this->enter(frame.promise(), sizeof...(Results));
    if (entered != Base::entry::begin) return entered == Base::entry::suspended;
    std::apply(
        [&](branch_of<Results>&... each) {
          [[maybe_unused]] std::size_t index = 0;
          (each.begin(*this, this->owner_->on(), index++), ...);
        },
        branches_);
    return true;
  }

 protected:
  ~listed_branches() = default;
  std::tuple<branch_of<Results>...> branches_;
};

/// ... and for those of a vector.
template <class Base, class T>
class vector_branches : public Base {
 public:
  using rill_awaiter = void;

  explicit vector_branches(std::vector<task<T>>&& tasks) : branches_(std::move(tasks)) {}
  vector_branches(vector_branches&& other) noexcept : branches_(std::move(other.branches_)) {}

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> frame) noexcept {
    const auto entered = this->enter(frame.promise(), branches_.size());
    if (entered != Base::entry::begin) return entered == Base::entry::suspended;
    for (std::size_t i = 0; i != branches_.size(); ++i)
      branches_[i].begin(*this, this->owner_->on(), i);
    return true;
  }

 protected:
  ~vector_branches() = default;
  branch_list<T> branches_;
};

/// What can be given away to run: a task, or an awaiter of this library.
template <class Awaitable>
struct is_task : std::false_type {};
template <class T>
struct is_task<task<T>> : std::true_type {};
template <class Awaitable>
concept startable =
    !std::is_lvalue_reference_v<Awaitable> && (is_task<Awaitable>::value || awaiter<Awaitable>);

template <class T>
task<T> to_task(task<T>&& inner) noexcept {
  return std::move(inner);
}
template <awaiter Awaiter>
auto to_task(Awaiter&& inner) {
  return as_task(std::forward<Awaiter>(inner));
}

template <class... Results>
class all_awaiter final : public listed_branches<all_scope, Results...> {
 public:
  using listed_branches<all_scope, Results...>::listed_branches;

  std::tuple<tuple_part<Results>...> await_resume() {
    this->rethrow();
    return std::apply(
        [](branch_of<Results>&... each) {
          return std::tuple<tuple_part<Results>...>(each.take()...);
        },
        this->branches_);
  }
};

template <class T>
class all_vector_awaiter final : public vector_branches<all_scope, T> {
 public:
  using vector_branches<all_scope, T>::vector_branches;

  auto await_resume() {
    this->rethrow();
    if constexpr (!std::is_void_v<T>) {
      std::vector<stored_part_t<T>> results;
      results.reserve(this->branches_.size());
      for (std::size_t i = 0; i != this->branches_.size(); ++i) {
        results.emplace_back(this->branches_[i].take());
      }
      return results;
    }
  }
};

template <class... Results>
class any_awaiter final : public listed_branches<any_scope, Results...> {
 public:
  using listed_branches<any_scope, Results...>::listed_branches;
  using result_type = std::variant<stored_part_t<Results>...>;

  result_type await_resume() {
    this->rethrow();
    return take(std::index_sequence_for<Results...>());
  }

 private:
  template <std::size_t I>
  static result_type take_one(any_awaiter& from) {
    return result_type(std::in_place_index<I>, std::get<I>(from.branches_).take());
  }
  template <std::size_t... I>
  result_type take(std::index_sequence<I...>) {
    static constexpr std::array<result_type (*)(any_awaiter&), sizeof...(I)> takers{
        &take_one<I>...};
    return takers[this->winner()](*this);
  }
};

}  // namespace detail

/// Which of the tasks given to any_of in a vector was the first, and what it gave. A reference is
/// held as std::reference_wrapper.
template <class T>
class any_result {
 public:
  template <class Value>
  any_result(std::size_t place, Value&& result)
      : index(place), value(std::forward<Value>(result)) {}

  std::size_t index;
  detail::stored_part_t<T> value;
};
/// The same of tasks without a result.
template <>
class any_result<void> {
 public:
  explicit any_result(std::size_t place) noexcept : index(place) {}

  std::size_t index;
};

namespace detail {

template <class T>
class any_vector_awaiter final : public vector_branches<any_scope, T> {
 public:
  explicit any_vector_awaiter(std::vector<task<T>>&& tasks)
      : vector_branches<any_scope, T>(std::move(tasks)) {
    RILL_ASSERT(this->branches_.size() != 0,
                "any_of was given an empty vector: nothing can be first");
  }

  any_result<T> await_resume() {
    this->rethrow();
    if constexpr (std::is_void_v<T>) {
      return any_result<void>(this->winner());
    } else {
      return any_result<T>(this->winner(), this->branches_[this->winner()].take());
    }
  }
};

}  // namespace detail

/// Runs tasks beside each other and waits for all: `auto both = co_await all_of(f(), g());`
///
/// Takes tasks, and awaiters such as `event.wait()` or `sleep_for(1s)`, which become tasks of one
///   line. They begin in the order given, after what is ready now.
/// Result: a std::tuple in the order given; a void result stands in it as std::monostate, so that
///   the places agree with the arguments.
/// Errors: the first exception cancels the others and is rethrown when they have ended; later ones
///   and all results are dropped.
/// Cancellation: cancels every task; if all of them complete all the same, their results are
///   delivered and the caller is cancelled at its next co_await.
/// Lifetime: a task's frame, with its arguments, is destroyed as soon as that task has ended.
/// Cost: a chain in the caller's frame (about 150 bytes) and room for the result for each task, one
///   more frame for each awaiter that is not a task.
template <class... Awaitables>
  requires(detail::startable<Awaitables> && ...)
[[nodiscard]] auto all_of(Awaitables&&... awaitables) {
  return detail::all_awaiter<await_result_t<Awaitables>...>(
      detail::to_task(std::move(awaitables))...);
}

/// The same for as many tasks as the vector holds: a std::vector of results in the same order,
/// std::reference_wrapper for references; nothing when T is void. Cost: one block for all chains.
template <class T>
[[nodiscard]] auto all_of(std::vector<task<T>> tasks) {
  return detail::all_vector_awaiter<T>(std::move(tasks));
}

/// Runs tasks beside each other until the first has completed, and cancels the others:
/// `auto first = co_await any_of(read_line(), stop.wait());  if (first.index() == 1) ...`
///
/// What completes it: the first task to end, by a value or by an exception, decides; the co_await
///   returns when the others have ended too. Tasks that have not begun by then never begin.
/// Result: a std::variant whose index tells which task it was; void stands as std::monostate, a
///   reference as std::reference_wrapper. An exception of the first is rethrown.
/// What becomes of the losers: they are cancelled and awaited. The value or exception of one that
///   completed all the same is DROPPED: race only what can be asked again (an event, a receive
///   from a socket that keeps its bytes), or let the loser put its result where it survives.
/// Cancellation: cancels every task; if one completes all the same, its result is delivered and
///   the caller is cancelled at its next co_await.
/// Cost: as all_of.
template <class... Awaitables>
  requires(sizeof...(Awaitables) != 0 && (detail::startable<Awaitables> && ...))
[[nodiscard]] auto any_of(Awaitables&&... awaitables) {
  return detail::any_awaiter<await_result_t<Awaitables>...>(
      detail::to_task(std::move(awaitables))...);
}

/// The same for the tasks of a vector, which must not be empty: an any_result with `index` and,
/// unless T is void, `value`.
template <class T>
[[nodiscard]] auto any_of(std::vector<task<T>> tasks) {
  return detail::any_vector_awaiter<T>(std::move(tasks));
}

}  // namespace rill
