// A server for tests of serve(), with a client beside it.
#pragma once

#include <string>

#include "support.h"
#include <rill/net/serve.h>
#include <rill/runtime/nursery.h>

namespace rill::test {

inline const endpoint any_port(address::loopback_v4(), 0);

inline task<> echo(tcp_stream peer) {
  while (auto bytes = co_await peer.read_lease()) co_await peer.write_all(bytes);
}

inline task<std::string> exchange(tcp_stream& stream, std::string message) {
  co_await stream.write_all(message);
  std::string reply(message.size(), '\0');
  if (!co_await stream.read_exactly(reply)) reply = "ended";
  co_return reply;
}

/// Runs `client(endpoint)` against a server with these limits, cancels the server, waits for both.
template <class Handler, class Client>
void with_server(Handler& handler, const serve_limits& limits, Client client) {
  run_loop([&]() -> task<> {
    tcp_listener listener = tcp_listener::bind(any_port);
    const endpoint local = listener.local();
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> { co_await serve(listener, handler, limits); });
      co_await client(local, tasks);
      tasks.cancel();
    });
  });
}

}  // namespace rill::test
