// An HTTP/1.1 client: a pool of connections behind the methods of HTTP.
//   rill::http::client client;
//   const rill::http::client_response got = co_await client.get("http://localhost:8080/");
//   got.raise_for_status();
//   std::puts(got.text().c_str());
// It follows redirects, decodes compressed bodies, keeps connections for the next request, retries
// if told to, and obeys the proxy variables. Not here: how connections are opened (connector.h).
// Read next: client.cpp; tests/http/client_test.cpp shows each of these.
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

#include <tl/expected.hpp>

#include <rill/net/tls/context.h>
#include <rill/protocols/http/client_error.h>
#include <rill/protocols/http/client_limits.h>
#include <rill/protocols/http/client_request.h>
#include <rill/protocols/http/client_response.h>
#include <rill/protocols/http/coding.h>
#include <rill/protocols/http/connector.h>
#include <rill/protocols/http/cookies.h>
#include <rill/protocols/http/head.h>
#include <rill/protocols/http/proxy.h>
#include <rill/runtime/task.h>

namespace rill::http {

/// What a client tells while it works, for -v and the like.
enum class trace_event : std::uint8_t {
  note,      ///< "connected to 10.0.0.7:80", "retry in 0.5 s: ..."
  request,   ///< a head as it is sent, but for the values of Authorization and the like
  response,  ///< a head as it came, but for those of Set-Cookie
};
using trace_function = std::function<void(trace_event, std::string_view)>;

/// How a client does its work. Each part has a default that is meant for production.
class client_options {
 public:
  client_options() {}

  client_timeouts timeouts{};
  /// A server that was asked with Expect: 100-continue and says nothing gets the body after so long
  /// (RFC 9110 section 10.1.1).
  std::chrono::nanoseconds continue_timeout = std::chrono::seconds(1);
  /// Bodies of so many bytes, and those of unknown size, are announced that way.
  std::uint64_t continue_size_min = 1024 * 1024;
  pool_limits pool{};
  retry_options retry{};
  head_limits head{};
  /// Responses 1xx before the one that counts.
  unsigned interim_count_max = 16;
  /// Bytes of a body that send() and its relatives read, after decoding.
  std::size_t body_size_max = std::size_t{64} * 1024 * 1024;
  /// 0: redirects are responses like others.
  unsigned redirect_count_max = 10;
  std::string user_agent = "rill";
  /// Sent with each request that does not set them itself: to every origin, so nothing secret.
  client_request::field_list fields;
  /// nullopt: what the environment says when the client is made (proxy_settings).
  std::optional<proxy_settings> proxies;
  /// Whom https believes: see rill/net/tls/context.h.
  tls::client_options tls;
  /// Cookies are kept here and sent from here; nullptr: neither. Must outlive the client.
  cookie_jar* cookies = nullptr;
  /// Asks for bodies in gzip and brotli, and decodes them.
  bool accepts_compressed = true;
  /// Against small bodies that decode to huge ones. For send() its size_max is body_size_max.
  decode_limits decode{};
  /// Opens connections; nullptr: a tls_connector of the client's own. Must outlive the client.
  connector* with = nullptr;
  /// Must not throw.
  trace_function on_trace;
};

/// A value or the reason why there is none.
using client_result = tl::expected<client_response, client_error>;

/// Any number of tasks of one loop may use a client at once. It must outlive their requests, not
/// the responses, and end before its loop.
///
/// Completes when the response is whole (open(): when its head is there).
/// Errors: client_error, which names phase, request and peer; what a body's producer throws. A
///   status such as 404 is none: client_response::raise_for_status().
/// Redirects: 301 and 302 turn POST into GET, 303 everything but HEAD, 307 and 308 change nothing
///   (RFC 9110 section 15.4). To another origin neither Authorization nor Cookie is sent.
/// Connections that the server has closed meanwhile: a request goes out once more on a fresh one
///   if nothing of a response had come and it is idempotent, beside all retries.
/// Cancellation: at any time; the connection is closed, and the server may have done what it was
///   asked for.
/// Cost: a warm request allocates what its head and its response's need, and takes one turn of the
///   loop to see that the connection is still alive.
class client {
 public:
  explicit client(client_options options = client_options());
  client(client&& other) noexcept;
  client& operator=(client&& other) noexcept;
  ~client();

  [[nodiscard]] task<client_response> get(std::string url);
  [[nodiscard]] task<client_response> head(std::string url);
  [[nodiscard]] task<client_response> post(std::string url, request_body body);
  [[nodiscard]] task<client_response> put(std::string url, request_body body);
  [[nodiscard]] task<client_response> patch(std::string url, request_body body);
  /// DELETE.
  [[nodiscard]] task<client_response> remove(std::string url);
  [[nodiscard]] task<client_response> send(client_request asked);
  /// Without the body, which client_response::read_some() reads. Until its end it occupies a
  /// connection of the pool.
  [[nodiscard]] task<client_response> open(client_request asked);
  /// send(), with client_error as a value.
  [[nodiscard]] task<client_result> send_as_result(client_request asked);

  /// Connections that wait for the next request, and all of them.
  std::size_t idle_count() const noexcept;
  std::size_t connection_count() const noexcept;
  /// Of the connector that the client has of its own: connections to `host` and `port` go to
  /// `address`, without a look-up.
  void set_address(std::string_view host, std::uint16_t port, std::string_view address);

 private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace rill::http
