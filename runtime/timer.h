// The loop's timers: a heap of deadlines that is cheap to move.
// A read with a time-out arms and disarms a timer for every message, so both are a store: the heap
// entry stays where it is, and is put right when it comes to the top. Order: deadline, then the
// order of arming, so that a simulation replays. Not here: who is woken (operation.h, timeout.h)
// and how the kernel's wait gets its deadline (loop.cpp). Read next: timer.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace rill::detail {

class timer_queue;

/// `now + amount` nanoseconds; the far end of the clock where that does not fit.
constexpr std::int64_t deadline_after(std::int64_t now, std::int64_t amount) noexcept {
  return amount > INT64_MAX - now ? INT64_MAX : now + amount;
}

/// Something that can expire. Must be removed from its queue before it is destroyed.
class timer_node {
 public:
  static constexpr std::int64_t never = INT64_MAX;

  virtual void expired() noexcept = 0;
  /// Nanoseconds on the kernel's clock; `never` when disarmed.
  std::int64_t deadline() const noexcept { return deadline_; }
  bool is_armed() const noexcept { return deadline_ != never; }
  void disarm() noexcept { deadline_ = never; }

 protected:
  timer_node() = default;
  timer_node(const timer_node&) = delete;
  timer_node& operator=(const timer_node&) = delete;
  ~timer_node() = default;

 private:
  friend class timer_queue;
  static constexpr std::uint32_t not_queued = UINT32_MAX;

  std::int64_t deadline_ = never;
  std::uint64_t order_ = 0;
  std::uint32_t position_ = not_queued;
};

/// A binary heap in one vector; each node knows its position.
class timer_queue {
 public:
  /// Sets the node's deadline. A store if the node is queued at an earlier time, O(log n) if not.
  /// Throws std::bad_alloc, and then has done nothing.
  void arm(timer_node& node, std::int64_t deadline);
  /// Takes the node out for good. O(log n).
  void remove(timer_node& node) noexcept;
  /// When the loop must wake at the latest; `timer_node::never` if no timer is armed.
  std::int64_t next_deadline() noexcept;
  /// The same for a loop that is about to wait, at next to no cost: an entry that stands too early
  /// by more than a second is left alone, and wakes the loop for nothing at most once a second. A
  /// time-out on each write of a busy connection is then a store, not a removal a turn.
  std::int64_t wake_deadline(std::int64_t now) noexcept;
  /// Calls expired() on every node whose deadline is not after `now`.
  void expire(std::int64_t now) noexcept;
  std::size_t size() const noexcept { return heap_.size(); }

 private:
  struct entry {
    std::int64_t key;
    std::uint64_t order;
    timer_node* node;
  };

  static bool before(const entry& left, const entry& right) noexcept {
    return left.key != right.key ? left.key < right.key : left.order < right.order;
  }
  void place(std::size_t position, entry moved) noexcept;
  void sift_up(std::size_t position, entry moved) noexcept;
  void sift_down(std::size_t position, entry moved) noexcept;
  /// Puts the top entry right if its node was armed anew or disarmed. False when it was right.
  bool settle_top() noexcept;

  std::vector<entry> heap_;
  std::uint64_t next_order_ = 0;
};

}  // namespace rill::detail
