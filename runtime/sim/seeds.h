// Many seeds, and what is said about the one that fails.
//   TEST(my_service, keeps_its_promise) {
//     const std::string failure = sim::run_seeds({.count = 1000}, [](std::uint64_t seed) {
//       sim::world world(seed); ...
//       sim::require(answered == asked, "every question was answered");
//     });
//     EXPECT_EQ(failure, "");
//   }
// Seeds run without a trace, which is fast; the first that fails runs once more with one, and its
// report holds the command that repeats it, a timeline of what each host did, and the task tree.
// RILL_SIM_SEED=n runs that seed alone, RILL_SIM_SEEDS=n so many instead of the default.
// Read next: exhaustive.h, for every point instead of many seeds.
#pragma once

#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace rill::sim {

/// What require() throws: a promise that was not kept.
class promise_broken : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

/// For properties: throws promise_broken unless `holds`. In a task too: it leaves the program, and
/// the world rethrows it.
void require(bool holds, std::string_view promise);

/// Which seeds are run.
struct seed_options {
  std::uint64_t first = 1;
  std::uint64_t count = 100;
};

/// Calls `body(seed)` for one seed after the other until one throws. Empty if none did; otherwise
/// the report.
std::string run_seeds(const seed_options& options,
                      const std::function<void(std::uint64_t seed)>& body);

/// The report about the latest world of this thread that failed: by a deadlock, a time limit, an
/// error that left a program, or an exception that unwound it. Empty if none has.
const std::string& last_failure() noexcept;

}  // namespace rill::sim
