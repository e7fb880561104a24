// A nursery: tasks that are started in a scope have ended when the scope has ended, and the first
// error cancels the others. No task is ever left behind, no error is lost.
//
//   build/release/bin/02_nursery
//     worker 1 begins
//     worker 2 begins
//     the third task fails
//     worker 1 cleans up
//     worker 2 cleans up
//     caught: out of paper
//
// (The workers are cancelled in the order in which they were started.)
// Read next: 03_timeout.cpp.
#include <chrono>
#include <cstdio>
#include <stdexcept>

#include <rill/runtime/nursery.h>
#include <rill/runtime/run.h>
#include <rill/runtime/sleep.h>

using namespace std::chrono_literals;

namespace {

// Clean-up belongs into destructors: a task that is cancelled is destroyed where it waits, and
// catch blocks do not run.
class workplace {
 public:
  explicit workplace(int number) : number_(number) { std::printf("worker %d begins\n", number_); }
  workplace(const workplace&) = delete;
  workplace& operator=(const workplace&) = delete;
  ~workplace() { std::printf("worker %d cleans up\n", number_); }

 private:
  int number_;
};

rill::task<> work(int number) {
  const workplace mine(number);
  co_await rill::sleep_for(1h);
  std::printf("never reached\n");
}

rill::task<> fail() {
  co_await rill::sleep_for(50ms);
  std::printf("the third task fails\n");
  throw std::runtime_error("out of paper");
}

rill::task<> main_task() {
  try {
    co_await rill::with_nursery([&](rill::nursery& tasks) -> rill::task<> {
      // start() keeps the function and its arguments for as long as the task lives.
      tasks.start(work, 1);
      tasks.start(work, 2);
      tasks.start(fail);
      co_return;
    });
  } catch (const std::runtime_error& error) {
    std::printf("caught: %s\n", error.what());
  }
}

}  // namespace

int main() { return rill::run(main_task); }
