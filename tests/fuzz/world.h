// One input in a simulated world: virtual time, no descriptor of the system's, nothing left behind.
// Read next: buffered_fuzz.cpp.
#pragma once

#include <cstdint>
#include <utility>

#include "fuzz/input.h"
#include <rill/runtime/frame_cache.h>
#include <rill/runtime/sim/world.h>

namespace rill::fuzz {

/// A world that is cheap to make: no trace, and the address space of few receive buffers.
inline sim::world_options small_world() {
  sim::world_options options;
  options.trace_max = 0;
  options.loop.queues.submission = 32;
  options.loop.queues.completion = 128;
  options.loop.buffers.small = {4096, 32, 16, 4};
  options.loop.buffers.large = {65536 + 256, 8, 4, 2};
  options.step_max = 2'000'000;
  return options;
}

/// Calls body(world), and sees that every frame, slot and record is freed by the end.
template <class Body>
void in_a_world(std::uint64_t seed, Body&& body,
                const sim::world_options& options = small_world()) {
  const std::uint64_t live = frame_statistics().live_count;
  {
    sim::world world(seed, options);
    std::forward<Body>(body)(world);
  }
  check(frame_statistics().live_count == live, "every frame is freed");
}

}  // namespace rill::fuzz
