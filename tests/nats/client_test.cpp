// The client against the small server in a simulated world: what it says, what it survives, what it
// tells.
#include <rill/protocols/nats/client.h>

#include <chrono>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nats/nats_server.h"
#include "nats/nats_world.h"
#include <rill/runtime/sim/world.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/timeout.h>

namespace rill {
namespace {

using namespace std::chrono_literals;
using nats::nats_error;
using test::nats_options;
using test::nats_server_options;
using test::nats_store;
using test::with_nats_client;
using testing::ElementsAre;

/// What an operation throws, as its code.
template <class Make>
task<std::error_code> failure_of(Make make) {
  std::error_code code;
  try {
    co_await make();
  } catch (const io_error& failed) {
    code = failed.code();
  }
  co_return code;
}

class sim_nats_client : public testing::Test {
 protected:
  sim::program& serve(sim::host& on, nats_server_options options = nats_server_options()) {
    return on.run(test::lasting_nats_server, std::ref(store), std::move(options));
  }
  template <class Body>
  void run(nats::client_options options, Body body) {
    auto& talk =
        client.run([&, options]() -> task<> { return with_nats_client(options, std::ref(body)); });
    world.run(talk);
  }

  nats_store store;
  sim::world world{7};
  sim::host& server = world.add_host("server", "10.0.0.1");
  sim::host& other = world.add_host("other", "10.0.0.3");
  sim::host& client = world.add_host("client", "10.0.0.2");
  const std::vector<std::string> both{"nats://10.0.0.1:4222", "nats://10.0.0.3:4222"};
  const std::vector<std::string> one{"nats://10.0.0.1:4222"};
};

TEST_F(sim_nats_client, publishes_and_subscribes) {
  serve(server);
  run(nats_options(one), [](nats::client& bus) -> task<> {
    auto rooms = bus.subscribe("chat.*");
    co_await bus.publish("chat.lobby", "hello", nats::headers().add("A", "b"), "answer.here");
    co_await bus.publish("other.lobby", "nobody");
    co_await bus.publish("chat.attic", "");
    const auto first = co_await rooms.next();
    EXPECT_EQ(first->subject, "chat.lobby");
    EXPECT_EQ(first->payload, "hello");
    EXPECT_EQ(first->reply, "answer.here");
    EXPECT_EQ(first->headers.find("A"), "b");
    const auto second = co_await rooms.next();
    EXPECT_EQ(second->subject, "chat.attic");
    co_await bus.flush(1s);
    EXPECT_EQ(rooms.waiting_count(), 0u);
    rooms.close();
    const auto none = co_await rooms.next();
    EXPECT_FALSE(none);
  });
}

TEST_F(sim_nats_client, requests_are_answered_or_refused_at_once_or_time_out) {
  serve(server);
  run(nats_options(one), [](nats::client& bus) -> task<> {
    auto questions = bus.subscribe("ask");
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        for (int i = 0; i < 2; ++i) {
          auto asked = co_await questions.next();
          co_await bus.publish(asked->reply, "re: " + asked->payload);
        }
      });
      const auto first = co_await bus.request("ask", "one", 1s);
      EXPECT_EQ(first.payload, "re: one");
      const auto second = co_await bus.request("ask", "two", 1s);
      EXPECT_EQ(second.payload, "re: two");
    });
    const auto before = loop_clock::now();
    const auto nobody = co_await failure_of([&] { return bus.request("nobody", "", 10s); });
    EXPECT_EQ(nobody, nats_error::no_responders);
    EXPECT_LT(loop_clock::now() - before, 1s);
    const auto silent = co_await failure_of([&] { return bus.request("ask", "three", 1s); });
    EXPECT_EQ(silent, std::errc::timed_out);
  });
}

TEST_F(sim_nats_client, goes_to_another_server_and_subscribes_again) {
  serve(server);
  serve(other);
  run(nats_options(both), [&](nats::client& bus) -> task<> {
    auto news = bus.subscribe("news");
    co_await bus.wait_connected(5s);
    (bus.server() == "10.0.0.1:4222" ? server : other).crash();
    const auto lost = co_await failure_of([&] { return bus.flush(30s); });
    EXPECT_EQ(lost, nats_error::disconnected);
    co_await bus.wait_connected(30s);
    EXPECT_EQ(bus.connection_number(), 2u);
    co_await bus.publish("news", "again");
    const auto came = co_await news.next();
    EXPECT_EQ(came->payload, "again");
  });
}

TEST_F(sim_nats_client, learns_the_other_servers_of_a_cluster) {
  nats_server_options telling;
  telling.addresses = {"10.0.0.1:4222", "10.0.0.3:4222"};
  serve(server, telling);
  serve(other, telling);
  run(nats_options(one), [&](nats::client& bus) -> task<> {
    co_await bus.wait_connected(5s);
    server.crash();
    co_await bus.wait_change();
    co_await bus.wait_connected(30s);
    EXPECT_EQ(bus.server(), "10.0.0.3:4222");
  });
}

TEST_F(sim_nats_client, holds_what_is_published_without_a_connection_up_to_a_bound) {
  auto options = nats_options(one);
  options.pending_size_max = 1000;
  sim::host& late = server;
  run(options, [&](nats::client& bus) -> task<> {
    auto news = bus.subscribe("news");
    const std::string text(100, 'x');
    int taken = 0;
    while (bus.try_publish("news", text)) ++taken;
    EXPECT_EQ(taken, 8);  // of 115 bytes each, and room for the longest form of one more
    const auto refused =
        co_await failure_of([&] { return bus.publish("news", std::string(5000, 'x')); });
    EXPECT_EQ(refused, nats_error::payload_too_large);
    const auto waits =
        co_await failure_of([&] { return with_timeout(1s, bus.publish("news", text)); });
    EXPECT_EQ(waits, std::errc::timed_out);
    serve(late);
    co_await bus.publish("news", "last");
    for (int i = 0; i < taken; ++i) {
      const auto each = co_await news.next();
      EXPECT_EQ(each->payload, text);
    }
    const auto last = co_await news.next();
    EXPECT_EQ(last->payload, "last");
  });
}

TEST_F(sim_nats_client, gives_up_when_all_servers_refuse_it_and_shows_no_secret) {
  nats_server_options closed;
  closed.user = "me";
  closed.password = "right";
  serve(server, closed);
  auto options = nats_options({"nats://me:hunter2@10.0.0.1:4222"});
  std::string told;
  options.on_event = [&](const nats::client_event& each) { told += each.server + each.text; };
  std::string what;
  auto& talk = client.run([&]() -> task<> {
    nats::client bus(options);
    try {
      co_await bus.run();
    } catch (const io_error& refused) {
      EXPECT_EQ(refused.code(), nats_error::authorization);
      what = refused.what();
    }
    EXPECT_TRUE(bus.is_closed());
  });
  world.run(talk);
  EXPECT_EQ(what, "connect 10.0.0.1:4222: the server does not accept the credentials");
  EXPECT_THAT(told, testing::Not(testing::HasSubstr("hunter2")));
  run(nats_options({"nats://me:right@10.0.0.1:4222"}),
      [](nats::client& bus) -> task<> { co_await bus.flush(5s); });
}

TEST_F(sim_nats_client, gives_a_silent_server_up) {
  serve(server);
  auto options = nats_options(one);
  std::vector<std::string> told;
  options.on_event = [&](const nats::client_event& each) {
    if (each.what == nats::client_event::kind::disconnected) told.push_back(each.text);
  };
  run(options, [&](nats::client& bus) -> task<> {
    co_await bus.wait_connected(5s);
    co_await sleep_for(30s);
    EXPECT_EQ(bus.connection_number(), 1u);  // PONG is a sign of life
    const auto lost = world.inject(sim::partition().between(server, client));
    co_await bus.wait_change();
    EXPECT_FALSE(bus.is_connected());
    EXPECT_THAT(told, ElementsAre("read: no sign of life from the server"));
  });
}

TEST_F(sim_nats_client, leaves_a_lame_duck) {
  nats_server_options lame;
  lame.lame_duck_after = 2s;
  serve(server, lame);
  auto options = nats_options(one);
  std::vector<std::error_code> told;
  options.on_event = [&](const nats::client_event& each) {
    if (each.what == nats::client_event::kind::disconnected) told.push_back(each.reason);
  };
  run(options, [&](nats::client& bus) -> task<> {
    co_await bus.wait_connected(1s);
    co_await bus.wait_change();
    EXPECT_THAT(told, ElementsAre(make_error_code(nats_error::lame_duck)));
  });
}

TEST_F(sim_nats_client, drops_or_fails_when_messages_are_not_taken) {
  serve(server);
  run(nats_options(one), [](nats::client& bus) -> task<> {
    nats::subscribe_options few;
    few.waiting_count_max = 2;
    auto dropping = bus.subscribe("news", few);
    few.when_slow = nats::slow_policy::fail;
    auto failing = bus.subscribe("news", few);
    for (int i = 0; i < 5; ++i) co_await bus.publish("news", std::to_string(i));
    co_await bus.flush(5s);
    EXPECT_EQ(dropping.dropped_count(), 3u);
    EXPECT_EQ(dropping.try_next()->payload, "0");
    EXPECT_EQ(dropping.try_next()->payload, "1");
    EXPECT_FALSE(dropping.try_next());
    co_await bus.publish("news", "5");
    const auto later = co_await dropping.next();
    EXPECT_EQ(later->payload, "5");
    co_await failing.next();
    co_await failing.next();
    const auto slow = co_await failure_of([&] { return failing.next(); });
    EXPECT_EQ(slow, nats_error::slow_consumer);
  });
}

TEST_F(sim_nats_client, drains) {
  serve(server);
  run(nats_options(one), [](nats::client& bus) -> task<> {
    auto news = bus.subscribe("news");
    for (int i = 0; i < 100; ++i) co_await bus.publish("news", std::to_string(i));
    co_await bus.drain(5s);
    EXPECT_TRUE(bus.is_closed());
    int count = 0;
    while (co_await news.next()) ++count;
    EXPECT_EQ(count, 100);
    const auto over = co_await failure_of([&] { return bus.publish("news", "x"); });
    EXPECT_EQ(over, nats_error::closed);
  });
}

TEST_F(sim_nats_client, ends_a_subscription_after_its_count) {
  serve(server);
  run(nats_options(one), [](nats::client& bus) -> task<> {
    nats::subscribe_options two;
    two.count_max = 2;
    auto news = bus.subscribe("news", two);
    for (int i = 0; i < 5; ++i) co_await bus.publish("news", std::to_string(i));
    int count = 0;
    while (co_await news.next()) ++count;
    EXPECT_EQ(count, 2);
  });
}

TEST_F(sim_nats_client, wants_tls_where_it_is_told_to) {
  serve(server);
  auto options = nats_options({"tls://10.0.0.1:4222"});
  auto& talk = client.run([&]() -> task<> {
    nats::client bus(options);
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&] { return bus.run(); });
      std::string why;
      try {
        co_await bus.wait_connected(3s);
      } catch (const timeout_error& late) {
        why = late.what();
      }
      EXPECT_THAT(why, testing::HasSubstr("one side wants TLS"));
      bus.close();
    });
  });
  world.run(talk);
}

TEST_F(sim_nats_client, refuses_what_no_server_takes) {
  serve(server);
  run(nats_options(one), [](nats::client& bus) -> task<> {
    co_await bus.wait_connected(5s);
    const auto subject = co_await failure_of([&] { return bus.publish("a..b", ""); });
    EXPECT_EQ(subject, nats_error::bad_subject);
    const auto injected = co_await failure_of([&] { return bus.publish("a\r\nPUB b 0", ""); });
    EXPECT_EQ(injected, nats_error::bad_subject);
    const auto size =
        co_await failure_of([&] { return bus.publish("a", std::string(2'000'000, 'x')); });
    EXPECT_EQ(size, nats_error::payload_too_large);
    EXPECT_THROW((void)bus.subscribe("a.>.b"), io_error);
    co_await bus.flush(5s);
  });
  EXPECT_THROW(nats::client{nats::client_options()}, std::invalid_argument);
}

}  // namespace
}  // namespace rill
