// event, semaphore, mutex and channel: order, hand-over, cancellation, fairness.
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "support.h"
#include <rill/runtime/channel.h>
#include <rill/runtime/event.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/semaphore.h>
#include <rill/runtime/sleep.h>

namespace rill {
namespace {

using namespace std::chrono_literals;
using test::record;
using test::run_loop;
using test::settle;

/// Runs `each` as a child of a nursery until it ends or the millisecond is over.
template <class Body>
void expect_ends_when_cancelled(Body&& each) {
  run_loop([&]() -> task<> {
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start(std::ref(each));
      co_await sleep_for(1ms);
      tasks.cancel();
    });
  });
}

TEST(event, wakes_every_waiter_in_the_order_of_waiting) {
  record seen;
  event gate;
  run_loop([&]() -> task<> {
    const auto waiter = [&](std::string name) -> task<> {
      co_await gate.wait();
      seen.push_back(name);
    };
    co_await with_nursery([&](nursery& tasks) -> task<> {
      for (const char* name : {"a", "b", "c"}) tasks.start(waiter, name);
      co_await settle();
      EXPECT_EQ(seen, record());
      gate.set();
      EXPECT_TRUE(gate.is_set());
    });
  });
  EXPECT_EQ(seen, (record{"a", "b", "c"}));
}

TEST(event, does_not_suspend_while_it_is_set_and_can_be_reset) {
  run_loop([]() -> task<> {
    event flag;
    flag.set();
    co_await flag.wait();
    flag.reset();
    EXPECT_FALSE(flag.is_set());
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([](event& of) -> task<> { co_await of.wait(); }, std::ref(flag));
      co_await settle();
      EXPECT_EQ(tasks.size(), 1U);
      flag.set();
      flag.reset();  // whoever waited has been woken all the same
    });
  });
}

TEST(event, forgets_a_waiter_that_is_cancelled) {
  event gate;
  int woken = 0;
  run_loop([&]() -> task<> {
    const auto waiter = [&]() -> task<> {
      co_await gate.wait();
      ++woken;
    };
    co_await with_nursery([&](nursery& kept) -> task<> {
      kept.start(waiter);
      co_await with_nursery([&](nursery& dropped) -> task<> {
        dropped.start(waiter);
        co_await settle();
        dropped.cancel();
      });
      kept.start(waiter);
      co_await settle();
      gate.set();
    });
  });
  EXPECT_EQ(woken, 2);
}

TEST(event, can_be_set_from_a_function_posted_to_the_loop) {
  event gate;
  run_loop([&]() -> task<> {
    loop::current().post([&] { gate.set(); });
    co_await gate.wait();
  });
}

TEST(semaphore, gives_permits_in_the_order_of_asking_and_never_too_many) {
  semaphore permits(2);
  record seen;
  std::size_t held = 0;
  std::size_t held_max = 0;
  run_loop([&]() -> task<> {
    const auto worker = [&](std::string name) -> task<> {
      const auto permit = co_await permits.acquire();
      EXPECT_TRUE(permit);
      seen.push_back(name);
      held_max = std::max(held_max, ++held);
      co_await settle();
      --held;
    };
    co_await with_nursery([&](nursery& tasks) -> task<> {
      for (const char* name : {"a", "b", "c", "d", "e"}) tasks.start(worker, name);
      co_await yield();
      EXPECT_EQ(permits.waiting_count(), 3U);
    });
  });
  EXPECT_EQ(seen, (record{"a", "b", "c", "d", "e"}));
  EXPECT_EQ(held_max, 2U);
  EXPECT_EQ(permits.available(), 2U);
}

TEST(semaphore, try_acquire_never_waits) {
  semaphore permits(1);
  auto first = permits.try_acquire();
  EXPECT_TRUE(first);
  EXPECT_FALSE(permits.try_acquire());
  first.release();
  EXPECT_FALSE(first);
  EXPECT_TRUE(permits.try_acquire());
  permits.add();
  EXPECT_EQ(permits.available(), 2U);
}

TEST(semaphore, permits_move) {
  semaphore permits(1);
  auto first = permits.try_acquire();
  auto second = std::move(first);
  EXPECT_FALSE(first);
  EXPECT_EQ(permits.available(), 0U);
  second = semaphore::permit();
  EXPECT_EQ(permits.available(), 1U);
}

TEST(semaphore, a_permit_handed_to_a_task_that_is_cancelled_meanwhile_comes_back) {
  semaphore permits(1);
  int delivered = 0;
  run_loop([&]() -> task<> {
    co_await with_nursery([&](nursery& tasks) -> task<> {
      auto held = permits.try_acquire();
      tasks.start([&]() -> task<> {
        const auto permit = co_await permits.acquire();
        ++delivered;
        co_await yield();
        ++delivered;
      });
      co_await settle();
      held.release();  // to the waiter, which is ready now
      EXPECT_EQ(permits.available(), 0U);
      tasks.cancel();
    });
  });
  EXPECT_EQ(delivered, 1);
  EXPECT_EQ(permits.available(), 1U);
}

TEST(semaphore, a_cancelled_waiter_takes_no_permit) {
  semaphore permits(0);
  run_loop([&]() -> task<> {
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> { const auto permit = co_await permits.acquire(); });
      co_await settle();
      tasks.cancel();
    });
    permits.add();
    EXPECT_EQ(permits.available(), 1U);
    EXPECT_EQ(permits.waiting_count(), 0U);
  });
}

TEST(semaphore, a_task_that_always_finds_a_permit_starves_nobody) {
  semaphore permits(1);
  expect_ends_when_cancelled([&]() -> task<> {
    for (;;) const auto permit = co_await permits.acquire();
  });
  EXPECT_EQ(permits.available(), 1U);
}

TEST(mutex, keeps_others_out_across_awaits) {
  mutex lock;
  record seen;
  run_loop([&]() -> task<> {
    const auto worker = [&](std::string name) -> task<> {
      const auto guard = co_await lock.lock();
      seen.push_back(name + " in");
      co_await settle();
      seen.push_back(name + " out");
    };
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start(worker, "a");
      tasks.start(worker, "b");
      co_await yield();
      EXPECT_TRUE(lock.is_locked());
      EXPECT_FALSE(lock.try_lock());
    });
  });
  EXPECT_EQ(seen, (record{"a in", "a out", "b in", "b out"}));
  EXPECT_FALSE(lock.is_locked());
}

TEST(mutex, is_unlocked_by_a_cancelled_holder) {
  mutex lock;
  run_loop([&]() -> task<> {
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        const auto guard = co_await lock.lock();
        co_await sleep_for(1h);
      });
      co_await settle();
      tasks.cancel();
    });
    EXPECT_TRUE(lock.try_lock());
  });
}

TEST(channel, delivers_values_in_the_order_of_sending) {
  std::vector<int> got;
  run_loop([&]() -> task<> {
    channel<int> numbers(3);
    const auto produce = [&]() -> task<> {
      for (int i = 0; i < 100; ++i) EXPECT_TRUE(co_await numbers.send(i));
      numbers.close();
    };
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start(produce);
      for (;;) {
        const auto value = co_await numbers.receive();
        if (!value) break;
        got.push_back(*value);
      }
    });
  });
  EXPECT_EQ(got.size(), 100U);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(got[static_cast<std::size_t>(i)], i);
}

TEST(channel, holds_a_sender_while_it_is_full) {
  run_loop([]() -> task<> {
    channel<int> numbers(2);
    int sent = 0;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start(
          [](channel<int>& to, int& count) -> task<> {
            for (; count < 5; ++count) co_await to.send(count);
          },
          std::ref(numbers), std::ref(sent));
      co_await settle();
      EXPECT_EQ(sent, 2);
      EXPECT_EQ(numbers.size(), 2U);
      EXPECT_EQ(numbers.try_receive(), 0);
      co_await settle();
      EXPECT_EQ(sent, 3);
      for (int i = 1; i < 5; ++i) EXPECT_EQ(co_await numbers.receive(), i);
    });
  });
}

TEST(channel, without_capacity_hands_over_from_task_to_task) {
  run_loop([]() -> task<> {
    channel<int> numbers(0);
    EXPECT_FALSE(numbers.try_send(0));
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start(
          [](channel<int>& to) -> task<> {
            for (int i = 0; i < 10; ++i) EXPECT_TRUE(co_await to.send(i));
            to.close();
          },
          std::ref(numbers));
      for (int i = 0; i < 10; ++i) EXPECT_EQ(co_await numbers.receive(), i);
      EXPECT_EQ(co_await numbers.receive(), std::nullopt);
    });
  });
}

TEST(channel, serves_waiting_receivers_in_the_order_of_waiting) {
  record seen;
  run_loop([&]() -> task<> {
    channel<int> numbers(1);
    const auto receiver = [&](std::string name) -> task<> {
      const auto value = co_await numbers.receive();
      seen.push_back(name + (value ? std::to_string(*value) : "-"));
    };
    co_await with_nursery([&](nursery& tasks) -> task<> {
      for (const char* name : {"a", "b", "c"}) tasks.start(receiver, name);
      co_await settle();
      EXPECT_TRUE(numbers.try_send(1));
      EXPECT_TRUE(numbers.try_send(2));
      co_await settle();
      numbers.close();
    });
  });
  EXPECT_EQ(seen, (record{"a1", "b2", "c-"}));
}

TEST(channel, closed_delivers_what_it_holds_and_refuses_what_comes) {
  run_loop([]() -> task<> {
    channel<std::string> words(2);
    EXPECT_TRUE(co_await words.send("first"));
    EXPECT_TRUE(words.try_send("second"));
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start(
          [](channel<std::string>& to) -> task<> {
            EXPECT_FALSE(co_await to.send("third"));  // was waiting when it closed
          },
          std::ref(words));
      co_await settle();
      words.close();
      EXPECT_TRUE(words.is_closed());
    });
    EXPECT_FALSE(co_await words.send("fourth"));
    EXPECT_FALSE(words.try_send("fifth"));
    EXPECT_EQ(co_await words.receive(), "first");
    EXPECT_EQ(co_await words.receive(), "second");
    EXPECT_EQ(co_await words.receive(), std::nullopt);
    words.close();
  });
}

TEST(channel, a_cancelled_send_has_not_sent) {
  run_loop([]() -> task<> {
    channel<int> numbers(1);
    EXPECT_TRUE(numbers.try_send(1));
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([](channel<int>& to) -> task<> { co_await to.send(2); }, std::ref(numbers));
      co_await settle();
      tasks.cancel();
    });
    EXPECT_EQ(numbers.try_receive(), 1);
    EXPECT_EQ(numbers.try_receive(), std::nullopt);
  });
}

TEST(channel, a_value_handed_to_a_receiver_is_delivered_though_it_is_cancelled) {
  std::optional<int> got;
  run_loop([&]() -> task<> {
    channel<int> numbers(1);
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> { got = co_await numbers.receive(); });
      co_await settle();
      EXPECT_TRUE(numbers.try_send(8));
      tasks.cancel();
    });
  });
  EXPECT_EQ(got, 8);
}

TEST(channel, carries_what_can_only_be_moved) {
  run_loop([]() -> task<> {
    channel<std::unique_ptr<int>> owners(1);
    EXPECT_TRUE(co_await owners.send(std::make_unique<int>(5)));
    auto refused = std::make_unique<int>(6);
    EXPECT_FALSE(owners.try_send(std::move(refused)));
    EXPECT_EQ(*refused, 6);
    const auto got = co_await owners.receive();
    EXPECT_EQ(**got, 5);
  });
}

TEST(channel, that_is_always_ready_starves_nobody) {
  channel<int> numbers(1);
  expect_ends_when_cancelled([&]() -> task<> {
    for (;;) {
      co_await numbers.send(1);
      co_await numbers.receive();
    }
  });
  channel<int> closed(1);
  closed.close();
  expect_ends_when_cancelled([&]() -> task<> {
    for (;;) co_await closed.receive();
  });
  expect_ends_when_cancelled([&]() -> task<> {
    for (;;) co_await closed.send(1);
  });
}

TEST(channel, connects_many_senders_and_receivers) {
  constexpr int per_sender = 1000;
  constexpr int sender_count = 8;
  std::vector<int> times(per_sender * sender_count);
  run_loop([&]() -> task<> {
    channel<int> numbers(4);
    const auto produce = [&](int first) -> task<> {
      for (int i = 0; i < per_sender; ++i) co_await numbers.send(first + i);
    };
    const auto consume = [&]() -> task<> {
      for (;;) {
        const auto value = co_await numbers.receive();
        if (!value) break;
        ++times[static_cast<std::size_t>(*value)];
      }
    };
    co_await with_nursery([&](nursery& consumers) -> task<> {
      for (int i = 0; i < 5; ++i) consumers.start(consume);
      co_await with_nursery([&](nursery& producers) -> task<> {
        for (int i = 0; i < sender_count; ++i) producers.start(produce, i * per_sender);
        co_return;
      });
      numbers.close();
    });
  });
  for (const int each : times) EXPECT_EQ(each, 1);
}

TEST(sync_death_test, destroying_what_tasks_wait_for_is_reported) {
  EXPECT_DEATH(
      {
        auto gate = std::make_unique<event>();
        run_loop([&]() -> task<> {
          co_await with_nursery([&](nursery& tasks) -> task<> {
            tasks.start([](event& of) -> task<> { co_await of.wait(); }, std::ref(*gate));
            co_await settle();
            gate.reset();
          });
        });
      },
      "destroyed while tasks wait for it");
}

}  // namespace
}  // namespace rill
