// A task on a simulated host of its own: time passes only when nothing else happens, and exactly as
// it is asked to. For what is about time; two hosts need a sim::world of the test's own.
#pragma once

#include <chrono>
#include <utility>

#include <rill/runtime/sim/world.h>
#include <rill/runtime/task.h>
#include <rill/runtime/timeout.h>

namespace rill::test {

/// Runs `body()`, which returns task<>; its first moment is time 0 but for some microseconds.
template <class Body>
void in_virtual_time(Body&& body) {
  sim::world world(1);
  sim::host& host = world.add_host("host", "10.0.0.1");
  world.run(host.run([&] { return body(); }));
}

/// Turns of the simulated loop take microseconds, which are left out.
inline long long milliseconds_since(loop_clock::time_point start) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(loop_clock::now() - start).count();
}

}  // namespace rill::test
