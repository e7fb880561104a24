// What memory_stream has beyond the contract of byte_stream: limits, failures, its capacity.
#include <rill/net/memory_stream.h>

#include <cerrno>
#include <chrono>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "support.h"
#include "support/streams.h"
#include <rill/runtime/nursery.h>

namespace rill::test {
namespace {

using namespace std::chrono_literals;

TEST(memory_stream, holds_its_capacity_and_no_more) {
  run_loop([]() -> task<> {
    auto pair = memory_stream_pair(10);
    co_await pair.first.write_all("0123456789");
    EXPECT_EQ(pair.second.unread_size(), 10U);
    const auto more = co_await as_result(with_timeout(1ms, pair.first.write_all("x")));
    EXPECT_TRUE(!more && more.error().is_timeout());
    const std::string came = co_await read_text(pair.second, 10);
    EXPECT_EQ(came, "0123456789");
    EXPECT_EQ(pair.second.unread_size(), 0U);
  });
}

TEST(memory_stream, goes_round_its_ring) {
  run_loop([]() -> task<> {
    auto pair = memory_stream_pair(7);
    for (int i = 0; i < 50; ++i) {
      co_await pair.first.write_all("abcde");
      const std::string came = co_await read_text(pair.second, 5);
      EXPECT_EQ(came, "abcde");
    }
  });
}

TEST(memory_stream, takes_a_write_that_was_given_up_no_further) {
  run_loop([]() -> task<> {
    auto pair = memory_stream_pair(4);
    co_await as_result(with_timeout(1ms, pair.first.write_all("abcdefgh")));
    const std::string came = co_await read_text(pair.second, 4);
    EXPECT_EQ(came, "abcd");
    EXPECT_EQ(pair.second.unread_size(), 0U);
    co_await pair.first.write_all("next");
    const std::string next = co_await read_text(pair.second, 4);
    EXPECT_EQ(next, "next");
  });
}

TEST(memory_stream, limits_the_size_of_reads) {
  run_loop([]() -> task<> {
    auto pair = memory_stream_pair();
    pair.second.set_read_size_max(3);
    co_await pair.first.write_all("0123456789");
    const lease lent = co_await pair.second.read_lease();
    EXPECT_EQ(lent.text(), "012");
    char room[10];
    const std::size_t came = co_await pair.second.read(room);
    EXPECT_EQ(std::string(room, came), "345");
  });
}

TEST(memory_stream, limits_the_size_of_writes) {
  run_loop([]() -> task<> {
    auto pair = memory_stream_pair();
    pair.first.set_write_size_max(4);
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        const const_buffer pieces[] = {"01", "23456", "789"};
        co_await pair.first.write_all(std::span<const const_buffer>(pieces));
      });
      std::string sizes;
      for (std::size_t sum = 0; sum < 10;) {
        const lease lent = co_await pair.second.read_lease();
        sum += lent.size();
        sizes += std::to_string(lent.size());
      }
      EXPECT_EQ(sizes, "442");
    });
  });
}

TEST(memory_stream, fails_reads_after_so_many_bytes) {
  run_loop([]() -> task<> {
    auto pair = memory_stream_pair();
    pair.second.fail_reads_after(5, ECONNRESET);
    co_await pair.first.write_all("0123456789");
    char room[10];
    const auto came = co_await as_result(pair.second.read(room));
    EXPECT_EQ(came.value_or(0), 5U);
    for (int i = 0; i < 2; ++i) {
      const auto failed = co_await as_result(pair.second.read_lease());
      EXPECT_TRUE(!failed && failed.error() == std::errc::connection_reset);
    }
    std::string text;
    try {
      co_await pair.second.read(room);
    } catch (const io_error& error) {
      text = error.what();
    }
    EXPECT_EQ(text, "read memory stream: Connection reset by peer");
  });
}

TEST(memory_stream, fails_a_read_that_waits) {
  run_loop([]() -> task<> {
    auto pair = memory_stream_pair();
    std::error_code code;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        const auto failed = co_await as_result(pair.second.read_lease());
        if (!failed) code = failed.error().code();
      });
      co_await settle();
      pair.second.fail_reads_after(0, ETIMEDOUT);
    });
    EXPECT_EQ(code, std::errc::timed_out);
  });
}

TEST(memory_stream, fails_writes_after_so_many_bytes) {
  run_loop([]() -> task<> {
    auto pair = memory_stream_pair();
    pair.first.fail_writes_after(5, EPIPE);
    const auto sent = co_await as_result(pair.first.write_all("012345"));
    EXPECT_TRUE(!sent && sent.error() == std::errc::broken_pipe);
    const std::string came = co_await read_text(pair.second, 5);
    EXPECT_EQ(came, "01234");
    const auto again = co_await as_result(pair.first.write_all("x"));
    EXPECT_TRUE(!again && again.error() == std::errc::broken_pipe);
  });
}

TEST(memory_stream, that_never_has_to_wait_starves_nobody) {
  run_loop([]() -> task<> {
    auto pair = memory_stream_pair();
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        for (;;) {
          co_await pair.first.write_all("x");
          co_await read_text(pair.second, 1);
        }
      });
      tasks.start([&]() -> task<> {
        for (;;) co_await pair.first.write_all("");
      });
      co_await settle();  // would not come back
      tasks.cancel();
    });
  });
}

TEST(memory_stream, is_named_in_the_task_tree_by_whoever_waits_for_it) {
  run_loop([]() -> task<> {
    auto pair = memory_stream_pair(1);
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> { co_await pair.first.write_all("two"); });
      tasks.start([&]() -> task<> { co_await pair.first.read_lease(); });
      co_await settle();
      const std::string tree = loop::current().task_tree();
      EXPECT_NE(tree.find(": write memory stream, "), std::string::npos) << tree;
      EXPECT_NE(tree.find(": read memory stream, "), std::string::npos) << tree;
      tasks.cancel();
    });
  });
}

TEST(memory_stream, ends_its_writing_within_a_time_limit_and_as_a_result) {
  run_loop([]() -> task<> {
    auto pair = memory_stream_pair();
    co_await pair.first.write_all("last");
    const auto shut = co_await as_result(with_timeout(1h, pair.first.shutdown_write()));
    EXPECT_TRUE(shut.has_value());
    const std::string all = co_await read_all(pair.second, 100);
    EXPECT_EQ(all, "last");
  });
}

TEST(memory_stream, outlives_the_pair_in_whoever_waits) {
  run_loop([]() -> task<> {
    std::string text;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        auto pair = memory_stream_pair(4);
        co_await with_nursery([&](nursery& both) -> task<> {
          both.start([&]() -> task<> {
            const auto came = co_await as_result(pair.first.read_lease());
            text += came ? "?" : "r";
          });
          both.start([&]() -> task<> {
            const auto sent = co_await as_result(pair.first.write_all("too long"));
            text += sent ? "?" : "w";
          });
          co_await settle();
          memory_stream(std::move(pair.first));
          memory_stream(std::move(pair.second));
        });
      });
      co_return;
    });
    EXPECT_EQ(text.size(), 2U);
    EXPECT_EQ(text.find('?'), std::string::npos);
  });
}

}  // namespace
}  // namespace rill::test
