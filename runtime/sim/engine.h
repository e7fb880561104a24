// The heart of a world: virtual time, what will happen and when, the random streams, the trace.
// Everything that will happen is a timer in one of two queues, ordered by (time, order of arming),
// so that a run depends on the seed alone. Not here: what the events do.
// Read next: network.h, kernel.h, world.cpp.
#pragma once

#include <cstdint>
#include <cstdio>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include <rill/runtime/sim/fault_board.h>
#include <rill/runtime/sim/options.h>
#include <rill/runtime/sim/random.h>
#include <rill/runtime/sim/trace.h>
#include <rill/runtime/timer.h>

namespace rill::sim::detail {

/// The system calls, as faults and traces name them.
enum class call : std::uint8_t {
  socket,
  socket_pair,
  bind,
  listen,
  shutdown,
  set_option,
  get_option,
  local_name,
  peer_name,
  pipe,
  sendfile,
  remove_dead_socket,
  link_file,
  close,
  signals,
  register_buffers,
  unregister_buffers,
  ring,
  thread
};
const char* name_of(call what) noexcept;

/// One thing that a program asked of its kernel: a system call, an operation, an entry.
struct interaction {
  const char* name;
  std::uint32_t host;
};

/// True while the code of a program runs, false in the simulator below it.
bool& in_program() noexcept;

/// Stands at every entry from a program into the simulator.
class below_program {
 public:
  below_program() noexcept : before_(std::exchange(in_program(), false)) {}
  below_program(const below_program&) = delete;
  below_program& operator=(const below_program&) = delete;
  ~below_program() { in_program() = before_; }

 private:
  bool before_;
};

class engine {
 public:
  engine(std::uint64_t world_seed, const world_options& world_options);

  std::int64_t now() const noexcept { return now_; }

  /// Goes to the next event, if there is one that is not after `limit`, and lets everything that is
  /// due then happen. False: there is none. `time_passes`: the limit will be reached in any case,
  /// so what happens in the background counts.
  bool step(std::int64_t limit, bool time_passes = false) noexcept;
  /// Time passes without an event. REQUIRES: step() found none up to `time`.
  void skip_to(std::int64_t time) noexcept { now_ = time > now_ ? time : now_; }

  std::int64_t draw(random_source& from, const duration_range& range) noexcept {
    return from.between(range.least.count(), range.most.count());
  }

  /// Notes an interaction, and says with which positive errno a fault ends it, or 0.
  int interact(std::uint32_t host, const char* name) {
    if (is_observed) return 0;
    if (recorder != nullptr) recorder->push_back({name, host});
    if (++interaction_count == fail_at) return fail_with;
    return faults.empty() ? 0 : faults.error_for(host, name);
  }

  void trace(trace_record::kind what, const char* name, std::uint32_t host, std::int64_t first,
             std::int64_t second = 0, std::int64_t third = 0, std::uint32_t loop_number = 0);
  void trace_packet(const char* name, std::uint32_t host, const packet& about);

  /// The first exception that left a program's task.
  void fail(std::exception_ptr what) noexcept {
    if (!error) error = std::move(what);
  }

  const world_options options;
  const std::uint64_t seed;
  random_source turns;
  fault_board faults;
  trace_log log;
  /// Keeps no trace: its digest means nothing.
  const bool is_silent;
  /// What is called only to print a task tree: no part of the run.
  bool is_observed = false;
  std::uint64_t interaction_count = 0;
  std::uint64_t step_count = 0;
  /// This interaction of the world ends with this positive errno.
  std::uint64_t fail_at = 0;
  int fail_with = 0;
  /// Where interactions are noted; nullptr: nowhere.
  std::vector<interaction>* recorder = nullptr;
  /// What brings the world forward: packets, turns of loops, retransmissions.
  rill::detail::timer_queue events;
  /// What changes nothing while the network is well: probes of idle connections, the end of
  /// TIME_WAIT. A world in which nothing else is left is stuck, unless a packet was ever lost or a
  /// host has crashed.
  rill::detail::timer_queue background;
  bool lossy = false;
  /// Calls that run in the background and are not finished.
  std::size_t offload_count = 0;
  std::exception_ptr error;
  std::uint32_t next_incarnation = 1;

 private:
  std::int64_t now_ = 0;
};

/// A timer that calls a member function of its owner.
template <class Owner>
class owned_timer final : public rill::detail::timer_node {
 public:
  owned_timer(rill::detail::timer_queue& queue, Owner& owner, void (Owner::*call)()) noexcept
      : queue_(&queue), owner_(&owner), call_(call) {}
  ~owned_timer() { queue_->remove(*this); }

  void arm(std::int64_t deadline) { queue_->arm(*this, deadline); }
  void expired() noexcept override { (owner_->*call_)(); }

 private:
  rill::detail::timer_queue* queue_;
  Owner* owner_;
  void (Owner::*call_)();
};

/// Says on stderr that a program asked for something that is not modelled; returns -EINVAL, or what
/// the caller makes of it.
int refuse(const std::string& what) noexcept;

}  // namespace rill::sim::detail
