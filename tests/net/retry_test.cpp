// retry: what is tried again, when, and what is told of it. In virtual time, which is exact.
#include <rill/net/retry.h>

#include <cerrno>
#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include <gtest/gtest.h>

#include "support.h"
#include "support/virtual_time.h"
#include <rill/net/circuit_breaker.h>
#include <rill/net/connect.h>
#include <rill/net/rate_limiter.h>
#include <rill/net/serve.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/sleep.h>

namespace rill {
namespace {

using namespace std::chrono_literals;
using test::in_virtual_time;
using test::leaves_note;
using test::milliseconds_since;
using test::record;

/// Exact delays: half a second, a second, two ...
retry_policy steady(unsigned attempt_count_max) {
  retry_policy policy;
  policy.limits.attempt_count_max = attempt_count_max;
  policy.limits.delay = 500ms;
  policy.limits.jitter = 0;
  return policy;
}

io_error failure(int number) { return io_error(error::from_errno(number, "read"), "10.0.0.7:443"); }

/// Fails so often, and then gives 42. Notes when it was called.
class flaky {
 public:
  explicit flaky(unsigned failing, int with = ECONNREFUSED) : failing_(failing), with_(with) {}
  task<int> operator()() {
    calls.push_back(milliseconds_since(begin_));
    if (calls.size() <= failing_) throw failure(with_);
    co_return 42;
  }
  std::vector<long long> calls;

 private:
  loop_clock::time_point begin_{};
  unsigned failing_;
  int with_;
};

using times = std::vector<long long>;

TEST(retry, gives_the_result_of_an_operation_that_succeeds_at_once) {
  flaky operation(0);
  in_virtual_time([&]() -> task<> {
    const int got = co_await retry(steady(3), operation);
    EXPECT_EQ(got, 42);
  });
  EXPECT_EQ(operation.calls.size(), 1U);
}

TEST(retry, doubles_the_delay_until_its_limit) {
  flaky operation(5);
  in_virtual_time([&]() -> task<> {
    retry_policy policy = steady(6);
    policy.limits.delay_max = 1500ms;
    const int got = co_await retry(policy, operation);
    EXPECT_EQ(got, 42);
  });
  EXPECT_EQ(operation.calls, (times{0, 500, 1500, 3000, 4500, 6000}));
}

TEST(retry, waits_the_same_each_time_where_delay_and_limit_are_equal) {
  flaky operation(3);
  in_virtual_time([&]() -> task<> {
    retry_policy policy = steady(4);
    policy.limits.delay_max = 500ms;
    co_await retry(policy, operation);
  });
  EXPECT_EQ(operation.calls, (times{0, 500, 1000, 1500}));
}

TEST(retry, throws_the_error_of_the_last_attempt) {
  flaky operation(9);
  in_virtual_time([&]() -> task<> {
    EXPECT_THROW(co_await retry(steady(3), operation), io_error);
    EXPECT_EQ(milliseconds_since({}), 1500);  // no delay after the last one
  });
  EXPECT_EQ(operation.calls.size(), 3U);
}

TEST(retry, makes_one_attempt_where_none_are_allowed) {
  flaky operation(1);
  in_virtual_time(
      [&]() -> task<> { EXPECT_THROW(co_await retry(steady(0), operation), io_error); });
  EXPECT_EQ(operation.calls.size(), 1U);
}

TEST(retry, does_not_repeat_what_is_not_worth_it) {
  flaky operation(9, EACCES);
  in_virtual_time(
      [&]() -> task<> { EXPECT_THROW(co_await retry(steady(3), operation), io_error); });
  EXPECT_EQ(operation.calls.size(), 1U);
}

TEST(retry, asks_the_policy_what_is_worth_it) {
  flaky operation(1, EACCES);
  flaky never(1);
  in_virtual_time([&]() -> task<> {
    retry_policy policy = steady(3);
    policy.is_worth_another = nullptr;  // everything
    const int got = co_await retry(policy, operation);
    EXPECT_EQ(got, 42);
    policy.is_worth_another = [](const std::exception&) { return false; };
    EXPECT_THROW(co_await retry(policy, never), io_error);
  });
  EXPECT_EQ(operation.calls.size(), 2U);
  EXPECT_EQ(never.calls.size(), 1U);
}

TEST(retry, lets_through_what_is_no_std_exception) {
  unsigned count = 0;
  in_virtual_time([&]() -> task<> {
    retry_policy policy = steady(3);
    policy.is_worth_another = nullptr;
    const auto operation = [&]() -> task<> {
      ++count;
      throw 7;
      co_return;
    };
    EXPECT_THROW(co_await retry(policy, operation), int);
  });
  EXPECT_EQ(count, 1U);
}

TEST(retry, tells_of_each_failed_attempt_and_of_the_last) {
  record told;
  flaky operation(9);
  in_virtual_time([&]() -> task<> {
    retry_policy policy = steady(3);
    policy.on_failure = [&](const failed_attempt& failed) {
      std::string line = std::to_string(failed.number) + ' ' + failed.error.what();
      if (failed.delay) line += " again in " + std::to_string(failed.delay->count() / 1'000'000);
      told.push_back(line);
    };
    EXPECT_THROW(co_await retry(policy, operation), io_error);
  });
  EXPECT_EQ(told, (record{"1 read 10.0.0.7:443: Connection refused again in 500",
                          "2 read 10.0.0.7:443: Connection refused again in 1000",
                          "3 read 10.0.0.7:443: Connection refused"}));
}

TEST(retry, ends_with_what_the_callback_throws) {
  flaky operation(9);
  in_virtual_time([&]() -> task<> {
    retry_policy policy = steady(3);
    policy.on_failure = [](const failed_attempt&) { throw std::logic_error("enough"); };
    EXPECT_THROW(co_await retry(policy, operation), std::logic_error);
  });
  EXPECT_EQ(operation.calls.size(), 1U);
}

TEST(retry, draws_the_share_of_the_delay_that_is_jitter) {
  std::vector<long long> delays;
  in_virtual_time([&]() -> task<> {
    for (int i = 0; i < 100; ++i) {
      retry_policy policy = steady(2);
      policy.limits.delay = 1s;
      policy.limits.jitter = 0.25;
      policy.on_failure = [&](const failed_attempt& failed) {
        if (failed.delay) delays.push_back(failed.delay->count());
      };
      flaky operation(1);
      co_await retry(policy, operation);
    }
  });
  ASSERT_EQ(delays.size(), 100U);
  const auto [least, most] = std::minmax_element(delays.begin(), delays.end());
  EXPECT_GE(*least, 750'000'000);
  EXPECT_LT(*least, 775'000'000);
  EXPECT_LE(*most, 1'000'000'000);
  EXPECT_GT(*most, 975'000'000);
}

TEST(retry, begins_no_delay_that_the_deadline_would_cut) {
  flaky operation(9);
  in_virtual_time([&]() -> task<> {
    retry_policy policy = steady(9);
    policy.limits.timeout = 3400ms;  // the fourth would begin at 3500
    EXPECT_THROW(co_await retry(policy, operation), io_error);
    EXPECT_EQ(milliseconds_since({}), 1500);
  });
  EXPECT_EQ(operation.calls, (times{0, 500, 1500}));
}

TEST(retry, cancels_the_attempt_under_way_at_the_deadline) {
  record seen;
  in_virtual_time([&]() -> task<> {
    const auto slow = [&]() -> task<int> {
      const leaves_note at_end(seen, "gone");
      co_await sleep_for(1h);
      co_return 1;
    };
    retry_policy policy = steady(9);
    policy.limits.timeout = 2s;
    policy.on_failure = [&](const failed_attempt& failed) {
      seen.push_back(failed.delay ? "again" : "the last");
    };
    EXPECT_THROW(co_await retry(policy, slow), timeout_error);
    EXPECT_EQ(milliseconds_since({}), 2000);
  });
  EXPECT_EQ(seen, (record{"gone", "the last"}));
}

TEST(retry, repeats_an_attempt_that_its_own_time_out_ended) {
  unsigned count = 0;
  in_virtual_time([&]() -> task<> {
    const auto limited = [&] {
      ++count;
      return with_timeout(1s, sleep_for(count == 3 ? 1ms : 1h));
    };
    co_await retry(steady(5), limited);
    EXPECT_EQ(milliseconds_since({}), 1000 + 500 + 1000 + 1000 + 1);
  });
  EXPECT_EQ(count, 3U);
}

TEST(retry, awaits_operations_as_well_as_tasks_with_a_deadline_and_without) {
  in_virtual_time([&]() -> task<> {
    co_await retry(steady(1), [] { return sleep_for(1s); });
    EXPECT_EQ(milliseconds_since({}), 1000);
    retry_policy policy = steady(1);
    policy.limits.timeout = 1h;
    co_await retry(policy, [] { return sleep_for(1s); });
    EXPECT_EQ(milliseconds_since({}), 2000);
  });
}

TEST(retry, gives_results_that_can_only_be_moved_and_references) {
  int number = 5;
  in_virtual_time([&]() -> task<> {
    const std::unique_ptr<int> moved = co_await retry(
        steady(2), [&]() -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(7); });
    EXPECT_EQ(*moved, 7);
    int& referred = co_await retry(steady(2), [&]() -> task<int&> { co_return number; });
    EXPECT_EQ(&referred, &number);
  });
}

TEST(retry, is_cancelled_in_an_attempt_and_in_a_delay) {
  for (const auto after : {700ms, 1200ms}) {  // the second attempt is from 500 to 1000
    record seen;
    unsigned count = 0;
    in_virtual_time([&]() -> task<> {
      const auto failing = [&]() -> task<> {
        const leaves_note at_end(seen, "attempt " + std::to_string(++count) + " gone");
        if (count != 1) co_await sleep_for(500ms);
        throw failure(ECONNRESET);
      };
      EXPECT_THROW(co_await with_timeout(after, retry(steady(9), failing)), timeout_error);
      EXPECT_EQ(milliseconds_since({}), after.count());
    });
    EXPECT_EQ(seen, (record{"attempt 1 gone", "attempt 2 gone"}));
  }
}

TEST(retry, knows_by_itself_what_may_be_gone_the_next_time) {
  for (const int number : {ETIMEDOUT, ECONNREFUSED, ECONNRESET, ECONNABORTED, EPIPE, ENETUNREACH,
                           EHOSTUNREACH, EAGAIN, EMFILE, ENFILE, ENOBUFS, ENOMEM}) {
    EXPECT_TRUE(is_transient(failure(number))) << number;
  }
  for (const int number : {EACCES, EINVAL, EADDRINUSE, EBADF, EMSGSIZE}) {
    EXPECT_FALSE(is_transient(failure(number))) << number;
  }
  EXPECT_TRUE(is_transient(timeout_error("read")));
  EXPECT_TRUE(is_transient(resolve_error::no_answer));
  EXPECT_TRUE(is_transient(resolve_error::server_failure));
  EXPECT_FALSE(is_transient(resolve_error::name_not_found));
  EXPECT_FALSE(is_transient(resolve_error::no_address));
  EXPECT_FALSE(is_transient(resolve_error::invalid_name));
  EXPECT_TRUE(is_transient(circuit_open_error("payments")));
  EXPECT_FALSE(is_transient(std::runtime_error("own")));
}

TEST(retry_schedule, waits_at_least_as_long_as_it_is_asked_to) {
  in_virtual_time([&]() -> task<> {
    retry_limits limits = steady(9).limits;
    retry_schedule schedule(limits, loop_clock::now() + 1min);
    EXPECT_EQ(schedule.next(), 500ms);
    EXPECT_EQ(schedule.next(3s), 3s);
    EXPECT_EQ(schedule.next(3s), 3s);
    EXPECT_EQ(schedule.next(3s), 4s);
    EXPECT_EQ(schedule.next(1min), std::nullopt);
    EXPECT_EQ(schedule.failed_count(), 5U);
    co_return;
  });
}

TEST(retry_schedule, survives_limits_of_every_size) {
  in_virtual_time([&]() -> task<> {
    retry_limits limits;
    limits.attempt_count_max = 1'000'000;
    limits.delay = std::chrono::nanoseconds::max();
    limits.delay_max = std::chrono::nanoseconds::max();
    limits.jitter = 7;  // as good as 1
    retry_schedule endless(limits);
    for (int i = 0; i < 100; ++i) {
      EXPECT_GE(endless.next().value_or(0ns), 0ns);
    }
    limits.delay = 0ns;
    retry_schedule none(limits);
    for (int i = 0; i < 100; ++i) EXPECT_EQ(none.next(), 0ns);
    co_return;
  });
}

/// A server that is not there for the first three seconds.
task<> late_service() {
  co_await sleep_for(3s);
  tcp_listener listener = tcp_listener::bind(endpoint(address::v4(10, 0, 0, 1), 80));
  co_await serve(listener, [](tcp_stream peer) -> task<> { co_await peer.write_all("hello"); });
}

TEST(retry, reaches_a_server_that_comes_late_through_limiter_and_breaker) {
  sim::world world(1);
  world.add_name_server("10.0.0.53");
  sim::host& server = world.add_host("server", "10.0.0.1");
  sim::host& client = world.add_host("client", "10.0.0.2");
  server.run(late_service);
  world.run(client.run([]() -> task<> {
    circuit_options caution;
    caution.name = "server";
    caution.failure_count_max = 2;
    caution.open_time = 1s;
    circuit_breaker breaker(caution);
    rate_limiter limiter(10, 1s);
    record told;
    retry_policy policy = steady(20);
    policy.limits.delay_max = 500ms;
    policy.on_failure = [&](const failed_attempt& failed) { told.push_back(failed.error.what()); };
    const auto ask = [&]() -> task<std::string> {
      co_await limiter.acquire();
      tcp_stream stream = co_await connect("server", 80);
      std::string reply(5, ' ');
      co_await stream.read_exactly(reply);
      co_return reply;
    };
    const std::string reply = co_await retry(policy, [&] { return breaker.run(ask); });
    EXPECT_EQ(reply, "hello");
    EXPECT_EQ(breaker.state(), circuit_state::closed);
    const std::string refused = "connect 10.0.0.1:80: Connection refused";
    const std::string open = "circuit breaker server: Resource temporarily unavailable";
    EXPECT_EQ(told, (record{refused, refused, open, refused, open, refused, open}));
  }));
}

}  // namespace
}  // namespace rill
