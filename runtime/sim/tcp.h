// One end of a TCP connection: the state machine of RFC 9293, without a descriptor.
// Sequence numbers begin at 0 and have 64 bits; a lost segment is sent again with all that follow
// it (go-back-N); there is no congestion control and no Nagle delay. Not here: requests that wait
// (tcp_socket.h). Read next: tcp.cpp.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>

#include <rill/runtime/sim/bytes.h>
#include <rill/runtime/sim/engine.h>
#include <rill/runtime/sim/file.h>
#include <rill/runtime/sim/node.h>
#include <rill/runtime/sim/ports.h>

namespace rill::sim::detail {

class tcp_socket;

enum class tcp_state : std::uint8_t {
  closed,
  syn_sent,
  syn_received,
  established,
  fin_wait_1,
  fin_wait_2,
  closing,
  time_wait,
  close_wait,
  last_ack
};

/// SO_KEEPALIVE and its times, TCP_USER_TIMEOUT.
struct tcp_timing {
  bool keep_alive = false;
  std::int64_t keep_idle = 7200'000'000'000;
  std::int64_t keep_interval = 75'000'000'000;
  int keep_count = 9;
  std::int64_t user_timeout = 0;  ///< nanoseconds; 0: the count of retransmissions decides

  friend bool operator==(const tcp_timing&, const tcp_timing&) = default;
};

class tcp_connection final : public std::enable_shared_from_this<tcp_connection> {
 public:
  tcp_connection(node& on, const endpoint& local, const endpoint& peer);
  ~tcp_connection();

  /// Registers the connection with its host and sends the first packet.
  void connect(std::size_t send_capacity, std::size_t receive_capacity);
  /// The answer to `syn`, which came to `listener`.
  void accept(const packet& syn, tcp_socket& listener);
  void receive(packet& arrived);
  /// No host has the peer's address.
  void unreachable();

  // --- the user's side ---
  /// Takes what fits into the send buffer; 0: it is full.
  std::size_t write(const std::byte* from, std::size_t size);
  bool is_writable() const noexcept;
  /// Bytes of the user's that the peer has acknowledged.
  std::uint64_t acknowledged_size() const noexcept { return data_begin_ - 1; }
  /// Of a send without a copy, whose last bytes were written last: finishes it when the peer has
  /// acknowledged them, or will never get them. False: that is so already.
  bool keep_until_acknowledged(request& sent);
  const byte_queue& incoming() const noexcept { return incoming_; }
  /// The user has read this much.
  void consume(std::size_t size);
  void finish_sending();
  void stop_reading() noexcept { read_stopped_ = true; }
  /// No descriptor refers to it any more. `linger_reset`: SO_LINGER with 0 seconds.
  void release(bool linger_reset);
  /// Answers with RST and is gone.
  void abort();
  /// Is gone without a word: the host has crashed.
  void vanish() {
    error_ = ECONNRESET;
    leave();
  }
  void set_timing(const tcp_timing& timing);
  void set_capacities(std::size_t send, std::size_t receive);
  /// The pending error as a positive errno, cleared by asking; 0: none.
  int take_error() noexcept;

  tcp_state state() const noexcept { return state_; }
  /// As the user sees it: a connection in TIME_WAIT is closed.
  bool is_closed() const noexcept {
    return state_ == tcp_state::closed || state_ == tcp_state::time_wait;
  }
  bool has_error() const noexcept { return error_ != 0; }
  bool peer_finished() const noexcept { return peer_finished_; }
  bool finished_sending() const noexcept { return fin_wanted_; }
  bool reading_stopped() const noexcept { return read_stopped_; }
  const endpoint& local() const noexcept { return claim_.local; }
  const endpoint& peer() const noexcept { return peer_; }
  port_claim& claim() noexcept { return claim_; }

  /// The descriptor's side; nullptr before accept() and after the last close.
  tcp_socket* owner = nullptr;
  /// Until it is accepted.
  tcp_socket* listener = nullptr;

 private:
  void enter(tcp_state next);
  void register_here();
  void leave();
  void fail(int number);
  void notify(bool readable, bool writable);

  bool receive_opening(packet& arrived);
  void receive_reset();
  void take_acknowledgement(const packet& arrived);
  void finish_lent(std::uint64_t acknowledged);
  void take_content(packet& arrived);
  void take_payload(packet& arrived);
  void take_fin();
  bool may_send() const noexcept;

  void push();
  void send(std::uint8_t flags, std::uint64_t sequence, std::size_t size);
  void acknowledge();
  void owe_acknowledgement();
  std::uint32_t window() noexcept;
  std::uint64_t data_end() const noexcept { return data_begin_ + outgoing_.size(); }

  std::int64_t retransmission_delay(unsigned retries) const noexcept;
  void arm_retransmission();
  void retransmit();
  void delayed_acknowledgement();
  void begin_probing();
  void probe_window();
  bool has_probed_enough(std::int64_t delay) const noexcept;
  void idle();
  bool has_waited_too_long() const noexcept;

  node* node_;
  engine* engine_;
  port_claim claim_;
  endpoint peer_;
  std::uint32_t incarnation_ = 0;
  tcp_state state_ = tcp_state::closed;
  bool registered_ = false;
  bool claimed_ = false;

  // Sending. Bytes from data_begin_ on lie in outgoing_; what is below next_ has been sent.
  byte_queue outgoing_;
  request_list lent_;  ///< in order of the bytes
  std::size_t send_capacity_ = 0;
  std::uint64_t acknowledged_ = 0;
  std::uint64_t data_begin_ = 1;
  std::uint64_t next_ = 0;
  std::uint64_t sent_most_ = 0;
  std::uint64_t send_edge_ = 0;
  std::uint32_t widest_window_ = 0;
  bool fin_wanted_ = false;

  // Receiving.
  byte_queue incoming_;
  std::size_t receive_capacity_ = 0;
  std::uint64_t expected_ = 0;
  std::uint64_t receive_edge_ = 0;
  unsigned unacknowledged_segments_ = 0;
  bool peer_finished_ = false;
  bool read_stopped_ = false;
  bool orphaned_ = false;
  int error_ = 0;

  tcp_timing timing_;
  std::int64_t round_trip_ = 0;  ///< nanoseconds, as last measured
  std::int64_t timed_at_ = 0;
  std::uint64_t timed_sequence_ =
      0;  ///< an acknowledgement beyond it ends the measurement; 0: none
  std::int64_t unanswered_since_ = 0;
  std::int64_t last_heard_ = 0;
  unsigned retry_count_ = 0;
  unsigned probe_count_ = 0;         ///< unanswered, of the window or of an idle peer
  unsigned probe_backoff_ = 0;       ///< probes of this shut window, answered or not
  std::int64_t probing_since_ = -1;  ///< the first of them; -1: none
  owned_timer<tcp_connection> retransmission_;
  owned_timer<tcp_connection> acknowledgement_;
  owned_timer<tcp_connection> window_probe_;
  owned_timer<tcp_connection> idle_;  ///< keep-alive, and the end of FIN_WAIT_2 and TIME_WAIT
};

}  // namespace rill::sim::detail
