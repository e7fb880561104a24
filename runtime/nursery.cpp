// How a nursery begins and ends. See nursery.h.
#include <rill/runtime/nursery.h>

namespace rill {

bool nursery::enter(detail::promise_base& awaiting) noexcept {
  RILL_ASSERT(owner_ == nullptr, "a nursery was awaited twice");
  if (!awaiting.owner_chain->suspend(awaiting, *this)) return false;
  owner_ = awaiting.owner_chain;
  scheduler_ = &owner_->on();
  return true;
}

void nursery::begin(detail::promise_base& body) noexcept {
  body_ = ::new (static_cast<void*>(body_storage_)) body_chain(*this, *scheduler_);
  body_->start(body);
  // A body function that cancels, or the chain that awaits it, has not reached the body yet.
  if (cancelled_ || owner_->cancel_requested()) cancel_children();
}

void nursery::begin_without_body() noexcept {
  fail(std::current_exception());
  if (child_count() == 0) owner_->make_ready();
}

void nursery::fail(std::exception_ptr error) noexcept {
  if (!error_) error_ = std::move(error);
  cancel_children();
}

void nursery::child_done(detail::chain& child, bool completed) noexcept {
  if (!completed) any_destroyed_ = true;
  if (&child == body_) {
    if (completed) {
      auto* outcome = static_cast<detail::task_promise<void>*>(child.root());
      if (outcome->has_exception()) fail(outcome->exception());
    }
    body_ = nullptr;
    static_cast<body_chain&>(child).~body_chain();
  } else {
    auto& ended = static_cast<child_chain&>(child);
    if (completed && ended.outcome().has_exception()) fail(ended.outcome().exception());
    ended.dispose();
  }
  if (child_count() != 0) return;
  const bool withdrawn = owner_->cancel_requested() && any_destroyed_ && !error_;
  if (withdrawn) {
    owner_->destroy_later();
  } else {
    owner_->make_ready();
  }
}

void nursery::cancel(detail::chain&) noexcept { cancel_children(); }

void nursery::describe(std::string& text) const { text += "nursery of " + std::to_string(size()); }

}  // namespace rill
