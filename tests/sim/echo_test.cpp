// Echo under the simulator: the code of production on simulated hosts.
#include <chrono>
#include <numeric>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "sim/echo.h"
#include <rill/protocols/echo/datagrams.h>
#include <rill/runtime/sim/world.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/timeout.h>

namespace rill {
namespace {

using namespace std::chrono_literals;
using test::at;

TEST(sim_echo, tcp_returns_what_was_sent) {
  sim::world world(1);
  world.add_host("server", "10.0.0.1").run(test::tcp_echo_service, std::string("0.0.0.0:8888"));
  auto& client = world.add_host("client", "10.0.0.2");
  world.run(client.run(test::tcp_echo_client, std::string("10.0.0.1:8888"), std::string("hi"), 9));
}

TEST(sim_echo, ipv6_and_loopback_work_too) {
  sim::world world(2);
  auto& server = world.add_host("server", {"10.0.0.1", "fd00::1"});
  server.run(test::tcp_echo_service, std::string("[::]:8888"));
  server.run(test::tcp_echo_service, std::string("127.0.0.1:7777"));
  auto& client = world.add_host("client", "fd00::2");
  auto& far = client.run(test::tcp_echo_client, std::string("[fd00::1]:8888"), std::string("6"), 3);
  auto& near =
      server.run(test::tcp_echo_client, std::string("127.0.0.1:7777"), std::string("l"), 3);
  world.run(far);
  world.run(near);
  // Loopback belongs to each host: nobody listens on the client's.
  auto& lost = client.run(test::tcp_echo_client, std::string("[::1]:8888"), std::string("x"), 1);
  EXPECT_THROW(world.run(lost), io_error);
}

TEST(sim_echo, many_clients_are_served_at_once) {
  sim::world world(3);
  world.add_host("server", "10.0.0.1").run(test::tcp_echo_service, std::string("0.0.0.0:8888"));
  auto& client = world.add_host("client", "10.0.0.2");
  auto& all = client.run([]() -> task<> {
    co_await with_nursery([](nursery& clients) -> task<> {
      for (int i = 0; i < 500; ++i) {
        clients.start(test::tcp_echo_client, std::string("10.0.0.1:8888"), std::to_string(i), 10);
      }
      co_return;
    });
  });
  world.run(all);
}

/// Sends a megabyte and half-closes; reads its echo slowly at first.
task<> bulk(std::string where) {
  auto stream = co_await tcp_stream::connect(at(where));
  std::string sent(1U << 20, ' ');
  std::iota(sent.begin(), sent.end(), '\0');
  std::string received;
  co_await with_nursery([&](nursery& sides) -> task<> {
    sides.start([&]() -> task<> {
      co_await stream.write_all(const_buffer(sent));
      co_await stream.shutdown_write();
    });
    co_await sleep_for(1s);  // both directions are full by now
    while (auto bytes = co_await stream.read_lease()) received += bytes.text();
  });
  EXPECT_EQ(received, sent);
}

TEST(sim_echo, a_megabyte_passes_through_full_windows_and_a_half_close) {
  sim::world_options options;
  options.send_buffer_size = 16 * 1024;
  options.receive_buffer_size = 8 * 1024;
  sim::world world(4, options);
  world.add_host("server", "10.0.0.1").run(test::tcp_echo_service, std::string("0.0.0.0:8888"));
  world.run(world.add_host("client", "10.0.0.2").run(bulk, std::string("10.0.0.1:8888")));
}

task<> udp_client(std::string where, int times, int& answered) {
  auto socket = udp_socket::open(address_family::ipv4);
  co_await socket.connect(at(where));
  char buffer[2048];
  for (int i = 0; i < times; ++i) {
    const std::string text = "message " + std::to_string(i);
    co_await socket.send(const_buffer(text));
    for (;;) {
      auto got = co_await as_result(with_timeout(50ms, socket.recv_from(mutable_buffer(buffer))));
      if (!got) break;                                              // lost on one of the two ways
      if (std::string_view(buffer, got->size()) != text) continue;  // late, or twice
      ++answered;
      break;
    }
  }
}

TEST(sim_echo, udp_returns_what_was_sent) {
  int answered = 0;
  sim::world world(5);
  world.add_host("server", "10.0.0.1").run(test::udp_echo_service, std::string("0.0.0.0:9999"));
  auto& client = world.add_host("client", "10.0.0.2");
  world.run(client.run(udp_client, std::string("10.0.0.1:9999"), 100, std::ref(answered)));
  EXPECT_EQ(answered, 100);
}

TEST(sim_echo, a_wildcard_service_answers_from_the_address_that_was_asked) {
  sim::world world(5);
  sim::host& server = world.add_host("server", {"10.0.0.1", "10.0.0.3", "fd00::1", "fd00::3"});
  sim::host& client = world.add_host("client", {"10.0.0.2", "fd00::2"});
  for (const char* const where : {"0.0.0.0:7", "[::]:7"}) {
    server.run([where]() -> task<> {
      co_await echo::serve_datagrams(udp_socket::bind(at(where)), std::string());
    });
  }
  int answered = 0;
  client.run([&]() -> task<> {
    for (const char* const each : {"10.0.0.1:7", "10.0.0.3:7", "[fd00::1]:7", "[fd00::3]:7"}) {
      const endpoint asked = at(each);
      auto socket = udp_socket::open(asked.ip()->address().is_v4() ? address_family::ipv4
                                                                   : address_family::ipv6);
      co_await socket.connect(asked);  // takes answers from nowhere else
      co_await socket.send("hi");
      const datagram answer = co_await with_timeout(std::chrono::seconds(5), socket.receive());
      EXPECT_EQ(answer.text(), "hi");
      ++answered;
    }
    auto elsewhere = udp_socket::bind(at("10.0.0.2:9"));
    const auto sent = co_await as_result(
        elsewhere.send_to("from nowhere", at("10.0.0.1:7"), *address::parse("10.0.0.77")));
    EXPECT_TRUE(!sent && sent.error() == std::errc::invalid_argument);
  });
  world.run_for(std::chrono::minutes(1));
  EXPECT_EQ(answered, 4);
}

TEST(sim_echo, datagrams_are_lost_doubled_and_reordered_as_often_as_the_options_say) {
  int answered = 0;
  sim::world_options options;
  options.udp_loss = 0.2;
  options.udp_duplication = 0.1;
  options.udp_reordering = 0.1;
  sim::world world(6, options);
  world.add_host("server", "10.0.0.1").run(test::udp_echo_service, std::string("0.0.0.0:9999"));
  auto& client = world.add_host("client", "10.0.0.2");
  world.run(client.run(udp_client, std::string("10.0.0.1:9999"), 1000, std::ref(answered)));
  EXPECT_GT(answered, 550);  // both ways arrive with 0.64, a little more often with doubles
  EXPECT_LT(answered, 800);
}

}  // namespace
}  // namespace rill
