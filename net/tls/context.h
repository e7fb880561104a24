// What connections have in common: whom a client trusts, with what a server identifies itself.
// Contexts are made once, cheap to copy, and may be used by several loops at once.
//   tls::client_context trusted;                                     // the system's authorities
//   auto mine = co_await tls::server_context::from_files("chain.pem", "key.pem");
// Not here: the connection (stream.h). Read next: stream.h.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <rill/runtime/task.h>

namespace rill::tls {

class client_context;
class server_context;

namespace detail {
struct certificate_state;
struct client_state;
struct server_state;
class engine;
}  // namespace detail

/// Older versions are never spoken (RFC 8996).
enum class version : unsigned char { tls1_2, tls1_3 };

/// A chain of certificates with the private key of the first. Immutable and cheap to copy; the key
/// is never written anywhere.
class certificate {
 public:
  /// From PEM: the own certificate first, then those between it and the root.
  /// Throws io_error: bad_certificate_file, bad_key_file, key_encrypted, key_mismatch.
  static certificate parse(std::string_view chain_pem, std::string_view key_pem);
  /// The same from files, read through the loop's kernel; each 1 MiB at most.
  /// Errors: those of parse() and of reading, which name the file.
  static task<certificate> from_files(std::string chain_path, std::string key_path);

 private:
  friend class client_context;
  friend class server_context;
  explicit certificate(std::shared_ptr<const detail::certificate_state> state) noexcept;
  std::shared_ptr<const detail::certificate_state> state_;
};

/// Whom a client believes, and what it offers.
class client_options {
 public:
  client_options() {}  // no aggregate: g++ 12 destroys those twice in co_await expressions

  /// Chain, dates and name of the server are checked. Off, any server is believed: for tests only.
  bool verify = true;
  /// Authorities that are trusted beside, or without, those of the system: certificates in PEM.
  std::string authorities_pem;
  /// The system's authorities: OpenSSL's files, /etc/ssl/certs on Debian, or what SSL_CERT_FILE and
  /// SSL_CERT_DIR name. OpenSSL reads them by itself, not through the loop's kernel.
  bool system_authorities = true;
  /// ALPN: the protocols offered, the best first: {"h2", "http/1.1"} (RFC 7301).
  std::vector<std::string> protocols;
  version version_min = version::tls1_2;
  version version_max = version::tls1_3;
  /// Sessions kept for resumption, by host; 0: every handshake is a full one. About 2 KiB each.
  std::size_t session_count_max = 256;
};

/// What the connections of a client share: its options, read and checked once.
class client_context {
 public:
  /// Throws io_error: bad_certificate_file, bad_options; also if the system's authorities cannot
  /// be set up.
  explicit client_context(const client_options& options = client_options());
  /// The same, with a certificate for servers that ask for one.
  client_context(const client_options& options, const certificate& own);

  /// Sessions that wait to be resumed.
  std::size_t session_count() const;

 private:
  friend class detail::engine;
  std::shared_ptr<detail::client_state> state_;
};

/// Whether a server wants to know its clients by certificate.
enum class client_certificates : unsigned char { none, wanted, required };

/// Who a server is, and what it offers.
class server_options {
 public:
  server_options() {}

  /// ALPN: what the server speaks, the best first. A client that offers only others is refused; one
  /// that offers nothing is not.
  std::vector<std::string> protocols;
  version version_min = version::tls1_2;
  version version_max = version::tls1_3;
  client_certificates clients = client_certificates::none;
  /// Who signs the clients' certificates, in PEM. REQUIRED unless `clients` is none.
  std::string client_authorities_pem;
  /// A client that asks for a name which no certificate has is refused; otherwise it is given the
  /// first one, and finds out by itself.
  bool refuse_unknown_names = false;
  /// Session tickets: clients come back with half the work.
  bool tickets = true;
  /// So long the key of tickets is used; it opens tickets for as long again, and is gone then. More
  /// than two hours, the life of a ticket, so that none is lost; more is worse for the secrecy of
  /// what was said, should the server's memory become known. All loops that use the context change
  /// keys together.
  std::chrono::nanoseconds ticket_key_interval = std::chrono::hours(4);
};

/// The certificates of a server, and what it asks of its clients. Which certificate a client is
/// given follows from the name that it asks for (SNI) and the names in the certificates, wildcards
/// included; several may have one name, RSA and ECDSA for instance. The first is for everybody
/// else.
///
/// Copies share their state. Certificates are replaced while connections come: a handshake uses
/// those of its beginning, established connections keep theirs. Sessions do not outlive it: the
/// keys of tickets are made anew.
/// Thread rule: any thread may use, add and replace; reload() belongs to a loop.
class server_context {
 public:
  /// Throws io_error: bad_options, bad_certificate_file (of the authorities).
  explicit server_context(const certificate& first,
                          const server_options& options = server_options());
  /// Reads and remembers the files, for reload(). Errors: as certificate::from_files.
  static task<server_context> from_files(std::string chain_path, std::string key_path,
                                         server_options options = server_options());

  /// One more, for the names in it.
  void add(const certificate& another);
  task<> add_files(std::string chain_path, std::string key_path);
  /// These instead of all that were there. REQUIRES: not empty.
  void replace(const std::vector<certificate>& certificates);
  /// Reads all files again and uses what stands in them now; certificates that were not read from
  /// files stay. Errors: as certificate::from_files, and then nothing has changed.
  task<> reload();

 private:
  friend class detail::engine;
  explicit server_context(std::shared_ptr<detail::server_state> state) noexcept;
  std::shared_ptr<detail::server_state> state_;
};

}  // namespace rill::tls
