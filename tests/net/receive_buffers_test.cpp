// The loop's receive buffers as streams meet them: large messages, fast peers, buffers that run
// out.
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "support.h"
#include "support/descriptors.h"
#include "support/pair.h"
#include "support/streams.h"
#include <rill/net/stream.h>
#include <rill/net/tcp.h>
#include <rill/runtime/nursery.h>

namespace rill::test {
namespace {

TEST(receive_buffers, is_served_with_large_buffers_while_its_messages_are_large) {
  with_pair([](tcp_stream& left, tcp_stream& right) -> task<> {
    std::size_t largest = 0;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> { co_await write_pattern(left, 4 << 20, 1); });
      for (std::size_t sum = 0; sum < 4 << 20;) {
        const lease bytes = co_await right.read_lease();
        largest = std::max(largest, bytes.size());
        sum += bytes.size();
      }
    });
    EXPECT_GT(largest, 4096U);
    EXPECT_TRUE(right.state().large_messages);
    for (int i = 0; i < 100; ++i) {
      co_await left.write_all("small");
      const lease came = co_await right.read_lease();
      EXPECT_EQ(came.text(), "small");
    }
    EXPECT_FALSE(right.state().large_messages);
  });
}

TEST(receive_buffers,
     is_served_with_small_buffers_while_all_large_ones_are_lent_and_does_not_spin) {
  loop_options options;
  options.buffers.large = {65536, 4, 4, 4};
  loop on(make_kernel("auto"), options);
  on.run([]() -> task<> {
    tcp_listener listener = tcp_listener::bind(any_port);
    std::vector<tcp_stream> senders;
    std::vector<tcp_stream> holders;
    std::vector<lease> held;
    while (held.size() < 4) {  // the first small receive of each teaches the stream
      senders.push_back(co_await tcp_stream::connect(listener.local()));
      holders.push_back(co_await listener.accept());
      co_await write_pattern(senders.back(), 20'000, 1);
      lease bytes = co_await holders.back().read_lease();
      while (bytes.size() <= 4096) bytes = co_await holders.back().read_lease();
      held.push_back(std::move(bytes));
    }
    tcp_stream left = co_await tcp_stream::connect(listener.local());
    tcp_stream right = co_await listener.accept();
    const std::uint64_t turns = loop::current().statistics().turn_count;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> { co_await write_pattern(left, 1 << 20, 1); });
      const std::vector<std::byte> came = co_await read_bytes(right, 1 << 20);
      EXPECT_EQ(came, pattern(1 << 20, 1));
    });
    EXPECT_LT(loop::current().statistics().turn_count - turns, 5000U);
    held.clear();
  }());
}

TEST(receive_buffers, pauses_a_peer_that_sends_faster_than_its_task_reads) {
  with_pair([](tcp_stream& left, tcp_stream& right) -> task<> {
    const buffer_pool& pool = loop::current().buffers();
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        for (int i = 0; i < 4096; ++i) co_await write_pattern(left, 4096, 1);
        co_await left.shutdown_write();
      });
      std::size_t sum = 0;
      std::uint64_t lent_max = 0;
      for (int i = 0;; ++i) {
        {
          const lease bytes = co_await right.read_lease();
          if (bytes.empty()) break;
          sum += bytes.size();
        }
        if (i < 50) co_await settle(20);
        lent_max = std::max(lent_max, pool.statistics().lent_count);
      }
      EXPECT_EQ(sum, std::size_t{4096} * 4096);
      // The kernel may bring some dozens more before it hears of the pause, and no more than that.
      EXPECT_LE(lent_max, 80U);
    });
  });
}

task<> ask_and_check(endpoint server, std::size_t number) {
  tcp_stream peer = co_await tcp_stream::connect(server);
  for (std::size_t i = 0; i < 3; ++i) {
    const std::vector<std::byte> question = pattern(300 + number % 9000, number + i);
    co_await peer.write_all(question);
    const std::vector<std::byte> answer = co_await read_bytes(peer, question.size());
    EXPECT_TRUE(answer == question);
  }
}

task<> send_back(tcp_stream peer) {
  while (lease bytes = co_await peer.read_lease()) co_await peer.write_all(bytes);
}

TEST(receive_buffers, shares_few_buffers_among_a_thousand_connections) {
  const descriptor_limit more;
  loop_options options;
  options.buffers.small = {512, 8, 8, 4};
  options.buffers.large = {4096, 4, 4, 2};
  loop on(make_kernel("auto"), options);
  static constexpr std::size_t count = 1000;
  on.run([]() -> task<> {
    tcp_listener listener = tcp_listener::bind(any_port);
    co_await with_nursery([&](nursery& tasks) -> task<> {
      for (std::size_t i = 0; i < count; ++i) tasks.start(ask_and_check, listener.local(), i);
      for (std::size_t i = 0; i < count; ++i) tasks.start(send_back, co_await listener.accept());
    });
    const buffer_statistics statistics = loop::current().buffers().statistics();
    EXPECT_EQ(statistics.lent_count, 0U);
    EXPECT_GT(statistics.private_count + statistics.starved_count, 0U);
    EXPECT_LE(statistics.touched_size, 8U * 512 + 4 * 4096);
  }());
}

TEST(receive_buffers_death_test, a_loop_that_is_destroyed_before_a_lease_aborts) {
  EXPECT_DEATH(
      {
        lease kept;
        with_pair([&](tcp_stream& left, tcp_stream& right) -> task<> {
          co_await left.write_all("x");
          kept = co_await right.read_lease();
        });
      },
      "a loop was destroyed before its leases");
}

}  // namespace
}  // namespace rill::test
