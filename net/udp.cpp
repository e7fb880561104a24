// UDP sockets: binding and options. See udp.h.
#include <rill/net/udp.h>

#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include <array>
#include <cstring>

namespace rill {
namespace {

int new_socket(loop& on, const endpoint& like) {
  const int descriptor = detail::open_socket(on, like, SOCK_DGRAM);
  if (like.kind() != endpoint_kind::ipv6) return descriptor;
  try {
    detail::set_option(on, descriptor, IPPROTO_IPV6, IPV6_V6ONLY, 1, "IPV6_V6ONLY");
  } catch (...) {
    on.kernel().close(descriptor);
    throw;
  }
  return descriptor;
}

}  // namespace

udp_socket udp_socket::bind(const endpoint& to, const udp_options& options) {
  loop& on = loop::current();
  detail::check_family(to, true, "bind");
  const int descriptor = new_socket(on, to);
  udp_socket made{detail::socket_handle(detail::make_datagram_state(on, descriptor, false))};
  if (options.join) made.set_number(SOL_SOCKET, SO_REUSEPORT, 1, "SO_REUSEPORT");
  if (options.reuse_address) made.set_number(SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR");
  if (options.free_bind) {
    const bool v6 = to.kind() == endpoint_kind::ipv6;
    made.set_number(v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_FREEBIND : IP_FREEBIND, 1,
                    "IP_FREEBIND");
  }
  const std::span<const std::byte> name = to.native();
  detail::checked(on.kernel().bind(descriptor, name.data(), static_cast<unsigned>(name.size())),
                  "bind", to.to_string());
  return made;
}

udp_socket udp_socket::open(address_family family) {
  loop& on = loop::current();
  const endpoint any = family == address_family::ipv4 ? endpoint(address::any_v4(), 0)
                                                      : endpoint(address::any_v6(), 0);
  const int descriptor = new_socket(on, any);
  return udp_socket{detail::socket_handle(detail::make_datagram_state(on, descriptor, false))};
}

udp_socket udp_socket::adopt(int descriptor) {
  return udp_socket{detail::adopt_datagram_socket(descriptor, false)};
}

bool udp_socket::try_set_receive_offload(bool on) {
  const int value = on ? 1 : 0;
  return owner_loop().kernel().set_option(descriptor(), SOL_UDP, UDP_GRO, &value, sizeof(value)) >=
         0;
}

void udp_socket::set_packet_info(bool on) {
  if (is_v6()) {
    set_number(IPPROTO_IPV6, IPV6_RECVPKTINFO, on ? 1 : 0, "IPV6_RECVPKTINFO");
  } else {
    set_number(IPPROTO_IP, IP_PKTINFO, on ? 1 : 0, "IP_PKTINFO");
  }
}

void udp_socket::set_broadcast(bool on) {
  set_number(SOL_SOCKET, SO_BROADCAST, on ? 1 : 0, "SO_BROADCAST");
}

void udp_socket::set_time_to_live(int hops) {
  if (is_v6()) {
    set_number(IPPROTO_IPV6, IPV6_UNICAST_HOPS, hops, "IPV6_UNICAST_HOPS");
  } else {
    set_number(IPPROTO_IP, IP_TTL, hops, "IP_TTL");
  }
}
int udp_socket::time_to_live() const {
  return is_v6() ? number(IPPROTO_IPV6, IPV6_UNICAST_HOPS, "IPV6_UNICAST_HOPS")
                 : number(IPPROTO_IP, IP_TTL, "IP_TTL");
}

shared_socket udp_socket::share() {
  const endpoint own = local();
  if (socket_->is_adopted) return shared_socket(own, detail::duplicate(descriptor(), own));
  set_number(SOL_SOCKET, SO_REUSEPORT, 1, "SO_REUSEPORT");
  return shared_socket(own, -1);
}

udp_socket udp_socket::join(const shared_socket& shared, udp_options options) {
  if (shared.is_handed_over()) return adopt(shared.duplicate());
  options.join = true;
  return bind(shared.local(), options);
}

void udp_socket::set_dont_fragment(bool on) {
  if (is_v6()) {
    set_number(IPPROTO_IPV6, IPV6_MTU_DISCOVER, on ? IPV6_PMTUDISC_DO : IPV6_PMTUDISC_WANT,
               "IPV6_MTU_DISCOVER");
  } else {
    set_number(IPPROTO_IP, IP_MTU_DISCOVER, on ? IP_PMTUDISC_DO : IP_PMTUDISC_WANT,
               "IP_MTU_DISCOVER");
  }
}

std::uint32_t udp_socket::dropped_count() const {
  std::array<std::uint32_t, SK_MEMINFO_VARS> counts{};
  read_option(SOL_SOCKET, SO_MEMINFO, std::as_writable_bytes(std::span(counts)), "SO_MEMINFO");
  return counts[SK_MEMINFO_DROPS];
}

// ---------------------------------------------------------------- multicast

namespace {

void change_group(loop& on, int descriptor, const address& group, std::uint32_t interface_index,
                  bool join) {
  const char* const name = join ? "join group" : "leave group";
  if (group.is_v4()) {
    ip_mreqn request{};
    std::memcpy(&request.imr_multiaddr, group.bytes().data(), group.bytes().size());
    request.imr_ifindex = static_cast<int>(interface_index);
    detail::checked(on.kernel().set_option(descriptor, IPPROTO_IP,
                                           join ? IP_ADD_MEMBERSHIP : IP_DROP_MEMBERSHIP, &request,
                                           sizeof(request)),
                    name, group.to_string());
  } else {
    ipv6_mreq request{};
    std::memcpy(&request.ipv6mr_multiaddr, group.bytes().data(), group.bytes().size());
    request.ipv6mr_interface = interface_index != 0 ? interface_index : group.scope_id();
    detail::checked(
        on.kernel().set_option(descriptor, IPPROTO_IPV6, join ? IPV6_JOIN_GROUP : IPV6_LEAVE_GROUP,
                               &request, sizeof(request)),
        name, group.to_string());
  }
}

}  // namespace

void udp_socket::join_group(const address& group, std::uint32_t interface_index) {
  change_group(owner_loop(), descriptor(), group, interface_index, true);
}

void udp_socket::leave_group(const address& group, std::uint32_t interface_index) {
  change_group(owner_loop(), descriptor(), group, interface_index, false);
}

void udp_socket::set_multicast_loop(bool on) {
  if (is_v6()) {
    set_number(IPPROTO_IPV6, IPV6_MULTICAST_LOOP, on ? 1 : 0, "IPV6_MULTICAST_LOOP");
  } else {
    set_number(IPPROTO_IP, IP_MULTICAST_LOOP, on ? 1 : 0, "IP_MULTICAST_LOOP");
  }
}
bool udp_socket::multicast_loop() const {
  return (is_v6() ? number(IPPROTO_IPV6, IPV6_MULTICAST_LOOP, "IPV6_MULTICAST_LOOP")
                  : number(IPPROTO_IP, IP_MULTICAST_LOOP, "IP_MULTICAST_LOOP")) != 0;
}

void udp_socket::set_multicast_time_to_live(int hops) {
  if (is_v6()) {
    set_number(IPPROTO_IPV6, IPV6_MULTICAST_HOPS, hops, "IPV6_MULTICAST_HOPS");
  } else {
    set_number(IPPROTO_IP, IP_MULTICAST_TTL, hops, "IP_MULTICAST_TTL");
  }
}
int udp_socket::multicast_time_to_live() const {
  return is_v6() ? number(IPPROTO_IPV6, IPV6_MULTICAST_HOPS, "IPV6_MULTICAST_HOPS")
                 : number(IPPROTO_IP, IP_MULTICAST_TTL, "IP_MULTICAST_TTL");
}

void udp_socket::set_multicast_interface(std::uint32_t interface_index) {
  const int index = static_cast<int>(interface_index);
  if (is_v6()) {
    set_number(IPPROTO_IPV6, IPV6_MULTICAST_IF, index, "IPV6_MULTICAST_IF");
    return;
  }
  ip_mreqn request{};
  request.imr_ifindex = index;
  write_option(IPPROTO_IP, IP_MULTICAST_IF,
               {reinterpret_cast<const std::byte*>(&request), sizeof(request)}, "IP_MULTICAST_IF");
}

}  // namespace rill
