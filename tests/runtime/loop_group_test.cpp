// loop_group: who runs where, who is cancelled when, and that messages reach every loop to the end.
// What does not speak of threads holds in the simulator too (see also
// tests/sim/loop_group_test.cpp).
#include <rill/runtime/loop_group.h>

#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/child_process.h"
#include "support.h"
#include <rill/runtime/event.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/sim/world.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/timeout.h>

namespace rill {
namespace {

using namespace std::chrono_literals;
using test::run_loop;
using test::settle;

cpu_set_t cores_of_this_thread() {
  cpu_set_t cores;
  ::sched_getaffinity(0, sizeof(cores), &cores);
  return cores;
}

task<> sleep_for_ever() { co_await sleep_for(24h); }

/// Counts itself when it is destroyed.
struct counts_end {
  explicit counts_end(std::atomic<int>& to) noexcept : count(&to) {}
  ~counts_end() { ++*count; }
  std::atomic<int>* count;
};

/// On loops with threads; with true in the simulator, from several seeds.
class loop_group_contract : public testing::TestWithParam<bool> {
 protected:
  template <class Body>
  static void run(Body body) {
    if (!GetParam()) {
      run_loop([&]() -> task<> { return body(); });
      return;
    }
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
      sim::world world(seed);
      sim::host& host = world.add_host("host", "10.0.0.1");
      world.run(host.run([&]() -> task<> { return body(); }));
      EXPECT_EQ(host.descriptor_count(), 1U) << "that of the loop on which the group was made";
    }
  }
};
INSTANTIATE_TEST_SUITE_P(threads, loop_group_contract, testing::Values(false));
INSTANTIATE_TEST_SUITE_P(sim, loop_group_contract, testing::Values(true));

TEST(loop_group, runs_the_body_once_on_every_loop_each_on_its_thread) {
  run_loop([]() -> task<> {
    std::mutex mutex;
    std::set<unsigned> numbers;
    std::set<std::thread::id> threads;
    loop_group group(4);
    EXPECT_EQ(group.size(), 4U);
    co_await group.run([&](unsigned index) -> task<> {
      co_await sleep_for(1ms);
      const std::scoped_lock lock(mutex);
      numbers.insert(index);
      threads.insert(std::this_thread::get_id());
      EXPECT_EQ(&loop::current(), &group.at(index));
    });
    EXPECT_EQ(numbers, (std::set<unsigned>{0, 1, 2, 3}));
    EXPECT_EQ(threads.size(), 4U);
    EXPECT_TRUE(threads.contains(std::this_thread::get_id()));
  });
}

TEST(loop_group, of_one_loop_starts_no_thread) {
  run_loop([]() -> task<> {
    loop_group group(1);
    const cpu_set_t before = cores_of_this_thread();
    bool ran = false;
    co_await group.run([&](unsigned index) -> task<> {
      EXPECT_EQ(index, 0U);
      co_await yield();
      const cpu_set_t now = cores_of_this_thread();
      EXPECT_TRUE(CPU_EQUAL(&now, &before));
      ran = true;
    });
    EXPECT_TRUE(ran);
  });
}

TEST(loop_group, pins_each_loop_to_a_core_of_its_own_and_restores) {
  const cpu_set_t before = cores_of_this_thread();
  if (CPU_COUNT(&before) < 2) GTEST_SKIP() << "one core";
  run_loop([&]() -> task<> {
    std::mutex mutex;
    std::set<int> used;
    loop_group group(2);
    co_await group.run([&](unsigned) -> task<> {
      co_await yield();
      const cpu_set_t mine = cores_of_this_thread();
      EXPECT_EQ(CPU_COUNT(&mine), 1);
      const std::scoped_lock lock(mutex);
      used.insert(::sched_getcpu());
    });
    EXPECT_EQ(used.size(), 2U);
    const cpu_set_t after = cores_of_this_thread();
    EXPECT_TRUE(CPU_EQUAL(&after, &before));

    loop_group free(2, loop_group_options{.pin = false});
    co_await free.run([&](unsigned) -> task<> {
      co_await yield();
      const cpu_set_t mine = cores_of_this_thread();
      EXPECT_TRUE(CPU_EQUAL(&mine, &before));
    });
  });
}

TEST_P(loop_group_contract, the_first_error_cancels_the_others_and_is_rethrown) {
  for (const unsigned failing : {0U, 1U, 2U}) {
    run([failing]() -> task<> {
      std::atomic<int> ended{0};
      std::atomic<int> waiting{0};
      std::string message;
      loop_group group(3);
      try {
        co_await group.run([&](unsigned index) -> task<> {
          const counts_end end(ended);
          ++waiting;
          if (index == failing) {
            while (waiting != 3) co_await yield();
            throw std::runtime_error("loop " + std::to_string(index));
          }
          co_await sleep_for(24h);
        });
      } catch (const std::runtime_error& error) {
        message = error.what();
      }
      EXPECT_EQ(message, "loop " + std::to_string(failing));
      EXPECT_EQ(ended, 3);
    });
  }
}

TEST_P(loop_group_contract, an_exception_before_the_task_exists_counts_as_an_error) {
  for (const unsigned failing : {0U, 1U}) {
    run([failing]() -> task<> {
      std::string message;
      loop_group group(2);
      try {
        co_await group.run([&](unsigned index) -> task<> {
          if (index == failing) throw std::runtime_error("no task");
          return sleep_for_ever();
        });
      } catch (const std::runtime_error& error) {
        message = error.what();
      }
      EXPECT_EQ(message, "no task");
    });
  }
}

TEST_P(loop_group_contract, cancelling_the_waiting_task_cancels_all_loops) {
  run([]() -> task<> {
    std::atomic<int> ended{0};
    std::atomic<int> waiting{0};
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        loop_group group(3);
        co_await group.run([&](unsigned) -> task<> {
          const counts_end end(ended);
          ++waiting;
          co_await sleep_for(24h);
        });
        ADD_FAILURE() << "it was cancelled";
      });
      while (waiting != 3) co_await yield();
      tasks.cancel();
    });
    EXPECT_EQ(ended, 3);
  });
}

TEST_P(loop_group_contract, stop_from_any_loop_ends_the_run_normally) {
  run([]() -> task<> {
    std::atomic<int> ended{0};
    std::atomic<int> begun{0};
    loop_group group(3);
    co_await group.run([&](unsigned index) -> task<> {
      const counts_end end(ended);
      ++begun;
      while (begun != 3) co_await yield();
      if (index == 2) group.stop();
      co_await sleep_for(24h);
    });
    EXPECT_EQ(ended, 3);
    group.stop();  // no effect when it does not run
  });
}

TEST_P(loop_group_contract, a_loop_that_is_stopped_alone_ends_alone) {
  run([]() -> task<> {
    std::atomic<int> ended{0};
    bool finished = false;
    loop_group group(2);
    co_await group.run([&](unsigned index) -> task<> {
      if (index == 1) {
        const counts_end end(ended);
        loop::current().stop();
        co_await sleep_for(24h);
        ADD_FAILURE() << "it was stopped";
      }
      while (ended == 0) co_await yield();
      co_await settle(20);
      finished = true;
    });
    EXPECT_TRUE(finished);
  });
}

task<> wait_for_hurry(std::atomic<int>& count, std::atomic<int>& waiting) {
  ++waiting;
  co_await loop::current().hurry().wait();
  ++count;
}

TEST_P(loop_group_contract, stop_now_hurries_every_loop_even_when_they_drain) {
  run([]() -> task<> {
    std::atomic<int> hurried{0};
    std::atomic<int> waiting{0};
    loop_group group(3);
    co_await group.run([&](unsigned index) -> task<> {
      if (index == 1) {
        group.stop();
        group.stop_now();
      }
      co_await shielded(wait_for_hurry(hurried, waiting));
    });
    // A loop that was stopped before it began to wait never waits.
    EXPECT_EQ(hurried, waiting);
    EXPECT_GE(hurried, 1);
  });
}

TEST(loop_group, that_can_start_no_thread_throws_and_leaves_the_thread_on_all_cores) {
  test::child_process child([] {
    int code = 1;
    run_loop([&]() -> task<> {
      loop_group group(2);
      const cpu_set_t before = cores_of_this_thread();
      if (!test::refuse_system_call(SYS_clone3, EAGAIN)) co_return;
      bool threw = false;
      try {
        co_await group.run([](unsigned) -> task<> { co_await sleep_for(24h); });
      } catch (const std::system_error& error) {
        threw = error.what() == std::string("start a thread: Resource temporarily unavailable");
      }
      const cpu_set_t after = cores_of_this_thread();
      code = threw && CPU_EQUAL(&before, &after) ? 0 : 2;
    });
    return code;
  });
  child.rest();
  EXPECT_EQ(child.wait(), 0);
}

TEST(loop_group_death_test, a_second_run_aborts) {
  for (const unsigned count : {1U, 2U}) {
    EXPECT_DEATH(run_loop([count]() -> task<> {
                   loop_group group(count);
                   const auto body = [](unsigned) -> task<> { co_return; };
                   co_await group.run(body);
                   co_await group.run(body);
                 }),
                 "a group of loops runs once");
  }
}

TEST_P(loop_group_contract, messages_arrive_in_order_and_after_the_receivers_task_has_ended) {
  constexpr int count = 20'000;
  run([]() -> task<> {
    std::vector<int> seen;
    loop_group group(2);
    co_await group.run([&](unsigned index) -> task<> {
      if (index == 1) co_return;  // takes messages all the same
      for (int i = 0; i < count; ++i) {
        group.at(1).post([&seen, i] { seen.push_back(i); });
        if (i % 100 == 0) co_await yield();
      }
      event done;
      loop& home = loop::current();
      group.at(1).post([&done, &home] { home.post([&done] { done.set(); }); });
      co_await done.wait();
    });
    EXPECT_EQ(seen.size(), static_cast<std::size_t>(count));
    for (int i = 0; i < static_cast<int>(seen.size()); ++i) EXPECT_EQ(seen[i], i);
  });
}

TEST(loop_group, a_loop_whose_task_has_ended_sleeps_until_all_have_ended) {
  const auto processor_time = [] {
    rusage used{};
    ::getrusage(RUSAGE_SELF, &used);
    return std::chrono::seconds(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           std::chrono::microseconds(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
  };
  run_loop([&]() -> task<> {
    loop_group group(2);
    std::chrono::microseconds used{};
    co_await group.run([&](unsigned index) -> task<> {
      if (index == 1) co_return;
      event ended;  // loop 1 answers, and so has begun to wait
      loop& home = loop::current();
      group.at(1).post([&] { home.post([&] { ended.set(); }); });
      co_await ended.wait();
      const auto before = processor_time();
      co_await sleep_for(200ms);
      used = processor_time() - before;
    });
    EXPECT_LT(used, 50ms);
  });
}

TEST_P(loop_group_contract, begins_and_ends_many_times) {
  run([]() -> task<> {
    for (int round = 0; round < 30; ++round) {
      std::atomic<int> ran{0};
      loop_group group(3);
      co_await group.run([&](unsigned index) -> task<> {
        ++ran;
        loop& next = group.at((index + 1) % 3);
        for (int i = 0; i < 20; ++i) next.post([&ran] { ++ran; });
        co_await yield();
      });
      EXPECT_EQ(ran, 3 + 3 * 20);  // no message was lost
    }
  });
}

}  // namespace
}  // namespace rill
