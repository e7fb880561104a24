// One seed after the other, and the report. See seeds.h.
#include <rill/runtime/sim/seeds.h>

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <string>
#include <system_error>
#include <utility>

#include <rill/runtime/sim/report.h>

namespace rill::sim {
namespace {

std::uint64_t number_in(const char* variable, std::uint64_t otherwise) {
  const char* const text = std::getenv(variable);
  if (text == nullptr) return otherwise;
  const std::string_view digits(text);
  std::uint64_t number = 0;
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (parsed.ec == std::errc() && parsed.ptr == digits.data() + digits.size()) return number;
  throw std::invalid_argument(std::string(variable) + "=" + text + " is no number");
}

/// What the body threw, as text; nothing if it did not.
std::string outcome_of(const std::function<void(std::uint64_t)>& body, std::uint64_t seed) {
  try {
    body(seed);
    return {};
  } catch (const std::exception& error) {
    const std::string text = error.what();
    return text.empty() ? "an exception without words" : text;
  } catch (...) {
    return "an exception of an unknown type";
  }
}

}  // namespace

namespace detail {

run_state& this_run() noexcept {
  thread_local run_state state;
  return state;
}

std::string command_line() {
  // The arguments of this program, as the shell takes them.
  std::ifstream file("/proc/self/cmdline");
  std::string text;
  std::string argument;
  while (std::getline(file, argument, '\0')) {
    if (!text.empty()) text += ' ';
    const bool plain = argument.find_first_of(" *?'\"$&;()<>|") == argument.npos;
    text += plain ? argument : '\'' + argument + '\'';
  }
  return text;
}

}  // namespace detail

void require(bool holds, std::string_view promise) {
  if (!holds) throw promise_broken("not kept: " + std::string(promise));
}

std::string run_seeds(const seed_options& options,
                      const std::function<void(std::uint64_t seed)>& body) {
  const std::uint64_t only = number_in("RILL_SIM_SEED", UINT64_MAX);
  const std::uint64_t first = only != UINT64_MAX ? only : options.first;
  const std::uint64_t count = only != UINT64_MAX ? 1 : number_in("RILL_SIM_SEEDS", options.count);
  detail::run_state& run = detail::this_run();
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t seed = first + i;
    run.is_silent = true;
    std::string outcome = outcome_of(body, seed);
    run.is_silent = false;
    if (outcome.empty()) continue;
    run.last_failure.clear();
    std::string again = outcome_of(body, seed);
    std::string report = "seed " + std::to_string(seed) + " failed: " + outcome + '\n';
    if (again.empty()) {
      report += "It did not fail a second time: the run depends on more than the seed.\n";
    }
    report += "To repeat it:  RILL_SIM_SEED=" + std::to_string(seed) + ' ' +
              detail::command_line() + '\n';
    return report + run.last_failure;
  }
  return {};
}

const std::string& last_failure() noexcept { return detail::this_run().last_failure; }

}  // namespace rill::sim
