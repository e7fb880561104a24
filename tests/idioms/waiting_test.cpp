// Awaiters that own things and those that lend them: channels, events, semaphores, mutexes; and
// deadlines around tasks, operations and other awaiters.
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "idioms/support.h"
#include <rill/runtime/channel.h>
#include <rill/runtime/combine.h>
#include <rill/runtime/operation.h>
#include <rill/runtime/semaphore.h>

namespace idioms {
namespace {

using namespace std::chrono_literals;
using rill::nursery;
using rill::task;

/// Runs `form()` until it waits for good, then cancels it. Nothing may be left.
template <class Form>
void is_cancelled_while_it_waits(Form form) {
  bool ended = false;
  run([](Form& waiting, bool& went_on) -> task<> {
    co_await rill::with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        co_await waiting();
        went_on = true;
      });
      for (int i = 0; i < 4; ++i) co_await rill::yield();
      tasks.cancel();
    });
  }(form, ended));
  EXPECT_FALSE(ended);
  expect_nothing_left("is cancelled", 0);
}

/// The same by a deadline around it.
template <class Form>
void times_out_while_it_waits(Form form) {
  bool timed_out = false;
  run([](Form& waiting, bool& thrown) -> task<> {
    try {
      co_await rill::with_timeout(1us, waiting());
    } catch (const rill::timeout_error&) {
      thrown = true;
    }
  }(form, timed_out));
  EXPECT_TRUE(timed_out);
  expect_nothing_left("times out", 0);
}

template <class Form>
void can_be_given_up(Form form) {
  is_cancelled_while_it_waits(form);
  times_out_while_it_waits(form);
}

TEST(channels, a_temporary_sent_lives_in_the_awaiter_until_it_is_taken) {
  survives([](gate& at) -> task<> {
    rill::channel<counted> queue(1);
    rill::channel<std::string> texts(1);
    rill::channel<std::unique_ptr<counted>> owners(0);
    EXPECT_TRUE(co_await queue.send(counted("value")));
    EXPECT_TRUE(co_await texts.send(std::string(64, 'x')));
    EXPECT_EQ(co_await give(at, *co_await texts.receive()), std::string(64, 'x'));
    co_await rill::with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        static_cast<void>(co_await owners.send(std::make_unique<counted>("owned")));
        static_cast<void>(co_await queue.send(co_await give(at, counted("second"))));
      });
      EXPECT_EQ(**co_await owners.receive(), "owned");
      EXPECT_EQ((co_await queue.receive())->text(), "value");
      EXPECT_EQ((co_await queue.receive())->text(), "second");
    });
  });
}

TEST(channels, a_send_that_waits_can_be_given_up) {
  rill::channel<counted> nobody(0);
  can_be_given_up([&]() -> task<> {
    const counted local("local");
    static_cast<void>(co_await nobody.send(counted(long_text())));
  });
  rill::channel<std::string> texts(0);
  can_be_given_up(
      [&]() -> task<> { static_cast<void>(co_await texts.send(std::string(64, 'x'))); });
  rill::channel<std::pair<counted, std::unique_ptr<counted>>> pairs(0);
  can_be_given_up([&]() -> task<> {
    static_cast<void>(
        co_await pairs.send(std::pair(counted("one"), std::make_unique<counted>("two"))));
  });
}

TEST(channels, a_receive_that_waits_can_be_given_up) {
  rill::channel<counted> nothing(4);
  can_be_given_up([&]() -> task<> {
    while (auto value = co_await nothing.receive()) ADD_FAILURE();
  });
}

TEST(channels, a_while_takes_all_that_is_sent) {
  survives([](gate& at) -> task<> {
    rill::channel<counted> queue(2);
    std::string text;
    co_await rill::with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        for (int i = 0; i < 4; ++i) static_cast<void>(co_await queue.send(counted("v")));
        queue.close();
      });
      while (std::optional<counted> value = co_await queue.receive()) {
        text += (co_await give(at, *std::move(value))).text();
      }
    });
    EXPECT_EQ(text, "vvvv");
    EXPECT_FALSE(co_await queue.send(counted("late")));
  });
}

TEST(channels, an_aggregate_is_sent_from_a_name_or_a_function) {
  struct message {
    counted body;
    int number = 0;
  };
  const auto make = [](int number) {
    message made;
    made.number = number;
    return made;
  };
  run([make]() -> task<> {
    rill::channel<message> queue(2);
    message named{counted("named"), 1};
    EXPECT_TRUE(co_await queue.send(std::move(named)));
    EXPECT_TRUE(co_await queue.send(make(2)));
    EXPECT_EQ((co_await queue.receive())->body, "named");
    EXPECT_EQ((co_await queue.receive())->number, 2);
  }());
  expect_nothing_left("sent", 0);
}

TEST(mutexes, a_guard_holds_from_the_await_to_the_end_of_its_scope) {
  survives([](gate& at) -> task<> {
    rill::mutex one;
    {
      const auto guard = co_await one.lock();
      EXPECT_TRUE(one.is_locked());
      co_await at.pass();
      EXPECT_TRUE(one.is_locked());
    }
    EXPECT_FALSE(one.is_locked());
    if (auto guard = co_await one.lock()) {
      co_await at.pass();
      EXPECT_TRUE(one.is_locked());
    }
    EXPECT_FALSE(one.is_locked());
    for (int i = 0; i < 2; ++i) {
      auto guard = co_await one.lock();
      co_await at.pass();
      guard.release();
      EXPECT_FALSE(one.is_locked());
    }
  });
}

TEST(mutexes, a_guard_that_nobody_names_is_given_back_at_once) {
  run([]() -> task<> {
    rill::mutex one;
    EXPECT_TRUE(static_cast<bool>(co_await one.lock()));
    EXPECT_FALSE(one.is_locked());
    rill::semaphore two(2);
    const std::pair held(co_await two.acquire(), co_await two.acquire());
    EXPECT_EQ(two.available(), 0u);
  }());
}

TEST(mutexes, a_guard_may_be_an_argument_and_a_result) {
  survives([](gate& at) -> task<> {
    rill::mutex one;
    const auto work = [](gate& on, rill::mutex::guard guard, counted with) -> task<std::size_t> {
      co_await on.pass();
      co_return guard ? with.size() : 0;
    };
    const auto lock = [](gate& on, rill::mutex& what) -> task<rill::mutex::guard> {
      auto guard = co_await what.lock();
      co_await on.pass();
      co_return guard;
    };
    EXPECT_EQ(co_await work(at, co_await one.lock(), counted("12")), 2u);
    EXPECT_FALSE(one.is_locked());
    {
      const auto guard = co_await lock(at, one);
      EXPECT_TRUE(one.is_locked());
    }
    EXPECT_FALSE(one.is_locked());
  });
}

TEST(mutexes, a_task_that_is_cancelled_gives_its_permits_back) {
  rill::mutex one;
  rill::mutex held;
  const auto keep = held.try_lock();
  can_be_given_up([&]() -> task<> {
    const auto guard = co_await one.lock();
    const counted local("local");
    const std::pair both(counted("left"), co_await held.lock());
  });
  EXPECT_FALSE(one.is_locked());
}

TEST(deadlines, a_task_with_temporaries_may_have_one) {
  survives([](gate& at) -> task<> {
    EXPECT_EQ(co_await rill::with_timeout(1h, give(at, counted("timed"))), "timed");
    EXPECT_EQ(co_await rill::with_timeout(1h, size_of(at, std::string(64, 'x'))), 64u);
    EXPECT_EQ(*co_await rill::with_timeout(1h, give(at, std::make_unique<counted>("p"))), "p");
    const counted mine("mine");
    EXPECT_EQ(&co_await rill::with_timeout(1h, look(at, mine)), &mine);
    EXPECT_EQ(co_await rill::with_timeout(
                  1h, rill::with_timeout(2h, give(at, co_await give(at, counted("nested"))))),
              "nested");
    EXPECT_EQ(co_await rill::with_deadline(rill::loop_clock::now() + 1h, give(at, counted("d"))),
              "d");
    if (const auto value = co_await rill::with_timeout(1h, give(at, std::optional<counted>()))) {
      ADD_FAILURE();
    }
  });
}

TEST(deadlines, a_shielded_task_ends_with_its_temporaries_and_then_the_cancellation_counts) {
  std::string got;
  is_cancelled_while_it_waits([&got]() -> task<> {
    const auto slow = [](counted value) -> task<counted> {
      co_await rill::sleep_for(1ms);
      co_return value;
    };
    got = (co_await rill::shielded(slow(counted("shielded")))).text();
    co_await rill::sleep_for(1h);
  });
  EXPECT_EQ(got, "shielded");
}

TEST(deadlines, a_lambda_may_be_called_inside_one) {
  survives([](gate& at) -> task<> {
    counted mine("mine");
    EXPECT_EQ(co_await rill::with_timeout(1h,
                                          [&]() -> task<std::size_t> {
                                            const counted local("local");
                                            co_await at.pass();
                                            co_return mine.size() + local.size();
                                          }()),
              9u);
  });
}

TEST(deadlines, a_nursery_may_have_one) {
  survives([](gate& at) -> task<> {
    std::string text;
    auto named = [&at, own = counted("own")](nursery&) -> task<> {
      EXPECT_EQ(own, "own");
      co_await at.pass();
    };
    co_await rill::with_timeout(1h, rill::with_nursery([&](nursery& tasks) -> task<> {
                                  tasks.start(
                                      [&](counted with) -> task<> {
                                        co_await at.pass();
                                        text = with.text();
                                      },
                                      counted("started"));
                                  co_await at.pass();
                                }));
    co_await rill::with_timeout(1h, rill::with_nursery(named));
    EXPECT_EQ(text, "started");
  });
  rill::event never;
  can_be_given_up([&]() -> task<> {
    co_await rill::with_timeout(
        1h, rill::with_nursery([&](nursery& tasks) -> task<> {
          tasks.start([&never, own = counted("own")]() -> task<> { co_await never.wait(); });
          const counted local("local");
          co_await never.wait();
        }));
  });
}

TEST(deadlines, an_event_a_channel_and_a_lock_may_have_one) {
  rill::event never;
  rill::channel<counted> nobody(0);
  rill::mutex held;
  const auto keep = held.try_lock();
  run([&]() -> task<> {
    int passed_count = 0;
    for (int form = 0; form < 4; ++form) {
      try {
        const counted local("local");
        if (form == 0) co_await rill::with_timeout(1us, never.wait());
        if (form == 1) co_await rill::with_timeout(1us, nobody.send(counted(long_text())));
        if (form == 2) co_await rill::with_timeout(1us, nobody.receive());
        if (form == 3) static_cast<void>(co_await rill::with_timeout(1us, held.lock()));
        ADD_FAILURE();
      } catch (const rill::timeout_error&) {
        ++passed_count;
      }
    }
    EXPECT_EQ(passed_count, 4);
    rill::event set;
    set.set();
    co_await rill::with_timeout(1h, set.wait());
    rill::channel<counted> room(1);
    EXPECT_TRUE(co_await rill::with_timeout(1h, room.send(counted("in time"))));
    EXPECT_EQ((co_await rill::with_timeout(1h, room.receive()))->text(), "in time");
    co_await rill::with_timeout(1h, rill::sleep_for(1us));
  }());
  expect_nothing_left("deadlines", 0);
  can_be_given_up([&]() -> task<> {
    static_cast<void>(co_await rill::with_timeout(1h, nobody.send(counted(long_text()))));
  });
}

TEST(combinations, all_of_takes_tasks_with_temporaries_and_gives_their_results) {
  survives([](gate& at) -> task<> {
    auto both = co_await rill::all_of(give(at, counted("left")), size_of(at, std::string(9, 'x')));
    EXPECT_EQ(std::get<0>(both), "left");
    EXPECT_EQ(std::get<1>(both), 9u);
    std::vector<task<counted>> many;
    for (int i = 0; i < 3; ++i) many.push_back(give(at, counted("many")));
    EXPECT_EQ((co_await rill::all_of(std::move(many))).size(), 3u);
  });
}

TEST(combinations, any_of_gives_the_first_and_destroys_the_others_once) {
  rill::event never;
  survives([&never](gate& at) -> task<> {
    const auto waits = [](rill::event& what, counted with) -> task<counted> {
      const counted local("local");
      co_await what.wait();
      co_return with;
    };
    auto first = co_await rill::any_of(waits(never, counted("loser")), give(at, counted("won")));
    EXPECT_EQ(first.index(), 1u);
    EXPECT_EQ(std::get<1>(first), "won");
  });
}

TEST(waiting, each_form_is_destroyed_once_among_live_temporaries) {
  rill::event never;
  const auto wait = [&never](counted with) -> task<counted> {
    co_await never.wait();
    co_return with;
  };
  can_be_given_up([&]() -> task<> { co_await rill::sleep_for(1h); });
  can_be_given_up([&]() -> task<> {
    const std::string joined = counted("left").text() + (co_await wait(counted("right"))).text();
  });
  can_be_given_up([&]() -> task<> {
    for (const counted& each : std::vector<counted>(2, co_await wait(counted("range")))) {
      ADD_FAILURE() << each.text();
    }
  });
  can_be_given_up([&]() -> task<> {
    if (const auto value = co_await wait(counted("init")); value == "init") ADD_FAILURE();
  });
  can_be_given_up([&]() -> task<> {
    std::vector<task<counted>> stored;
    for (int i = 0; i < 3; ++i) stored.push_back(wait(counted("stored")));
    static_cast<void>(co_await std::move(stored[1]));
  });
  can_be_given_up([&]() -> task<> {
    try {
      static_cast<void>(co_await rill::with_timeout(1h, wait(counted("timed"))));
    } catch (...) {
      ADD_FAILURE() << "a cancellation is not an exception";
    }
  });
}

}  // namespace
}  // namespace idioms
