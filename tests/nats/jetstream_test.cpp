// JetStream against the small server in a simulated world: exactly once, in order, whatever is
// lost.
#include <rill/protocols/nats/jetstream.h>

#include <chrono>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nats/nats_server.h"
#include "nats/nats_world.h"
#include "sim/storm.h"
#include <rill/protocols/nats/ordered_consumer.h>
#include <rill/protocols/nats/outbox.h>
#include <rill/runtime/event.h>
#include <rill/runtime/sim/seeds.h>
#include <rill/runtime/sim/world.h>
#include <rill/runtime/sleep.h>

namespace rill {
namespace {

using namespace std::chrono_literals;
using nats::nats_error;
using sim::require;
using test::failure_of;
using test::nats_options;
using test::nats_server_options;
using test::nats_store;
using test::with_nats_client;
using testing::ElementsAre;

nats::stream_config chat_stream() {
  nats::stream_config made;
  made.name = "CHAT";
  made.subjects = {"chat.>"};
  return made;
}

nats::jetstream_options patient() {
  nats::jetstream_options made;
  made.attempt_timeout = 1s;
  return made;
}

nats::publish_options with_id(const std::string& id) {
  nats::publish_options made;
  made.message_id = id;
  made.attempt_timeout = 1s;
  return made;
}

class sim_nats_jetstream : public testing::Test {
 protected:
  void serve(nats_server_options options = nats_server_options()) {
    server.run(test::lasting_nats_server, std::ref(store), std::move(options));
  }
  template <class Body>
  void run(Body body) {
    auto& talk = client.run([&]() -> task<> {
      const auto with = [&](nats::client& bus) -> task<> {
        nats::jetstream js(bus, patient());
        co_await js.create_or_update_stream(chat_stream());
        co_await body(bus, js);
      };
      const auto options = nats_options({"10.0.0.1"});
      co_await with_nats_client(options, with);
    });
    world.run(talk);
  }
  std::vector<std::string> payloads() const {
    std::vector<std::string> all;
    for (const auto& each : store.streams.at("CHAT").messages) all.push_back(each.payload);
    return all;
  }

  nats_store store;
  sim::world world{7};
  sim::host& server = world.add_host("server", "10.0.0.1");
  sim::host& client = world.add_host("client", "10.0.0.2");
};

TEST_F(sim_nats_jetstream, makes_and_changes_streams) {
  serve();
  run([](nats::client&, nats::jetstream& js) -> task<> {
    nats::stream_config config = chat_stream();
    config.subject_message_count_max = 2;
    const auto changed = co_await js.create_or_update_stream(config);
    EXPECT_EQ(changed.name, "CHAT");
    EXPECT_EQ(changed.duplicate_window, 2min);
    const auto none = co_await failure_of([&] { return js.stream("NONE"); });
    EXPECT_EQ(none, nats_error::not_found);
    for (const char* const each : {"1", "2", "3"}) co_await js.publish("chat.a", each);
    const auto info = co_await js.stream("CHAT");
    EXPECT_EQ(info.message_count, 2u);
    EXPECT_EQ(info.first_sequence, 2u);
    EXPECT_EQ(info.last_sequence, 3u);
    const auto bad = co_await failure_of([&] { return js.stream("a.b"); });
    EXPECT_EQ(bad, nats_error::bad_subject);
    co_await js.delete_stream("CHAT");
    const auto gone = co_await failure_of([&] { return js.stream("CHAT"); });
    EXPECT_EQ(gone, nats_error::not_found);
  });
}

TEST_F(sim_nats_jetstream, publishes_once_whatever_is_sent_twice) {
  serve();
  run([](nats::client&, nats::jetstream& js) -> task<> {
    const auto first = co_await js.publish("chat.a", "one", with_id("x"));
    EXPECT_EQ(first.sequence, 1u);
    EXPECT_FALSE(first.is_duplicate);
    const auto again = co_await js.publish("chat.a", "one", with_id("x"));
    EXPECT_EQ(again.sequence, 1u);
    EXPECT_TRUE(again.is_duplicate);
    auto expecting = with_id("y");
    expecting.expected_last_sequence = 0;
    const auto wrong = co_await failure_of([&] { return js.publish("chat.a", "two", expecting); });
    EXPECT_EQ(wrong, nats_error::wrong_last_sequence);
    expecting.expected_last_sequence = 1;
    const auto right = co_await js.publish("chat.a", "two", expecting);
    EXPECT_EQ(right.sequence, 2u);
  });
  EXPECT_THAT(payloads(), ElementsAre("one", "two"));
}

TEST_F(sim_nats_jetstream, publishes_again_when_the_acknowledgement_is_lost) {
  nats_server_options forgetful;
  forgetful.lost_acknowledgement = 2;
  serve(forgetful);
  run([](nats::client&, nats::jetstream& js) -> task<> {
    for (int i = 0; i < 4; ++i) {
      const auto kept =
          co_await js.publish("chat.a", std::to_string(i), with_id(std::to_string(i)));
      EXPECT_EQ(kept.sequence, static_cast<std::uint64_t>(i) + 1);
      EXPECT_EQ(kept.is_duplicate, i != 0);
    }
  });
  EXPECT_THAT(payloads(), ElementsAre("0", "1", "2", "3"));
}

TEST_F(sim_nats_jetstream, waits_for_a_leader_up_to_a_deadline) {
  nats_server_options electing;
  electing.without_leader = 5s;
  serve(electing);
  run([&](nats::client&, nats::jetstream& js) -> task<> {
    EXPECT_GE(world.now(), 5s);  // the stream was made
    co_await js.publish("chat.a", "one");
    auto hasty = with_id("x");
    hasty.timeout = 2s;
    const auto before = loop_clock::now();
    const auto nobody = co_await failure_of([&] { return js.publish("other", "one", hasty); });
    EXPECT_EQ(nobody, nats_error::no_responders);
    EXPECT_GE(loop_clock::now() - before, 500ms);
    EXPECT_LE(loop_clock::now() - before, 2s);
  });
}

TEST_F(sim_nats_jetstream, says_when_it_does_not_know_whether_a_message_stands) {
  serve();
  run([&](nats::client&, nats::jetstream& js) -> task<> {
    auto hasty = with_id("x");
    hasty.timeout = 3s;
    {
      // The way back is cut: the message arrives, and nothing is heard of it.
      const auto cut = world.inject(sim::partition().from(server).to(client));
      const auto unknown = co_await failure_of([&] { return js.publish("chat.a", "one", hasty); });
      EXPECT_EQ(unknown, nats_error::outcome_unknown);
    }
    const auto found = co_await js.find_id("CHAT", "chat.a", "x", 1);
    EXPECT_EQ(found, 1u);
    const auto none = co_await js.find_id("CHAT", "chat.a", "y", 1);
    EXPECT_EQ(none, std::nullopt);
  });
  EXPECT_THAT(payloads(), ElementsAre("one"));
}

TEST_F(sim_nats_jetstream, reads_what_stands_there) {
  serve();
  run([](nats::client&, nats::jetstream& js) -> task<> {
    const std::string bytes("\0\x01\xff", 3);
    auto fields = with_id("x");
    fields.headers.add("From", "me");
    co_await js.publish("chat.a", bytes, fields);
    co_await js.publish("chat.b", "two");
    co_await js.publish("chat.a", "three");
    const auto first = co_await js.get("CHAT", 1);
    EXPECT_EQ(first->payload, bytes);
    EXPECT_EQ(first->headers.find("From"), "me");
    EXPECT_EQ(first->headers.find("Nats-Msg-Id"), "x");
    const auto none = co_await js.get("CHAT", 9);
    EXPECT_FALSE(none);
    const auto last = co_await js.last("CHAT", "chat.a");
    EXPECT_EQ(last->payload, "three");
    EXPECT_EQ(last->stored_at, 1'767'225'600'000'000'000);
    const auto some = co_await js.fetch("CHAT", "chat.a", 1, 10);
    EXPECT_EQ(some.size(), 2u);
    const auto rest = co_await js.fetch("CHAT", "chat.>", 2, 1);
    EXPECT_EQ(rest.at(0).payload, "two");
  });
}

TEST_F(sim_nats_jetstream, consumes_in_order_through_crash_and_restart) {
  serve();
  run([&](nats::client&, nats::jetstream& js) -> task<> {
    for (int i = 0; i < 30; ++i) co_await js.publish("chat.a", std::to_string(i));
    nats::consume_options options;
    options.heartbeat = 1s;
    options.pattern = "chat.*";
    auto all = js.consume("CHAT", options);
    for (int i = 0; i < 15; ++i) {
      const auto each = co_await all.next();
      EXPECT_EQ(each.payload, std::to_string(i));
      EXPECT_EQ(each.sequence, static_cast<std::uint64_t>(i) + 1);
    }
    EXPECT_FALSE(all.has_caught_up());
    server.crash();
    co_await sleep_for(3s);
    server.restart();
    serve();
    co_await js.publish("chat.a", "30", with_id("30"));
    for (int i = 15; i < 31; ++i) {
      const auto each = co_await all.next();
      EXPECT_EQ(each.payload, std::to_string(i));
    }
    EXPECT_TRUE(all.has_caught_up());
    EXPECT_EQ(all.last_sequence(), 31u);
    EXPECT_GE(all.made_count(), 2u);
    const auto made = all.made_count();
    EXPECT_THROW(co_await with_timeout(20s, all.next()), timeout_error);
    EXPECT_EQ(all.made_count(), made);  // heartbeats keep it
  });
}

TEST_F(sim_nats_jetstream, consumes_from_now_on_what_follows) {
  serve();
  run([&](nats::client&, nats::jetstream& js) -> task<> {
    co_await js.publish("chat.a", "before");
    nats::consume_options options;
    options.heartbeat = 1s;
    options.from.reset();
    auto news = js.consume("CHAT", options);
    EXPECT_THROW(co_await with_timeout(500ms, news.next()), timeout_error);
    server.crash();  // before it has seen anything
    server.restart();
    serve();
    co_await js.publish("chat.a", "after");
    const auto first = co_await news.next();
    EXPECT_EQ(first.payload, "after");
    co_await js.delete_stream("CHAT");
    const auto gone = co_await failure_of([&] { return with_timeout(60s, news.next()); });
    EXPECT_EQ(gone, nats_error::not_found);
  });
}

TEST_F(sim_nats_jetstream, an_outbox_holds_what_is_said_and_sends_it_once_and_in_order) {
  serve();
  run([&](nats::client&, nats::jetstream& js) -> task<> {
    nats::outbox_limits few;
    few.count_max = 5;
    nats::outbox said(js, "CHAT", few);
    std::vector<std::error_code> refused;
    said.on_refused = [&](const std::string&, std::error_code why) { refused.push_back(why); };
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&] { return said.run(); });
      EXPECT_TRUE(said.push("chat.a", "1"));
      EXPECT_TRUE(said.push("a..b", "malformed"));
      EXPECT_TRUE(said.push("chat.b", "2"));
      while (said.waiting_count() != 0) co_await sleep_for(10ms);
      {
        // Longer than the window of duplicates, and what is sent arrives.
        const auto cut = world.inject(sim::partition().from(server).to(client));
        for (const char* const each : {"3", "4", "5", "6", "7"}) {
          EXPECT_TRUE(said.push("chat.a", each));
        }
        EXPECT_FALSE(said.push("chat.a", "8"));
        co_await sleep_for(10min);
        EXPECT_EQ(said.waiting_count(), 5u);
      }
      said.close();
      EXPECT_FALSE(said.push("chat.a", "9"));
    });
    EXPECT_EQ(said.sent_count(), 7u);
    EXPECT_THAT(refused, ElementsAre(make_error_code(nats_error::bad_subject)));
  });
  EXPECT_THAT(payloads(), ElementsAre("1", "2", "3", "4", "5", "6", "7"));
}

TEST_F(sim_nats_jetstream, an_outbox_outlives_a_stream_that_went_while_it_asked) {
  serve();
  run([&](nats::client&, nats::jetstream& js) -> task<> {
    nats::outbox said(js, "CHAT");
    std::vector<std::error_code> refused;
    said.on_refused = [&](const std::string&, std::error_code why) { refused.push_back(why); };
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&] { return said.run(); });
      EXPECT_TRUE(said.push("chat.a", "1"));
      while (said.waiting_count() != 0) co_await sleep_for(10ms);
      {
        const auto cut = world.inject(sim::partition().from(server).to(client));
        EXPECT_TRUE(said.push("chat.a", "2"));
        co_await sleep_for(5min);  // it asks whether the message stands
        store.streams.erase("CHAT");
      }
      said.close();
    });
    EXPECT_EQ(said.sent_count(), 1u);
    EXPECT_THAT(refused, ElementsAre(make_error_code(nats_error::not_found)));
  });
}

TEST_F(sim_nats_jetstream, an_outbox_takes_no_id_that_it_could_not_find_again) {
  serve();
  run([](nats::client&, nats::jetstream& js) -> task<> {
    nats::outbox said(js, "CHAT");
    for (const std::string id : {"a\r\nb: c", "a\n", " a", "a\t"}) {
      EXPECT_THROW(said.push("chat.a", "x", id), std::invalid_argument) << id;
    }
    EXPECT_EQ(said.waiting_count(), 0u);
    EXPECT_TRUE(said.push("chat.a", "x", "a b"));
    co_return;
  });
}

TEST_F(sim_nats_jetstream, says_that_it_does_not_know_when_the_client_is_closed_meanwhile) {
  serve();
  run([&](nats::client& bus, nats::jetstream& js) -> task<> {
    const auto cut = world.inject(sim::partition().from(server).to(client));
    std::error_code unknown;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        unknown = co_await failure_of([&] { return js.publish("chat.a", "one", with_id("x")); });
      });
      co_await sleep_for(500ms);
      bus.close();
    });
    EXPECT_EQ(unknown, nats_error::outcome_unknown);
  });
  EXPECT_THAT(payloads(), ElementsAre("one"));
}

TEST_F(sim_nats_jetstream, gives_out_a_message_whatever_status_its_publisher_has_given_it) {
  serve();
  run([](nats::client& bus, nats::jetstream& js) -> task<> {
    auto evil = bus.subscribe("evil.>");
    nats::consume_options options;
    options.heartbeat = 1s;
    auto all = js.consume("CHAT", options);
    nats::headers gone;
    gone.set_status(409, "Consumer Deleted");
    nats::headers stalled;
    stalled.set_status(100, "Idle Heartbeat");
    stalled.add("Nats-Consumer-Stalled", "evil.stop").add("Nats-Last-Consumer", "99");
    co_await bus.publish("chat.a", "1", gone);
    co_await bus.publish("chat.a", "2", stalled);
    co_await bus.publish("chat.a", "3");
    for (const char* const each : {"1", "2", "3"}) {
      const auto came = co_await with_timeout(5s, all.next());
      EXPECT_EQ(came.payload, each);
    }
    EXPECT_EQ(all.made_count(), 1u);
    co_await bus.flush(5s);
    EXPECT_EQ(evil.waiting_count(), 0u);
  });
}

TEST_F(sim_nats_jetstream, asks_a_cluster_that_is_short_of_something_more_and_more_slowly) {
  nats_server_options busy;
  busy.refused_consumer_count = 20;
  serve(busy);
  run([](nats::client&, nats::jetstream& js) -> task<> {
    co_await js.publish("chat.a", "1");
    auto all = js.consume("CHAT", nats::consume_options());
    const auto before = loop_clock::now();
    const auto came = co_await all.next();
    EXPECT_EQ(came.payload, "1");
    EXPECT_GE(loop_clock::now() - before, 5s);
  });
}

TEST_F(sim_nats_jetstream, a_consumer_that_is_replaced_is_not_wanted_any_more) {
  serve();
  run([](nats::client& bus, nats::jetstream& js) -> task<> {
    co_await js.publish("chat.a", "1");
    auto all = js.consume("CHAT", nats::consume_options());
    co_await all.next();
    auto again = js.consume("CHAT", nats::consume_options());
    const auto before = bus.statistics().sent_size;
    all = std::move(again);
    co_await bus.flush(5s);
    const auto told = bus.statistics().sent_size - before;
    EXPECT_GT(told, std::string("UNSUB 1\r\nPUB $JS.API.CONSUMER.DELETE.CHAT.c1 0\r\n").size());
    const auto first = co_await all.next();
    EXPECT_EQ(first.payload, "1");
  });
}

TEST_F(sim_nats_jetstream, takes_no_time_of_a_message_that_is_none) {
  serve();
  run([](nats::client& bus, nats::jetstream&) -> task<> {
    nats::jetstream_options own;
    own.prefix = "own";
    const nats::jetstream js(bus, own);
    auto questions = bus.subscribe("own.>");
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        for (;;) {
          const auto asked = co_await questions.next();
          if (!asked) co_return;
          const std::string time = asked->payload.find('1') != std::string::npos
                                       ? "9999-12-31T23:59:59Z"
                                       : "2026-13-40T00:00:00Z";
          std::string answer = R"({"message":{"subject":"a","seq":1,"time":")";
          answer += time + "\"}}";
          co_await bus.publish(asked->reply, answer);
        }
      });
      nats::jetstream mine = js;
      for (const std::uint64_t sequence : {1U, 2U}) {
        const auto came = co_await mine.get("CHAT", sequence);
        EXPECT_EQ(came->stored_at, 0);
      }
      tasks.cancel();
    });
  });
}

/// Says the same through an outbox.
task<> say(nats::jetstream& js, std::string name, int count) {
  nats::outbox said(js, "CHAT");
  for (int i = 0; i < count; ++i) {
    const std::string id = name + std::to_string(i);
    require(said.push("chat." + name, id, id), "an outbox takes what it may");
  }
  said.close();
  co_await said.run();
}

/// Publishes its messages one after the other, each until it is confirmed.
task<> speak(nats::jetstream& js, std::string name, int count,
             std::map<std::string, std::uint64_t>& confirmed) {
  for (int i = 0; i < count; ++i) {
    const std::string id = name + std::to_string(i);
    auto options = with_id(id);
    options.timeout = 10min;
    for (;;) {
      bool is_done = false;
      try {
        const auto ack = co_await js.publish("chat." + name, id, options);
        require(confirmed.emplace(id, ack.sequence).second, "a message is confirmed once");
        is_done = true;
      } catch (const io_error& failed) {
        // Within the window of duplicates the same id may be published again.
        require(failed.code() == nats_error::outcome_unknown ||
                    failed.code() == std::errc::not_enough_memory,
                failed.what());
      }
      if (is_done) break;
      co_await sleep_for(10ms);
    }
  }
}

/// Sees all messages of everybody, in order.
task<> listen(nats::jetstream& js, std::size_t count, std::vector<nats::stream_message>& seen) {
  nats::consume_options options;
  options.heartbeat = 1s;
  auto all = js.consume("CHAT", options);
  while (seen.size() < count) {
    auto each = co_await all.next();
    require(seen.empty() ? each.sequence == 1 : each.sequence == seen.back().sequence + 1,
            "sequence numbers come in order, without gaps and without duplicates");
    seen.push_back(std::move(each));
  }
}

struct member_record {
  std::map<std::string, std::uint64_t> confirmed;
  std::vector<nats::stream_message> seen;
};

constexpr int spoken_count = 5;

task<> member(std::string name, member_record& mine, int& done_count, event& all_done) {
  const auto with = [&](nats::client& bus) -> task<> {
    nats::jetstream js(bus, patient());
    nats::stream_config config = chat_stream();
    // The weather is never so bad for longer.
    config.duplicate_window = 30min;
    for (;;) {
      bool is_made = false;
      try {
        co_await js.create_or_update_stream(config);
        is_made = true;
      } catch (const io_error&) {
        // Tried again.
      }
      if (is_made) break;
      co_await sleep_for(10ms);
    }
    co_await with_nursery([&](nursery& tasks) -> task<> {
      if (name == "anna") {
        tasks.start([&] { return speak(js, name, spoken_count, mine.confirmed); });
      } else {
        tasks.start([&] { return say(js, name, spoken_count); });
      }
      co_await listen(js, 2 * spoken_count, mine.seen);
    });
  };
  const auto options = nats_options({"10.0.0.1"});
  co_await with_nats_client(options, with);
  if (++done_count == 2) all_done.set();
}

TEST(sim_nats_property, a_confirmed_message_stands_once_and_is_seen_once_in_order) {
  const std::string failure = sim::run_seeds(test::many_seeds, [](std::uint64_t seed) {
    nats_store store;
    member_record anna;
    member_record bert;
    int done_count = 0;
    event all_done;
    sim::world world(seed);
    sim::host& server = world.add_host("server", "10.0.0.1");
    sim::host& first = world.add_host("first", "10.0.0.2");
    sim::host& second = world.add_host("second", "10.0.0.3");
    test::storm weather(world, seed);
    nats_server_options how;
    how.lost_acknowledgement = 2 * weather.draw(2);  // not each of them, for ever
    how.flow_count = 1 + weather.draw(8);
    const auto serve = [&] { server.run(test::lasting_nats_server, std::ref(store), how); };
    serve();
    auto& one = first.run(member, std::string("anna"), std::ref(anna), std::ref(done_count),
                          std::ref(all_done));
    auto& two = second.run(member, std::string("bert"), std::ref(bert), std::ref(done_count),
                           std::ref(all_done));
    {
      test::storm faults(world, seed + 1);
      faults.shake_kernels();
      faults.shake_network();
      faults.break_connections();
      world.run_for(weather.moment(20ms));
      const auto cut = world.inject(sim::partition().between(server, first));
      world.run_for(weather.moment(5s));
    }
    world.run_for(weather.moment(10ms));
    server.crash();
    world.run_for(weather.moment(2s));
    server.restart();
    serve();
    world.run(one);
    world.run(two);
    const auto& stands = store.streams.at("CHAT").messages;
    require(stands.size() == 2 * spoken_count, "every message stands once");
    require(anna.confirmed.size() == spoken_count, "every message was confirmed");
    for (const member_record* const each : {&anna, &bert}) {
      for (const auto& [id, sequence] : each->confirmed) {
        require(stands.at(sequence - 1).payload == id, "it stands where it was said to stand");
      }
      for (std::size_t i = 0; i < stands.size(); ++i) {
        require(each->seen.at(i).payload == stands[i].payload, "all see one order");
      }
    }
  });
  EXPECT_EQ(failure, "");
}

}  // namespace
}  // namespace rill
