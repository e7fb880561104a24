// What travels between hosts: addresses, endpoints and packets of the simulated network.
// Read next: network.h, the one place that every packet passes.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <rill/runtime/timer.h>

namespace rill::sim::detail {

class network;
class node;

/// An IPv4 address (first four bytes) or an IPv6 one. IPv4-mapped IPv6 addresses are kept as IPv4.
struct address {
  std::array<std::uint8_t, 16> bytes{};
  bool v6 = false;

  friend constexpr auto operator<=>(const address&, const address&) = default;
  bool is_any() const noexcept { return bytes == std::array<std::uint8_t, 16>{}; }
  bool is_loopback() const noexcept;
  bool is_multicast() const noexcept;
  static address any(bool v6) noexcept;
  static address loopback(bool v6) noexcept;
  /// Throws std::invalid_argument.
  static address parse(std::string_view text);
  std::string to_string() const;
};

struct endpoint {
  detail::address ip;
  std::uint16_t port = 0;

  friend constexpr auto operator<=>(const endpoint&, const endpoint&) = default;
  std::string to_string() const;
  std::uint64_t hash() const noexcept;
};

/// Reads a sockaddr for a socket of `family`. 0 or a negative errno.
int decode(const void* from, unsigned size, int family, endpoint& to) noexcept;
/// Writes a sockaddr as a socket of `family` shows it: at most `size` bytes. `size` becomes the
/// full length.
void encode(const endpoint& from, int family, void* to, unsigned& size) noexcept;

enum class packet_kind : std::uint8_t { tcp, udp, port_unreachable, host_unreachable };

/// One packet on its way. Pooled by the network; the timer is its arrival.
class packet final : public rill::detail::timer_node {
 public:
  static constexpr std::uint8_t syn = 1;
  static constexpr std::uint8_t ack = 2;
  static constexpr std::uint8_t fin = 4;
  static constexpr std::uint8_t rst = 8;

  explicit packet(network& of) noexcept : network_(&of) {}
  void expired() noexcept override;
  bool has(std::uint8_t flag) const noexcept { return (flags & flag) != 0; }

  endpoint source;
  endpoint destination;
  packet_kind kind = packet_kind::tcp;
  /// Of the packet that an "unreachable" is about; its source and destination are that packet's.
  packet_kind original_kind = packet_kind::tcp;
  std::uint8_t flags = 0;
  /// Tells connections apart that had the same endpoints one after another, as initial sequence
  /// numbers do in life: numbers themselves begin at 0 here, which is easier to read in a trace.
  std::uint32_t incarnation = 0;
  std::uint64_t sequence = 0;
  std::uint64_t acknowledged = 0;
  std::uint32_t window = 0;
  std::vector<std::byte> payload;
  node* from = nullptr;
  node* to = nullptr;

 private:
  network* network_;
};

}  // namespace rill::sim::detail
