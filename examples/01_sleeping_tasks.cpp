// Three tasks sleep at the same time on one thread: the whole takes as long as the longest.
//
//   build/release/bin/01_sleeping_tasks
//     short slept 100 ms
//     middle slept 200 ms
//     long slept 300 ms
//     all of them: 300 ms
//
// Read next: 02_nursery.cpp.
#include <chrono>
#include <cstdio>

#include <rill/runtime/combine.h>
#include <rill/runtime/run.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/timeout.h>

using namespace std::chrono_literals;

namespace {

long long milliseconds_since(rill::loop_clock::time_point start) {
  const auto elapsed = rill::loop_clock::now() - start;
  return std::chrono::duration_cast<std::chrono::milliseconds>(elapsed).count();
}

// A task is a coroutine that returns rill::task<T>. Calling it runs nothing; co_await does.
rill::task<long long> sleep_and_tell(const char* name, std::chrono::milliseconds duration) {
  const auto start = rill::loop_clock::now();
  co_await rill::sleep_for(duration);  // the thread goes on with other tasks
  const long long slept = milliseconds_since(start);
  std::printf("%s slept %lld ms\n", name, slept);
  co_return slept;
}

rill::task<> sleeping_tasks() {
  const auto start = rill::loop_clock::now();
  // all_of runs its tasks beside each other and waits for all of them.
  co_await rill::all_of(sleep_and_tell("long", 300ms), sleep_and_tell("short", 100ms),
                        sleep_and_tell("middle", 200ms));
  std::printf("all of them: %lld ms\n", milliseconds_since(start));
}

}  // namespace

int main() { return rill::run(sleeping_tasks); }
