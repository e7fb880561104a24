// Points, and the runs that visit them. See exhaustive.h.
#include <rill/runtime/sim/exhaustive.h>

#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <iterator>
#include <new>
#include <optional>
#include <sstream>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <rill/runtime/error.h>
#include <rill/runtime/frame_cache.h>
#include <rill/runtime/sim/errnos.h>
#include <rill/runtime/sim/report.h>
#include <rill/runtime/sim/seeds.h>
#include <rill/runtime/sim/world_state.h>

namespace rill::sim {
namespace detail {

/// Where a run is disturbed, and how.
struct point {
  enum class kind : std::uint8_t {
    none,
    error,          ///< interaction `at` ends with `number`
    short_count,    ///< operation `at` transfers less
    cancel,         ///< after `at` events the session is cancelled
    late_cancel,    ///< the same, by a message: after completions were stored
    crash,          ///< after `at` events the peer is gone
    crash_restart,  ///< the same, and is back at once without its programs
    allocation,     ///< allocation `at` finds no memory
    early_end,      ///< multishot completion `at` is the last of its operation
    late,           ///< completion `at` is shown a millisecond late
    overflow        ///< completion `at` finds the queue full
  };

  kind what = kind::none;
  std::uint64_t at = 0;
  int number = 0;
};

struct allocation_state {
  std::uint64_t count = 0;
  std::uint64_t fail_at = 0;
};
allocation_state& allocations() noexcept {
  thread_local allocation_state state;
  return state;
}

struct trial_state {
  explicit trial_state(const exhaustive_options& options, const point& disturbed)
      : strike(disturbed), in(options.seed, options.world) {}

  point strike;
  world in;
  std::vector<interaction> interactions;
  std::vector<std::uint32_t> hosts_under_test;

  std::uint64_t moment_count = 0;
  std::uint64_t allocation_count = 0;
  std::vector<program*> waited_for;
  bool session_succeeded = false;
  bool has_peer = false;
  bool allows_silence = false;
};

/// The kernel does what it may do at any time, which no correct program need notice.
bool is_whim(point::kind what) noexcept {
  return what == point::kind::short_count || what == point::kind::early_end ||
         what == point::kind::late || what == point::kind::overflow;
}
/// Nothing was made to fail.
bool is_peaceful(point::kind what) noexcept { return what == point::kind::none || is_whim(what); }
/// Only who has crashed owes nobody a word: what else fails is told, and nobody waits in vain.
bool is_crash(point::kind what) noexcept {
  return what == point::kind::crash || what == point::kind::crash_restart;
}

/// What the runner needs of a world.
struct trial_access {
  static engine& engine_of(world& of) noexcept { return of.state_->time; }
  static void report(world& of, const std::string& what) { of.state_->report(what); }
};

namespace {

constexpr const char* kind_names[] = {"none",        "error", "short",         "cancel",
                                      "late-cancel", "crash", "crash-restart", "allocation",
                                      "early-end",   "late",  "overflow"};
static_assert(std::size(kind_names) == static_cast<std::size_t>(point::kind::overflow) + 1);
// A run in which so many events happen has lost its way.
constexpr std::uint64_t step_max = 300'000;

std::string text_of(const point& of) {
  std::string text = kind_names[static_cast<std::size_t>(of.what)];
  text += ':' + std::to_string(of.at);
  if (of.number != 0) text += ':' + std::to_string(of.number);
  return text;
}

point parse_point(const std::string& text) {
  std::istringstream in(text);
  std::string name;
  point made;
  char colon = 0;
  std::getline(in, name, ':');
  const auto* const found =
      std::find(std::begin(kind_names), std::end(kind_names), std::string_view(name));
  if (found == std::end(kind_names)) throw std::invalid_argument("RILL_SIM_POINT=" + text);
  made.what = static_cast<point::kind>(found - std::begin(kind_names));
  in >> made.at >> colon >> made.number;
  return made;
}

/// An error that has left a program must be one of the world, and say so.
void check_error(const trial_state& of) {
  try {
    throw;
  } catch (const deadlock& error) {
    throw promise_broken(std::string("a task is stuck: ") + error.what());
  } catch (const time_limit& error) {
    throw promise_broken(std::string("a task does not end: ") + error.what());
  } catch (const promise_broken&) {
    throw;
  } catch (const std::system_error& error) {
    require(!is_peaceful(of.strike.what),
            std::string("where nothing is made to fail, nothing fails; but: ") + error.what());
    require(
        dynamic_cast<const timeout_error*>(&error) == nullptr || is_crash(of.strike.what) ||
            of.allows_silence,
        std::string("nobody waits in vain for a peer that has not crashed; but: ") + error.what());
    // "read 10.0.0.1:80: Connection reset by peer": more than the cause alone.
    const std::string text = error.what();
    require(text.size() > error.code().message().size() + 2 &&
                text.find(error.code().message()) != text.npos,
            "an error says what was being done and why it failed: " + text);
  } catch (const kernel_error& error) {
    require(of.strike.what == point::kind::error,
            std::string("undisturbed, there is a ring for each loop; but: ") + error.what());
  } catch (const std::bad_alloc&) {
    require(of.strike.what == point::kind::allocation,
            "memory is short only where it is made to be");
  } catch (const std::exception& error) {
    throw promise_broken(std::string("an error that is none of the world's: ") + error.what());
  }
}

}  // namespace
}  // namespace detail

using detail::point;

sim::world& trial::world() noexcept { return state_->in; }
bool trial::succeeded() const noexcept { return state_->session_succeeded; }
bool trial::is_undisturbed() const noexcept { return detail::is_peaceful(state_->strike.what); }
void trial::allow_silence() noexcept { state_->allows_silence = true; }
void trial::run(program& session, host& peer) { run(session, &peer); }
void trial::run(program& session) { run(session, nullptr); }

void trial::wait_for(program& also) { state_->waited_for.push_back(&also); }

void trial::settle(std::chrono::nanoseconds duration) {
  const std::chrono::nanoseconds until = world().now() + duration;
  while (world().now() < until) {
    try {
      world().run_for(until - world().now());
    } catch (...) {
      detail::check_error(*state_);
    }
  }
}

void trial::run(program& session, host* peer) {
  detail::trial_state& state = *state_;
  detail::world_state& in = *state.in.state_;
  detail::engine& time = in.time;
  bool failed = false;

  state.hosts_under_test.push_back(session.state_->on().id);
  state.has_peer = peer != nullptr;
  if (peer != nullptr) state.hosts_under_test.push_back(peer->number());
  const std::uint64_t first_step = time.step_count;
  const std::uint64_t strike_step = first_step + state.strike.at;
  const bool takes_peer = detail::is_crash(state.strike.what);
  const bool by_time = state.strike.what == point::kind::cancel ||
                       state.strike.what == point::kind::late_cancel ||
                       (takes_peer && peer != nullptr);
  const auto run_until = [&](const std::function<bool()>& condition) {
    // An error of another program is one thing; the session goes on.
    for (;;) {
      try {
        state.in.run_until([&] {
          require(time.step_count < first_step + detail::step_max, "the run ends some time");
          return condition();
        });
        return;
      } catch (...) {
        detail::check_error(state);
        failed = failed || session.has_ended();
      }
    }
  };

  if (by_time) {
    run_until([&] { return session.has_ended() || time.step_count >= strike_step; });
    if (!session.has_ended()) {
      failed = true;  // whatever it says: it was disturbed
      switch (state.strike.what) {
        case point::kind::cancel:
          session.cancel();
          break;
        case point::kind::late_cancel:
          session.state_->runner().stop();
          session.state_->look();
          break;
        case point::kind::crash_restart:
          peer->crash();
          peer->restart();
          failed = false;
          break;
        default:
          peer->crash();
          failed = false;
          break;
      }
    }
  }
  run_until([&] { return session.has_ended(); });
  state.moment_count = time.step_count - first_step;
  state.session_succeeded = !failed;

  for (program* each : state.waited_for) run_until([&] { return each->has_ended(); });
  in.cancel_programs();
  run_until([&] { return in.living_count == 0; });
  for (const auto& each : in.programs) {
    if (each->is_of_group()) continue;  // gone, and its loop has looked for itself
    const std::uint64_t lent = each->runner().buffers().statistics().lent_count;
    require(lent == 0, "every buffer has come back; host " + each->on().name + " has lent " +
                           std::to_string(lent));
  }
  for (detail::host_state& each : in.hosts) {
    if (each.machine.is_down()) continue;
    const auto rings = static_cast<std::size_t>(
        std::count_if(in.programs.begin(), in.programs.end(), [&](const auto& program) {
          return &program->on() == &each.machine && program->has_ring();
        }));
    require(each.machine.open_count() == rings, "no descriptor is left; host " + each.machine.name +
                                                    " has " +
                                                    std::to_string(each.machine.open_count()) +
                                                    ", its rings are " + std::to_string(rings));
  }
}

namespace {

/// While it lives, a program that aborts or crashes tells at which point.
class crash_note {
 public:
  crash_note(const std::string& scenario, const point& at) {
    const std::string text = "\n" + scenario +
                             " was at this point:  RILL_SIM_POINT=" + detail::text_of(at) + ' ' +
                             detail::command_line() + '\n';
    std::strncpy(text_, text.c_str(), sizeof(text_) - 1);
    for (std::size_t i = 0; i < std::size(numbers); ++i) {
      before_[i] = std::signal(numbers[i], tell);
    }
  }
  crash_note(const crash_note&) = delete;
  crash_note& operator=(const crash_note&) = delete;
  ~crash_note() {
    for (std::size_t i = 0; i < std::size(numbers); ++i) std::signal(numbers[i], before_[i]);
  }

 private:
  static constexpr int numbers[] = {SIGABRT, SIGSEGV};

  static void tell(int number) {
    [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, text_, std::strlen(text_));
    std::signal(number, SIG_DFL);
    std::raise(number);
  }

  static inline char text_[1000];
  void (*before_[std::size(numbers)])(int);
};

std::optional<fault> fault_at(const point& at) {
  switch (at.what) {
    case point::kind::short_count:
      return short_transfers().only(at.at);
    case point::kind::early_end:
      return early_end().only(at.at);
    case point::kind::late:
      return late_completions(std::chrono::milliseconds(1)).only(at.at);
    case point::kind::overflow:
      return completion_overflow().only(at.at);
    default:
      return std::nullopt;
  }
}

/// One run. Returns what went wrong, or nothing.
/// `match_count`: how often the fault of this point could have struck.
std::string visit(const scenario& body, const exhaustive_options& options, const point& at,
                  detail::trial_state* counted, std::uint64_t* match_count = nullptr) {
  trim_frame_cache();  // so that frames are allocated, and every allocation is a point
  const std::uint64_t live_before = frame_statistics().live_count;
  detail::allocation_state& memory = detail::allocations();
  memory = {};
  std::string outcome;
  {
    detail::trial_state state(options, at);
    detail::engine& time = detail::trial_access::engine_of(state.in);
    if (counted != nullptr) time.recorder = &state.interactions;
    if (at.what == point::kind::error) {
      time.fail_at = at.at;
      time.fail_with = at.number;
    }
    fault_guard imposed(nullptr);
    if (const std::optional<fault> chosen = fault_at(at)) imposed = state.in.inject(*chosen);
    memory.fail_at = at.what == point::kind::allocation ? at.at : 0;
    trial run(state);
    try {
      body(run);
    } catch (const std::exception& error) {
      outcome = error.what();
      if (outcome.empty()) outcome = "an exception without words";
      detail::trial_access::report(state.in, outcome);
    }
    memory.fail_at = 0;
    time.recorder = nullptr;  // the end of the world is no part of the run
    time.fail_at = 0;
    if (match_count != nullptr) *match_count = imposed.match_count();
    if (counted != nullptr) {
      counted->interactions = std::move(state.interactions);
      counted->hosts_under_test = state.hosts_under_test;
      counted->has_peer = state.has_peer;
      counted->moment_count = state.moment_count;
      counted->allocation_count = memory.count;
    }
  }
  const std::uint64_t live_after = frame_statistics().live_count;
  if (outcome.empty() && live_after != live_before) {
    outcome = "not kept: every frame and slot is freed; left are " +
              std::to_string(live_after - live_before);
  }
  return outcome;
}

class runner {
 public:
  runner(const std::string& name, const scenario& body, const exhaustive_options& options)
      : body_(&body), options_(options), name_(name), base_(options, point()) {}

  exhaustive_report run() {
    if (const char* const only = std::getenv("RILL_SIM_POINT")) {
      visit_one(detail::parse_point(only), false);
      if (report_.failure.empty()) report_.summary = name_ + ": nothing fails at " + only;
      return report_;
    }
    detail::run_state& state = detail::this_run();
    state.is_silent = true;
    if (const std::string outcome = visit(*body_, options_, point(), &base_); !outcome.empty()) {
      state.is_silent = false;
      visit_one(point(), true);
      return report_;
    }
    report_.interaction_count = base_.interactions.size();
    report_.moment_count = base_.moment_count;
    const bool all = errors() && whims() && moments() && allocations();
    state.is_silent = false;
    if (!all) visit_one(failed_, true);
    summarize();
    return report_;
  }

 private:
  /// False: this point fails.
  bool passes(const point& at, std::uint64_t& count) {
    ++count;
    const crash_note note(name_, at);
    if (visit(*body_, options_, at, nullptr).empty()) return true;
    failed_ = at;
    return false;
  }

  bool is_under_test(const detail::interaction& each) const {
    return std::find(base_.hosts_under_test.begin(), base_.hosts_under_test.end(), each.host) !=
           base_.hosts_under_test.end();
  }

  bool errors() {
    if (!options_.errors) return true;
    for (std::size_t i = 0; i < base_.interactions.size(); ++i) {
      const detail::interaction& each = base_.interactions[i];
      if (!is_under_test(each)) continue;
      for (const int number : detail::possible_errors(each.name)) {
        if (!passes({point::kind::error, i + 1, number}, report_.error_count)) return false;
      }
    }
    return true;
  }

  /// What the kernel may do at any time: once for each chance that it has.
  bool whims() {
    for (const point::kind what : {point::kind::short_count, point::kind::early_end,
                                   point::kind::late, point::kind::overflow}) {
      if (!options_.whims) return true;
      // Counted in a run that it does not disturb: a session that fails early has few.
      std::uint64_t chances = 0;
      const point never{what, UINT64_MAX, 0};
      if (!visit(*body_, options_, never, nullptr, &chances).empty()) {
        failed_ = never;
        return false;
      }
      for (std::uint64_t i = 1; i <= chances; ++i) {
        if (!passes({what, i, 0}, report_.whim_count)) return false;
      }
    }
    return true;
  }

  bool moments() {
    for (std::uint64_t i = 0; i < base_.moment_count; ++i) {
      if (options_.cancellations) {
        if (!passes({point::kind::cancel, i, 0}, report_.cancel_count)) return false;
        if (!passes({point::kind::late_cancel, i, 0}, report_.cancel_count)) return false;
      }
      if (options_.crashes && base_.has_peer) {
        if (!passes({point::kind::crash, i, 0}, report_.crash_count)) return false;
        if (!passes({point::kind::crash_restart, i, 0}, report_.crash_count)) return false;
      }
    }
    return true;
  }

  bool allocations() {
    if (!options_.allocations) return true;
    for (std::uint64_t i = 1; i <= base_.allocation_count; ++i) {
      if (!passes({point::kind::allocation, i, 0}, report_.allocation_count)) return false;
    }
    return true;
  }

  /// With a trace. `has_failed`: once before in this run, so that it must fail again.
  void visit_one(const point& at, bool has_failed) {
    detail::this_run().last_failure.clear();
    const crash_note note(name_, at);
    const std::string outcome = visit(*body_, options_, at, nullptr);
    if (outcome.empty() && !has_failed) return;
    std::string what = detail::text_of(at);
    if (at.what == point::kind::error && at.at <= base_.interactions.size()) {
      const detail::interaction& hit = base_.interactions[at.at - 1];
      what += " (" + std::string(hit.name) + " = " + std::to_string(at.number) + ' ' +
              ::strerrorname_np(at.number) + " on host " + std::to_string(hit.host) + ')';
    }
    report_.failure = name_ + ", point " + what + ": " +
                      (outcome.empty() ? "did not fail a second time" : outcome) +
                      "\nTo repeat it:  RILL_SIM_POINT=" + detail::text_of(at) + ' ' +
                      detail::command_line() + '\n' + detail::this_run().last_failure;
  }

  void summarize() {
    const auto add = [this](std::uint64_t count, const char* what) {
      report_.summary += ", " + std::to_string(count) + what;
    };
    report_.summary = name_ + ": " + std::to_string(report_.interaction_count) + " interactions";
    add(report_.error_count, " errors");
    add(report_.whim_count, " whims");
    add(report_.cancel_count, " cancellations");
    add(report_.crash_count, " lost peers");
    add(report_.allocation_count, " allocations");
  }

  const scenario* body_;
  exhaustive_options options_;
  std::string name_;
  detail::trial_state base_;
  exhaustive_report report_;
  point failed_;
};

}  // namespace

exhaustive_report every_point(const std::string& name, const scenario& body,
                              const exhaustive_options& options) {
  return runner(name, body, options).run();
}

bool allocation_fails() noexcept {
  if (!detail::in_program()) return false;
  detail::allocation_state& memory = detail::allocations();
  return ++memory.count == memory.fail_at;
}

}  // namespace rill::sim
