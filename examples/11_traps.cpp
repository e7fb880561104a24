// The traps of coroutines, each with the form that is right. The wrong ones stand in comments, for
// most compile without a word; tests/idioms/README.md lists them all.
//
//   build/release/bin/11_traps
//     a capture that lives: lasting
//     an argument that lives: moved in
//     a body that captures by reference: 2 results
//     bytes that live as long as the write: 5
//     one after the other: 2 held at once at most 1
#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <rill/net/memory_stream.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/run.h>
#include <rill/runtime/semaphore.h>
#include <rill/runtime/sleep.h>

namespace {

// 1. A lambda that is a coroutine does not copy its captures into the frame: they stay in the
// lambda object, and die with it.
//   auto made = [text]() -> rill::task<> { co_await rill::yield(); use(text); }();   // dangling
rill::task<> captures() {
  const std::string text = "lasting";
  const auto function =
      [&text]() -> rill::task<> {  // has a name, so it lives until the brace below
    co_await rill::yield();
    std::printf("a capture that lives: %s\n", text.c_str());
  };
  co_await function();
}

// 2. start() moves the function and its arguments to where they live as long as the task.
// References in parameters are only references; what the task is to own it takes by value.
rill::task<> print(std::unique_ptr<std::string> text) {
  co_await rill::yield();
  std::printf("an argument that lives: %s\n", text->c_str());
}

rill::task<> arguments() {
  co_await rill::with_nursery([&](rill::nursery& tasks) -> rill::task<> {
    tasks.start(print, std::make_unique<std::string>("moved in"));
    co_return;  // the body may end before its children: they must not refer to its locals
  });
}

// 3. The body of a nursery captures by reference. By value it would be destroyed twice by g++ 12,
// so with_nursery refuses such a temporary.
rill::task<> bodies() {
  std::vector<int> results;
  co_await rill::with_nursery([&](rill::nursery& tasks) -> rill::task<> {
    for (int i = 0; i < 2; ++i) {
      tasks.start([&results, i]() -> rill::task<> {  // here values are right: start() keeps them
        co_await rill::yield();
        results.push_back(i);
      });
    }
    co_return;
  });
  std::printf("a body that captures by reference: %zu results\n", results.size());
}

// 4. An operation refers to its bytes. In one expression a temporary lives until the end of the
// await; kept for later it does not.
//   auto sending = stream.write_all(std::string("bytes"));   // the string is gone at the semicolon
//   co_await std::move(sending);
rill::task<> temporaries() {
  auto [left, right] = rill::memory_stream_pair();
  co_await left.write_all(std::string("bytes"));
  std::string got(5, ' ');
  const std::size_t size = co_await right.read(rill::mutable_buffer(got));
  std::printf("bytes that live as long as the write: %zu\n", size);
}

// 5. A guard needs a name.
//   co_await one.lock();   // given back at once
rill::task<> guards() {
  rill::mutex one;
  int count = 0;
  int held = 0;
  int most = 0;
  const auto work = [&]() -> rill::task<> {
    const auto guard = co_await one.lock();
    most = std::max(most, ++held);
    co_await rill::yield();
    --held;
    ++count;
  };
  co_await rill::with_nursery([&](rill::nursery& tasks) -> rill::task<> {
    tasks.start(work);
    tasks.start(work);
    co_return;
  });
  std::printf("one after the other: %d held at once at most %d\n", count, most);
}

// 6. What g++ 12 breaks: await into a variable first.
//   while (more && co_await next())       awaits whatever `more` says
//   switch (co_await kind())              takes the wrong branch
//   text = ready ? co_await f() : "";     destroyed twice
rill::task<> traps() {
  co_await captures();
  co_await arguments();
  co_await bodies();
  co_await temporaries();
  co_await guards();
}

}  // namespace

int main() { return rill::run(traps); }
