// The life of a connection: opening, segments, closing. Timers stand in tcp_timer.cpp. See tcp.h.
#include <rill/runtime/sim/tcp.h>

#include <algorithm>
#include <cerrno>

#include <rill/runtime/sim/kernel.h>
#include <rill/runtime/sim/tcp_socket.h>

namespace rill::sim::detail {
namespace {

// Bytes of one segment: what segmentation offload hands to a network card at once.
constexpr std::size_t segment_max = 65536;

}  // namespace

tcp_connection::tcp_connection(node& on, const endpoint& local, const endpoint& peer)
    : node_(&on),
      engine_(&on.world),
      peer_(peer),
      retransmission_(on.world.events, *this, &tcp_connection::retransmit),
      acknowledgement_(on.world.events, *this, &tcp_connection::delayed_acknowledgement),
      window_probe_(on.world.background, *this, &tcp_connection::probe_window),
      idle_(on.world.background, *this, &tcp_connection::idle) {
  claim_.local = local;
}

tcp_connection::~tcp_connection() {
  if (claimed_) node_->tcp_ports.remove(claim_);
  while (lent_.first() != nullptr) lent_.remove(*lent_.first());
}

void tcp_connection::register_here() {
  node_->tcp_ports.add(claim_);
  claimed_ = true;
  node_->add_connection({claim_.local, peer_}, shared_from_this());
  registered_ = true;
  last_heard_ = engine_->now();
}

void tcp_connection::leave() {
  state_ = tcp_state::closed;
  retransmission_.disarm();
  acknowledgement_.disarm();
  window_probe_.disarm();
  idle_.disarm();
  outgoing_.clear();
  finish_lent(UINT64_MAX);
  if (claimed_) node_->tcp_ports.remove(claim_);
  claimed_ = false;
  if (!registered_) return;
  registered_ = false;
  node_->remove_connection({claim_.local, peer_});
}

void tcp_connection::notify(bool readable, bool writable) {
  if (owner != nullptr) owner->changed(readable, writable);
}

// ---------------------------------------------------------------- opening

void tcp_connection::connect(std::size_t send_capacity, std::size_t receive_capacity) {
  set_capacities(send_capacity, receive_capacity);
  incarnation_ = engine_->next_incarnation++;
  register_here();
  state_ = tcp_state::syn_sent;
  receive_edge_ = receive_capacity_;
  send(packet::syn, 0, 0);
  next_ = 1;
  arm_retransmission();
}

void tcp_connection::accept(const packet& syn, tcp_socket& from) {
  listener = &from;
  incarnation_ = syn.incarnation;
  from.inherit(*this);
  register_here();
  state_ = tcp_state::syn_received;
  expected_ = 1;
  receive_edge_ = expected_ + receive_capacity_;
  send_edge_ = 1 + syn.window;
  widest_window_ = syn.window;
  send(packet::syn | packet::ack, 0, 0);
  next_ = 1;
  arm_retransmission();
}

/// True when the connection is open now and the rest of the packet counts.
bool tcp_connection::receive_opening(packet& arrived) {
  if (state_ == tcp_state::syn_sent) {
    if (!arrived.has(packet::syn) || !arrived.has(packet::ack)) return false;
    round_trip_ = engine_->now() - timed_at_;
    acknowledged_ = next_ = 1;
    expected_ = 1;
    receive_edge_ = expected_ + receive_capacity_;
    send_edge_ = 1 + arrived.window;
    widest_window_ = arrived.window;
    retransmission_.disarm();
    retry_count_ = 0;
    enter(tcp_state::established);
    acknowledge();
    notify(true, true);
    return false;
  }
  if (arrived.has(packet::syn)) {  // our answer was lost
    send(packet::syn | packet::ack, 0, 0);
    return false;
  }
  if (!arrived.has(packet::ack) || arrived.acknowledged < 1) return false;
  // With a full accept queue the client's ACK is forgotten (net.ipv4.tcp_abort_on_overflow is 0):
  // the client believes in the connection, the server goes on repeating its SYN.
  if (listener == nullptr || !listener->has_room()) return false;
  round_trip_ = engine_->now() - timed_at_;
  acknowledged_ = 1;
  next_ = std::max<std::uint64_t>(next_, 1);
  retransmission_.disarm();
  retry_count_ = 0;
  enter(tcp_state::established);
  listener->established(shared_from_this());
  return true;
}

void tcp_connection::enter(tcp_state next) {
  state_ = next;
  switch (next) {
    case tcp_state::established:
      if (timing_.keep_alive) idle_.arm(engine_->now() + timing_.keep_idle);
      break;
    case tcp_state::time_wait:
      retransmission_.disarm();
      acknowledgement_.disarm();
      [[fallthrough]];
    case tcp_state::fin_wait_2:
      // net.ipv4.tcp_fin_timeout and the length of TIME_WAIT are both a minute.
      if (next == tcp_state::time_wait || orphaned_) idle_.arm(engine_->now() + 60'000'000'000);
      break;
    default:
      break;
  }
}

// ---------------------------------------------------------------- packets

void tcp_connection::receive(packet& arrived) {
  const std::shared_ptr<tcp_connection> self = shared_from_this();
  if (arrived.incarnation != incarnation_) {
    if (arrived.has(packet::rst)) return;
    if (arrived.has(packet::syn)) {
      // The peer has forgotten this connection and begins anew. Linux finds out by asking it back;
      // the result is the same: this one is reset, and the peer's next SYN is a new connection.
      fail(ECONNRESET);
      return;
    }
    // An old connection with the same endpoints; the answer makes its other end forget it.
    packet& answer = node_->wire.make_packet();
    answer.source = arrived.destination;
    answer.destination = arrived.source;
    answer.kind = packet_kind::tcp;
    answer.flags = packet::rst;
    answer.incarnation = arrived.incarnation;
    node_->wire.transmit(*node_, answer);
    return;
  }
  last_heard_ = engine_->now();
  probe_count_ = 0;
  if (arrived.has(packet::rst)) {
    receive_reset();
    return;
  }
  if (state_ == tcp_state::syn_sent || state_ == tcp_state::syn_received) {
    if (!receive_opening(arrived)) return;
  } else if (arrived.has(packet::syn)) {  // our ACK of it was lost
    acknowledge();
    return;
  }
  take_acknowledgement(arrived);
  if (state_ == tcp_state::closed) return;
  take_content(arrived);
  if (state_ != tcp_state::closed && state_ != tcp_state::time_wait) push();
}

/// Bytes and FIN. A segment that brings nothing new is answered all the same, so that the peer
/// learns where we are; one without content only if its number is old, which makes it a probe.
void tcp_connection::take_content(packet& arrived) {
  const bool fin = arrived.has(packet::fin);
  const std::uint64_t end = arrived.sequence + arrived.payload.size();
  if (arrived.payload.empty() && !fin) {
    if (arrived.sequence < expected_) acknowledge();
    return;
  }
  if (arrived.sequence > expected_ || end + (fin ? 1 : 0) <= expected_) {
    acknowledge();
    return;
  }
  if (end > expected_) take_payload(arrived);
  if (fin && state_ != tcp_state::closed && end == expected_ && !peer_finished_) take_fin();
}

void tcp_connection::receive_reset() {
  // tcp_reset(): refused while connecting, EPIPE when the peer had finished sending.
  switch (state_) {
    case tcp_state::syn_sent:
      fail(ECONNREFUSED);
      break;
    case tcp_state::close_wait:
      fail(EPIPE);
      break;
    case tcp_state::time_wait:
    case tcp_state::closed:
      leave();
      break;
    default:
      fail(ECONNRESET);
      break;
  }
}

void tcp_connection::unreachable() {
  if (state_ == tcp_state::syn_sent) fail(EHOSTUNREACH);
}

void tcp_connection::fail(int number) {
  const std::shared_ptr<tcp_connection> self = shared_from_this();
  error_ = number;
  if (listener != nullptr) listener->forget(*this);
  leave();
  notify(true, true);
}

int tcp_connection::take_error() noexcept {
  const int number = error_;
  error_ = 0;
  return number;
}

void tcp_connection::take_acknowledgement(const packet& arrived) {
  if (!arrived.has(packet::ack)) return;
  if (arrived.acknowledged > sent_most_) return;
  const std::uint64_t edge = arrived.acknowledged + arrived.window;
  widest_window_ = std::max(widest_window_, arrived.window);
  send_edge_ = std::max(send_edge_, edge);
  if (arrived.acknowledged <= acknowledged_) return;

  acknowledged_ = arrived.acknowledged;
  next_ = std::max(next_, acknowledged_);
  retry_count_ = 0;
  if (timed_sequence_ != 0 && acknowledged_ >= timed_sequence_) {
    round_trip_ = engine_->now() - timed_at_;
    timed_sequence_ = 0;
  }
  const bool was_writable = is_writable();
  const std::uint64_t end = data_end();
  const std::uint64_t data_acknowledged = std::min(acknowledged_, end);
  outgoing_.consume(static_cast<std::size_t>(data_acknowledged - data_begin_));
  data_begin_ = data_acknowledged;
  finish_lent(data_begin_);
  // What waits for the peer's window is not in flight: it is asked for, and never given up.
  if (acknowledged_ == next_) {
    retransmission_.disarm();
  } else {
    arm_retransmission();
  }
  if (fin_wanted_ && acknowledged_ == end + 1) {
    if (state_ == tcp_state::fin_wait_1) {
      enter(tcp_state::fin_wait_2);
    } else if (state_ == tcp_state::closing) {
      enter(tcp_state::time_wait);
      notify(true, true);
      return;
    } else if (state_ == tcp_state::last_ack) {
      leave();
      notify(true, true);
      return;
    }
  }
  if (!was_writable && is_writable()) notify(false, true);
}

void tcp_connection::take_payload(packet& arrived) {
  if (state_ != tcp_state::established && state_ != tcp_state::fin_wait_1 &&
      state_ != tcp_state::fin_wait_2) {
    return;
  }
  const auto known = static_cast<std::size_t>(expected_ - arrived.sequence);
  if (orphaned_) {  // nobody will ever read it (RFC 1122, 4.2.2.13)
    abort();
    return;
  }
  const std::size_t room = static_cast<std::size_t>(receive_edge_ - expected_);
  const std::size_t size = std::min(arrived.payload.size() - known, room);
  incoming_.append(arrived.payload.data() + known, size);
  expected_ += size;
  owe_acknowledgement();
  notify(true, false);
}

void tcp_connection::take_fin() {
  ++expected_;
  peer_finished_ = true;
  switch (state_) {
    case tcp_state::established:
      enter(tcp_state::close_wait);
      break;
    case tcp_state::fin_wait_1:
      enter(tcp_state::closing);
      break;
    case tcp_state::fin_wait_2:
      enter(tcp_state::time_wait);
      break;
    default:
      break;
  }
  acknowledge();
  notify(true, true);
}

// ---------------------------------------------------------------- sending

bool tcp_connection::may_send() const noexcept {
  switch (state_) {
    case tcp_state::established:
    case tcp_state::close_wait:
    case tcp_state::fin_wait_1:
    case tcp_state::closing:
    case tcp_state::last_ack:
      return true;
    default:
      return false;
  }
}

void tcp_connection::push() {
  if (!may_send()) return;
  for (;;) {
    const std::uint64_t end = data_end();
    if (next_ > end) return;  // the FIN is out
    const auto available = static_cast<std::size_t>(end - next_);
    const auto room = static_cast<std::size_t>(send_edge_ > next_ ? send_edge_ - next_ : 0);
    const std::size_t size = std::min({available, room, segment_max});
    const bool fin = fin_wanted_ && size == available;
    if (size == 0 && !fin) {
      // Bytes wait for the peer's window. If the packet that opens it is lost, only asking helps.
      if (available != 0 && next_ == acknowledged_ && !retransmission_.is_armed()) begin_probing();
      return;
    }
    // Not a small piece because the window is almost full: wait for it to open (RFC 9293, 3.8.6.2).
    if (!fin && size < available && size < segment_max && size < widest_window_ / 2 &&
        next_ != acknowledged_) {
      return;
    }
    window_probe_.disarm();
    send(static_cast<std::uint8_t>(packet::ack | (fin ? packet::fin : 0)), next_, size);
    next_ += size + (fin ? 1 : 0);
    if (timed_sequence_ == 0) {
      timed_sequence_ = next_;
      timed_at_ = engine_->now();
    }
    if (!retransmission_.is_armed()) arm_retransmission();
  }
}

void tcp_connection::send(std::uint8_t flags, std::uint64_t sequence, std::size_t size) {
  packet& made = node_->wire.make_packet();
  made.source = claim_.local;
  made.destination = peer_;
  made.kind = packet_kind::tcp;
  made.flags = flags;
  made.incarnation = incarnation_;
  made.sequence = sequence;
  made.window = window();
  if ((flags & packet::ack) != 0) {
    made.acknowledged = expected_;
    unacknowledged_segments_ = 0;
    acknowledgement_.disarm();
  }
  if (size != 0) {
    const std::byte* const from = outgoing_.data() + (sequence - data_begin_);
    made.payload.assign(from, from + size);
  }
  const bool counts = (flags & (packet::syn | packet::fin)) != 0;
  sent_most_ = std::max(sent_most_, sequence + size + (counts ? 1 : 0));
  if ((flags & packet::syn) != 0) timed_at_ = engine_->now();
  node_->wire.transmit(*node_, made);
}

void tcp_connection::acknowledge() {
  // With the highest number used, even while older ones are being sent again: a lower one would
  // look like a probe and be answered.
  if (registered_) send(packet::ack, sent_most_, 0);
}

std::uint32_t tcp_connection::window() noexcept {
  // The right edge never moves to the left, even if the user makes the buffer smaller.
  const std::size_t used = incoming_.size();
  const std::size_t room = receive_capacity_ > used ? receive_capacity_ - used : 0;
  receive_edge_ = std::max(receive_edge_, expected_ + room);
  return static_cast<std::uint32_t>(receive_edge_ - expected_);
}

// ---------------------------------------------------------------- the user's side

std::size_t tcp_connection::write(const std::byte* from, std::size_t size) {
  const std::size_t used = outgoing_.size();
  const std::size_t taken = used < send_capacity_ ? std::min(size, send_capacity_ - used) : 0;
  if (taken == 0) return 0;
  outgoing_.append(from, taken);
  push();
  return taken;
}

bool tcp_connection::keep_until_acknowledged(request& sent) {
  if (!registered_ || outgoing_.empty()) return false;
  // Loopback copies, for what the receiver holds must not be the sender's (skb_orphan_frags_rx()).
  sent.copied = node_->wire.find(peer_.ip, *node_) == node_;
  sent.offset = data_end();
  lent_.append(sent);
  return true;
}

/// Those whose last byte lies before `acknowledged`.
void tcp_connection::finish_lent(std::uint64_t acknowledged) {
  while (lent_.first() != nullptr && lent_.first()->offset <= acknowledged) {
    request& first = *lent_.first();
    first.owner->finish(first, 0);
  }
}

bool tcp_connection::is_writable() const noexcept {
  // As sk_stream_is_writeable(): a third must be free, so that a writer is not woken for crumbs.
  return outgoing_.size() < send_capacity_ - send_capacity_ / 3;
}

void tcp_connection::consume(std::size_t size) {
  incoming_.consume(size);
  if (is_closed() || peer_finished_) return;
  // Tell the peer when the window has opened by half the buffer, or was as good as shut.
  const std::size_t used = incoming_.size();
  const std::size_t room = receive_capacity_ > used ? receive_capacity_ - used : 0;
  const auto advertised = static_cast<std::size_t>(receive_edge_ - expected_);
  if (room >= advertised + receive_capacity_ / 2) acknowledge();
}

void tcp_connection::finish_sending() {
  if (fin_wanted_) return;
  fin_wanted_ = true;
  if (state_ == tcp_state::established) {
    enter(tcp_state::fin_wait_1);
  } else if (state_ == tcp_state::close_wait) {
    enter(tcp_state::last_ack);
  }
  push();
}

void tcp_connection::abort() {
  const std::shared_ptr<tcp_connection> self = shared_from_this();
  if (registered_ && state_ != tcp_state::syn_sent && state_ != tcp_state::time_wait) {
    send(packet::rst, sent_most_, 0);
  }
  leave();
}

void tcp_connection::release(bool linger_reset) {
  const std::shared_ptr<tcp_connection> self = shared_from_this();
  owner = nullptr;
  orphaned_ = true;
  if (state_ == tcp_state::closed || state_ == tcp_state::time_wait) return;
  if (state_ == tcp_state::syn_sent) {
    leave();
  } else if (linger_reset || !incoming_.empty()) {
    abort();  // bytes that nobody will read are lost: the peer must know (RFC 2525, 2.17)
  } else if (state_ == tcp_state::fin_wait_2) {
    enter(tcp_state::fin_wait_2);
  } else {
    finish_sending();
  }
}

void tcp_connection::set_capacities(std::size_t send, std::size_t receive) {
  send_capacity_ = send;
  receive_capacity_ = receive;
}

void tcp_connection::set_timing(const tcp_timing& timing) {
  if (timing == timing_) return;
  timing_ = timing;
  if (state_ == tcp_state::established || state_ == tcp_state::close_wait) {
    if (timing_.keep_alive) idle_.arm(last_heard_ + timing_.keep_idle);
  }
}

}  // namespace rill::sim::detail
