// A member in a browser: JSON messages over a WebSocket, in the same rooms as everybody else.
//   routes.get("/ws", [&](http::request& asked) {
//     return websocket::accept(asked, [&](websocket::connection& peer, drain_signal& drain) {
//       return chat::browse(peer, here, &drain); });
//   });
// The messages stand in README.md. Not here: the page (examples/chat_page.html).
// Read next: browser.cpp.
#pragma once

#include <rill/net/serve.h>
#include <rill/protocols/chat/branch.h>
#include <rill/protocols/websocket/connection.h>
#include <rill/runtime/task.h>

namespace rill::chat {

/// One browser, until it or the connection has gone, it breaks a rule (1008 or 1007), has no name
/// after nickname_timeout or says nothing for idle_timeout (1008), or takes nothing of what waits
/// for it for the write_timeout of its WebSocket. With a drain signal: when the server drains, what
/// waits for it is sent first, and then it is closed with 1001.
///
/// Errors: none. Cancellation: the member leaves; what was queued for it is lost.
/// Thread rule: that of here.part. Lifetime: `here` and `drain` outlive it; the writers of `here`
/// are not used. Cost: two tasks a member, three with a drain signal, and a record.
[[nodiscard]] task<> browse(websocket::connection& peer, branch& here,
                            drain_signal* drain = nullptr);

}  // namespace rill::chat
