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

/// One loop: it takes a turn while it has something to do, and at its next deadline. It is a
/// program's, which lives here, or one that a loop_group of the program has made and will destroy.
class program_state final : public loop_driver {
 public:
  /// A `background` program is not waited for by world::run().
  program_state(world_state& of, node& on, std::uint32_t number, bool background);
  program_state(const program_state&) = delete;
  program_state& operator=(const program_state&) = delete;
  ~program_state();

  /// Once.
  std::unique_ptr<sim_kernel> make_kernel();
  void start(task<> main);
  bool is_running() const noexcept { return loop_ != nullptr && !ended_; }
  bool has_ended() const noexcept { return ended_; }
  bool is_of_group() const noexcept { return own_loop_ == nullptr; }
  /// REQUIRES: it is a program's, or is_running().
  loop& runner() noexcept { return *loop_; }
  const loop& runner() const noexcept { return *loop_; }
  node& on() const noexcept { return *node_; }
  bool has_ring() const noexcept { return kernel_ != nullptr && kernel_->ring_descriptor() >= 0; }
  /// Something may have become ready by the hand of somebody outside.
  void look() noexcept;
  void cancel() noexcept;
  std::string task_tree();

  // --- loop_driver ---
  void needs_turn() noexcept override;
  std::unique_ptr<rill::kernel> make_sibling() override;
  void start(loop_thread& started) override;
  void kernel_gone() noexcept override { kernel_ = nullptr; }

  // --- when its host crashes ---
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
  void finish() noexcept;
  /// False: it was the last. A loop of a group is gone then.
  bool turn_loop();
  void count_start() noexcept;
  void count_end() noexcept;
  void schedule(std::int64_t time) noexcept;
  bool is_runnable() const noexcept {
    return !begun_ || loop_->is_runnable() || kernel_->has_work();
  }

  world_state* world_;
  engine* engine_;
  node* node_;
  std::uint32_t number_;
  sim_kernel* kernel_ = nullptr;
  std::unique_ptr<loop> own_loop_;
  loop* loop_ = nullptr;
  loop_thread* thread_ = nullptr;  ///< of a loop of a group
  turn_timer turn_;
  std::int64_t busy_until_ = 0;
  bool begun_ = false;
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
  program_state& add(node& on, bool background);
  void cancel_programs() noexcept;
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
