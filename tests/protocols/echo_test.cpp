// The echo session: what it sends back, how it ends, and that it allocates nothing.
#include <rill/protocols/echo/echo.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <string>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support.h"
#include "support/streams.h"
#include <rill/net/memory_stream.h>
#include <rill/net/tcp.h>
#include <rill/runtime/frame_cache.h>
#include <rill/runtime/nursery.h>

namespace {

std::atomic<std::uint64_t> allocation_count{0};

void* counted(std::size_t size) {
  allocation_count.fetch_add(1, std::memory_order_relaxed);
  void* const memory = std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

// The whole program counts: every form that this standard library does not forward to these two
// is for over-aligned types, and rill has none. Not inlined: g++ would see free() on what it takes
// for a pointer of its own operator new, and warn.
[[gnu::noinline]] void* operator new(std::size_t size) { return counted(size); }
[[gnu::noinline]] void* operator new[](std::size_t size) { return counted(size); }
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete[](void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }

namespace rill::test {
namespace {

using namespace std::chrono_literals;

task<std::pair<tcp_stream, tcp_stream>> connected() {
  tcp_listener listener = tcp_listener::bind(endpoint(address::loopback_v4(), 0));
  tcp_stream left = co_await tcp_stream::connect(listener.local());
  tcp_stream right = co_await listener.accept();
  co_return std::pair<tcp_stream, tcp_stream>(std::move(left), std::move(right));
}

task<> say_and_hear(memory_stream& to, std::string_view message, std::string_view answer) {
  co_await to.write_all(message);
  const std::string came = co_await read_text(to, answer.size());
  EXPECT_EQ(came, answer);
}

TEST(echo_session, sends_back_what_comes_and_ends_when_the_peer_does) {
  run_loop([]() -> task<> {
    auto pair = memory_stream_pair();
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start(echo::session<memory_stream>, std::move(pair.second), echo::session_options());
      co_await say_and_hear(pair.first, "one", "one");
      co_await say_and_hear(pair.first, "two", "two");
      co_await pair.first.write_all("last");
      co_await pair.first.shutdown_write();
      const std::string rest = co_await read_all(pair.first, 100);
      EXPECT_EQ(rest, "last");
    });
  });
}

TEST(echo_session, sends_a_large_message_back_in_spite_of_narrow_pipes) {
  run_loop([]() -> task<> {
    auto pair = memory_stream_pair(777);
    pair.second.set_read_size_max(100);
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start(echo::session<memory_stream>, std::move(pair.second), echo::session_options());
      tasks.start([&]() -> task<> {
        co_await write_pattern(pair.first, 100000, 1);
        co_await pair.first.shutdown_write();
      });
      const auto came = co_await drain(pair.first);
      EXPECT_EQ(came, pattern(100000, 1));
    });
  });
}

TEST(echo_session, puts_the_prefix_before_each_message) {
  run_loop([]() -> task<> {
    auto pair = memory_stream_pair();
    echo::session_options options;
    options.prefix = "you said: ";
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start(echo::session<memory_stream>, std::move(pair.second), options);
      co_await say_and_hear(pair.first, "one", "you said: one");
      co_await say_and_hear(pair.first, "two", "you said: two");
      co_await pair.first.close();
    });
  });
}

TEST(echo_session, ends_quietly_when_the_peer_resets) {
  run_loop([]() -> task<> {
    auto pair = co_await connected();
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start(echo::session<tcp_stream>, std::move(pair.second), echo::session_options());
      co_await pair.first.write_all("x");
      pair.first.set_linger(0s);
      co_await pair.first.close();
    });
  });
}

TEST(echo_session, ends_quietly_on_any_failure) {
  for (const bool reading : {true, false}) {
    for (const char* prefix : {"", "> "}) {
      run_loop([&]() -> task<> {
        auto pair = memory_stream_pair();
        if (reading) {
          pair.second.fail_reads_after(3, ECONNRESET);
        } else {
          pair.second.fail_writes_after(3, EPIPE);
        }
        echo::session_options options;
        options.prefix = prefix;
        co_await with_nursery([&](nursery& tasks) -> task<> {
          tasks.start(echo::session<memory_stream>, std::move(pair.second), options);
          co_await pair.first.write_all("message");
          const std::string came = co_await read_all(pair.first, 100);
          EXPECT_EQ(came, (std::string(prefix) + "mes").substr(0, reading ? 9 : 3));
        });
      });
    }
  }
}

TEST(echo_session, ends_when_the_peer_is_idle_too_long) {
  for (const char* prefix : {"", "> "}) {
    run_loop([&]() -> task<> {
      auto pair = memory_stream_pair();
      echo::session_options options;
      options.prefix = prefix;
      options.idle_timeout = 2ms;
      co_await echo::session(std::move(pair.second), options);
      const lease end = co_await pair.first.read_lease();
      EXPECT_TRUE(end.empty());
    });
  }
}

TEST(echo_session, ends_when_the_peer_does_not_take_its_answer) {
  run_loop([]() -> task<> {
    auto pair = memory_stream_pair(4);
    pair.second.set_write_size_max(2);
    echo::session_options options;
    options.idle_timeout = 2ms;
    co_await pair.first.write_all("1234");
    co_await echo::session(std::move(pair.second), options);
    const std::string came = co_await read_all(pair.first, 100);
    EXPECT_EQ(came, "12");
  });
}

/// The line of the task tree that says where a session waits.
std::string place_of_session() {
  const std::string tree = loop::current().task_tree();
  const std::size_t begin = std::min(tree.find("plain_session"), tree.size());
  return tree.substr(begin, tree.find('\n', begin) - begin);
}

TEST(echo_session, can_be_cancelled_wherever_it_waits) {
  const auto large = pattern(std::size_t{8} << 20);
  for (int turns = 0; turns < 12; ++turns) {
    run_loop([&]() -> task<> {
      auto pair = co_await connected();
      co_await with_nursery([&](nursery& tasks) -> task<> {
        tasks.start(echo::session<tcp_stream>, std::move(pair.second), echo::session_options());
        // Waiting for a message, sending one back, and stuck in sending.
        if (turns > 2) co_await pair.first.write_all("message");
        co_await settle(turns);
        if (turns == 1) {
          EXPECT_THAT(place_of_session(), testing::HasSubstr(": read 127.0.0.1"));
        }
        if (turns > 8) {
          pair.first.set_receive_buffer_size(4096);
          tasks.start([&]() -> task<> { co_await as_result(pair.first.write_all(large)); });
          for (int i = 0; i < 5; ++i) {  // for good, and not for a moment
            while (place_of_session().find(": write 127.0.0.1") == std::string::npos) {
              i = 0;
              co_await settle(1);
            }
            co_await settle(20);
          }
        }
        tasks.cancel();
      });
    });
  }
}

/// One message there and back, `count` times.
task<> exchange(tcp_stream& peer, int count) {
  const std::string message(64, 'm');
  for (int i = 0; i < count; ++i) {
    co_await peer.write_all(message);
    for (std::size_t came = 0; came < message.size();) {
      const lease bytes = co_await peer.read_lease();
      if (bytes.empty()) co_return;
      came += bytes.size();
    }
  }
}

void expect_no_allocation(echo::session_options options, int count) {
  run_loop([&]() -> task<> {
    auto pair = co_await connected();
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start(echo::session<tcp_stream>, std::move(pair.second), options);
      co_await exchange(pair.first, 1000);  // warm: buffers registered, frames and timers cached
      const std::uint64_t allocations = allocation_count.load();
      const frame_cache_statistics before = frame_statistics();
      co_await exchange(pair.first, count);
      const frame_cache_statistics after = frame_statistics();
      EXPECT_EQ(allocation_count.load() - allocations, 1U);  // the message of exchange()
      EXPECT_EQ(after.miss_count, before.miss_count);
      EXPECT_EQ(after.oversize_count, before.oversize_count);
      EXPECT_EQ(after.hit_count - before.hit_count, 1U);  // the frame of exchange()
      co_await pair.first.close();
    });
  });
}

TEST(echo_session, allocates_nothing_in_a_hundred_thousand_messages) {
  expect_no_allocation(echo::session_options(), 100'000);
}

TEST(echo_session, allocates_nothing_without_a_time_out_or_with_a_prefix) {
  echo::session_options options;
  options.idle_timeout = std::chrono::nanoseconds::max();
  expect_no_allocation(options, 10'000);
  options.prefix = "> ";
  expect_no_allocation(options, 10'000);
}

TEST(echo_session, allocates_nothing_for_large_messages) {
  run_loop([]() -> task<> {
    auto pair = co_await connected();
    const std::vector<std::byte> message(65536);
    std::vector<std::byte> answer(message.size());
    const auto exchange_large = [&](int count) -> task<> {
      for (int i = 0; i < count; ++i) {
        co_await pair.first.write_all(message);
        for (std::size_t have = 0; have < answer.size();) {
          have += co_await pair.first.read(std::span<std::byte>(answer).subspan(have));
        }
      }
    };
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start(echo::session<tcp_stream>, std::move(pair.second), echo::session_options());
      co_await exchange_large(100);
      const std::uint64_t allocations = allocation_count.load();
      co_await exchange_large(1000);
      EXPECT_EQ(allocation_count.load(), allocations);
      co_await pair.first.close();
    });
  });
}

// Not of the echo session, but counted by the operator new above.
TEST(shared_send, allocates_nothing_on_a_warm_connection) {
  run_loop([]() -> task<> {
    auto pair = co_await connected();
    pair.first.set_zero_copy(zero_copy::always);
    const shared_bytes message{const_buffer(std::vector<std::byte>(100'000))};
    std::vector<std::byte> came(message.size());
    const auto send = [&](int count) -> task<> {
      for (int i = 0; i < count; ++i) {
        co_await pair.first.write_all(message);
        for (std::size_t have = 0; have < came.size();) {
          have += co_await pair.second.read(std::span<std::byte>(came).subspan(have));
        }
        while (message.owner_count() != 1) co_await settle(1);
      }
    };
    co_await send(100);
    const std::uint64_t allocations = allocation_count.load();
    const frame_cache_statistics before = frame_statistics();
    co_await send(1000);
    const frame_cache_statistics after = frame_statistics();
    EXPECT_EQ(allocation_count.load(), allocations);
    EXPECT_EQ(after.miss_count, before.miss_count);
    EXPECT_EQ(after.oversize_count, before.oversize_count);
  });
}

}  // namespace
}  // namespace rill::test
