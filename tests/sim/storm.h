// Bad weather: faults drawn from a seed, as many as a property is to be checked under.
// Read next: properties_test.cpp.
#pragma once

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <vector>

#include <rill/runtime/sim/faults.h>
#include <rill/runtime/sim/random.h>
#include <rill/runtime/sim/seeds.h>
#include <rill/runtime/sim/world.h>

namespace rill::test {

/// What a property is checked under: fewer where each run costs much more.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(NDEBUG)
inline constexpr sim::seed_options many_seeds{.count = 500};
#else
inline constexpr sim::seed_options many_seeds{.count = 10'000};
#endif

class storm {
 public:
  storm(sim::world& world, std::uint64_t seed) : world_(&world), random_(seed, "storm") {}

  /// What a correct program does not notice, but by the time it takes: each kind in one of three
  /// runs.
  void shake_kernels() {
    using namespace std::chrono_literals;
    maybe(sim::failure("recv_multishot", ENOBUFS).sometimes(0.1));
    maybe(sim::failure("recv_multishot", EINTR).sometimes(0.1));
    maybe(sim::failure("accept_multishot", ECONNABORTED).sometimes(0.1));
    maybe(sim::failure("enter", EAGAIN).sometimes(0.1));
    maybe(sim::failure("enter", EBUSY).sometimes(0.1));
    maybe(sim::failure("cancel", ENOENT).sometimes(0.3));
    maybe(sim::short_transfers().sometimes(0.3));
    maybe(sim::early_end().sometimes(0.3));
    maybe(sim::late_completions(500us).sometimes(0.2));
    maybe(sim::disordered_completions().sometimes(0.3));
    maybe(sim::slow_submission().sometimes(0.3));
    maybe(sim::completion_overflow().sometimes(0.1));
  }
  /// What TCP hides as long as it lasts, and UDP does not.
  void shake_network() {
    using namespace std::chrono_literals;
    maybe(sim::loss(0.05));
    maybe(sim::latency(0ms, 20ms));
    maybe(sim::bandwidth(1'000'000));
    maybe(sim::duplication(0.1));
    maybe(sim::reordering(0.1));
  }
  /// What sends without a copy must bear.
  void shake_lending() {
    using namespace std::chrono_literals;
    maybe(sim::late_notifications(50ms).sometimes(0.5));
    maybe(sim::failure("send_zc", ENOBUFS).sometimes(0.2));
    maybe(sim::failure("send_zc", ENOMEM).sometimes(0.2));
    maybe(sim::failure("send_zc", EOPNOTSUPP).sometimes(0.02));
    maybe(sim::failure("send_zc", ECONNRESET).sometimes(0.02));
  }
  /// What ends connections.
  void break_connections() {
    maybe(sim::reset_after(random_.below(20'000)));
    maybe(sim::failure("send", ECONNRESET).sometimes(0.01));
    maybe(sim::failure("recv_multishot", ETIMEDOUT).sometimes(0.01));
    maybe(sim::failure("socket", EMFILE).sometimes(0.05));
  }
  /// What a disk may do.
  void shake_disk(const sim::host& of) {
    using namespace std::chrono_literals;
    maybe(sim::slow_disk(0ms, 20ms).on(of));
    maybe(sim::full_disk().on(of).sometimes(0.2));
  }

  /// At most `most`, from the seed.
  std::uint64_t draw(std::uint64_t most) { return random_.below(most + 1); }
  std::chrono::microseconds moment(std::chrono::microseconds most) {
    return std::chrono::microseconds(draw(static_cast<std::uint64_t>(most.count())));
  }

 private:
  void maybe(const sim::fault& chosen) {
    constexpr std::uint64_t one_in = 3;
    if (random_.below(one_in) == 0) guards_.push_back(world_->inject(chosen));
  }

  sim::world* world_;
  sim::random_source random_;
  std::vector<sim::fault_guard> guards_;
};

}  // namespace rill::test
