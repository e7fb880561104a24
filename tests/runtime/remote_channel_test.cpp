// Channels between loops: order, bounds, closing from either side, cancellation, lifetime.
#include <rill/runtime/remote_channel.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "support.h"
#include <rill/runtime/combine.h>
#include <rill/runtime/event.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/timeout.h>

namespace rill {
namespace {

using namespace std::chrono_literals;
using test::run_loop;
using test::settle;

/// Runs a task on a loop and a thread of its own. The thread is joined by the destructor.
class other_loop {
 public:
  template <class Body>
  explicit other_loop(Body body)
      : thread_([body = std::move(body)]() mutable { run_loop(body); }) {}
  other_loop(other_loop&&) = default;
  other_loop& operator=(other_loop&&) = delete;
  ~other_loop() {
    if (thread_.joinable()) thread_.join();
  }

 private:
  std::thread thread_;
};

/// Sends from, from + 1 ... until `to`.
template <class Number>
task<bool> send_range(remote_sender<Number> sender, int from, int to) {
  for (int i = from; i < to; ++i) {
    const bool sent = co_await sender.send(Number(i));
    if (!sent) co_return false;
  }
  co_return true;
}

TEST(remote_channel, delivers_in_order_within_one_loop) {
  run_loop([]() -> task<> {
    remote_channel<int> numbers(3);
    const auto receive = [&]() -> task<> {
      for (int i = 0; i < 100; ++i) EXPECT_EQ(co_await numbers.receiver.receive(), i);
      EXPECT_EQ(co_await numbers.receiver.receive(), std::nullopt);
    };
    co_await all_of(send_range(std::move(numbers.sender), 0, 100), receive());
  });
}

TEST(remote_channel, delivers_in_order_from_another_loop) {
  run_loop([]() -> task<> {
    for (const std::size_t capacity : {1U, 2U, 64U}) {
      remote_channel<int> numbers(capacity);
      const other_loop other([sender = std::move(numbers.sender)]() mutable {
        return send_range(std::move(sender), 0, 5000);
      });
      for (int i = 0; i < 5000; ++i) EXPECT_EQ(co_await numbers.receiver.receive(), i);
      EXPECT_EQ(co_await numbers.receiver.receive(), std::nullopt);
      EXPECT_TRUE(numbers.receiver.is_closed());
    }
  });
}

TEST(remote_channel, holds_a_sender_while_it_is_full) {
  run_loop([]() -> task<> {
    remote_channel<int> numbers(2);
    EXPECT_EQ(numbers.receiver.capacity(), 2U);
    int sent = 0;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        for (; sent < 5; ++sent) EXPECT_TRUE(co_await numbers.sender.send(sent));
      });
      co_await settle(20);
      EXPECT_EQ(sent, 2);
      EXPECT_EQ(numbers.receiver.size(), 2U);
      EXPECT_FALSE(numbers.sender.try_send(9));
      EXPECT_EQ(numbers.receiver.try_receive(), 0);
      co_await settle(20);
      EXPECT_EQ(sent, 3);
      for (int i = 1; i < 5; ++i) EXPECT_EQ(co_await numbers.receiver.receive(), i);
    });
  });
}

TEST(remote_channel, carries_what_can_only_be_moved) {
  run_loop([]() -> task<> {
    remote_channel<std::unique_ptr<int>> owners(1);
    EXPECT_TRUE(co_await owners.sender.send(std::make_unique<int>(5)));
    auto refused = std::make_unique<int>(6);
    EXPECT_FALSE(owners.sender.try_send(std::move(refused)));
    EXPECT_EQ(*refused, 6);
    const auto got = co_await owners.receiver.receive();
    EXPECT_EQ(**got, 5);
  });
}

TEST(remote_channel, can_be_fed_from_a_thread_without_a_loop) {
  run_loop([]() -> task<> {
    remote_channel<int> numbers(4);
    std::thread other([sender = std::move(numbers.sender)]() mutable {
      for (int i = 0; i < 1000;) {
        if (sender.try_send(i)) {
          ++i;
        } else {
          std::this_thread::yield();
        }
      }
    });
    for (int i = 0; i < 1000; ++i) EXPECT_EQ(co_await numbers.receiver.receive(), i);
    EXPECT_EQ(co_await numbers.receiver.receive(), std::nullopt);
    other.join();
  });
}

TEST(remote_channel, connects_many_producing_loops_with_many_consumers) {
  constexpr int producer_count = 4;
  constexpr int each_sends = 3000;
  std::vector<int> times(producer_count * each_sends);
  run_loop([&]() -> task<> {
    remote_channel<int> numbers(8);
    std::vector<other_loop> others;
    for (int i = 0; i < producer_count; ++i) {
      others.emplace_back([sender = numbers.sender, i]() mutable {
        // Two tasks of one loop as well.
        return [](remote_sender<int> to, int first) -> task<> {
          co_await all_of(send_range(to, first, first + each_sends / 2),
                          send_range(to, first + each_sends / 2, first + each_sends));
        }(std::move(sender), i * each_sends);
      });
    }
    numbers.sender.reset();
    const auto consume = [&]() -> task<> {
      for (;;) {
        const auto value = co_await numbers.receiver.receive();
        if (!value) break;
        ++times[static_cast<std::size_t>(*value)];
      }
    };
    co_await all_of(consume(), consume(), consume());
  });
  for (const int each : times) EXPECT_EQ(each, 1);
}

TEST(remote_channel, closes_when_the_last_sender_is_gone_and_delivers_what_is_left) {
  run_loop([]() -> task<> {
    remote_channel<int> numbers(4);
    {
      remote_sender<int> first = std::move(numbers.sender);
      remote_sender<int> second = first;
      EXPECT_TRUE(first.try_send(1));
      first.reset();
      EXPECT_TRUE(first.is_closed());
      EXPECT_TRUE(second.try_send(2));
      EXPECT_FALSE(second.is_closed());
    }
    EXPECT_EQ(co_await numbers.receiver.receive(), 1);
    EXPECT_EQ(co_await numbers.receiver.receive(), 2);
    EXPECT_EQ(co_await numbers.receiver.receive(), std::nullopt);
  });
}

TEST(remote_channel, wakes_every_receiver_when_it_closes) {
  run_loop([]() -> task<> {
    remote_channel<int> numbers(1);
    const auto receive = [&]() -> task<int> {
      const auto value = co_await numbers.receiver.receive();
      co_return value.value_or(-1);
    };
    const auto close = [&]() -> task<> {
      co_await settle();
      EXPECT_TRUE(numbers.sender.try_send(3));
      numbers.sender.reset();
    };
    const auto got = co_await all_of(receive(), receive(), close());
    EXPECT_EQ(std::get<0>(got), 3);
    EXPECT_EQ(std::get<1>(got), -1);
  });
}

TEST(remote_channel, closed_by_its_receiver_refuses_senders_and_keeps_what_had_its_place) {
  run_loop([]() -> task<> {
    remote_channel<int> numbers(1);
    const auto send = [&]() -> task<> {
      EXPECT_TRUE(co_await numbers.sender.send(1));
      EXPECT_FALSE(co_await numbers.sender.send(2));  // waits, and is refused
      EXPECT_FALSE(co_await numbers.sender.send(3));  // refused at once
      EXPECT_FALSE(numbers.sender.try_send(4));
      EXPECT_TRUE(numbers.sender.is_closed());
    };
    const auto close = [&]() -> task<> {
      co_await settle(20);
      numbers.receiver.close();
    };
    co_await all_of(send(), close());
    EXPECT_EQ(co_await numbers.receiver.receive(), 1);
    EXPECT_EQ(co_await numbers.receiver.receive(), std::nullopt);
    EXPECT_EQ(numbers.receiver.try_receive(), std::nullopt);
  });
}

TEST(remote_channel, a_value_on_its_way_when_it_closes_still_arrives) {
  run_loop([]() -> task<> {
    remote_channel<int> numbers(2);
    EXPECT_TRUE(numbers.sender.try_send(1));  // its message is not taken before the next turn
    numbers.receiver.close();
    EXPECT_EQ(numbers.receiver.size(), 0U);
    EXPECT_EQ(co_await numbers.receiver.receive(), 1);
    EXPECT_EQ(co_await numbers.receiver.receive(), std::nullopt);
  });
}

TEST(remote_channel, a_receiver_that_ends_early_tells_senders_on_other_loops) {
  std::atomic<int> refused = 0;
  std::vector<other_loop> others;
  run_loop([&]() -> task<> {
    remote_channel<std::string> words(2);
    for (int i = 0; i < 3; ++i) {
      others.emplace_back([sender = words.sender, &refused]() mutable {
        return [](remote_sender<std::string> to, std::atomic<int>& count) -> task<> {
          while (co_await to.send("a value that is longer than a small string")) {
          }
          ++count;
        }(std::move(sender), refused);
      });
    }
    for (int i = 0; i < 100; ++i) EXPECT_TRUE(co_await words.receiver.receive());
  });
  others.clear();
  EXPECT_EQ(refused, 3);
}

TEST(remote_channel, senders_may_outlive_the_receiving_loop) {
  std::optional<remote_sender<int>> late;
  run_loop([&]() -> task<> {
    remote_channel<int> numbers(2);
    late.emplace(numbers.sender);
    EXPECT_TRUE(late->try_send(1));
    co_return;
  });
  EXPECT_TRUE(late->is_closed());
  EXPECT_FALSE(late->try_send(2));
  run_loop([&]() -> task<> { EXPECT_FALSE(co_await late->send(3)); });
}

TEST(remote_channel, a_cancelled_send_has_not_sent) {
  run_loop([]() -> task<> {
    remote_channel<int> numbers(1);
    EXPECT_TRUE(numbers.sender.try_send(1));
    const auto send = [&]() -> task<bool> { co_return co_await numbers.sender.send(2); };
    EXPECT_THROW(co_await with_timeout(1ms, send()), timeout_error);
    EXPECT_THROW(co_await with_timeout(1ms, numbers.sender.send(3)), timeout_error);
    EXPECT_EQ(numbers.receiver.try_receive(), 1);
    EXPECT_TRUE(numbers.sender.try_send(4));
    EXPECT_EQ(co_await numbers.receiver.receive(), 4);
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.cancel();
      co_await numbers.sender.send(5);
    });
    co_await settle();
    EXPECT_EQ(numbers.receiver.try_receive(), std::nullopt);
  });
}

TEST(remote_channel, a_send_that_was_accepted_before_its_cancellation_arrived_has_sent) {
  run_loop([]() -> task<> {
    remote_channel<int> numbers(1);
    EXPECT_TRUE(numbers.sender.try_send(1));
    bool sent = false;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> { sent = co_await numbers.sender.send(2); });
      co_await settle(20);
      EXPECT_EQ(numbers.receiver.try_receive(), 1);  // the answer is on its way now
      tasks.cancel();
    });
    EXPECT_TRUE(sent);
    EXPECT_EQ(numbers.receiver.try_receive(), 2);
  });
}

TEST(remote_channel, a_cancelled_receive_takes_nothing_and_one_that_has_a_value_delivers_it) {
  run_loop([]() -> task<> {
    remote_channel<int> numbers(1);
    EXPECT_THROW(co_await with_timeout(1ms, numbers.receiver.receive()), timeout_error);
    EXPECT_TRUE(numbers.sender.try_send(1));
    EXPECT_EQ(co_await numbers.receiver.receive(), 1);
    std::optional<int> received;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> { received = co_await numbers.receiver.receive(); });
      co_await settle();
      // The next turn takes both messages: the value, then the order to cancel.
      EXPECT_TRUE(numbers.sender.try_send(2));
      loop::current().post([&tasks] { tasks.cancel(); });
      co_await sleep_for(24h);
    });
    EXPECT_EQ(received, 2);
  });
}

// Every value is counted once on each side, however cancellation and acceptance cross.
TEST(remote_channel, loses_and_doubles_nothing_when_sends_are_cancelled_at_random) {
  std::atomic<int> sent = 0;
  int received = 0;
  run_loop([&]() -> task<> {
    remote_channel<std::unique_ptr<int>> numbers(2);
    std::vector<other_loop> others;
    for (unsigned seed = 0; seed < 3; ++seed) {
      others.emplace_back([sender = numbers.sender, &sent, seed]() mutable {
        return [](remote_sender<std::unique_ptr<int>> to, std::atomic<int>& count,
                  unsigned with) -> task<> {
          std::minstd_rand random(with + 1);
          for (int round = 0; round < 1000; ++round) {
            const auto send = [&]() -> task<> {
              if (co_await to.send(std::make_unique<int>(1))) ++count;
            };
            const int patience = static_cast<int>(random() % 6);
            co_await any_of(send(), send(), settle(patience));
          }
        }(std::move(sender), sent, seed);
      });
    }
    numbers.sender.reset();
    std::minstd_rand random(99);
    for (;;) {
      const auto value = co_await numbers.receiver.receive();
      if (!value) break;
      ++received;
      const int pause = static_cast<int>(random() % 3);
      co_await settle(pause);
    }
  });
  EXPECT_EQ(received, sent);
  EXPECT_GT(received, 0);
}

TEST(remote_channel, loops_answer_each_other) {
  run_loop([]() -> task<> {
    remote_channel<int> answers(1);
    // The other loop makes its own channel and hands its sender back.
    remote_channel<remote_sender<int>> introductions(1);
    const other_loop other(
        [to = std::move(answers.sender), introduce = std::move(introductions.sender)]() mutable {
          return [](remote_sender<int> back, remote_sender<remote_sender<int>> hello) -> task<> {
            remote_channel<int> questions(1);
            EXPECT_TRUE(co_await hello.send(std::move(questions.sender)));
            for (;;) {
              const auto question = co_await questions.receiver.receive();
              if (!question) break;
              EXPECT_TRUE(co_await back.send(2 * *question));
            }
          }(std::move(to), std::move(introduce));
        });
    auto questions = co_await introductions.receiver.receive();
    for (int i = 0; i < 2000; ++i) {
      EXPECT_TRUE(co_await questions->send(i));
      EXPECT_EQ(co_await answers.receiver.receive(), 2 * i);
    }
    questions->reset();
    EXPECT_EQ(co_await answers.receiver.receive(), std::nullopt);
  });
}

TEST(remote_channel, the_last_act_of_a_loop_still_wakes_the_other) {
  run_loop([]() -> task<> {
    for (int round = 0; round < 200; ++round) {
      remote_channel<int> numbers(1);
      const other_loop other([sender = std::move(numbers.sender)]() mutable {
        return [](remote_sender<int> to) -> task<> {
          EXPECT_TRUE(to.try_send(1));
          co_return;
        }(std::move(sender));
      });
      EXPECT_EQ(co_await numbers.receiver.receive(), 1);
      EXPECT_EQ(co_await numbers.receiver.receive(), std::nullopt);
    }
  });
}

TEST(remote_channel, that_is_always_ready_starves_nobody) {
  run_loop([]() -> task<> {
    remote_channel<int> numbers(1);
    numbers.receiver.close();
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        for (;;) co_await numbers.receiver.receive();
      });
      tasks.start([&]() -> task<> {
        for (;;) co_await numbers.sender.send(1);
      });
      co_await sleep_for(1ms);
      tasks.cancel();
    });
  });
}

TEST(remote_channel_death_test, a_receiver_belongs_to_its_loop) {
  EXPECT_DEATH(
      {
        std::optional<remote_receiver<int>> escaped;
        run_loop([&]() -> task<> {
          remote_channel<int> numbers(1);
          escaped.emplace(std::move(numbers.receiver));
          co_return;
        });
        escaped.reset();
      },
      "destroyed outside its loop");
}

}  // namespace
}  // namespace rill
