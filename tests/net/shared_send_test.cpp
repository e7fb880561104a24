// write_all(shared_bytes) on the kernels over Linux: what arrives, when the bytes are let go, and
// what cancelling, closing and ending leave behind. What depends on a peer's acknowledgements is
// tried in the simulator: tests/sim/shared_send_test.cpp.
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "support.h"
#include "support/pair.h"
#include "support/streams.h"
#include <rill/net/tcp.h>
#include <rill/net/unix.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/timeout.h>

namespace rill::test {
namespace {

using namespace std::chrono_literals;

shared_bytes shared_pattern(std::size_t size, std::size_t seed = 0) {
  return shared_bytes{const_buffer(pattern(size, seed))};
}

bool is_same(const std::vector<std::byte>& came, const shared_bytes& sent) {
  return const_buffer(came).text() == sent.text();
}

/// Sends them one after the other while they are read at the other end.
template <byte_stream Stream>
task<> expect_arrival(Stream& from, Stream& to, const std::vector<shared_bytes>& all) {
  co_await with_nursery([&](nursery& both) -> task<> {
    both.start([&]() -> task<> {
      for (const shared_bytes& each : all) {
        const std::size_t sent = co_await from.write_all(each);
        EXPECT_EQ(sent, each.size());
      }
    });
    for (const shared_bytes& each : all) {
      const std::vector<std::byte> came = co_await read_bytes(to, each.size());
      EXPECT_TRUE(is_same(came, each)) << each.size();
    }
  });
}

/// Until nobody but the caller owns the bytes.
task<> wait_until_let_go(const shared_bytes& bytes) {
  while (bytes.owner_count() > 1) co_await sleep_for(1ms);
}

const std::size_t sizes[] = {0,
                             1,
                             1000,
                             stream_socket::zero_copy_size_min - 1,
                             stream_socket::zero_copy_size_min,
                             1'000'000,
                             3'000'000};

TEST(shared_send, brings_every_byte_whenever_it_may_do_without_a_copy) {
  for (const zero_copy when : {zero_copy::never, zero_copy::when_useful, zero_copy::always}) {
    with_pair([when](tcp_stream& left, tcp_stream& right) -> task<> {
      EXPECT_EQ(left.when_zero_copy(), zero_copy::when_useful);
      left.set_zero_copy(when);
      std::vector<shared_bytes> all;
      for (const std::size_t size : sizes) all.push_back(shared_pattern(size, size));
      co_await expect_arrival(left, right, all);
      for (const shared_bytes& each : all) co_await wait_until_let_go(each);
      EXPECT_EQ(left.state().shared_sends, nullptr);
    });
  }
}

TEST(shared_send, goes_through_unix_streams_too) {
  run_loop([]() -> task<> {
    auto [left, right] = unix_stream::pair();
    std::vector<shared_bytes> all;
    for (const std::size_t size : sizes) all.push_back(shared_pattern(size));
    co_await expect_arrival(left, right, all);
    EXPECT_TRUE(left.state().cannot_lend);  // not tried again
    for (const shared_bytes& each : all) EXPECT_LE(each.owner_count(), 1U);
  });
}

TEST(shared_send, copies_on_loopback_once_the_kernel_has_said_that_it_does) {
  with_pair([](tcp_stream& left, tcp_stream& right) -> task<> {
    if (!left.owner_loop().is_ring_of_6_3()) co_return;  // it does not say
    const std::vector<shared_bytes> first{shared_pattern(100'000)};
    co_await expect_arrival(left, right, first);
    co_await wait_until_let_go(first.front());
    EXPECT_TRUE(left.state().lending_copies);
    left.set_zero_copy(zero_copy::always);
    co_await expect_arrival(left, right, first);
    co_await wait_until_let_go(first.front());
  });
}

TEST(shared_send, sends_one_message_to_many) {
  run_loop([]() -> task<> {
    tcp_listener listener = tcp_listener::bind(any_port);
    std::vector<std::pair<tcp_stream, tcp_stream>> members;
    while (members.size() < 20) {
      tcp_stream near_end = co_await tcp_stream::connect(listener.local());
      members.emplace_back(std::move(near_end), co_await listener.accept());
    }
    const shared_bytes message = shared_pattern(200'000);
    co_await with_nursery([&](nursery& all) -> task<> {
      for (auto& [near_end, far_end] : members) {
        near_end.set_zero_copy(zero_copy::always);
        all.start([&from = near_end, &message]() -> task<> {
          co_await with_timeout(30s, from.write_all(message));
        });
        all.start([&to = far_end, &message]() -> task<> {
          const auto came = co_await with_timeout(30s, read_bytes(to, message.size()));
          EXPECT_TRUE(is_same(came, message));
        });
      }
      co_return;
    });
    co_await wait_until_let_go(message);
  });
}

TEST(shared_send, ends_with_the_error_of_a_send) {
  with_pair([](tcp_stream& left, tcp_stream& right) -> task<> {
    left.set_zero_copy(zero_copy::always);
    right.set_linger(0s);
    co_await right.close();
    const std::string peer = left.peer().to_string();
    const shared_bytes bytes = shared_pattern(100'000);
    std::string said;
    try {
      for (int i = 0; i < 3; ++i) co_await left.write_all(bytes);
    } catch (const io_error& failure) {
      said = failure.what();
    }
    EXPECT_TRUE(said == "write " + peer + ": Connection reset by peer" ||
                said == "write " + peer + ": Broken pipe")
        << said;
    const auto again = co_await as_result(left.write_all(bytes));
    EXPECT_EQ(again.error().operation(), std::string_view("write"));
    co_await wait_until_let_go(bytes);
  });
}

TEST(shared_send, is_withdrawn_by_a_time_out_without_waiting_for_the_peer) {
  const shared_bytes much = shared_pattern(more_than_fits);
  with_pair([&](tcp_stream& left, tcp_stream& right) -> task<> {
    left.set_zero_copy(zero_copy::always);
    const auto sent = co_await as_result(with_timeout(20ms, left.write_all(much)));
    EXPECT_FALSE(sent);
    EXPECT_TRUE(sent.error().is_timeout());
    EXPECT_FALSE(left.state().write.in_flight());
    co_await left.close();  // what the kernel has taken goes on being sent
    const auto came = co_await drain(right);
    EXPECT_LT(came.size(), much.size());
    EXPECT_EQ(std::memcmp(came.data(), much.data(), came.size()), 0);
    co_await wait_until_let_go(much);
  });
}

TEST(shared_send, is_withdrawn_when_another_task_closes_the_stream) {
  const shared_bytes much = shared_pattern(more_than_fits);
  with_pair([&](tcp_stream& left, tcp_stream& right) -> task<> {
    left.set_zero_copy(zero_copy::always);
    std::error_code said;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        const auto sent = co_await as_result(left.write_all(much));
        if (!sent) said = sent.error().code();
      });
      co_await settle();
      co_await left.close();
    });
    EXPECT_EQ(said, std::errc::operation_canceled);
    co_await right.close();
    co_await wait_until_let_go(much);
  });
}

TEST(shared_send, leaves_its_stream_free_to_move_and_to_go) {
  const shared_bytes much = shared_pattern(more_than_fits);
  with_pair([&](tcp_stream& left, tcp_stream& right) -> task<> {
    tcp_stream moved;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      left.set_zero_copy(zero_copy::always);
      tasks.start([&]() -> task<> { co_await as_result(left.write_all(much)); });
      co_await settle();
      moved = std::move(left);
      co_await settle();
      moved = tcp_stream();
    });
    right = tcp_stream();
    co_await wait_until_let_go(much);
  });
}

/// A connection of which this test holds the far end itself, beyond the loop's life.
class far_end {
 public:
  far_end() {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int size = 65536;  // so that most of what is sent stays where it is
    ::setsockopt(listener_, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    sockaddr_in name{};
    name.sin_family = AF_INET;
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof(name);
    ::bind(listener_, reinterpret_cast<sockaddr*>(&name), length);
    ::listen(listener_, 1);
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&name), &length);
    where_ = endpoint(address::loopback_v4(), ntohs(name.sin_port));
  }
  far_end(const far_end&) = delete;
  far_end& operator=(const far_end&) = delete;
  ~far_end() { ::close(listener_); }

  const endpoint& where() const { return where_; }
  std::vector<std::byte> read_all() const {
    const int peer = ::accept(listener_, nullptr, nullptr);
    std::vector<std::byte> all;
    std::vector<std::byte> part(65536);
    for (ssize_t got = 0; (got = ::recv(peer, part.data(), part.size(), 0)) > 0;) {
      all.insert(all.end(), part.begin(), part.begin() + got);
    }
    ::close(peer);
    return all;
  }

 private:
  int listener_ = -1;
  endpoint where_;
};

TEST(shared_send, does_not_keep_a_loop_from_ending_and_is_still_read_after_it) {
  const far_end peer;
  const shared_bytes sent = shared_pattern(400'000);
  const auto begin = std::chrono::steady_clock::now();
  bool is_uring = false;
  {
    loop on(make_kernel("auto"));
    is_uring = on.kernel().name() == "uring";
    on.run([&]() -> task<> {
      auto stream = co_await tcp_stream::connect(peer.where());
      stream.set_zero_copy(zero_copy::always);
      co_await stream.write_all(sent);
      co_await stream.close();
    }());
    EXPECT_EQ(sent.owner_count(), is_uring ? 2U : 1U);
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 10s);  // the peer would never have read
  // The process keeps what the ring has lent: nothing is freed, and nothing reported as a leak.
  EXPECT_EQ(sent.owner_count(), is_uring ? 2U : 1U);
  EXPECT_TRUE(is_same(peer.read_all(), sent));
}

TEST(shared_send, is_waited_for_by_a_loop_whose_peer_still_reads) {
  const shared_bytes sent = shared_pattern(100'000);
  with_pair([&](tcp_stream& left, tcp_stream& right) -> task<> {
    left.set_zero_copy(zero_copy::always);
    co_await left.write_all(sent);
    static_cast<void>(right);  // acknowledged by its kernel, or reset with it
  });
  EXPECT_EQ(sent.owner_count(), 1U);
}

TEST(shared_send, asserts_that_one_write_is_in_progress) {
  const auto two_writes = [] {
    with_pair([](tcp_stream& left, tcp_stream&) -> task<> {
      const shared_bytes much = shared_pattern(more_than_fits);
      left.set_zero_copy(zero_copy::always);
      co_await with_nursery([&](nursery& tasks) -> task<> {
        tasks.start([&]() -> task<> { co_await left.write_all(much); });
        co_await settle();
        co_await left.write_all("and this");
      });
    });
  };
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_DEATH(two_writes(), "two operations of one kind at once");
}

}  // namespace
}  // namespace rill::test
