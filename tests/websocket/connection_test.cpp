// Two ends over a stream in memory, and one end against bytes written by hand.
#include <rill/protocols/websocket/connection.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "support.h"
#include "websocket/frames.h"
#include <rill/net/memory_stream.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/sim/world.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/timeout.h>

namespace rill::websocket {
namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;
using rill::test::run_loop;
using rill::test::settle;
using test::frame;
using memory_connection = basic_connection<memory_stream>;

/// The same body with and without compression, which no message may notice.
negotiated with_compression(bool server_takeover, bool client_takeover) {
  negotiated made;
  made.deflate.emplace();
  made.deflate->server_no_context_takeover = !server_takeover;
  made.deflate->client_no_context_takeover = !client_takeover;
  return made;
}

struct ends {
  explicit ends(const connection_options& options = connection_options(),
                const negotiated& agreed = negotiated(), std::size_t capacity = 65536)
      : ends(memory_stream_pair(capacity), options, agreed) {}
  ends(std::pair<memory_stream, memory_stream> over, const connection_options& options,
       const negotiated& agreed)
      : client(std::move(over.first), role::client, options, agreed),
        server(std::move(over.second), role::server, options, agreed) {}

  memory_connection client;
  memory_connection server;
};

task<> echo(memory_connection& peer) {
  for (;;) {
    const std::optional<message> came = co_await peer.read();
    if (!came) break;
    co_await peer.write(*came);
  }
}

/// The next message, with its kind; what has become of the connection if there is none.
task<std::string> next(memory_connection& from) {
  const std::optional<message> came = co_await from.read();
  if (came) co_return (came->is_text() ? "text:" : "binary:") + std::string(came->data);
  co_return (from.is_clean() ? "closed " : "ended ") +
      std::to_string(static_cast<int>(from.code())) + ':' + from.reason();
}

/// So many bytes, no more.
task<std::string> exactly(memory_stream& from, std::size_t size) {
  std::string all(size, ' ');
  for (std::size_t done = 0; done < size;) {
    const std::size_t came = co_await from.read(
        mutable_buffer(reinterpret_cast<std::byte*>(all.data()) + done, size - done));
    if (came == 0) co_return all.substr(0, done);
    done += came;
  }
  co_return all;
}

/// A server whose client is written by hand.
struct by_hand {
  explicit by_hand(const connection_options& options = connection_options(),
                   const negotiated& agreed = negotiated())
      : by_hand(memory_stream_pair(), options, agreed) {}
  by_hand(std::pair<memory_stream, memory_stream> over, const connection_options& options,
          const negotiated& agreed)
      : wire(std::move(over.first)),
        server(std::move(over.second), role::server, options, agreed) {}

  /// What the server has sent, until it ends the stream.
  task<std::string> rest() {
    std::string all;
    for (;;) {
      const auto part = co_await as_result(wire.read_lease());
      if (!part || part->empty()) break;
      all += part->text();
    }
    co_return all;
  }

  memory_stream wire;
  memory_connection server;
};

std::string from_server(opcode code, std::string_view payload, bool is_final = true) {
  return frame(code, payload, is_final, false);
}

TEST(websocket_connection, carries_messages_of_all_sizes_both_ways) {
  for (int mode = 0; mode < 5; ++mode) {
    run_loop([&]() -> task<> {
      connection_options options;
      options.limits.message_size_max = 1'000'000;
      options.deflate.level = 1;
      const negotiated agreed =
          mode == 0 ? negotiated() : with_compression((mode & 1) != 0, (mode & 2) != 0);
      ends both(options, agreed);
      co_await with_nursery([&](nursery& tasks) -> task<> {
        tasks.start([&]() -> task<> { co_await echo(both.server); });
        for (const std::size_t size : {0, 1, 125, 126, 1000, 65535, 65536, 300'000, 1'000'000}) {
          std::string payload(size, '\0');
          for (std::size_t i = 0; i < size; ++i) payload[i] = static_cast<char>(i % 127);
          const std::string expected = "text:" + payload;
          co_await with_nursery([&](nursery& beside) -> task<> {
            beside.start(
                [&]() -> task<> { EXPECT_TRUE(co_await both.client.write_text(payload)); });
            const std::string came = co_await next(both.client);
            EXPECT_EQ(came.size(), expected.size());
            EXPECT_TRUE(came == expected) << mode << ' ' << size;
          });
        }
        co_await both.client.write_binary("\xff\x00"s);
        EXPECT_EQ(co_await next(both.client), "binary:\xff\x00"s);
        co_await both.client.close(close_code::normal, "done");
        EXPECT_TRUE(both.client.is_clean());
        EXPECT_EQ(both.client.code(), close_code::normal);
      });
      EXPECT_TRUE(both.server.is_clean());
      EXPECT_EQ(both.server.code(), close_code::normal);
      EXPECT_EQ(both.server.reason(), "done");
      EXPECT_FALSE(both.server.is_open());
      EXPECT_FALSE(co_await both.server.write_text("late"));
    });
  }
}

TEST(websocket_connection, takes_what_came_behind_the_handshake) {
  run_loop([]() -> task<> {
    auto pair = memory_stream_pair();
    memory_connection server(std::move(pair.second), role::server, connection_options(),
                             negotiated(), frame(opcode::text, "early"));
    EXPECT_EQ(co_await next(server), "text:early");
    co_await pair.first.write_all(const_buffer(frame(opcode::text, "later")));
    EXPECT_EQ(co_await next(server), "text:later");
  });
}

TEST(websocket_connection, answers_pings_beside_messages) {
  run_loop([]() -> task<> {
    by_hand at;
    co_await at.wire.write_all(const_buffer(
        frame(opcode::text, "a", false) + frame(opcode::ping, "one") + frame(opcode::ping, "two") +
        frame(opcode::pong, "unasked") + frame(opcode::continuation, "b")));
    EXPECT_EQ(co_await next(at.server), "text:ab");
    co_await at.wire.write_all(const_buffer(frame(opcode::close, "\x03\xe8"s)));
    EXPECT_EQ(co_await next(at.server), "closed 1000:");
    EXPECT_EQ(co_await at.rest(), from_server(opcode::pong, "one") +
                                      from_server(opcode::pong, "two") +
                                      from_server(opcode::close, "\x03\xe8"s));
  });
}

TEST(websocket_connection, sends_a_close_without_a_code_back_without_one) {
  run_loop([]() -> task<> {
    by_hand at;
    co_await at.wire.write_all(const_buffer(frame(opcode::close, "")));
    EXPECT_EQ(co_await next(at.server), "closed 1005:");
    EXPECT_EQ(co_await at.rest(), from_server(opcode::close, ""));
    EXPECT_EQ(co_await next(at.server), "closed 1005:");  // and so it stays
  });
}

TEST(websocket_connection, tells_a_peer_what_it_has_done_wrong) {
  run_loop([]() -> task<> {
    by_hand at;
    std::string expected = "\x03\xeathe text is not UTF-8"s;
    expected[1] = '\xef';
    co_await at.wire.write_all(const_buffer(frame(opcode::text, "a\xff") + "whatever follows"));
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        EXPECT_EQ(co_await at.rest(), from_server(opcode::close, expected));
        co_await at.wire.shutdown_write();
      });
      EXPECT_EQ(co_await next(at.server), "ended 1007:the text is not UTF-8");
    });
  });
}

TEST(websocket_connection, tells_an_end_without_a_farewell) {
  run_loop([]() -> task<> {
    by_hand at;
    co_await at.wire.write_all(const_buffer(frame(opcode::text, "half", false)));
    co_await at.wire.close();
    EXPECT_EQ(co_await next(at.server), "ended 1006:");
    EXPECT_FALSE(at.server.cause());
    EXPECT_FALSE(co_await at.server.write_text("x"));
    co_await at.server.close();  // does nothing
  });
  run_loop([]() -> task<> {
    auto pair = memory_stream_pair();
    pair.second.fail_reads_after(0, ECONNRESET);
    memory_connection server(std::move(pair.second), role::server);
    EXPECT_EQ(co_await next(server), "ended 1006:");
    EXPECT_EQ(server.cause(), std::errc::connection_reset);
  });
}

TEST(websocket_connection, closes_beside_a_reader_and_a_writer) {
  run_loop([]() -> task<> {
    ends both;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> { co_await echo(both.server); });
      tasks.start([&]() -> task<> {  // the client's reader
        EXPECT_EQ(co_await next(both.client), "closed 1001:");
      });
      co_await settle();
      co_await both.client.close(close_code::going_away, "enough");
      EXPECT_TRUE(both.client.is_clean());
    });
    EXPECT_EQ(both.server.code(), close_code::going_away);
    EXPECT_EQ(both.server.reason(), "enough");
  });
}

TEST(websocket_connection, closes_from_both_ends_at_once) {
  run_loop([]() -> task<> {
    ends both;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> { co_await both.server.close(close_code::restart); });
      co_await both.client.close(close_code::normal);
    });
    EXPECT_TRUE(both.client.is_clean());
    EXPECT_TRUE(both.server.is_clean());
    EXPECT_EQ(both.client.code(), close_code::restart);
    EXPECT_EQ(both.server.code(), close_code::normal);
  });
}

TEST(websocket_connection, lets_one_who_comes_back_to_read_while_it_closes_wait_for_the_end) {
  run_loop([]() -> task<> {
    by_hand at;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> { co_await at.server.close(close_code::going_away); });
      co_await settle();  // it waits for the peer's farewell, and the reader has done something
                          // else
      tasks.start([&]() -> task<> {
        co_await settle();
        co_await at.wire.write_all(
            const_buffer(frame(opcode::text, "late") + frame(opcode::close, "\x03\xe9"s)));
      });
      EXPECT_EQ(co_await next(at.server), "closed 1001:");
      EXPECT_EQ(co_await next(at.server), "closed 1001:");
    });
  });
  // Cancelled, a close leaves the reading to others.
  run_loop([]() -> task<> {
    by_hand at;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        EXPECT_THROW(co_await with_timeout(1ms, at.server.close()), timeout_error);
        co_await at.wire.write_all(
            const_buffer(frame(opcode::text, "late") + frame(opcode::close, "\x03\xe8"s)));
      });
      co_await settle();
      EXPECT_EQ(co_await next(at.server), "text:late");
      EXPECT_EQ(co_await next(at.server), "closed 1000:");
    });
  });
}

TEST(websocket_connection, delivers_what_was_on_its_way_when_it_closes) {
  run_loop([]() -> task<> {
    ends both;
    co_await both.client.write_text("first");
    co_await both.client.write_text("second");
    std::vector<std::string> came;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        for (;;) {
          const std::optional<message> one = co_await both.server.read();
          if (!one) break;
          came.emplace_back(one->data);
        }
      });
      tasks.start([&]() -> task<> { co_await both.server.close(close_code::going_away); });
      EXPECT_EQ(co_await next(both.client), "closed 1001:");
    });
    EXPECT_EQ(came, (std::vector<std::string>{"first", "second"}));
  });
}

TEST(websocket_connection, sends_a_message_in_parts_with_control_frames_between) {
  run_loop([]() -> task<> {
    ends both;
    EXPECT_TRUE(co_await both.client.write_part(message_kind::text, "one \xc3", false));
    EXPECT_TRUE(co_await both.client.ping("?"));
    EXPECT_TRUE(co_await both.client.write_part(message_kind::text, "\xa4 two", true));
    EXPECT_TRUE(co_await both.client.write_text("three"));
    EXPECT_EQ(co_await next(both.server), "text:one \xc3\xa4 two");
    EXPECT_EQ(co_await next(both.server), "text:three");
  });
}

TEST(websocket_connection, refuses_to_send_text_that_is_none) {
  run_loop([]() -> task<> {
    ends both;
    EXPECT_THROW(co_await both.client.write_text("\xff"), std::invalid_argument);
    EXPECT_THROW(co_await both.client.write_part(message_kind::text, "\xc3", true),
                 std::invalid_argument);
    EXPECT_TRUE(co_await both.client.write_text("good"));
    EXPECT_EQ(co_await next(both.server), "text:good");
  });
}

TEST(websocket_connection, goes_on_with_a_message_of_which_a_part_was_refused) {
  run_loop([]() -> task<> {
    ends both;
    EXPECT_TRUE(co_await both.client.write_part(message_kind::text, "one \xc3", false));
    EXPECT_THROW(co_await both.client.write_part(message_kind::text, "\xc3", false),
                 std::invalid_argument);
    EXPECT_TRUE(co_await both.client.write_part(message_kind::text, "\xa4", true));
    EXPECT_EQ(co_await next(both.server), "text:one \xc3\xa4");
  });
}

TEST(websocket_connection, writes_nothing_to_a_peer_that_went_within_a_message_in_parts) {
  run_loop([]() -> task<> {
    by_hand at;
    co_await at.wire.close();
    EXPECT_FALSE(co_await at.server.write_part(message_kind::text, "one", false));
    EXPECT_FALSE(co_await at.server.write_text("something else"));
    EXPECT_FALSE(co_await at.server.write(shared_message(message_kind::text, "to all", false)));
    EXPECT_FALSE(co_await at.server.write_part(message_kind::text, "two", true));
  });
}

TEST(websocket_connection, refuses_a_reason_to_close_that_is_no_text) {
  run_loop([]() -> task<> {
    ends both;
    EXPECT_THROW(co_await both.client.close(close_code::normal, "\x9f"), std::invalid_argument);
    EXPECT_TRUE(both.client.is_open());
  });
}

TEST(websocket_connection, sends_shared_messages_as_they_are) {
  run_loop([]() -> task<> {
    const std::string text(1000, 's');
    std::vector<shared_message> many;
    for (int i = 0; i < 100; ++i) {
      many.emplace_back(message_kind::text, std::to_string(i) + text, true);
    }
    EXPECT_EQ(many[3].payload(), '3' + text);
    EXPECT_LT(many[3].compressed_frame().size(), 50U);
    for (int mode = 0; mode < 3; ++mode) {
      const negotiated agreed = mode == 0 ? negotiated() : with_compression(mode == 1, true);
      ends both(connection_options(), agreed);
      co_await with_nursery([&](nursery& tasks) -> task<> {
        tasks.start([&]() -> task<> { EXPECT_TRUE(co_await both.server.write(many)); });
        for (int i = 0; i < 100; ++i) {
          EXPECT_EQ(co_await next(both.client), "text:" + std::to_string(i) + text);
        }
      });
    }
  });
}

TEST(websocket_connection, compresses_what_is_worth_it) {
  run_loop([]() -> task<> {
    by_hand at(connection_options(), with_compression(false, false));
    const std::string text(1000, 'x');
    EXPECT_TRUE(co_await at.server.write_text(text));
    EXPECT_TRUE(co_await at.server.write_text("small"));
    const lease came = co_await at.wire.read_lease();
    std::string all(came.text());
    while (all.size() < 10 || !all.ends_with("small")) {
      all += (co_await at.wire.read_lease()).text();
    }
    EXPECT_EQ(all[0], '\xc1');
    EXPECT_LT(all.size(), 40U);
    EXPECT_TRUE(all.ends_with("\x81\x05small"s));
  });
}

/// In virtual time.
template <class Body>
void in_a_world(Body body) {
  sim::world world(1);
  world.run(world.add_host("host", "10.0.0.1").run(std::move(body)));
}

TEST(websocket_connection, asks_a_silent_peer_for_a_sign_of_life_and_gives_up_without) {
  in_a_world([]() -> task<> {
    connection_options options;
    options.ping_interval = 10s;
    options.pong_timeout = 3s;
    by_hand at(options);
    const loop_clock::time_point start = loop_clock::now();
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        EXPECT_EQ(co_await exactly(at.wire, 2), from_server(opcode::ping, ""));
        EXPECT_EQ(loop_clock::now() - start, 10s);
        co_await sleep_for(2s);
        co_await at.wire.write_all(const_buffer(frame(opcode::pong, "")));
        EXPECT_EQ(co_await exactly(at.wire, 2), from_server(opcode::ping, ""));
        EXPECT_EQ(loop_clock::now() - start, 22s);
        EXPECT_EQ(co_await at.rest(), "");
        EXPECT_EQ(loop_clock::now() - start, 25s);
      });
      EXPECT_EQ(co_await next(at.server), "ended 1006:");
      EXPECT_EQ(at.server.cause(), std::errc::timed_out);
    });
  });
}

TEST(websocket_connection, does_not_blame_a_peer_for_its_own_long_work) {
  in_a_world([]() -> task<> {
    by_hand at;
    co_await at.wire.write_all(const_buffer(frame(opcode::text, "one")));
    EXPECT_EQ(co_await next(at.server), "text:one");
    co_await sleep_for(1h);
    co_await at.wire.write_all(const_buffer(frame(opcode::text, "two")));
    EXPECT_EQ(co_await next(at.server), "text:two");
  });
}

TEST(websocket_connection, waits_for_the_peers_farewell_no_longer_than_it_was_told) {
  for (const bool reads_beside : {false, true}) {
    in_a_world([reads_beside]() -> task<> {
      connection_options options;
      options.close_timeout = 2s;
      by_hand at(options);
      const loop_clock::time_point start = loop_clock::now();
      co_await with_nursery([&](nursery& tasks) -> task<> {
        if (reads_beside) {
          tasks.start([&]() -> task<> { EXPECT_EQ(co_await next(at.server), "ended 1006:"); });
          co_await settle();
        }
        // A peer that talks on does not get more time.
        tasks.start([&]() -> task<> {
          for (int i = 0; i < 30; ++i) {
            const auto sent =
                co_await as_result(at.wire.write_all(const_buffer(frame(opcode::pong, "more"))));
            if (!sent) break;
            co_await sleep_for(100ms);
          }
        });
        co_await at.server.close();
        EXPECT_GE(loop_clock::now() - start, 2s);
        EXPECT_LT(loop_clock::now() - start, 2100ms);
        EXPECT_FALSE(at.server.is_clean());
        EXPECT_EQ(at.server.code(), close_code::abnormal);
      });
    });
  }
}

TEST(websocket_connection, gives_up_a_peer_that_takes_nothing) {
  in_a_world([]() -> task<> {
    connection_options options;
    options.write_timeout = 4s;
    options.ping_interval = 0s;
    by_hand at(options);
    const loop_clock::time_point start = loop_clock::now();
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        EXPECT_EQ(co_await next(at.server), "ended 1006:");
        EXPECT_EQ(loop_clock::now() - start, 4s);
        EXPECT_EQ(at.server.cause(), std::errc::timed_out);
      });
      EXPECT_FALSE(co_await at.server.write_binary(std::string(1'000'000, 'x')));
    });
  });
}

/// Reads so much, a quarter of what a part may have at once, with pauses between.
task<> read_slowly(memory_stream& from, std::size_t size, std::chrono::milliseconds pause) {
  constexpr std::size_t piece_size = 65536;
  for (std::size_t done = 0; done < size; done += piece_size) {
    co_await sleep_for(pause);
    const std::string came = co_await exactly(from, std::min(piece_size, size - done));
    if (came.empty()) break;
  }
}

TEST(websocket_connection, does_not_count_the_time_of_a_ping_that_waits_for_a_long_message) {
  in_a_world([]() -> task<> {
    by_hand at;
    constexpr std::size_t size = 8'000'000;  // two minutes
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        EXPECT_TRUE(co_await at.server.write_binary(std::string(size, 'x')));
      });
      tasks.start([&]() -> task<> {
        co_await read_slowly(at.wire, size + 10, 1s);
        EXPECT_EQ(co_await exactly(at.wire, 2), from_server(opcode::ping, ""));
        co_await sleep_for(15s);
        co_await at.wire.write_all(
            const_buffer(frame(opcode::pong, "") + frame(opcode::text, "all has come")));
      });
      EXPECT_EQ(co_await next(at.server), "text:all has come");
    });
    // What is not answered then is the end as ever.
    const loop_clock::time_point start = loop_clock::now();
    EXPECT_EQ(co_await next(at.server), "ended 1006:");
    EXPECT_EQ(loop_clock::now() - start, 50s);
  });
}

TEST(websocket_connection, gives_each_part_of_many_shared_messages_its_time) {
  in_a_world([]() -> task<> {
    connection_options options;
    options.write_timeout = 6s;
    by_hand at(options);
    std::vector<shared_message> many;
    for (const std::size_t size : {300'000, 200'000, 200'000, 1'000'000, 10, 10, 100'000}) {
      many.emplace_back(message_kind::binary, std::string(size, 's'), false);
    }
    std::size_t size = 0;
    for (const shared_message& each : many) size += each.frame().size();
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> { co_await read_slowly(at.wire, size, 1s); });
      EXPECT_TRUE(co_await at.server.write(many));
    });
  });
}

TEST(websocket_connection, holds_up_a_peer_that_pings_and_does_not_read) {
  in_a_world([]() -> task<> {
    connection_options options;
    options.write_timeout = 4s;
    by_hand at(options);
    std::size_t sent_size = 0;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        std::string pings;
        for (int i = 0; i < 100; ++i) pings += frame(opcode::ping, std::string(125, 'p'));
        for (;;) {
          const auto sent = co_await as_result(at.wire.write_all(const_buffer(pings)));
          if (!sent) break;
          sent_size += pings.size();
        }
      });
      EXPECT_EQ(co_await next(at.server), "ended 1006:");
    });
    // What the two directions of the stream hold, and a little.
    EXPECT_LT(sent_size, 300'000U);
  });
}

TEST(websocket_connection, can_be_cancelled_while_it_reads_and_goes_on) {
  run_loop([]() -> task<> {
    ends both;
    for (int i = 0; i < 3; ++i) {
      try {
        co_await with_timeout(1ms, both.server.read());
      } catch (const timeout_error&) {
      }
      co_await both.client.write_part(message_kind::text, "x", i == 2);
    }
    EXPECT_EQ(co_await next(both.server), "text:xxx");
  });
}

TEST(websocket_connection, gives_a_message_later_if_it_is_cancelled_while_it_answers_a_ping) {
  in_a_world([]() -> task<> {
    by_hand at;
    // The stream to the peer is full, to the byte.
    EXPECT_TRUE(co_await at.server.write_binary(std::string(65536 - 4, 'x')));
    co_await at.wire.write_all(const_buffer(frame(opcode::ping, "") + frame(opcode::text, "one")));
    EXPECT_THROW(co_await with_timeout(1s, next(at.server)), timeout_error);
    EXPECT_EQ(co_await next(at.server), "text:one");
    EXPECT_FALSE(at.server.is_open());  // half a pong may have gone
  });
}

}  // namespace
}  // namespace rill::websocket
