// all_of and any_of: results, errors, who is cancelled when, what is dropped.
#include <rill/runtime/combine.h>

#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

#include <gtest/gtest.h>

#include "support.h"
#include <rill/runtime/channel.h>
#include <rill/runtime/event.h>
#include <rill/runtime/frame_cache.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/sleep.h>

namespace rill {
namespace {

using namespace std::chrono_literals;
using test::leaves_note;
using test::record;
using test::run_loop;
using test::settle;

task<int> number(int value) { co_return value; }

task<std::string> word_after(int turns, std::string text) {
  co_await settle(turns);
  co_return text;
}

task<> nothing_after(int turns) { co_await settle(turns); }

task<int> fail_after(int turns, std::string message) {
  co_await settle(turns);
  throw std::runtime_error(message);
}

task<int> wait_and_note(event& gate, record& to, std::string name, int value = 0) {
  const leaves_note at_end(to, name + " gone");
  co_await gate.wait();
  to.push_back(name + " done");
  co_return value;
}

template <class Awaitable>
task<std::string> error_of(Awaitable awaited) {
  std::string message;
  try {
    co_await std::move(awaited);
  } catch (const std::runtime_error& error) {
    message = error.what();
  }
  co_return message;
}

TEST(all_of, gives_all_results_in_the_order_of_its_arguments) {
  run_loop([]() -> task<> {
    const auto results =
        co_await all_of(number(1), word_after(9, "two"), nothing_after(3), number(4));
    static_assert(
        std::is_same_v<decltype(results), const std::tuple<int, std::string, std::monostate, int>>);
    EXPECT_EQ(std::get<0>(results), 1);
    EXPECT_EQ(std::get<1>(results), "two");
    EXPECT_EQ(std::get<3>(results), 4);
  });
}

TEST(all_of, runs_its_tasks_beside_each_other) {
  run_loop([]() -> task<> {
    channel<int> numbers(0);
    const auto send = [&]() -> task<bool> { co_return co_await numbers.send(3); };
    const auto receive = [&]() -> task<int> {
      const auto value = co_await numbers.receive();
      co_return value.value_or(0);
    };
    const auto both = co_await all_of(send(), receive());
    EXPECT_EQ(both, std::make_tuple(true, 3));
  });
}

TEST(all_of, takes_awaiters_as_well) {
  event set;
  set.set();
  run_loop([&]() -> task<> {
    channel<int> numbers(1);
    EXPECT_TRUE(numbers.try_send(2));
    const auto results =
        co_await all_of(set.wait(), sleep_for(0s), numbers.receive(), with_timeout(1h, number(5)),
                        shielded(number(6)), all_of(number(7)));
    EXPECT_EQ(std::get<2>(results), 2);
    EXPECT_EQ(std::get<3>(results), 5);
    EXPECT_EQ(std::get<4>(results), 6);
    EXPECT_EQ(std::get<0>(std::get<5>(results)), 7);
  });
}

TEST(all_of, gives_references_and_what_can_only_be_moved) {
  int object = 1;
  run_loop([&]() -> task<> {
    const auto refer = [&]() -> task<int&> { co_return object; };
    const auto own = []() -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(2); };
    const auto results = co_await all_of(refer(), own());
    EXPECT_EQ(&std::get<0>(results), &object);
    EXPECT_EQ(*std::get<1>(results), 2);
  });
}

TEST(all_of, nothing_is_complete) {
  run_loop([]() -> task<> {
    const std::tuple<> none = co_await all_of();
    EXPECT_EQ(none, std::tuple<>());
    const auto empty = co_await all_of(std::vector<task<int>>());
    EXPECT_TRUE(empty.empty());
    co_await all_of(std::vector<task<>>());
  });
}

TEST(all_of, nothing_in_a_loop_starves_nobody) {
  run_loop([]() -> task<> {
    co_await with_nursery([](nursery& tasks) -> task<> {
      tasks.start([]() -> task<> {
        for (;;) co_await all_of();
      });
      co_await sleep_for(1ms);
      tasks.cancel();
    });
  });
}

TEST(all_of, takes_a_vector_of_tasks) {
  run_loop([]() -> task<> {
    std::vector<task<std::string>> tasks;
    for (int i = 0; i < 100; ++i) tasks.push_back(word_after(100 - i, std::to_string(i)));
    const auto words = co_await all_of(std::move(tasks));
    EXPECT_EQ(words.size(), 100U);
    for (std::size_t i = 0; i < words.size(); ++i) EXPECT_EQ(words[i], std::to_string(i));
    std::vector<task<>> silent;
    for (int i = 0; i < 3; ++i) silent.push_back(nothing_after(i));
    static_assert(std::is_void_v<await_result_t<decltype(all_of(std::move(silent)))>>);
    co_await all_of(std::move(silent));
  });
}

TEST(all_of, cancels_the_others_at_the_first_error_and_rethrows_it_when_they_have_ended) {
  record seen;
  event never;
  run_loop([&]() -> task<> {
    const std::string error =
        co_await error_of(all_of(wait_and_note(never, seen, "a"), fail_after(2, "first"),
                                 fail_after(2, "second"), wait_and_note(never, seen, "b")));
    seen.push_back(error);
    std::vector<task<int>> tasks;
    tasks.push_back(wait_and_note(never, seen, "c"));
    tasks.push_back(fail_after(1, "third"));
    seen.push_back(co_await error_of(all_of(std::move(tasks))));
  });
  EXPECT_EQ(seen, (record{"a gone", "b gone", "first", "c gone", "third"}));
}

TEST(all_of, cancelled_cancels_every_task_and_then_its_owner) {
  record seen;
  event never;
  run_loop([&]() -> task<> {
    const auto owner = [&]() -> task<> {
      const leaves_note at_end(seen, "owner gone");
      co_await all_of(wait_and_note(never, seen, "a"), number(1), wait_and_note(never, seen, "b"));
      seen.emplace_back("never");
    };
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start(owner);
      co_await settle();
      tasks.cancel();
    });
  });
  EXPECT_EQ(seen, (record{"a gone", "b gone", "owner gone"}));
}

TEST(all_of, cancelled_before_it_begins_begins_nothing) {
  record seen;
  event set;
  set.set();
  run_loop([&]() -> task<> {
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.cancel();
      co_await all_of(wait_and_note(set, seen, "a"), wait_and_note(set, seen, "b"));
    });
  });
  EXPECT_EQ(seen, record());
}

TEST(all_of, delivers_results_when_all_completed_though_it_was_cancelled) {
  record seen;
  event gate;
  run_loop([&]() -> task<> {
    const auto owner = [&]() -> task<> {
      const auto both =
          co_await all_of(wait_and_note(gate, seen, "a", 1), wait_and_note(gate, seen, "b", 2));
      EXPECT_EQ(both, std::make_tuple(1, 2));
      seen.emplace_back("completion won");
      co_await yield();
      seen.emplace_back("never");
    };
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start(owner);
      co_await settle();
      gate.set();
      tasks.cancel();
    });
  });
  EXPECT_EQ(seen, (record{"a done", "a gone", "b done", "b gone", "completion won"}));
}

TEST(any_of, gives_the_first_result_and_cancels_the_others) {
  record seen;
  event never;
  run_loop([&]() -> task<> {
    const auto first =
        co_await any_of(wait_and_note(never, seen, "a"), word_after(3, "won"), nothing_after(50));
    static_assert(
        std::is_same_v<decltype(first), const std::variant<int, std::string, std::monostate>>);
    EXPECT_EQ(first.index(), 1U);
    EXPECT_EQ(std::get<1>(first), "won");
    seen.emplace_back("end");
  });
  EXPECT_EQ(seen, (record{"a gone", "end"}));
}

TEST(any_of, does_not_begin_what_comes_after_a_task_that_ends_at_once) {
  record seen;
  event set;
  set.set();
  run_loop([&]() -> task<> {
    const auto first = co_await any_of(number(1), wait_and_note(set, seen, "late"));
    EXPECT_EQ(first.index(), 0U);
  });
  EXPECT_EQ(seen, record());
}

TEST(any_of, takes_awaiters_and_tells_equal_types_apart) {
  event set;
  set.set();
  event never;
  run_loop([&]() -> task<> {
    EXPECT_EQ((co_await any_of(never.wait(), set.wait())).index(), 1U);
    EXPECT_EQ((co_await any_of(sleep_for(0s), sleep_for(1h))).index(), 0U);
    EXPECT_EQ((co_await any_of(sleep_for(1h), any_of(set.wait(), never.wait()))).index(), 1U);
    EXPECT_EQ((co_await any_of(number(1))).index(), 0U);
  });
}

TEST(any_of, gives_references_and_what_can_only_be_moved) {
  int object = 1;
  event never;
  run_loop([&]() -> task<> {
    const auto refer = [&]() -> task<int&> { co_return object; };
    const auto own = []() -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(2); };
    const auto referred = co_await any_of(refer(), never.wait());
    EXPECT_EQ(&std::get<0>(referred).get(), &object);
    auto owned = co_await any_of(never.wait(), own());
    EXPECT_EQ(*std::get<1>(owned), 2);
  });
}

TEST(any_of, rethrows_the_error_of_the_first_and_drops_those_of_others) {
  record seen;
  event never;
  run_loop([&]() -> task<> {
    EXPECT_EQ(co_await error_of(any_of(wait_and_note(never, seen, "a"), fail_after(2, "first"))),
              "first");
    EXPECT_EQ(co_await error_of(any_of(number(1), fail_after(0, "dropped"))), "");
  });
  EXPECT_EQ(seen, (record{"a gone"}));
}

TEST(any_of, drops_the_result_of_a_loser_that_completed_as_well) {
  record seen;
  event gate;
  run_loop([&]() -> task<> {
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        const auto first =
            co_await any_of(wait_and_note(gate, seen, "a", 1), wait_and_note(gate, seen, "b", 2));
        EXPECT_EQ(first.index(), 0U);
        EXPECT_EQ(std::get<0>(first), 1);
      });
      co_await settle();
      gate.set();
    });
  });
  EXPECT_EQ(seen, (record{"a done", "a gone", "b done", "b gone"}));
}

TEST(any_of, waits_for_losers_that_take_their_time_to_end) {
  record seen;
  event gate;
  run_loop([&]() -> task<> {
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        const auto stubborn = [&]() -> task<int> {
          co_return co_await shielded(wait_and_note(gate, seen, "stubborn"));
        };
        co_await any_of(stubborn(), nothing_after(2));
        seen.emplace_back("end");
      });
      co_await settle(10);
      seen.emplace_back("gate");
      gate.set();
    });
  });
  EXPECT_EQ(seen, (record{"gate", "stubborn done", "stubborn gone", "end"}));
}

TEST(any_of, takes_a_vector_of_tasks) {
  record seen;
  event never;
  run_loop([&]() -> task<> {
    std::vector<task<int>> tasks;
    for (int i = 0; i < 10; ++i) tasks.push_back(wait_and_note(never, seen, "loser"));
    tasks.push_back(number(7));
    const auto first = co_await any_of(std::move(tasks));
    EXPECT_EQ(first.index, 10U);
    EXPECT_EQ(first.value, 7);
    EXPECT_EQ(seen.size(), 10U);
    std::vector<task<>> silent;
    silent.push_back(nothing_after(9));
    silent.push_back(nothing_after(1));
    EXPECT_EQ((co_await any_of(std::move(silent))).index, 1U);
    std::vector<task<std::unique_ptr<int>>> owners;
    const auto own = []() -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(2); };
    owners.push_back(own());
    const auto owned = co_await any_of(std::move(owners));
    EXPECT_EQ(*owned.value, 2);
  });
}

TEST(any_of, cancelled_cancels_every_task_and_then_its_owner) {
  record seen;
  event never;
  run_loop([&]() -> task<> {
    const auto owner = [&]() -> task<> {
      const leaves_note at_end(seen, "owner gone");
      co_await any_of(wait_and_note(never, seen, "a"), wait_and_note(never, seen, "b"));
      seen.emplace_back("never");
    };
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start(owner);
      co_await settle();
      tasks.cancel();
    });
  });
  EXPECT_EQ(seen, (record{"a gone", "b gone", "owner gone"}));
}

TEST(any_of, delivers_a_result_that_completed_though_it_was_cancelled) {
  record seen;
  event gate;
  event never;
  run_loop([&]() -> task<> {
    const auto owner = [&]() -> task<> {
      const auto first =
          co_await any_of(wait_and_note(never, seen, "a"), wait_and_note(gate, seen, "b", 2));
      seen.push_back("completion won " + std::to_string(first.index()));
      co_await yield();
      seen.emplace_back("never");
    };
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start(owner);
      co_await settle();
      gate.set();
      tasks.cancel();
    });
  });
  EXPECT_EQ(seen, (record{"b done", "b gone", "a gone", "completion won 1"}));
}

TEST(combine, that_is_never_awaited_frees_its_tasks) {
  const auto before = frame_statistics().live_count;
  {
    std::vector<task<int>> tasks;
    tasks.push_back(number(1));
    [[maybe_unused]] const auto vector = any_of(std::move(tasks));
    [[maybe_unused]] const auto all = all_of(number(1), sleep_for(1s));
    [[maybe_unused]] const auto any = any_of(number(1), nothing_after(1));
  }
  EXPECT_EQ(frame_statistics().live_count, before);
}

TEST(combine, takes_its_memory_from_the_frame_cache) {
  run_loop([]() -> task<> {
    std::uint64_t misses = 0;
    for (int i = 0; i < 100; ++i) {
      if (i == 1) misses = frame_statistics().miss_count;
      co_await all_of(number(1), nothing_after(1));
      co_await any_of(number(1), sleep_for(1h));
    }
    EXPECT_EQ(frame_statistics().miss_count, misses);
  });
}

TEST(combine, is_told_in_the_task_tree_with_those_that_still_run) {
  event gate;
  run_loop([&]() -> task<> {
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        co_await all_of(number(1), gate.wait(), any_of(nothing_after(1000), gate.wait()));
      });
      co_await settle();
      const std::string tree = loop::current().task_tree();
      EXPECT_NE(tree.find("all_of, 2 running"), std::string::npos) << tree;
      EXPECT_NE(tree.find("any_of, 2 running"), std::string::npos) << tree;
      gate.set();
    });
  });
}

TEST(combine_death_test, any_of_an_empty_vector_is_refused) {
  EXPECT_DEATH(static_cast<void>(any_of(std::vector<task<int>>())), "empty vector");
}

TEST(combine_death_test, awaited_twice_aborts) {
  EXPECT_DEATH(run_loop([]() -> task<> {
                 auto twice = all_of(settle(), settle());
                 co_await std::move(twice);
                 co_await std::move(twice);
               }),
               "all_of or any_of was awaited twice");
}

/// Can be moved so many times.
struct brittle {
  explicit brittle(int moves) : moves_left(moves) {}
  brittle(brittle&& other) : moves_left(other.moves_left - 1) {
    if (moves_left < 0) throw std::runtime_error("broken on the way");
  }
  brittle& operator=(brittle&&) = delete;
  int moves_left;
};

task<brittle> brittle_after(int turns, int moves) {
  co_await settle(turns);
  co_return brittle(moves);
}

TEST(all_of, fails_when_a_result_cannot_be_moved_to_it) {
  // However many moves there are on the way: each that fails is told, and none is lost.
  bool arrived = false;
  for (int moves = 0; moves < 10 && !arrived; ++moves) {
    run_loop([&]() -> task<> {
      const std::string failed =
          co_await error_of(all_of(brittle_after(1, moves), nothing_after(2)));
      EXPECT_TRUE(failed.empty() || failed == "broken on the way") << failed;
      arrived = failed.empty();
    });
    EXPECT_FALSE(arrived && moves == 0);
  }
  EXPECT_TRUE(arrived);
}

}  // namespace
}  // namespace rill
