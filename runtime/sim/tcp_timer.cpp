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

void tcp_connection::arm_retransmission() {
  const bool opening = state_ == tcp_state::syn_sent || state_ == tcp_state::syn_received;
  std::int64_t delay =
      opening ? timeout_first : std::max(timeout_least, round_trip_ + timeout_least);
  for (unsigned i = 0; i < retry_count_ && delay < timeout_most; ++i) delay *= 2;
  if (retry_count_ == 0) unanswered_since_ = engine_->now();
  retransmission_.arm(engine_->now() + std::min(delay, timeout_most));
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

void tcp_connection::idle() {
  const std::shared_ptr<tcp_connection> self = shared_from_this();
  if (state_ == tcp_state::time_wait || (orphaned_ && state_ == tcp_state::fin_wait_2)) {
    leave();
    return;
  }
  const bool stalled = next_ == acknowledged_ && next_ < data_end();
  if (stalled) {
    send(packet::ack, next_ - 1, 0);  // an old number makes the peer tell its window
    idle_.arm(engine_->now() + std::min(timeout_most, second << std::min(++probe_count_, 7U)));
    return;
  }
  if (!timing_.keep_alive) return;
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
