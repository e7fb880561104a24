// Options of TCP streams, and what their connection tells. See tcp.h.
#include <rill/net/tcp.h>

// The kernel's own header: the C library's struct tcp_info ends before the byte counts.
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstddef>

namespace rill {

// ---------------------------------------------------------------- stream_socket

void stream_socket::set_linger(std::optional<std::chrono::seconds> time) {
  ::linger value{};
  value.l_onoff = time.has_value() ? 1 : 0;
  value.l_linger = time.has_value() ? static_cast<int>(time->count()) : 0;
  write_option(SOL_SOCKET, SO_LINGER, {reinterpret_cast<const std::byte*>(&value), sizeof(value)},
               "SO_LINGER");
}
std::optional<std::chrono::seconds> stream_socket::linger() const {
  ::linger value{};
  read_option(SOL_SOCKET, SO_LINGER, {reinterpret_cast<std::byte*>(&value), sizeof(value)},
              "SO_LINGER");
  if (value.l_onoff == 0) return std::nullopt;
  return std::chrono::seconds(value.l_linger);
}

std::uint64_t stream_socket::acknowledged_size() const noexcept {
  ::tcp_info found{};
  unsigned size = sizeof(found);
  const int status =
      owner_loop().kernel().get_option(descriptor(), IPPROTO_TCP, TCP_INFO, &found, size);
  return status < 0 ? 0 : found.tcpi_bytes_acked;
}

// ---------------------------------------------------------------- tcp_stream

void tcp_stream::set_no_delay(bool on) {
  set_number(IPPROTO_TCP, TCP_NODELAY, on ? 1 : 0, "TCP_NODELAY");
}
bool tcp_stream::no_delay() const { return number(IPPROTO_TCP, TCP_NODELAY, "TCP_NODELAY") != 0; }

void tcp_stream::set_cork(bool on) { set_number(IPPROTO_TCP, TCP_CORK, on ? 1 : 0, "TCP_CORK"); }
bool tcp_stream::cork() const { return number(IPPROTO_TCP, TCP_CORK, "TCP_CORK") != 0; }

void tcp_stream::set_keep_alive(const keep_alive_options& options) {
  set_number(IPPROTO_TCP, TCP_KEEPIDLE, static_cast<int>(options.idle.count()), "TCP_KEEPIDLE");
  set_number(IPPROTO_TCP, TCP_KEEPINTVL, static_cast<int>(options.interval.count()),
             "TCP_KEEPINTVL");
  set_number(IPPROTO_TCP, TCP_KEEPCNT, options.probe_count, "TCP_KEEPCNT");
  set_number(SOL_SOCKET, SO_KEEPALIVE, 1, "SO_KEEPALIVE");
}
void tcp_stream::clear_keep_alive() { set_number(SOL_SOCKET, SO_KEEPALIVE, 0, "SO_KEEPALIVE"); }
std::optional<keep_alive_options> tcp_stream::keep_alive() const {
  if (number(SOL_SOCKET, SO_KEEPALIVE, "SO_KEEPALIVE") == 0) return std::nullopt;
  keep_alive_options options;
  options.idle = std::chrono::seconds(number(IPPROTO_TCP, TCP_KEEPIDLE, "TCP_KEEPIDLE"));
  options.interval = std::chrono::seconds(number(IPPROTO_TCP, TCP_KEEPINTVL, "TCP_KEEPINTVL"));
  options.probe_count = number(IPPROTO_TCP, TCP_KEEPCNT, "TCP_KEEPCNT");
  return options;
}

void tcp_stream::set_user_timeout(std::chrono::milliseconds time) {
  set_number(IPPROTO_TCP, TCP_USER_TIMEOUT, static_cast<int>(time.count()), "TCP_USER_TIMEOUT");
}
std::chrono::milliseconds tcp_stream::user_timeout() const {
  return std::chrono::milliseconds(number(IPPROTO_TCP, TCP_USER_TIMEOUT, "TCP_USER_TIMEOUT"));
}

void tcp_stream::set_quick_ack(bool on) {
  set_number(IPPROTO_TCP, TCP_QUICKACK, on ? 1 : 0, "TCP_QUICKACK");
}
bool tcp_stream::quick_ack() const {
  return number(IPPROTO_TCP, TCP_QUICKACK, "TCP_QUICKACK") != 0;
}

void tcp_stream::set_not_sent_low_water(unsigned size) {
  set_number(IPPROTO_TCP, TCP_NOTSENT_LOWAT, static_cast<int>(size), "TCP_NOTSENT_LOWAT");
}
unsigned tcp_stream::not_sent_low_water() const {
  return static_cast<unsigned>(number(IPPROTO_TCP, TCP_NOTSENT_LOWAT, "TCP_NOTSENT_LOWAT"));
}

void tcp_stream::set_receive_low_water(int size) {
  set_number(SOL_SOCKET, SO_RCVLOWAT, size, "SO_RCVLOWAT");
}
int tcp_stream::receive_low_water() const { return number(SOL_SOCKET, SO_RCVLOWAT, "SO_RCVLOWAT"); }

void tcp_stream::set_congestion_control(std::string_view name) {
  write_option(IPPROTO_TCP, TCP_CONGESTION, name, "TCP_CONGESTION");
}
std::string tcp_stream::congestion_control() const {
  return read_text_option(IPPROTO_TCP, TCP_CONGESTION, "TCP_CONGESTION");
}

void tcp_stream::set_segment_size_max(int size) {
  set_number(IPPROTO_TCP, TCP_MAXSEG, size, "TCP_MAXSEG");
}
int tcp_stream::segment_size_max() const { return number(IPPROTO_TCP, TCP_MAXSEG, "TCP_MAXSEG"); }

tcp_info tcp_stream::info() const {
  ::tcp_info found{};
  const std::size_t size = read_option(
      IPPROTO_TCP, TCP_INFO, {reinterpret_cast<std::byte*>(&found), sizeof(found)}, "TCP_INFO");
  // An older kernel tells less and says so by the size.
  const auto told = [size](std::size_t offset, std::uint64_t value) {
    return offset + sizeof(value) <= size ? std::optional<std::uint64_t>(value) : std::nullopt;
  };
  tcp_info info;
  info.round_trip_time = std::chrono::microseconds(found.tcpi_rtt);
  info.round_trip_variance = std::chrono::microseconds(found.tcpi_rttvar);
  info.retransmit_timeout = std::chrono::microseconds(found.tcpi_rto);
  info.segment_size = found.tcpi_snd_mss;
  info.congestion_window = found.tcpi_snd_cwnd;
  info.unacknowledged_count = found.tcpi_unacked;
  info.retransmit_count = found.tcpi_total_retrans;
  info.received_size = told(offsetof(::tcp_info, tcpi_bytes_received), found.tcpi_bytes_received);
  info.acknowledged_size = told(offsetof(::tcp_info, tcpi_bytes_acked), found.tcpi_bytes_acked);
  info.sent_size = told(offsetof(::tcp_info, tcpi_bytes_sent), found.tcpi_bytes_sent);
  return info;
}

}  // namespace rill
