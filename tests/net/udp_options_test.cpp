// Tests of the options of UDP sockets on the real kernel: packet info, multicast, drops. See
// net/udp.h; sending and receiving are in udp_test.cpp.
#include <netinet/in.h>
#include <sys/socket.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <system_error>
#include <vector>

#include <gtest/gtest.h>

#include "support.h"
#include "support/pair.h"
#include <rill/net/udp.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/timeout.h>

namespace rill {
namespace {

using namespace std::chrono_literals;
using test::any_port;
using test::failure_of;
using test::run_loop;

TEST(udp_packet_info, lets_a_wildcard_server_answer_from_the_address_that_was_asked) {
  run_loop([]() -> task<> {
    udp_socket server = udp_socket::bind(endpoint(address::any_v4(), 0));
    server.set_packet_info(true);
    const std::uint16_t port = server.local().port();
    const address third = address::v4(127, 0, 0, 3);
    for (const address& asked : {address::v4(127, 0, 0, 1), address::v4(127, 0, 0, 2), third}) {
      udp_socket client = udp_socket::open(address_family::ipv4);
      // Connected: an answer from another address would never reach it.
      co_await client.connect(endpoint(asked, port));
      co_await client.send("question");
      if (asked == third) {  // into memory of our own, while the kernel goes on receiving
        char buffer[16];
        const datagram_info question = co_await server.recv_from(buffer);
        EXPECT_EQ(question.local(), asked);
        co_await server.send_to("answer", question.peer(), question.local());
      } else {
        const datagram question = co_await server.receive();
        EXPECT_EQ(question.local(), asked);
        co_await server.send_to("answer", question.peer(), question.local());
      }
      const datagram answer = co_await with_timeout(5s, client.receive());
      EXPECT_EQ(answer.text(), "answer");
      EXPECT_EQ(answer.peer(), endpoint(asked, port));
    }
  });
}

TEST(udp_packet_info, is_told_by_a_single_receive_and_over_ipv6) {
  run_loop([]() -> task<> {
    udp_socket server = udp_socket::bind(endpoint(address::any_v6(), 0));
    server.set_packet_info(true);
    udp_socket client = udp_socket::open(address_family::ipv6);
    const endpoint to(address::loopback_v6(), server.local().port());
    co_await client.send_to("question", to);
    char buffer[16];
    const datagram_info question = co_await server.recv_from(buffer);
    EXPECT_EQ(question.local(), address::loopback_v6());
    co_await server.send_to("answer", question.peer(), question.local());
    const datagram answer = co_await with_timeout(5s, client.receive());
    EXPECT_EQ(answer.peer(), to);
  });
}

TEST(udp_packet_info, is_told_although_all_buffers_of_the_loop_are_lent) {
  loop_options options;
  options.buffers.large.buffer_max = 2;
  options.buffers.large.ring_size = 2;
  options.buffers.large.ring_initial = 2;
  loop on(make_kernel("auto"), options);
  on.run([]() -> task<> {
    udp_socket server = udp_socket::bind(endpoint(address::any_v4(), 0));
    server.set_packet_info(true);
    const endpoint to(address::v4(127, 0, 0, 9), server.local().port());
    udp_socket client = udp_socket::open(address_family::ipv4);
    std::vector<datagram> held;
    for (int i = 0; i < 5; ++i) {
      co_await client.send_to("question", to);
      held.push_back(co_await with_timeout(5s, server.receive()));
      EXPECT_EQ(held.back().local(), address::v4(127, 0, 0, 9)) << i;
    }
  }());
}

TEST(udp_packet_info, is_off_at_first_and_then_leaves_the_source_to_the_kernel) {
  run_loop([]() -> task<> {
    udp_socket server = udp_socket::bind(any_port);
    udp_socket client = udp_socket::bind(any_port);
    co_await client.send_to("question", server.local());
    const datagram question = co_await server.receive();
    EXPECT_TRUE(question.local().is_any());
    co_await server.send_to("answer", question.peer(), question.local());
    const datagram answer = co_await with_timeout(5s, client.receive());
    EXPECT_EQ(answer.peer(), server.local());
  });
}

TEST(udp_packet_info, refuses_a_source_that_the_machine_has_not) {
  run_loop([]() -> task<> {
    udp_socket server = udp_socket::bind(endpoint(address::any_v4(), 0));
    const endpoint to(address::loopback_v4(), server.local().port());
    const auto sent = co_await as_result(server.send_to("x", to, address::v4(203, 0, 113, 1)));
    EXPECT_FALSE(sent.has_value());
    if (!sent) {
      EXPECT_TRUE(sent.error() == std::errc::invalid_argument ||
                  sent.error() == std::errc::network_unreachable)
          << sent.error().message();
    }
  });
}

TEST(udp_multicast, reaches_a_group_on_a_chosen_interface) {
  run_loop([]() -> task<> {
    const std::uint32_t lo = system_interface_index("lo");
    const address group = address::v4(239, 255, 77, 1);
    udp_socket receiver = udp_socket::bind(endpoint(address::any_v4(), 0));
    receiver.join_group(group, lo);
    udp_socket sender = udp_socket::open(address_family::ipv4);
    sender.set_multicast_interface(lo);
    sender.set_multicast_time_to_live(0);  // not beyond this machine
    const endpoint to(group, receiver.local().port());
    co_await sender.send_to("to all", to);
    const datagram came = co_await with_timeout(5s, receiver.receive());
    EXPECT_EQ(came.text(), "to all");
    receiver.leave_group(group, lo);
    EXPECT_EQ(failure_of([&] { receiver.leave_group(group, lo); }),
              "leave group 239.255.77.1: Cannot assign requested address");
    EXPECT_EQ(failure_of([&] { receiver.join_group(group, 999999); }),
              "join group 239.255.77.1: No such device");
    co_return;
  });
}

TEST(udp_multicast, reaches_a_group_over_ipv6) {
  run_loop([]() -> task<> {
    const std::uint32_t lo = system_interface_index("lo");
    const address group = *address::parse("ff11::7777");
    udp_socket receiver = udp_socket::bind(endpoint(address::any_v6(), 0));
    receiver.set_packet_info(true);
    receiver.join_group(group, lo);
    udp_socket sender = udp_socket::open(address_family::ipv6);
    sender.set_multicast_interface(lo);
    const endpoint to(group, receiver.local().port());
    const auto sent = co_await as_result(sender.send_to("to all", to));
    if (!sent && sent.error() == std::errc::network_unreachable) co_return;  // no route to ff00::/8
    const datagram came = co_await with_timeout(5s, receiver.receive());
    EXPECT_EQ(came.text(), "to all");
    EXPECT_TRUE(came.local().is_multicast());
    co_await receiver.send_to("answer", came.peer(), came.local());
    const datagram answer = co_await with_timeout(5s, sender.receive());
    EXPECT_EQ(answer.text(), "answer");
  });
}

TEST(udp_multicast, has_its_own_hops_and_loop) {
  run_loop([]() -> task<> {
    for (const address_family family : {address_family::ipv4, address_family::ipv6}) {
      udp_socket socket = udp_socket::open(family);
      EXPECT_EQ(socket.multicast_time_to_live(), 1);
      socket.set_multicast_time_to_live(9);
      socket.set_time_to_live(33);
      EXPECT_EQ(socket.multicast_time_to_live(), 9);
      EXPECT_EQ(socket.time_to_live(), 33);
      EXPECT_TRUE(socket.multicast_loop());
      socket.set_multicast_loop(false);
      EXPECT_FALSE(socket.multicast_loop());
      socket.set_multicast_interface(system_interface_index("lo"));
    }
    co_return;
  });
}

TEST(udp_options, set_and_clear_what_the_kernel_then_tells) {
  run_loop([]() -> task<> {
    const auto option = [](const udp_socket& of, int level, int name) {
      int value = -1;
      socklen_t size = sizeof(value);
      EXPECT_EQ(::getsockopt(of.descriptor(), level, name, &value, &size), 0);
      return value;
    };
    udp_socket four = udp_socket::open(address_family::ipv4);
    udp_socket six = udp_socket::open(address_family::ipv6);
    for (const bool on : {true, false}) {
      four.set_broadcast(on);
      EXPECT_EQ(option(four, SOL_SOCKET, SO_BROADCAST), on ? 1 : 0);
      four.set_dont_fragment(on);
      EXPECT_EQ(option(four, IPPROTO_IP, IP_MTU_DISCOVER), on ? IP_PMTUDISC_DO : IP_PMTUDISC_WANT);
      six.set_dont_fragment(on);
      EXPECT_EQ(option(six, IPPROTO_IPV6, IPV6_MTU_DISCOVER),
                on ? IPV6_PMTUDISC_DO : IPV6_PMTUDISC_WANT);
    }
    co_return;
  });
}

TEST(udp_options, let_a_broadcast_leave_only_when_it_is_allowed) {
  run_loop([]() -> task<> {
    udp_socket socket = udp_socket::open(address_family::ipv4);
    const endpoint all(address::v4(127, 255, 255, 255), 9);
    const auto refused = co_await as_result(socket.send_to("x", all));
    EXPECT_EQ(refused.error(), std::errc::permission_denied);
    socket.set_broadcast(true);
    const auto sent = co_await as_result(socket.send_to("x", all));
    EXPECT_TRUE(sent.has_value());
  });
}

TEST(udp_options, let_several_receivers_of_a_group_share_a_port) {
  run_loop([]() -> task<> {
    udp_options options;
    options.reuse_address = true;
    const udp_socket first = udp_socket::bind(endpoint(address::any_v4(), 0), options);
    const udp_socket second = udp_socket::bind(first.local(), options);
    EXPECT_EQ(second.local(), first.local());
    co_return;
  });
}

TEST(udp_socket, counts_the_datagrams_it_had_no_room_for) {
  run_loop([]() -> task<> {
    udp_socket server = udp_socket::bind(any_port);
    server.set_receive_buffer_size(4096);
    udp_socket client = udp_socket::bind(any_port);
    EXPECT_EQ(server.dropped_count(), 0U);
    const std::string bytes(1000, 'x');
    for (int i = 0; i < 100; ++i) co_await client.send_to(bytes, server.local());
    std::uint32_t dropped_count = 0;
    while (dropped_count == 0) {  // until all have come, or most
      dropped_count = server.dropped_count();
      co_await yield();
    }
    EXPECT_LT(dropped_count, 100U);
  });
}

}  // namespace
}  // namespace rill
