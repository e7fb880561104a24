// What a connection does when nothing comes: sends again, probes, gives up. See tcp.h.
#include <algorithm>
#include <cerrno>

#include <rill/runtime/sim/tcp.h>
#include <rill/runtime/sim/tcp_socket.h>

namespace rill::sim::detail {
namespace {

constexpr std::int64_t second = 1'000'000'000;
// TCP_RTO_MIN, TCP_RTO_MAX and TCP_TIMEOUT_INIT of Linux.
constexpr std::int64_t timeout_least = second / 5;
constexpr std::int64_t timeout_most = 120 * second;
constexpr std::int64_t timeout_first = second;
// TCP_DELACK_MIN.
constexpr std::int64_t acknowledgement_delay = second / 25;
// net.ipv4.tcp_syn_retries, tcp_synack_retries, tcp_retries2, and tcp_orphan_retries when it is 0.
constexpr unsigned syn_retries = 6;
constexpr unsigned syn_ack_retries = 5;
constexpr unsigned data_retries = 15;
constexpr unsigned orphan_retries = 8;

}  // namespace

std::int64_t tcp_connection::retransmission_delay(unsigned retries) const noexcept {
  const bool opening = state_ == tcp_state::syn_sent || state_ == tcp_state::syn_received;
  std::int64_t delay =
      opening ? timeout_first : std::max(timeout_least, round_trip_ + timeout_least);
  for (unsigned i = 0; i < retries && delay < timeout_most; ++i) delay *= 2;
  return std::min(delay, timeout_most);
}

void tcp_connection::arm_retransmission() {
  if (retry_count_ == 0) unanswered_since_ = engine_->now();
  retransmission_.arm(engine_->now() + retransmission_delay(retry_count_));
}

bool tcp_connection::has_waited_too_long() const noexcept {
  switch (state_) {
    case tcp_state::syn_sent:
      return retry_count_ >= syn_retries;
    case tcp_state::syn_received:
      return retry_count_ >= syn_ack_retries;
    default:
      break;
  }
  if (timing_.user_timeout != 0) {
    return engine_->now() - unanswered_since_ >= timing_.user_timeout;
  }
  return retry_count_ >= (orphaned_ ? orphan_retries : data_retries);
}

void tcp_connection::retransmit() {
  const std::shared_ptr<tcp_connection> self = shared_from_this();
  if (has_waited_too_long()) {
    fail(ETIMEDOUT);
    return;
  }
  ++retry_count_;
  timed_sequence_ = 0;  // an answer could be to either of the two (Karn)
  if (state_ == tcp_state::syn_sent) {
    send(packet::syn, 0, 0);
  } else if (state_ == tcp_state::syn_received) {
    send(packet::syn | packet::ack, 0, 0);
  } else {
    next_ = acknowledged_;
    // Only the first segment: the rest follows when the peer answers.
    const std::uint64_t edge = send_edge_;
    send_edge_ = std::min(send_edge_, next_ + 1460);
    push();
    send_edge_ = edge;
  }
  arm_retransmission();
}

void tcp_connection::owe_acknowledgement() {
  // Every second segment at once, one alone after a while, and none if an answer carries it.
  if (++unacknowledged_segments_ >= 2) {
    acknowledge();
  } else {
    acknowledgement_.arm(engine_->now() + acknowledgement_delay);
  }
}

void tcp_connection::delayed_acknowledgement() {
  const std::shared_ptr<tcp_connection> self = shared_from_this();
  acknowledge();
}

/// The peer's window is shut, and bytes wait for it.
void tcp_connection::begin_probing() {
  if (window_probe_.is_armed()) return;
  probe_backoff_ = 0;
  probing_since_ = -1;
  window_probe_.arm(engine_->now() + retransmission_delay(0));
}

/// As tcp_probe_timer(): whoever answers is asked for ever, unless nobody would read what comes.
bool tcp_connection::has_probed_enough(std::int64_t delay) const noexcept {
  if (timing_.user_timeout != 0 && probing_since_ >= 0 &&
      engine_->now() - probing_since_ >= timing_.user_timeout) {
    return true;
  }
  if (orphaned_) return delay >= timeout_most || probe_count_ >= orphan_retries;
  return probe_count_ >= data_retries;
}

void tcp_connection::probe_window() {
  const std::shared_ptr<tcp_connection> self = shared_from_this();
  if (!may_send() || next_ != acknowledged_ || next_ >= data_end()) return;
  if (has_probed_enough(retransmission_delay(probe_backoff_))) {
    fail(ETIMEDOUT);
    return;
  }
  if (probing_since_ < 0) probing_since_ = engine_->now();
  ++probe_count_;
  ++probe_backoff_;
  send(packet::ack, next_ - 1, 0);  // an old number makes the peer tell its window
  window_probe_.arm(engine_->now() + retransmission_delay(probe_backoff_));
}

void tcp_connection::idle() {
  const std::shared_ptr<tcp_connection> self = shared_from_this();
  if (state_ == tcp_state::time_wait || (orphaned_ && state_ == tcp_state::fin_wait_2)) {
    leave();
    return;
  }
  if (!timing_.keep_alive) return;
  // What is under way, or waits for the window, finds a lost peer by itself.
  if (next_ != acknowledged_ || next_ < data_end()) {
    idle_.arm(engine_->now() + timing_.keep_idle);
    return;
  }
  const std::int64_t due = last_heard_ + timing_.keep_idle;
  if (probe_count_ == 0 && engine_->now() < due) {
    idle_.arm(due);
    return;
  }
  const std::int64_t silence = engine_->now() - last_heard_;
  const bool too_long = timing_.user_timeout != 0
                            ? silence >= timing_.user_timeout && probe_count_ != 0
                            : probe_count_ >= static_cast<unsigned>(timing_.keep_count);
  if (too_long) {
    abort();
    fail(ETIMEDOUT);
    return;
  }
  ++probe_count_;
  send(packet::ack, next_ - 1, 0);
  idle_.arm(engine_->now() + timing_.keep_interval);
}

}  // namespace rill::sim::detail
