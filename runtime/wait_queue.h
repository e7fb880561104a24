// A first-in first-out queue of waiting chains: what event, mutex, semaphore and channel share.
// Waiters live in the frames that wait, so waiting allocates nothing. Not for waiting on the
// kernel: operation.h. Read next: event.h, the simplest of those that use it.
#pragma once

#include <cstddef>
#include <string>
#include <utility>

#include <rill/runtime/chain.h>

namespace rill::detail {

class wait_queue;

/// The base of the awaiters that queue. May be moved until it is suspended.
class queue_waiter : public waiting {
 public:
  queue_waiter() noexcept {}
  queue_waiter(queue_waiter&&) noexcept {}
  queue_waiter& operator=(queue_waiter&&) = delete;

  void cancel(chain& waiter) noexcept override;

 protected:
  ~queue_waiter() = default;

 private:
  friend class wait_queue;
  wait_queue* queue_ = nullptr;
  queue_waiter* previous_ = nullptr;
  queue_waiter* next_ = nullptr;
  chain* waiter_ = nullptr;
};

class wait_queue {
 public:
  wait_queue() noexcept {}
  wait_queue(const wait_queue&) = delete;
  wait_queue& operator=(const wait_queue&) = delete;
  ~wait_queue() {
    RILL_ASSERT(first_ == nullptr,
                "an event, mutex, semaphore or channel was destroyed while "
                "tasks wait for it");
  }

  bool empty() const noexcept { return first_ == nullptr; }
  std::size_t size() const noexcept { return count_; }

  /// Suspends the frame at the end of the queue. False: the chain is being cancelled.
  bool wait(promise_base& innermost, queue_waiter& node) noexcept {
    if (!innermost.owner_chain->suspend(innermost, node)) return false;
    node.waiter_ = innermost.owner_chain;
    node.queue_ = this;
    node.next_ = nullptr;
    node.previous_ = last_;
    (last_ == nullptr ? first_ : last_->next_) = &node;
    last_ = &node;
    ++count_;
    return true;
  }
  /// Takes the longest waiting out of the queue and makes its chain ready. REQUIRES: not empty.
  queue_waiter& wake_first() noexcept {
    queue_waiter& node = *first_;
    remove(node);
    node.waiter_->make_ready();
    return node;
  }
  void remove(queue_waiter& node) noexcept {
    (node.previous_ == nullptr ? first_ : node.previous_->next_) = node.next_;
    (node.next_ == nullptr ? last_ : node.next_->previous_) = node.previous_;
    node.queue_ = nullptr;
    --count_;
  }

 private:
  queue_waiter* first_ = nullptr;
  queue_waiter* last_ = nullptr;
  std::size_t count_ = 0;
};

inline void queue_waiter::cancel(chain& waiter) noexcept {
  queue_->remove(*this);
  waiter.destroy_later();
}

}  // namespace rill::detail
