// The smallest server: what every client sends it sends back, on port 8888, until Ctrl-C.
//
//   build/release/bin/00_echo
//   nc localhost 8888             (in another terminal) what you type comes back
//
// With time-outs, limits and threads: echo_server.cpp. Read next: 01_sleeping_tasks.cpp.
#include <rill/net/serve.h>
#include <rill/runtime/run.h>

rill::task<> echo(rill::tcp_stream peer) {
  while (auto bytes = co_await peer.read_lease()) {  // empty: the peer has finished sending
    co_await peer.write_all(bytes);
  }
}

rill::task<> echo_service() {
  auto listener = co_await rill::tcp_listener::bind("localhost", 8888);
  co_await rill::serve(listener, echo);  // until cancelled; drains first
}

int main() { return rill::run(echo_service); }
