// Tests of the limits of serve(): connections at once, on one loop and several, and descriptors and
// memory that are short. See net/serve.h.
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "net/serving.h"
#include "support.h"
#include "support/descriptors.h"
#include <rill/net/serve.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/sim/world.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/timeout.h>

namespace rill {
namespace {

using namespace std::chrono_literals;
using test::any_port;
using test::echo;
using test::exchange;
using test::run_loop;
using test::with_server;

TEST(serve, lets_connections_beyond_the_limit_wait_until_one_has_ended) {
  serve_statistics counts;
  serve_limits limits;
  limits.connection_max = 1;
  limits.statistics = &counts;
  with_server(echo, limits, [&](endpoint local, nursery&) -> task<> {
    tcp_stream first = co_await tcp_stream::connect(local);
    EXPECT_EQ(co_await exchange(first, "one"), "one");
    tcp_stream second = co_await tcp_stream::connect(local);
    co_await second.write_all("two");
    std::string reply(3, '\0');
    const auto early = co_await as_result(with_timeout(30ms, second.read(reply)));
    EXPECT_FALSE(early.has_value());
    co_await first.close();
    EXPECT_TRUE(co_await second.read_exactly(reply));
    EXPECT_EQ(reply, "two");
  });
  EXPECT_EQ(counts.active_peak, 1U);
  EXPECT_EQ(counts.accepted_count, 2U);
}

TEST(serve, counts_connections_of_several_servers_together) {
  std::atomic<std::size_t> together = 1;  // as if another loop served one
  serve_limits limits;
  limits.connection_max = 1;
  limits.shared_count = &together;
  limits.short_pause = 5ms;
  with_server(echo, limits, [&](endpoint local, nursery&) -> task<> {
    tcp_stream stream = co_await tcp_stream::connect(local);
    co_await stream.write_all("x");
    std::string reply(1, '\0');
    const auto early = co_await as_result(with_timeout(30ms, stream.read(reply)));
    EXPECT_FALSE(early.has_value());
    --together;
    EXPECT_TRUE(co_await stream.read_exactly(reply));
    EXPECT_EQ(together.load(), 1U);
  });
  EXPECT_EQ(together.load(), 0U);
}

TEST(serve, keeps_to_a_limit_that_several_servers_reach_at_the_same_time) {
  std::atomic<std::size_t> together = 0;
  std::size_t peak = 0;
  const auto echo_and_look = [&](tcp_stream peer) -> task<> {
    peak = std::max(peak, together.load());
    while (auto bytes = co_await peer.read_lease()) co_await peer.write_all(bytes);
  };
  serve_limits limits;
  limits.connection_max = 1;
  limits.shared_count = &together;
  limits.short_pause = 5ms;
  run_loop([&]() -> task<> {
    std::vector<tcp_listener> listeners;
    std::vector<endpoint> locals;
    for (int i = 0; i < 4; ++i)
      locals.push_back(listeners.emplace_back(tcp_listener::bind(any_port)).local());
    co_await with_nursery([&](nursery& tasks) -> task<> {
      for (tcp_listener& each : listeners) {
        tasks.start([&]() -> task<> { co_await serve(each, echo_and_look, limits); });
      }
      co_await test::settle();  // all of them wait in accept
      std::vector<tcp_stream> clients;
      for (const endpoint& each : locals) clients.push_back(co_await tcp_stream::connect(each));
      co_await with_nursery([&](nursery& asking) -> task<> {
        for (tcp_stream& each : clients) {  // whoever has the place first
          asking.start([&]() -> task<> {
            const std::string reply = co_await exchange(each, "hello");
            EXPECT_EQ(reply, "hello");
            co_await each.close();
          });
        }
        co_return;
      });
      // Nobody is served beside the one that stays, and what was accepted has its turn in the
      // drain.
      tcp_stream staying = co_await tcp_stream::connect(locals[0]);
      const std::string answered = co_await exchange(staying, "one");
      EXPECT_EQ(answered, "one");
      tcp_stream waiting = co_await tcp_stream::connect(locals[1]);
      co_await waiting.write_all("two");
      co_await test::settle(50);
      tasks.cancel();
      co_await staying.close();
    });
  });
  EXPECT_EQ(peak, 1U);
  EXPECT_EQ(together.load(), 0U);
}

TEST(serve, waits_without_spinning_while_descriptors_are_spent) {
  serve_statistics counts;
  serve_limits limits;
  limits.statistics = &counts;
  limits.short_pause = 20ms;
  with_server(echo, limits, [&](endpoint local, nursery&) -> task<> {
    // Two whole connections and one client fit. The server accepts nothing before this: the limit
    // that counts is the one at the time when a multishot accept is armed.
    const test::few_descriptors five(5);
    tcp_stream first = co_await tcp_stream::connect(local);
    EXPECT_EQ(co_await exchange(first, "a"), "a");
    tcp_stream second = co_await tcp_stream::connect(local);
    EXPECT_EQ(co_await exchange(second, "b"), "b");
    tcp_stream third = co_await tcp_stream::connect(local);
    co_await third.write_all("c");
    const std::uint64_t turns = loop::current().statistics().turn_count;
    co_await sleep_for(100ms);
    EXPECT_GE(counts.short_count, 1U);
    EXPECT_LT(loop::current().statistics().turn_count - turns, 50U);
    co_await first.close();  // frees two: ours and the server's
    std::string reply(1, '\0');
    EXPECT_TRUE(co_await third.read_exactly(reply));
    EXPECT_EQ(reply, "c");
  });
}

// ---------------------------------------------------------------- a drain with little room

/// Clients whose question waits in the listener's backlog.
task<std::vector<tcp_stream>> waiting_clients(endpoint to, int count) {
  std::vector<tcp_stream> clients;
  for (int i = 0; i < count; ++i) {
    clients.push_back(co_await tcp_stream::connect(to));
    co_await clients.back().write_all("pending");
  }
  co_await sleep_for(10ms);  // a simulated network takes its time
  co_return clients;
}

/// How many of them get their answer whole, and then the end.
task<int> answered_count(std::vector<tcp_stream>& clients) {
  int count = 0;
  for (tcp_stream& each : clients) {
    std::string text(8, '\0');
    const auto first = co_await as_result(each.read(std::span(text).first(7)));
    if (!first || *first != 7 || text.substr(0, 7) != "pending") continue;
    const auto rest = co_await as_result(each.read(text));
    if (rest && *rest == 0) ++count;
  }
  co_return count;
}

task<> drain_beside(serve_limits limits, int client_count, int descriptors_left, int& answered) {
  tcp_listener listener = tcp_listener::bind(any_port);
  std::vector<tcp_stream> clients = co_await waiting_clients(listener.local(), client_count);
  {
    std::optional<test::few_descriptors> few;
    if (descriptors_left != 0) few.emplace(descriptors_left);
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> { co_await serve(listener, echo, limits); });
      co_await test::settle();
      tasks.cancel();
    });
  }
  answered = co_await answered_count(clients);
}

TEST(serve, answers_all_of_the_backlog_in_a_drain_although_descriptors_are_spent) {
  serve_statistics counts;
  serve_limits limits;
  limits.statistics = &counts;
  limits.drain_timeout = 30s;
  int answered = 0;
  run_loop([&]() -> task<> { co_await drain_beside(limits, 30, 4, answered); });
  EXPECT_EQ(answered, 30);
  EXPECT_EQ(counts.accepted_count, 30U);
  EXPECT_EQ(counts.cut_count, 0U);
  EXPECT_GE(counts.short_count, 1U);
}

TEST(serve, waits_no_longer_than_the_drain_time_for_descriptors) {
  const auto stubborn = [](tcp_stream peer, drain_signal&) -> task<> {
    co_await peer.write_all("x");
    co_await sleep_for(1h);
  };
  serve_statistics counts;
  serve_limits limits;
  limits.statistics = &counts;
  limits.drain_timeout = 100ms;
  run_loop([&]() -> task<> {
    tcp_listener listener = tcp_listener::bind(any_port);
    std::vector<tcp_stream> clients = co_await waiting_clients(listener.local(), 10);
    const test::few_descriptors few(3);
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> { co_await serve(listener, stubborn, limits); });
      co_await test::settle();
      tasks.cancel();
    });
  });
  EXPECT_GE(counts.cut_count, 1U);
  EXPECT_EQ(counts.cut_count, counts.accepted_count);
}

TEST(serve, keeps_to_the_limit_of_connections_while_it_drains) {
  serve_statistics counts;
  serve_limits limits;
  limits.statistics = &counts;
  limits.connection_max = 2;
  limits.drain_timeout = 30s;
  int answered = 0;
  run_loop([&]() -> task<> { co_await drain_beside(limits, 20, 0, answered); });
  EXPECT_EQ(answered, 20);
  EXPECT_EQ(counts.active_peak, 2U);
  EXPECT_EQ(counts.cut_count, 0U);
}

class sim_serve_short : public testing::TestWithParam<int> {};

TEST_P(sim_serve_short, waits_without_spinning_and_answers_all) {
  serve_statistics counts;
  serve_limits limits;
  limits.statistics = &counts;
  int answered = 0;
  sim::world world(1);
  sim::host& server = world.add_host("server", "10.0.0.1");
  sim::host& client = world.add_host("client", "10.0.0.2");
  const endpoint where(address::v4(10, 0, 0, 1), 7);
  sim::program& service = server.run([&]() -> task<> {
    tcp_listener listener = tcp_listener::bind(where);
    co_await serve(listener, echo, limits);
  });
  // Whatever accept is asked for in these first moments is refused.
  std::optional<sim::fault_guard> failing(
      world.inject(sim::failure("accept_multishot", GetParam())));
  world.run_for(1s);
  sim::program& asking = client.run([&]() -> task<> {
    for (int i = 0; i < 5; ++i) {
      tcp_stream stream = co_await tcp_stream::connect(where);
      const std::string reply = co_await exchange(stream, "hello");
      if (reply == "hello") ++answered;
    }
  });
  world.run_for(1s);
  EXPECT_EQ(answered, 0);
  EXPECT_GE(counts.short_count, 10U);  // every 100 ms
  EXPECT_LE(counts.short_count, 30U);
  failing.reset();
  world.run(asking);
  EXPECT_EQ(answered, 5);
  service.cancel();
  world.run();
}

INSTANTIATE_TEST_SUITE_P(each_error, sim_serve_short,
                         testing::Values(EMFILE, ENFILE, ENOBUFS, ENOMEM));

TEST(sim_serve, keeps_to_the_limit_of_connections_while_it_drains) {
  for (std::uint64_t seed = 1; seed != 20; ++seed) {
    serve_statistics counts;
    serve_limits limits;
    limits.statistics = &counts;
    limits.connection_max = 2;
    limits.drain_timeout = 30s;
    int answered = 0;
    sim::world world(seed);
    world.add_host("server", "10.0.0.1").run(drain_beside, limits, 20, 0, std::ref(answered));
    world.run();
    EXPECT_EQ(answered, 20) << seed;
    EXPECT_EQ(counts.active_peak, 2U) << seed;
  }
}

}  // namespace
}  // namespace rill
