// UDP sockets: binding and options. See udp.h.
#include <rill/net/udp.h>

#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>

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
  const int descriptor = new_socket(on, to);
  udp_socket made{detail::socket_handle(detail::make_datagram_state(on, descriptor))};
  if (options.join) {
    detail::set_option(on, descriptor, SOL_SOCKET, SO_REUSEPORT, 1, "SO_REUSEPORT");
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
  return udp_socket{detail::socket_handle(detail::make_datagram_state(on, descriptor))};
}

bool udp_socket::is_v6() const { return local().kind() == endpoint_kind::ipv6; }

bool udp_socket::try_set_receive_offload(bool on) {
  const int value = on ? 1 : 0;
  return owner_loop().kernel().set_option(descriptor(), SOL_UDP, UDP_GRO, &value, sizeof(value)) >=
         0;
}

void udp_socket::set_broadcast(bool on) {
  detail::set_option(owner_loop(), descriptor(), SOL_SOCKET, SO_BROADCAST, on ? 1 : 0,
                     "SO_BROADCAST");
}

void udp_socket::set_time_to_live(int hops) {
  if (is_v6()) {
    detail::set_option(owner_loop(), descriptor(), IPPROTO_IPV6, IPV6_UNICAST_HOPS, hops,
                       "IPV6_UNICAST_HOPS");
  } else {
    detail::set_option(owner_loop(), descriptor(), IPPROTO_IP, IP_TTL, hops, "IP_TTL");
  }
}

namespace {

void change_group(loop& on, int descriptor, const address& group, bool join) {
  const char* const name = join ? "join group" : "leave group";
  if (group.is_v4()) {
    ip_mreqn request{};
    std::memcpy(&request.imr_multiaddr, group.bytes().data(), group.bytes().size());
    detail::checked(on.kernel().set_option(descriptor, IPPROTO_IP,
                                           join ? IP_ADD_MEMBERSHIP : IP_DROP_MEMBERSHIP, &request,
                                           sizeof(request)),
                    name, group.to_string());
  } else {
    ipv6_mreq request{};
    std::memcpy(&request.ipv6mr_multiaddr, group.bytes().data(), group.bytes().size());
    request.ipv6mr_interface = group.scope_id();
    detail::checked(
        on.kernel().set_option(descriptor, IPPROTO_IPV6, join ? IPV6_JOIN_GROUP : IPV6_LEAVE_GROUP,
                               &request, sizeof(request)),
        name, group.to_string());
  }
}

}  // namespace

void udp_socket::join_group(const address& group) {
  change_group(owner_loop(), descriptor(), group, true);
}

void udp_socket::leave_group(const address& group) {
  change_group(owner_loop(), descriptor(), group, false);
}

void udp_socket::set_multicast_loop(bool on) {
  const bool v6 = is_v6();
  detail::set_option(owner_loop(), descriptor(), v6 ? IPPROTO_IPV6 : IPPROTO_IP,
                     v6 ? IPV6_MULTICAST_LOOP : IP_MULTICAST_LOOP, on ? 1 : 0, "MULTICAST_LOOP");
}

void udp_socket::share() {
  detail::set_option(owner_loop(), descriptor(), SOL_SOCKET, SO_REUSEPORT, 1, "SO_REUSEPORT");
}

void udp_socket::set_dont_fragment(bool on) {
  if (is_v6()) {
    detail::set_option(owner_loop(), descriptor(), IPPROTO_IPV6, IPV6_MTU_DISCOVER,
                       on ? IPV6_PMTUDISC_DO : IPV6_PMTUDISC_WANT, "IPV6_MTU_DISCOVER");
  } else {
    detail::set_option(owner_loop(), descriptor(), IPPROTO_IP, IP_MTU_DISCOVER,
                       on ? IP_PMTUDISC_DO : IP_PMTUDISC_WANT, "IP_MTU_DISCOVER");
  }
}

}  // namespace rill
