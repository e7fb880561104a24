// UDP sockets: binding, options, and many datagrams in one call.
// Sending and receiving are in datagram.h. Example: examples/udp_echo_server.cpp.
#pragma once

#include <cstdint>
#include <type_traits>

#include <rill/net/address.h>
#include <rill/net/datagram.h>

namespace rill {

/// How a socket is bound.
struct udp_options {
  /// Several sockets on one address, one per loop: the kernel spreads peers over them.
  bool join = false;
  /// SO_REUSEADDR: several programs receive from one group on one port. Off, as with other
  /// addresses than a group's a second receiver takes datagrams away without a word.
  bool reuse_address = false;
  /// IP_FREEBIND, IPV6_FREEBIND: also an address that this machine has not, or not yet.
  bool free_bind = false;
};
static_assert(std::is_trivially_destructible_v<udp_options>);

/// A socket for datagrams over UDP; what all datagram sockets can do is in datagram.h.
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
  /// Takes over a UDP socket that is bound already (systemd socket activation, a parent process).
  /// It is closed when this throws. Errors: "adopt descriptor 7: ...", EBADF, ENOTSOCK, EPROTOTYPE
  /// for a stream, EAFNOSUPPORT for another family.
  static udp_socket adopt(int descriptor);

  using datagram_socket::send_to;
  /// Sends from this one of the machine's addresses (IP_PKTINFO, IPV6_PKTINFO): a server on a
  /// wildcard address answers with send_to(answer, question.peer(), question.local()), where the
  /// kernel by itself would choose by route. Of an unspecified address or a group only the scope
  /// counts, the interface to send through; the kernel chooses the address. All three must live
  /// until the co_await is over. REQUIRES: `from` is of the family of `to`, or unspecified. Errors:
  /// EINVAL or ENETUNREACH for an address that the machine has not.
  [[nodiscard]] auto send_to(const_buffer bytes, const endpoint& to, const address& from) noexcept {
    return detail::send_datagram_awaiter(*socket_, bytes, &to, 0, &from);
  }
  /// From now on datagrams tell which own address they came to: datagram::local(). IP_PKTINFO,
  /// IPV6_RECVPKTINFO. Switch it on before the first receive.
  void set_packet_info(bool on);

  /// Sends `bytes` as datagrams of `segment_size` each (the last may be shorter) in one system call
  /// and one walk through the stack: UDP_SEGMENT, Linux 4.18. At most 64 segments and 65,507 bytes.
  /// Errors: EINVAL or EMSGSIZE beyond that; EIO where an interface cannot checksum them.
  [[nodiscard]] auto send_segments(const_buffer bytes, std::uint16_t segment_size,
                                   const endpoint& to) noexcept {
    return detail::send_datagram_awaiter(*socket_, bytes, &to, segment_size);
  }
  /// Lets the kernel hand over several datagrams of one peer as one: UDP_GRO, Linux 5.0. Then look
  /// at segment_size() of what was received. False where the kernel has it not.
  bool try_set_receive_offload(bool on);

  void set_broadcast(bool on);
  /// Time to live (hop limit for IPv6) of what is sent, 1 to 255.
  void set_time_to_live(int hops);
  int time_to_live() const;
  /// Joins or leaves a multicast group: IP_ADD_MEMBERSHIP, IPV6_JOIN_GROUP and their opposites, on
  /// the interface with this index (system_interface_index("eth0")); 0: that of the address's
  /// scope, or the one that the route to the group names. ENODEV if there is none; EADDRINUSE when
  /// it has been joined there already, EADDRNOTAVAIL when it was not joined.
  void join_group(const address& group, std::uint32_t interface_index = 0);
  void leave_group(const address& group, std::uint32_t interface_index = 0);
  /// IP_MULTICAST_LOOP: whether this machine's own receivers get what is sent to a group. On.
  void set_multicast_loop(bool on);
  bool multicast_loop() const;
  /// IP_MULTICAST_TTL, IPV6_MULTICAST_HOPS: how far what is sent to a group goes, 0 to 255; 1, the
  /// default: the own network.
  void set_multicast_time_to_live(int hops);
  int multicast_time_to_live() const;
  /// IP_MULTICAST_IF, IPV6_MULTICAST_IF: the interface through which it is sent; 0: by route.
  void set_multicast_interface(std::uint32_t interface_index);
  /// From now on sockets of other loops may join(), by SO_REUSEPORT: what one peer sends comes to
  /// one of them. A socket that was adopted they share itself, and whoever comes first has it.
  shared_socket share();
  /// Another socket on an address that a loop of this process has shared; options.join is set.
  static udp_socket join(const shared_socket& shared, udp_options options = udp_options());
  /// Forbids fragmentation, so that a datagram above the path's MTU gives EMSGSIZE.
  void set_dont_fragment(bool on);
  /// Datagrams that came and were dropped, mostly because the receive buffer was full. SO_MEMINFO,
  /// Linux 4.12.
  std::uint32_t dropped_count() const;

 private:
  explicit udp_socket(detail::socket_handle&& socket) noexcept
      : datagram_socket(std::move(socket)) {}
};

}  // namespace rill
