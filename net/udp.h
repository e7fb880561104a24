// UDP sockets: binding, options, and many datagrams in one call.
// Sending and receiving are in datagram.h. Example: examples/udp_echo_server.cpp.
#pragma once

#include <cstdint>
#include <optional>

#include <rill/net/datagram.h>

namespace rill {

struct udp_options {
  /// Several sockets on one address, one per loop: the kernel spreads peers over them.
  bool join = false;
  /// IP_FREEBIND and the like are not offered; SO_REUSEADDR is off, as a second receiver on the
  /// same address would take datagrams away without a word.
};

class udp_socket : public datagram_socket {
 public:
  /// The largest payload of a UDP datagram over IPv4: 65,535 less 20 and 8 bytes of headers.
  static constexpr std::size_t payload_size_max = 65507;

  udp_socket() noexcept {}

  /// A socket that receives on `to`; port 0 takes any free one. REQUIRES: called by a task.
  /// Errors: EADDRINUSE, EACCES, EADDRNOTAVAIL with the address.
  static udp_socket bind(const endpoint& to, const udp_options& options = udp_options());
  /// A socket for a client, on any address and port of that family.
  static udp_socket open(address_family family);
  /// Takes a UDP socket that is bound already (systemd socket activation, a parent process).
  static udp_socket adopt(int descriptor);

  /// Sends `bytes` as datagrams of `segment_size` each (the last may be shorter) in one system call
  /// and one walk through the stack: UDP_SEGMENT, Linux 4.18. At most 64 segments and 65,507 bytes.
  /// Errors: EINVAL or EMSGSIZE beyond that; EIO where an interface cannot checksum them.
  [[nodiscard]] auto send_segments(const_buffer bytes, std::uint16_t segment_size,
                                   const endpoint& to) noexcept {
    return detail::send_datagram_awaiter(*socket_, bytes, &to, segment_size);
  }
  /// Lets the kernel hand over several datagrams of one peer as one: UDP_GRO, Linux 5.0. Then look
  /// at datagram::segment_size(). False where the kernel has it not.
  bool try_set_receive_offload(bool on);

  void set_broadcast(bool on);
  /// Time to live (hop limit for IPv6) of what is sent, 1 to 255.
  void set_time_to_live(int hops);
  /// Joins or leaves a multicast group, on the interface of the address's scope or the default.
  void join_group(const address& group);
  void leave_group(const address& group);
  void set_multicast_loop(bool on);
  /// SO_REUSEPORT from now on: sockets of other loops may join.
  void share();
  /// Forbids fragmentation, so that a datagram above the path's MTU gives EMSGSIZE.
  void set_dont_fragment(bool on);

 private:
  explicit udp_socket(detail::socket_handle&& socket) noexcept
      : datagram_socket(std::move(socket)) {}
  bool is_v6() const;
};

}  // namespace rill
