// Chains and scopes: linking, cancelling, destroying. See chain.h.
#include <rill/runtime/chain.h>

#include <utility>

#include <rill/runtime/loop.h>

namespace rill::detail {

chain::chain(scope& parent, scheduler& on) noexcept : parent_(&parent), scheduler_(&on) {
  previous_sibling_ = parent.last_;
  if (parent.last_ != nullptr) {
    parent.last_->next_sibling_ = this;
  } else {
    parent.first_ = this;
  }
  parent.last_ = this;
  ++parent.count_;
  ++on.chain_count;
}

chain::~chain() {
  RILL_ASSERT(!queued_, "a chain was freed while it was queued");
  free_root();
  if (previous_sibling_ != nullptr) {
    previous_sibling_->next_sibling_ = next_sibling_;
  } else {
    parent_->first_ = next_sibling_;
  }
  if (next_sibling_ != nullptr) {
    next_sibling_->previous_sibling_ = previous_sibling_;
  } else {
    parent_->last_ = previous_sibling_;
  }
  --parent_->count_;
  --scheduler_->chain_count;
}

void chain::start(promise_base& root) noexcept {
  root_ = &root;
  root.owner_chain = this;
  root.owner_slot = &root_;
  top_ = &root;
  since_ = scheduler_->now;
  if (cancel_requested_) destroy_requested_ = true;  // cancelled by what made the task
  make_ready();
}

void chain::cancel() noexcept {
  if (cancel_requested_) return;
  cancel_requested_ = true;
  if (queued_) {
    // What has completed is delivered; what has not begun never begins.
    if (!started_) destroy_requested_ = true;
    return;
  }
  if (scheduler_->running == this) {
    scheduler_->budget = 0;  // so that even an await that is ready suspends
    return;
  }
  if (waiting_on_ != nullptr) waiting_on_->cancel(*this);
}

void chain::free_root() noexcept {
  // A chain that ended by completing still holds its outermost frame, and with it the result.
  if (root_ != nullptr) std::exchange(root_, nullptr)->self.destroy();
}

bool chain::yield(promise_base& innermost) noexcept {
  top_ = &innermost;
  if (cancel_requested_) {
    destroy_later();
    return false;
  }
  since_ = scheduler_->now;
  make_ready();
  return true;
}

void chain::destroy_later() noexcept {
  destroy_requested_ = true;
  waiting_on_ = nullptr;
  make_ready();
}

void chain::destroy_frames() noexcept {
  // Innermost first, in a loop: a hundred thousand frames must not be a hundred thousand nested
  // destructor calls. The frame above is told that its child is gone before it is destroyed.
  promise_base* frame = top_;
  top_ = nullptr;
  while (frame != nullptr) {
    promise_base* parent = frame->parent;
    *frame->owner_slot = nullptr;
    frame->self.destroy();
    frame = parent;
  }
}

loop& chain::owner_loop() const noexcept { return static_cast<loop&>(*scheduler_); }

scope::~scope() {
  RILL_ASSERT(first_ == nullptr, "a scope was destroyed before its children had ended");
}

void scope::cancel_children() noexcept {
  // cancel() only ever queues, so the list cannot change under the walk.
  for (chain* child = first_; child != nullptr; child = child->next_sibling_) child->cancel();
}

}  // namespace rill::detail
