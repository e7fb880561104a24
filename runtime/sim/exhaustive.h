// Every point of a scenario made to fail, in the manner of SQLite's fault tests: each interaction
// with the kernel with each errno that it can give, each moment at which the session can be
// cancelled, each moment at which the peer can vanish, each allocation.
//   void one_echo(sim::trial& run) {
//     sim::host& server = run.world().add_host("server", "10.0.0.1");
//     sim::host& client = run.world().add_host("client", "10.0.0.2");
//     server.run(service);
//     run.run(client.run(session), server);  // under test, against this peer
//     sim::require(answers == questions || !run.succeeded(), "every question is answered");
//   }
//   EXPECT_EQ(sim::every_point("one echo", one_echo).failure, "");
// Each point is a run of its own in a world of its own, from the same seed. Read next: seeds.h.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include <rill/runtime/sim/world.h>

namespace rill::sim {

namespace detail {
struct trial_state;
}

/// One run of a scenario, with or without a disturbance.
class trial {
 public:
  explicit trial(detail::trial_state& state) noexcept : state_(&state) {}
  trial(const trial&) = delete;
  trial& operator=(const trial&) = delete;

  sim::world& world() noexcept;

  /// Lets time pass before the session begins, for services to be ready; errors may strike here.
  void settle(std::chrono::nanoseconds duration);
  /// This program is not cancelled when the session has ended: it has to end by itself.
  void wait_for(program& also);
  /// Whom a program of this scenario waits for may stay away without a word: datagrams are lost, a
  /// client fails before it comes. Whatever struck, a time-out may then be what says so. Otherwise
  /// only a crash may make a program wait in vain.
  void allow_silence() noexcept;
  /// Runs until `session` has ended. Here the point strikes. Afterwards the other programs are
  /// cancelled and run to their end. Interactions of `session`'s host and of `peer` are points; a
  /// name server's are not.
  /// Throws promise_broken when something does not end, when an error that leaves a program does
  /// not say what happened or has no cause (whims are none), or when a descriptor is left open or a
  /// buffer lent.
  void run(program& session, host& peer);
  /// The session's own end has no peer: nothing vanishes.
  void run(program& session);

  /// The session ended by itself and without an exception.
  bool succeeded() const noexcept;
  /// Nothing was made to fail, though the kernel may have had a whim: everything must have worked.
  bool is_undisturbed() const noexcept;

 private:
  void run(program& session, host* peer);
  detail::trial_state* state_;
};

using scenario = std::function<void(trial& run)>;

/// Which points are visited.
struct exhaustive_options {
  std::uint64_t seed = 1;
  bool errors = true;         ///< every interaction, every errno that it can give
  bool whims = true;          ///< every transfer cut short, every multishot ended early, every
                              ///< completion late or in the overflow list: no error may follow
  bool cancellations = true;  ///< every moment, before and after completions were seen
  bool crashes = true;        ///< every moment: the peer is gone, for ever and for an instant
  bool allocations = true;    ///< every allocation, if allocation_fails() is asked
  sim::world_options world{};
};

/// What was visited, and what was found.
struct exhaustive_report {
  std::uint64_t interaction_count = 0;
  std::uint64_t error_count = 0;  ///< runs with an errno
  std::uint64_t whim_count = 0;
  std::uint64_t moment_count = 0;
  std::uint64_t cancel_count = 0;
  std::uint64_t crash_count = 0;
  std::uint64_t allocation_count = 0;
  /// "one echo: 212 interactions, 650 errors ..."
  std::string summary;
  /// Empty, or the first point at which a promise was broken: which, how to repeat it alone, the
  /// timeline, the tasks. RILL_SIM_POINT=... runs that point alone.
  std::string failure;
};

/// Runs the scenario undisturbed, then once for each point, until one fails.
exhaustive_report every_point(const std::string& name, const scenario& body,
                              const exhaustive_options& options = exhaustive_options());

/// To be asked by the program's replacement of operator new: true when this allocation is to fail.
/// False outside the code of simulated programs, so that the simulator itself never starves.
bool allocation_fails() noexcept;

}  // namespace rill::sim
