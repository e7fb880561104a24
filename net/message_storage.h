// The message headers that sendmsg and recvmsg work on, kept beside a socket's slots.
// Private: it shows the system's socket headers. Read next: socket.cpp, datagram.cpp.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <cstddef>
#include <vector>

#include <rill/net/endpoint.h>

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

/// What a datagram socket reads into and writes from. Made with the socket.
class datagram_storage {
 public:
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
  /// A datagram that came while the pool was empty.
  std::vector<std::byte> private_bytes;
  std::size_t private_size = 0;
};

}  // namespace rill::detail
