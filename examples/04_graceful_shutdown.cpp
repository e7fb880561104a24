// Ending a server without cutting anybody off: what happens between Ctrl-C and exit.
//
//   build/release/bin/04_graceful_shutdown       ready: tcp 127.0.0.1:PORT
//   nc 127.0.0.1 PORT                            (in another terminal) the time, every second
//   Ctrl-C                                       nc gets "goodbye" before its connection closes
//
// serve() turns the cancellation into a drain: it stops accepting, tells the handlers, and waits
// for them. A handler that takes a drain_signal can say farewell; one that does not sees the end of
// its stream. After five seconds, or on a second Ctrl-C, what is left is cancelled.
// Read next: 05_tcp_proxy.cpp.
#include <chrono>
#include <cstdio>
#include <string>

#include "program.h"
#include <rill/net/serve.h>
#include <rill/runtime/run.h>
#include <rill/runtime/timeout.h>

using namespace std::chrono_literals;

namespace {

rill::task<> tell_time(rill::tcp_stream peer, rill::drain_signal& drain) {
  for (int seconds = 0; !drain.is_draining(); ++seconds) {
    co_await peer.write_all("up for " + std::to_string(seconds) + " s\n");
    try {
      co_await rill::with_timeout(1s, drain.wait());  // a sleep that ends early
    } catch (const rill::timeout_error&) {
      // Another second is over.
    }
  }
  co_await peer.write_all("goodbye\n");
}

rill::task<> clock_service() {
  const rill::endpoint local(rill::address::loopback_v4(), 0);
  rill::tcp_listener listener = rill::tcp_listener::bind(local);
  program::announce(program::ready_lines("tcp", listener.locals()));
  co_await rill::serve(listener, tell_time);
}

}  // namespace

int main() { return rill::run(clock_service); }
