// The contract of byte_stream (net/stream.h) as a test suite that every kind of stream must pass.
// To register one, write a maker and one line:
//   struct pipe_maker {
//     using stream = my_stream;
//     static task<std::pair<stream, stream>> make();  // connected; each holds 1,000 bytes unread
//     template <class Body> static void run(Body&& body);  // makes a task; runs it on a fresh loop
//   };
//   INSTANTIATE_TYPED_TEST_SUITE_P(pipe, stream_contract, pipe_maker);
// A stream that tells a message which was cut from a clean end says so in its maker:
//     static constexpr bool tells_a_cut = true;
// Not here: what only one kind of stream can do. Read next: tests/net/stream_contract_test.cpp.
#pragma once

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "support.h"
#include "support/streams.h"
#include <rill/net/buffered.h>
#include <rill/net/stream.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/timeout.h>

namespace rill::test {

template <class Maker>
class stream_contract : public testing::Test {
 protected:
  // The other styles fork a process that may have threads of the kernel's.
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }

 public:
  using stream = typename Maker::stream;

  /// Runs body(left, right), which returns task<>, over a connected pair.
  template <class Body>
  static void with_pair(Body body) {
    Maker::run([&]() -> task<> {
      std::pair<stream, stream> pair = co_await Maker::make();
      co_await body(pair.first, pair.second);
    });
  }
};

TYPED_TEST_SUITE_P(stream_contract);

TYPED_TEST_P(stream_contract, bytes_of_all_sizes_arrive_whole_and_in_order) {
  using stream = typename TypeParam::stream;
  static constexpr std::size_t sizes[] = {1,    2,     63,    64,    4095,  4096,
                                          4097, 65535, 65536, 65537, 300000};
  this->with_pair([](stream& left, stream& right) -> task<> {
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        for (const std::size_t size : sizes) co_await write_pattern(left, size, size);
        co_await left.shutdown_write();
      });
      for (const std::size_t size : sizes) {
        const std::vector<std::byte> came = co_await read_bytes(right, size);
        EXPECT_EQ(came, pattern(size, size)) << size;
      }
      const lease end = co_await right.read_lease();
      EXPECT_TRUE(end.empty());
    });
  });
}

TYPED_TEST_P(stream_contract, a_mebibyte_goes_both_ways_at_once) {
  using stream = typename TypeParam::stream;
  this->with_pair([](stream& left, stream& right) -> task<> {
    static constexpr std::size_t size = std::size_t{1} << 20;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        co_await write_pattern(left, size, 1);
        co_await left.shutdown_write();
      });
      tasks.start([&]() -> task<> {
        co_await write_pattern(right, size, 2);
        co_await right.shutdown_write();
      });
      tasks.start([&]() -> task<> {
        const std::vector<std::byte> came = co_await drain(left);
        EXPECT_EQ(came, pattern(size, 2));
      });
      const std::vector<std::byte> came = co_await drain(right);
      EXPECT_EQ(came, pattern(size, 1));
    });
  });
}

TYPED_TEST_P(stream_contract, reading_goes_on_after_a_half_close) {
  using stream = typename TypeParam::stream;
  this->with_pair([](stream& left, stream& right) -> task<> {
    co_await left.write_all("question");
    co_await left.shutdown_write();
    const std::string question = co_await read_all(right, 100);
    EXPECT_EQ(question, "question");
    co_await right.write_all("answer");
    const std::string answer = co_await read_text(left, 6);
    EXPECT_EQ(answer, "answer");
    co_await right.shutdown_write();
    const lease end = co_await left.read_lease();
    EXPECT_TRUE(end.empty());
  });
}

TYPED_TEST_P(stream_contract, the_end_stays_the_end) {
  using stream = typename TypeParam::stream;
  this->with_pair([](stream& left, stream& right) -> task<> {
    co_await left.shutdown_write();
    std::byte room[8];
    for (int i = 0; i < 3; ++i) {
      const std::size_t came = co_await right.read(room);
      EXPECT_EQ(came, 0U);
      const lease lent = co_await right.read_lease();
      EXPECT_TRUE(lent.empty());
    }
  });
}

TYPED_TEST_P(stream_contract, what_was_written_before_a_close_arrives) {
  using stream = typename TypeParam::stream;
  this->with_pair([](stream& left, stream& right) -> task<> {
    co_await write_pattern(left, 1000, 3);
    co_await left.close();
    EXPECT_FALSE(left.is_open());
    const std::vector<std::byte> came = co_await drain(right);
    EXPECT_EQ(came, pattern(1000, 3));
  });
}

TYPED_TEST_P(stream_contract, a_writer_waits_for_a_peer_that_does_not_read) {
  using stream = typename TypeParam::stream;
  this->with_pair([](stream& left, stream& right) -> task<> {
    bool written = false;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        co_await write_pattern(left, more_than_fits, 4);
        written = true;
        co_await left.shutdown_write();
      });
      co_await settle(50);
      EXPECT_FALSE(written);
      const std::vector<std::byte> came = co_await drain(right);
      EXPECT_TRUE(written);
      EXPECT_TRUE(came == pattern(more_than_fits, 4));
    });
  });
}

TYPED_TEST_P(stream_contract, a_gathered_write_is_one_message) {
  using stream = typename TypeParam::stream;
  this->with_pair([](stream& left, stream& right) -> task<> {
    const std::vector<std::byte> large = pattern(200000, 5);
    std::vector<const_buffer> pieces{"", "head", "", const_buffer(large), "tail", ""};
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        co_await left.write_all(std::span<const const_buffer>(pieces));
        co_await left.write_all(std::span<const const_buffer>());
        co_await left.shutdown_write();
      });
      const std::string came = co_await read_all(right, 1000000);
      EXPECT_EQ(came, "head" + std::string(const_buffer(large).text()) + "tail");
    });
  });
}

TYPED_TEST_P(stream_contract, a_thousand_pieces_arrive_in_order) {
  using stream = typename TypeParam::stream;
  this->with_pair([](stream& left, stream& right) -> task<> {
    const std::vector<std::byte> all = pattern(1024 * 7, 6);
    std::vector<const_buffer> pieces;
    for (std::size_t i = 0; i < 1024; ++i) pieces.emplace_back(all.data() + i * 7, 7);
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start(
          [&]() -> task<> { co_await left.write_all(std::span<const const_buffer>(pieces)); });
      const std::vector<std::byte> came = co_await read_bytes(right, all.size());
      EXPECT_EQ(came, all);
    });
  });
}

TYPED_TEST_P(stream_contract, nothing_is_a_size_too) {
  using stream = typename TypeParam::stream;
  this->with_pair([](stream& left, stream& right) -> task<> {
    co_await left.write_all("");
    const std::size_t none = co_await right.read(mutable_buffer());
    EXPECT_EQ(none, 0U);
    co_await left.write_all("x");
    const std::size_t still_none = co_await right.read(mutable_buffer());
    EXPECT_EQ(still_none, 0U);
    const std::string came = co_await read_text(right, 1);
    EXPECT_EQ(came, "x");
  });
}

TYPED_TEST_P(stream_contract, small_reads_take_a_message_apart) {
  using stream = typename TypeParam::stream;
  this->with_pair([](stream& left, stream& right) -> task<> {
    co_await left.write_all("0123456789");
    std::string sum;
    while (sum.size() < 10) {
      char room[3];
      const std::size_t came = co_await right.read(room);
      EXPECT_TRUE(came >= 1 && came <= 3);
      if (came == 0) break;
      sum.append(room, came);
    }
    EXPECT_EQ(sum, "0123456789");
  });
}

TYPED_TEST_P(stream_contract, reads_and_leases_can_be_mixed) {
  using stream = typename TypeParam::stream;
  this->with_pair([](stream& left, stream& right) -> task<> {
    std::string sum;
    for (int i = 0; i < 20; ++i) {
      co_await left.write_all("abcdefghij");
      while (sum.size() < static_cast<std::size_t>(i + 1) * 10) {
        char room[4];
        const std::size_t came = co_await right.read(room);
        sum.append(room, came);
        if (sum.size() % 10 == 0) break;
        const lease rest = co_await right.read_lease();
        sum.append(rest.text());
      }
    }
    std::string expected;
    for (int i = 0; i < 20; ++i) expected += "abcdefghij";
    EXPECT_EQ(sum, expected);
  });
}

TYPED_TEST_P(stream_contract, a_reader_finds_messages_through_a_buffer) {
  using stream = typename TypeParam::stream;
  this->with_pair([](stream& left, stream& right) -> task<> {
    co_await left.write_all("first\r\nsecond\n0123456789");
    co_await left.shutdown_write();
    buffered_reader<stream> reader(right);
    const auto first = co_await reader.read_line(100);
    EXPECT_EQ(first, "first");
    const auto second = co_await reader.read_line(100);
    EXPECT_EQ(second, "second");
    const auto digits = co_await reader.read_exactly(10);
    EXPECT_EQ(digits.value_or(const_buffer()).text(), "0123456789");
    const auto end = co_await reader.read_line(100);
    EXPECT_EQ(end, std::nullopt);
  });
}

TYPED_TEST_P(stream_contract, a_read_that_timed_out_has_lost_nothing) {
  using stream = typename TypeParam::stream;
  using namespace std::chrono_literals;
  this->with_pair([](stream& left, stream& right) -> task<> {
    char room[16];
    const auto bytes = co_await as_result(with_timeout(1ms, right.read(room)));
    EXPECT_TRUE(!bytes && bytes.error().is_timeout());
    const auto lent = co_await with_timeout(1ms, as_result(right.read_lease()));
    EXPECT_TRUE(!lent && lent.error().is_timeout());
    bool thrown = false;
    try {
      co_await with_timeout(1ms, right.read(room));
    } catch (const timeout_error& error) {
      thrown = error.operation() == "read";
    }
    EXPECT_TRUE(thrown);
    co_await left.write_all("late");
    const std::string came = co_await read_text(right, 4);
    EXPECT_EQ(came, "late");
  });
}

TYPED_TEST_P(stream_contract, time_outs_that_race_with_bytes_lose_none) {
  using stream = typename TypeParam::stream;
  using namespace std::chrono_literals;
  this->with_pair([](stream& left, stream& right) -> task<> {
    static constexpr std::size_t count = 2000;
    const std::vector<std::byte> sent = pattern(count, 7);
    std::vector<std::byte> came;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        for (std::size_t i = 0; i < count; ++i) {
          co_await left.write_all(const_buffer(sent.data() + i, 1));
          if (i % 3 == 0) co_await sleep_for(std::chrono::microseconds(i % 70));
        }
        co_await left.shutdown_write();
      });
      for (unsigned i = 0;; ++i) {
        std::byte room[4];
        const std::chrono::microseconds limit(i % 60);
        if (i % 2 == 0) {
          const auto size = co_await as_result(with_timeout(limit, right.read(room)));
          if (size && *size == 0) break;
          if (size) came.insert(came.end(), room, room + *size);
        } else {
          const auto lent = co_await as_result(with_timeout(limit, right.read_lease()));
          if (lent && lent->empty()) break;
          if (lent) came.insert(came.end(), lent->data(), lent->data() + lent->size());
        }
      }
    });
    EXPECT_EQ(came, sent);
  });
}

TYPED_TEST_P(stream_contract, a_cancelled_reader_has_lost_nothing) {
  using stream = typename TypeParam::stream;
  this->with_pair([](stream& left, stream& right) -> task<> {
    const std::vector<std::byte> sent = pattern(300, 8);
    std::vector<std::byte> came;
    const auto by_read = [&]() -> task<> {
      std::byte room[8];
      const std::size_t size = co_await right.read(room);
      came.insert(came.end(), room, room + size);
    };
    const auto by_lease = [&]() -> task<> {
      const lease lent = co_await right.read_lease();
      came.insert(came.end(), lent.data(), lent.data() + lent.size());
    };
    for (std::size_t i = 0; i < sent.size(); ++i) {
      co_await with_nursery([&](nursery& tasks) -> task<> {
        if (i % 2 == 0) {
          tasks.start(by_read);
        } else {
          tasks.start(by_lease);
        }
        // Cancelled while it waits, when the byte has just been sent, or after it has come.
        if (i % 3 != 0) co_await left.write_all(const_buffer(sent.data() + i, 1));
        co_await settle(static_cast<int>(i % 5));
        tasks.cancel();
        if (i % 3 == 0) co_await shielded(write_pattern(left, 0, 0));
      });
      if (i % 3 == 0) co_await left.write_all(const_buffer(sent.data() + i, 1));
    }
    co_await left.shutdown_write();
    const std::vector<std::byte> rest = co_await drain(right);
    came.insert(came.end(), rest.begin(), rest.end());
    EXPECT_EQ(came, sent);
  });
}

TYPED_TEST_P(stream_contract, a_write_that_cannot_go_on_times_out) {
  using stream = typename TypeParam::stream;
  using namespace std::chrono_literals;
  this->with_pair([](stream& left, stream&) -> task<> {
    const std::vector<std::byte> large(more_than_fits);
    const auto sent = co_await as_result(with_timeout(5ms, left.write_all(large)));
    EXPECT_TRUE(!sent && sent.error().is_timeout());
    const const_buffer pieces[] = {const_buffer(large), "tail"};
    const std::span<const const_buffer> both(pieces);
    const auto gathered = co_await as_result(with_timeout(5ms, left.write_all(both)));
    EXPECT_TRUE(!gathered && gathered.error().is_timeout());
    co_await left.close();
  });
}

TYPED_TEST_P(stream_contract, a_cancelled_writer_leaves_at_once) {
  using stream = typename TypeParam::stream;
  this->with_pair([](stream& left, stream& right) -> task<> {
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> { co_await write_pattern(left, more_than_fits, 9); });
      co_await settle();
      tasks.cancel();
    });
    co_await left.close();
    std::vector<std::byte> sum;  // some of it
    bool is_cut = false;
    for (;;) {
      const auto part = co_await as_result(right.read_lease());
      is_cut = !part;
      if (is_cut || part->empty()) break;
      sum.insert(sum.end(), part->data(), part->data() + part->size());
    }
    EXPECT_EQ(is_cut, requires { TypeParam::tells_a_cut; });
    const std::vector<std::byte> all = pattern(more_than_fits, 9);
    EXPECT_LT(sum.size(), all.size());
    EXPECT_TRUE(std::equal(sum.begin(), sum.end(), all.begin()));
  });
}

TYPED_TEST_P(stream_contract, writing_to_a_peer_that_has_closed_fails) {
  using stream = typename TypeParam::stream;
  this->with_pair([](stream& left, stream& right) -> task<> {
    co_await right.close();
    std::error_code code;
    for (int i = 0; i < 100 && !code; ++i) {
      const auto sent = co_await as_result(left.write_all("anybody there?"));
      if (!sent) code = sent.error().code();
      co_await sleep_for(std::chrono::milliseconds(1));  // until the peer's answer is here
    }
    EXPECT_TRUE(code == std::errc::broken_pipe || code == std::errc::connection_reset) << code;
    bool thrown = false;
    try {
      co_await left.write_all("still nobody?");
    } catch (const io_error& error) {
      thrown = error.operation() == "write";
    }
    EXPECT_TRUE(thrown);
  });
}

TYPED_TEST_P(stream_contract, a_waiting_writer_learns_that_the_peer_has_closed) {
  using stream = typename TypeParam::stream;
  this->with_pair([](stream& left, stream& right) -> task<> {
    std::error_code code;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        const std::vector<std::byte> large(more_than_fits);
        const auto sent = co_await as_result(left.write_all(large));
        if (!sent) code = sent.error().code();
      });
      co_await settle(20);
      co_await right.close();
    });
    EXPECT_TRUE(code == std::errc::broken_pipe || code == std::errc::connection_reset) << code;
  });
}

TYPED_TEST_P(stream_contract, writing_after_ones_own_half_close_fails) {
  using stream = typename TypeParam::stream;
  this->with_pair([](stream& left, stream&) -> task<> {
    co_await left.shutdown_write();
    const auto sent = co_await as_result(left.write_all("more"));
    EXPECT_TRUE(!sent && sent.error() == std::errc::broken_pipe);
  });
}

TYPED_TEST_P(stream_contract, closing_wakes_whoever_waits_with_ECANCELED) {
  using stream = typename TypeParam::stream;
  this->with_pair([](stream& left, stream&) -> task<> {
    std::error_code read_code;
    std::error_code write_code;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        const auto came = co_await as_result(left.read_lease());
        if (!came) read_code = came.error().code();
      });
      tasks.start([&]() -> task<> {
        const std::vector<std::byte> large(more_than_fits);
        const auto sent = co_await as_result(left.write_all(large));
        if (!sent) write_code = sent.error().code();
      });
      co_await settle(20);
      co_await left.close();
    });
    EXPECT_EQ(read_code, std::errc::operation_canceled);
    EXPECT_EQ(write_code, std::errc::operation_canceled);
  });
}

TYPED_TEST_P(stream_contract, closing_wakes_a_reader_into_its_own_memory) {
  using stream = typename TypeParam::stream;
  this->with_pair([](stream& left, stream&) -> task<> {
    std::string text;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        char room[16];
        try {
          co_await left.read(room);
        } catch (const io_error& error) {
          if (error.code() == std::errc::operation_canceled) text = error.operation();
        }
      });
      co_await settle();
      co_await left.close();
    });
    EXPECT_EQ(text, "read");
  });
}

TYPED_TEST_P(stream_contract, destroying_a_stream_with_work_in_flight_leaves_nothing) {
  using stream = typename TypeParam::stream;
  this->with_pair([](stream& left, stream& right) -> task<> {
    std::error_code code;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      std::optional<stream> owned(std::move(left));
      tasks.start([&]() -> task<> {
        const auto came = co_await as_result(owned->read_lease());
        if (!came) code = came.error().code();
      });
      co_await settle();
      owned.reset();
    });
    EXPECT_EQ(code, std::errc::operation_canceled);
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start(
          [](stream mine) -> task<> {
            co_await with_nursery([&](nursery& both) -> task<> {
              both.start([&]() -> task<> { co_await write_pattern(mine, more_than_fits, 1); });
              char room[8];
              for (;;) co_await mine.read(room);
            });
          },
          std::move(right));
      tasks.cancel();
      co_await settle();
    });
  });
}

TYPED_TEST_P(stream_contract, a_stream_may_be_moved_while_it_works) {
  using stream = typename TypeParam::stream;
  this->with_pair([](stream& left, stream& right) -> task<> {
    std::string came;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        const lease lent = co_await right.read_lease();
        came = lent.text();
      });
      co_await settle();
      stream moved = std::move(right);
      co_await left.write_all("found you");
      while (came.empty()) co_await sleep_for(std::chrono::microseconds(10));
      right = std::move(moved);
    });
    EXPECT_EQ(came, "found you");
    co_await right.write_all("me too");
    const std::string back = co_await read_text(left, 6);
    EXPECT_EQ(back, "me too");
  });
}

TYPED_TEST_P(stream_contract, as_result_gives_values) {
  using stream = typename TypeParam::stream;
  this->with_pair([](stream& left, stream& right) -> task<> {
    const auto sent = co_await as_result(left.write_all("12345"));
    EXPECT_EQ(sent.value_or(0), 5U);
    const const_buffer pieces[] = {"67", "8"};
    const auto gathered = co_await as_result(left.write_all(std::span<const const_buffer>(pieces)));
    EXPECT_EQ(gathered.value_or(0), 3U);
    std::string sum;
    while (sum.size() < 8) {
      char room[8];
      const auto came = co_await as_result(right.read(room));
      if (!came || *came == 0) break;
      sum.append(room, *came);
    }
    EXPECT_EQ(sum, "12345678");
    const auto shut = co_await as_result(left.shutdown_write());
    EXPECT_TRUE(shut);
    const auto end = co_await as_result(right.read_lease());
    EXPECT_TRUE(end && end->empty());
  });
}

TYPED_TEST_P(stream_contract, copy_passes_on_everything_and_the_end) {
  using stream = typename TypeParam::stream;
  this->with_pair([](stream& client, stream& front) -> task<> {
    std::pair<stream, stream> second = co_await TypeParam::make();
    stream& back = second.first;
    stream& server = second.second;
    static constexpr std::size_t size = 700001;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        const std::uint64_t passed = co_await copy(front, back);
        EXPECT_EQ(passed, size);
      });
      tasks.start([&]() -> task<> {
        const std::uint64_t passed = co_await copy(back, front);
        EXPECT_EQ(passed, size);
      });
      tasks.start([&]() -> task<> {  // the server sends everything back
        const std::uint64_t passed = co_await copy(server, server);
        EXPECT_EQ(passed, size);
      });
      tasks.start([&]() -> task<> {
        co_await write_pattern(client, size, 11);
        co_await client.shutdown_write();
      });
      const std::vector<std::byte> came = co_await drain(client);
      EXPECT_EQ(came, pattern(size, 11));
    });
  });
}

TYPED_TEST_P(stream_contract, a_loop_of_small_messages_never_starves_others) {
  using stream = typename TypeParam::stream;
  this->with_pair([](stream& left, stream& right) -> task<> {
    bool stop = false;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        while (!stop) {
          co_await left.write_all("ping");
          co_await read_text(left, 4);
        }
        co_await left.shutdown_write();
      });
      tasks.start([&]() -> task<> {
        while (lease bytes = co_await right.read_lease()) co_await right.write_all(bytes);
      });
      co_await settle(100);
      stop = true;
    });
  });
}

TYPED_TEST_P(stream_contract, two_reads_at_once_are_an_assertion) {
  using stream = typename TypeParam::stream;
  EXPECT_DEATH(this->with_pair([](stream& left, stream&) -> task<> {
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> { co_await left.read_lease(); });
      tasks.start([&]() -> task<> { co_await left.read_lease(); });
      co_return;
    });
  }),
               "two operations of one kind at once");
}

TYPED_TEST_P(stream_contract, two_writes_at_once_are_an_assertion) {
  using stream = typename TypeParam::stream;
  EXPECT_DEATH(this->with_pair([](stream& left, stream&) -> task<> {
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> { co_await write_pattern(left, more_than_fits, 1); });
      tasks.start([&]() -> task<> { co_await write_pattern(left, more_than_fits, 2); });
      co_return;
    });
  }),
               "two operations of one kind at once");
}

TYPED_TEST_P(stream_contract, using_a_closed_stream_is_an_assertion) {
  using stream = typename TypeParam::stream;
  EXPECT_DEATH(this->with_pair([](stream& left, stream&) -> task<> {
    co_await left.close();
    co_await left.write_all("too late");
  }),
               "a closed or moved-from");
}

TYPED_TEST_P(stream_contract, closing_twice_is_allowed) {
  using stream = typename TypeParam::stream;
  this->with_pair([](stream& left, stream&) -> task<> {
    co_await left.close();
    co_await left.close();
    EXPECT_FALSE(left.is_open());
  });
}

REGISTER_TYPED_TEST_SUITE_P(
    stream_contract, bytes_of_all_sizes_arrive_whole_and_in_order,
    a_mebibyte_goes_both_ways_at_once, reading_goes_on_after_a_half_close, the_end_stays_the_end,
    what_was_written_before_a_close_arrives, a_writer_waits_for_a_peer_that_does_not_read,
    a_gathered_write_is_one_message, a_thousand_pieces_arrive_in_order, nothing_is_a_size_too,
    small_reads_take_a_message_apart, reads_and_leases_can_be_mixed,
    a_reader_finds_messages_through_a_buffer, a_read_that_timed_out_has_lost_nothing,
    time_outs_that_race_with_bytes_lose_none, a_cancelled_reader_has_lost_nothing,
    a_write_that_cannot_go_on_times_out, a_cancelled_writer_leaves_at_once,
    writing_to_a_peer_that_has_closed_fails, a_waiting_writer_learns_that_the_peer_has_closed,
    writing_after_ones_own_half_close_fails, closing_wakes_whoever_waits_with_ECANCELED,
    closing_wakes_a_reader_into_its_own_memory,
    destroying_a_stream_with_work_in_flight_leaves_nothing, a_stream_may_be_moved_while_it_works,
    as_result_gives_values, copy_passes_on_everything_and_the_end,
    a_loop_of_small_messages_never_starves_others, two_reads_at_once_are_an_assertion,
    two_writes_at_once_are_an_assertion, using_a_closed_stream_is_an_assertion,
    closing_twice_is_allowed);

}  // namespace rill::test
