// WebSockets as a client.
//   auto peer = co_await websocket::connect("wss://example.org/chat");
//   co_await peer.write_text("hello");
//   while (auto message = co_await peer.read()) { ...
// Not here: redirects, which are errors, and plain ws through a proxy.
// Read next: connection.h.
#pragma once

#include <string>

#include <rill/protocols/websocket/connection.h>
#include <rill/protocols/websocket/options.h>
#include <rill/runtime/task.h>

namespace rill::websocket {

/// Looks up, connects, shakes hands.
///
/// Completes when the server has agreed, and its answer is one to our request.
/// Errors: handshake_error with its status; io_error of the look-up, of connecting and of TLS;
///   timeout_error after options.timeout. Throws std::invalid_argument for fields and subprotocols
///   that cannot be sent.
/// Cancellation: at any time; nothing is left.
/// Cost: that of the connection, and one round trip.
[[nodiscard]] task<connection> connect(std::string url, client_options options = client_options());

}  // namespace rill::websocket
