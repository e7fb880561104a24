// buffered_reader and buffered_writer, at every split point of what they read.
#include <rill/net/buffered.h>

#include <cerrno>
#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "support.h"
#include "support/streams.h"
#include <rill/net/memory_stream.h>
#include <rill/net/tcp.h>
#include <rill/runtime/nursery.h>

namespace rill::test {
namespace {

using namespace std::chrono_literals;
using reader_type = buffered_reader<memory_stream>;
using writer_type = buffered_writer<memory_stream>;

/// Runs body(reader, to): `reader` reads at most `read_size_max` bytes at once of what `to` sends.
template <class Body>
void with_reader(std::size_t read_size_max, Body body) {
  run_loop([&]() -> task<> {
    auto pair = memory_stream_pair();
    pair.second.set_read_size_max(read_size_max);
    reader_type reader(pair.second);
    co_await body(reader, pair.first);
  });
}

template <class T>
task<std::error_code> code_of(task<T> failing) {
  std::error_code code;
  try {
    co_await std::move(failing);
  } catch (const io_error& error) {
    code = error.code();
  }
  co_return code;
}

TEST(buffered_reader, finds_lines_at_every_split_point) {
  for (std::size_t split = 1; split < 30; ++split) {
    with_reader(split, [](reader_type& reader, memory_stream& to) -> task<> {
      co_await to.write_all("one\ntwo\r\n\r\n\nfi\rve\r\nsix\r\r\n");
      co_await to.shutdown_write();
      for (const char* expected : {"one", "two", "", "", "fi\rve", "six\r"}) {
        const auto line = co_await reader.read_line(10);
        EXPECT_EQ(line, expected);
      }
      for (int i = 0; i < 2; ++i) {
        const auto end = co_await reader.read_line(10);
        EXPECT_EQ(end, std::nullopt);
      }
    });
  }
}

TEST(buffered_reader, finds_delimiters_at_every_split_point) {
  for (std::size_t split = 1; split < 30; ++split) {
    with_reader(split, [](reader_type& reader, memory_stream& to) -> task<> {
      co_await to.write_all("a\r\n.\r\nbody\r\n\r\n\r\n..\r\n.\r\n\r\n.\r\n");
      co_await to.shutdown_write();
      for (const char* expected : {"a", "body\r\n\r\n\r\n..", ""}) {
        const auto part = co_await reader.read_until("\r\n.\r\n", 100);
        EXPECT_EQ(part, expected);
      }
      const auto end = co_await reader.read_until("\r\n.\r\n", 100);
      EXPECT_EQ(end, std::nullopt);
    });
  }
}

TEST(buffered_reader, takes_a_line_of_the_largest_size_and_none_beyond) {
  for (std::size_t split = 1; split < 12; ++split) {
    for (const char* ending : {"\n", "\r\n"}) {
      with_reader(split, [&](reader_type& reader, memory_stream& to) -> task<> {
        co_await to.write_all("12345678" + std::string(ending) + "123456789" + ending);
        const auto fits = co_await reader.read_line(8);
        EXPECT_EQ(fits, "12345678");
        const std::error_code code = co_await code_of(reader.read_line(8));
        EXPECT_EQ(code, std::errc::message_size);
        const auto still_there = co_await reader.read_line(9);
        EXPECT_EQ(still_there, "123456789");
      });
    }
  }
}

TEST(buffered_reader, gives_up_on_a_line_that_never_ends) {
  with_reader(100, [](reader_type& reader, memory_stream& to) -> task<> {
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        const std::string part(1000, 'x');
        for (;;) co_await to.write_all(part);
      });
      std::string text;
      try {
        co_await reader.read_line(512);
      } catch (const io_error& error) {
        text = error.what();
      }
      EXPECT_EQ(text, "read more than 512 bytes: Message too long");
      EXPECT_LE(reader.buffered().size(), 512U + 2 + 100);
      const std::error_code code = co_await code_of(reader.read_until("\r\n", 500));
      EXPECT_EQ(code, std::errc::message_size);
      tasks.cancel();
    });
  });
}

TEST(buffered_reader, tells_a_message_cut_short_from_a_clean_end) {
  with_reader(4, [](reader_type& reader, memory_stream& to) -> task<> {
    co_await to.write_all("half a li");
    co_await to.shutdown_write();
    for (int i = 0; i < 2; ++i) {
      const std::error_code line = co_await code_of(reader.read_line(100));
      EXPECT_EQ(line, stream_error::unexpected_end);
      const std::error_code part = co_await code_of(reader.read_until("\r\n", 100));
      EXPECT_EQ(part, stream_error::unexpected_end);
      const std::error_code exact = co_await code_of(reader.read_exactly(10));
      EXPECT_EQ(exact, stream_error::unexpected_end);
    }
    EXPECT_EQ(make_error_code(stream_error::unexpected_end).message(),
              "the stream ended in the middle of a message");
    EXPECT_STREQ(make_error_code(stream_error::unexpected_end).category().name(), "stream");
    const auto all = co_await reader.read_exactly(9);
    EXPECT_EQ(all.value_or(const_buffer()).text(), "half a li");
    const auto end = co_await reader.read_exactly(1);
    EXPECT_FALSE(end.has_value());
    const auto nothing = co_await reader.read_exactly(0);
    EXPECT_TRUE(nothing.has_value());
  });
}

TEST(buffered_reader, reads_exactly_as_many_bytes_as_asked_for) {
  run_loop([]() -> task<> {
    auto pair = memory_stream_pair(5000);
    const std::vector<std::byte> all = pattern(100000);
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> { co_await pair.first.write_all(all); });
      reader_type reader(pair.second);
      std::size_t done = 0;
      for (std::size_t size = 1; done + size <= all.size(); size = size * 2 + 1) {
        const auto part = co_await reader.read_exactly(size);
        const const_buffer bytes = part.value_or(const_buffer());
        EXPECT_EQ(bytes.text(), const_buffer(all.data() + done, size).text()) << size;
        done += size;
      }
      tasks.cancel();
    });
  });
}

TEST(buffered_reader, peeks_without_taking) {
  with_reader(2, [](reader_type& reader, memory_stream& to) -> task<> {
    co_await to.write_all("abcdef");
    const const_buffer three = co_await reader.peek(3);
    EXPECT_EQ(three.text(), "abc");
    const const_buffer again = co_await reader.peek(5);
    EXPECT_EQ(again.text(), "abcde");
    co_await to.shutdown_write();
    const const_buffer all = co_await reader.peek(100);
    EXPECT_EQ(all.text(), "abcdef");
    const auto taken = co_await reader.read_exactly(6);
    EXPECT_EQ(taken.value_or(const_buffer()).text(), "abcdef");
    const const_buffer end = co_await reader.peek(1);
    EXPECT_TRUE(end.empty());
  });
}

TEST(buffered_reader, reads_what_there_is) {
  with_reader(4, [](reader_type& reader, memory_stream& to) -> task<> {
    co_await to.write_all("abcdef");
    const const_buffer peeked = co_await reader.peek(1);
    EXPECT_EQ(peeked.size(), 1U);
    const const_buffer first = co_await reader.read_some();
    EXPECT_EQ(first.text(), "abcd");
    const const_buffer second = co_await reader.read_some();
    EXPECT_EQ(second.text(), "ef");
    co_await to.shutdown_write();
    const const_buffer end = co_await reader.read_some();
    EXPECT_TRUE(end.empty());
  });
}

TEST(buffered_reader, feeds_a_codec_without_exceptions) {
  with_reader(3, [](reader_type& reader, memory_stream& to) -> task<> {
    co_await to.write_all("12345");
    const auto first = co_await as_result(with_timeout(1s, reader.fill()));
    EXPECT_EQ(first.value_or(0), 3U);
    EXPECT_EQ(reader.buffered().text(), "123");
    reader.consume(2);
    const auto second = co_await as_result(reader.fill());
    EXPECT_EQ(second.value_or(0), 2U);
    EXPECT_EQ(reader.buffered().text(), "345");
    const auto late = co_await as_result(with_timeout(1ms, reader.fill()));
    EXPECT_TRUE(!late && late.error().is_timeout());
    EXPECT_EQ(reader.buffered().text(), "345");
    co_await to.shutdown_write();
    const auto end = co_await as_result(reader.fill());
    EXPECT_EQ(end.value_or(1), 0U);
    EXPECT_EQ(reader.buffered().text(), "345");
  });
}

TEST(buffered_reader, loses_nothing_when_it_is_cancelled_or_timed_out) {
  with_reader(3, [](reader_type& reader, memory_stream& to) -> task<> {
    const std::string text = "a line that takes a while\n";
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (i % 2 == 0) {
        co_await with_nursery([&](nursery& tasks) -> task<> {
          tasks.start([&]() -> task<> { co_await reader.read_line(100); });
          if (i % 4 == 0) co_await settle();
          co_await to.write_all(std::string_view(text).substr(i, 1));
          co_await settle(static_cast<int>(i % 3));
          tasks.cancel();
        });
        continue;
      }
      if (i + 1 < text.size()) {
        bool late = false;
        try {
          co_await with_timeout(1ms, reader.read_exactly(100));
        } catch (const timeout_error&) {
          late = true;
        }
        EXPECT_TRUE(late);
      }
      co_await to.write_all(std::string_view(text).substr(i, 1));
    }
    const auto line = co_await reader.read_line(100);
    EXPECT_EQ(line, "a line that takes a while");
  });
}

TEST(buffered_reader, passes_on_errors_of_the_stream) {
  run_loop([]() -> task<> {
    auto pair = memory_stream_pair();
    pair.second.fail_reads_after(5, ECONNRESET);
    reader_type reader(pair.second);
    co_await pair.first.write_all("one\ntwo\n");
    const auto line = co_await reader.read_line(100);
    EXPECT_EQ(line, "one");
    const std::error_code code = co_await code_of(reader.read_line(100));
    EXPECT_EQ(code, std::errc::connection_reset);
    EXPECT_EQ(reader.buffered().text(), "t");
  });
}

TEST(buffered_reader, owns_no_buffer_between_messages) {
  run_loop([]() -> task<> {
    tcp_listener listener = tcp_listener::bind(endpoint(address::loopback_v4(), 0));
    tcp_stream left = co_await tcp_stream::connect(listener.local());
    tcp_stream right = co_await listener.accept();
    buffered_reader<tcp_stream> reader(right);
    buffer_pool& pool = loop::current().buffers();
    co_await left.write_all("one\ntwo\n");
    const auto one = co_await reader.read_line(100);
    EXPECT_EQ(one, "one");
    const auto two = co_await reader.read_line(100);
    EXPECT_EQ(two, "two");
    EXPECT_EQ(pool.statistics().lent_count, 1U);
    co_await as_result(with_timeout(1ms, reader.fill()));
    EXPECT_EQ(pool.statistics().lent_count, 0U);
    EXPECT_EQ(pool.statistics().private_count, 0U);
  });
}

TEST(buffered_writer, collects_small_writes) {
  run_loop([]() -> task<> {
    auto pair = memory_stream_pair();
    writer_type writer(pair.first, 16);
    co_await writer.write("one ");
    co_await writer.write("two ");
    EXPECT_EQ(writer.size(), 8U);
    EXPECT_EQ(pair.second.unread_size(), 0U);
    co_await writer.flush();
    EXPECT_EQ(writer.size(), 0U);
    const std::string came = co_await read_text(pair.second, 8);
    EXPECT_EQ(came, "one two ");
    co_await writer.flush();  // of nothing
    EXPECT_EQ(pair.second.unread_size(), 0U);
  });
}

TEST(buffered_writer, sends_by_itself_what_does_not_fit) {
  run_loop([]() -> task<> {
    auto pair = memory_stream_pair();
    writer_type writer(pair.first, 16);
    std::string expected;
    for (std::size_t size = 0; size < 100; ++size) {
      const std::string part(size, static_cast<char>('a' + size % 26));
      expected += part;
      const auto taken = co_await as_result(writer.write(part));
      EXPECT_EQ(taken.value_or(1000), size);
      EXPECT_LE(writer.size(), 16U);
    }
    co_await writer.flush();
    const std::string came = co_await read_text(pair.second, expected.size());
    EXPECT_EQ(came, expected);
    EXPECT_FALSE(writer.try_write(expected));
    EXPECT_TRUE(writer.try_write("fits"));
  });
}

TEST(buffered_writer, waits_for_a_slow_reader_and_times_out) {
  run_loop([]() -> task<> {
    auto pair = memory_stream_pair(8);
    writer_type writer(pair.first, 16);
    co_await writer.write("0123456789");
    const auto late = co_await as_result(with_timeout(1ms, writer.flush()));
    EXPECT_TRUE(!late && late.error().is_timeout());
  });
}

TEST(buffered_writer, goes_on_as_its_reader_does) {
  run_loop([]() -> task<> {
    auto pair = memory_stream_pair(8);
    std::string expected;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        writer_type writer(pair.first, 16);
        for (int i = 0; i < 500; ++i) {
          const std::string part = std::to_string(i);
          expected += part;
          co_await writer.write(part);
        }
        co_await writer.flush();
        co_await pair.first.shutdown_write();
      });
      const std::string came = co_await read_all(pair.second, 100000);
      EXPECT_EQ(came, expected);
    });
  });
}

TEST(buffered_writer, that_never_has_to_send_starves_nobody) {
  run_loop([]() -> task<> {
    auto pair = memory_stream_pair();
    writer_type empty(pair.first);
    writer_type filled(pair.second);
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        for (;;) co_await empty.flush();
      });
      tasks.start([&]() -> task<> {
        for (;;) co_await filled.write("");
      });
      co_await settle();  // would not come back
      tasks.cancel();
    });
    co_await filled.write("x");
    co_await filled.flush();
    EXPECT_EQ(filled.size(), 0U);
  });
}

TEST(buffered_writer_death_test, is_of_no_use_after_a_write_that_failed) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(run_loop([]() -> task<> {
                 auto pair = memory_stream_pair(8);
                 writer_type writer(pair.first, 16);
                 co_await pair.second.close();
                 co_await writer.write("x");
                 co_await as_result(writer.flush());
                 co_await writer.write("y");
               }),
               "close the stream");
}

TEST(read_all, refuses_more_than_its_limit) {
  run_loop([]() -> task<> {
    auto pair = memory_stream_pair();
    co_await pair.first.write_all("0123456789");
    co_await pair.first.shutdown_write();
    const std::string all = co_await read_all(pair.second, 10);
    EXPECT_EQ(all, "0123456789");
    auto other = memory_stream_pair();
    co_await other.first.write_all("0123456789");
    const std::error_code code = co_await code_of(read_all(other.second, 9));
    EXPECT_EQ(code, std::errc::message_size);
  });
}

}  // namespace
}  // namespace rill::test
