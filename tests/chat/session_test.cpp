// The TCP protocol as clients see it, byte for byte, in virtual time.
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "chat/talker.h"
#include <rill/runtime/nursery.h>
#include <rill/runtime/sim/world.h>
#include <rill/runtime/sleep.h>

namespace rill::chat {
namespace {

using namespace std::chrono_literals;
using test::server_options;
using test::talker;

/// Runs `talk` as a client of a server, in a world of its own.
template <class Talk>
void with_server(Talk talk, const server_options& how = server_options()) {
  std::shared_ptr<hub> all;
  sim::world world(1);
  auto& server = world.add_host("server", "10.0.0.1");
  auto& client = world.add_host("client", "10.0.0.2");
  server.run(test::chat_service, how, &all);
  world.run_for(1ms);
  world.run(client.run(talk));
  world.run_for(60s);
  EXPECT_EQ(all->statistics().member_count, 0U) << "everybody has left";
  EXPECT_EQ(all->statistics().queued_size, 0U);
}

/// A client of the original server: no newline anywhere.
task<talker> join_raw(std::string name) {
  talker made = co_await talker::connect();
  co_await made.expect("NICK");
  co_await made.say(name);
  co_await made.expect(name + " joined the chat!");
  co_return made;
}

TEST(chat_session, speaks_the_original_protocol_to_raw_clients_byte_for_byte) {
  with_server([]() -> task<> {
    talker alice = co_await join_raw("alice");
    talker bob = co_await join_raw("bob");
    co_await alice.expect("bob joined the chat!");
    co_await alice.say("alice: hello\x1b[0m\xFF\n");
    co_await bob.expect("alice: hello\x1b[0m\xFF\n");
    co_await bob.stream.close();
    co_await alice.expect("bob left the chat!");
    co_await alice.expect_silence(1s);
  });
}

TEST(chat_session, waits_200_ms_for_the_newline_of_a_nickname) {
  with_server([]() -> task<> {
    talker slow = co_await talker::connect();
    co_await slow.expect("NICK");
    co_await slow.say("al");
    co_await sleep_for(150ms);
    co_await slow.say("ice\n");
    co_await slow.expect("alice joined the chat!\n");

    talker raw = co_await talker::connect();
    co_await raw.expect("NICK");
    const auto begin = loop_clock::now();
    co_await raw.say("bob");
    co_await raw.expect("bob joined the chat!");
    EXPECT_GE(loop_clock::now() - begin, 200ms);
    EXPECT_LE(loop_clock::now() - begin, 300ms);
  });
}

TEST(chat_session, puts_the_name_before_what_line_clients_say) {
  with_server([]() -> task<> {
    talker alice = co_await talker::join("alice");
    talker bob = co_await talker::join("bob");
    talker raw = co_await join_raw("carol");
    co_await alice.expect("bob joined the chat!\ncarol joined the chat!\n");
    co_await bob.expect("carol joined the chat!\n");
    co_await alice.say("hello\r\n/me waves\n");
    co_await bob.expect("alice: hello\n* alice waves\n");
    co_await raw.expect("alice: hello* alice waves");
    co_await raw.say("raw words");
    co_await alice.expect("carol: raw words\n");
    co_await bob.expect("carol: raw words\n");
  });
}

TEST(chat_session, lines_said_with_the_nickname_are_not_lost) {
  with_server([]() -> task<> {
    talker alice = co_await talker::join("alice");
    talker bob = co_await talker::connect();
    co_await bob.say("bob\none\ntwo\nthr");
    co_await bob.say("ee\n");
    co_await alice.expect("bob joined the chat!\nbob: one\nbob: two\nbob: three\n");
  });
}

TEST(chat_session, asks_again_when_a_nickname_is_refused_and_gives_up_after_five) {
  with_server([]() -> task<> {
    talker alice = co_await talker::join("alice");
    talker other = co_await talker::connect();
    co_await other.expect("NICK");
    co_await other.say("alice\n");
    co_await other.expect("-- alice is taken\nNICK");
    co_await other.say("two words\n");
    co_await other.expect("-- a name has no blanks, colons or control characters\nNICK");
    co_await other.say("\n");
    co_await other.expect("-- a name has 1 to 32 characters\nNICK");
    co_await other.say("a\xFF\n");
    co_await other.expect("-- a name is UTF-8\nNICK");
    co_await other.say(std::string(600, 'x') + "\n");
    const std::string last = co_await other.rest();
    EXPECT_EQ(last, "-- a name has 1 to 32 characters\n");
  });
}

TEST(chat_session, a_nickname_of_ten_kilobytes_ends_the_connection) {
  with_server([]() -> task<> {
    talker big = co_await talker::connect();
    co_await big.say(std::string(10'000, 'x'));
    const std::string last = co_await big.rest();
    EXPECT_EQ(last, "NICK");
  });
}

TEST(chat_session, who_never_answers_is_disconnected_after_a_while) {
  with_server([]() -> task<> {
    talker silent = co_await talker::connect();
    const auto begin = loop_clock::now();
    const std::string last = co_await silent.rest();
    EXPECT_EQ(last, "NICK");
    EXPECT_GE(loop_clock::now() - begin, 30s);
    EXPECT_LE(loop_clock::now() - begin, 42s);
  });
}

TEST(chat_session, obeys_the_commands) {
  with_server([]() -> task<> {
    talker alice = co_await talker::join("alice");
    talker bob = co_await talker::join("bob");
    co_await alice.expect("bob joined the chat!\n");
    co_await alice.say("/who\n");
    co_await alice.expect("-- in lobby: alice, bob\n");
    co_await bob.say("/join tea\n");
    co_await alice.expect("bob left the chat!\n");
    co_await bob.expect("bob joined the chat!\n");
    co_await bob.say("/rooms\n");
    co_await bob.expect("-- lobby (1)\n-- tea (1)\n");
    co_await bob.say("/msg alice come here\n");
    co_await bob.expect("-- you to alice: come here\n");
    co_await alice.expect("-- bob to you: come here\n");
    co_await alice.say("/msg nobody hi\n/nick carol\n/nick bob\n/nick a:b\n");
    co_await alice.expect(
        "-- there is no nobody\n-- you are now called carol\n-- bob is taken\n"
        "-- a name has no blanks, colons or control characters\n");
    co_await bob.say("/leave\n");
    co_await alice.expect("bob joined the chat!\n");
    co_await bob.expect("bob joined the chat!\n");
    co_await alice.say("//me\n/dance\n/join\n");
    co_await bob.expect("carol: /me\n");
    co_await alice.expect(
        "-- there is no such command; see /help\n-- /join needs more; see /help\n");
    co_await bob.say("/help\n");
    co_await bob.skip_to("/quit ");
    co_await bob.say("/quit\n");
    co_await bob.rest();
    co_await alice.expect("bob left the chat!\n");
  });
}

TEST(chat_session, line_clients_get_the_history_and_raw_ones_do_not) {
  with_server([]() -> task<> {
    talker alice = co_await talker::join("alice");
    co_await alice.say("one\ntwo\n");
    co_await sleep_for(10ms);
    talker bob = co_await talker::connect();
    co_await bob.say("bob\n");
    co_await bob.expect("NICKalice: one\nalice: two\nbob joined the chat!\n");
    co_await join_raw("carol");
  });
}

TEST(chat_session, nobody_can_write_to_anothers_terminal_or_in_anothers_name) {
  with_server([]() -> task<> {
    talker victim = co_await talker::join("victim");
    talker line = co_await talker::join("line");
    talker raw = co_await join_raw("raw");
    co_await victim.expect("line joined the chat!\nraw joined the chat!\n");
    co_await line.say("\x1b]0;title\x07 \xE2\x80\xAEx\rvictim: I\n");
    co_await victim.expect(
        "line: \xE2\x90\x9B]0;title\xE2\x90\x87 \xEF\xBF\xBDx\xE2\x90\x8Dvictim: I\n");
    co_await raw.say(
        "a\nvictim: I owe you\r\n\x1b[2J\xC2\x9B"
        "1m\xFF");
    co_await victim.expect(
        "raw: a\nraw: victim: I owe you\nraw: \xE2\x90\x9B[2J\xEF\xBF\xBD"
        "1m\xEF\xBF\xBD\n");
    co_await line.say("/msg victim \x1b[1m\n/me \x9B\n");
    co_await victim.expect("-- line to you: \xE2\x90\x9B[1m\n");
    co_await line.skip_to("-- that was not UTF-8, and nobody has seen it\n");
    co_await victim.expect_silence(1s);
  });
}

TEST(chat_session, a_line_that_is_too_long_is_answered_and_one_without_end_is_the_end) {
  with_server([]() -> task<> {
    talker alice = co_await talker::join("alice");
    talker bob = co_await talker::join("bob");
    co_await alice.expect("bob joined the chat!\n");
    co_await bob.say(std::string(1025, 'x') + "\n" + std::string(1024, 'y') + "\n");
    co_await bob.expect("-- that line is too long, and nobody has seen it\n");
    co_await alice.expect("bob: " + std::string(1024, 'y') + "\n");
    co_await bob.say(std::string(70'000, 'x'));
    const std::string last = co_await bob.rest();
    EXPECT_EQ(last, "-- that line is too long, and nobody has seen it\n-- that line has no end\n");
    co_await alice.expect("bob left the chat!\n");
  });
}

TEST(chat_session, a_half_close_and_a_reset_are_both_leaving) {
  with_server([]() -> task<> {
    talker alice = co_await talker::join("alice");
    talker bob = co_await talker::join("bob");
    co_await alice.expect("bob joined the chat!\n");
    co_await bob.say("/who\n");
    co_await bob.stream.shutdown_write();
    const std::string last = co_await bob.rest();
    EXPECT_EQ(last, "-- in lobby: alice, bob\n");
    co_await alice.expect("bob left the chat!\n");
    talker carol = co_await talker::join("carol");
    co_await alice.expect("carol joined the chat!\n");
    carol.stream.set_linger(0s);
    co_await carol.stream.close();
    co_await alice.expect("carol left the chat!\n");
  });
}

TEST(chat_session, a_reset_of_one_that_is_read_slowly_is_leaving_too) {
  for (const bool is_introduced : {false, true}) {
    with_server([is_introduced]() -> task<> {
      talker alice = co_await talker::join("alice");
      talker bob = co_await talker::connect();
      std::string flood;
      for (int i = 0; i != 100; ++i) flood += "/help\n";
      const std::string hello = is_introduced ? "bob\n" : "bob\n" + flood;
      co_await bob.say(hello);
      co_await alice.expect("bob joined the chat!\n");
      if (is_introduced) co_await bob.say(flood);
      co_await sleep_for(200ms);
      bob.stream.set_linger(0s);
      co_await bob.stream.close();
      co_await alice.expect("bob left the chat!\n");
    });
  }
}

TEST(chat_session, a_buffer_of_nothing_but_newlines_takes_no_time) {
  with_server([]() -> task<> {
    talker alice = co_await talker::join("alice");
    const auto begin = loop_clock::now();
    co_await alice.say(std::string(60'000, '\n') + "/msg alice done\n");
    co_await alice.skip_to("-- alice to you: done\n");
    EXPECT_LE(loop_clock::now() - begin, 1s);
  });
}

TEST(chat_session, a_flood_is_read_at_the_members_pace) {
  server_options how;
  how.session.pace = {.rate = 10, .burst = 5};
  with_server(
      []() -> task<> {
        talker alice = co_await talker::join("alice");
        talker flood = co_await talker::join("flood");
        co_await alice.expect("flood joined the chat!\n");
        const auto begin = loop_clock::now();
        std::string all;
        for (int i = 0; i != 105; ++i) all += "x\n";
        co_await flood.say(all);
        for (int i = 0; i != 105; ++i) co_await alice.expect("flood: x\n");
        EXPECT_GE(loop_clock::now() - begin, 9s);
        EXPECT_LE(loop_clock::now() - begin, 11s);
      },
      how);
}

TEST(chat_session, a_member_that_never_reads_is_disconnected_and_costs_nobody_anything) {
  server_options how;
  how.session.pace.rate = 0;
  how.hub.queue_size_max = 20'000;
  with_server(
      []() -> task<> {
        talker alice = co_await talker::join("alice");
        talker stuck = co_await talker::join("stuck");
        talker speaker = co_await talker::join("speaker");
        co_await alice.expect("stuck joined the chat!\nspeaker joined the chat!\n");
        const std::string text(1000, 'x');
        for (int i = 0; i != 1000; ++i) {
          const auto begin = loop_clock::now();
          co_await speaker.say(text + "\n");
          co_await alice.expect("speaker: " + text + "\n");
          EXPECT_LE(loop_clock::now() - begin, 100ms);
        }
        co_await alice.expect("stuck left the chat!\n");
        co_await stuck.stream.close();
      },
      how);
}

TEST(chat_session, a_member_that_reads_slowly_but_all_the_time_stays) {
  server_options how;
  how.session.pace.rate = 0;
  how.hub.queue_size_max = 4'000'000;
  with_server(
      []() -> task<> {
        talker slow = co_await talker::join("slow");
        talker speaker = co_await talker::join("speaker");
        co_await slow.expect("speaker joined the chat!\n");
        const std::string text(1000, 'x');
        for (int i = 0; i != 2000; ++i) co_await speaker.say(text + "\n");
        std::size_t size = 0;
        const std::size_t all = 2000 * (text.size() + std::string("speaker: \n").size());
        std::vector<std::byte> memory(32'768);
        while (size != all) {  // a minute
          const std::size_t came = co_await slow.stream.read(mutable_buffer(memory));
          EXPECT_NE(came, 0U) << "it was disconnected";
          if (came == 0) break;
          size += came;
          co_await sleep_for(1s);
        }
      },
      how);
}

TEST(chat_session, who_joins_a_room_with_more_history_than_its_queue_gets_the_last_of_it) {
  server_options how;
  how.session.pace.rate = 0;
  how.hub.queue_size_max = 20'000;
  with_server(
      []() -> task<> {
        talker alice = co_await talker::join("alice");
        for (int i = 0; i != 100; ++i) {
          co_await alice.say(std::to_string(i) + std::string(1000, 'x') + "\n");
        }
        co_await sleep_for(1s);
        talker bob = co_await talker::connect();
        co_await bob.say("bob\n");
        co_await bob.expect("NICKalice: 91x");
        co_await bob.skip_to("alice: 99x");
        co_await bob.skip_to("x\nbob joined the chat!\n");
      },
      how);
}

TEST(chat_session, a_member_that_reads_again_in_time_is_told_what_it_missed) {
  server_options how;
  how.session.pace.rate = 0;
  how.hub.queue_size_max = 20'000;
  with_server(
      []() -> task<> {
        talker slow = co_await talker::join("slow");
        talker speaker = co_await talker::join("speaker");
        co_await slow.expect("speaker joined the chat!\n");
        const std::string text(1000, 'x');
        for (int i = 0; i != 1000; ++i) co_await speaker.say(text + "\n");
        co_await sleep_for(2s);
        // Each message has come, or is counted in a note that stands in its place.
        int come = 0;
        int missed = 0;
        while (come + missed < 1000) {
          const std::string line = co_await slow.line();
          if (line.starts_with("-- you missed ")) {
            missed += std::stoi(line.substr(14));
          } else {
            EXPECT_EQ(line, "speaker: " + text);
            ++come;
          }
        }
        EXPECT_GT(missed, 100);
        co_await speaker.say("again\n");
        co_await slow.expect("speaker: again\n");
      },
      how);
}

TEST(chat_session, one_address_may_be_given_so_many_connections_only) {
  server_options how;
  how.per_address_max = 2;
  with_server(
      []() -> task<> {
        talker alice = co_await talker::join("alice");
        talker bob = co_await talker::join("bob");
        talker third = co_await talker::connect();
        const std::string last = co_await third.rest();
        EXPECT_EQ(last, "-- there are too many connections from your address");
        co_await bob.stream.close();
        co_await alice.expect("bob joined the chat!\nbob left the chat!\n");
        co_await talker::join("carol");
      },
      how);
}

TEST(chat_session, a_silent_member_may_be_given_a_time) {
  server_options how;
  how.session.idle_timeout = 60s;
  with_server(
      []() -> task<> {
        talker alice = co_await talker::join("alice");
        const auto begin = loop_clock::now();
        co_await alice.rest();
        EXPECT_GE(loop_clock::now() - begin, 60s);
        EXPECT_LE(loop_clock::now() - begin, 62s);
      },
      how);
}

TEST(chat_session, a_server_that_ends_tells_everyone_and_sends_what_is_queued) {
  sim::world world(1);
  auto& server = world.add_host("server", "10.0.0.1");
  auto& client = world.add_host("client", "10.0.0.2");
  auto& service = server.run(test::chat_service, server_options(), nullptr);
  world.run_for(1ms);
  std::string line_end;
  std::string raw_end;
  auto& talk = client.run([&]() -> task<> {
    talker line = co_await talker::join("line");
    talker raw = co_await join_raw("raw");
    co_await line.expect("raw joined the chat!\n");
    co_await raw.say("last words");
    co_await sleep_for(1ms);
    service.cancel();
    line_end = co_await line.rest();
    raw_end = co_await raw.rest();
  });
  world.run(talk);
  world.run(service);
  EXPECT_EQ(line_end, "raw: last words\n-- the server is shutting down\n");
  EXPECT_EQ(raw_end, "-- the server is shutting down");
}

TEST(chat_session, a_server_that_ends_tells_one_that_is_read_slowly_at_once) {
  sim::world world(1);
  auto& server = world.add_host("server", "10.0.0.1");
  auto& client = world.add_host("client", "10.0.0.2");
  auto& service = server.run(test::chat_service, server_options(), nullptr);
  world.run_for(1ms);
  auto& talk = client.run([&]() -> task<> {
    talker alice = co_await talker::join("alice");
    std::string paste;
    for (int i = 0; i != 150; ++i) paste += "/msg alice x\n";
    co_await alice.say(paste);
    co_await sleep_for(100ms);
    const auto begin = loop_clock::now();
    service.cancel();
    co_await alice.skip_to("-- the server is shutting down\n");
    EXPECT_LE(loop_clock::now() - begin, 100ms);
    co_await alice.rest();
  });
  world.run(talk);
  world.run(service);
}

TEST(chat_session, a_server_that_ends_tells_one_that_never_stops_sending) {
  sim::world world(1);
  auto& server = world.add_host("server", "10.0.0.1");
  auto& client = world.add_host("client", "10.0.0.2");
  auto& service = server.run(test::chat_service, server_options(), nullptr);
  world.run_for(1ms);
  auto& talk = client.run([&]() -> task<> {
    talker alice = co_await talker::join("alice");
    std::string much;
    for (int i = 0; i != 100'000; ++i) much += "y\n";
    bool has_ended = false;
    co_await with_nursery([&](nursery& both) -> task<> {
      both.start([&]() -> task<> {
        for (;;) co_await alice.say(much);
      });
      co_await sleep_for(1s);
      const auto begin = loop_clock::now();
      service.cancel();
      co_await alice.skip_to("-- the server is shutting down\n");
      EXPECT_LE(loop_clock::now() - begin, 50ms);
      has_ended = true;
      both.cancel();
    });
    EXPECT_TRUE(has_ended);
  });
  world.run(talk);
  world.run(service);
}

TEST(chat_session, joining_and_leaving_ten_thousand_times_leaves_nothing_behind) {
  std::shared_ptr<hub> all;
  sim::world_options options;
  options.trace_max = 0;
  sim::world world(1, options);
  auto& server = world.add_host("server", "10.0.0.1");
  auto& client = world.add_host("client", "10.0.0.2");
  server.run(test::chat_service, server_options(), &all);
  world.run_for(1ms);
  const std::size_t before = server.descriptor_count();
  world.run(client.run([]() -> task<> {
    for (int i = 0; i != 10'000; ++i) {
      talker one = co_await talker::connect();
      co_await one.say("name" + std::to_string(i) + "\n");
      co_await one.skip_to("joined the chat!\n");
    }
  }));
  world.run_for(1s);
  EXPECT_EQ(all->statistics().member_count, 0U);
  EXPECT_EQ(all->statistics().room_count, 1U);
  EXPECT_EQ(server.descriptor_count(), before);
}

TEST(chat_session, a_thousand_members_hear_all_though_ten_of_them_are_dead) {
  sim::world_options options;
  options.trace_max = 0;
  options.descriptor_max = 4096;
  server_options how;
  how.session.pace.rate = 0;
  sim::world world(1, options);
  auto& server = world.add_host("server", "10.0.0.1");
  auto& client = world.add_host("client", "10.0.0.2");
  auto& dead = world.add_host("dead", "10.0.0.3");
  server.run(test::chat_service, how, nullptr);
  world.run_for(1ms);
  auto& lost = dead.run([]() -> task<> {
    std::vector<talker> ten;
    for (int i = 0; i != 10; ++i) ten.push_back(co_await talker::join("d" + std::to_string(i)));
    co_await sleep_for(1h);
  });
  world.run_for(1s);
  auto& talk = client.run([&]() -> task<> {
    std::vector<talker> crowd;
    for (int i = 0; i != 1000; ++i) {
      crowd.push_back(co_await talker::join("m" + std::to_string(i)));
    }
    dead.crash();
    talker speaker = co_await talker::join("speaker");
    for (int i = 0; i != 10; ++i) {
      const auto begin = loop_clock::now();
      const std::string text = std::to_string(i);
      co_await speaker.say(text + "\n");
      for (talker& each : crowd) co_await each.skip_to("speaker: " + text + "\n");
      EXPECT_LE(loop_clock::now() - begin, 100ms);
    }
  });
  world.run(talk);
  static_cast<void>(lost);
}

}  // namespace
}  // namespace rill::chat
