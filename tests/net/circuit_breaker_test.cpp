// circuit_breaker: when operations are refused, and when they are let through again.
#include <rill/net/circuit_breaker.h>

#include <cerrno>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>

#include <gtest/gtest.h>

#include "support.h"
#include "support/virtual_time.h"
#include <rill/runtime/event.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/sleep.h>

namespace rill {
namespace {

using namespace std::chrono_literals;
using test::in_virtual_time;
using test::settle;

circuit_options opens_after(unsigned failure_count_max) {
  circuit_options options;
  options.name = "payments";
  options.failure_count_max = failure_count_max;
  options.open_time = 10s;
  return options;
}

task<> fail(unsigned& count) {
  ++count;
  throw io_error(error::from_errno(ECONNREFUSED, "connect"), "10.0.0.7:80");
  co_return;
}
task<int> succeed() { co_return 42; }

/// "refused", "failed" or "done".
task<std::string> outcome(circuit_breaker& of, bool works) {
  unsigned count = 0;
  try {
    if (works) {
      const int got = co_await of.run(succeed);
      EXPECT_EQ(got, 42);
    } else {
      co_await of.run([&] { return fail(count); });
    }
  } catch (const circuit_open_error& error) {
    EXPECT_STREQ(error.what(), "circuit breaker payments: Resource temporarily unavailable");
    EXPECT_EQ(count, 0U);
    co_return "refused";
  } catch (const io_error&) {
    co_return "failed";
  }
  co_return "done";
}

TEST(circuit_breaker, opens_after_failures_in_a_row_only) {
  in_virtual_time([]() -> task<> {
    circuit_breaker breaker(opens_after(3));
    std::string said;
    for (const bool works : {false, false, true, false, false, true, false, false, false, true}) {
      said += co_await outcome(breaker, works);
      said += ' ';
    }
    EXPECT_EQ(said, "failed failed done failed failed done failed failed failed refused ");
    EXPECT_EQ(breaker.state(), circuit_state::open);
  });
}

TEST(circuit_breaker, opens_at_the_first_failure_where_none_is_allowed) {
  in_virtual_time([]() -> task<> {
    circuit_breaker breaker(opens_after(0));
    const std::string first = co_await outcome(breaker, false);
    EXPECT_EQ(first, "failed");
    EXPECT_EQ(breaker.state(), circuit_state::open);
  });
}

TEST(circuit_breaker, closes_when_the_one_that_tries_the_peer_succeeds) {
  in_virtual_time([]() -> task<> {
    circuit_breaker breaker(opens_after(1));
    co_await outcome(breaker, false);
    co_await sleep_for(9s);
    EXPECT_EQ(breaker.state(), circuit_state::open);
    co_await sleep_for(1s);
    EXPECT_EQ(breaker.state(), circuit_state::half_open);
    const std::string said = co_await outcome(breaker, true);
    EXPECT_EQ(said, "done");
    EXPECT_EQ(breaker.state(), circuit_state::closed);
  });
}

TEST(circuit_breaker, forgets_its_failures_when_it_closes) {
  in_virtual_time([]() -> task<> {
    circuit_breaker breaker(opens_after(2));
    co_await outcome(breaker, false);
    co_await outcome(breaker, false);
    co_await sleep_for(10s);
    co_await outcome(breaker, true);
    co_await outcome(breaker, false);
    EXPECT_EQ(breaker.state(), circuit_state::closed);
  });
}

TEST(circuit_breaker, stays_open_for_another_rest_when_it_fails) {
  in_virtual_time([]() -> task<> {
    circuit_breaker breaker(opens_after(3));
    for (int i = 0; i < 3; ++i) co_await outcome(breaker, false);
    co_await sleep_for(10s);
    const std::string said = co_await outcome(breaker, false);
    EXPECT_EQ(said, "failed");
    EXPECT_EQ(breaker.state(), circuit_state::open);
    co_await sleep_for(9s);
    EXPECT_EQ(breaker.state(), circuit_state::open);
    co_await sleep_for(1s);
    EXPECT_EQ(breaker.state(), circuit_state::half_open);
  });
}

TEST(circuit_breaker, lets_one_try_the_peer_and_refuses_the_others_meanwhile) {
  in_virtual_time([]() -> task<> {
    circuit_breaker breaker(opens_after(1));
    co_await outcome(breaker, false);
    co_await sleep_for(10s);
    event gate;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&] { return breaker.run([&] { return gate.wait(); }); });
      co_await settle();
      const std::string said = co_await outcome(breaker, true);
      EXPECT_EQ(said, "refused");
      gate.set();
    });
    EXPECT_EQ(breaker.state(), circuit_state::closed);
  });
}

TEST(circuit_breaker, lets_the_next_one_try_when_the_first_was_cancelled) {
  in_virtual_time([]() -> task<> {
    circuit_breaker breaker(opens_after(1));
    co_await outcome(breaker, false);
    co_await sleep_for(10s);
    event never;
    const auto wait = [&] { return never.wait(); };
    EXPECT_THROW(co_await with_timeout(1s, breaker.run(wait)), timeout_error);
    EXPECT_EQ(breaker.state(), circuit_state::half_open);
    const std::string said = co_await outcome(breaker, true);
    EXPECT_EQ(said, "done");
  });
}

TEST(circuit_breaker, counts_a_cancelled_operation_as_nothing) {
  in_virtual_time([]() -> task<> {
    circuit_breaker breaker(opens_after(1));
    event never;
    const auto wait = [&] { return never.wait(); };
    EXPECT_THROW(co_await with_timeout(1s, breaker.run(wait)), timeout_error);
    EXPECT_EQ(breaker.state(), circuit_state::closed);
  });
}

TEST(circuit_breaker, is_not_opened_anew_by_what_was_begun_before) {
  in_virtual_time([]() -> task<> {
    circuit_breaker breaker(opens_after(1));
    circuit_breaker::permit early = breaker.try_acquire();
    circuit_breaker::permit late = breaker.try_acquire();
    co_await outcome(breaker, false);
    co_await sleep_for(9s);
    early.failed();
    late.succeeded();
    EXPECT_EQ(breaker.state(), circuit_state::open);
    co_await sleep_for(1s);
    EXPECT_EQ(breaker.state(), circuit_state::half_open);
  });
}

TEST(circuit_breaker, takes_errors_that_are_no_failure_for_an_answer) {
  in_virtual_time([]() -> task<> {
    circuit_options options = opens_after(2);
    options.is_failure = [](const std::exception& error) {
      return dynamic_cast<const io_error*>(&error) != nullptr;
    };
    circuit_breaker breaker(options);
    const auto not_found = []() -> task<> {
      throw std::runtime_error("not found");
      co_return;
    };
    co_await outcome(breaker, false);
    EXPECT_THROW(co_await breaker.run(not_found), std::runtime_error);
    co_await outcome(breaker, false);
    EXPECT_EQ(breaker.state(), circuit_state::closed);
    co_await outcome(breaker, false);
    EXPECT_EQ(breaker.state(), circuit_state::open);
  });
}

TEST(circuit_breaker, counts_outcomes_that_are_values) {
  in_virtual_time([]() -> task<> {
    circuit_breaker breaker(opens_after(2));
    for (int i = 0; i < 2; ++i) {
      circuit_breaker::permit mine = breaker.try_acquire();
      EXPECT_TRUE(mine);
      circuit_breaker::permit moved = std::move(mine);
      EXPECT_FALSE(mine);  // NOLINT(bugprone-use-after-move): that it is empty is the promise
      mine.succeeded();    // of an empty one: nothing
      moved.failed();
      moved.failed();  // told already
    }
    EXPECT_FALSE(breaker.try_acquire());
    co_return;
  });
}

TEST(circuit_breaker, gives_results_that_can_only_be_moved_and_references) {
  int number = 5;
  in_virtual_time([&]() -> task<> {
    circuit_breaker breaker;
    const std::unique_ptr<int> moved = co_await breaker.run(
        []() -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(7); });
    EXPECT_EQ(*moved, 7);
    int& referred = co_await breaker.run([&]() -> task<int&> { co_return number; });
    EXPECT_EQ(&referred, &number);
  });
}

}  // namespace
}  // namespace rill
