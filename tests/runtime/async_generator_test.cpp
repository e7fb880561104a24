// Asynchronous generators: the body runs in the consumer's chain; every way of ending it.
#include <rill/runtime/async_generator.h>

#include <chrono>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "support.h"
#include <rill/runtime/channel.h>
#include <rill/runtime/combine.h>
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

static_assert(!std::is_copy_constructible_v<async_generator<int>>);
static_assert(std::is_nothrow_move_constructible_v<async_generator<int>>);

async_generator<int> count(int from, int to) {
  for (int i = from; i < to; ++i) {
    if (i % 3 == 0) co_await yield();
    co_yield i;
  }
}

async_generator<int> noted(record& to, event& gate) {
  const leaves_note at_end(to, "body gone");
  co_yield 1;
  const leaves_note later(to, "later local gone");
  co_await gate.wait();
  co_yield 2;
}

TEST(async_generator, gives_what_its_body_yields_and_then_nullptr) {
  run_loop([]() -> task<> {
    auto numbers = count(0, 10);
    std::vector<int> got;
    while (const int* value = co_await numbers.next()) got.push_back(*value);
    EXPECT_EQ(got, (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
    EXPECT_EQ(co_await numbers.next(), nullptr);
    EXPECT_EQ(co_await numbers.next(), nullptr);
  });
}

TEST(async_generator, runs_nothing_until_next_and_only_as_far_as_asked) {
  record seen;
  run_loop([&]() -> task<> {
    const auto body = [](record& to) -> async_generator<int> {
      to.emplace_back("begun");
      co_yield 1;
      to.emplace_back("resumed");
    };
    auto numbers = body(seen);
    co_await settle();
    EXPECT_EQ(seen, record());
    co_await numbers.next();
    co_await settle();
    EXPECT_EQ(seen, (record{"begun"}));
    co_await numbers.next();
    EXPECT_EQ(seen, (record{"begun", "resumed"}));
  });
}

TEST(async_generator, suspends_its_consumer_while_the_body_waits) {
  run_loop([]() -> task<> {
    channel<int> source(0);
    const auto doubled = [](channel<int>& from) -> async_generator<int> {
      for (;;) {
        const auto value = co_await from.receive();
        if (!value) co_return;
        co_yield 2 * *value;
      }
    };
    const auto consume = [&]() -> task<int> {
      int sum = 0;
      auto numbers = doubled(source);
      while (const int* value = co_await numbers.next()) sum += *value;
      co_return sum;
    };
    const auto produce = [&]() -> task<> {
      for (int i = 1; i <= 4; ++i) {
        co_await source.send(i);
        co_await settle(2);
      }
      source.close();
    };
    const auto results = co_await all_of(consume(), produce());
    EXPECT_EQ(std::get<0>(results), 20);
  });
}

TEST(async_generator, lends_the_very_object_which_may_be_moved_from) {
  run_loop([]() -> task<> {
    const auto body = []() -> async_generator<std::unique_ptr<int>> {
      co_yield std::make_unique<int>(1);
      auto named = std::make_unique<int>(2);
      co_yield named;
      EXPECT_EQ(named, nullptr);
    };
    auto owners = body();
    std::vector<std::unique_ptr<int>> got;
    while (auto* owned = co_await owners.next()) got.push_back(std::move(*owned));
    EXPECT_EQ(got.size(), 2U);
    EXPECT_EQ(*got[0], 1);
    EXPECT_EQ(*got[1], 2);
  });
}

TEST(async_generator, lends_a_copy_of_a_constant_and_yields_constants) {
  run_loop([]() -> task<> {
    const std::string constant = "constant, and longer than a small string";
    const auto copies = [&]() -> async_generator<std::string> { co_yield constant; };
    auto words = copies();
    while (std::string* word = co_await words.next()) {
      EXPECT_EQ(*word, constant);
      word->clear();
    }
    EXPECT_FALSE(constant.empty());
    const auto looks = [&]() -> async_generator<const std::string> { co_yield constant; };
    auto places = looks();
    EXPECT_EQ(co_await places.next(), &constant);
  });
}

TEST(async_generator, rethrows_what_leaves_its_body_once) {
  run_loop([]() -> task<> {
    const auto body = []() -> async_generator<int> {
      co_yield 1;
      co_await yield();
      throw std::runtime_error("no more");
    };
    auto numbers = body();
    EXPECT_EQ(*(co_await numbers.next()), 1);
    EXPECT_THROW(co_await numbers.next(), std::runtime_error);
    EXPECT_EQ(co_await numbers.next(), nullptr);
  });
}

TEST(async_generator, destroyed_between_elements_destroys_its_body_only) {
  record seen;
  event gate;
  run_loop([&]() -> task<> {
    {
      auto numbers = noted(seen, gate);
      EXPECT_EQ(*(co_await numbers.next()), 1);
    }
    EXPECT_EQ(seen, (record{"body gone"}));
    {
      auto never = noted(seen, gate);
    }
    co_await settle();
    seen.emplace_back("consumer lives");
  });
  EXPECT_EQ(seen, (record{"body gone", "consumer lives"}));
}

TEST(async_generator, cancelled_while_its_body_waits_destroys_the_body_then_the_consumer) {
  record seen;
  event never;
  run_loop([&]() -> task<> {
    const auto consumer = [&]() -> task<> {
      const leaves_note at_end(seen, "consumer gone");
      auto numbers = noted(seen, never);
      while (co_await numbers.next() != nullptr) {
      }
      seen.emplace_back("never");
    };
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start(consumer);
      co_await settle();
      tasks.cancel();
    });
  });
  EXPECT_EQ(seen, (record{"later local gone", "body gone", "consumer gone"}));
}

TEST(async_generator, cancelled_while_its_consumer_waits_destroys_the_consumer_with_the_body) {
  record seen;
  event never;
  run_loop([&]() -> task<> {
    const auto consumer = [&]() -> task<> {
      const leaves_note outer(seen, "consumer gone");
      auto numbers = noted(seen, never);
      co_await numbers.next();
      const leaves_note inner(seen, "consumer's later local gone");
      co_await never.wait();
    };
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start(consumer);
      co_await settle();
      tasks.cancel();
    });
  });
  EXPECT_EQ(seen, (record{"consumer's later local gone", "body gone", "consumer gone"}));
}

TEST(async_generator, cancelled_while_ready_still_gets_its_element) {
  record seen;
  event gate;
  run_loop([&]() -> task<> {
    const auto consumer = [&]() -> task<> {
      auto numbers = noted(seen, gate);
      co_await numbers.next();
      const int* value = co_await numbers.next();
      seen.push_back("got " + std::to_string(*value));
      co_await numbers.next();
      seen.emplace_back("never");
    };
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start(consumer);
      co_await settle();
      gate.set();
      tasks.cancel();
    });
  });
  EXPECT_EQ(seen, (record{"got 2", "later local gone", "body gone"}));
}

TEST(async_generator, has_ended_for_an_object_that_outlives_a_cancelled_next) {
  record seen;
  event never;
  run_loop([&]() -> task<> {
    auto numbers = noted(seen, never);
    co_await numbers.next();
    EXPECT_THROW(co_await with_timeout(1ms, numbers.next()), timeout_error);
    EXPECT_EQ(seen, (record{"later local gone", "body gone"}));
    EXPECT_EQ(co_await numbers.next(), nullptr);
  });
  EXPECT_EQ(seen, (record{"later local gone", "body gone"}));
}

TEST(async_generator, may_be_consumed_by_one_task_after_another) {
  run_loop([]() -> task<> {
    auto numbers = count(0, 100);
    const auto take = [&](int how_many) -> task<int> {
      int sum = 0;
      for (int i = 0; i < how_many; ++i) {
        if (const int* value = co_await numbers.next()) sum += *value;
      }
      co_return sum;
    };
    int sum = co_await take(10);
    EXPECT_EQ(sum, 45);
    sum = co_await with_timeout(1h, take(10));  // in a chain of its own
    EXPECT_EQ(sum, 145);
    EXPECT_EQ(*(co_await numbers.next()), 20);
  });
}

TEST(async_generator, can_be_moved_between_elements) {
  run_loop([]() -> task<> {
    std::optional<async_generator<int>> first(count(0, 3));
    EXPECT_EQ(*(co_await first->next()), 0);
    async_generator<int> second = std::move(*first);
    first.reset();
    EXPECT_EQ(*(co_await second.next()), 1);
    second = count(7, 8);
    EXPECT_EQ(*(co_await second.next()), 7);
    EXPECT_EQ(co_await second.next(), nullptr);
  });
}

async_generator<int> tree(int depth) {
  if (depth == 0) {
    co_yield 1;
    co_return;
  }
  for (int side = 0; side < 2; ++side) {
    auto below = tree(depth - 1);
    while (const int* value = co_await below.next()) co_yield *value;
  }
}

TEST(async_generator, nests) {
  run_loop([]() -> task<> {
    int sum = 0;
    auto leaves = tree(8);
    while (const int* value = co_await leaves.next()) sum += *value;
    EXPECT_EQ(sum, 256);
  });
}

TEST(async_generator, yields_a_million_elements_without_stack_and_starves_nobody) {
  bool cancelled = false;
  run_loop([&]() -> task<> {
    const auto forever = []() -> async_generator<int> {
      for (int i = 0;; i = (i + 1) % 1000) co_yield i;
    };
    auto numbers = forever();
    for (int i = 0; i < 1'000'000; ++i) {
      if (co_await numbers.next() == nullptr) ADD_FAILURE();
    }
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        while (co_await numbers.next() != nullptr) {
        }
      });
      co_await sleep_for(1ms);
      cancelled = true;
      tasks.cancel();
    });
    // Cancelled in between two elements or within the body: either way all is well.
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([]() -> task<> {
        auto empty = count(0, 0);
        for (;;) co_await empty.next();
      });
      co_await sleep_for(1ms);
      tasks.cancel();
    });
  });
  EXPECT_TRUE(cancelled);
}

TEST(async_generator, frees_its_frames) {
  const auto before = frame_statistics().live_count;
  run_loop([]() -> task<> {
    auto whole = count(0, 5);
    while (co_await whole.next() != nullptr) {
    }
    auto part = count(0, 5);
    co_await part.next();
    auto none = count(0, 5);
  });
  EXPECT_EQ(frame_statistics().live_count, before);
}

TEST(async_generator, is_told_in_the_task_tree) {
  record seen;
  event gate;
  run_loop([&]() -> task<> {
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        auto numbers = noted(seen, gate);
        while (co_await numbers.next() != nullptr) {
        }
      });
      co_await settle();
      const std::string tree = loop::current().task_tree();
      EXPECT_NE(tree.find("noted (runtime/async_generator_test.cpp:"), std::string::npos) << tree;
      gate.set();
    });
  });
}

}  // namespace
}  // namespace rill
