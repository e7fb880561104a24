// write_all(shared_bytes) where peers acknowledge when they are told to: how long the bytes are
// held, what the kernel's refusals become, and late notifications. Every point of a session is in
// every_point_test.cpp, random weather in properties_test.cpp.
#include <cerrno>
#include <chrono>
#include <memory>
#include <string>
#include <system_error>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/echo.h"
#include <rill/net/tcp.h>
#include <rill/net/unix.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/sim/world.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/timeout.h>

namespace rill {
namespace {

using namespace std::chrono_literals;
using test::at;
using testing::HasSubstr;

constexpr std::size_t size = 20'000;  // fits into the peer's receive buffer several times

shared_bytes made_of(char letter, std::size_t count = size) {
  return shared_bytes{const_buffer(std::string(count, letter))};
}

class sim_shared_send : public testing::Test {
 protected:
  sim_shared_send() {
    server_.run([this]() -> task<> {
      auto listener = tcp_listener::bind(at("0.0.0.0:80"));
      co_await with_nursery([&](nursery& sessions) -> task<> {
        for (;;) {
          sessions.start([this](tcp_stream peer) { return read(std::move(peer)); },
                         co_await listener.accept());
        }
      });
    });
    world_.run_for(1ms);
  }
  /// Runs a session of the client to its end.
  template <class Body>
  void run(Body body) {
    world_.run(client_.run([&body]() -> task<> {
      auto stream = co_await tcp_stream::connect(at("10.0.0.1:80"));
      co_await body(stream);
    }));
  }
  /// What the server has read; complete when all have ended.
  const std::string& received() {
    world_.run_for(10s);
    return received_;
  }

  sim::world world_{1};
  sim::host& server_ = world_.add_host("server", "10.0.0.1");
  sim::host& client_ = world_.add_host("client", "10.0.0.2");

 private:
  task<> read(tcp_stream peer) {
    for (;;) {
      const auto bytes = co_await as_result(peer.read_lease());
      if (!bytes || bytes->empty()) break;
      received_ += bytes->text();
    }
  }

  std::string received_;
};

TEST_F(sim_shared_send, holds_the_bytes_until_the_peer_has_acknowledged_them) {
  const auto far = world_.inject(sim::latency(100ms));
  const shared_bytes bytes = made_of('a');
  run([&](tcp_stream& stream) -> task<> {
    const auto before = loop_clock::now();
    co_await stream.write_all(bytes);
    EXPECT_LT(loop_clock::now() - before, 1ms);  // waits for no acknowledgement
    EXPECT_EQ(bytes.owner_count(), 2U);
    co_await sleep_for(190ms);
    EXPECT_EQ(bytes.owner_count(), 2U);
    co_await sleep_for(100ms);
    EXPECT_EQ(bytes.owner_count(), 1U);
  });
  EXPECT_EQ(received(), bytes.text());
  EXPECT_THAT(world_.trace(), HasSubstr("client send_zc"));
}

TEST_F(sim_shared_send, holds_each_of_several_as_long_as_it_takes) {
  const auto far = world_.inject(sim::latency(50ms));
  const shared_bytes first = made_of('1');
  const shared_bytes second = made_of('2');
  const shared_bytes third = made_of('3');
  run([&](tcp_stream& stream) -> task<> {
    co_await stream.write_all(first);
    co_await stream.write_all(second);
    co_await sleep_for(60ms);
    co_await stream.write_all(third);
    EXPECT_EQ(first.owner_count(), 2U);
    EXPECT_EQ(second.owner_count(), 2U);
    co_await sleep_for(90ms);
    EXPECT_EQ(first.owner_count(), 1U);
    EXPECT_EQ(second.owner_count(), 1U);
    EXPECT_EQ(third.owner_count(), 2U);
    co_await sleep_for(100ms);
    EXPECT_EQ(third.owner_count(), 1U);
  });
  EXPECT_EQ(received(),
            std::string(first.text()) + std::string(second.text()) + std::string(third.text()));
}

TEST_F(sim_shared_send, holds_the_bytes_when_the_stream_is_gone) {
  const auto far = world_.inject(sim::latency(100ms));
  const shared_bytes bytes = made_of('a');
  run([&](tcp_stream& stream) -> task<> {
    co_await stream.write_all(bytes);
    stream = tcp_stream();
    co_await sleep_for(50ms);
    EXPECT_EQ(bytes.owner_count(), 2U);
    co_await sleep_for(250ms);
    EXPECT_EQ(bytes.owner_count(), 1U);
  });
  EXPECT_EQ(received(), bytes.text());
}

TEST_F(sim_shared_send, ends_with_its_program_behind_a_dead_peer) {
  const shared_bytes bytes = made_of('a');
  std::chrono::nanoseconds begun{0};
  auto cut = std::make_unique<sim::fault_guard>(nullptr);
  run([&](tcp_stream& stream) -> task<> {
    cut = std::make_unique<sim::fault_guard>(world_.partition(server_, client_));
    co_await stream.write_all(bytes);
    begun = world_.now();
    EXPECT_EQ(bytes.owner_count(), 2U);
  });
  EXPECT_LT(world_.now() - begun, 1s);
  EXPECT_EQ(bytes.owner_count(), 2U);
}

TEST_F(sim_shared_send, is_cancelled_without_waiting_for_the_peer) {
  const shared_bytes much = made_of('m', 10'000'000);
  auto cut = std::make_unique<sim::fault_guard>(nullptr);
  run([&](tcp_stream& stream) -> task<> {
    cut = std::make_unique<sim::fault_guard>(world_.partition(server_, client_));
    const auto sent = co_await as_result(with_timeout(1s, stream.write_all(much)));
    EXPECT_FALSE(sent);
    EXPECT_EQ(much.owner_count(), 2U);
    cut.reset();
    co_await stream.close();
    co_await sleep_for(10s);
    EXPECT_EQ(much.owner_count(), 1U);
  });
  EXPECT_TRUE(much.text().starts_with(received()));
}

TEST_F(sim_shared_send, is_sent_ordinarily_where_the_kernel_refuses) {
  for (const int refusal : {EOPNOTSUPP, EINVAL, ENOBUFS, ENOMEM}) {
    const auto refused = world_.inject(sim::failure("send_zc", refusal).only(1));
    const shared_bytes first = made_of('1');
    const shared_bytes second = made_of('2');
    run([&](tcp_stream& stream) -> task<> {
      co_await stream.write_all(first);
      EXPECT_EQ(first.owner_count(), 1U);
      const bool for_good = refusal == EOPNOTSUPP || refusal == EINVAL;
      EXPECT_EQ(stream.state().cannot_lend, for_good);
      co_await stream.write_all(second);
      EXPECT_EQ(second.owner_count(), for_good ? 1U : 2U);
    });
    EXPECT_TRUE(received().ends_with(std::string(first.text()) + std::string(second.text())));
  }
}

TEST_F(sim_shared_send, that_is_cancelled_is_not_begun_again_when_the_refusal_comes) {
  const auto refused = world_.inject(sim::failure("send_zc", EOPNOTSUPP).only(1));
  const auto late = world_.inject(sim::late_completions(1ms).on(client_).of("send_zc"));
  const auto not_found = world_.inject(sim::failure("cancel", ENOENT).only(1));
  const shared_bytes bytes = made_of('1');
  run([&](tcp_stream& stream) -> task<> {
    const auto sent = co_await as_result(with_timeout(1ns, stream.write_all(bytes)));
    EXPECT_FALSE(sent);
    EXPECT_TRUE(sent.error().is_timeout());
  });
  EXPECT_EQ(received(), "");
}

TEST_F(sim_shared_send, goes_on_after_a_short_send) {
  const auto cut = world_.inject(sim::short_transfers().on(client_).of("send_zc"));
  const shared_bytes bytes = made_of('s');
  run([&](tcp_stream& stream) -> task<> {
    const std::size_t sent = co_await stream.write_all(bytes);
    EXPECT_EQ(sent, bytes.size());
  });
  EXPECT_EQ(received(), bytes.text());
}

TEST_F(sim_shared_send, tells_of_a_lost_connection_as_a_send_does) {
  const auto reset = world_.inject(sim::failure("send_zc", ECONNRESET).only(2));
  const shared_bytes bytes = made_of('x');
  std::string said;
  run([&](tcp_stream& stream) -> task<> {
    try {
      co_await stream.write_all(bytes);
      co_await stream.write_all(bytes);
    } catch (const io_error& failure) {
      said = failure.what();
    }
    const auto again = co_await as_result(stream.write_all(bytes));
    EXPECT_EQ(again.error().code(), std::errc::broken_pipe);
    co_await sleep_for(1ms);
    EXPECT_EQ(bytes.owner_count(), 1U);  // nobody will read them
  });
  EXPECT_EQ(said, "write 10.0.0.1:80: Connection reset by peer");
}

TEST_F(sim_shared_send, is_let_go_late_where_notifications_are_late) {
  const auto late = world_.inject(sim::late_notifications(1h).on(client_).beginning_with(2));
  const shared_bytes first = made_of('1');
  const shared_bytes second = made_of('2');
  run([&](tcp_stream& stream) -> task<> {
    co_await stream.write_all(first);
    co_await stream.write_all(second);
    co_await stream.close();  // does not wait for it
    co_await sleep_for(1s);
    EXPECT_EQ(first.owner_count(), 1U);
    EXPECT_EQ(second.owner_count(), 2U);
    co_await sleep_for(1h);
    EXPECT_EQ(second.owner_count(), 1U);
  });
}

TEST_F(sim_shared_send, is_copied_on_one_host_and_not_between_two) {
  const shared_bytes bytes = made_of('a');
  run([&](tcp_stream& stream) -> task<> {
    co_await stream.write_all(bytes);
    co_await sleep_for(1s);
    EXPECT_FALSE(stream.state().lending_copies);
    auto listener = tcp_listener::bind(at("127.0.0.1:81"));
    auto near_end = co_await tcp_stream::connect(at("127.0.0.1:81"));
    const auto far_end = co_await listener.accept();
    co_await near_end.write_all(bytes);
    co_await sleep_for(1s);
    EXPECT_TRUE(near_end.state().lending_copies);
  });
}

TEST_F(sim_shared_send, is_sent_ordinarily_through_a_unix_stream) {
  const shared_bytes bytes = made_of('u');
  world_.run(client_.run([&]() -> task<> {
    auto [left, right] = unix_stream::pair();
    co_await left.write_all(bytes);
    EXPECT_TRUE(left.state().cannot_lend);
    std::string came(bytes.size(), ' ');
    const bool whole = co_await right.read_exactly(mutable_buffer(came));
    EXPECT_TRUE(whole);
    EXPECT_EQ(came, bytes.text());
  }));
}

TEST_F(sim_shared_send, is_let_go_when_the_host_crashes) {
  const auto far = world_.inject(sim::latency(1s));
  const shared_bytes bytes = made_of('a');
  client_.run([&]() -> task<> {
    auto stream = co_await tcp_stream::connect(at("10.0.0.1:80"));
    co_await stream.write_all(bytes);
    co_await sleep_for(1h);
  });
  world_.run_until([&] { return bytes.owner_count() == 2; });
  world_.run_for(100ms);
  client_.crash();
  world_.run_for(1s);
  EXPECT_EQ(bytes.owner_count(), 1U);
}

TEST_F(sim_shared_send, shows_who_changes_the_bytes_before_they_are_acknowledged) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  const auto far = world_.inject(sim::latency(100ms));
  const shared_bytes bytes = made_of('a');
  const auto change = [&] {
    run([&](tcp_stream& stream) -> task<> {
      co_await stream.write_all(bytes);
      const_cast<std::byte&>(*bytes.data()) = std::byte{'b'};
      co_await sleep_for(1s);
    });
  };
  EXPECT_DEATH(change(), "changed before their notification");
}

}  // namespace
}  // namespace rill
