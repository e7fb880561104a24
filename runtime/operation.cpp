// The life of a slot: waiting, completing, cancelling, timing out. See operation.h.
#include <rill/runtime/operation.h>

#include <cerrno>
#include <new>

#include <rill/runtime/frame_cache.h>
#include <rill/runtime/loop.h>

namespace rill::detail {

operation::~operation() {
  RILL_ASSERT(is_settled() && waiter_ == nullptr, "an operation was freed while in flight");
  loop_->timers().remove(*this);
}

bool operation::wait(promise_base& innermost, const operation_type& type) noexcept {
  RILL_ASSERT(waiter_ == nullptr,
              "two operations of one kind at once on one object (two reads of one stream, say)");
  const std::int64_t deadline = std::exchange(wait_deadline_, never);
  chain& mine = *innermost.owner_chain;
  if (!mine.suspend(innermost, *this)) return false;
  waiter_ = &mine;
  type_ = &type;
  timed_out_ = false;
  if (deadline == never) return true;
  try {
    loop_->timers().arm(*this, deadline);
    return true;
  } catch (const std::bad_alloc&) {
    wake(-ENOMEM);
    return false;
  }
}

void operation::submit(const operation_type& type) noexcept {
  RILL_ASSERT(!in_flight_, "an operation was submitted twice");
  type_ = &type;
  in_flight_ = true;
  submitted_ = false;
  cancel_sent_ = false;
  loop_->submit(*this);
}

void operation::wake(int with_result) noexcept {
  result_ = with_result;
  disarm();
  chain* const waiter = std::exchange(waiter_, nullptr);
  if (waiter == nullptr) return;
  // Completion wins: only what was really withdrawn ends a cancelled chain here.
  if (with_result == -ECANCELED && waiter->cancel_requested()) {
    waiter->destroy_later();
  } else {
    waiter->make_ready();
  }
}

void operation::request_cancel() noexcept {
  if (!in_flight_ || cancel_sent_) return;
  cancel_sent_ = true;
  if (is_carried_) {
    next_in_backlog_->request_cancel();
  } else {
    loop_->submit_cancel(*this);
  }
}

void operation::submit_by(operation& carrier, const operation_type& type) noexcept {
  RILL_ASSERT(!in_flight_, "an operation was submitted twice");
  in_flight_ = true;
  cancel_sent_ = false;
  is_carried_ = true;
  next_in_backlog_ = &carrier;
  carrier.submit(type);
}

void operation::hand_back() noexcept {
  // What is left of the carrier cannot be cancelled: an answer that nothing was found is no reason
  // to ask again.
  next_in_backlog_->cancel_sent_ = false;
  in_flight_ = false;
  is_carried_ = false;
}

void operation::cancel(chain& waiter) noexcept {
  if (!in_flight_ || type_->outlives_waiter) {
    disarm();
    waiter_ = nullptr;
    waiter.destroy_later();
    return;
  }
  request_cancel();
}

void operation::expired() noexcept {
  if (waiter_ == nullptr) return;
  timed_out_ = true;
  if (!in_flight_ || type_->outlives_waiter) {
    wake(-ETIMEDOUT);
    return;
  }
  request_cancel();
}

void operation::describe(std::string& text) const {
  text += type_ == nullptr ? "nothing" : type_->name;
  if (type_ != nullptr && type_->describe != nullptr) type_->describe(*this, text);
}

int operation::unless_interrupted(int result) const noexcept {
  // What a system call gives that a signal is to restart (ERESTARTSYS). Never seen by programs, but
  // a worker thread that is told to give up an open(2) of a FIFO hands it on.
  constexpr int restart_system_call = 512;
  return cancel_sent_ && (result == -EINTR || result == -restart_system_call) ? -ECANCELED : result;
}

rill::result<std::size_t> operation::take_result() const noexcept {
  if (result_ >= 0) return static_cast<std::size_t>(result_);
  if (timed_out_ && (result_ == -ECANCELED || result_ == -ETIMEDOUT)) {
    return tl::unexpected(error::timed_out(type_->name));
  }
  return tl::unexpected(error::from_errno(-result_, type_->name));
}

operation& pooled_operation::acquire(rill::loop& on, const void* owner) {
  slot_ = ::new (allocate_frame(sizeof(operation))) operation(on, owner);
  return *slot_;
}

void pooled_operation::release() noexcept {
  if (slot_ == nullptr) return;
  operation& slot = *std::exchange(slot_, nullptr);
  if (slot.is_settled()) {
    free(slot);
  } else {
    // Only the answer to a cancel request can still be due; the loop goes on until it has come.
    slot.abandoned_ = true;
    slot.owner_loop().object_opened();
  }
}

void pooled_operation::free(operation& slot) noexcept {
  slot.~operation();
  free_frame(&slot, sizeof(operation));
}

}  // namespace rill::detail
