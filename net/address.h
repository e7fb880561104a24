// rill::address: one IPv4 or IPv6 address, with the scope of a link-local one.
//
// A plain value: no sockets, no look-up of host names (net/resolver_config.h answers literals and
// localhost, the resolver asks for the rest).
// Read next: net/endpoint.h joins it with a port.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iosfwd>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>

#include <tl/expected.hpp>

namespace rill {

enum class address_family : std::uint8_t { ipv4, ipv6 };

/// Turns the name of a network interface ("eth0") into its index; 0 when there is none.
using interface_index_function = std::uint32_t (*)(const char* name) noexcept;

/// Asks the operating system (if_nametoindex(3): three system calls, none of which waits for the
/// network).
std::uint32_t system_interface_index(const char* name) noexcept;

/// An IPv4 or IPv6 address. 24 bytes, trivially copyable, safe inside a `co_await` expression.
///
/// Ordered by family (IPv4 first), then numerically, then by scope. The IPv4-mapped address
/// `::ffff:1.2.3.4` is not equal to `1.2.3.4`; `unmapped()` makes them comparable.
class address {
 public:
  using v4_bytes = std::array<std::uint8_t, 4>;
  using v6_bytes = std::array<std::uint8_t, 16>;

  /// 0.0.0.0
  constexpr address() noexcept = default;

  /// From four bytes in the order they are written.
  static constexpr address v4(v4_bytes bytes) noexcept {
    address made;
    for (std::size_t i = 0; i < bytes.size(); ++i) made.bytes_[i] = bytes[i];
    return made;
  }
  static constexpr address v4(std::uint8_t a, std::uint8_t b, std::uint8_t c,
                              std::uint8_t d) noexcept {
    return v4(v4_bytes{a, b, c, d});
  }

  /// From sixteen bytes in network order. `scope_id` is the interface index that a link-local
  /// address needs (RFC 4007); 0 is no scope.
  static constexpr address v6(v6_bytes bytes, std::uint32_t scope_id = 0) noexcept {
    address made;
    made.family_ = address_family::ipv6;
    made.bytes_ = bytes;
    made.scope_id_ = scope_id;
    return made;
  }

  static constexpr address any_v4() noexcept { return {}; }
  static constexpr address any_v6() noexcept { return v6({}); }
  static constexpr address loopback_v4() noexcept { return v4(127, 0, 0, 1); }
  static constexpr address loopback_v6() noexcept {
    return v6({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});
  }

  /// Reads the whole of `text` as an address.
  ///
  /// IPv4 is four decimal numbers without leading zeros: the octal, hexadecimal and short forms of
  /// inet_aton(3) are refused, because filters and resolvers disagree about them. IPv6 is every
  /// text form of RFC 4291 section 2.2, embedded IPv4 included. A scope (`%3`, `%eth0`; RFC 4007
  /// section 11) may follow a link-local or multicast address; digits are an index, anything else
  /// a name that goes to `interface_index`.
  ///
  /// Errors: std::errc::invalid_argument for malformed text, std::errc::no_such_device for an
  /// interface name that does not exist. No allocation; system calls only for a scope by name.
  static tl::expected<address, std::error_code> parse(
      std::string_view text, interface_index_function interface_index = system_interface_index);

  constexpr address_family family() const noexcept { return family_; }
  constexpr bool is_v4() const noexcept { return family_ == address_family::ipv4; }
  constexpr bool is_v6() const noexcept { return family_ == address_family::ipv6; }

  /// 4 or 16 bytes in network order, alive as long as this object.
  constexpr std::span<const std::uint8_t> bytes() const noexcept {
    return std::span<const std::uint8_t>(bytes_).first(is_v4() ? 4U : 16U);
  }

  /// The interface index of an IPv6 address; 0 when it has none, and for IPv4.
  constexpr std::uint32_t scope_id() const noexcept { return scope_id_; }

  /// True for `::ffff:0:0/96`, the form in which a dual-stack socket shows its IPv4 peers.
  constexpr bool is_v4_mapped() const noexcept {
    if (is_v4() || bytes_[10] != 0xff || bytes_[11] != 0xff) return false;
    for (std::size_t i = 0; i < 10; ++i) {
      if (bytes_[i] != 0) return false;
    }
    return true;
  }

  /// The IPv4 address inside a mapped one; every other address unchanged.
  constexpr address unmapped() const noexcept {
    return is_v4_mapped() ? v4(bytes_[12], bytes_[13], bytes_[14], bytes_[15]) : *this;
  }

  // The following four look through the IPv4-mapped form, so that a rule such as "local peers only"
  // gives the same answer on an IPv4 and on a dual-stack socket.

  /// `0.0.0.0` or `::`: every local address, when bound to.
  bool is_any() const noexcept;
  /// `127.0.0.0/8` or `::1`.
  bool is_loopback() const noexcept;
  /// `224.0.0.0/4` or `ff00::/8`.
  bool is_multicast() const noexcept;
  /// Unicast on one link: `169.254.0.0/16` or `fe80::/10`.
  bool is_link_local() const noexcept;

  /// The canonical text of RFC 5952: lower case, the longest run of zero groups as `::`, mapped
  /// addresses with their IPv4 part in decimal. A scope is printed as a number, since its name
  /// would need a system call. `parse(a.to_string())` gives `a`, unless a scope was given to an
  /// address for which `parse` accepts none.
  std::string to_string() const;

  friend constexpr bool operator==(const address&, const address&) noexcept = default;
  friend constexpr std::strong_ordering operator<=>(const address&,
                                                    const address&) noexcept = default;
  friend std::ostream& operator<<(std::ostream& out, const address& printed);

 private:
  // In the order in which addresses compare. IPv4 uses the first four bytes, the others stay zero.
  address_family family_ = address_family::ipv4;
  v6_bytes bytes_{};
  std::uint32_t scope_id_ = 0;
};

static_assert(sizeof(address) == 24);
static_assert(std::is_trivially_copyable_v<address>);

}  // namespace rill

/// Not seeded: equal in every run, which replay needs. A table that strangers can fill with
/// addresses of their choice needs a limit on its size.
template <>
struct std::hash<rill::address> {
  std::size_t operator()(const rill::address& hashed) const noexcept;
};
