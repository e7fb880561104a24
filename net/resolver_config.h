// What a look-up decides without asking anybody: the files that configure it, the names that are
// answered locally, the candidates of a search list, and the order in which addresses are tried.
//
// Pure functions of text; reading the files is the resolver's. Sources: resolv.conf(5), hosts(5),
// RFC 6761 (special names), RFC 6724 and RFC 8305 (order).
// Read next: net/dns_message.h.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <unordered_map>
#include <vector>

#include <tl/expected.hpp>

#include <rill/net/address.h>
#include <rill/net/endpoint.h>

namespace rill {

/// How names are looked up: /etc/resolv.conf as values. The defaults are those of resolv.conf(5).
class resolver_config {
 public:
  /// Name servers used, as resolv.conf(5) has it (MAXNS); further ones are ignored.
  static constexpr std::size_t name_server_count_max = 3;
  /// Domains of the search list; further ones are ignored. Each costs a query per failing look-up.
  static constexpr std::size_t search_count_max = 6;
  /// Bytes of resolv.conf that are read: a hundred times what a full one needs.
  static constexpr std::size_t text_size_max = 64 * 1024;
  /// The port of name servers, over UDP and TCP (RFC 1035 section 4.2).
  static constexpr std::uint16_t name_server_port = 53;

  // The most that resolv.conf(5) lets each option be; larger values count as these.
  static constexpr unsigned dot_count_limit = 15;
  static constexpr std::chrono::seconds timeout_max{30};
  static constexpr unsigned attempt_count_max = 5;

  /// The defaults, with the name server of this machine.
  resolver_config();

  /// Reads resolv.conf. Never fails: as in every resolver, lines and options that are unknown or
  /// malformed are skipped. Without a usable name server that of this machine (127.0.0.1) is taken;
  /// of several `search` and `domain` lines the last counts. Besides `1.2.3.4` and `fe80::1%eth0` a
  /// name server may be written with a port, as `1.2.3.4:5353` or `[::1]:5353`.
  static resolver_config parse(std::string_view text,
                               interface_index_function interface_index = system_interface_index);

  /// Asked in this order; never empty after construction or `parse`.
  std::vector<ip_endpoint> name_servers;
  /// Domains appended to short names, in the form of `dns::normalize_name`.
  std::vector<std::string> search;
  /// A name with at least so many dots is tried as it stands before the search list (`ndots`).
  unsigned dot_count_min = 1;
  /// How long one query waits for its reply (`timeout`).
  std::chrono::seconds timeout{5};
  /// How often the list of name servers is gone through (`attempts`).
  unsigned attempt_count = 2;
  /// Begin each look-up of one resolver with the next server, to spread the load (`rotate`). The
  /// free function resolve() makes a resolver for each look-up: it always begins with the first.
  bool rotate = false;
  /// Ask over TCP from the start (`use-vc`).
  bool use_tcp = false;
};

/// /etc/hosts as a table from names to addresses.
class hosts_table {
 public:
  /// The largest hosts file in bytes. The big block lists that people install have 2 to 6 MB.
  static constexpr std::size_t text_size_max = 16 * 1024 * 1024;
  /// Addresses of one name; further ones are ignored.
  static constexpr std::size_t address_count_max = 64;

  /// Empty.
  hosts_table();

  /// Reads a hosts file: lines of an address and its names, `#` begins a comment. Lines whose
  /// address is malformed are skipped. A name on several lines has all their addresses, in order.
  /// Errors: std::errc::file_too_large above `text_size_max`.
  static tl::expected<hosts_table, std::error_code> parse(
      std::string_view text, interface_index_function interface_index = system_interface_index);

  /// The addresses of `name`, without regard to case or to a dot at its end; empty when there are
  /// none.
  std::vector<address> find(std::string_view name) const;

  /// The number of names.
  std::size_t size() const noexcept { return addresses_.size(); }

 private:
  std::unordered_map<std::string, std::vector<address>> addresses_;  // by lower-case name
};

namespace dns {

/// Answers `host` when nobody need be asked, not even the hosts file:
/// an address (as `address::parse`) is itself; `localhost` and every name under it are `::1` and
/// `127.0.0.1`; names under `invalid` (RFC 6761) and `onion` (RFC 7686) are not found; what is no
/// host name is resolve_error::invalid_name. Nothing, when it must be looked up.
///
/// The caller drops the addresses of families that it was not asked for.
std::optional<tl::expected<std::vector<address>, std::error_code>> answer_locally(
    std::string_view host, interface_index_function interface_index = system_interface_index);

/// The names to ask for in turn until one exists, in the form of `normalize_name`. A dot at the end
/// makes `host` the only one. Otherwise a name with at least `dot_count_min` dots comes before its
/// combinations with the search list, another after them. Combinations that get too long are left
/// out. At most `search_count_max` + 1 names.
///
/// Errors: resolve_error::invalid_name.
tl::expected<std::vector<std::string>, std::error_code> candidate_names(
    std::string_view host, const resolver_config& config);

/// Addresses in the order in which connecting should try them, without repetitions.
///
/// First by the precedence of RFC 6724 section 2.1, which needs no knowledge of our own addresses:
/// native IPv6, IPv4, then tunnels and unique-local addresses; equals keep the server's order. Then
/// the families alternate, beginning with that of the best one, normally IPv6 (RFC 8305 section 4),
/// so that a broken family delays a connection by one attempt at most. Cost: quadratic, meant for
/// what `dns::address_count_max` lets through.
std::vector<address> order_destinations(std::span<const address> addresses);

}  // namespace dns

}  // namespace rill
