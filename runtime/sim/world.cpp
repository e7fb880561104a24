// Programs take turns, the network delivers, time jumps. See world.h.
#include <rill/runtime/sim/world.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <exception>
#include <vector>

#include <rill/runtime/sim/engine.h>
#include <rill/runtime/sim/kernel.h>
#include <rill/runtime/sim/name_server.h>
#include <rill/runtime/sim/network.h>
#include <rill/runtime/sim/node.h>

namespace rill::sim {
namespace detail {

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
  bool is_in_turn() const noexcept { return in_turn_; }
  void detach();
  /// Lets the tasks be destroyed, without any effect on the world. False: it waits for something.
  bool wind_down();
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
  world_state(std::uint64_t seed, const world_options& options) : time(seed, options), wire(time) {}
  ~world_state();

  program& start(host_state& on, task<> main, bool background = false);
  void look_at_all() noexcept {
    for (const std::unique_ptr<program_state>& each : programs) each->look();
  }
  bool all_ended() const noexcept { return running_count == 0; }
  std::string task_tree();
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
};

// ---------------------------------------------------------------- programs

program_state::program_state(world_state& of, node& on, std::uint32_t number, bool background)
    : world_(&of), engine_(&of.time), node_(&on), turn_(*this), background_(background) {
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
  if (!ended_ && !in_turn_ && (is_runnable() || paused_)) schedule(engine_->now());
}

void program_state::cancel() noexcept {
  loop_->cancel();
  look();
}

void program_state::count_end() noexcept {
  ended_ = true;
  --world_->living_count;
  if (!background_) --world_->running_count;
}

void program_state::take_turn() noexcept {
  paused_ = !engine_->faults.empty() && engine_->faults.holds(fault_kind::pause, node_->id);
  if (paused_) return;  // look() is called when the pause is over
  in_turn_ = in_program() = true;
  const bool more = loop_->turn();
  in_turn_ = in_program() = false;
  busy_until_ = engine_->now() + std::max<std::int64_t>(
                                     1, engine_->draw(engine_->turns, engine_->options.turn_time));
  if (!more) {
    count_end();
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
    : of(world),
      machine(world.time, world.wire, number, std::move(name)),
      handle(*this),
      crash_timer(world.time.events, *this, &host_state::crash_now) {}

world_state::~world_state() {
  wind_up();
  wire.stop();
  programs.clear();
  hosts.clear();
}

program& world_state::start(host_state& on, task<> main, bool background) {
  if (on.machine.is_down()) throw std::logic_error("host " + on.machine.name + " is down");
  programs.push_back(std::make_unique<program_state>(
      *this, on.machine, static_cast<std::uint32_t>(programs.size()), background));
  handles.emplace_back(*programs.back());
  ++living_count;
  if (!background) ++running_count;
  programs.back()->start(std::move(main));
  return handles.back();
}

void world_state::wind_up() noexcept {
  time.faults.lift_all();
  look_at_all();
  const std::int64_t limit = time.now() + time.options.run_limit.count();
  for (const std::unique_ptr<program_state>& each : programs) {
    if (!each->has_ended()) each->cancel();
  }
  // Jobs in the background end too, even if nobody waits for them any more.
  while ((living_count != 0 || time.offload_count != 0) && time.step(limit)) {
  }
}

std::string world_state::task_tree() {
  time.is_observed = true;
  std::string text;
  for (const host_state& each : hosts) {
    for (const std::unique_ptr<program_state>& running : programs) {
      if (&running->on() != &each.machine || running->has_ended()) continue;
      text += "host " + each.machine.name + ": " + running->runner().task_tree();
    }
  }
  time.is_observed = false;
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
  engine_->events.remove(turn_);
  kernel_->detach();
  loop_->cancel();
  loop_->stop_now();
}

bool program_state::wind_down() {
  bool any = false;
  while (!ended_ && is_runnable()) {
    any = true;
    if (loop_->turn()) continue;
    count_end();
    try {
      loop_->finish();
    } catch (...) {
      // What a task of a crashed machine had to say reaches nobody.
    }
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
                  return &each->on() == &machine && !each->has_ended();
                }));
  machine.go_down();
  for (const std::unique_ptr<program_state>& each : of.programs) {
    if (&each->on() == &machine && !each->has_ended()) each->detach();
  }
  machine.lose_everything();
  of.wind_down(machine);
}

void world_state::wind_down(const node& crashed) {
  std::vector<program_state*> left;
  for (const std::unique_ptr<program_state>& each : programs) {
    if (&each->on() == &crashed && !each->has_ended()) left.push_back(each.get());
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
        each->runner().turn();
        any = true;
      }
      // In every second round: a source of signals, say, begins anew each time.
      if (!has_timer || round % 2 != 0) any = each->kernel().end_everything() || any;
    }
    if (!any) break;
  }
  std::fprintf(stderr, "tasks of the crashed host %s cannot be destroyed:\n%s",
               crashed.name.c_str(), task_tree().c_str());
  std::abort();
}

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

void host::crash() { state_->crash(); }
void host::restart() {
  if (!state_->machine.is_down()) throw std::logic_error("host " + name() + " has not crashed");
  state_->of.time.trace(detail::trace_record::kind::note, "restarted", state_->machine.id, 0);
  state_->machine.come_up();
}
bool host::is_down() const noexcept { return state_->machine.is_down(); }
std::uint32_t host::number() const noexcept { return state_->machine.id; }

namespace {

[[noreturn]] void fail_on_disk(const std::string& host, std::string_view path, int status) {
  throw std::invalid_argument("host " + host + ", " + std::string(path) + ": " +
                              std::generic_category().message(-status));
}

}  // namespace

void host::write_file(std::string_view path, std::string_view text) {
  detail::node& on = state_->machine;
  for (std::size_t at = path.find('/', 1); at != path.npos; at = path.find('/', at + 1)) {
    std::shared_ptr<detail::inode> there;
    const std::string_view directory = path.substr(0, at);
    if (on.storage.find(directory, there) < 0) {
      const int status = on.storage.make_directory(directory, 0755, on.wall_now());
      if (status < 0) fail_on_disk(name(), directory, status);
    }
  }
  std::shared_ptr<detail::inode> made;
  const int status = on.storage.write(path, text, on.wall_now(), made);
  if (status < 0) fail_on_disk(name(), path, status);
}

std::string host::read_file(std::string_view path) const {
  std::shared_ptr<detail::inode> found;
  const int status = state_->machine.storage.find(path, found);
  if (status < 0) fail_on_disk(name(), path, status);
  return {reinterpret_cast<const char*>(found->bytes.data()), found->bytes.size()};
}

bool host::has_file(std::string_view path) const {
  std::shared_ptr<detail::inode> found;
  return state_->machine.storage.find(path, found) == 0;
}

void host::remove_file(std::string_view path) {
  const int status = state_->machine.storage.unlink(path, false);
  if (status < 0) fail_on_disk(name(), path, status);
}

void host::rename_file(std::string_view from, std::string_view to) {
  const int status = state_->machine.storage.rename(from, to);
  if (status < 0) fail_on_disk(name(), from, status);
}

void fault_guard::lift() noexcept {
  if (fault_ != nullptr) fault_->lifted = true;
  fault_.reset();
}

std::uint64_t fault_guard::match_count() const noexcept {
  return fault_ == nullptr ? 0 : fault_->match_count;
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
  made.handle.write_file("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n");
  if (!state_->name_server_address.empty()) state_->tell_name_server(made);
  return made.handle;
}

host& world::add_name_server(std::string_view address) {
  if (!state_->name_server_address.empty()) {
    throw std::logic_error("the world has a name server already");
  }
  host& made = add_host("names", address);
  state_->name_server_address = address;
  for (detail::host_state& each : state_->hosts) state_->tell_name_server(each);
  detail::world_state& all = *state_;
  all.start(*made.state_,
            detail::serve_names([&all](std::string_view name) { return all.addresses_of(name); }),
            true);
  return made;
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

fault_guard world::inject(const fault& imposed) {
  return fault_guard(state_->time.faults.add(imposed.rule()));
}

std::string world::trace() const {
  std::vector<std::string> names;
  for (const detail::host_state& each : state_->hosts) names.push_back(each.machine.name);
  return state_->time.log.text(names);
}
std::uint64_t world::digest() const noexcept { return state_->time.log.digest(); }
std::string world::task_tree() const { return state_->task_tree(); }

}  // namespace rill::sim
