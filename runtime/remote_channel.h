// remote_channel<T>: a bounded queue between loops, that is, between threads.
//   rill::remote_channel<job> jobs(64);                    // on the loop that receives
//   worker.post([to = std::move(jobs.sender)] { ... });    // senders go wherever they are needed
//   while (auto job = co_await jobs.receiver.receive()) ...
// The queue belongs to the receiving loop and is touched by no other thread: values, requests for
// room and answers travel as messages. Within one loop use channel.h, which is far cheaper.
// Read next: remote_channel.cpp, which tells the protocol.
#pragma once

#include <atomic>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include <rill/runtime/loop.h>
#include <rill/runtime/task.h>
#include <rill/runtime/wait_queue.h>

namespace rill {
namespace detail {

class remote_state;

/// A value on its way. It travels as a message by itself where room was free, or lies with its
/// sender until there is some.
class remote_item : public message {
 public:
  virtual ~remote_item() = default;
  void deliver() noexcept final;
  void drop() noexcept final { delete this; }

 private:
  friend class remote_state;
  friend class remote_request;
  friend class remote_queue;
  remote_state* to_ = nullptr;
  remote_item* following_ = nullptr;
};

template <class T>
class remote_value final : public remote_item {
 public:
  std::optional<T> value;
};

/// Items in the order of their arrival.
class remote_queue {
 public:
  remote_queue() = default;
  remote_queue(const remote_queue&) = delete;
  remote_queue& operator=(const remote_queue&) = delete;
  ~remote_queue();

  void push(remote_item& item) noexcept;
  std::unique_ptr<remote_item> pop() noexcept;
  std::size_t size() const noexcept { return size_; }

 private:
  remote_item* first_ = nullptr;
  remote_item* last_ = nullptr;
  std::size_t size_ = 0;
};

/// A send that found no room: what waits in the sender's frame while messages travel to the owner
/// and back. One travels as the request and its answer, the other as its withdrawal.
class remote_request : public waiting {
 public:
  remote_request(remote_state& to, std::unique_ptr<remote_item> item) noexcept
      : to_(&to), item_(std::move(item)) {}
  /// Before it is awaited only.
  remote_request(remote_request&& other) noexcept : to_(other.to_), item_(std::move(other.item_)) {}
  remote_request& operator=(remote_request&&) = delete;

  void cancel(chain& waiter) noexcept override;
  void describe(std::string& text) const override { text += "remote channel, to send"; }

 protected:
  ~remote_request() = default;
  /// False when it is done without suspending.
  bool start(promise_base& awaiting) noexcept;
  bool sent() const noexcept { return outcome_ == outcome::sent; }

 private:
  friend class remote_state;
  enum class outcome : unsigned char { open, sent, closed, withdrawn };
  struct question final : message {
    void deliver() noexcept override;
    remote_request* request = nullptr;
    bool answered = false;
  };
  struct withdrawal final : message {
    void deliver() noexcept override;
    remote_request* request = nullptr;
    bool answered = false;
  };

  void settle() noexcept;

  remote_state* to_;
  std::unique_ptr<remote_item> item_;
  loop* loop_ = nullptr;
  chain* waiter_ = nullptr;
  remote_request* previous_ = nullptr;  // the owner's list of those that wait for room
  remote_request* next_ = nullptr;
  question question_;
  withdrawal withdrawal_;
  outcome outcome_ = outcome::open;
  bool answered_ = false;
  bool withdrawing_ = false;
};

/// What the ends share. All but the atomics belongs to the owner's thread.
class remote_state : public std::enable_shared_from_this<remote_state> {
 public:
  explicit remote_state(std::size_t capacity) noexcept;

  // From any thread.
  void sender_added() noexcept { sender_count_.fetch_add(1, std::memory_order_relaxed); }
  void sender_removed() noexcept;
  bool is_closed() const noexcept { return (word_.load() & closed_bit) != 0; }
  bool may_have_room() const noexcept { return (word_.load() & room_mask) != 0 && !is_closed(); }
  /// Takes the item if there is room and the channel is open.
  bool try_send(std::unique_ptr<remote_item>& item) noexcept;

  // On the owner's thread.
  void receiver_gone() noexcept;
  void close() noexcept;
  bool on_owner() const noexcept { return loop::current_or_null() == owner_; }
  std::size_t size() const noexcept { return queue_.size(); }
  std::size_t capacity() const noexcept { return capacity_; }
  std::unique_ptr<remote_item> take() noexcept;

  class receive_base;

 private:
  friend class remote_item;
  friend class remote_request;
  enum class entry : unsigned char { closed, room, full };
  struct notice final : message {
    void deliver() noexcept override { (state->*call)(); }
    remote_state* state = nullptr;
    void (remote_state::*call)() noexcept = nullptr;
  };
  static constexpr std::uint64_t room_one = 1;
  static constexpr std::uint64_t hold_one = std::uint64_t{1} << 32;
  static constexpr std::uint64_t closed_bit = std::uint64_t{1} << 63;
  static constexpr std::uint64_t room_mask = hold_one - 1;
  static constexpr std::uint64_t hold_mask = closed_bit - hold_one;

  entry enter(bool even_if_full) noexcept;
  void leave() noexcept;
  void ended() noexcept;
  void senders_gone() noexcept;
  bool take_room() noexcept;
  void arrived(remote_item& item) noexcept;
  void asked(remote_request& request) noexcept;
  void withdrawn(remote_request& request) noexcept;
  void answer(remote_request& request, remote_request::outcome outcome) noexcept;
  remote_request& pop_request() noexcept;
  void unlink(remote_request& request) noexcept;
  bool hand_over(remote_item& item) noexcept;
  void room_freed() noexcept;
  bool is_drained() const noexcept;
  void wake_if_drained() noexcept;

  /// Free places (bits 0-31), holds on the owner's loop (32-62), closed (63).
  std::atomic<std::uint64_t> word_;
  std::atomic<std::size_t> sender_count_{0};
  const std::size_t capacity_;
  loop* const owner_;
  std::shared_ptr<remote_state> alive_;  // until the last hold is gone
  remote_queue queue_;
  wait_queue receivers_;
  remote_request* first_request_ = nullptr;
  remote_request* last_request_ = nullptr;
  notice senders_gone_;
  notice ended_;
  bool receiver_gone_ = false;
};

/// The part of a receive that does not depend on T.
class remote_state::receive_base : public queue_waiter {
 public:
  explicit receive_base(remote_state& from) noexcept : from_(&from) {}
  receive_base(receive_base&& other) noexcept : from_(other.from_) {}
  receive_base& operator=(receive_base&&) = delete;
  void describe(std::string& text) const override { text += "remote channel, to receive"; }

 protected:
  ~receive_base() = default;
  bool start(promise_base& awaiting) noexcept;
  std::unique_ptr<remote_item> item_;

 private:
  friend class remote_state;
  remote_state* from_;
};

template <class T>
class remote_send_awaiter final : public remote_request {
 public:
  using rill_awaiter = void;
  using remote_request::remote_request;
  remote_send_awaiter(remote_send_awaiter&&) noexcept = default;

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> frame) noexcept {
    return start(frame.promise());
  }
  bool await_resume() const noexcept { return sent(); }
};

template <class T>
class remote_receive_awaiter final : public remote_state::receive_base {
 public:
  using rill_awaiter = void;
  using remote_state::receive_base::receive_base;
  remote_receive_awaiter(remote_receive_awaiter&&) noexcept = default;

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> frame) noexcept {
    return start(frame.promise());
  }
  std::optional<T> await_resume() noexcept {
    if (item_ == nullptr) return std::optional<T>();
    return std::move(static_cast<remote_value<T>&>(*item_).value);
  }
};

}  // namespace detail

/// The sending end: copy one for each producer, on any thread. When the last of them is destroyed,
/// the channel closes: so do not keep one beside the receiver.
template <class T>
class remote_sender {
 public:
  remote_sender(const remote_sender& other) noexcept : state_(other.state_) {
    if (state_) state_->sender_added();
  }
  remote_sender(remote_sender&& other) noexcept : state_(std::move(other.state_)) {}
  remote_sender& operator=(remote_sender other) noexcept {
    std::swap(state_, other.state_);
    return *this;
  }
  ~remote_sender() { reset(); }

  /// Sends from a task of any loop. True when the value has its place in the channel, false when
  /// the channel is closed; then the value is dropped.
  /// Suspends while the channel is full; places are given in the order in which requests arrive.
  /// Values of one task arrive in the order of sending.
  /// Cancellation: the owner is asked to forget the request; the task ends when it has answered. A
  ///   value that had found its place by then counts as sent. A cancelled send has not sent.
  /// Lifetime: REQUIRES that this sender outlives the co_await.
  /// Cost: one allocation; one message, three when it had to wait.
  [[nodiscard]] auto send(T value) {
    RILL_ASSERT(state_ != nullptr, "an empty remote_sender: it was moved from or reset");
    auto item = std::make_unique<detail::remote_value<T>>();
    item->value.emplace(std::move(value));
    return detail::remote_send_awaiter<T>(*state_, std::move(item));
  }
  /// Sends without waiting, from any thread, whether it runs a loop or not. False, and `value`
  /// untouched, when the channel is full or closed.
  bool try_send(T&& value) {
    RILL_ASSERT(state_ != nullptr, "an empty remote_sender: it was moved from or reset");
    if (!state_->may_have_room()) return false;
    auto item = std::make_unique<detail::remote_value<T>>();
    item->value.emplace(std::move(value));
    std::unique_ptr<detail::remote_item> given = std::move(item);
    if (state_->try_send(given)) return true;
    value = std::move(*static_cast<detail::remote_value<T>&>(*given).value);
    return false;
  }
  bool try_send(const T& value) { return try_send(T(value)); }

  /// True once the channel takes no more values.
  bool is_closed() const noexcept { return state_ == nullptr || state_->is_closed(); }
  /// Lets go of the channel before the end of the scope.
  void reset() noexcept {
    if (state_) std::exchange(state_, nullptr)->sender_removed();
  }

 private:
  template <class U>
  friend class remote_channel;
  explicit remote_sender(std::shared_ptr<detail::remote_state> state) noexcept
      : state_(std::move(state)) {
    state_->sender_added();
  }

  std::shared_ptr<detail::remote_state> state_;
};

/// The receiving end. It stays on the loop whose task made it.
template <class T>
class remote_receiver {
 public:
  remote_receiver(remote_receiver&&) noexcept = default;
  remote_receiver& operator=(remote_receiver&&) = delete;
  /// Closes the channel and drops what lies in it. REQUIRES: the loop's thread, inside run(); no
  /// task waits in receive().
  ~remote_receiver() {
    if (state_) state_->receiver_gone();
  }

  /// The oldest value; nullopt when the channel is closed and nothing more can come. Any number of
  /// tasks of this loop may wait. Cancellation: leaves the queue; a value that was handed over just
  /// before is delivered.
  [[nodiscard]] auto receive() noexcept { return detail::remote_receive_awaiter<T>(*state_); }
  /// Receives without waiting: nullopt when there is nothing now.
  std::optional<T> try_receive() noexcept {
    RILL_ASSERT(state_->on_owner(), "a remote_receiver was used outside its loop");
    const std::unique_ptr<detail::remote_item> item = state_->take();
    if (item == nullptr) return std::optional<T>();
    return std::move(static_cast<detail::remote_value<T>&>(*item).value);
  }

  /// Refuses what is sent from now on; what had its place before can still be received.
  void close() noexcept {
    RILL_ASSERT(state_->on_owner(), "a remote_receiver was used outside its loop");
    state_->close();
  }
  bool is_closed() const noexcept { return state_->is_closed(); }
  /// Values that can be received now.
  std::size_t size() const noexcept { return state_->size(); }
  std::size_t capacity() const noexcept { return state_->capacity(); }

 private:
  template <class U>
  friend class remote_channel;
  explicit remote_receiver(std::shared_ptr<detail::remote_state> state) noexcept
      : state_(std::move(state)) {}

  std::shared_ptr<detail::remote_state> state_;
};

/// Makes a channel of which the calling task's loop is the owner; move its ends to where they are
/// used. `capacity` values, at least 1, may lie in it or be on their way.
///
/// Closing: when the receiver is closed or destroyed, senders get false; when the last sender is
///   gone, or the receiver was closed, receivers get what is left and then nullopt.
/// Lifetime: either side may end first. The owner's loop ends only when every message that is on
///   its way to it has arrived, so a sender never speaks to a loop that is gone.
template <class T>
class remote_channel {
  static_assert(std::is_nothrow_move_constructible_v<T>, "the value is moved between threads");

 public:
  explicit remote_channel(std::size_t capacity)
      : remote_channel(std::make_shared<detail::remote_state>(capacity)) {}

  remote_sender<T> sender;
  remote_receiver<T> receiver;

 private:
  explicit remote_channel(std::shared_ptr<detail::remote_state> state) noexcept
      : sender(state), receiver(std::move(state)) {}
};

}  // namespace rill
