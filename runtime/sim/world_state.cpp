// Turns, crashes, the end of a world. See world_state.h.
#include <rill/runtime/sim/world_state.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <stdexcept>
#include <utility>

#include <rill/runtime/sim/report.h>

namespace rill::sim::detail {

// ---------------------------------------------------------------- programs

program_state::program_state(world_state& of, node& on, std::uint32_t number, bool background)
    : world_(&of),
      engine_(&of.time),
      node_(&on),
      number_(number),
      turn_(*this),
      background_(background) {}

program_state::~program_state() {
  engine_->events.remove(turn_);
  own_loop_.reset();
}

std::unique_ptr<sim_kernel> program_state::make_kernel() {
  auto made = std::make_unique<sim_kernel>(*engine_, *node_, number_, this);
  kernel_ = made.get();
  return made;
}

void program_state::start(task<> main) {
  own_loop_ = std::make_unique<loop>(make_kernel(), engine_->options.loop);
  loop_ = own_loop_.get();
  loop_->start(std::move(main));
  begun_ = true;
  count_start();
  schedule(engine_->now());
}

std::unique_ptr<rill::kernel> program_state::make_sibling() {
  return world_->add(*node_, background_).make_kernel();
}

void program_state::start(loop_thread& started) {
  thread_ = &started;
  loop_ = &started.owner_loop();
  count_start();
  random_source random(engine_->seed, "thread", number_);
  schedule(engine_->now() + engine_->draw(random, engine_->options.wake_latency));
}

void program_state::needs_turn() noexcept {
  if (is_running() && !in_turn_) schedule(engine_->now());
}

void program_state::schedule(std::int64_t time) noexcept {
  if (ended_) return;
  time = std::max(time, busy_until_);
  if (turn_.deadline() > time) engine_->events.arm(turn_, time);
}

void program_state::look() noexcept {
  if (!is_running() || in_turn_) return;
  if (loop_->has_ready() || kernel_->has_work() || paused_) schedule(engine_->now());
}

std::string program_state::task_tree() {
  // Operations ask for the names of their sockets: no part of the run.
  const bool before = std::exchange(engine_->is_observed, true);
  std::string text = loop_->task_tree();
  engine_->is_observed = before;
  return text;
}

void program_state::cancel() noexcept {
  loop_->cancel();
  look();
}

void program_state::count_start() noexcept {
  ++world_->living_count;
  if (!background_) ++world_->running_count;
}

void program_state::count_end() noexcept {
  ended_ = true;
  --world_->living_count;
  if (!background_) --world_->running_count;
}

bool program_state::turn_loop() {
  begun_ = true;
  return thread_ != nullptr ? thread_->turn() : loop_->turn();
}

void program_state::take_turn() noexcept {
  paused_ = !engine_->faults.empty() && engine_->faults.holds(fault_kind::pause, node_->id);
  if (paused_) return;  // look() is called when the pause is over
  in_turn_ = in_program() = true;
  const bool more = turn_loop();
  in_turn_ = in_program() = false;
  busy_until_ = engine_->now() + std::max<std::int64_t>(
                                     1, engine_->draw(engine_->turns, engine_->options.turn_time));
  if (!more) {
    count_end();
    engine_->trace(trace_record::kind::note, "a program has ended, still running:", node_->id,
                   static_cast<std::int64_t>(world_->running_count));
    if (thread_ == nullptr) finish();
  } else if (is_runnable()) {
    schedule(engine_->now());
  } else {
    loop_->doze();
    const std::int64_t deadline = loop_->next_deadline();
    if (deadline != rill::detail::timer_node::never) schedule(deadline);
  }
  world_->look_at_all();  // it may have made a task of another loop ready, or ended a pause
}

void program_state::finish() noexcept {
  try {
    loop_->finish();
  } catch (...) {
    // What a task of a crashed machine had to say reaches nobody.
    if (!node_->is_down()) engine_->fail(std::current_exception());
  }
}

// ---------------------------------------------------------------- the world

host_state::host_state(world_state& world, std::uint32_t number, std::string name)
    : of(world),
      machine(world.time, world.wire, number, std::move(name)),
      handle(*this),
      crash_timer(world.time.events, *this, &host_state::crash_now) {}

world_state::world_state(std::uint64_t seed, const world_options& options)
    : time(seed, options), wire(time), exceptions_before(std::uncaught_exceptions()) {}

world_state::~world_state() {
  if (std::uncaught_exceptions() > exceptions_before) report("an exception unwound the world");
  wind_up();
  wire.stop();
  programs.clear();
  hosts.clear();
}

program& world_state::start(host_state& on, task<> main, bool background) {
  if (on.machine.is_down()) throw std::logic_error("host " + on.machine.name + " is down");
  program_state& made = add(on.machine, background);
  made.start(std::move(main));
  return handles.emplace_back(made);
}

program_state& world_state::add(node& on, bool background) {
  const auto number = static_cast<std::uint32_t>(programs.size());
  return *programs.emplace_back(std::make_unique<program_state>(*this, on, number, background));
}

void world_state::cancel_programs() noexcept {
  for (const std::unique_ptr<program_state>& each : programs) {
    // Its group cancels the other loops of a program.
    if (each->is_running() && !each->is_of_group()) each->cancel();
  }
}

void world_state::wind_up() noexcept {
  time.faults.lift_all();
  look_at_all();
  const std::int64_t limit =
      rill::detail::deadline_after(time.now(), time.options.run_limit.count());
  const std::uint64_t step_limit = time.step_count + time.options.step_max;
  cancel_programs();
  // Jobs in the background end too, even if nobody waits for them any more.
  while ((living_count != 0 || time.offload_count != 0) && time.step_count < step_limit &&
         time.step(limit)) {
  }
}

void world_state::rethrow() {
  if (!time.error) return;
  try {
    std::rethrow_exception(std::exchange(time.error, nullptr));
  } catch (const std::exception& error) {
    report(error.what());
    throw;
  }
}

std::vector<std::string> world_state::host_names() const {
  std::vector<std::string> names;
  names.reserve(hosts.size());
  for (const host_state& each : hosts) names.push_back(each.machine.name);
  return names;
}

void world_state::report(const std::string& what) {
  if (time.is_silent || std::exchange(is_reported, true)) return;
  constexpr std::size_t line_max = 200;
  this_run().last_failure = "world of seed " + std::to_string(time.seed) + ": " + what +
                            "\nTimeline, the latest events:\n" +
                            time.log.timeline(host_names(), line_max) + "Tasks:\n" + task_tree();
}

std::string world_state::task_tree() {
  std::string text;
  for (const host_state& each : hosts) {
    for (const std::unique_ptr<program_state>& running : programs) {
      if (&running->on() != &each.machine || !running->is_running()) continue;
      text += "host " + each.machine.name + ": " + running->task_tree();
    }
  }
  return text;
}

// ---------------------------------------------------------------- names

void world_state::tell_name_server(host_state& client) {
  client.handle.write_file("/etc/resolv.conf", "nameserver " + name_server_address + "\n");
}

const std::vector<address>* world_state::addresses_of(std::string_view name) const {
  const auto found = std::find_if(hosts.begin(), hosts.end(), [&](const host_state& each) {
    const std::string& known = each.machine.name;
    return std::equal(known.begin(), known.end(), name.begin(), name.end(), [](char a, char b) {
      return (a >= 'A' && a <= 'Z' ? static_cast<char>(a + ('a' - 'A')) : a) == b;
    });
  });
  return found == hosts.end() ? nullptr : &found->machine.addresses();
}

// ---------------------------------------------------------------- crashes

void program_state::detach() {
  if (kernel_ == nullptr) return;
  if (ended_) {
    kernel_->forget_ring();
    return;
  }
  engine_->events.remove(turn_);
  kernel_->detach();
  if (loop_ == nullptr) return;  // of a group that does not run yet
  loop_->cancel();
  loop_->stop_now();
}

void program_state::take_last_turn() {
  if (turn_loop()) return;
  count_end();
  if (thread_ == nullptr) finish();
}

bool program_state::wind_down() {
  bool any = false;
  while (!ended_ && is_runnable()) {
    any = true;
    take_last_turn();
  }
  return any;
}

void host_state::crash() {
  const bool in_turn = std::any_of(of.programs.begin(), of.programs.end(), [&](const auto& each) {
    return &each->on() == &machine && each->is_in_turn();
  });
  if (in_turn) {
    crash_timer.arm(of.time.now());
  } else {
    crash_now();
  }
}

void host_state::crash_now() {
  if (machine.is_down()) return;
  of.time.trace(trace_record::kind::note, "crashed, programs that ran:", machine.id,
                std::count_if(of.programs.begin(), of.programs.end(), [&](const auto& each) {
                  return &each->on() == &machine && each->is_running();
                }));
  machine.go_down();
  of.time.lossy = true;  // its peers hear nothing more, though no packet need ever be lost
  for (const std::unique_ptr<program_state>& each : of.programs) {
    if (&each->on() == &machine) each->detach();
  }
  machine.lose_everything();
  of.wind_down(machine);
}

void world_state::wind_down(const node& crashed) {
  std::vector<program_state*> left;
  for (const std::unique_ptr<program_state>& each : programs) {
    if (&each->on() == &crashed && each->is_running()) left.push_back(each.get());
  }
  // Each round something must happen: tasks run, then timers expire, then what never ends is ended.
  constexpr int round_max = 10'000;
  for (int round = 0; round < round_max; ++round) {
    bool any = false;
    for (program_state* each : left) any = each->wind_down() || any;
    std::erase_if(left, [](const program_state* each) { return each->has_ended(); });
    if (left.empty()) return;
    if (any) continue;
    std::int64_t next = rill::detail::timer_node::never;
    for (program_state* each : left) next = std::min(next, each->runner().next_deadline());
    const bool has_timer = next != rill::detail::timer_node::never;
    for (program_state* each : left) {
      if (has_timer) {
        each->kernel().skip_to(next);
        each->take_last_turn();
        any = true;
      }
      // In every second round: a source of signals, say, begins anew each time.
      if (each->has_ended()) continue;
      if (!has_timer || round % 2 != 0) any = each->kernel().end_everything() || any;
    }
    if (!any) break;
  }
  std::fprintf(stderr, "tasks of the crashed host %s cannot be destroyed:\n%s",
               crashed.name.c_str(), task_tree().c_str());
  std::abort();
}

}  // namespace rill::sim::detail
