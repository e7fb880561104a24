// Deadlines and shields: who wins, what is destroyed, what is delivered all the same.
#include <rill/runtime/timeout.h>

#include <chrono>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "support.h"
#include <rill/runtime/event.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/sleep.h>

namespace rill {
namespace {

using namespace std::chrono_literals;
using test::leaves_note;
using test::record;
using test::run_loop;
using test::settle;

task<int> value_after(event& gate, int value) {
  co_await gate.wait();
  co_return value;
}

task<> wait_and_note(event& gate, record& to, std::string name) {
  const leaves_note at_end(to, name + " gone");
  co_await gate.wait();
  to.push_back(name + " done");
}

/// The operation named by the timeout_error that `awaited` throws; "none" if it throws none.
template <class Awaitable>
task<std::string> timed_out(Awaitable awaited) {
  std::string operation = "none";
  try {
    co_await std::move(awaited);
  } catch (const timeout_error& error) {
    EXPECT_EQ(error.code(), std::errc::timed_out);
    operation = error.operation();
  }
  co_return operation;
}

TEST(with_timeout, gives_the_result_of_a_task_that_is_in_time) {
  event set;
  set.set();
  EXPECT_EQ(
      run_loop([&]() -> task<int> { co_return co_await with_timeout(1h, value_after(set, 4)); }),
      4);
}

TEST(with_timeout, rethrows_what_the_task_throws) {
  EXPECT_THROW(run_loop([]() -> task<> {
                 const auto fail = []() -> task<> {
                   co_await settle();
                   throw std::runtime_error("own");
                 };
                 co_await with_timeout(1h, fail());
               }),
               std::runtime_error);
}

TEST(with_timeout, cancels_a_task_that_is_late_and_throws_timeout_error) {
  record seen;
  event never;
  run_loop([&]() -> task<> {
    EXPECT_THROW(co_await with_timeout(1ms, wait_and_note(never, seen, "late")), timeout_error);
    seen.emplace_back("went on");
  });
  EXPECT_EQ(seen, (record{"late gone", "went on"}));
}

TEST(with_timeout, of_zero_or_less_lets_a_synchronous_task_complete) {
  event set;
  set.set();
  run_loop([&]() -> task<> {
    EXPECT_EQ(co_await with_timeout(0s, value_after(set, 1)), 1);
    EXPECT_EQ(co_await with_timeout(-1s, value_after(set, 2)), 2);
  });
}

void compute_for(std::chrono::nanoseconds duration) {
  kernel& clock = loop::current().kernel();
  const std::int64_t end = clock.now() + duration.count();
  while (clock.now() < end) {
  }
}

TEST(with_timeout, does_not_count_what_the_task_computed_before_it) {
  run_loop([&]() -> task<> {
    loop& here = loop::current();
    const std::int64_t turn = here.now;
    compute_for(100ms);
    EXPECT_EQ(here.now, turn);
    // The clock of the last tick lags behind by 10 ms at most.
    EXPECT_GE(here.deadline_in(0), turn + 90'000'000);
    const std::int64_t before = here.kernel().now();
    std::int64_t slept_until = 0;
    const auto sleep = [&]() -> task<> {
      co_await sleep_for(50ms);
      slept_until = loop::current().now;
    };
    co_await with_timeout(1h, sleep());
    EXPECT_GE(slept_until, before + 40'000'000);
  });
}

TEST(with_timeout, of_the_longest_duration_never_expires) {
  event set;
  set.set();
  run_loop([&]() -> task<> {
    EXPECT_EQ(co_await with_timeout(std::chrono::nanoseconds::max(), value_after(set, 1)), 1);
  });
}

TEST(with_timeout, works_on_awaiters_that_are_not_operations) {
  event never;
  run_loop([&]() -> task<> {
    EXPECT_THROW(co_await with_timeout(1ms, never.wait()), timeout_error);
    EXPECT_THROW(co_await with_timeout(1ms, sleep_for(1h)), timeout_error);
  });
}

TEST(with_timeout, nests_and_the_nearest_deadline_wins) {
  event never;
  run_loop([&]() -> task<> {
    record seen;
    const auto inner = [&](std::chrono::milliseconds limit) -> task<> {
      try {
        co_await with_timeout(limit, value_after(never, 1));
      } catch (const timeout_error&) {
        seen.emplace_back("inner");
        throw;
      }
    };
    EXPECT_THROW(co_await with_timeout(1h, inner(1ms)), timeout_error);
    EXPECT_EQ(seen, (record{"inner"}));
    seen.clear();
    // The inner task is cancelled by the outer deadline: no catch block runs.
    EXPECT_THROW(co_await with_timeout(1ms, inner(3600s)), timeout_error);
    EXPECT_EQ(seen, record());
    seen.clear();
    EXPECT_THROW(co_await with_timeout(1ms, with_timeout(1h, value_after(never, 1))),
                 timeout_error);
  });
}

TEST(with_deadline, limits_several_awaits_together) {
  event never;
  event set;
  set.set();
  run_loop([&]() -> task<> {
    const auto deadline = loop_clock::now() + 1ms;
    EXPECT_EQ(co_await with_deadline(deadline, value_after(set, 1)), 1);
    EXPECT_THROW(co_await with_deadline(deadline, value_after(never, 1)), timeout_error);
    EXPECT_THROW(co_await with_deadline(deadline, value_after(never, 1)), timeout_error);
    EXPECT_THROW(co_await with_deadline(deadline, never.wait()), timeout_error);
    EXPECT_GE(loop_clock::now(), deadline);
  });
}

TEST(with_timeout, lets_completion_win_over_a_deadline_that_passes_in_the_same_turn) {
  event gate;
  run_loop([&]() -> task<> {
    int result = 0;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> { result = co_await with_timeout(1ms, value_after(gate, 3)); });
      co_await yield();  // it waits now
      loop& here = loop::current();
      while (here.kernel().now() < here.now + 20'000'000) {
      }
      // The next turn takes the message, which makes the task ready, and then finds the deadline.
      here.post([&] { gate.set(); });
    });
    EXPECT_EQ(result, 3);
  });
}

TEST(with_timeout, delivers_what_had_completed_when_its_owner_is_cancelled) {
  event gate;
  run_loop([&]() -> task<> {
    int result = 0;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> { result = co_await with_timeout(1h, value_after(gate, 3)); });
      co_await settle();
      gate.set();
      tasks.cancel();
    });
    EXPECT_EQ(result, 3);
  });
}

TEST(with_timeout, passes_cancellation_on_and_throws_nothing_then) {
  record seen;
  event never;
  run_loop([&]() -> task<> {
    const auto owner = [&]() -> task<> {
      const leaves_note at_end(seen, "owner gone");
      try {
        co_await with_timeout(1h, wait_and_note(never, seen, "inner"));
      } catch (...) {
        seen.emplace_back("caught");
      }
    };
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start(owner);
      co_await settle();
      tasks.cancel();
    });
  });
  EXPECT_EQ(seen, (record{"inner gone", "owner gone"}));
}

TEST(with_timeout, leaves_no_timer_behind) {
  event set;
  set.set();
  run_loop([&]() -> task<> {
    for (int i = 0; i < 1000; ++i) co_await with_timeout(1h, value_after(set, 1));
    EXPECT_EQ(loop::current().statistics().timer_count, 0U);
  });
}

TEST(with_timeout, that_is_never_awaited_frees_its_task) {
  const auto owned = std::make_shared<int>(1);
  const auto hold = [](std::shared_ptr<int> held) -> task<int> { co_return *held; };
  {
    [[maybe_unused]] const auto never = with_timeout(1s, hold(owned));
  }
  EXPECT_EQ(owned.use_count(), 1);
}

TEST(timeout_death_test, awaited_twice_aborts) {
  EXPECT_DEATH(run_loop([]() -> task<> {
                 auto twice = with_timeout(1h, settle());
                 co_await std::move(twice);
                 co_await std::move(twice);
               }),
               "a time-out or a shield was awaited twice");
}

TEST(shielded, runs_to_its_end_although_its_owner_is_cancelled) {
  record seen;
  event gate;
  run_loop([&]() -> task<> {
    const auto owner = [&]() -> task<> {
      const leaves_note at_end(seen, "owner gone");
      co_await shielded(wait_and_note(gate, seen, "shielded"));
      seen.emplace_back("result delivered");
      co_await settle();
      seen.emplace_back("never");
    };
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start(owner);
      co_await settle();
      tasks.cancel();
      gate.set();
    });
  });
  EXPECT_EQ(seen, (record{"shielded done", "shielded gone", "result delivered", "owner gone"}));
}

TEST(shielded, does_not_begin_in_a_task_that_is_being_cancelled) {
  record seen;
  event set;
  set.set();
  run_loop([&]() -> task<> {
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.cancel();
      co_await shielded(wait_and_note(set, seen, "shielded"));
    });
  });
  EXPECT_EQ(seen, record());
}

TEST(shielded, gives_result_and_error) {
  event set;
  set.set();
  run_loop([&]() -> task<> {
    EXPECT_EQ(co_await shielded(value_after(set, 9)), 9);
    const auto fail = []() -> task<> {
      co_await settle();
      throw std::runtime_error("inside");
    };
    EXPECT_THROW(co_await shielded(fail()), std::runtime_error);
  });
}

TEST(shielded, obeys_a_deadline_inside_it) {
  event never;
  std::string operation;
  run_loop([&]() -> task<> {
    const auto owner = [&]() -> task<> {
      operation = co_await shielded(timed_out(with_timeout(1ms, never.wait())));
    };
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start(owner);
      co_await settle();
      tasks.cancel();
    });
  });
  EXPECT_EQ(operation, "task");
}

TEST(sleep, lasts_at_least_as_long_as_asked) {
  run_loop([]() -> task<> {
    const auto begin = loop_clock::now();
    co_await sleep_for(2ms);
    EXPECT_GE(loop_clock::now() - begin, 2ms);
    const auto until = loop_clock::now() + 1ms;
    co_await sleep_until(until);
    EXPECT_GE(loop_clock::now(), until);
    co_await sleep_until(until);  // in the past
  });
}

TEST(sleep, of_zero_lets_the_others_run) {
  record seen;
  run_loop([&]() -> task<> {
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        seen.emplace_back("other");
        co_return;
      });
      co_await sleep_for(0s);
      seen.emplace_back("body");
    });
  });
  EXPECT_EQ(seen, (record{"other", "body"}));
}

TEST(sleep, of_the_longest_duration_can_be_cancelled) {
  run_loop([]() -> task<> {
    co_await with_nursery([](nursery& tasks) -> task<> {
      tasks.start([]() -> task<> { co_await sleep_for(std::chrono::nanoseconds::max()); });
      co_await settle();
      tasks.cancel();
    });
    EXPECT_EQ(loop::current().statistics().timer_count, 0U);
  });
}

TEST(sleep, wakes_sleepers_in_the_order_of_their_deadlines) {
  record seen;
  run_loop([&]() -> task<> {
    const auto start = loop_clock::now();
    const auto sleeper = [&](std::chrono::milliseconds after, std::string name) -> task<> {
      co_await sleep_until(start + after);
      seen.push_back(name);
    };
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start(sleeper, 3ms, "third");
      tasks.start(sleeper, 1ms, "first");
      tasks.start(sleeper, 2ms, "second");
      tasks.start(sleeper, 3ms, "fourth");
      co_return;
    });
  });
  EXPECT_EQ(seen, (record{"first", "second", "third", "fourth"}));
}

TEST(yield, lets_every_other_ready_task_run_once) {
  record seen;
  run_loop([&]() -> task<> {
    const auto turns = [&](std::string name) -> task<> {
      for (int i = 0; i < 2; ++i) {
        seen.push_back(name);
        co_await yield();
      }
    };
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start(turns, "a");
      tasks.start(turns, "b");
      co_return;
    });
  });
  EXPECT_EQ(seen, (record{"a", "b", "a", "b"}));
}

}  // namespace
}  // namespace rill
