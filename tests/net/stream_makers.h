// Connected pairs of every kind of stream, and where their tests run.
#pragma once

#include <utility>

#include "support.h"
#include <rill/net/memory_stream.h>
#include <rill/net/tcp.h>
#include <rill/net/unix.h>
#include <rill/runtime/sim/world.h>

// Not in an unnamed namespace: the simulator keeps their bodies in coroutine frames, and g++ warns
// of frames with members that have no linkage.
namespace rill::test {

/// Runs a task over the kernel that RILL_KERNEL names.
struct on_linux {
  template <class Body>
  static void run(Body&& body) {
    run_loop(std::forward<Body>(body));
  }
};

struct tcp_maker : on_linux {
  using stream = tcp_stream;

  static task<std::pair<stream, stream>> make() {
    tcp_listener listener = tcp_listener::bind(endpoint(address::loopback_v4(), 0));
    tcp_stream left = co_await tcp_stream::connect(listener.local());
    tcp_stream right = co_await listener.accept();
    co_return std::pair<stream, stream>(std::move(left), std::move(right));
  }
};

struct unix_maker : on_linux {
  using stream = unix_stream;

  static task<std::pair<stream, stream>> make() { co_return unix_stream::pair(); }
};

struct memory_maker : on_linux {
  using stream = memory_stream;

  static task<std::pair<stream, stream>> make() { co_return memory_stream_pair(); }
};

/// Through a narrow pipe, in pieces that never fit.
struct narrow_memory_maker : on_linux {
  using stream = memory_stream;

  static task<std::pair<stream, stream>> make() {
    std::pair<stream, stream> pair = memory_stream_pair(4096);
    pair.first.set_read_size_max(1000);
    pair.second.set_read_size_max(1000);
    pair.first.set_write_size_max(3001);
    pair.second.set_write_size_max(3001);
    co_return pair;
  }
};

/// The same on one host of a simulated world.
template <class Maker>
struct simulated : Maker {
  template <class Body>
  static void run(Body&& body) {
    sim::world world(1);
    world.run(world.add_host("host", "10.0.0.1").run(std::forward<Body>(body)));
  }
};

}  // namespace rill::test
