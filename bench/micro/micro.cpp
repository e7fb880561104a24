// What single operations of the runtime cost. Each benchmark runs inside one task of one loop, so
// that nothing but the operation is counted; figures are per operation.
// Not here: whole servers (bench/echo).
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <thread>

#include <benchmark/benchmark.h>

#include <rill/runtime/channel.h>
#include <rill/runtime/event.h>
#include <rill/runtime/kernel.h>
#include <rill/runtime/loop.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/task.h>
#include <rill/runtime/timeout.h>

using namespace std::chrono_literals;

namespace {

using measured_task = rill::task<> (*)(benchmark::State&);

void run_in_loop(benchmark::State& state, measured_task body) {
  rill::loop loop(rill::make_kernel("auto"));
  loop.run(body(state));
}

rill::task<int> give_one() { co_return 1; }

rill::task<> create_and_await(benchmark::State& state) {
  int sum = 0;
  for (auto _ : state) sum += co_await give_one();
  benchmark::DoNotOptimize(sum);
}

rill::task<> switch_tasks(benchmark::State& state) {
  for (auto _ : state) co_await rill::yield();
}

rill::task<> nothing() { co_return; }

rill::task<> spawn(benchmark::State& state) {
  for (auto _ : state) {
    co_await rill::with_nursery([&](rill::nursery& tasks) -> rill::task<> {
      tasks.start(nothing);
      co_return;
    });
  }
}

rill::task<> spawn_hundred(benchmark::State& state) {
  for (auto _ : state) {
    co_await rill::with_nursery([&](rill::nursery& tasks) -> rill::task<> {
      for (int i = 0; i < 100; ++i) tasks.start(nothing);
      co_return;
    });
  }
  state.SetItemsProcessed(state.iterations() * 100);
}

rill::task<> timeout_on_task(benchmark::State& state) {
  for (auto _ : state) co_await rill::with_timeout(1h, nothing());
}

/// What a time-out on an operation adds: a timer armed and disarmed, here on a node of its own.
rill::task<> arm_and_disarm(benchmark::State& state) {
  class node final : public rill::detail::timer_node {
   public:
    void expired() noexcept override {}
  };
  node timer;
  rill::loop& loop = rill::loop::current();
  for (auto _ : state) {
    loop.timers().arm(timer, loop.now + 3'600'000'000'000);
    timer.disarm();
  }
  loop.timers().remove(timer);
  co_return;
}

rill::task<> receive_all(rill::channel<int>& from) {
  for (;;) {
    const auto value = co_await from.receive();
    if (!value) co_return;
    benchmark::DoNotOptimize(*value);
  }
}

rill::task<> through_channel(benchmark::State& state) {
  rill::channel<int> values(64);
  co_await rill::with_nursery([&](rill::nursery& tasks) -> rill::task<> {
    tasks.start(receive_all, std::ref(values));
    for (auto _ : state) co_await values.send(1);
    values.close();
  });
}

rill::task<> sleep_for_ever() { co_await rill::sleep_for(1h); }

rill::task<> cancel_thousand(benchmark::State& state) {
  for (auto _ : state) {
    co_await rill::with_nursery([&](rill::nursery& tasks) -> rill::task<> {
      for (int i = 0; i < 1000; ++i) tasks.start(sleep_for_ever);
      co_await rill::yield();
      tasks.cancel();
    });
  }
}

/// There and back between two loops on two threads.
rill::task<> post_to_other_loop(benchmark::State& state) {
  rill::loop& here = rill::loop::current();
  std::atomic<rill::loop*> other = nullptr;
  rill::event stop;
  std::thread thread([&] {
    rill::loop loop(rill::make_kernel("auto"));
    loop.run([](std::atomic<rill::loop*>& tell, rill::event& until) -> rill::task<> {
      tell.store(&rill::loop::current());
      tell.notify_one();
      co_await until.wait();
    }(other, stop));
  });
  other.wait(nullptr);
  rill::event answered;
  for (auto _ : state) {
    answered.reset();
    other.load()->post([&] { here.post([&] { answered.set(); }); });
    co_await answered.wait();
  }
  other.load()->post([&] { stop.set(); });
  thread.join();
}

}  // namespace

BENCHMARK_CAPTURE(run_in_loop, create_and_await_a_task, create_and_await);
BENCHMARK_CAPTURE(run_in_loop, switch_tasks, switch_tasks);
BENCHMARK_CAPTURE(run_in_loop, nursery_with_one_task, spawn);
BENCHMARK_CAPTURE(run_in_loop, nursery_with_100_tasks, spawn_hundred);
BENCHMARK_CAPTURE(run_in_loop, timeout_on_a_task, timeout_on_task);
BENCHMARK_CAPTURE(run_in_loop, arm_and_disarm_a_timer, arm_and_disarm);
BENCHMARK_CAPTURE(run_in_loop, channel_of_64, through_channel);
BENCHMARK_CAPTURE(run_in_loop, cancel_a_tree_of_1000, cancel_thousand);
BENCHMARK_CAPTURE(run_in_loop, post_there_and_back, post_to_other_loop)->UseRealTime();

BENCHMARK_MAIN();
