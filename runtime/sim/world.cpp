// Programs take turns, the network delivers, time jumps. See world.h.
#include <rill/runtime/sim/world.h>

#include <algorithm>
#include <deque>
#include <exception>
#include <vector>

#include <rill/runtime/sim/engine.h>
#include <rill/runtime/sim/kernel.h>
#include <rill/runtime/sim/network.h>
#include <rill/runtime/sim/node.h>

namespace rill::sim {
namespace detail {

/// One loop: it takes a turn while it has something to do, and at its next deadline.
class program_state {
 public:
  program_state(world_state& of, node& on, std::uint32_t number);
  ~program_state() { engine_->events.remove(turn_); }

  void start(task<> main);
  bool has_ended() const noexcept { return ended_; }
  loop& runner() noexcept { return *loop_; }
  const loop& runner() const noexcept { return *loop_; }
  node& on() const noexcept { return *node_; }
  /// Something may have become ready: from outside, or by a message of another loop.
  void look() noexcept;
  void cancel() noexcept;

 private:
  class turn_timer final : public rill::detail::timer_node {
   public:
    explicit turn_timer(program_state& of) noexcept : program_(&of) {}
    void expired() noexcept override { program_->take_turn(); }

   private:
    program_state* program_;
  };

  void take_turn() noexcept;
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
};

class host_state {
 public:
  host_state(world_state& of, std::uint32_t number, std::string name);

  world_state& of;
  node machine;
  host handle;
};

class world_state {
 public:
  world_state(std::uint64_t seed, const world_options& options) : time(seed, options), wire(time) {}
  ~world_state();

  program& start(host_state& on, task<> main);
  void look_at_all() noexcept {
    for (const std::unique_ptr<program_state>& each : programs) each->look();
  }
  bool all_ended() const noexcept { return running_count == 0; }
  std::string task_tree() const;
  void wind_up() noexcept;

  engine time;
  network wire;
  std::deque<host_state> hosts;
  std::vector<std::unique_ptr<program_state>> programs;
  std::deque<program> handles;
  std::size_t running_count = 0;
};

// ---------------------------------------------------------------- programs

program_state::program_state(world_state& of, node& on, std::uint32_t number)
    : world_(&of), engine_(&of.time), node_(&on), turn_(*this) {
  auto made = std::make_unique<sim_kernel>(of.time, on, number);
  kernel_ = made.get();
  loop_ = std::make_unique<loop>(std::move(made), of.time.options.loop);
  kernel_->on_completion = [this] {
    if (!in_turn_) schedule(engine_->now());
  };
}

void program_state::start(task<> main) {
  loop_->start(std::move(main));
  schedule(engine_->now());
}

void program_state::schedule(std::int64_t time) noexcept {
  if (ended_) return;
  time = std::max(time, busy_until_);
  if (turn_.deadline() > time) engine_->events.arm(turn_, time);
}

void program_state::look() noexcept {
  if (!ended_ && !in_turn_ && is_runnable()) schedule(engine_->now());
}

void program_state::cancel() noexcept {
  loop_->cancel();
  look();
}

void program_state::take_turn() noexcept {
  in_turn_ = true;
  const bool more = loop_->turn();
  in_turn_ = false;
  busy_until_ = engine_->now() + std::max<std::int64_t>(
                                     1, engine_->draw(engine_->turns, engine_->options.turn_time));
  if (!more) {
    ended_ = true;
    --world_->running_count;
    engine_->trace(trace_record::kind::note, "a program has ended, still running:", node_->id,
                   static_cast<std::int64_t>(world_->running_count));
    try {
      loop_->finish();
    } catch (...) {
      engine_->fail(std::current_exception());
    }
  } else if (is_runnable()) {
    schedule(engine_->now());
  } else if (const std::int64_t deadline = loop_->next_deadline();
             deadline != rill::detail::timer_node::never) {
    schedule(deadline);
  }
  world_->look_at_all();  // it may have posted messages to other loops
}

// ---------------------------------------------------------------- the world

host_state::host_state(world_state& world, std::uint32_t number, std::string name)
    : of(world), machine(world.time, world.wire, number, std::move(name)), handle(*this) {}

world_state::~world_state() {
  wind_up();
  wire.stop();
  programs.clear();
  hosts.clear();
}

program& world_state::start(host_state& on, task<> main) {
  programs.push_back(std::make_unique<program_state>(*this, on.machine,
                                                     static_cast<std::uint32_t>(programs.size())));
  handles.emplace_back(*programs.back());
  ++running_count;
  programs.back()->start(std::move(main));
  return handles.back();
}

void world_state::wind_up() noexcept {
  wire.lift_all_rules();
  const std::int64_t limit = time.now() + time.options.run_limit.count();
  for (const std::unique_ptr<program_state>& each : programs) {
    if (!each->has_ended()) each->cancel();
  }
  // Jobs in the background end too, even if nobody waits for them any more.
  while ((!all_ended() || time.offload_count != 0) && time.step(limit)) {
  }
}

std::string world_state::task_tree() const {
  std::string text;
  for (const host_state& each : hosts) {
    for (const std::unique_ptr<program_state>& running : programs) {
      if (&running->on() != &each.machine || running->has_ended()) continue;
      text += "host " + each.machine.name + ": " + running->runner().task_tree();
    }
  }
  return text;
}

namespace {

/// Drops everything between two hosts.
class partition_rule final : public rule {
 public:
  partition_rule(const node& a, const node& b) noexcept : a_(&a), b_(&b) {}
  void judge(const packet& sent, verdict& on) noexcept override {
    if ((sent.from == a_ && sent.to == b_) || (sent.from == b_ && sent.to == a_)) {
      on.dropped = true;
    }
  }

 private:
  const node* a_;
  const node* b_;
};

}  // namespace
}  // namespace detail

bool program::has_ended() const noexcept { return state_->has_ended(); }
void program::cancel() noexcept {
  if (!state_->has_ended()) state_->cancel();
}
std::string program::task_tree() const { return state_->runner().task_tree(); }
rill::loop_statistics program::statistics() const noexcept { return state_->runner().statistics(); }

program& host::start(task<> main) { return state_->of.start(*state_, std::move(main)); }
void host::add_address(std::string_view address) {
  state_->machine.add_address(detail::address::parse(address));
}
void host::signal(int number) {
  state_->of.time.trace(detail::trace_record::kind::note, "signal", state_->machine.id, number);
  if (!state_->machine.raise(number)) {
    throw std::logic_error("signal " + std::to_string(number) + " would end the programs of host " +
                           name() + ": none of them has asked for it");
  }
}
const std::string& host::name() const noexcept { return state_->machine.name; }
std::size_t host::descriptor_count() const noexcept { return state_->machine.open_count(); }

void fault_guard::lift() noexcept {
  if (rule_ != nullptr) rule_->lifted = true;
  rule_.reset();
}

world::world(std::uint64_t seed, const world_options& options)
    : state_(std::make_unique<detail::world_state>(seed, options)) {}

world::~world() = default;

host& world::add_host(std::string_view name, std::string_view address) {
  return add_host(name, {address});
}

host& world::add_host(std::string_view name, std::initializer_list<std::string_view> addresses) {
  const auto number = static_cast<std::uint32_t>(state_->hosts.size());
  detail::host_state& made = state_->hosts.emplace_back(*state_, number, std::string(name));
  for (const std::string_view each : addresses) made.handle.add_address(each);
  return made.handle;
}

void world::run_while(const std::function<bool()>& condition) {
  detail::engine& time = state_->time;
  const std::int64_t limit = time.now() + time.options.run_limit.count();
  state_->look_at_all();
  for (;;) {
    if (time.error) std::rethrow_exception(std::exchange(time.error, nullptr));
    if (!condition()) return;
    if (time.step(limit)) continue;
    const bool stuck = time.events.next_deadline() == rill::detail::timer_node::never;
    const std::string seed = " (seed " + std::to_string(time.seed) + ")\n" + state_->task_tree();
    if (stuck) throw deadlock("deadlock: tasks wait and nothing can ever happen" + seed);
    throw time_limit("programs still run after the longest time allowed" + seed);
  }
}

void world::run() {
  run_while([this] { return !state_->all_ended(); });
}

void world::run(const program& until_ended) {
  run_while([&] { return !until_ended.has_ended(); });
}

void world::run_until(const std::function<bool()>& condition) {
  run_while([&] { return !condition(); });
}

void world::run_for(std::chrono::nanoseconds duration) {
  detail::engine& time = state_->time;
  const std::int64_t until = time.now() + duration.count();
  state_->look_at_all();
  do {
    if (time.error) std::rethrow_exception(std::exchange(time.error, nullptr));
  } while (time.step(until, true));
  time.skip_to(until);
}

std::chrono::nanoseconds world::now() const noexcept {
  return std::chrono::nanoseconds(state_->time.now());
}
std::uint64_t world::seed() const noexcept { return state_->time.seed; }

fault_guard world::partition(const host& a, const host& b) {
  auto made = std::make_shared<detail::partition_rule>(a.state_->machine, b.state_->machine);
  state_->wire.add_rule(made);
  return fault_guard(std::move(made));
}

std::string world::trace() const {
  std::vector<std::string> names;
  for (const detail::host_state& each : state_->hosts) names.push_back(each.machine.name);
  return state_->time.log.text(names);
}
std::uint64_t world::digest() const noexcept { return state_->time.log.digest(); }
std::string world::task_tree() const { return state_->task_tree(); }

}  // namespace rill::sim
