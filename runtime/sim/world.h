// A simulated world: hosts on a network, each running loops of unchanged rill code, all on one
// thread, in virtual time, from a seed.
//   sim::world world(seed);
//   sim::host& server = world.add_host("server", "10.0.0.1");
//   sim::host& client = world.add_host("client", "10.0.0.2");
//   server.run(echo_service);
//   sim::program& test = client.run(talk_to, "10.0.0.1");
//   world.run(test);
// The same seed gives the same run, event by event, whatever the compiler or build type.
// Read next: README.md in this folder, then options.h.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include <rill/runtime/sim/faults.h>
#include <rill/runtime/sim/options.h>
#include <rill/runtime/task.h>

namespace rill::sim {

namespace detail {
class host_state;
class program_state;
class world_state;
struct active_fault;
struct trial_access;

/// The outermost coroutine of a program: it owns the callable and the arguments.
template <class Function, class... Arguments>
task<> call_with(Function function, Arguments... arguments) {
  co_await std::invoke(function, std::forward<Arguments>(arguments)...);
}
}  // namespace detail

/// Nothing can ever happen again, yet tasks wait. what() holds the task tree of every host.
class deadlock : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// world_options::run_limit or step_max has passed and programs still run. what() holds the task
/// trees.
class time_limit : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// One loop on a host with its outermost task; loop_groups add more. Lives as long as the world.
class program {
 public:
  explicit program(detail::program_state& state) noexcept : state_(&state) {}
  program(const program&) = delete;
  program& operator=(const program&) = delete;

  /// Its task has ended and everything it opened is closed, or its host has crashed.
  bool has_ended() const noexcept;
  /// Asks its task to be cancelled, as loop::cancel does; takes effect as the world goes on.
  void cancel() noexcept;
  std::string task_tree() const;
  rill::loop_statistics statistics() const noexcept;

 private:
  friend class trial;
  friend class world;
  detail::program_state* state_;
};

/// A machine: addresses, ports, descriptors, and one or more programs, which share them as the
/// threads of one process do. 127.0.0.1 and ::1 mean the host itself. Lives as long as the world.
class host {
 public:
  explicit host(detail::host_state& state) noexcept : state_(&state) {}
  host(const host&) = delete;
  host& operator=(const host&) = delete;

  /// Starts `function(arguments...)`, which must return task<>, as a program of its own. Callable
  /// and arguments are moved into storage that lives as long as the task; pass std::ref for what
  /// outlives it. It runs as the world goes on, not yet in this call.
  template <class Function, class... Arguments>
  program& run(Function&& function, Arguments&&... arguments) {
    return start(detail::call_with<std::decay_t<Function>, std::unwrap_ref_decay_t<Arguments>...>(
        std::forward<Function>(function), std::forward<Arguments>(arguments)...));
  }
  program& start(task<> main);

  /// Another address, IPv4 or IPv6. Throws std::invalid_argument if it is taken or none.
  void add_address(std::string_view address);
  /// Sends a signal to the programs of this host. Throws std::logic_error if none of them has asked
  /// for it (rill::signals): the process would end.
  void signal(int number);

  /// Stops everything at once, as if the power had failed. The programs are gone: their frames are
  /// destroyed and destructors run, but nothing that they or a shielded task do there reaches the
  /// world. Connections end without a word to their peers, files lose what was not synced, and
  /// packets for this host are lost. Called by a task of this very host it takes effect as soon as
  /// that task waits.
  void crash();
  /// The host is there again, without programs: start them with run(). Peers that still send to
  /// connections from before are reset. REQUIRES: it has crashed.
  void restart();
  bool is_down() const noexcept;

  /// Makes a file, or replaces it, with its directories; synced at once. Paths as on Linux.
  void write_file(std::string_view path, std::string_view text);
  /// What a program would read now. Throws std::invalid_argument if there is no such file.
  std::string read_file(std::string_view path) const;
  bool has_file(std::string_view path) const;
  /// Throws std::invalid_argument if there is no such file.
  void remove_file(std::string_view path);
  void rename_file(std::string_view from, std::string_view to);

  const std::string& name() const noexcept;
  /// 0 for the host that was added first, and so on.
  std::uint32_t number() const noexcept;
  /// Descriptors that are open now, those of the programs' rings included.
  std::size_t descriptor_count() const noexcept;

 private:
  friend class world;
  detail::host_state* state_;
};

/// Lifts a fault when it is destroyed. May outlive the world.
class [[nodiscard("the fault ends with this object")]] fault_guard {
 public:
  explicit fault_guard(std::shared_ptr<detail::active_fault> imposed) noexcept
      : fault_(std::move(imposed)) {}
  fault_guard(fault_guard&& other) noexcept : fault_(std::move(other.fault_)) {}
  fault_guard& operator=(fault_guard&& other) noexcept {
    if (this != &other) {
      lift();
      fault_ = std::move(other.fault_);
    }
    return *this;
  }
  ~fault_guard() { lift(); }
  void lift() noexcept;
  /// How often the fault has met what it looks for, whether it hit or not.
  std::uint64_t match_count() const noexcept;

 private:
  std::shared_ptr<detail::active_fault> fault_;
};

/// Destroying a world with programs that still run lifts all faults, cancels their tasks and lets
/// the world go on until they have ended, at most for world_options::run_limit. A task that does
/// not end even then (a shielded one that waits for ever) is a leak: its tree is printed and the
/// program aborts. What tasks refer to must therefore outlive the world: declare it before.
class world {
 public:
  explicit world(std::uint64_t seed, const world_options& options = world_options());
  world(const world&) = delete;
  world& operator=(const world&) = delete;
  ~world();

  /// `name` stands in traces; `address` is IPv4 or IPv6 text. Throws std::invalid_argument.
  host& add_host(std::string_view name, std::string_view address);
  host& add_host(std::string_view name, std::initializer_list<std::string_view> addresses);

  /// Runs until every program has ended. Rethrows the first exception that left a program's task,
  /// as soon as it has. Throws deadlock, or time_limit.
  void run();
  /// Runs until this one has ended; the others stay where they are.
  void run(const program& until_ended);
  /// Runs until the condition holds, which is looked at after every event.
  void run_until(const std::function<bool()>& condition);
  /// Lets this much virtual time pass, even if there is nothing to do. Rethrows as run() does.
  void run_for(std::chrono::nanoseconds duration);

  /// Sends a signal to the programs of a host.
  void signal(host& to, int number) { to.signal(number); }

  /// Virtual time since the world began.
  std::chrono::nanoseconds now() const noexcept;
  std::uint64_t seed() const noexcept;

  /// Imposes a fault (faults.h) as long as the guard lives.
  /// Throws std::invalid_argument where the rule's place or time means nothing to the fault.
  fault_guard inject(const fault& imposed);
  /// inject(partition().between(a, b)): TCP sends again after it is lifted, or gives up with
  /// ETIMEDOUT after the time that Linux takes.
  fault_guard partition(const host& a, const host& b) {
    return inject(sim::partition().between(a, b));
  }

  /// Adds a host "names" at this address with a name server, and tells every host, also those that
  /// come later, to ask it (/etc/resolv.conf). It answers, over UDP and TCP, for the hosts of the
  /// world by name and by name.sim, with all their addresses at that moment; what it does not know
  /// does not exist (NXDOMAIN). Once only.
  host& add_name_server(std::string_view address);

  /// What has happened so far, a line per event: "seconds host event". Equal for equal seeds and
  /// programs, byte for byte. The latest world_options::trace_max events.
  std::string trace() const;
  /// A number that changes with every event since the beginning: equal traces, equal digests.
  std::uint64_t digest() const noexcept;
  /// The same for people: a column for each host, without submissions, acknowledgements and
  /// options.
  std::string timeline(std::size_t line_max = 200) const;
  /// The task tree of every program of every host.
  std::string task_tree() const;

 private:
  friend class trial;
  friend struct detail::trial_access;
  void run_while(const std::function<bool()>& condition);
  std::unique_ptr<detail::world_state> state_;
};

}  // namespace rill::sim
