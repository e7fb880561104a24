// A server on several loops, as examples/echo_server.cpp with --threads is one: the first listener
// binds alone, the others join it, and connections are spread over them.
#pragma once

#include <chrono>
#include <cstddef>
#include <utility>
#include <vector>

#include <rill/net/serve.h>
#include <rill/net/tcp.h>
#include <rill/runtime/loop_group.h>

namespace rill::test {

/// Of each loop.
using loop_counts = std::vector<serve_statistics>;

/// Serves on port 8888 of all addresses until it is cancelled; `counts` has a place for each loop.
inline task<> serve_on_loops(unsigned loop_count, loop_counts& counts,
                             task<> (*session)(tcp_stream)) {
  tcp_listener first = tcp_listener::bind(endpoint::parse("0.0.0.0:8888").value());
  const std::vector<shared_socket> shared = first.share();
  loop_group loops(loop_count);
  co_await loops.run([&](unsigned index) -> task<> {
    tcp_listener listener = index == 0 ? std::move(first) : tcp_listener::join(shared);
    serve_limits limits;
    limits.statistics = &counts[index];
    limits.drain_timeout = std::chrono::minutes(10);
    co_await serve(listener, session, limits);
  });
}

/// Says "done" and hangs up.
inline task<> greet(tcp_stream peer) { co_await peer.write_all(const_buffer("done")); }

inline std::size_t accepted_count(const loop_counts& counts) {
  std::size_t sum = 0;
  for (const serve_statistics& each : counts) sum += each.accepted_count;
  return sum;
}

}  // namespace rill::test
