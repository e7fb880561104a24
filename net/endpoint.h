// rill::endpoint: where a socket is or talks to: an address and a port, or the name of a Unix
// socket.
//
// No socket and no look-up of names. Two types: `ip_endpoint` (28 bytes) is what TCP and UDP
// sockets keep of their peers; `endpoint` (112 bytes) can also hold a Unix path and carries the
// bytes that the kernel reads. An endpoint is made for one call or one message; a million
// connections should not each keep one, and a Unix connection seldom has a named peer to keep.
// Read next: net/address.h.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iosfwd>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>

#include <tl/expected.hpp>

#include <rill/net/address.h>

namespace rill {

/// An IPv4 or IPv6 address with a port. 28 bytes, trivially copyable. Ordered by address, then
/// port.
class ip_endpoint {
 public:
  /// 0.0.0.0:0
  constexpr ip_endpoint() noexcept = default;
  constexpr ip_endpoint(const rill::address& ip, std::uint16_t port_number) noexcept
      : address_(ip), port_(port_number) {}

  /// Reads the whole of `text`: `1.2.3.4:80`, `[::1]:80`, `[fe80::1%eth0]:80`. The port is decimal,
  /// 0 to 65535, without sign or leading zeros. IPv6 needs its brackets, and IPv4 has none.
  /// Errors: as `address::parse`.
  static tl::expected<ip_endpoint, std::error_code> parse(
      std::string_view text, interface_index_function interface_index = system_interface_index);

  constexpr const rill::address& address() const noexcept { return address_; }
  constexpr std::uint16_t port() const noexcept { return port_; }

  /// `1.2.3.4:80` or `[::1]:80`; `parse` reads it back.
  std::string to_string() const;

  friend constexpr bool operator==(const ip_endpoint&, const ip_endpoint&) noexcept = default;
  friend constexpr std::strong_ordering operator<=>(const ip_endpoint&,
                                                    const ip_endpoint&) noexcept = default;
  friend std::ostream& operator<<(std::ostream& out, const ip_endpoint& printed);

 private:
  rill::address address_;
  std::uint16_t port_ = 0;
};

enum class endpoint_kind : std::uint8_t {
  unnamed,        ///< a Unix socket that was never bound: most clients
  ipv4,           ///< address and port
  ipv6,           ///< address and port
  unix_path,      ///< a Unix socket in the file system
  unix_abstract,  ///< a Unix socket in Linux's abstract name space (unix(7)): no file
};

/// Any address that a socket of this library can have. 112 bytes, trivially copyable, no
/// allocation.
///
/// Ordered by kind, then as `ip_endpoint` or by the bytes of the name.
class endpoint {
 public:
  /// The longest name of a Unix socket in bytes: sun_path has 108 (unix(7)), of which a path needs
  /// one for its terminator and an abstract name one for its leading NUL.
  static constexpr std::size_t unix_name_size_max = 107;
  /// The longest `native()` in bytes: two of family, then sun_path.
  static constexpr std::size_t native_size_max = 110;

  /// Unnamed. Binding a Unix socket to it asks the kernel for a free abstract name ("autobind",
  /// unix(7)).
  endpoint() noexcept;
  /// Implicit: whatever takes an endpoint takes an ip_endpoint.
  endpoint(const ip_endpoint& ip_and_port) noexcept;
  endpoint(const address& ip, std::uint16_t port_number) noexcept;

  /// A Unix socket's path; relative ones are relative to the working directory at bind or connect.
  /// Errors: invalid_argument when empty or with a NUL inside, filename_too_long above
  /// `unix_name_size_max`.
  static tl::expected<endpoint, std::error_code> unix_path(std::string_view path);

  /// An abstract name, without any leading `@` or NUL; it may hold every byte.
  /// Errors: invalid_argument when empty, filename_too_long above `unix_name_size_max`.
  static tl::expected<endpoint, std::error_code> unix_abstract(std::string_view name);

  /// Reads the whole of `text`: what `ip_endpoint::parse` reads, `unix:/run/x.sock` or
  /// `unix:@abstract`. Within a Unix name `\xNN` (two hexadecimal digits) is that byte, as
  /// `to_string` writes it; no other backslash is allowed.
  /// Errors: invalid_argument, no_such_device, filename_too_long, as above.
  static tl::expected<endpoint, std::error_code> parse(
      std::string_view text, interface_index_function interface_index = system_interface_index);

  /// From a socket address as the kernel wrote it, with the length that the kernel reported. No
  /// bytes at all are an unnamed endpoint (recvfrom(2) on Unix sockets). The flow label of IPv6 is
  /// dropped: it is no part of who the peer is.
  /// Errors: invalid_argument when too short for its family, address_family_not_supported.
  static tl::expected<endpoint, std::error_code> from_native(std::span<const std::byte> bytes);

  endpoint_kind kind() const noexcept { return kind_; }
  bool is_ip() const noexcept {
    return kind_ == endpoint_kind::ipv4 || kind_ == endpoint_kind::ipv6;
  }
  bool is_unix() const noexcept { return !is_ip(); }

  /// Address and port; nothing for a Unix endpoint.
  std::optional<ip_endpoint> ip() const noexcept;
  /// The port; 0 for a Unix endpoint.
  std::uint16_t port() const noexcept;
  /// The path or the abstract name (without its leading NUL); empty for the other kinds. Points
  /// into this object.
  std::string_view unix_name() const noexcept;

  /// The socket address as bind(2), connect(2) and sendto(2) take it; its size is the length that
  /// they take. Aligned like a sockaddr. Points into this object.
  std::span<const std::byte> native() const noexcept {
    return std::span<const std::byte>(bytes_).first(size_);
  }

  /// The text that `parse` reads. It does not read "unnamed", a scope where `address::parse` takes
  /// none, and two names that only other programs give to sockets: a path of 108 bytes, and the
  /// empty abstract name. Bytes of a Unix name that would confuse a log (control characters,
  /// anything but ASCII, backslashes) are written `\xNN`.
  std::string to_string() const;

  friend bool operator==(const endpoint& a, const endpoint& b) noexcept;
  friend std::strong_ordering operator<=>(const endpoint& a, const endpoint& b) noexcept;
  friend std::ostream& operator<<(std::ostream& out, const endpoint& printed);

 private:
  static tl::expected<endpoint, std::error_code> named(endpoint_kind made_kind,
                                                       std::string_view name);

  // A sockaddr_in, sockaddr_in6 or sockaddr_un; bytes from size_ on are zero.
  alignas(4) std::array<std::byte, native_size_max> bytes_{};
  std::uint8_t size_ = 0;
  endpoint_kind kind_ = endpoint_kind::unnamed;
};

static_assert(sizeof(ip_endpoint) == 28 && std::is_trivially_copyable_v<ip_endpoint>);
static_assert(sizeof(endpoint) == 112 && std::is_trivially_copyable_v<endpoint>);

}  // namespace rill

/// Not seeded, as std::hash<rill::address>.
template <>
struct std::hash<rill::ip_endpoint> {
  std::size_t operator()(const rill::ip_endpoint& hashed) const noexcept;
};

template <>
struct std::hash<rill::endpoint> {
  std::size_t operator()(const rill::endpoint& hashed) const noexcept;
};
