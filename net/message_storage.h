// The message headers that sendmsg and recvmsg work on, kept beside a socket's slots.
// Private: it shows the system's socket headers. Read next: socket.cpp, datagram.cpp.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include <rill/net/endpoint.h>
#include <rill/runtime/loop.h>
#include <rill/runtime/timer.h>

namespace rill::detail {

/// The headers of scattered reads and gathered writes: made at the first one, kept for the next.
class vector_storage {
 public:
  struct side {
    msghdr header{};
    std::vector<iovec> pieces;
  };
  side read;
  side write;
};

class socket_state;

/// Sends a Unix datagram again after a while, as nothing tells when the socket that it names has
/// room. Each pause is twice as long as the one before.
class send_retry final : public timer_node {
 public:
  explicit send_retry(loop& on) noexcept : loop_(&on) {}
  ~send_retry() { loop_->timers().remove(*this); }
  void reset() noexcept { pause_ = pause_min; }
  /// Throws std::bad_alloc.
  void arm(socket_state& socket);
  void expired() noexcept override;

 private:
  static constexpr std::int64_t pause_min = 50'000;  // nanoseconds
  static constexpr std::int64_t pause_max = 3'200'000;

  loop* loop_;
  socket_state* socket_ = nullptr;
  std::int64_t pause_ = pause_min;
};

/// What a datagram socket reads into and writes from. Made with the socket.
class datagram_storage {
 public:
  datagram_storage(loop& on, bool unix_socket) noexcept : retry(on), is_unix(unix_socket) {}

  /// Room for the control messages of one datagram: the segment size of UDP_GRO or UDP_SEGMENT.
  static constexpr std::size_t control_size = 64;
  struct side {
    msghdr header{};
    iovec piece{};
    alignas(8) std::byte name[sizeof(sockaddr_storage)] = {};
    alignas(8) std::byte control[control_size] = {};
  };
  side read;
  side write;
  /// As much as a large buffer of the pool holds.
  static constexpr std::size_t private_size_max = 65536;
  /// A datagram that came while the pool was empty.
  std::vector<std::byte> private_bytes;
  std::size_t private_size = 0;
  send_retry retry;
  bool is_unix;
};

}  // namespace rill::detail
