// The DNS codec: a question to bytes, a reply to what it says about that question (RFC 1035).
//
// Pure functions: no socket, no timer, no cache, and nothing is taken on trust from the network.
// The encoding of queries is c-ares's; reading replies is ours, because c-ares also accepts queries
// as replies and answers about other names, and has one text for different names.
// Read next: net/resolver_config.h decides which questions are asked, and of whom.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <tl/expected.hpp>

#include <rill/net/address.h>

namespace rill::dns {

/// The longest host name in characters, without the dot at its end: 255 bytes of length-prefixed
/// labels on the wire (RFC 1035 section 2.3.4).
inline constexpr std::size_t name_size_max = 253;
/// The longest part between dots in characters (RFC 1035 section 2.3.4).
inline constexpr std::size_t label_size_max = 63;
/// What we let servers send over UDP, in bytes: fits one packet on every usual path (RFC 9715
/// recommends at most 1400; 1232 is the value agreed on the DNS flag day of 2020).
inline constexpr std::size_t udp_payload_size = 1232;
/// The largest message in bytes: TCP carries the length in 16 bits (RFC 1035 section 4.2.2).
inline constexpr std::size_t message_size_max = 65535;
/// Aliases followed within one reply. Resolvers stop between 8 and 17; real chains have 1 to 5.
inline constexpr std::size_t alias_count_max = 16;
/// Addresses taken from one reply; the rest are ignored. Nobody tries more of them, and a reply
/// over TCP could hold thousands.
inline constexpr std::size_t address_count_max = 64;

/// ASCII letters to lower case and nothing else: DNS names compare so, whatever the locale (RFC
/// 4343).
std::string to_lower_ascii(std::string_view text);

/// `name` in the form that the functions below take: checked, in lower case, without the dot at its
/// end (which only says "absolute").
///
/// Accepted are labels of letters, digits, `-` and `_` that do not begin with `-`; names in other
/// scripts must come in their ASCII form (xn--...). A name of several labels whose last is a number
/// is refused: it is a mistyped or an old-style IPv4 address (`10.1`, `127.0.0.01`), no host.
/// Errors: resolve_error::invalid_name.
tl::expected<std::string, std::error_code> normalize_name(std::string_view name);

enum class record_type : std::uint16_t { a = 1, aaaa = 28 };

/// What is asked; a reply must repeat it.
class question {
 public:
  /// `name` comes from `normalize_name`. `id` should be unpredictable: with the source port it is
  /// all that an off-path attacker must guess (RFC 5452).
  question(std::string_view name, record_type type, std::uint16_t id)
      : name_(name), type_(type), id_(id) {}

  const std::string& name() const noexcept { return name_; }
  record_type type() const noexcept { return type_; }
  std::uint16_t id() const noexcept { return id_; }

 private:
  std::string name_;
  record_type type_;
  std::uint16_t id_;
};

/// The query for `asked`: recursion desired, class IN, and an EDNS0 record (RFC 6891) that offers
/// `payload_size` bytes over UDP. 0 leaves EDNS0 out, for servers that answer it with FORMERR. The
/// two-byte length that TCP puts in front is not included.
///
/// Errors: resolve_error::invalid_name; resolve_error::name_not_found for names under `.onion`,
/// which must never be asked (RFC 7686); std::errc::not_enough_memory.
tl::expected<std::vector<std::byte>, std::error_code> build_query(
    const question& asked, std::size_t payload_size = udp_payload_size);

/// A server's answer to a query with EDNS0 that it does not understand (RFC 6891 section 7).
inline constexpr std::uint16_t response_format_error = 1;

enum class reply_kind : std::uint8_t {
  addresses,       ///< at least one address
  name_not_found,  ///< NXDOMAIN: the name has no records of any type
  no_data,         ///< the name exists without addresses of the type asked for
  truncated,       ///< TC: ask again over TCP; over TCP itself a broken server
  server_failure,  ///< another response code, a referral, or aliases in a loop: ask the next server
  not_ours,        ///< no reply to this question: ignore it and go on waiting
  malformed,       ///< breaks the format: ignore it and go on waiting, since it may be forged
};

/// What a message says about a question.
class reply {
 public:
  explicit reply(reply_kind kind, std::uint16_t response_code = 0)
      : kind_(kind), response_code_(response_code) {}
  reply(std::vector<address> addresses, std::chrono::seconds time_to_live,
        std::string canonical_name)
      : kind_(reply_kind::addresses),
        addresses_(std::move(addresses)),
        time_to_live_(time_to_live),
        canonical_name_(std::move(canonical_name)) {}

  reply_kind kind() const noexcept { return kind_; }

  /// The server's code with EDNS0's upper bits (RFC 6891 section 6.1.3): 1 is FORMERR and worth a
  /// second query without EDNS0. Meaningful for `server_failure`; 0 there is a referral or a loop.
  std::uint16_t response_code() const noexcept { return response_code_; }

  // The following are empty or 0 unless kind() is `addresses`.

  /// In the server's order, repetitions included; at most `address_count_max`.
  const std::vector<address>& addresses() const noexcept { return addresses_; }

  /// How long the answer may be kept: the least of the aliases followed and the addresses.
  std::chrono::seconds time_to_live() const noexcept { return time_to_live_; }

  /// The name at the end of the aliases, in lower case, unusual bytes escaped as in zone files.
  const std::string& canonical_name() const noexcept { return canonical_name_; }

 private:
  reply_kind kind_;
  std::uint16_t response_code_ = 0;
  std::vector<address> addresses_;
  std::chrono::seconds time_to_live_{0};
  std::string canonical_name_;
};

/// Reads `message` as the reply to `asked`. Never fails: whatever the bytes, the kind says what to
/// do next.
///
/// Checked are: the QR bit, opcode and id; that the one question is ours (RFC 5452 section 9.1),
/// compared without case; every name and length in all sections, also where their content is of no
/// interest; and that addresses belong to the name asked for or to one that its aliases lead to.
/// Records about other names are ignored, wherever they stand. Bytes behind the last record are
/// ignored too. The sender's address is the caller's to check.
///
/// Cost: one pass and an allocation per record looked at; at most `alias_count_max` passes over
/// the records.
reply parse_reply(std::span<const std::byte> message, const question& asked);

}  // namespace rill::dns
