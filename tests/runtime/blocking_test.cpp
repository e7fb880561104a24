// run_blocking: where it runs, what it delivers, what a cancelled waiter leaves behind.
#include <rill/runtime/blocking.h>

#include <sys/syscall.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <future>
#include <memory>
#include <semaphore>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/child_process.h"
#include "support.h"
#include <rill/runtime/combine.h>
#include <rill/runtime/event.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/sleep.h>

namespace rill {
namespace {

using test::run_loop;
using test::settle;

int add(int left, int right) { return left + right; }

TEST(run_blocking, gives_the_result_of_a_call_on_another_thread) {
  run_loop([]() -> task<> {
    EXPECT_EQ(co_await run_blocking(add, 2, 3), 5);
    const auto here = std::this_thread::get_id();
    EXPECT_NE(co_await run_blocking([] { return std::this_thread::get_id(); }), here);
    EXPECT_EQ(std::this_thread::get_id(), here);
  });
}

TEST(run_blocking, rethrows_what_the_call_throws) {
  run_loop([]() -> task<> {
    const auto fail = [](const std::string& message) -> int { throw std::runtime_error(message); };
    std::string caught;
    try {
      co_await run_blocking(fail, std::string("a message longer than a small string"));
    } catch (const std::runtime_error& error) {
      caught = error.what();
    }
    EXPECT_EQ(caught, "a message longer than a small string");
  });
}

TEST(run_blocking, takes_calls_without_result_and_gives_references) {
  static int object = 1;
  run_loop([]() -> task<> {
    co_await run_blocking([] { ++object; });
    int& same = co_await run_blocking([]() -> int& { return object; });
    EXPECT_EQ(&same, &object);
    EXPECT_EQ(object, 2);
  });
}

TEST(run_blocking, hands_over_what_can_only_be_moved) {
  run_loop([]() -> task<> {
    const auto increment = [](std::unique_ptr<int> number) {
      ++*number;
      return number;
    };
    const auto back = co_await run_blocking(increment, std::make_unique<int>(4));
    EXPECT_EQ(*back, 5);
  });
}

TEST(run_blocking, copies_a_named_callable_and_destroys_it_before_it_delivers) {
  run_loop([]() -> task<> {
    const auto owned = std::make_shared<int>(3);
    const auto call = [owned](const std::shared_ptr<int>& other) { return *owned + *other; };
    EXPECT_EQ(co_await run_blocking(call, owned), 6);
    EXPECT_EQ(owned.use_count(), 2);  // here and in `call`
  });
}

TEST(run_blocking, lets_other_tasks_run_meanwhile) {
  std::binary_semaphore gate(0);
  run_loop([&]() -> task<> {
    co_await with_nursery([&](nursery& tasks) -> task<> {
      bool returned = false;
      tasks.start([&]() -> task<> {
        co_await run_blocking([&] { gate.acquire(); });
        returned = true;
      });
      co_await settle();
      EXPECT_FALSE(returned);
      gate.release();
      while (!returned) co_await yield();
    });
  });
}

TEST(run_blocking, runs_many_calls_at_once) {
  run_loop([]() -> task<> {
    std::vector<task<int>> calls;
    const auto call = [](int i) -> task<int> { co_return co_await run_blocking(add, i, 1); };
    for (int i = 0; i < 200; ++i) calls.push_back(call(i));
    const auto results = co_await all_of(std::move(calls));
    for (std::size_t i = 0; i < results.size(); ++i) {
      EXPECT_EQ(results[i], static_cast<int>(i) + 1);
    }
  });
}

TEST(run_blocking, releases_a_cancelled_waiter_at_once_and_drops_the_result) {
  std::binary_semaphore begun(0);
  std::binary_semaphore gate(0);
  const auto result = std::make_shared<int>(7);
  run_loop([&]() -> task<> {
    const auto call = [&]() -> std::shared_ptr<int> {
      begun.release();
      gate.acquire();
      return result;
    };
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> { co_await run_blocking(call); });
      co_await settle();
      begun.acquire();  // the call has begun, and blocks
      tasks.cancel();
    });
    // It blocks still, and this task goes on.
    gate.release();
  });
  // The loop has ended, so the call has returned and its record is gone.
  EXPECT_EQ(result.use_count(), 1);
}

TEST(run_blocking, drops_an_exception_of_a_call_whose_waiter_was_cancelled) {
  std::binary_semaphore begun(0);
  std::binary_semaphore gate(0);
  run_loop([&]() -> task<> {
    const auto call = [&] {
      begun.release();
      gate.acquire();
      throw std::runtime_error("nobody hears it");
    };
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> { co_await run_blocking(call); });
      co_await settle();
      begun.acquire();
      tasks.cancel();
    });
    gate.release();
  });
}

TEST(run_blocking, does_not_make_a_call_that_was_cancelled_before_it_began) {
  constexpr int pool_size = 16;
  std::counting_semaphore<> begun(0);
  std::counting_semaphore<> gate(0);
  std::atomic<bool> made = false;
  run_loop([&]() -> task<> {
    const auto block = [&] {
      begun.release();
      gate.acquire();
    };
    co_await with_nursery([&](nursery& tasks) -> task<> {
      const auto blocker = [&]() -> task<> { co_await run_blocking(block); };
      for (int i = 0; i < pool_size; ++i) tasks.start(blocker);
      co_await settle();
      for (int i = 0; i < pool_size; ++i) begun.acquire();  // the pool is busy
      co_await with_nursery([&](nursery& late) -> task<> {
        late.start([&]() -> task<> { co_await run_blocking([&] { made = true; }); });
        co_await settle();
        late.cancel();
      });
      gate.release(pool_size);
    });
  });
  EXPECT_FALSE(made);
}

TEST(run_blocking, in_a_task_that_is_being_cancelled_calls_nothing) {
  std::atomic<bool> made = false;
  run_loop([&]() -> task<> {
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.cancel();
      co_await run_blocking([&] { made = true; });
    });
  });
  EXPECT_FALSE(made);
}

TEST(run_blocking, that_is_never_awaited_calls_nothing_and_frees_its_arguments) {
  const auto argument = std::make_shared<int>(1);
  {
    const auto call = [](const std::shared_ptr<int>& held) { return *held; };
    [[maybe_unused]] const auto never = run_blocking(call, argument);
    EXPECT_EQ(argument.use_count(), 2);
  }
  EXPECT_EQ(argument.use_count(), 1);
}

TEST(run_blocking, without_a_single_thread_throws_and_leaves_the_signals_as_they_were) {
  test::child_process child([] {
    if (!test::refuse_system_call(SYS_clone3, EAGAIN)) return 1;
    int refused = 0;
    run_loop([&]() -> task<> {
      for (int i = 0; i < 3; ++i) {
        try {
          co_await run_blocking(add, 1, 2);
        } catch (const std::system_error&) {
          ++refused;
        }
      }
    });
    sigset_t mask;
    ::pthread_sigmask(SIG_BLOCK, nullptr, &mask);
    return refused == 3 && sigismember(&mask, SIGTERM) == 0 ? 0 : 2;
  });
  child.rest();
  EXPECT_EQ(child.wait(), 0);
}

TEST(blocking_death_test, awaited_twice_aborts) {
  EXPECT_DEATH(run_loop([]() -> task<> {
                 auto twice = run_blocking(add, 1, 2);
                 co_await std::move(twice);
                 co_await std::move(twice);
               }),
               "a blocking call was awaited twice");
}

TEST(run_blocking, survives_any_order_of_cancelling_and_returning) {
  run_loop([]() -> task<> {
    for (int round = 0; round < 300; ++round) {
      co_await with_nursery([&](nursery& tasks) -> task<> {
        const auto call = [](int count) -> task<> {
          const std::string text = co_await run_blocking(
              [](int size) { return std::string(static_cast<std::size_t>(size), 'x'); }, count);
          EXPECT_EQ(text.size(), static_cast<std::size_t>(count));
        };
        for (int i = 0; i < 4; ++i) tasks.start(call, 10 + i);
        co_await settle(round % 20);
        tasks.cancel();
      });
    }
  });
}

TEST(run_blocking, survives_loops_that_end_as_soon_as_it_returns) {
  for (int round = 0; round < 100; ++round) {
    EXPECT_EQ(run_loop([]() -> task<int> { co_return co_await run_blocking(add, 1, 2); }), 3);
  }
}

TEST(post, reaches_a_loop_from_many_threads) {
  int sum = 0;
  run_loop([&]() -> task<> {
    loop& here = loop::current();
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        for (int k = 0; k < 1000; ++k) here.post([&] { ++sum; });
      });
    }
    while (sum != 4000) co_await yield();
    for (std::thread& each : threads) each.join();
  });
  EXPECT_EQ(sum, 4000);
}

TEST(post, wakes_a_loop_that_sleeps) {
  for (int round = 0; round < 100; ++round) {
    std::thread other;
    run_loop([&]() -> task<> {
      event gate;
      loop& here = loop::current();
      other = std::thread([&] { here.post([&] { gate.set(); }); });
      co_await gate.wait();
    });
    other.join();
  }
}

}  // namespace
}  // namespace rill
