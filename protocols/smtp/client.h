// A client of SMTP (RFC 5321): hands messages to a server, several on one connection.
//   smtp::client_options options;               // STARTTLS is required unless told otherwise
//   options.login.emplace("ann", password);
//   smtp::client server = co_await smtp::client::connect("mail.example.org", 587, options);
//   const smtp::delivery done = co_await server.send(letter);  // a mail::message
//   if (done.what() != smtp::outcome::accepted) std::puts(done.reason().c_str());
//   co_await server.quit();
// Not here: queues and attempts over days, which are a mail server's work, and with it which server
// is a domain's (MX). Read next: client.cpp, client_send.cpp.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rill/net/resolver.h>
#include <rill/net/stream.h>
#include <rill/net/tls/context.h>
#include <rill/protocols/smtp/auth.h>
#include <rill/protocols/smtp/client_error.h>
#include <rill/protocols/smtp/content.h>
#include <rill/protocols/smtp/delivery.h>
#include <rill/protocols/smtp/envelope.h>
#include <rill/protocols/smtp/reply.h>
#include <rill/protocols/smtp/transport.h>
#include <rill/runtime/task.h>

namespace rill::mail {
class message;
}

namespace rill::smtp {

namespace detail {
class conversation;
}  // namespace detail

enum class security : std::uint8_t {
  starttls,             ///< required: who does not offer it is sent nothing (port 587)
  starttls_if_offered,  ///< TLS where it is offered, and then it must work; else without
  implicit,             ///< TLS from the first byte (port 465, RFC 8314)
  none                  ///< never
};

/// Of each wait for the whole of a reply, or for a piece to be taken: RFC 5321 section 4.5.3.2.
class client_timeouts {
 public:
  client_timeouts() {}

  std::chrono::nanoseconds connect = std::chrono::seconds(30);
  std::chrono::nanoseconds handshake = std::chrono::seconds(30);
  std::chrono::nanoseconds greeting = std::chrono::minutes(5);
  /// EHLO, MAIL, RCPT, AUTH, STARTTLS, RSET.
  std::chrono::nanoseconds command = std::chrono::minutes(5);
  std::chrono::nanoseconds data = std::chrono::minutes(2);
  std::chrono::nanoseconds block = std::chrono::minutes(3);
  /// For the answer to the message. Giving up early is how messages come twice.
  std::chrono::nanoseconds acceptance = std::chrono::minutes(10);
  /// No message depends on it.
  std::chrono::nanoseconds quit = std::chrono::seconds(10);

  /// None of them longer than this.
  client_timeouts& at_most(std::chrono::nanoseconds limit) noexcept;
};

enum class trace_event : std::uint8_t { note, sent, received };
/// A line without its end; of credentials only "****" is shown.
using trace_function = std::function<void(trace_event, std::string_view)>;

/// How to connect, who to be, and how long to wait.
class client_options {
 public:
  client_options() {}

  security secured = security::starttls;
  /// Who we say we are: a host's name, or an address in brackets. Empty: our address in brackets.
  std::string hello;
  std::optional<credentials> login;
  /// Sends credentials also where anybody on the way can read them.
  bool login_without_tls = false;
  /// Whom TLS believes: see rill/net/tls/context.h. The name that is checked is the host's.
  tls::client_options tls;
  /// Instead of a context made of `tls`, which costs reading the system's authorities each time.
  std::optional<tls::client_context> context;
  client_timeouts timeouts;
  reply_limits replies;
  /// Must outlive connect(). nullptr: one of its own.
  resolver* with = nullptr;
  /// Must not throw.
  trace_function on_trace;
};

/// What a server's EHLO says that it can do.
class extensions {
 public:
  extensions() {}
  explicit extensions(const reply& hello);

  bool starttls = false;
  bool pipelining = false;
  bool eight_bit = false;  ///< 8BITMIME
  bool utf8 = false;       ///< SMTPUTF8
  bool dsn = false;
  bool enhanced_status = false;
  bool has_size = false;
  std::uint64_t size_max = 0;  ///< of a message; 0: not said
  std::vector<auth_mechanism> mechanisms;
};

/// A connection that is ready for messages. For one task at a time.
///
/// Errors: client_error, which says in which step and in the server's words; the connection is
///   closed then, and no message of which no delivery was given has been accepted.
/// Cancellation: closes the connection. A message whose end was being sent may have been accepted.
/// Secrets: neither in errors nor in the trace.
class client {
 public:
  client(client&& other) noexcept;
  client& operator=(client&& other) noexcept;
  ~client();

  /// Connects, reads the greeting, says EHLO (HELO to those that do not know it), starts TLS and
  /// authenticates, as the options have it.
  ///
  /// Before TLS nothing but EHLO and STARTTLS is sent when TLS is to be; after it EHLO is said
  /// again and all that was learnt before is forgotten (RFC 3207 section 4.2).
  /// Errors: client_error. Cost: five round trips with STARTTLS and AUTH.
  [[nodiscard]] static task<client> connect(std::string host, service to,
                                            client_options options = client_options());
  /// The same over a connection that stands. `host` is whom a certificate must name. A tls_stream
  /// is as secure as `secured` could want it: STARTTLS is not said, whatever the server offers, and
  /// security::implicit throws std::invalid_argument.
  template <byte_stream Stream>
  [[nodiscard]] static task<client> over(Stream stream, std::string host,
                                         client_options options = client_options());

  /// Hands over a message. Completes when the server has answered, or cannot any more.
  ///
  /// Recipients and sender go out together where the server can take that (PIPELINING), the
  /// message only once it is known that somebody is to have it.
  /// What the server cannot take by its own word (SIZE, 8BITMIME, SMTPUTF8) is refused without
  /// asking it. A reply 421 is a refusal that closes the connection: see is_open().
  /// Errors: client_error if the connection is lost before all of the message was sent, or the
  ///   message itself breaks a rule (line_too_long, bad_content); what the source throws.
  /// Throws std::logic_error if !is_open(), std::invalid_argument without a recipient.
  [[nodiscard]] task<delivery> send(const envelope& to, content_source& what);
  [[nodiscard]] task<delivery> send(const envelope& to, std::string_view text);
  /// To everybody that it names. Also throws what message::envelope() and open() do.
  [[nodiscard]] task<delivery> send(const mail::message& letter);

  /// RSET: as if nothing had been sent on the connection. Needed by nobody: send() does it. Throws
  /// std::logic_error if !is_open().
  [[nodiscard]] task<> reset();
  /// Says QUIT, waits for the answer a short while, and closes. Never throws client_error.
  [[nodiscard]] task<> quit();

  bool is_open() const noexcept;
  bool is_secure() const noexcept;
  const extensions& offers() const noexcept { return offers_; }

 private:
  client(std::unique_ptr<detail::conversation> talk, client_options options);

  static task<client> open(std::unique_ptr<detail::transport> made, std::string host,
                           std::string peer, client_options options);
  void require_open() const;
  task<> say_hello(bool may_be_old);
  task<> start_tls(const std::string& host);
  task<> authenticate();
  task<> secure(client_phase phase, const std::string& host);

  // client_send.cpp
  struct transaction;
  task<> offer(transaction& of);
  task<> offer_recipients(transaction& of);
  task<> transfer(transaction& of, content_source& what);
  task<> finish(transaction& of);
  task<> learn_refusal(transaction& of, client_phase phase, const error& failure);

  std::unique_ptr<detail::conversation> talk_;
  client_options options_;
  extensions offers_;
  bool needs_reset_ = false;
};

template <byte_stream Stream>
task<client> client::over(Stream stream, std::string host, client_options options) {
  auto made = std::make_unique<detail::transport_over<Stream>>(std::move(stream));
  return open(std::move(made), host, host, std::move(options));
}

}  // namespace rill::smtp
