// Where a server is, what it says about itself (INFO), and who we are (CONNECT).
// Not here: connecting (client.h). Read next: client.h.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

#include <rill/protocols/nats/error.h>

namespace rill::nats {

/// Who the client is. Secrets: they are written into CONNECT and nowhere else, no error or event
/// shows them.
class credentials {
 public:
  credentials() {}

  std::string user;
  std::string password;
  std::string token;
  /// A user's key, "SU...": the server's nonce is signed with it (Ed25519). With `jwt` it is what
  /// a file of credentials holds; see credentials_from_text() in nkey.h.
  std::string seed;
  std::string jwt;

  bool empty() const noexcept {
    return user.empty() && password.empty() && token.empty() && seed.empty() && jwt.empty();
  }
};

/// "nats://host:4222", "tls://host", "host:4222", "nats://user:password@[::1]:4222",
/// "nats://token@host". Before the "@" "%40" is a "@", as in any URL (RFC 3986 section 2.1).
class server_address {
 public:
  static constexpr std::uint16_t port_default = 4222;

  server_address() {}
  /// Errors: bad_server_address.
  static tl::expected<server_address, nats_error> parse(std::string_view text);

  std::string host;  ///< an IPv6 address without its brackets
  std::uint16_t port = port_default;
  bool wants_tls = false;
  /// What its certificate is for, if that is not `host`.
  std::string tls_name;
  /// What stands before the "@"; the text of errors and events never shows it.
  credentials own;

  const std::string& name_for_tls() const noexcept { return tls_name.empty() ? host : tls_name; }
  /// "host:4222", "[::1]:4222".
  std::string to_string() const;
};

/// What a server says when a client comes, and again when its cluster changes.
class server_info {
 public:
  server_info() {}
  /// Errors: bad_info. Members that are missing have the values below.
  static tl::expected<server_info, nats_error> parse(std::string_view json);

  std::string id;
  std::string name;
  std::string version;
  std::string nonce;
  std::uint64_t payload_size_max = std::uint64_t{1024} * 1024;
  bool has_headers = false;
  bool has_jetstream = false;
  bool requires_tls = false;
  bool offers_tls = false;
  bool requires_credentials = false;
  bool is_lame_duck = false;
  /// "host:port" of the cluster's servers. At most address_count_max are kept.
  static constexpr std::size_t address_count_max = 256;
  std::vector<std::string> addresses;
};

}  // namespace rill::nats
