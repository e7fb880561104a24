// What a cancelled task does: nothing. It is destroyed where it waits, innermost frame first.
//
//   build/release/bin/10_cancellation
//     inner begins
//     inner's object is gone
//     outer's object is gone
//     the one that waited goes on: task: Connection timed out
//     shielded: committed
//     went on after the shield: no
//
// Change it: put a try and a catch (...) around the sleep of `inner`. It does not run.
// Read next: 11_traps.cpp.
#include <chrono>
#include <cstdio>

#include <rill/runtime/run.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/timeout.h>

using namespace std::chrono_literals;

namespace {

class noisy {
 public:
  explicit noisy(const char* name) : name_(name) {}
  noisy(const noisy&) = delete;
  noisy& operator=(const noisy&) = delete;
  ~noisy() { std::printf("%s's object is gone\n", name_); }

 private:
  const char* name_;
};

rill::task<> inner() {
  const noisy mine("inner");
  std::printf("inner begins\n");
  co_await rill::sleep_for(1h);  // withdrawn; then this frame is destroyed
  std::printf("never reached\n");
}

rill::task<> outer() {
  const noisy mine("outer");
  co_await inner();  // then this one
  std::printf("never reached\n");
}

rill::task<> commit() {
  co_await rill::sleep_for(100ms);
  std::printf("shielded: committed\n");
}

rill::task<> commit_and_go_on(bool& went_on) {
  co_await rill::shielded(commit());  // is not cut, although the time is over after 50 ms
  co_await rill::yield();             // the cancellation takes effect here
  went_on = true;
}

rill::task<> cancellation() {
  try {
    co_await rill::with_timeout(50ms, outer());
  } catch (const rill::timeout_error& error) {
    std::printf("the one that waited goes on: %s\n", error.what());
  }

  bool went_on = false;
  try {
    co_await rill::with_timeout(50ms, commit_and_go_on(went_on));
  } catch (const rill::timeout_error&) {
  }
  std::printf("went on after the shield: %s\n", went_on ? "yes" : "no");
}

}  // namespace

int main() { return rill::run(cancellation); }
