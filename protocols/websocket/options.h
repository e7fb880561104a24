// What a connection, a server and a client can be told. Each limit with its reason.
// Read next: connection.h.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <rill/net/tls/context.h>
#include <rill/protocols/http/connector.h>
#include <rill/protocols/http/head.h>
#include <rill/protocols/websocket/decoder.h>
#include <rill/protocols/websocket/deflate.h>

namespace rill::websocket {

/// The limits of one connection, and its times.
struct connection_options {
  decoder_limits limits{};
  deflate_options deflate{};
  /// A peer that has sent nothing for so long is asked for a sign of life, while a read waits. Many
  /// a router between forgets a connection that is silent for a minute. 0: it is not asked.
  std::chrono::nanoseconds ping_interval = std::chrono::seconds(30);
  /// For any byte to come after that was sent, which may be behind a long message: the connection
  /// is lost beyond.
  std::chrono::nanoseconds pong_timeout = std::chrono::seconds(20);
  /// For the peer to take a part of what it is sent, 256 KiB at most: the connection is lost
  /// beyond.
  std::chrono::nanoseconds write_timeout = std::chrono::seconds(30);
  /// From our close frame to the peer's, and to the end of its connection.
  std::chrono::nanoseconds close_timeout = std::chrono::seconds(5);
};
static_assert(std::is_trivially_destructible_v<connection_options>);

/// Who may connect to a server, and how it speaks.
class server_options {
 public:
  server_options() {}

  connection_options connection{};
  /// Spoken here, the best first. A client that offers only others gets a connection without one,
  /// which a client may refuse.
  std::vector<std::string> subprotocols;
  /// Pages of these origins may connect, such as "https://example.org"; "*": all. Empty: those of
  /// the host that is asked. Who sends no Origin is no browser, and needs no permission.
  std::vector<std::string> origins;
};

/// What a client asks for, and how it connects.
class client_options {
 public:
  client_options() {}

  connection_options connection{};
  /// Offered, the best first.
  std::vector<std::string> subprotocols;
  /// Sent as the field Origin; empty: none.
  std::string origin;
  /// Sent with the request, such as Authorization or Cookie. Those of the handshake are not for
  /// here.
  std::vector<std::pair<std::string, std::string>> fields;
  /// From the look-up of the name to the server's answer.
  std::chrono::nanoseconds timeout = std::chrono::seconds(30);
  http::head_limits head{};
  /// Whom wss believes: see rill/net/tls/context.h.
  tls::client_options tls;
  /// Opens the connection; nullptr: a tls_connector of the call's own. Must outlive the call.
  http::connector* with = nullptr;
};

}  // namespace rill::websocket
