// The server's side of one connection of SMTP, good enough to receive mail in tests and tools: over
// any byte_stream, with STARTTLS, AUTH and limits, strict about everything that lets two servers
// read different messages (SMTP smuggling).
//   class printing final : public smtp::service {
//     task<smtp::reply> take(smtp::received_mail mail) override {
//       std::puts(mail.content.c_str());
//       co_return smtp::reply(250, "2.0.0 taken");
//     }
//   };
// Not here: queues, delivery, relaying, who may send to whom. Read next: session.cpp,
// examples/mail_sink.cpp.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rill/net/stream.h>
#include <rill/net/tls/context.h>
#include <rill/protocols/smtp/command.h>
#include <rill/protocols/smtp/reply.h>
#include <rill/protocols/smtp/transport.h>
#include <rill/runtime/task.h>

namespace rill::smtp {

/// Who is at the other end, as far as it is known.
struct session_peer {
  session_peer() {}

  std::string address;  ///< "10.0.0.7:40000"; empty for streams that have none
  std::string hello;    ///< what it called itself
  bool is_secure = false;
  std::string user;  ///< whom it has authenticated as; empty: nobody
};

/// A whole message, for service::take().
struct received_mail {
  received_mail() {}
  received_mail(session_peer peer, path_argument who, std::vector<path_argument> to)
      : from(std::move(peer)), sender(std::move(who)), recipients(std::move(to)) {}

  session_peer from;
  path_argument sender;
  std::vector<path_argument> recipients;
  /// As the client meant it: lines that end with CRLF, dots undone.
  std::string content;
};

/// What becomes of mail. Exceptions are answered with 451, or 452 when memory or descriptors are
/// short; those of password_of() with 454. session_options::on_error is told of all.
class service {
 public:
  /// Whether mail of this sender is taken: any 2xx, or a refusal.
  [[nodiscard]] virtual task<reply> begin(const session_peer& from, const path_argument& sender);
  /// The same for each recipient.
  [[nodiscard]] virtual task<reply> add(const session_peer& from, const path_argument& recipient);
  /// A whole message. With 2xx this side answers for it; it is called once for each.
  [[nodiscard]] virtual task<reply> take(received_mail mail) = 0;
  /// nullopt: there is no such user. A token, for XOAUTH2. Called on the loop's thread, which
  /// waits: what takes time is to be looked up before.
  virtual std::optional<std::string> password_of(std::string_view user);

 protected:
  ~service() = default;
};

/// What a server offers, wants and bears. One object serves any number of sessions.
class session_options {
 public:
  session_options() {}

  /// What the server calls itself.
  std::string name = "localhost";
  /// Offers STARTTLS.
  std::optional<tls::server_context> tls;
  bool requires_tls = false;
  /// Offers AUTH, by service::password_of: over TLS only, unless the next but one says otherwise.
  bool offers_auth = false;
  bool requires_auth = false;
  bool auth_without_tls = false;
  /// Takes RET, ENVID, NOTIFY and ORCPT: the service answers for the reports.
  bool offers_dsn = false;
  bool offers_pipelining = true;
  bool offers_8bit = true;
  bool offers_utf8 = true;

  /// Bytes of a message, which is in memory: 552 beyond. Who sends 16 MiB more than that is left.
  std::uint64_t size_max = std::uint64_t{25} * 1024 * 1024;
  /// 452 beyond. RFC 5321 section 4.5.3.1.8 wants 100 at least.
  std::size_t recipient_count_max = 1000;
  /// Bytes of a command without its end; RFC 5321 section 4.5.3.1.4 and the extensions want 1,000
  /// or so, AUTH 12,288 (RFC 4954 section 4).
  std::size_t line_size_max = 12'288;
  /// Commands that are none, come at the wrong time, or fail to authenticate: 421 beyond.
  std::size_t mistake_count_max = 20;
  /// From the end of a reply to the end of the next command.
  std::chrono::nanoseconds command_timeout = std::chrono::minutes(5);
  /// Between two pieces of a message, and for all of it.
  std::chrono::nanoseconds block_timeout = std::chrono::minutes(3);
  std::chrono::nanoseconds message_timeout = std::chrono::hours(1);
  std::chrono::nanoseconds handshake_timeout = std::chrono::seconds(30);
  /// Told of exceptions of the service. Empty: one line on stderr. Must not throw.
  std::function<void(const session_peer& from, const std::exception_ptr& error)> on_error;
};

namespace detail {
task<> serve_session(std::unique_ptr<transport> carried, std::string address, service& to,
                     const session_options& options);
}

/// Greets, takes messages until QUIT, the end of the stream, a time-out or one mistake too many,
/// and closes. What breaks the framing (a bare CR or LF, a line that is too long, bytes behind
/// STARTTLS or DATA that came before the answer) ends the connection with 5xx.
///
/// Errors: none; a lost peer is its end. Commands that are fine are not counted: who says NOOP for
/// ever may stay.
/// Cancellation: closes, without a 421. A message that service::take was working on may be its own
/// or the
///   client's to send again, as that task has left it.
/// Lifetime: `to` and `options` outlive it. Cost: a few frames; a message is in memory once.
template <byte_stream Stream>
task<> session(Stream peer, service& to, const session_options& options) {
  std::string address;
  if constexpr (requires { peer.peer().to_string(); }) address = peer.peer().to_string();
  auto carried = std::make_unique<detail::transport_over<Stream>>(std::move(peer));
  return detail::serve_session(std::move(carried), std::move(address), to, options);
}

}  // namespace rill::smtp
