// Clients of NATS in a simulated world: options with short times, a program that has a client.
// Read next: nats_server.h.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "nats/nats_server.h"
#include <rill/net/endpoint.h>
#include <rill/protocols/nats/client.h>
#include <rill/runtime/error.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/sleep.h>

namespace rill::test {

inline nats::client_options nats_options(std::vector<std::string> servers) {
  using namespace std::chrono_literals;
  nats::client_options made;
  made.servers = std::move(servers);
  made.connect_timeout = 2s;
  made.ping_interval = 2s;
  made.ping_timeout = 1s;
  made.write_timeout = 2s;
  made.reconnect_delay = 20ms;
  made.reconnect_delay_max = 500ms;
  return made;
}

/// What an operation throws, as its code.
template <class Make>
task<std::error_code> failure_of(Make make) {
  std::error_code code;
  try {
    co_await make();
  } catch (const io_error& failed) {
    code = failed.code();
  }
  co_return code;
}

/// Runs `body(client)` with a client that is connected, or is about to be.
template <class Body>
task<> with_nats_client(nats::client_options options, Body body) {
  nats::client bus(std::move(options));
  co_await with_nursery([&](nursery& tasks) -> task<> {
    tasks.start([&] { return bus.run(); });
    co_await body(bus);
    bus.close();
  });
}

/// A server that starts again whatever its host does to it.
inline task<> lasting_nats_server(nats_store& store, nats_server_options options) {
  using namespace std::chrono_literals;
  for (;;) {
    try {
      co_await nats_server(endpoint(address::any_v4(), 4222), store, options);
    } catch (const io_error&) {
      // No descriptor for the listener, this time.
    }
    co_await sleep_for(10ms);
  }
}

}  // namespace rill::test
