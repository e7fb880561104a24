// The client against the small server in a simulated world: what it says, what it survives, what it
// tells.
#include <rill/protocols/nats/client.h>

#include <chrono>
#include <exception>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nats/nats_server.h"
#include "nats/nats_world.h"
#include "support/certificates.h"
#include <rill/net/tcp.h>
#include <rill/net/tls/stream.h>
#include <rill/protocols/nats/client_core.h>
#include <rill/protocols/nats/packet.h>
#include <rill/runtime/sim/world.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/timeout.h>

namespace rill {
namespace {

using namespace std::chrono_literals;
using nats::nats_error;
using test::failure_of;
using test::nats_options;
using test::nats_server_options;
using test::nats_store;
using test::with_nats_client;
using testing::ElementsAre;

/// A server that says what it is told to, once to each subscription, and nothing but PONG beside
/// it.
template <byte_stream Stream>
task<> scripted_session(Stream& peer, std::string saying, bool answers_ping,
                        const std::function<std::string(const std::string& sid)>& said) {
  nats::packet_reader reader(nats::packet_reader::sender::client);
  for (bool goes_on = true; goes_on;) {
    const auto sent = co_await as_result(peer.write_all(const_buffer(saying)));
    saying.clear();
    auto came = co_await as_result(peer.read_lease());
    if (!sent || !came || came->empty()) break;
    reader.append(came->text());
    nats::packet read;
    nats::packet_state state = reader.next(read);
    for (; state == nats::packet_state::complete; state = reader.next(read)) {
      if (read.type == nats::packet_type::ping && answers_ping) nats::append_pong(saying);
      const std::string sid(read.sid);
      if (read.type == nats::packet_type::subscribe && sid != "0") saying += said(sid);
    }
    goes_on = state == nats::packet_state::incomplete;
  }
}

task<> scripted_server(std::chrono::nanoseconds before_info, bool answers_ping,
                       std::function<std::string(const std::string& sid)> said) {
  auto listener = tcp_listener::bind(endpoint(address::any_v4(), 4222));
  for (;;) {
    tcp_stream peer = co_await listener.accept();
    co_await sleep_for(before_info);
    std::string info;
    nats::append_info(info, "{}");
    co_await scripted_session(peer, info, answers_ping, said);
  }
}

/// The same over TLS, which its INFO asks for; `behind` is said in plain behind INFO.
task<> scripted_tls_server(std::string behind,
                           std::function<std::string(const std::string& sid)> said) {
  auto listener = tcp_listener::bind(endpoint(address::any_v4(), 4222));
  const test::signed_certificate own(test::named("IP:10.0.0.1"), &test::test_authority());
  const tls::server_context certificate(own.loaded());
  for (;;) {
    tcp_stream peer = co_await listener.accept();
    std::string info;
    nats::append_info(info, "{\"tls_required\":true}");
    info += behind;
    co_await as_result(peer.write_all(const_buffer(info)));
    try {
      auto secure = co_await tls::accept(std::move(peer), certificate);
      co_await scripted_session(secure, std::string(), true, said);
    } catch (const io_error&) {
      // The next one may do better.
    }
  }
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

TEST_F(sim_nats_client, speaks_tls_where_the_server_requires_it) {
  const auto said = [](const std::string& sid) {
    std::string all;
    nats::append_message(all, "chat.lobby", sid, "", "", "hello");
    return all;
  };
  server.run(scripted_tls_server, std::string(), said);
  auto options = nats_options(one);
  options.tls.emplace(test::trusting_options());
  run(options, [](nats::client& bus) -> task<> {
    auto rooms = bus.subscribe("chat.*");
    const auto first = co_await rooms.next();
    EXPECT_EQ(first->payload, "hello");
  });
}

TEST_F(sim_nats_client, believes_nothing_that_came_before_tls) {
  server.run(scripted_tls_server, std::string("PONG\r\n"),
             [](const std::string&) { return std::string(); });
  auto options = nats_options(one);
  options.tls.emplace(test::trusting_options());
  run(options, [](nats::client& bus) -> task<> {
    const auto failed = co_await failure_of([&] { return bus.wait_connected(3s); });
    EXPECT_EQ(failed, std::errc::timed_out);
    EXPECT_EQ(bus.connection_number(), 0u);
  });
}

TEST_F(sim_nats_client, counts_a_subscription_over_reconnections) {
  serve(server);
  run(nats_options(one), [&](nats::client& bus) -> task<> {
    nats::subscribe_options three;
    three.count_max = 3;
    auto news = bus.subscribe("news", three);
    co_await bus.publish("news", "0");
    const auto first = co_await news.next();
    EXPECT_EQ(first->payload, "0");
    server.crash();
    server.restart();
    serve(server);
    co_await bus.wait_change();
    co_await bus.wait_connected(30s);
    for (int i = 1; i < 6; ++i) co_await bus.publish("news", std::to_string(i));
    int count = 1;
    while (co_await news.next()) ++count;
    EXPECT_EQ(count, 3);
  });
}

TEST_F(sim_nats_client, gives_up_a_server_that_takes_nothing) {
  serve(server);
  auto options = nats_options(one);
  options.ping_interval = 60s;
  std::vector<std::string> told;
  options.on_event = [&](const nats::client_event& each) {
    if (each.what == nats::client_event::kind::disconnected) told.push_back(each.text);
  };
  run(options, [&](nats::client& bus) -> task<> {
    co_await bus.wait_connected(5s);
    const auto cut = world.inject(sim::partition().between(server, client));
    const auto before = loop_clock::now();
    while (bus.try_publish("news", std::string(500'000, 'x'))) {
    }
    co_await bus.wait_change();
    EXPECT_FALSE(bus.is_connected());
    EXPECT_LT(loop_clock::now() - before, 10s);
    EXPECT_THAT(told, ElementsAre(testing::HasSubstr("timed out")));
  });
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

TEST_F(sim_nats_client, lets_no_reply_subject_begin_a_command) {
  serve(server);
  run(nats_options(one), [](nats::client& bus) -> task<> {
    auto stop = bus.subscribe("admin.stop");
    const std::string evil = "r 0\r\n\r\nPUB admin.stop 0\r\n\r\nPUB b";
    for (const std::string& reply : {evil, std::string("a b"), std::string("a..b")}) {
      const auto published =
          co_await failure_of([&] { return bus.publish("a", "x", nats::headers(), reply); });
      EXPECT_EQ(published, nats_error::bad_subject);
      EXPECT_THROW(bus.try_publish("a", "x", nats::headers(), reply), io_error);
    }
    co_await bus.flush(5s);
    EXPECT_EQ(stop.waiting_count(), 0u);
  });
}

TEST_F(sim_nats_client, says_at_once_what_will_never_fit) {
  serve(server);
  auto options = nats_options(one);
  options.pending_size_max = 1000;
  run(options, [](nats::client& bus) -> task<> {
    const std::string reply(200, 'r');
    const auto published = co_await failure_of([&] {
      return with_timeout(1s, bus.publish("news", std::string(900, 'x'), nats::headers(), reply));
    });
    EXPECT_EQ(published, nats_error::payload_too_large);
    const auto asked =
        co_await failure_of([&] { return bus.request("news", std::string(930, 'x'), 1s); });
    EXPECT_EQ(asked, nats_error::payload_too_large);
  });
}

TEST_F(sim_nats_client, is_not_cut_off_by_what_a_publisher_makes_up) {
  const auto said = [](const std::string& sid) {
    std::string all;
    const std::string large = "NATS/1.0\r\na: " + std::string(100'000, 'x') + "\r\n\r\n";
    nats::append_message(all, "chat." + std::string(5000, 'x'), sid, "", "", "long");
    nats::append_message(all, "chat.\x01", sid, "a..b", "", "reply");
    nats::append_message(all, "chat.*", sid, "", large, "headers");
    nats::append_message(all, "chat.lobby", sid, "r", "", "hello");
    return all;
  };
  server.run(scripted_server, std::chrono::nanoseconds(0), true, said);
  run(nats_options(one), [](nats::client& bus) -> task<> {
    auto rooms = bus.subscribe("chat.*");
    const auto first = co_await rooms.next();
    EXPECT_EQ(first->subject.size(), 5005u);
    const auto second = co_await rooms.next();
    EXPECT_EQ(second->subject, "chat.\x01");
    EXPECT_EQ(second->reply, "");
    const auto third = co_await rooms.next();
    EXPECT_EQ(third->payload, "headers");
    EXPECT_TRUE(third->has_bad_headers);
    const auto fourth = co_await rooms.next();
    EXPECT_EQ(fourth->payload, "hello");
    EXPECT_EQ(fourth->reply, "r");
    EXPECT_EQ(bus.connection_number(), 1u);
  });
}

TEST_F(sim_nats_client, keeps_a_connection_that_takes_no_more_subscriptions) {
  const auto said = [](const std::string&) {
    return std::string("-ERR 'Maximum Subscriptions Exceeded'\r\n");
  };
  server.run(scripted_server, std::chrono::nanoseconds(0), true, said);
  auto options = nats_options(one);
  std::vector<std::string> told;
  options.on_event = [&](const nats::client_event& each) {
    if (each.what == nats::client_event::kind::server_error) told.push_back(each.text);
  };
  run(options, [&](nats::client& bus) -> task<> {
    auto rooms = bus.subscribe("chat.*");
    co_await bus.flush(5s);
    EXPECT_EQ(bus.connection_number(), 1u);
    EXPECT_THAT(told, ElementsAre("Maximum Subscriptions Exceeded"));
  });
}

TEST_F(sim_nats_client, tells_of_a_server_without_letting_it_write_on_a_terminal) {
  const auto said = [](const std::string&) {
    return std::string("-ERR 'Permissions Violation \xc2\x9b'\r\n");
  };
  server.run(scripted_server, std::chrono::nanoseconds(0), true, said);
  auto options = nats_options(one);
  std::string told;
  options.on_event = [&](const nats::client_event& each) { told += each.text; };
  run(options, [&](nats::client& bus) -> task<> {
    auto rooms = bus.subscribe("chat.*");
    co_await bus.flush(5s);
    EXPECT_THAT(told, testing::Not(testing::HasSubstr("\xc2\x9b")));
    EXPECT_THAT(told, testing::HasSubstr("\\xc2\\x9b"));
  });
}

TEST_F(sim_nats_client, gives_a_server_one_time_for_everything_until_it_has_taken_us) {
  const auto said = [](const std::string&) { return std::string(); };
  server.run(scripted_server, std::chrono::nanoseconds(1500ms), false, said);
  auto options = nats_options(one);
  std::vector<std::chrono::nanoseconds> told;
  options.on_event = [&](const nats::client_event& each) {
    if (each.what == nats::client_event::kind::unreachable) told.push_back(world.now());
  };
  run(options, [](nats::client&) -> task<> { co_await sleep_for(4s); });
  ASSERT_FALSE(told.empty());
  EXPECT_LT(told.front(), options.connect_timeout + 100ms);
}

TEST_F(sim_nats_client, bounds_what_waits_by_what_it_takes_in_memory) {
  serve(server);
  run(nats_options(one), [](nats::client& bus) -> task<> {
    nats::subscribe_options little;
    little.waiting_size_max = 64 * 1024;
    auto news = bus.subscribe("news", little);
    nats::headers many;
    for (std::size_t i = 0; i < nats::headers::count_max; ++i) many.add("a", "");
    for (int i = 0; i < 20; ++i) co_await bus.publish("news", "", many);
    co_await bus.flush(5s);
    EXPECT_LE(news.waiting_count() * nats::headers::count_max * 2 * sizeof(std::string),
              little.waiting_size_max);
    EXPECT_GE(news.dropped_count(), 18u);
  });
}

TEST_F(sim_nats_client, holds_no_more_answers_to_flow_control_than_a_server_may_have) {
  auto& program = client.run([&]() -> task<> {
    nats::detail::client_core core(nats_options(one));
    core.begin_handshake(nats::server_address(), nats::server_info());
    core.begin_session();
    const std::string subject(1000, 'x');
    for (int i = 0; i < 10'000; ++i) core.publish_now(subject, "");
    core.publish_now("a b", "");
    std::string sending;
    core.take_output(sending);
    EXPECT_LE(sending.size(), 5'000'000u);
    EXPECT_EQ(sending.find("a b"), sending.npos);
    co_return;
  });
  world.run(program);
}

TEST_F(sim_nats_client, leaves_a_lame_duck_only_after_it_has_taken_what_was_sent) {
  nats_server_options lame;
  lame.lame_duck_after = 2s;
  serve(server, lame);
  int published = 0;
  int arrived = 0;
  auto& listening = other.run([&]() -> task<> {
    const auto body = [&](nats::client& bus) -> task<> {
      auto news = bus.subscribe("news");
      while (co_await news.next()) ++arrived;
    };
    auto options = nats_options(one);
    options.lame_duck_wait = 30s;
    const auto patient = options;
    co_await with_nats_client(patient, std::ref(body));
  });
  auto options = nats_options(one);
  nats::client* mine = nullptr;
  options.on_event = [&](const nats::client_event& each) {
    if (each.what == nats::client_event::kind::disconnected) mine->close();
  };
  auto& talk = client.run([&]() -> task<> {
    nats::client bus(options);
    mine = &bus;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&] { return bus.run(); });
      co_await bus.wait_connected(1s);
      // Something is on its way whenever the server says that it stops, and nothing afterwards.
      while (!bus.info().is_lame_duck) {
        co_await bus.publish("news", std::string(20'000, 'x'));
        ++published;
        co_await sleep_for(1ms);
      }
    });
  });
  world.run(talk);
  world.run_for(1s);
  EXPECT_GT(published, 100);
  EXPECT_EQ(arrived, published);
  listening.cancel();
  world.run(listening);
}

TEST_F(sim_nats_client, takes_nothing_new_while_it_drains) {
  serve(server);
  run(nats_options(one), [](nats::client& bus) -> task<> {
    co_await bus.wait_connected(5s);
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&] { return bus.drain(5s); });
      co_await sleep_for(1ns);
      EXPECT_FALSE(bus.is_closed());
      const auto over = co_await failure_of([&] { return bus.publish("news", "x"); });
      EXPECT_EQ(over, nats_error::closed);
      const auto asked = co_await failure_of([&] { return bus.request("news", "x", 1s); });
      EXPECT_EQ(asked, nats_error::closed);
      EXPECT_THROW((void)bus.subscribe("news"), io_error);
    });
  });
}

TEST_F(sim_nats_client, tells_who_waits_for_a_flush_that_it_was_closed) {
  serve(server);
  run(nats_options(one), [](nats::client& bus) -> task<> {
    co_await bus.wait_connected(5s);
    std::error_code why;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> { why = co_await failure_of([&] { return bus.flush(5s); }); });
      co_await sleep_for(1ns);
      bus.close();
    });
    EXPECT_EQ(why, nats_error::closed);
  });
}

}  // namespace
}  // namespace rill
