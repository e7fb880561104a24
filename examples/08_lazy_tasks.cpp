// Tasks are lazy, have one owner, and pass control to each other without using up the stack.
//
//   build/release/bin/08_lazy_tasks
//     made
//     added: 3
//     a task that was never awaited has run 0 times
//     a million awaits: 1000000
//     a chain of 100000: 100000
//
// Read next: 09_suspended_read.cpp.
#include <cstdio>

#include <rill/runtime/run.h>
#include <rill/runtime/task.h>

namespace {

rill::task<int> add(int left, int right) {
  std::printf("added: ");
  co_return left + right;
}

rill::task<int> count_runs(int& runs) {
  ++runs;
  co_return runs;
}

rill::task<int> deep(int levels) {
  if (levels == 0) co_return 0;
  const int below = co_await deep(levels - 1);  // each awaits the next: frames, not stack
  co_return below + 1;
}

rill::task<> lazy_tasks() {
  rill::task<int> sum = add(1, 2);  // a frame with 1 and 2 in it; not a line of it has run
  std::printf("made\n");
  const int three = co_await std::move(sum);  // given away: it runs now, and this one waits
  std::printf("%d\n", three);

  int runs = 0;
  {
    const rill::task<int> forgotten = count_runs(runs);  // the compiler warns of one without a name
  }
  std::printf("a task that was never awaited has run %d times\n", runs);

  int total = 0;
  for (int i = 0; i < 1'000'000; ++i) total = co_await count_runs(runs);
  std::printf("a million awaits: %d\n", total);

  const int depth = co_await deep(100'000);
  std::printf("a chain of 100000: %d\n", depth);
}

}  // namespace

int main() { return rill::run(lazy_tasks); }
