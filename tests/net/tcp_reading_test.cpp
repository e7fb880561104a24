// Reading of TCP streams: into several pieces of memory, from what a stream holds already, and its
// share of a turn. The rest of TCP is in tcp_test.cpp.
#include <chrono>
#include <span>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "support.h"
#include "support/pair.h"
#include "support/streams.h"
#include <rill/net/stream.h>
#include <rill/net/tcp.h>
#include <rill/runtime/event.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/timeout.h>

namespace rill::test {
namespace {

using namespace std::chrono_literals;

TEST(tcp_reading, fills_several_pieces_of_memory) {
  with_pair([](tcp_stream& left, tcp_stream& right) -> task<> {
    for (const bool streaming : {false, true}) {
      if (streaming) {
        co_await left.write_all("x");
        co_await right.read_lease();
      }
      co_await left.write_all("0123456789");
      char head[3];
      char body[20];
      const mutable_buffer pieces[] = {mutable_buffer(head), mutable_buffer(),
                                       mutable_buffer(body)};
      const std::size_t came = co_await right.read(std::span<const mutable_buffer>(pieces));
      EXPECT_EQ(came, 10U);
      EXPECT_EQ(std::string(head, 3) + std::string(body, 7), "0123456789");
    }
  });
}

TEST(tcp_reading, fills_pieces_with_what_it_holds_and_leaves_what_has_no_room) {
  with_pair([](tcp_stream& left, tcp_stream& right) -> task<> {
    co_await left.write_all("0123456789");
    char one[1];
    co_await right.read_exactly(one);  // the stream keeps the others
    EXPECT_EQ(right.unread_size(), 9U);
    char head[2];
    char body[3];
    const mutable_buffer pieces[] = {mutable_buffer(head), mutable_buffer(), mutable_buffer(body)};
    const std::size_t came = co_await right.read(std::span<const mutable_buffer>(pieces));
    EXPECT_EQ(came, 5U);
    EXPECT_EQ(std::string(head, 2) + std::string(body, 3), "12345");
    char large[10];
    const mutable_buffer more[] = {mutable_buffer(head), mutable_buffer(large)};
    const std::size_t rest = co_await right.read(std::span<const mutable_buffer>(more));
    EXPECT_EQ(rest, 4U);
    EXPECT_EQ(std::string(head, 2) + std::string(large, 2), "6789");
  });
}

TEST(tcp_reading, joins_what_it_holds_with_what_comes_after_it) {
  with_pair([](tcp_stream& left, tcp_stream& right) -> task<> {
    char bytes[8];
    for (int i = 0; i < 3; ++i) {
      co_await left.write_all("0123456789");
      co_await right.read_exactly(std::span(bytes, 1));
      const std::size_t most = co_await right.read(std::span(bytes, 7));
      EXPECT_EQ(most, 7U);
      EXPECT_EQ(right.unread_size(), 2U);  // less than what has been read before it
      co_await left.write_all("abcd");
      co_await right.read_exactly(std::span(bytes, 6));
      EXPECT_EQ(std::string(bytes, 6), "89abcd");
      EXPECT_EQ(right.unread_size(), 0U);
    }
  });
}

TEST(tcp_reading, fills_pieces_from_a_receive_that_a_lease_has_armed) {
  with_pair([](tcp_stream& left, tcp_stream& right) -> task<> {
    for (int i = 0; i < 2; ++i) {  // from the second on it stays armed
      co_await left.write_all("x");
      co_await right.read_lease();
    }
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        char head[3];
        char body[20];
        const mutable_buffer pieces[] = {mutable_buffer(head), mutable_buffer(body)};
        const std::size_t came = co_await right.read(std::span<const mutable_buffer>(pieces));
        EXPECT_EQ(came, 10U);
        EXPECT_EQ(std::string(head, 3) + std::string(body, 7), "0123456789");
      });
      co_await settle();  // it waits
      co_await left.write_all("0123456789");
    });
  });
}

TEST(tcp_reading, reads_into_pieces_within_a_time_limit_and_says_what_ended_it) {
  with_pair([](tcp_stream& left, tcp_stream& right) -> task<> {
    char head[3];
    char body[3];
    const mutable_buffer both[] = {mutable_buffer(head), mutable_buffer(body)};
    const std::span<const mutable_buffer> pieces(both);
    bool late = false;
    try {
      co_await with_timeout(1ms, right.read(pieces));
    } catch (const timeout_error&) {
      late = true;
    }
    EXPECT_TRUE(late);
    const std::string peer = left.local().to_string();
    left.set_linger(0s);
    co_await left.close();
    try {
      co_await right.read(pieces);
      ADD_FAILURE() << "the peer has reset";
    } catch (const io_error& error) {
      EXPECT_EQ(error.what(), "read " + peer + ": Connection reset by peer");
    }
    const const_buffer gathered[] = {"a", "b"};
    const auto sent = co_await as_result(right.write_all(std::span<const const_buffer>(gathered)));
    EXPECT_EQ(sent.error(), std::errc::broken_pipe);
  });
}

TEST(tcp_reading, reads_what_has_arrived_and_then_the_end_once_its_read_side_is_shut) {
  with_pair([](tcp_stream& left, tcp_stream& right) -> task<> {
    co_await left.write_all("arrived");
    co_await right.shutdown_read();
    const std::string all = co_await read_all(right, 100);
    EXPECT_EQ(all, "arrived");
    co_await right.write_all("still");  // the other side is untouched
    const std::string came = co_await read_text(left, 5);
    EXPECT_EQ(came, "still");
  });
}

TEST(tcp_reading, gives_way_after_its_budget_although_bytes_have_arrived) {
  with_pair([](tcp_stream& left, tcp_stream& right) -> task<> {
    event set;
    set.set();
    unsigned turns = 0;
    bool gave_way = false;
    const auto read_after = [&](int steps, int kind) -> task<> {
      char one[1];
      const mutable_buffer pieces[] = {mutable_buffer(one)};
      co_await left.write_all("01");
      co_await right.read_exactly(one);  // the stream keeps the other
      co_await settle();
      for (int i = 0; i < steps; ++i) co_await set.wait();
      const unsigned before = turns;
      if (kind == 0) co_await right.read(mutable_buffer(one));
      if (kind == 1) co_await right.read(std::span<const mutable_buffer>(pieces));
      if (kind == 2) one[0] = (co_await right.read_lease()).text().front();
      EXPECT_EQ(one[0], '1');
      gave_way = gave_way || turns != before;
    };
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        for (;; ++turns) co_await yield();
      });
      for (const int kind : {0, 1, 2}) {
        gave_way = false;
        // Returning from settle() is a step for one compiler and none for the other.
        for (int less = 0; less < 4; ++less) {
          co_await read_after(detail::scheduler::tick_budget - less, kind);
        }
        EXPECT_TRUE(gave_way) << kind;
      }
      tasks.cancel();
    });
  });
}

}  // namespace
}  // namespace rill::test
