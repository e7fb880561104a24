// What the runners of seeds and points share with the worlds that run in them.
#pragma once

#include <string>

namespace rill::sim::detail {

/// Of this thread.
struct run_state {
  /// Worlds keep no trace and make no report: the run is one of thousands.
  bool is_silent = false;
  std::string last_failure;
};
run_state& this_run() noexcept;

/// How this program was called.
std::string command_line();

}  // namespace rill::sim::detail
