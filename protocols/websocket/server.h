// WebSockets of an HTTP server: a handler answers a request with one.
//   routes.get("/echo", [&](http::request& asked) {
//     return websocket::accept(asked, echo, options);  // task<> echo(websocket::connection& peer)
//   });
// Read next: connection.h; examples/websocket_echo.cpp is a program.
#pragma once

#include <functional>

#include <rill/net/serve.h>
#include <rill/protocols/http/request.h>
#include <rill/protocols/http/response.h>
#include <rill/protocols/websocket/connection.h>
#include <rill/protocols/websocket/options.h>
#include <rill/runtime/task.h>

namespace rill::websocket {

/// Speaks with one peer. When it returns the connection is closed with 1000, unless it is already;
/// what it throws closes it with 1011 and goes where the server reports.
using handler = std::function<task<void>(connection& peer)>;
/// One that says farewell itself when the server drains: see accept().
using draining_handler = std::function<task<void>(connection& peer, drain_signal& drain)>;

/// The answer to a request for a WebSocket: 101 and `speak`, or why not: 400, 403 (another origin),
/// 405, 426 with the version that is spoken here. Needs http::session, which hands over the
/// connection with what has come behind the request.
///
/// Draining (http::serve): each connection is closed with 1001 at once, beside its handler, whose
///   read() then gives nothing and whose writes send nothing more; the handler has the rest of
///   drain_timeout to return. A draining_handler is left alone instead: what it still has to say it
///   says when `drain` tells it, and then it returns, or closes with another code; it is cut when
///   drain_timeout is over. Its signal outlives it, and never comes where nothing drains.
/// Lifetime: `options` are copied; `speak` is kept as long as the connection.
/// Cost: an idle connection has 3.2 KB more than one of HTTP (measured with g++ 12 and 2,000 of
///   them over TCP), all of it included: frames, a nursery with the task that waits for the drain.
[[nodiscard]] http::response accept(const http::request& asked, handler speak,
                                    const server_options& options = server_options());
[[nodiscard]] http::response accept(const http::request& asked, draining_handler speak,
                                    const server_options& options = server_options());

}  // namespace rill::websocket
