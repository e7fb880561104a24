// Browsers in the rooms of everybody else: the JSON messages, what is hostile, and what is slow, in
// virtual time.
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "chat/page.h"
#include <rill/runtime/nursery.h>
#include <rill/runtime/sim/exhaustive.h>
#include <rill/runtime/sim/seeds.h>
#include <rill/runtime/sim/world.h>
#include <rill/runtime/sleep.h>

namespace rill::chat {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using test::page;
using test::server_options;
using test::talker;

/// Runs `talk` as a client of a server, in a world of its own; gives what the server has counted.
template <class Talk>
hub_statistics with_pages(Talk talk, const server_options& how = server_options()) {
  std::shared_ptr<hub> all;
  sim::world world(1);
  auto& server = world.add_host("server", "10.0.0.1");
  auto& client = world.add_host("client", "10.0.0.2");
  server.run(test::page_service, how, &all);
  world.run_for(1ms);
  world.run(client.run(talk));
  world.run_for(120s);
  EXPECT_EQ(all->statistics().member_count, 0U) << "everybody has left";
  EXPECT_EQ(all->statistics().queued_size, 0U);
  return all->statistics();
}

/// What comes next is this, but for what differs from run to run.
task<> expect(page& from, std::string what) {
  const json came = co_await from.next();
  EXPECT_EQ(came, json::parse(what));
}

std::string error(const std::string& about, const std::string& text) {
  return R"({"type":"error","about":")" + about + R"(","text":")" + text + "\"}";
}
std::string message(const std::string& name, const std::string& text) {
  return R"({"type":"message","kind":"said","name":")" + name + R"(","text":")" + text + "\"}";
}

TEST(chat_browser, is_in_the_same_rooms_as_everybody_else) {
  with_pages([]() -> task<> {
    talker alice = co_await talker::join("alice");
    co_await alice.say("before\n");
    page bob = co_await page::connect();
    co_await bob.say(R"({"type":"hello","name":"bob"})");
    co_await expect(bob, R"({"type":"name","name":"bob"})");
    json room = co_await bob.next();
    EXPECT_EQ(room["room"], "lobby");
    EXPECT_EQ(room["history"].size(), 1U);
    EXPECT_EQ(room["history"][0]["text"], "before");
    co_await expect(bob, R"({"type":"who","room":"lobby","names":["alice"],"count":1})");
    co_await expect(bob, R"({"type":"joined","name":"bob"})");
    co_await alice.expect("bob joined the chat!\n");
    co_await bob.say(R"({"type":"say","text":"hi\n\u001b[0m"})");
    co_await alice.expect("bob: hi\xE2\x90\x8A\xE2\x90\x9B[0m\n");
    co_await expect(bob, message("bob", "hi\xE2\x90\x8A\xE2\x90\x9B[0m"));
    co_await alice.say("/me waves\n/msg bob psst\n");
    co_await expect(bob, R"({"type":"message","kind":"done","name":"alice","text":"waves"})");
    co_await expect(bob, R"({"type":"private","from":"alice","text":"psst"})");
    co_await bob.say(R"({"type":"private","to":"alice","text":"yes"})");
    co_await expect(bob, R"({"type":"private","to":"alice","text":"yes"})");
    co_await bob.say(R"({"type":"name","name":"carol"})");
    co_await expect(bob, R"({"type":"renamed","name":"bob","to":"carol"})");
    co_await expect(bob, R"({"type":"name","name":"carol"})");
    co_await bob.say(R"({"type":"rooms"})");
    co_await expect(bob, R"({"type":"rooms","rooms":[{"room":"lobby","count":2}]})");
    co_await bob.peer.close();
    co_await alice.skip_to("carol left the chat!\n");
  });
}

TEST(chat_browser, gets_what_was_said_since_the_message_it_has_seen) {
  with_pages([]() -> task<> {
    talker alice = co_await talker::join("alice");
    page bob = co_await page::join("bob");
    co_await alice.say("one\ntwo\nthree\n");
    co_await bob.find("message");
    const std::string away = R"({"type":"join","room":"tea","seen":"nonsense"})";
    const std::uint64_t seen = bob.last_id;
    co_await bob.say(away);
    co_await bob.find("joined");
    const std::string back =
        R"({"type":"join","room":"lobby","seen":)" + std::to_string(seen) + "}";
    co_await bob.say(back);
    const json room = co_await bob.find("room");
    EXPECT_EQ(room["history"].size(), 2U);
    EXPECT_EQ(room["history"][0]["text"], "two");
  });
}

TEST(chat_browser, is_told_why_a_name_or_a_room_or_a_text_is_refused) {
  with_pages([]() -> task<> {
    talker alice = co_await talker::join("alice");
    page bob = co_await page::connect();
    const auto tell = [&bob](std::string what) { return bob.say(std::move(what)); };
    co_await tell(R"({"type":"hello"})");
    co_await expect(bob, error("name", "a name has 1 to 32 characters"));
    co_await tell(R"({"type":"hello","name":"alice","room":"a:b"})");
    co_await expect(bob, error("name", "alice is taken"));
    co_await tell(R"({"type":"name","name":"bob"})");
    co_await expect(bob, R"({"type":"name","name":"bob"})");
    co_await expect(bob, error("room", "a name has no blanks, colons or control characters"));
    co_await tell(R"({"type":"say","text":"hi"})");
    co_await expect(bob, error("room", "you are in no room"));
    co_await tell(R"({"type":"join","room":"tea"})");
    co_await bob.find("joined");
    const std::string long_text = R"({"type":"say","text":")" + std::string(4097, 'x') + "\"}";
    co_await tell(long_text);
    co_await expect(bob, error("text", "that is too long"));
    co_await tell(R"({"type":"private","to":"nobody","text":"x"})");
    co_await expect(bob, error("private", "there is no nobody"));
    co_await tell(R"({"type":7})");
    co_await expect(bob, error("type", "there is no message of type ''"));
  });
}

TEST(chat_browser, that_does_not_say_hello_first_is_in_the_lobby_all_the_same) {
  with_pages([]() -> task<> {
    page bob = co_await page::connect();
    co_await bob.say(R"({"type":"name","name":"bob"})");
    co_await expect(bob, R"({"type":"name","name":"bob"})");
    const json room = co_await bob.next();
    EXPECT_EQ(room["room"], "lobby");
  });
}

TEST(chat_browser, is_shut_out_for_what_is_no_message_of_ours) {
  for (const char* text : {"", "x", "[]", "7", "{\"type\":\"hello\"", "\"\\ud800\"",
                           "{\"type\":\"say\",\"text\":\"nameless\"}"}) {
    with_pages([text]() -> task<> {
      page bob = co_await page::connect();
      co_await bob.peer.write_text(text);
      co_await expect(bob, R"({"end":"1008 messages are JSON objects"})");
    });
  }
  with_pages([]() -> task<> {
    page bob = co_await page::join("bob");
    co_await bob.peer.write_binary("{}");
    co_await expect(bob, R"({"end":"1008 messages are JSON objects"})");
  });
  with_pages([]() -> task<> {
    page bob = co_await page::join("bob");
    co_await bob.peer.write_text(std::string(5000, '['));
    co_await expect(bob, R"({"end":"1008 messages are JSON objects"})");
  });
}

TEST(chat_browser, without_a_name_or_a_word_has_a_time) {
  server_options how;
  how.session.idle_timeout = 60s;
  with_pages(
      []() -> task<> {
        const auto begin = loop_clock::now();
        page nobody = co_await page::connect();
        co_await expect(nobody, R"({"end":"1008 there was no name for too long"})");
        EXPECT_GE(loop_clock::now() - begin, 30s);
        EXPECT_LE(loop_clock::now() - begin, 31s);
        page bob = co_await page::join("bob");
        const auto joined = loop_clock::now();
        co_await expect(bob, R"({"end":"1008 nothing was said for too long"})");
        EXPECT_GE(loop_clock::now() - joined, 59s);
        EXPECT_LE(loop_clock::now() - joined, 61s);
      },
      how);
}

TEST(chat_browser, counts_as_a_connection_of_its_address) {
  server_options how;
  how.per_address_max = 1;
  with_pages(
      []() -> task<> {
        talker alice = co_await talker::join("alice");
        page bob = co_await page::connect();
        co_await expect(bob, R"({"end":"1008 too many connections from your address"})");
      },
      how);
}

TEST(chat_browser, is_read_at_its_pace) {
  server_options how;
  how.session.pace = {.rate = 10, .burst = 5};
  with_pages(
      []() -> task<> {
        talker alice = co_await talker::join("alice");
        page bob = co_await page::join("bob");
        co_await alice.expect("bob joined the chat!\n");
        const auto begin = loop_clock::now();
        const std::string said = R"({"type":"say","text":"x"})";
        for (int i = 0; i != 105; ++i) co_await bob.say(said);
        for (int i = 0; i != 105; ++i) co_await alice.expect("bob: x\n");
        EXPECT_GE(loop_clock::now() - begin, 9s);
        EXPECT_LE(loop_clock::now() - begin, 11s);
      },
      how);
}

TEST(chat_browser, is_given_as_much_history_as_leaves_room_for_what_comes_next) {
  server_options how;
  how.session.pace.rate = 0;
  how.hub.queue_size_max = 20'000;
  with_pages(
      []() -> task<> {
        talker alice = co_await talker::join("alice");
        for (int i = 0; i != 100; ++i) {
          co_await alice.say(std::to_string(i) + std::string(1000, 'x') + "\n");
        }
        co_await sleep_for(1s);
        page bob = co_await page::connect();
        co_await bob.say(R"({"type":"hello","name":"bob"})");
        const json room = co_await bob.find("room");
        EXPECT_GT(room["history"].size(), 5U);
        EXPECT_LT(room["history"].size(), 10U);
        EXPECT_EQ(room["history"].back()["text"], "99" + std::string(1000, 'x'));
        const json who = co_await bob.next();
        EXPECT_EQ(who["type"], "who");
        co_await expect(bob, R"({"type":"joined","name":"bob"})");
      },
      how);
}

TEST(chat_browser, that_does_not_read_is_told_what_it_missed_and_not_who_was_typing) {
  server_options how;
  how.session.pace.rate = 0;
  how.hub.queue_size_max = 20'000;
  with_pages(
      []() -> task<> {
        page slow = co_await page::join("slow");
        page writer = co_await page::join("writer");
        co_await slow.find("joined");
        co_await writer.say(R"({"type":"typing"})");
        co_await expect(slow, R"({"type":"typing","name":"writer"})");
        talker speaker = co_await talker::join("speaker");
        const std::string text(1000, 'x');
        for (int i = 0; i != 1000; ++i) {
          co_await speaker.say(text + "\n");
          if (i > 500) co_await writer.say(R"({"type":"typing"})");
        }
        co_await sleep_for(2s);
        std::size_t come = 0;
        std::size_t missed = 0;
        std::size_t typing_count = 0;
        co_await slow.find("joined");
        while (come + missed < 1000) {
          const json came = co_await slow.next();
          if (came["type"] == "missed") {
            missed += came["count"].get<std::size_t>();
          } else if (came["type"] == "typing") {
            ++typing_count;
          } else {
            EXPECT_EQ(came, json::parse(message("speaker", text)));
            ++come;
          }
        }
        EXPECT_EQ(come + missed, 1000U);
        EXPECT_GT(missed, 100U);
        EXPECT_LT(typing_count, 499U);
        co_await speaker.say("again\n");
        const json last = co_await slow.find("message");
        EXPECT_EQ(last["text"], "again") << "who was typing is nothing that is missed";
      },
      how);
}

TEST(chat_browser, that_takes_nothing_is_disconnected_and_counted) {
  server_options how;
  how.session.pace.rate = 0;
  how.pages.connection.ping_interval = 0s;
  const hub_statistics counted = with_pages(
      []() -> task<> {
        page stuck = co_await page::join("stuck");
        talker speaker = co_await talker::join("speaker");
        for (int i = 0; i != 1000; ++i) co_await speaker.say(std::string(1000, 'x') + "\n");
        co_await speaker.skip_to("stuck left the chat!\n");
      },
      how);
  EXPECT_EQ(counted.cut_count, 1U);
}

TEST(chat_browser, asks_for_lists_more_seldom_than_it_may_speak) {
  server_options how;
  how.session.pace = {.rate = 10, .burst = 1};
  with_pages(
      []() -> task<> {
        page bob = co_await page::join("bob");
        co_await sleep_for(1s);
        const auto begin = loop_clock::now();
        const std::string who = R"({"type":"who"})";
        for (int i = 0; i != 6; ++i) co_await bob.say(who);
        for (int i = 0; i != 6; ++i) co_await bob.find("who");
        EXPECT_GE(loop_clock::now() - begin, 5s);
      },
      how);
}

TEST(chat_browser, that_is_held_back_when_the_server_ends_ends_with_it) {
  sim::world world(1);
  auto& server = world.add_host("server", "10.0.0.1");
  auto& client = world.add_host("client", "10.0.0.2");
  auto& service = server.run(test::page_service, server_options(), nullptr);
  world.run_for(1ms);
  auto& talk = client.run([&]() -> task<> {
    page bob = co_await page::join("bob");
    const std::string said = R"({"type":"say","text":"x"})";
    for (int i = 0; i != 60; ++i) co_await bob.say(said);
    co_await sleep_for(100ms);
    service.cancel();
    co_await sleep_for(1s);  // it does not answer the farewell, and its next message is due
  });
  world.run(talk);
  world.run(service);
}

TEST(chat_browser, that_reads_slowly_is_sent_what_waits_for_it_when_the_server_ends) {
  sim::world world(1);
  auto& server = world.add_host("server", "10.0.0.1");
  auto& client = world.add_host("client", "10.0.0.2");
  server_options how;
  how.session.pace.rate = 0;
  auto& service = server.run(test::page_service, how, nullptr);
  world.run_for(1ms);
  int come = 0;
  json end;
  auto& talk = client.run([&]() -> task<> {
    page slow = co_await page::join("slow");
    talker speaker = co_await talker::join("speaker");
    // More than sockets hold, and less than a queue beside them.
    for (int i = 0; i != 550; ++i) co_await speaker.say(std::string(1000, 'x') + "\n");
    co_await sleep_for(1s);
    service.cancel();
    while (!end.contains("end")) {
      end = co_await slow.find("message");
      if (!end.contains("end")) ++come;
    }
  });
  world.run(talk);
  world.run(service);
  EXPECT_EQ(come, 550);
  EXPECT_EQ(end["end"], "1001 the server is about to end");
}

void one_browser(sim::trial& run) {
  run.allow_silence();  // alice waits for what bob says, who may be lost
  sim::host& server = run.world().add_host("server", "10.0.0.1");
  sim::host& client = run.world().add_host("client", "10.0.0.2");
  server.run(test::page_service, server_options(), nullptr);
  run.settle(1ms);
  json heard;
  auto& session = client.run([&]() -> task<> {
    talker alice = co_await with_timeout(60s, talker::join("alice"));
    page bob = co_await with_timeout(60s, page::join("bob"));
    co_await alice.skip_to("bob joined the chat!\n");
    co_await alice.say("hello\n/quit\n");
    heard = co_await bob.find("message");
    co_await bob.find("left");
    co_await bob.peer.close();
  });
  run.run(session, server);
  const bool is_heard = heard == json::parse(message("alice", "hello"));
  sim::require(is_heard || heard.contains("end") || !run.succeeded(), "what is said is heard");
}

TEST(chat_points, a_browsers_talk_with_every_interaction_failing_once) {
  sim::exhaustive_options options;
  options.allocations = false;  // see README.md: a shard without memory ends the program
  const sim::exhaustive_report report = sim::every_point("browser", one_browser, options);
  EXPECT_EQ(report.failure, "") << report.summary;
}

}  // namespace
}  // namespace rill::chat
