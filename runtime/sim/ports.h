// Which ports of a host are taken, by whom, and who may share one. The rules are Linux's
// (inet_csk_bind_conflict, udp_lib_lport_inuse): SO_REUSEADDR, SO_REUSEPORT, wildcard addresses.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include <rill/runtime/sim/packet.h>
#include <rill/runtime/sim/random.h>

namespace rill::sim::detail {

class socket;

/// A claim on a local port: of a bound socket, a listener or a connection. Not copied, not moved.
struct port_claim {
  endpoint local;
  /// A wildcard IPv6 address that takes IPv4 too.
  bool dual = false;
  bool reuse_address = false;
  bool reuse_port = false;
  bool listening = false;
  /// Chosen by bind(), not by connect() or accept().
  bool is_explicit = false;
  std::size_t position = 0;
  /// The bound UDP socket or TCP listener; nullptr for a connection.
  socket* holder = nullptr;
};

class port_table {
 public:
  /// What net.ipv4.ip_local_port_range is by default.
  static constexpr std::uint16_t ephemeral_first = 32768;
  static constexpr std::uint16_t ephemeral_last = 60999;

  explicit port_table(bool of_tcp) noexcept : tcp_(of_tcp) {}

  /// True if somebody else's claim stands against this one.
  bool conflicts(const port_claim& wanted) const noexcept;
  void add(port_claim& claim);
  void remove(port_claim& claim) noexcept;
  /// Claims on a port, in the order of being made as long as none was given up.
  const std::vector<port_claim*>* find(std::uint16_t port) const noexcept;

  /// A free port for bind(0): sets claim.local.port. False: none is left.
  bool choose(port_claim& claim, random_source& random) const noexcept;

 private:
  bool tcp_;
  std::map<std::uint16_t, std::vector<port_claim*>> claims_;
};

/// True if a packet to `ip` could be meant for this claim.
bool covers(const port_claim& claim, const address& ip) noexcept;

}  // namespace rill::sim::detail
