// What a world is made of: programs that take turns, hosts, and what they share.
// Not here: the public face (world.h). Read next: world_state.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <rill/runtime/loop.h>
#include <rill/runtime/sim/engine.h>
#include <rill/runtime/sim/kernel.h>
#include <rill/runtime/sim/network.h>
#include <rill/runtime/sim/node.h>
#include <rill/runtime/sim/world.h>

namespace rill::sim::detail {

/// One loop: it takes a turn while it has something to do, and at its next deadline.
class program_state {
 public:
  /// A `background` program is not waited for by world::run().
  program_state(world_state& of, node& on, std::uint32_t number, bool background);
  ~program_state() { engine_->events.remove(turn_); }

  void start(task<> main);
  bool has_ended() const noexcept { return ended_; }
  loop& runner() noexcept { return *loop_; }
  const loop& runner() const noexcept { return *loop_; }
  node& on() const noexcept { return *node_; }
  /// Something may have become ready: from outside, or by a message of another loop.
  void look() noexcept;
  void cancel() noexcept;

  // --- when its host crashes ---
  std::string task_tree();
  bool is_in_turn() const noexcept { return in_turn_; }
  void detach();
  /// Lets the tasks be destroyed, without any effect on the world. False: it waits for something.
  bool wind_down();
  /// One turn of a detached loop, which may be its last.
  void take_last_turn();
  sim_kernel& kernel() noexcept { return *kernel_; }

 private:
  class turn_timer final : public rill::detail::timer_node {
   public:
    explicit turn_timer(program_state& of) noexcept : program_(&of) {}
    void expired() noexcept override { program_->take_turn(); }

   private:
    program_state* program_;
  };

  void take_turn() noexcept;
  void count_end() noexcept;
  void schedule(std::int64_t time) noexcept;
  bool is_runnable() const noexcept { return loop_->is_runnable() || kernel_->has_work(); }

  world_state* world_;
  engine* engine_;
  node* node_;
  sim_kernel* kernel_ = nullptr;
  std::unique_ptr<loop> loop_;
  turn_timer turn_;
  std::int64_t busy_until_ = 0;
  bool in_turn_ = false;
  bool ended_ = false;
  bool background_;
  bool paused_ = false;  ///< a turn was due in a pause
};

class host_state {
 public:
  host_state(world_state& of, std::uint32_t number, std::string name);

  void crash();
  void crash_now();

  world_state& of;
  node machine;
  host handle;
  owned_timer<host_state> crash_timer;
};

class world_state {
 public:
  world_state(std::uint64_t seed, const world_options& options);
  ~world_state();

  program& start(host_state& on, task<> main, bool background = false);
  void look_at_all() noexcept {
    for (const std::unique_ptr<program_state>& each : programs) each->look();
  }
  bool all_ended() const noexcept { return running_count == 0; }
  std::string task_tree();
  /// Throws what has left a program, if anything has.
  void rethrow();
  std::vector<std::string> host_names() const;
  /// Keeps what there is to say about a run that has failed (seeds.h).
  void report(const std::string& what);
  /// Reports, and throws an Error that names the seed and the tasks.
  template <class Error>
  [[noreturn]] void give_up(const std::string& what) {
    report(what);
    throw Error(what + " (seed " + std::to_string(time.seed) + ")\n" + task_tree());
  }
  void wind_up() noexcept;
  void wind_down(const node& crashed);
  void tell_name_server(host_state& client);
  const std::vector<address>* addresses_of(std::string_view name) const;

  engine time;
  network wire;
  std::deque<host_state> hosts;
  std::vector<std::unique_ptr<program_state>> programs;
  std::deque<program> handles;
  std::size_t running_count = 0;  ///< of programs that run() waits for
  std::size_t living_count = 0;
  std::string name_server_address;
  bool is_reported = false;
  int exceptions_before = 0;  ///< in flight when the world was made
};

}  // namespace rill::sim::detail
