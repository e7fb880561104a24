// The way of a blocking call to the pool and back. See blocking.h.
#include <rill/runtime/blocking.h>

namespace rill::detail {

void blocking_job::start(promise_base& awaiting) {
  RILL_ASSERT(loop_ == nullptr, "a blocking call was awaited twice");
  chain& mine = *awaiting.owner_chain;
  if (mine.cancel_requested()) {
    mine.yield(awaiting);  // destroys: the call is never made
    return;
  }
  loop_ = &mine.owner_loop();
  waiter_ = &mine;
  // Before suspending, for it may throw; its answer is taken by a later turn in any case.
  loop_->kernel().offload(*this);
  in_flight_ = true;
  loop_->object_opened(*this);
  mine.suspend(awaiting, *this);
}

void blocking_job::release() noexcept {
  if (!in_flight_) {
    delete this;
  } else {
    released_ = true;
    dropped_.store(true, std::memory_order_relaxed);
  }
}

void blocking_job::cancel(chain& waiter) noexcept {
  waiter_ = nullptr;
  dropped_.store(true, std::memory_order_relaxed);
  waiter.destroy_later();
}

void blocking_job::run() noexcept {
  if (dropped_.load(std::memory_order_relaxed)) {
    forget();
  } else {
    call();
  }
}

void blocking_job::finished() noexcept {
  fate before = fate::under_way;
  if (fate_.compare_exchange_strong(before, fate::returned)) {
    loop_->send(*this);
  } else {
    delete this;
  }
}

bool blocking_job::let_go() noexcept {
  if (!released_) return false;
  fate before = fate::under_way;  // if it has returned, its message is as good as here
  return fate_.compare_exchange_strong(before, fate::let_go);
}

void blocking_job::deliver() noexcept {
  loop_->object_closed(*this);
  in_flight_ = false;
  if (released_) {
    delete this;
  } else if (waiter_ != nullptr) {
    waiter_->make_ready();
  }
}

}  // namespace rill::detail
