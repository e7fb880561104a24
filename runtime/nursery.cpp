// How a nursery begins and ends. See nursery.h.
#include <rill/runtime/nursery.h>

namespace rill {

void nursery::begin(detail::promise_base& awaiting, detail::promise_base& body) noexcept {
  owner_ = awaiting.owner_chain;
  scheduler_ = &owner_->on();
  body_ = ::new (static_cast<void*>(body_storage_)) body_chain(*this, *scheduler_);
  body_->start(body);
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
    body_done_ = true;
    static_cast<body_chain&>(child).~body_chain();
  } else {
    auto& ended = static_cast<child_chain&>(child);
    if (completed && ended.outcome().has_exception()) fail(ended.outcome().exception());
    ended.dispose();
  }
  if (!body_done_ || child_count() != 0) return;
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
