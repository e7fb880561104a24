// Networks that fail: partitions, lost hosts, full queues, and what TCP and UDP make of them.
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include <gtest/gtest.h>

#include "sim/echo.h"
#include <rill/runtime/sim/world.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/timeout.h>

namespace rill {
namespace {

using namespace std::chrono_literals;
using test::at;

/// Server and client on two hosts.
class sim_fault : public testing::Test {
 protected:
  void make(std::uint64_t seed, const sim::world_options& options = sim::world_options()) {
    world_.emplace(seed, options);
    server_ = &world_->add_host("server", "10.0.0.1");
    client_ = &world_->add_host("client", "10.0.0.2");
    server_->run(test::tcp_echo_service, std::string("0.0.0.0:8888"));
  }
  sim::world& world() { return *world_; }

  std::optional<sim::world> world_;
  sim::host* server_ = nullptr;
  sim::host* client_ = nullptr;
};

TEST_F(sim_fault, a_connection_survives_a_partition_that_heals) {
  make(1);
  auto& talk = client_->run(test::tcp_echo_client, std::string("10.0.0.1:8888"),
                            std::string(50'000, 'x'), 20);
  world().run_for(5ms);
  EXPECT_FALSE(talk.has_ended());
  {
    const sim::fault_guard cut = world().partition(*server_, *client_);
    world().run_for(30s);
    EXPECT_FALSE(talk.has_ended());
  }
  world().run(talk);
  EXPECT_GT(world().now(), 30s);
}

TEST_F(sim_fault, connecting_into_a_partition_times_out_after_127_seconds) {
  make(2);
  const sim::fault_guard cut = world().partition(*server_, *client_);
  auto& talk = client_->run([]() -> task<> {
    const auto before = loop_clock::now();
    try {
      co_await tcp_stream::connect(at("10.0.0.1:8888"));
      ADD_FAILURE() << "connected";
    } catch (const io_error& error) {
      EXPECT_EQ(error.code(), std::errc::timed_out);
    }
    EXPECT_EQ((loop_clock::now() - before) / 1s, 127);
  });
  world().run(talk);
}

TEST_F(sim_fault, bytes_that_are_never_acknowledged_end_in_a_time_out) {
  make(3);
  std::optional<sim::fault_guard> cut;
  auto& talk = client_->run([&]() -> task<> {
    auto stream = co_await tcp_stream::connect(at("10.0.0.1:8888"));
    cut.emplace(world().partition(*server_, *client_));
    co_await stream.write_all(const_buffer("x"));
    const auto got = co_await as_result(stream.read_lease());
    EXPECT_FALSE(got.has_value());
    EXPECT_EQ(got.error(), std::errc::timed_out);
    EXPECT_FALSE(got.error().is_timeout());
  });
  world().run(talk);
  EXPECT_GT(world().now(), 900s);  // tcp_retries2: about 924 s
  EXPECT_LT(world().now(), 950s);
}

TEST_F(sim_fault, keep_alive_finds_a_lost_peer) {
  make(4);
  std::optional<sim::fault_guard> cut;
  auto& talk = client_->run([&]() -> task<> {
    auto stream = co_await tcp_stream::connect(at("10.0.0.1:8888"));
    keep_alive_options often;
    often.idle = 10s;
    often.interval = 5s;
    often.probe_count = 3;
    stream.set_keep_alive(often);
    co_await sleep_for(60s);  // probes are answered
    cut.emplace(world().partition(*server_, *client_));
    const auto before = loop_clock::now();
    const auto got = co_await as_result(with_timeout(10min, stream.read_lease()));
    EXPECT_FALSE(got.has_value());
    EXPECT_EQ(got.error(), std::errc::timed_out);
    EXPECT_FALSE(got.error().is_timeout());
    EXPECT_LE(loop_clock::now() - before, 30s);
  });
  world().run(talk);
}

keep_alive_options often() {
  keep_alive_options chosen;
  chosen.idle = 10s;
  chosen.interval = 5s;
  chosen.probe_count = 3;
  return chosen;
}

TEST_F(sim_fault, keep_alive_finds_a_peer_that_crashed_before_any_packet_was_lost) {
  make(14);
  auto& talk = client_->run([]() -> task<> {
    auto stream = co_await tcp_stream::connect(at("10.0.0.1:8888"));
    stream.set_keep_alive(often());
    const auto got = co_await as_result(stream.read_lease());
    EXPECT_TRUE(!got && got.error() == std::errc::timed_out);
  });
  world().run_for(2s);
  server_->crash();
  world().run(talk);
  EXPECT_LT(world().now(), 40s);
}

TEST_F(sim_fault, keep_alive_leaves_bytes_in_flight_to_the_retransmissions) {
  make(15);
  std::optional<sim::fault_guard> cut;
  auto& talk = client_->run([&]() -> task<> {
    auto stream = co_await tcp_stream::connect(at("10.0.0.1:8888"));
    stream.set_keep_alive(often());
    cut.emplace(world().partition(*server_, *client_));
    co_await stream.write_all(const_buffer("x"));
    const auto got = co_await as_result(stream.read_lease());
    EXPECT_TRUE(!got && got.error() == std::errc::timed_out);
  });
  world().run(talk);
  EXPECT_GT(world().now(), 900s);  // tcp_keepalive_timer(): not while packets are out
  EXPECT_LT(world().now(), 950s);
}

/// Writes more than fits to a server that reads nothing. Gives how it ended.
task<> fill(std::optional<std::error_code>& ended, std::chrono::milliseconds user_timeout,
            bool keeps_alive) {
  auto stream = co_await tcp_stream::connect(at("10.0.0.1:7777"));
  if (user_timeout != 0ms) stream.set_user_timeout(user_timeout);
  if (keeps_alive) stream.set_keep_alive(often());
  const std::string much(100'000, 'x');
  const auto sent = co_await as_result(stream.write_all(const_buffer(much)));
  ended = sent ? std::error_code() : sent.error().code();
}

task<> accept_and_sleep() {
  auto listener = tcp_listener::bind(at("0.0.0.0:7777"));
  auto peer = co_await listener.accept();
  co_await sleep_for(1000h);
}

TEST_F(sim_fault, a_shut_window_for_which_nobody_answers_any_more_ends_in_a_time_out) {
  struct {
    std::chrono::milliseconds user_timeout;
    std::chrono::seconds least;
    std::chrono::seconds most;
  } const cases[] = {{0ms, 900s, 1300s}, {60s, 60s, 120s}};
  for (const auto& [user_timeout, least, most] : cases) {
    sim::world_options options;
    options.send_buffer_size = 8192;
    options.receive_buffer_size = 8192;
    make(16, options);
    server_->run(accept_and_sleep);
    std::optional<std::error_code> ended;
    auto& talk = client_->run(fill, std::ref(ended), user_timeout, false);
    world().run_for(1s);
    server_->crash();
    world().run(talk);
    EXPECT_TRUE(ended && *ended == std::errc::timed_out);
    EXPECT_GT(world().now(), least);
    EXPECT_LT(world().now(), most);
  }
}

TEST_F(sim_fault, a_shut_window_is_asked_about_for_ever_as_long_as_there_are_answers) {
  sim::world_options options;
  options.send_buffer_size = 8192;
  options.receive_buffer_size = 8192;
  make(17, options);
  server_->run(accept_and_sleep);
  std::optional<std::error_code> ended;
  client_->run(fill, std::ref(ended), 0ms, true);
  world().run_for(24h);
  EXPECT_FALSE(ended.has_value());
}

TEST_F(sim_fault, options_that_are_set_do_not_put_off_what_asks_about_a_shut_window) {
  sim::world_options options;
  options.send_buffer_size = 8192;
  options.receive_buffer_size = 8192;
  make(18, options);
  std::optional<sim::fault_guard> cut;
  std::size_t received = 0;
  server_->run([&]() -> task<> {
    auto listener = tcp_listener::bind(at("0.0.0.0:7777"));
    auto peer = co_await listener.accept();
    std::vector<std::byte> buffer(65536);
    co_await sleep_for(1s);  // the window is shut
    cut.emplace(world().partition(*server_, *client_));
    while (received < 8192) received += co_await peer.read(mutable_buffer(buffer));
    cut.reset();  // the packet that tells of the room is lost
    while (const std::size_t size = co_await peer.read(mutable_buffer(buffer))) received += size;
  });
  auto& talk = client_->run([]() -> task<> {
    auto stream = co_await tcp_stream::connect(at("10.0.0.1:7777"));
    keep_alive_options rarely;
    rarely.idle = 1h;
    stream.set_keep_alive(rarely);
    const std::string much(100'000, 'x');
    co_await with_nursery([&](nursery& both) -> task<> {
      both.start([&]() -> task<> { co_await stream.write_all(const_buffer(much)); });
      co_await sleep_for(500ms);
      stream.set_no_delay(false);
    });
  });
  world().run(talk);
  EXPECT_LT(world().now(), 1min);
}

TEST_F(sim_fault, a_window_that_opens_in_a_partition_is_found_open_afterwards) {
  sim::world_options options;
  options.send_buffer_size = 8192;
  options.receive_buffer_size = 8192;
  make(5, options);
  std::optional<sim::fault_guard> cut;
  std::size_t received = 0;
  server_->run([&]() -> task<> {
    auto listener = tcp_listener::bind(at("0.0.0.0:7777"));
    auto peer = co_await listener.accept();
    std::vector<std::byte> buffer(65536);
    co_await sleep_for(1s);  // the window is shut
    cut.emplace(world().partition(*server_, *client_));
    while (received < 8192) received += co_await peer.read(mutable_buffer(buffer));
    co_await sleep_for(60s);
    cut.reset();
    while (const std::size_t size = co_await peer.read(mutable_buffer(buffer))) received += size;
  });
  auto& talk = client_->run([]() -> task<> {
    auto stream = co_await tcp_stream::connect(at("10.0.0.1:7777"));
    const std::string much(100'000, 'x');
    co_await stream.write_all(const_buffer(much));
  });
  world().run(talk);
  world().run_until([&] { return received == 100'000; });
}

TEST_F(sim_fault, two_that_wait_for_each_others_window_wait_for_ever) {
  make(13);
  const auto write_only = [](std::string where) -> task<> {
    auto stream = co_await tcp_stream::connect(at(where));
    const std::string much(2'000'000, 'x');
    co_await stream.write_all(const_buffer(much));  // the echo is not read
  };
  const sim::fault_guard slow = world().inject(sim::bandwidth(1'000'000));
  auto& stuck = client_->run(write_only, std::string("10.0.0.1:8888"));
  world().run_for(1h);
  EXPECT_FALSE(stuck.has_ended());
}

TEST_F(sim_fault, an_address_without_a_host_is_unreachable) {
  make(6);
  auto& talk = client_->run([]() -> task<> {
    try {
      co_await tcp_stream::connect(at("10.0.0.77:1"));
      ADD_FAILURE() << "connected";
    } catch (const io_error& error) {
      EXPECT_EQ(error.code(), std::errc::host_unreachable);
    }
    try {
      co_await tcp_stream::connect(at("[fd00::77]:1"));
      ADD_FAILURE() << "connected";
    } catch (const io_error& error) {
      EXPECT_EQ(error.code(), std::errc::network_unreachable);
    }
  });
  world().run(talk);
}

TEST_F(sim_fault, a_full_accept_queue_makes_clients_wait) {
  make(7);
  server_->run([]() -> task<> {
    listen_options options;
    options.backlog = 2;
    auto listener = tcp_listener::bind(at("0.0.0.0:7777"), options);
    co_await sleep_for(10s);
    std::vector<tcp_stream> all;
    for (int i = 0; i < 10; ++i) all.push_back(co_await listener.accept());
    for (tcp_stream& each : all) co_await each.write_all(const_buffer("welcome"));
  });
  int connected = 0;
  auto& talk = client_->run([&]() -> task<> {
    co_await with_nursery([&](nursery& all) -> task<> {
      for (int i = 0; i < 10; ++i) {
        all.start([&]() -> task<> {
          auto stream = co_await tcp_stream::connect(at("10.0.0.1:7777"));
          ++connected;
          char buffer[7];
          EXPECT_TRUE(co_await stream.read_exactly(mutable_buffer(buffer)));
        });
      }
      co_return;
    });
  });
  world().run_for(9s);
  // One more than the backlog fits into the queue, and as many are half-way.
  EXPECT_GE(connected, 3);
  EXPECT_LE(connected, 6);
  world().run(talk);
  EXPECT_EQ(connected, 10);
  EXPECT_GT(world().now(), 10s);
}

TEST_F(sim_fault, a_closed_udp_port_refuses_a_connected_socket) {
  make(8);
  auto& talk = client_->run([]() -> task<> {
    auto socket = udp_socket::open(address_family::ipv4);
    co_await socket.connect(at("10.0.0.1:9"));
    co_await socket.send(const_buffer("x"));
    char buffer[10];
    const auto got = co_await as_result(socket.recv_from(mutable_buffer(buffer)));
    EXPECT_FALSE(got.has_value());
    EXPECT_EQ(got.error(), std::errc::connection_refused);
  });
  world().run(talk);
}

TEST_F(sim_fault, whoever_closes_first_keeps_the_port_for_a_minute) {
  make(9);
  std::uint16_t port = 0;
  world().run(client_->run([&]() -> task<> {
    auto stream = co_await tcp_stream::connect(at("10.0.0.1:8888"));
    port = stream.local().port();
  }));
  const auto bind = [&]() -> task<> {
    loop& on = loop::current();
    const endpoint wanted = at("10.0.0.2:" + std::to_string(port));
    const int descriptor = detail::open_socket(on, wanted, 1);
    const auto native = wanted.native();
    const int status =
        on.kernel().bind(descriptor, native.data(), static_cast<unsigned>(native.size()));
    EXPECT_EQ(status, world().now() < 60s ? -EADDRINUSE : 0);
    on.kernel().close(descriptor);
    co_return;
  };
  world().run_for(1s);
  world().run(client_->run(bind));
  world().run_for(60s);
  world().run(client_->run(bind));
}

TEST_F(sim_fault, a_port_in_time_wait_is_not_taken_by_another_connection) {
  make(12);
  std::vector<std::uint16_t> ports;
  for (int i = 0; i < 50; ++i) {
    world().run(client_->run([&]() -> task<> {
      auto stream = co_await tcp_stream::connect(at("10.0.0.1:8888"));
      ports.push_back(stream.local().port());
    }));
  }
  std::sort(ports.begin(), ports.end());
  EXPECT_EQ(std::unique(ports.begin(), ports.end()), ports.end());
}

TEST_F(sim_fault, a_guard_may_outlive_its_world) {
  make(10);
  sim::fault_guard cut = world().partition(*server_, *client_);
  world_.reset();
}

TEST_F(sim_fault, a_world_can_be_destroyed_in_a_partition) {
  make(11);
  client_->run(test::tcp_echo_client, std::string("10.0.0.1:8888"), std::string(100'000, 'x'), 100);
  world().run_for(5ms);
  const sim::fault_guard cut = world().partition(*server_, *client_);
  world().run_for(5s);
}

TEST_F(sim_fault, echo_is_exact_or_fails_under_partitions_at_random_times) {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    make(seed);
    auto& talk = client_->run(test::tcp_echo_client, std::string("10.0.0.1:8888"),
                              std::string(3000, 'x'), 50);
    for (int i = 0; i < 5 && !talk.has_ended(); ++i) {
      world().run_for(std::chrono::microseconds(500 + 37 * seed));
      const sim::fault_guard cut = world().partition(*server_, *client_);
      world().run_for(std::chrono::milliseconds(1 + 13 * seed));
    }
    world().run(talk);
  }
}

}  // namespace
}  // namespace rill
