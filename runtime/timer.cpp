// The heap of deadlines. See timer.h.
#include <rill/runtime/timer.h>

namespace rill::detail {

void timer_queue::place(std::size_t position, entry moved) noexcept {
  heap_[position] = moved;
  moved.node->position_ = static_cast<std::uint32_t>(position);
}

void timer_queue::sift_up(std::size_t position, entry moved) noexcept {
  while (position > 0) {
    const std::size_t parent = (position - 1) / 2;
    if (!before(moved, heap_[parent])) break;
    place(position, heap_[parent]);
    position = parent;
  }
  place(position, moved);
}

void timer_queue::sift_down(std::size_t position, entry moved) noexcept {
  for (;;) {
    std::size_t child = 2 * position + 1;
    if (child >= heap_.size()) break;
    if (child + 1 < heap_.size() && before(heap_[child + 1], heap_[child])) ++child;
    if (!before(heap_[child], moved)) break;
    place(position, heap_[child]);
    position = child;
  }
  place(position, moved);
}

void timer_queue::arm(timer_node& node, std::int64_t deadline) {
  const bool is_new = node.position_ == timer_node::not_queued;
  if (is_new) heap_.emplace_back();  // may throw, and then nothing has changed
  node.deadline_ = deadline;
  node.order_ = next_order_++;
  if (is_new) {
    sift_up(heap_.size() - 1, entry{deadline, node.order_, &node});
  } else if (deadline < heap_[node.position_].key) {
    sift_up(node.position_, entry{deadline, node.order_, &node});
  }
  // Otherwise the entry stands too early: settle_top moves it when its time comes.
}

void timer_queue::remove(timer_node& node) noexcept {
  node.deadline_ = timer_node::never;
  if (node.position_ == timer_node::not_queued) return;
  const std::size_t position = node.position_;
  node.position_ = timer_node::not_queued;
  const entry last = heap_.back();
  heap_.pop_back();
  if (position == heap_.size()) return;
  if (position > 0 && before(last, heap_[(position - 1) / 2])) {
    sift_up(position, last);
  } else {
    sift_down(position, last);
  }
}

bool timer_queue::settle_top() noexcept {
  entry top = heap_.front();
  timer_node& node = *top.node;
  if (node.deadline_ == top.key && node.order_ == top.order) return false;
  if (node.deadline_ == timer_node::never) {
    remove(node);
  } else {
    sift_down(0, entry{node.deadline_, node.order_, &node});
  }
  return true;
}

std::int64_t timer_queue::next_deadline() noexcept {
  while (!heap_.empty()) {
    if (!settle_top()) return heap_.front().key;
  }
  return timer_node::never;
}

std::int64_t timer_queue::wake_deadline(std::int64_t now) noexcept {
  constexpr std::int64_t soon = 1'000'000'000;
  const std::int64_t horizon = deadline_after(now, soon);
  while (!heap_.empty()) {
    if (heap_.front().key > horizon || !settle_top()) return heap_.front().key;
  }
  return timer_node::never;
}

void timer_queue::expire(std::int64_t now) noexcept {
  while (!heap_.empty() && heap_.front().key <= now) {
    if (settle_top()) continue;
    timer_node& node = *heap_.front().node;
    remove(node);
    node.expired();
  }
}

}  // namespace rill::detail
