// When operations are let through. See circuit_breaker.h.
#include <rill/net/circuit_breaker.h>

#include <system_error>

namespace rill {

circuit_open_error::circuit_open_error(std::string_view name)
    : io_error(std::make_error_code(std::errc::resource_unavailable_try_again), "circuit breaker",
               name) {}

circuit_state circuit_breaker::state() const noexcept {
  if (is_closed_) return circuit_state::closed;
  const bool has_rested = loop_clock::now() >= loop_clock::after(opened_at_, options_.open_time);
  return has_rested ? circuit_state::half_open : circuit_state::open;
}

circuit_breaker::permit circuit_breaker::try_acquire() noexcept {
  const circuit_state now = state();
  if (now == circuit_state::closed) return permit(*this, false);
  if (now == circuit_state::open || is_on_trial_) return permit();
  is_on_trial_ = true;
  return permit(*this, true);
}

circuit_breaker::permit circuit_breaker::acquire() {
  permit given = try_acquire();
  if (!given) throw circuit_open_error(options_.name);
  return given;
}

void circuit_breaker::count(permit& of, const std::exception& error) {
  if (!options_.is_failure || options_.is_failure(error)) {
    of.failed();
  } else {
    of.succeeded();
  }
}

void circuit_breaker::close() noexcept {
  is_closed_ = true;
  failure_count_ = 0;
}

// An operation that was begun before the circuit opened and ends after that tells what was known
// then: it neither opens it anew nor closes it.

void circuit_breaker::permit::succeeded() noexcept {
  if (from_ == nullptr) return;
  if (from_->is_closed_ || is_trial_) from_->close();
  let_go();
}

void circuit_breaker::permit::failed() noexcept {
  if (from_ == nullptr) return;
  circuit_breaker& of = *from_;
  if (of.is_closed_ || is_trial_) {
    ++of.failure_count_;
    if (is_trial_ || of.failure_count_ >= of.options_.failure_count_max) {
      of.is_closed_ = false;
      of.opened_at_ = loop_clock::now();
    }
  }
  let_go();
}

void circuit_breaker::permit::let_go() noexcept {
  if (from_ != nullptr && is_trial_) from_->is_on_trial_ = false;
  from_ = nullptr;
}

}  // namespace rill
