// A member in a browser: JSON messages over a WebSocket, in the same rooms as everybody else.
//   routes.get("/ws", [&](http::request& asked) {
//     return websocket::accept(asked, [&](websocket::connection& peer) {
//       return chat::browse(peer, here); });
//   });
// The messages stand in README.md. Not here: the page (examples/chat_page.html).
// Read next: browser.cpp.
#pragma once

#include <rill/protocols/chat/branch.h>
#include <rill/protocols/websocket/connection.h>
#include <rill/runtime/task.h>

namespace rill::chat {

/// One browser, until it or the connection has gone, it breaks a rule (1008 or 1007), has no name
/// after nickname_timeout or says nothing for idle_timeout (1008), or takes nothing of what waits
/// for it for the write_timeout of its WebSocket. When the server drains, which closes the
/// connection at once (websocket::accept), what waits in the queue is not sent any more. Errors:
/// none. Cancellation: the member leaves. Thread rule: that of here.part. Lifetime: `here` outlives
/// it; its writers are not used. Cost: two tasks a member, and a record.
[[nodiscard]] task<> browse(websocket::connection& peer, branch& here);

}  // namespace rill::chat
