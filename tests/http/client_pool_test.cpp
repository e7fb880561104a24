// Which requests share connections, how many there are, and who waits.
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "http/client_peer.h"
#include <rill/runtime/combine.h>
#include <rill/runtime/sleep.h>

namespace rill::http {
namespace {

using namespace std::chrono_literals;
using test::direct;
using test::failure_of;
using test::http_peer;
using test::in_virtual_time;

/// Answers each request with the number of its connection, a second later.
task<> slow(http_peer& peer) {
  for (;;) {
    const std::string head = co_await peer.head();
    if (head.empty()) co_return;
    co_await sleep_for(1s);
    co_await peer.answer(std::to_string(peer.number()));
  }
}

TEST(http_client_pool, opens_as_many_connections_as_it_may_and_then_waits) {
  const auto took = in_virtual_time(slow, [](const std::string& url) -> task<> {
    client_options options = direct();
    options.pool.origin_count_max = 3;
    client client(std::move(options));
    std::vector<int> answers(3);
    co_await with_nursery([&](nursery& tasks) -> task<> {
      for (int i = 0; i < 9; ++i) {
        tasks.start([&]() -> task<> {
          const client_response got = co_await client.get(url);
          ++answers.at(std::stoul(got.body()));
          EXPECT_LE(client.connection_count(), 3U);
        });
      }
      co_return;
    });
    EXPECT_EQ(answers, (std::vector<int>{3, 3, 3}));
    EXPECT_EQ(client.idle_count(), 3U);
  });
  EXPECT_GE(took, 3s);
  EXPECT_LT(took, 4s);
}

TEST(http_client_pool, serves_those_who_wait_in_their_order) {
  in_virtual_time(slow, [](const std::string& url) -> task<> {
    client_options options = direct();
    options.pool.origin_count_max = 1;
    client client(std::move(options));
    std::vector<int> order;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      for (int i = 0; i < 5; ++i) {
        tasks.start([&, i]() -> task<> {
          co_await client.get(url);
          order.push_back(i);
        });
      }
      co_return;
    });
    EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4}));
  });
}

TEST(http_client_pool, refuses_when_too_many_wait_and_when_it_takes_too_long) {
  in_virtual_time(slow, [](const std::string& url) -> task<> {
    client_options options = direct();
    options.pool.origin_count_max = 1;
    options.pool.waiting_count_max = 1;
    client client(std::move(options));
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> { co_await client.get(url); });
      co_await test::settle();
      tasks.start([&]() -> task<> {
        client_request ask("GET", url);
        client_timeouts limits;
        limits.total = 500ms;
        ask.timeouts(limits);
        const client_error error = co_await failure_of(client, ask);
        EXPECT_EQ(error.phase(), client_phase::pool);
        EXPECT_TRUE(error.is_timeout());
      });
      co_await test::settle();
      const client_error error = co_await failure_of(client, client_request("GET", url));
      EXPECT_EQ(error.code(), client_fault::too_many_waiting);
    });
    // Nothing of them is left behind.
    const client_response got = co_await client.get(url);
    EXPECT_EQ(got.body(), "0");
  });
}

TEST(http_client_pool, loses_no_place_when_one_who_waits_is_cancelled) {
  in_virtual_time(slow, [](const std::string& url) -> task<> {
    client_options options = direct();
    options.pool.origin_count_max = 1;
    client client(std::move(options));
    // Cancelled at every moment of the others' second.
    for (int tenths = 0; tenths < 25; ++tenths) {
      co_await with_nursery([&](nursery& tasks) -> task<> {
        tasks.start([&]() -> task<> { co_await client.get(url); });
        co_await test::settle();
        tasks.start([&, tenths]() -> task<> {
          try {
            co_await with_timeout(tenths * 100ms, client.get(url));
          } catch (const timeout_error&) {
          }
        });
        co_await test::settle();
        co_await client.get(url);
      });
      EXPECT_LE(client.connection_count(), 1U);
      EXPECT_EQ(client.connection_count(), client.idle_count());
    }
  });
}

TEST(http_client_pool, keeps_the_total_by_closing_what_was_idle_longest) {
  in_virtual_time(slow, [](const std::string& url) -> task<> {
    client_options options = direct();
    options.pool.total_count_max = 2;
    client client(std::move(options));
    // Three origins, by three names of one server.
    const std::string port = url.substr(url.rfind(':'));
    for (const char* const name : {"a.example", "b.example", "c.example"}) {
      client.set_address(name, static_cast<std::uint16_t>(std::stoi(port.substr(1))), "127.0.0.1");
    }
    const auto number = [&](const std::string& name) -> task<std::string> {
      const client_response got = co_await client.get("http://" + name + port);
      co_return got.body();
    };
    EXPECT_EQ(co_await number("a.example"), "0");
    EXPECT_EQ(co_await number("b.example"), "1");
    EXPECT_EQ(co_await number("a.example"), "0");
    EXPECT_EQ(co_await number("c.example"), "2");  // in place of b's
    EXPECT_EQ(client.connection_count(), 2U);
    EXPECT_EQ(co_await number("a.example"), "0");
    EXPECT_EQ(co_await number("b.example"), "3");  // in place of c's
    // And while all are in use, whoever wants another waits.
    const loop_clock::time_point begin = loop_clock::now();
    co_await rill::all_of(number("a.example"), number("b.example"), number("c.example"));
    EXPECT_GE(loop_clock::now() - begin, 2s);
    EXPECT_EQ(client.connection_count(), 2U);
  });
}

TEST(http_client_pool, closes_what_nobody_uses) {
  bool was_closed = false;
  in_virtual_time(
      [&](http_peer& peer) -> task<> {
        co_await peer.head();
        co_await peer.answer("ok");
        co_await peer.wait_for_end();
        was_closed = true;
      },
      [&](const std::string& url) -> task<> {
        client client(direct());
        co_await client.get(url);
        co_await sleep_for(49s);
        EXPECT_EQ(client.idle_count(), 1U);
        EXPECT_FALSE(was_closed);
        co_await sleep_for(2s);
        EXPECT_EQ(client.connection_count(), 0U);
        EXPECT_TRUE(was_closed);
      });
}

TEST(http_client_pool, keeps_nothing_when_told_so) {
  in_virtual_time(
      [&](http_peer& peer) -> task<> {
        const std::string head = co_await peer.head();
        EXPECT_NE(head.find("\r\nConnection: close\r\n"), head.npos);
        co_await peer.answer("ok");
        co_await peer.wait_for_end();
      },
      [](const std::string& url) -> task<> {
        client_options options = direct();
        options.pool.idle_timeout = 0s;
        client client(std::move(options));
        co_await client.get(url);
        EXPECT_EQ(client.connection_count(), 0U);
      });
}

TEST(http_client_pool, a_response_may_outlive_its_client) {
  in_virtual_time(slow, [](const std::string& url) -> task<> {
    std::optional<client> client(direct());
    client_request ask("GET", url);
    client_response got = co_await client->open(ask);
    client.reset();
    co_await got.read_body(100);
    EXPECT_EQ(got.body(), "0");
  });
}

}  // namespace
}  // namespace rill::http
