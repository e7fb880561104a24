// Helpers for tests that run tasks: a fresh loop for each, and a record of what happened.
// Not for timing: a test waits for what it has made happen, never for a while.
#pragma once

#include <chrono>
#include <concepts>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <rill/runtime/kernel.h>
#include <rill/runtime/loop.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/task.h>

namespace rill::test {

/// Runs a task on a loop of its own over the kernel that RILL_KERNEL names and gives its result.
template <class T>
T run_loop(task<T> main) {
  loop on(make_kernel("auto"));
  return on.run(std::move(main));
}

/// The same for a callable that makes the task, such as a lambda with captures: it lives as long
/// as the task.
template <class Body>
  requires std::invocable<Body&>
auto run_loop(Body&& body) {
  return run_loop(body());
}

/// Lets the others run for some turns of the loop: what is ready, what that makes ready, messages.
inline task<> settle(int turns = 5) {
  for (int i = 0; i < turns; ++i) co_await sleep_for(std::chrono::nanoseconds(0));
}

/// What happened, in order.
using record = std::vector<std::string>;

/// Writes into a record when it is destroyed: shows that a frame is gone, and when.
class leaves_note {
 public:
  leaves_note(record& to, std::string text) : to_(&to), text_(std::move(text)) {}
  leaves_note(leaves_note&& other) noexcept
      : to_(std::exchange(other.to_, nullptr)), text_(std::move(other.text_)) {}
  leaves_note& operator=(leaves_note&&) = delete;
  ~leaves_note() {
    if (to_ != nullptr) to_->push_back(text_);
  }

 private:
  record* to_;
  std::string text_;
};

}  // namespace rill::test
