// rate_limiter: how many are let through in which time, and who is first.
#include <rill/net/rate_limiter.h>

#include <chrono>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "support.h"
#include "support/virtual_time.h"
#include <rill/runtime/nursery.h>
#include <rill/runtime/sleep.h>

namespace rill {
namespace {

using namespace std::chrono_literals;
using test::in_virtual_time;
using test::milliseconds_since;
using test::record;
using test::settle;
using times = std::vector<long long>;

task<times> times_of(rate_limiter& limiter, int count) {
  times seen;
  for (int i = 0; i < count; ++i) {
    co_await limiter.acquire();
    seen.push_back(milliseconds_since({}));
  }
  co_return seen;
}

TEST(rate_limiter, lets_one_through_each_interval) {
  in_virtual_time([]() -> task<> {
    rate_limiter limiter(10, 1s);
    const times seen = co_await times_of(limiter, 4);
    EXPECT_EQ(seen, (times{0, 100, 200, 300}));
  });
}

TEST(rate_limiter, lets_a_burst_through_at_once_and_then_keeps_its_rate) {
  in_virtual_time([]() -> task<> {
    rate_limiter limiter(10, 1s, 3);
    const times seen = co_await times_of(limiter, 5);
    EXPECT_EQ(seen, (times{0, 0, 0, 100, 200}));
  });
}

TEST(rate_limiter, saves_no_more_than_a_burst) {
  in_virtual_time([]() -> task<> {
    rate_limiter limiter(10, 1s, 2);
    co_await times_of(limiter, 2);
    co_await sleep_for(1h);
    const times seen = co_await times_of(limiter, 4);
    const long long hour = 3'600'000;
    EXPECT_EQ(seen, (times{hour, hour, hour + 100, hour + 200}));
  });
}

TEST(rate_limiter, takes_several_tokens_at_once) {
  in_virtual_time([]() -> task<> {
    rate_limiter bytes(1000, 1s, 500);
    co_await bytes.acquire(500);
    EXPECT_EQ(milliseconds_since({}), 0);
    co_await bytes.acquire(200);
    EXPECT_EQ(milliseconds_since({}), 200);
    co_await bytes.acquire(500);
    EXPECT_EQ(milliseconds_since({}), 700);
  });
}

TEST(rate_limiter, serves_in_the_order_of_asking_whatever_is_asked_for) {
  record seen;
  in_virtual_time([&]() -> task<> {
    rate_limiter limiter(10, 1s, 5);
    const auto ask = [&](std::string name, std::size_t count) -> task<> {
      co_await limiter.acquire(count);
      seen.push_back(name + " at " + std::to_string(milliseconds_since({})));
    };
    co_await limiter.acquire(5);
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start(ask, std::string("many"), std::size_t{5});
      tasks.start(ask, std::string("one"), std::size_t{1});
      co_await settle();
      co_await sleep_for(150ms);
      EXPECT_FALSE(limiter.try_acquire());  // there is a token, but not for who comes last
    });
  });
  EXPECT_EQ(seen, (record{"many at 500", "one at 600"}));
}

TEST(rate_limiter, takes_nothing_from_those_who_are_cancelled) {
  in_virtual_time([&]() -> task<> {
    rate_limiter limiter(1, 1s);
    co_await limiter.acquire();
    co_await with_nursery([&](nursery& tasks) -> task<> {
      for (int i = 0; i < 5; ++i) {
        tasks.start([&]() -> task<> { co_await limiter.acquire(); });
      }
      co_await sleep_for(500ms);
      tasks.cancel();
    });
    co_await limiter.acquire();
    EXPECT_EQ(milliseconds_since({}), 1000);
  });
}

TEST(rate_limiter, tries_without_waiting) {
  in_virtual_time([&]() -> task<> {
    rate_limiter limiter(2, 1s, 2);
    EXPECT_TRUE(limiter.try_acquire(2));
    EXPECT_FALSE(limiter.try_acquire());
    co_await sleep_for(500ms);
    EXPECT_FALSE(limiter.try_acquire(2));
    EXPECT_TRUE(limiter.try_acquire());
    EXPECT_FALSE(limiter.try_acquire());
  });
}

TEST(rate_limiter, never_exceeds_a_rate_that_does_not_divide_its_period) {
  in_virtual_time([&]() -> task<> {
    rate_limiter limiter(3, 1s);
    co_await times_of(limiter, 3001);
    EXPECT_GE(milliseconds_since({}), 1'000'000);
    EXPECT_LE(milliseconds_since({}), 1'000'010);
  });
}

TEST(rate_limiter_death_test, refuses_what_can_never_be) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(rate_limiter(0, 1s), "lets something through");
  EXPECT_DEATH(rate_limiter(1, 0s), "lets something through");
  EXPECT_DEATH(rate_limiter(1, 1s, 0), "lets something through");
  EXPECT_DEATH(rate_limiter(1, 1h, 1'000'000), "century");
  EXPECT_DEATH(in_virtual_time([]() -> task<> {
                 rate_limiter limiter(1, 1s, 2);
                 co_await limiter.acquire(3);
               }),
               "more tokens");
}

}  // namespace
}  // namespace rill
