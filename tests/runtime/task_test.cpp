// What a task promises: lazy, one owner, one result; its end, its cancellation, its fairness.
#include <rill/runtime/task.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>

#include <gtest/gtest.h>

#include "support.h"
#include <rill/runtime/event.h>
#include <rill/runtime/frame_cache.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/timeout.h>

namespace rill {
namespace {

using namespace std::chrono_literals;
using test::leaves_note;
using test::record;
using test::run_loop;
using test::settle;

task<int> add(int left, int right) { co_return left + right; }

task<> note(record& to, std::string text) {
  to.push_back(std::move(text));
  co_return;
}

task<> wait_under(event& gate, record& to, std::string name) {
  const leaves_note at_end(to, name);
  co_await gate.wait();
  to.push_back(name + " went on");
}

TEST(task, gives_its_value) { EXPECT_EQ(run_loop(add(2, 3)), 5); }

TEST(task, runs_nothing_until_it_is_awaited) {
  record seen;
  run_loop([&]() -> task<> {
    task<> later = note(seen, "inner");
    seen.emplace_back("outer");
    co_await std::move(later);
  });
  EXPECT_EQ(seen, (record{"outer", "inner"}));
}

TEST(task, that_is_never_awaited_frees_its_arguments_and_runs_nothing) {
  const auto argument = std::make_shared<int>(1);
  const auto hold = [](std::shared_ptr<int> held) -> task<int> { co_return *held; };
  {
    const task<int> never = hold(argument);
    EXPECT_EQ(argument.use_count(), 2);
  }
  EXPECT_EQ(argument.use_count(), 1);
}

TEST(task, can_be_moved_and_assigned_before_it_is_awaited) {
  EXPECT_EQ(run_loop([]() -> task<int> {
              task<int> first = add(1, 1);
              task<int> second = std::move(first);
              second = add(2, 2);
              co_return co_await std::move(second);
            }),
            4);
}

TEST(task, gives_references) {
  int number = 1;
  run_loop([&]() -> task<> {
    const auto refer = [&]() -> task<int&> { co_return number; };
    int& same = co_await refer();
    EXPECT_EQ(&same, &number);
  });
}

TEST(task, gives_what_can_only_be_moved) {
  const auto made = run_loop([]() -> task<std::unique_ptr<int>> {
    const auto make = []() -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(7); };
    std::unique_ptr<int> held = co_await make();
    co_return held;
  });
  EXPECT_EQ(*made, 7);
}

TEST(task, rethrows_what_left_its_body) {
  const auto fail = []() -> task<int> {
    co_await settle();
    throw std::runtime_error("no");
  };
  EXPECT_THROW(run_loop(fail), std::runtime_error);
  run_loop([&]() -> task<> {
    bool caught = false;
    try {
      co_await fail();
    } catch (const std::runtime_error& error) {
      caught = std::string(error.what()) == "no";
    }
    EXPECT_TRUE(caught);
    EXPECT_EQ(co_await add(1, 1), 2);
  });
}

TEST(task, destroys_locals_in_order_when_it_throws) {
  record seen;
  run_loop([&]() -> task<> {
    const auto inner = [&]() -> task<> {
      const leaves_note first(seen, "first");
      const leaves_note second(seen, "second");
      co_await settle();
      throw std::runtime_error("no");
    };
    try {
      co_await inner();
    } catch (const std::runtime_error&) {
      seen.emplace_back("caught");
    }
  });
  EXPECT_EQ(seen, (record{"second", "first", "caught"}));
}

TEST(task, a_million_synchronous_awaits_need_no_stack) {
  EXPECT_EQ(run_loop([]() -> task<int> {
              int sum = 0;
              for (int i = 0; i < 1'000'000; ++i) sum += co_await add(i, 1) & 1;
              co_return sum;
            }),
            500'000);
}

task<int> nested(int depth) {
  if (depth == 0) co_return 0;
  co_return 1 + co_await nested(depth - 1);
}

task<> nested_wait(int depth, event& gate, int& alive) {
  struct counted {
    explicit counted(int& of) : count(of) { ++count; }
    ~counted() { --count; }
    int& count;
  } const here(alive);
  if (depth == 0) {
    co_await gate.wait();
  } else {
    co_await nested_wait(depth - 1, gate, alive);
  }
}

TEST(task, a_hundred_thousand_nested_tasks_complete) {
  EXPECT_EQ(run_loop(nested(100'000)), 100'000);
}

task<int> add_one(task<int> inner) { co_return 1 + co_await std::move(inner); }

TEST(task, a_chain_of_a_hundred_thousand_tasks_that_were_given_to_each_other_completes) {
  task<int> whole = add(0, 0);
  for (int i = 0; i < 100'000; ++i) whole = add_one(std::move(whole));
  EXPECT_EQ(run_loop(std::move(whole)), 100'000);
}

TEST(task, a_hundred_thousand_nested_tasks_complete_after_waiting) {
  event gate;
  int alive = 0;
  run_loop([&]() -> task<> {
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start(nested_wait, 100'000, std::ref(gate), std::ref(alive));
      while (alive != 100'001) co_await yield();
      gate.set();
    });
  });
  EXPECT_EQ(alive, 0);
}

TEST(task, a_hundred_thousand_nested_tasks_are_cancelled) {
  event gate;
  int alive = 0;
  run_loop([&]() -> task<> {
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start(nested_wait, 100'000, std::ref(gate), std::ref(alive));
      while (alive != 100'001) co_await yield();
      tasks.cancel();
    });
  });
  EXPECT_EQ(alive, 0);
}

TEST(task, a_hundred_thousand_tasks_that_were_never_awaited_are_freed) {
  const auto before = frame_statistics().live_count;
  {
    std::vector<task<int>> never;
    for (int i = 0; i < 100'000; ++i) never.push_back(nested(i));
  }
  EXPECT_EQ(frame_statistics().live_count, before);
}

TEST(task, cancelled_while_it_waits_is_destroyed_innermost_first_and_no_catch_block_runs) {
  record seen;
  event gate;
  run_loop([&]() -> task<> {
    const auto outer = [&]() -> task<> {
      const leaves_note at_end(seen, "outer");
      try {
        co_await wait_under(gate, seen, "inner");
      } catch (...) {
        seen.emplace_back("caught");
      }
      seen.emplace_back("went on");
    };
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start(outer);
      co_await settle();
      tasks.cancel();
    });
    seen.emplace_back("end");
  });
  EXPECT_EQ(seen, (record{"inner", "outer", "end"}));
}

TEST(task, cancelled_before_it_begins_never_begins) {
  record seen;
  run_loop([&]() -> task<> {
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start(note, std::ref(seen), "began");
      tasks.cancel();
      co_return;
    });
  });
  EXPECT_EQ(seen, record());
}

TEST(task, cancelled_while_ready_gets_what_has_completed_and_ends_at_its_next_await) {
  record seen;
  event gate;
  run_loop([&]() -> task<> {
    const auto body = [&]() -> task<> {
      const leaves_note at_end(seen, "gone");
      co_await gate.wait();
      seen.emplace_back("completion won");
      co_await gate.wait();  // set, but no await goes on in a cancelled task
      seen.emplace_back("never");
    };
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start(body);
      co_await settle();
      gate.set();
      tasks.cancel();
    });
  });
  EXPECT_EQ(seen, (record{"completion won", "gone"}));
}

TEST(task, cancelled_by_itself_ends_at_its_next_await) {
  record seen;
  run_loop([&]() -> task<> {
    co_await with_nursery([&](nursery& tasks) -> task<> {
      const leaves_note at_end(seen, "gone");
      tasks.cancel();
      seen.emplace_back("still here");
      co_await add(1, 1);
      seen.emplace_back("never");
    });
    seen.emplace_back("end");
  });
  EXPECT_EQ(seen, (record{"still here", "gone", "end"}));
}

TEST(task, cancelled_by_itself_in_its_last_step_still_gives_its_result) {
  int result = 0;
  run_loop([&]() -> task<> {
    co_await with_nursery([&](nursery& tasks) -> task<> {
      const auto last_step = [&]() -> task<int> {
        co_await settle();
        tasks.cancel();
        co_return 5;
      };
      result = co_await last_step();
      co_await settle();
      result = 0;
    });
  });
  EXPECT_EQ(result, 5);
}

TEST(task, cancelled_main_task_ends_the_loop) {
  loop on(make_kernel("auto"));
  const auto forever = []() -> task<> {
    loop& mine = loop::current();
    mine.post([&mine] { mine.cancel(); });
    co_await sleep_for(24h);
  };
  on.run(forever());
  const auto value = []() -> task<int> {
    loop::current().cancel();
    co_await sleep_for(24h);
    co_return 1;
  };
  EXPECT_THROW(on.run(value()), std::system_error);
}

TEST(task, a_loop_runs_one_task_after_another) {
  loop on(make_kernel("auto"));
  EXPECT_EQ(on.run(add(1, 2)), 3);
  EXPECT_EQ(on.run(add(3, 4)), 7);
}

// A task that never has to wait gives way all the same, and can be cancelled.
template <class Body>
void expect_fair_and_cancellable(Body&& always_ready) {
  bool cancelled = false;
  run_loop([&]() -> task<> {
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start(std::ref(always_ready));
      co_await sleep_for(1ms);  // the ring and the timers are looked at as well
      cancelled = true;
      tasks.cancel();
    });
  });
  EXPECT_TRUE(cancelled);
}

TEST(task, that_awaits_only_synchronous_tasks_starves_nobody) {
  expect_fair_and_cancellable([]() -> task<> {
    for (;;) co_await add(1, 1);
  });
}

TEST(task, that_awaits_only_a_set_event_starves_nobody) {
  event set;
  set.set();
  expect_fair_and_cancellable([&]() -> task<> {
    for (;;) co_await set.wait();
  });
}

TEST(task, that_catches_everything_cannot_refuse_cancellation) {
  expect_fair_and_cancellable([]() -> task<> {
    for (;;) {
      try {
        co_await sleep_for(0s);
      } catch (...) {
      }
    }
  });
}

TEST(task, gives_way_after_its_budget_and_not_before) {
  int steps = 0;
  int steps_seen = -1;
  run_loop([&]() -> task<> {
    const auto busy = [&]() -> task<> {
      for (int i = 0; i < 3 * detail::scheduler::tick_budget; ++i) {
        co_await add(i, 1);
        ++steps;
      }
    };
    const auto look = [&]() -> task<> {
      steps_seen = steps;
      co_return;
    };
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start(busy);
      tasks.start(look);
      co_return;
    });
  });
  EXPECT_EQ(steps_seen, detail::scheduler::tick_budget);
  EXPECT_EQ(steps, 3 * detail::scheduler::tick_budget);
}

static_assert(!std::is_copy_constructible_v<task<int>>);
static_assert(std::is_nothrow_move_constructible_v<task<int>>);

}  // namespace
}  // namespace rill
