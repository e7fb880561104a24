// channel<T>: a bounded queue between tasks of one loop.
// Not for threads: values for another loop travel by remote_channel.h.
#pragma once

#include <coroutine>
#include <cstddef>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <rill/runtime/task.h>
#include <rill/runtime/wait_queue.h>

namespace rill {

/// Any number of senders and receivers; values arrive in the order of sending.
///
/// Closing: close() lets receivers take what is queued and then get nullopt; senders that wait,
///   and all later ones, get false and their value is dropped.
/// Cancellation: a cancelled send() has not sent, its value dies with it; a value that was handed
///   to a receiver is delivered even if the receiver is being cancelled.
/// Thread rule: one loop's thread. Cost: room for the capacity is allocated once.
/// REQUIRES: nobody waits when it is destroyed.
template <class T>
class channel {
  static_assert(std::is_nothrow_move_constructible_v<T>,
                "a value must not be lost half-way: send what moves without throwing");
  class send_awaiter;
  class receive_awaiter;

 public:
  /// `capacity` values may lie in the channel; 0: a sender waits until its value is taken.
  explicit channel(std::size_t capacity) : slots_(capacity), capacity_(capacity) {}

  /// True when the value is in the channel, false when the channel is closed.
  [[nodiscard]] auto send(T value) noexcept { return send_awaiter(*this, std::move(value)); }
  /// The oldest value; nullopt when the channel is closed and empty.
  [[nodiscard]] auto receive() noexcept { return receive_awaiter(*this); }

  /// Sends without waiting: false, and `value` untouched, when the channel is full or closed.
  bool try_send(T&& value) {
    if (closed_) return false;
    if (!receivers_.empty()) {
      static_cast<receive_awaiter&>(receivers_.wake_first()).value_.emplace(std::move(value));
      return true;
    }
    if (count_ == capacity_) return false;
    push(std::move(value));
    return true;
  }
  bool try_send(const T& value) { return try_send(T(value)); }

  /// Receives without waiting: nullopt when there is nothing now.
  std::optional<T> try_receive() {
    std::optional<T> value;
    receive_into(value);
    return value;
  }

  void close() noexcept {
    closed_ = true;
    while (!receivers_.empty()) receivers_.wake_first();
    while (!senders_.empty()) senders_.wake_first();
  }
  bool is_closed() const noexcept { return closed_; }
  /// Values in the channel.
  std::size_t size() const noexcept { return count_; }
  std::size_t capacity() const noexcept { return capacity_; }

 private:
  class send_awaiter final : public detail::queue_waiter {
   public:
    using rill_awaiter = void;
    send_awaiter(channel& to, T&& value) noexcept : channel_(&to), value_(std::move(value)) {}
    send_awaiter(send_awaiter&& other) noexcept
        : channel_(other.channel_), value_(std::move(other.value_)) {}

    bool await_ready() const noexcept { return false; }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> frame) {
      detail::promise_base& mine = frame.promise();
      if (!channel_->closed_ && channel_->receivers_.empty() &&
          channel_->count_ == channel_->capacity_) {
        channel_->senders_.wait(mine, *this);
        return true;
      }
      if (!mine.owner_chain->on().may_continue() && !mine.owner_chain->yield(mine)) return true;
      sent_ = channel_->try_send(std::move(value_));
      return mine.owner_chain->is_ready();
    }
    bool await_resume() const noexcept { return sent_; }
    void describe(std::string& text) const override { text += "channel, to send"; }

   private:
    friend class channel;
    channel* channel_;
    T value_;
    bool sent_ = false;
  };

  class receive_awaiter final : public detail::queue_waiter {
   public:
    using rill_awaiter = void;
    explicit receive_awaiter(channel& from) noexcept : channel_(&from) {}
    receive_awaiter(receive_awaiter&& other) noexcept : channel_(other.channel_) {}

    bool await_ready() const noexcept { return false; }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> frame) {
      detail::promise_base& mine = frame.promise();
      if (channel_->count_ == 0 && channel_->senders_.empty() && !channel_->closed_) {
        channel_->receivers_.wait(mine, *this);
        return true;
      }
      if (!mine.owner_chain->on().may_continue() && !mine.owner_chain->yield(mine)) return true;
      channel_->receive_into(value_);
      return mine.owner_chain->is_ready();
    }
    std::optional<T> await_resume() noexcept { return std::move(value_); }
    void describe(std::string& text) const override { text += "channel, to receive"; }

   private:
    friend class channel;
    channel* channel_;
    std::optional<T> value_;
  };

  void receive_into(std::optional<T>& value) {
    if (count_ != 0) {
      value.emplace(pop());
      if (!senders_.empty()) push(take_from_sender());
    } else if (!senders_.empty()) {
      value.emplace(take_from_sender());
    }
  }
  void push(T&& value) {
    slots_[(first_ + count_) % capacity_].emplace(std::move(value));
    ++count_;
  }
  T pop() {
    std::optional<T>& slot = slots_[first_];
    T value = std::move(*slot);
    slot.reset();
    first_ = (first_ + 1) % capacity_;
    --count_;
    return value;
  }
  T take_from_sender() {
    auto& sender = static_cast<send_awaiter&>(senders_.wake_first());
    sender.sent_ = true;
    return std::move(sender.value_);
  }

  std::vector<std::optional<T>> slots_;
  std::size_t capacity_;
  std::size_t first_ = 0;
  std::size_t count_ = 0;
  bool closed_ = false;
  detail::wait_queue receivers_;
  detail::wait_queue senders_;
};

}  // namespace rill
