// What a simulated world is like when nothing goes wrong, and its limits.
// Read next: world.h.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <rill/runtime/loop.h>

namespace rill::sim {

/// Both ends included; a value is drawn from the seed each time.
struct duration_range {
  std::chrono::nanoseconds least;
  std::chrono::nanoseconds most;
};

/// What a world is like before anything goes wrong in it.
struct world_options {
  /// The way of a packet between two hosts, and within one. Packets between two hosts keep their
  /// order unless udp_reordering says otherwise.
  duration_range latency{std::chrono::microseconds(200), std::chrono::microseconds(400)};
  duration_range loopback_latency{std::chrono::microseconds(10), std::chrono::microseconds(20)};
  /// How long one turn of a loop keeps its thread busy. Never zero: time passes even for a task
  /// that is always ready. Drawn for every turn, so different seeds interleave differently.
  duration_range turn_time{std::chrono::microseconds(1), std::chrono::microseconds(3)};
  /// From the moment in which another loop, or a call in the background, wakes one that sleeps, or
  /// starts it, until it has its turn.
  duration_range wake_latency{std::chrono::microseconds(1), std::chrono::microseconds(20)};
  /// A call that blocks, run in the background: from its start to its end.
  duration_range offload_time{std::chrono::microseconds(50), std::chrono::microseconds(500)};
  /// An operation on a file, from its start to its end.
  duration_range disk_time{std::chrono::microseconds(20), std::chrono::microseconds(200)};

  /// Probabilities, per datagram between hosts. A reordered one is late by up to ten times the
  /// longest latency.
  double udp_loss = 0;
  double udp_duplication = 0;
  double udp_reordering = 0;

  /// Bytes; what SO_SNDBUF and SO_RCVBUF are at first. Linux tunes its own up to megabytes; small
  /// ones make back-pressure come early.
  std::size_t send_buffer_size = std::size_t{256} * 1024;
  std::size_t receive_buffer_size = std::size_t{128} * 1024;
  /// Open descriptors of one host, beyond which calls fail with EMFILE.
  int descriptor_max = 1024;
  /// net.core.somaxconn: what listen() can ask for at most.
  int backlog_max = 4096;
  /// Bytes of files of one host, beyond which writing fails with ENOSPC.
  std::size_t disk_size = std::size_t{256} * 1024 * 1024;

  /// Events kept for world::trace(); 0: none. About 100 bytes each.
  std::size_t trace_max = std::size_t{1} << 17;
  /// Virtual time after which run() gives up on tasks that neither end nor deadlock.
  std::chrono::nanoseconds run_limit = std::chrono::hours(24 * 7);

  /// Events after which run(), run_for() and the end of a world give up as well: tasks that wake
  /// each other in circles use up little virtual time, but all of the real one.
  std::uint64_t step_max = 50'000'000;

  /// Of every loop; small queues make a full one easy to test.
  rill::loop_options loop{};
};

static_assert(std::is_trivially_destructible_v<world_options>,
              "may stand in a co_await expression");

}  // namespace rill::sim
