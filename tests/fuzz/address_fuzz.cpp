// Addresses and endpoints as text and as the kernel's bytes: what is read is what was written, and
// who may be read is what a grammar written down here a second time says, and what glibc says.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fuzz/input.h"
#include <rill/net/address.h>
#include <rill/net/endpoint.h>

namespace {

using rill::address;
using rill::endpoint;
using rill::endpoint_kind;
using rill::ip_endpoint;
using rill::fuzz::check;

/// The interfaces of a machine that is the same everywhere.
std::uint32_t interface_index(const char* name) noexcept {
  const std::string_view text(name);
  if (text == "lo") return 1;
  if (text == "eth0") return 2;
  return 0;
}

// ---------------------------------------------------------------- the grammar, a second time

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// Decimal without leading zeros, at most `most`.
std::optional<unsigned long> model_number(std::string_view text, unsigned long most) {
  if (text.empty() || text.size() > 10 || !std::all_of(text.begin(), text.end(), is_digit)) {
    return std::nullopt;
  }
  if (text.size() > 1 && text.front() == '0') return std::nullopt;
  const unsigned long value = std::stoul(std::string(text));
  if (value > most) return std::nullopt;
  return value;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const std::size_t at = text.find(separator);
    parts.push_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + 1);
  }
}

std::optional<std::vector<std::uint8_t>> model_v4(std::string_view text) {
  std::vector<std::uint8_t> bytes;
  for (const std::string_view part : split(text, '.')) {
    const auto value = model_number(part, 255);
    if (!value) return std::nullopt;
    bytes.push_back(static_cast<std::uint8_t>(*value));
  }
  if (bytes.size() != 4) return std::nullopt;
  return bytes;
}

/// Groups of one to four hexadecimal digits; the last may be IPv4 if `v4_may_end`.
std::optional<std::vector<std::uint8_t>> model_groups(std::string_view text, bool v4_may_end) {
  std::vector<std::uint8_t> bytes;
  if (text.empty()) return bytes;
  const auto parts = split(text, ':');
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (i + 1 == parts.size() && v4_may_end && parts[i].find('.') != std::string_view::npos) {
      const auto v4 = model_v4(parts[i]);
      if (!v4) return std::nullopt;
      bytes.insert(bytes.end(), v4->begin(), v4->end());
      continue;
    }
    if (parts[i].empty() || parts[i].size() > 4) return std::nullopt;
    if (parts[i].find_first_not_of("0123456789abcdefABCDEF") != std::string_view::npos) {
      return std::nullopt;
    }
    const unsigned long value = std::stoul(std::string(parts[i]), nullptr, 16);
    bytes.push_back(static_cast<std::uint8_t>(value >> 8));
    bytes.push_back(static_cast<std::uint8_t>(value & 0xff));
  }
  return bytes;
}

/// RFC 4291 section 2.2. "::" stands for at least one group: RFC 4291 says "one or more", and so
/// does glibc.
std::optional<std::vector<std::uint8_t>> model_v6(std::string_view text) {
  const std::size_t gap = text.find("::");
  if (gap == std::string_view::npos) {
    auto bytes = model_groups(text, true);
    if (!bytes || bytes->size() != 16) return std::nullopt;
    return bytes;
  }
  auto bytes = model_groups(text.substr(0, gap), false);
  const auto tail = model_groups(text.substr(gap + 2), true);
  if (!bytes || !tail || bytes->size() + tail->size() > 14) return std::nullopt;
  bytes->resize(16 - tail->size());
  bytes->insert(bytes->end(), tail->begin(), tail->end());
  return bytes;
}

std::optional<address> model_address(std::string_view text) {
  if (text.find(':') == std::string_view::npos) {
    const auto bytes = model_v4(text);
    if (!bytes) return std::nullopt;
    return address::v4((*bytes)[0], (*bytes)[1], (*bytes)[2], (*bytes)[3]);
  }
  const std::size_t percent = text.find('%');
  const auto bytes = model_v6(text.substr(0, percent));
  if (!bytes) return std::nullopt;
  address::v6_bytes octets{};
  std::copy(bytes->begin(), bytes->end(), octets.begin());
  if (percent == std::string_view::npos) return address::v6(octets);
  // Only one link's addresses have a scope: fe80::/10 and ff00::/8.
  const bool scoped = octets[0] == 0xff || (octets[0] == 0xfe && (octets[1] & 0xc0) == 0x80);
  if (!scoped) return std::nullopt;
  const std::string scope(text.substr(percent + 1));
  if (scope == "lo") return address::v6(octets, 1);
  if (scope == "eth0") return address::v6(octets, 2);
  const auto index = model_number(scope, 0xffffffff);
  if (!index || *index == 0) return std::nullopt;
  return address::v6(octets, static_cast<std::uint32_t>(*index));
}

std::optional<ip_endpoint> model_endpoint(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const auto port = model_number(text.substr(colon + 1), 65535);
  std::string_view host = text.substr(0, colon);
  const bool bracketed = host.starts_with('[') && host.ends_with(']') && host.size() > 1;
  if (bracketed) host = host.substr(1, host.size() - 2);
  const auto ip = model_address(host);
  if (!port || !ip || ip->is_v6() != bracketed) return std::nullopt;
  return ip_endpoint(*ip, static_cast<std::uint16_t>(*port));
}

// ---------------------------------------------------------------- glibc

/// What inet_pton(3) reads, of the same family that rill would take `text` for.
std::optional<address> glibc_address(const std::string& text) {
  if (text.find(':') == std::string::npos) {
    address::v4_bytes bytes{};
    if (::inet_pton(AF_INET, text.c_str(), bytes.data()) != 1) return std::nullopt;
    return address::v4(bytes);
  }
  address::v6_bytes bytes{};
  if (::inet_pton(AF_INET6, text.c_str(), bytes.data()) != 1) return std::nullopt;
  return address::v6(bytes);
}

void compare_text_with_glibc(const address& ip) {
  std::array<char, INET6_ADDRSTRLEN> buffer{};
  const auto bytes = ip.bytes();
  ::inet_ntop(ip.is_v4() ? AF_INET : AF_INET6, bytes.data(), buffer.data(), buffer.size());
  const auto read = address::parse(buffer.data(), interface_index);
  check(read && std::ranges::equal(read->bytes(), bytes), "rill reads what inet_ntop has written");
  // inet_ntop writes the obsolete IPv4-compatible addresses, twelve zero bytes and a group that is
  // not zero, as ::1.2.3.4; RFC 5952 section 5 has dotted numbers behind well-known prefixes only,
  // and ::/96 is none since RFC 4291 section 2.5.5.1.
  const bool compatible =
      ip.is_v6() && std::all_of(bytes.begin(), bytes.begin() + 12, [](auto b) { return b == 0; }) &&
      (bytes[12] != 0 || bytes[13] != 0);
  if (compatible) return;
  std::string expected = buffer.data();
  if (ip.scope_id() != 0) expected += '%' + std::to_string(ip.scope_id());
  check(ip.to_string() == expected, "rill writes what inet_ntop writes");
}

// ---------------------------------------------------------------- what must hold

/// Whether `parse` takes the scope that `ip` has.
bool has_readable_scope(const address& ip) {
  if (ip.scope_id() == 0) return true;
  return !ip.is_v4_mapped() && (ip.is_link_local() || ip.is_multicast());
}

void check_address(const address& ip) {
  compare_text_with_glibc(ip);
  if (!has_readable_scope(ip)) return;
  const auto again = address::parse(ip.to_string(), interface_index);
  check(again && *again == ip, "an address that was written is read again");
  check(std::hash<address>{}(*again) == std::hash<address>{}(ip), "equals have equal hashes");
  check(again->to_string() == ip.to_string(), "an address has one text");
}

/// A name that the kernel can report and unix_path() and unix_abstract() do not make.
bool has_unusual_name(const endpoint& where) {
  const std::size_t size = where.unix_name().size();
  return size == 0 || size > endpoint::unix_name_size_max;
}

void check_endpoint(const endpoint& where) {
  const auto same = endpoint::from_native(where.native());
  check(same && *same == where, "an endpoint in the kernel's form is read again");
  check(std::ranges::equal(same->native(), where.native()), "the kernel's form stays what it was");
  const std::string text = where.to_string();
  check(std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; }),
        "an endpoint's text is printable");
  if (const auto ip = where.ip()) {
    check_address(ip->address());
    check(endpoint(*ip) == where && ip->port() == where.port(), "both kinds say the same");
    if (!has_readable_scope(ip->address())) return;
  } else if (where.kind() == endpoint_kind::unnamed || has_unusual_name(where)) {
    return;
  }
  const auto again = endpoint::parse(text, interface_index);
  check(again && *again == where, "an endpoint that was written is read again");
  check(std::hash<endpoint>{}(*again) == std::hash<endpoint>{}(where), "equals have equal hashes");
}

void read_text(std::string_view text) {
  const auto ip = address::parse(text, interface_index);
  const auto expected = model_address(text);
  check(ip.has_value() == expected.has_value(), "rill reads the addresses of the grammar");
  if (ip) {
    check(*ip == *expected, "rill reads an address as the grammar has it");
    check_address(*ip);
  }
  // A scope is no business of inet_pton's, and its text ends at a NUL.
  if (text.find_first_of(std::string_view("%\0", 2)) == std::string_view::npos) {
    const auto theirs = glibc_address(std::string(text));
    check(ip.has_value() == theirs.has_value(), "rill reads what inet_pton reads");
    check(!ip || *ip == *theirs, "rill reads an address as inet_pton does");
  }

  const auto with_port = ip_endpoint::parse(text, interface_index);
  const auto expected_with_port = model_endpoint(text);
  check(with_port.has_value() == expected_with_port.has_value(),
        "rill reads the endpoints of the grammar");
  check(!with_port || *with_port == *expected_with_port, "rill reads address and port");

  const auto any = endpoint::parse(text, interface_index);
  if (!text.starts_with("unix:")) {
    check(any.has_value() == with_port.has_value(), "without unix: it is an address and a port");
  }
  if (any) {
    check(!any->is_unix() || !has_unusual_name(*any), "no unusual name comes from text");
    check_endpoint(*any);
  }
}

void read_native(std::span<const std::byte> bytes) {
  const auto where = endpoint::from_native(bytes);
  if (where) check_endpoint(*where);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t size_max = 512;  // an endpoint with every byte escaped: 6 + 4 * 107
  if (size > size_max) return -1;
  read_text({reinterpret_cast<const char*>(data), size});

  rill::fuzz::input from(data, size);
  // The same as the kernel's bytes. The family comes first: a letter stands for one.
  std::vector<std::byte> native;
  const sa_family_t families[] = {AF_UNIX, AF_INET, AF_INET6, AF_UNIX, AF_NETLINK};
  const sa_family_t family = families[from.byte() % std::size(families)];
  native.resize(sizeof family);
  std::memcpy(native.data(), &family, sizeof family);
  for (const std::uint8_t each : from.bytes(size)) native.push_back(std::byte{each});
  read_native(native);
  read_native(std::span(native).first(size % 2));
  return 0;
}
