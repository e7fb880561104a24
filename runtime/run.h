// run: the first and last line of a program.
//   int main() { return rill::run(echo_service); }
// Makes a loop, runs a task on it, turns its end into an exit code, and gives SIGINT, SIGTERM and
// SIGUSR1 their meaning. Not here: several threads (loop_group.h, from within the task).
// Read next: loop.h.
#pragma once

#include <concepts>
#include <functional>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include <rill/runtime/loop.h>
#include <rill/runtime/task.h>

namespace rill {

/// What a program runs on.
struct run_options {
  /// "uring", "epoll", or "auto": what the environment variable RILL_KERNEL names, else the best
  /// that works here, with a line on stderr if that is not io_uring. See make_kernel().
  std::string_view kernel = "auto";
  loop_options loop{};
  /// Off: SIGINT, SIGTERM, SIGUSR1 and SIGPIPE are left as they are, for programs that have their
  /// own ways with them.
  bool handle_signals = true;
};
static_assert(std::is_trivially_destructible_v<run_options>);

namespace detail {

/// The task that run() is to run, whatever its type.
class main_function {
 public:
  virtual task<void> begin(int& exit_code) = 0;

 protected:
  ~main_function() = default;
};

int run_main(const run_options& options, main_function& main);

template <class T>
inline constexpr bool is_main_task = false;
template <>
inline constexpr bool is_main_task<task<void>> = true;
template <>
inline constexpr bool is_main_task<task<int>> = true;

inline task<void> keep_exit_code(task<void> main, int&) { return main; }
inline task<void> keep_exit_code(task<int> main, int& exit_code) {
  exit_code = co_await std::move(main);
}

template <class Function, class... Arguments>
class main_function_of final : public main_function {
 public:
  template <class F, class... A>
  explicit main_function_of(F&& function, A&&... arguments)
      : function_(std::forward<F>(function)), arguments_(std::forward<A>(arguments)...) {}

  task<void> begin(int& exit_code) override {
    auto main = std::apply(
        [&](auto&&... each) {
          return std::invoke(function_, std::forward<decltype(each)>(each)...);
        },
        std::move(arguments_));
    static_assert(is_main_task<decltype(main)>,
                  "run() takes a function that returns task<> or "
                  "task<int>");
    return keep_exit_code(std::move(main), exit_code);
  }

 private:
  Function function_;
  std::tuple<Arguments...> arguments_;
};

}  // namespace detail

/// Runs `function(arguments...)`, which returns task<> or task<int>, and everything it starts, on
/// the calling thread. Callable and arguments are moved into storage that lives until the end;
/// arguments reach the function as rvalues, std::ref passes a reference.
///
/// Returns what main() is to return: the int of a task<int>, else 0. An exception that leaves the
///   task, or a kernel that cannot be used, is written to stderr as one line, `PROGRAM: what()`,
///   and gives 1.
/// Signals (unless handle_signals is off): the first SIGINT or SIGTERM is loop::stop(): it cancels
///   the task, which drains what drains, and the program ends with 0. The second is
///   loop::stop_now(): draining ends too, and calls of run_blocking are no longer waited for. An
///   object that outlives the task, such as a global stream, is named on stderr after a second, and
///   then the first signal ends the program. SIGUSR1 writes the live task tree of all loops of the
///   process to stderr; a loop that does not answer within a second is called busy. SIGPIPE is
///   ignored. When run() returns, the thread's signal mask and SIGPIPE are as they were; one of
///   the three that comes in that moment is dropped.
/// REQUIRES: no other threads of yours leave SIGINT, SIGTERM or SIGUSR1 open; start them from
///   within the task, whose thread blocks the three, or block them yourself.
/// Example: examples/echo_server.cpp.
template <class Function, class... Arguments>
[[nodiscard]] int run(const run_options& options, Function&& function, Arguments&&... arguments) {
  detail::main_function_of<std::decay_t<Function>, std::unwrap_ref_decay_t<Arguments>...> main(
      std::forward<Function>(function), std::forward<Arguments>(arguments)...);
  return detail::run_main(options, main);
}

template <class Function, class... Arguments>
  requires(!std::same_as<std::remove_cvref_t<Function>, run_options>)
[[nodiscard]] int run(Function&& function, Arguments&&... arguments) {
  return run(run_options{}, std::forward<Function>(function),
             std::forward<Arguments>(arguments)...);
}

}  // namespace rill
