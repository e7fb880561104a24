// Tests of socket options on the real kernel: of every socket and of TCP. See net/socket_options.h
// and tcp.h; those of UDP are in udp_options_test.cpp. Where an option needs a privilege, the test
// accepts the kernel's refusal and looks at its words.
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

#include <gtest/gtest.h>

#include "support.h"
#include "support/pair.h"
#include <rill/net/socket_options.h>
#include <rill/net/tcp.h>
#include <rill/net/udp.h>
#include <rill/net/unix.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/timeout.h>

namespace rill {
namespace {

using namespace std::chrono_literals;
using test::any_port;
using test::failure_of;
using test::run_loop;
using test::with_pair;

// ---------------------------------------------------------------- of every socket

TEST(socket_options, are_set_and_told_by_number) {
  with_pair([](tcp_stream& left, tcp_stream&) -> task<> {
    EXPECT_EQ(left.option(SOL_SOCKET, SO_TYPE), SOCK_STREAM);
    EXPECT_FALSE(left.option<bool>(SOL_SOCKET, SO_KEEPALIVE));
    left.set_option(SOL_SOCKET, SO_KEEPALIVE, true);
    EXPECT_TRUE(left.option<bool>(SOL_SOCKET, SO_KEEPALIVE));
    ::linger wait{};
    wait.l_onoff = 1;
    wait.l_linger = 7;
    left.set_option(SOL_SOCKET, SO_LINGER, wait);
    EXPECT_EQ(left.option<::linger>(SOL_SOCKET, SO_LINGER).l_linger, 7);
    left.set_option(IPPROTO_TCP, TCP_CONGESTION, "reno");
    EXPECT_EQ(left.text_option(IPPROTO_TCP, TCP_CONGESTION), "reno");
    co_return;
  });
}

TEST(socket_options, name_the_option_and_the_socket_when_they_are_refused) {
  with_pair([](tcp_stream& left, tcp_stream&) -> task<> {
    const std::string peer = left.peer().to_string();
    EXPECT_EQ(failure_of([&] { left.set_option(IPPROTO_TCP, 9999, 1); }),
              "set option 9999 of level 6 " + peer + ": Protocol not available");
    EXPECT_EQ(failure_of([&] { left.option(IPPROTO_TCP, 9999); }),
              "get option 9999 of level 6 " + peer + ": Protocol not available");
    EXPECT_EQ(failure_of([&] { left.set_congestion_control("no such thing"); }),
              "TCP_CONGESTION " + peer + ": No such file or directory");
    const udp_socket unbound = udp_socket::open(address_family::ipv4);
    EXPECT_EQ(failure_of([&] { unbound.option(IPPROTO_TCP, TCP_NODELAY); }),
              "get option 1 of level 6 descriptor " + std::to_string(unbound.descriptor()) +
                  ": Operation not supported");
    co_return;
  });
}

TEST(socket_options, include_buffer_sizes_of_every_kind_of_socket) {
  const auto check = [](socket_base& socket) {
    socket.set_send_buffer_size(20000);
    EXPECT_EQ(socket.send_buffer_size(), 40000);
    socket.set_receive_buffer_size(30000);
    EXPECT_EQ(socket.receive_buffer_size(), 60000);
  };
  with_pair([&](tcp_stream& left, tcp_stream&) -> task<> {
    check(left);
    udp_socket udp = udp_socket::bind(any_port);
    check(udp);
    unix_datagram datagrams = unix_datagram::open();
    check(datagrams);
    auto pair = unix_stream::pair();
    check(pair.first);
    co_return;
  });
}

TEST(socket_options, include_priority_and_type_of_service_of_both_families) {
  run_loop([]() -> task<> {
    for (const address_family family : {address_family::ipv4, address_family::ipv6}) {
      udp_socket socket = udp_socket::open(family);
      socket.set_type_of_service(0xb8);
      EXPECT_EQ(socket.type_of_service(), 0xb8);
      socket.set_priority(5);
      EXPECT_EQ(socket.priority(), 5);
    }
    const std::string name = "rill-options-" + std::to_string(::getpid());
    unix_datagram no_ip = unix_datagram::bind(*endpoint::unix_abstract(name));
    EXPECT_EQ(failure_of([&] { no_ip.set_type_of_service(8); }),
              "IP_TOS unix:@" + name + ": Operation not supported");
    co_return;
  });
}

TEST(socket_options, include_the_mark_where_it_is_allowed) {
  run_loop([]() -> task<> {
    udp_socket socket = udp_socket::bind(any_port);
    EXPECT_EQ(socket.mark(), 0U);
    const std::string said = failure_of([&] { socket.set_mark(0x80000001U); });
    if (said.empty()) {
      EXPECT_EQ(socket.mark(), 0x80000001U);
    } else {
      EXPECT_EQ(said, "SO_MARK " + socket.local().to_string() + ": Operation not permitted");
    }
    co_return;
  });
}

TEST(socket_options, tie_a_socket_to_an_interface) {
  run_loop([]() -> task<> {
    udp_socket socket = udp_socket::bind(any_port);
    EXPECT_EQ(socket.bound_device(), "");
    EXPECT_EQ(failure_of([&] { socket.bind_to_device("no-such-device"); }),
              "SO_BINDTODEVICE " + socket.local().to_string() + ": No such device");
    socket.bind_to_device("lo");
    EXPECT_EQ(socket.bound_device(), "lo");
    if (failure_of([&] { socket.bind_to_device(""); }).empty()) {
      EXPECT_EQ(socket.bound_device(), "");
    }
    co_return;
  });
}

TEST(socket_options, tell_a_pending_error_once) {
  run_loop([]() -> task<> {
    endpoint nobody;
    {
      udp_socket gone = udp_socket::bind(any_port);
      nobody = gone.local();
      co_await gone.close();
    }
    udp_socket client = udp_socket::open(address_family::ipv4);
    co_await client.connect(nobody);
    EXPECT_FALSE(client.pending_error());
    co_await client.send("anyone?");
    std::error_code told;
    while (!told) {  // until the refusal has come back
      told = client.pending_error();
      co_await yield();
    }
    EXPECT_EQ(told, std::errc::connection_refused);
    EXPECT_FALSE(client.pending_error());
  });
}

// ---------------------------------------------------------------- names in errors

TEST(socket_errors, name_the_peer_of_a_connected_udp_socket) {
  run_loop([]() -> task<> {
    endpoint nobody;
    {
      udp_socket gone = udp_socket::bind(any_port);
      nobody = gone.local();
      co_await gone.close();
    }
    udp_socket client = udp_socket::open(address_family::ipv4);
    co_await client.connect(nobody);
    co_await client.send("anyone?");
    std::string said;
    try {
      char buffer[8];
      co_await client.recv(buffer);
    } catch (const io_error& failure) {
      said = failure.what();
    }
    EXPECT_EQ(said, "recv " + nobody.to_string() + ": Connection refused");
    try {
      co_await client.send(std::string(100000, 'x'));
    } catch (const io_error& failure) {
      said = failure.what();
    }
    EXPECT_EQ(said, "send " + nobody.to_string() + ": Message too long");
  });
}

TEST(socket_errors, name_the_path_at_both_ends_of_a_unix_stream) {
  run_loop([]() -> task<> {
    const std::string name = "rill-names-" + std::to_string(::getpid());
    unix_listener listener = unix_listener::bind(*endpoint::unix_abstract(name));
    const auto write_to_nobody = [](unix_stream& from) -> task<std::string> {
      try {
        co_await from.write_all("x");
      } catch (const io_error& failure) {
        co_return failure.what();
      }
      co_return "written";
    };
    for (const bool client_stays : {true, false}) {
      unix_stream client = co_await unix_stream::connect(listener.local());
      unix_stream server = co_await listener.accept();
      unix_stream& gone = client_stays ? server : client;
      unix_stream& left = client_stays ? client : server;
      co_await gone.close();
      const std::string said = co_await write_to_nobody(left);
      EXPECT_EQ(said, "write unix:@" + name + ": Broken pipe");
    }
    auto pair = unix_stream::pair();  // without any name
    co_await pair.first.close();
    const std::string said = co_await write_to_nobody(pair.second);
    EXPECT_EQ(said,
              "write descriptor " + std::to_string(pair.second.descriptor()) + ": Broken pipe");
  });
}

// ---------------------------------------------------------------- TCP streams

TEST(tcp_options, tell_what_was_set) {
  with_pair([](tcp_stream& left, tcp_stream&) -> task<> {
    EXPECT_EQ(left.keep_alive(), std::nullopt);
    keep_alive_options probes;
    probes.idle = 30s;
    probes.interval = 5s;
    probes.probe_count = 3;
    left.set_keep_alive(probes);
    const std::optional<keep_alive_options> set = left.keep_alive();
    EXPECT_TRUE(set && set->idle == 30s && set->interval == 5s && set->probe_count == 3);
    left.clear_keep_alive();
    EXPECT_FALSE(left.keep_alive().has_value());

    EXPECT_FALSE(left.linger().has_value());
    left.set_linger(3s);
    EXPECT_EQ(left.linger(), 3s);
    left.set_linger(std::nullopt);
    EXPECT_FALSE(left.linger().has_value());

    EXPECT_EQ(left.user_timeout(), 0ms);
    left.set_user_timeout(1500ms);
    EXPECT_EQ(left.user_timeout(), 1500ms);
    left.set_quick_ack(false);
    EXPECT_FALSE(left.quick_ack());
    left.set_quick_ack(true);
    EXPECT_TRUE(left.quick_ack());
    left.set_not_sent_low_water(16384);
    EXPECT_EQ(left.not_sent_low_water(), 16384U);
    left.set_congestion_control("reno");
    EXPECT_EQ(left.congestion_control(), "reno");
    EXPECT_GT(left.segment_size_max(), 500);
    left.set_segment_size_max(1000);
    EXPECT_EQ(left.receive_low_water(), 1);
    co_return;
  });
}

TEST(tcp_options, hold_small_writes_back_while_corked) {
  with_pair([](tcp_stream& left, tcp_stream& right) -> task<> {
    left.set_cork(true);
    EXPECT_TRUE(left.cork());
    const auto begin = std::chrono::steady_clock::now();
    co_await left.write_all("head");
    const tcp_info info = left.info();
    if (std::chrono::steady_clock::now() - begin < 100ms) {  // later the kernel sends it itself
      EXPECT_EQ(info.sent_size, 0U);
    }
    left.set_cork(false);
    EXPECT_FALSE(left.cork());
    char buffer[16] = {};
    const std::size_t size = co_await with_timeout(5s, right.read(buffer));
    EXPECT_EQ(std::string(buffer, size), "head");
  });
}

TEST(tcp_options, let_a_reader_sleep_until_enough_has_come) {
  with_pair([](tcp_stream& left, tcp_stream& right) -> task<> {
    right.set_receive_low_water(10);
    EXPECT_EQ(right.receive_low_water(), 10);
    std::string came;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        char buffer[64] = {};
        const std::size_t size = co_await right.read(buffer);
        came.assign(buffer, size);
      });
      co_await test::settle();  // the read waits in the kernel
      co_await left.write_all("1234");
      co_await test::settle();
      EXPECT_EQ(came, "");
      co_await left.write_all("567890");
    });
    EXPECT_EQ(came, "1234567890");
  });
}

TEST(tcp_info, counts_what_went_over_the_connection) {
  with_pair([](tcp_stream& left, tcp_stream& right) -> task<> {
    co_await left.write_all(std::string(5000, 'x'));
    std::string room(5000, '\0');
    const bool is_whole = co_await right.read_exactly(room);
    EXPECT_TRUE(is_whole);
    co_await right.write_all("answer");
    std::string answer(6, '\0');
    const bool is_answered = co_await left.read_exactly(answer);
    EXPECT_TRUE(is_answered);
    const tcp_info info = left.info();
    EXPECT_GE(info.sent_size, 5000U);
    EXPECT_EQ(info.acknowledged_size.value_or(0) / 10, 500U);  // the SYN may count as one
    EXPECT_EQ(info.received_size, 6U);
    EXPECT_EQ(info.unacknowledged_count, 0U);
    EXPECT_LT(info.retransmit_count, 100U);
    EXPECT_GT(info.round_trip_time, 0us);
    EXPECT_LT(info.round_trip_time, 10s);
    EXPECT_LT(info.round_trip_variance, 10s);  // 0 of so few samples may be right
    EXPECT_GT(info.retransmit_timeout, info.round_trip_time);
    EXPECT_GT(info.segment_size, 500U);
    EXPECT_GE(info.congestion_window, 2U);
  });
}

// ---------------------------------------------------------------- listeners

TEST(listen_options, give_every_connection_its_buffer_sizes) {
  listen_options options;
  options.send_buffer_size = 50000;
  options.receive_buffer_size = 60000;
  with_pair(options, [](tcp_stream&, tcp_stream& accepted) -> task<> {
    EXPECT_EQ(accepted.send_buffer_size(), 100000);
    EXPECT_EQ(accepted.receive_buffer_size(), 120000);
    co_return;
  });
}

TEST(listen_options, defer_a_connection_until_its_first_bytes) {
  run_loop([]() -> task<> {
    listen_options options;
    options.defer_accept = 30s;
    tcp_listener listener = tcp_listener::bind(any_port, options);
    tcp_stream silent = co_await tcp_stream::connect(listener.local());
    tcp_stream speaking = co_await tcp_stream::connect(listener.local());
    co_await speaking.write_all("hello");
    const tcp_stream first = co_await with_timeout(5s, listener.accept());
    EXPECT_EQ(first.peer(), speaking.local());  // although the other one came before it
    EXPECT_EQ(listener.unclaimed_count(), 0U);
    co_await silent.write_all("me too");
    const tcp_stream second = co_await with_timeout(5s, listener.accept());
    EXPECT_EQ(second.peer(), silent.local());
  });
}

TEST(listen_options, open_the_queue_of_fast_open) {
  run_loop([]() -> task<> {
    listen_options options;
    options.fast_open_queue = 16;
    tcp_listener listener = tcp_listener::bind(any_port, options);
    int queue = 0;
    socklen_t size = sizeof(queue);
    EXPECT_EQ(
        ::getsockopt(listener.descriptors().front(), IPPROTO_TCP, TCP_FASTOPEN, &queue, &size), 0);
    EXPECT_EQ(queue, 16);
    options.fast_open_queue = -1;
    EXPECT_EQ(failure_of([&] { tcp_listener::bind(any_port, options); }),
              "TCP_FASTOPEN 127.0.0.1:0: Invalid argument");
    co_return;
  });
}

TEST(listener_options, are_set_by_number_and_inherited) {
  run_loop([]() -> task<> {
    tcp_listener listener = co_await tcp_listener::bind("localhost", 0);
    EXPECT_EQ(listener.descriptors().size(), 2U);
    listener.set_option(SOL_SOCKET, SO_KEEPALIVE, true);
    listener.set_option(IPPROTO_TCP, TCP_CONGESTION, "reno");
    for (const endpoint& to : listener.locals()) {
      const tcp_stream client = co_await tcp_stream::connect(to);
      const tcp_stream accepted = co_await listener.accept();
      EXPECT_TRUE(accepted.keep_alive().has_value());
      EXPECT_EQ(accepted.congestion_control(), "reno");
    }
    EXPECT_EQ(
        failure_of([&] { listener.set_option(IPPROTO_TCP, 9999, 1); }),
        "set option 9999 of level 6 " + listener.local().to_string() + ": Protocol not available");
  });
}

TEST(listen_options, bind_to_addresses_that_the_machine_has_not) {
  run_loop([]() -> task<> {
    const endpoint foreign(address::v4(203, 0, 113, 1), 0);
    EXPECT_EQ(failure_of([&] { tcp_listener::bind(foreign); }),
              "bind 203.0.113.1:0: Cannot assign requested address");
    listen_options options;
    options.free_bind = true;
    const tcp_listener early = tcp_listener::bind(foreign, options);
    EXPECT_EQ(early.local().ip()->address(), foreign.ip()->address());
    const tcp_listener named = co_await tcp_listener::bind("203.0.113.1", 0, options);
    EXPECT_EQ(named.local().ip()->address(), foreign.ip()->address());
    const endpoint foreign_v6(*address::parse("2001:db8::1"), 0);
    const tcp_listener early_v6 = tcp_listener::bind(foreign_v6, options);
    EXPECT_EQ(early_v6.local().ip()->address(), foreign_v6.ip()->address());
    udp_options udp;
    udp.free_bind = true;
    const udp_socket datagrams = udp_socket::bind(foreign, udp);
    EXPECT_EQ(datagrams.local().ip()->address(), foreign.ip()->address());
    co_return;
  });
}

TEST(listen_options, make_a_transparent_proxy_where_it_is_allowed) {
  run_loop([]() -> task<> {
    listen_options options;
    options.transparent = true;
    for (const endpoint& to : {any_port, endpoint(address::loopback_v6(), 0)}) {
      tcp_listener made;
      const std::string said = failure_of([&] { made = tcp_listener::bind(to, options); });
      if (!said.empty()) {
        EXPECT_EQ(said, "IP_TRANSPARENT " + to.to_string() + ": Operation not permitted");
        continue;
      }
      const bool v6 = to.kind() == endpoint_kind::ipv6;
      int value = 0;
      socklen_t size = sizeof(value);
      ::getsockopt(made.descriptors().front(), v6 ? IPPROTO_IPV6 : IPPROTO_IP,
                   v6 ? IPV6_TRANSPARENT : IP_TRANSPARENT, &value, &size);
      EXPECT_EQ(value, 1) << to;
    }
    co_return;
  });
}

// ---------------------------------------------------------------- before a connection

TEST(connection_options, are_set_before_the_first_packet) {
  for (const address& ip : {address::v4(127, 0, 0, 1), address::loopback_v6()}) {
    run_loop([&]() -> task<> {
      tcp_listener listener = tcp_listener::bind(endpoint(ip, 0));
      connection_options options;
      options.local = endpoint(ip, 0);
      options.device = "lo";
      options.type_of_service = 0x28;
      options.send_buffer_size = 50000;
      options.receive_buffer_size = 60000;
      options.segment_size_max = 1000;
      options.syn_retry_count = 3;
      const tcp_stream made = co_await tcp_stream::connect(listener.local(), options);
      const tcp_stream accepted = co_await listener.accept();
      EXPECT_EQ(accepted.peer(), made.local());
      EXPECT_EQ(made.bound_device(), "lo");
      EXPECT_EQ(made.type_of_service(), 0x28);
      EXPECT_EQ(made.send_buffer_size(), 100000);
      EXPECT_EQ(made.receive_buffer_size(), 120000);
      EXPECT_EQ(made.option(IPPROTO_TCP, TCP_SYNCNT), 3);
      EXPECT_TRUE(made.no_delay());
      // The SYN told it: the peer's segments keep to it.
      EXPECT_LE(accepted.info().segment_size, 1000U);
      EXPECT_GT(accepted.info().segment_size, 900U);
    });
  }
}

TEST(connection_options, set_whatever_else_by_a_function) {
  run_loop([]() -> task<> {
    tcp_listener listener = tcp_listener::bind(any_port);
    connection_options options;
    options.prepare = [](tcp_stream& unconnected) {
      unconnected.set_congestion_control("reno");
      unconnected.set_option(SOL_SOCKET, SO_PRIORITY, 5);
      unconnected.set_option(IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1);
    };
    tcp_stream made = co_await tcp_stream::connect(listener.local(), options);
    EXPECT_EQ(made.congestion_control(), "reno");
    EXPECT_EQ(made.option(SOL_SOCKET, SO_PRIORITY), 5);
    co_await made.write_all("with or after the SYN");
    tcp_stream accepted = co_await listener.accept();
    std::string came(21, '\0');
    const bool is_whole = co_await accepted.read_exactly(came);
    EXPECT_TRUE(is_whole);
    EXPECT_EQ(came, "with or after the SYN");
    options.prepare = [](tcp_stream&) { throw std::runtime_error("not like this"); };
    std::string words;
    try {
      const tcp_stream never = co_await tcp_stream::connect(listener.local(), options);
    } catch (const std::runtime_error& refused) {
      words = refused.what();
    }
    EXPECT_EQ(words, "not like this");
  });
}

TEST(connection_options, name_what_was_refused) {
  run_loop([]() -> task<> {
    tcp_listener listener = tcp_listener::bind(any_port);
    const std::string to = listener.local().to_string();
    const auto said = [&](connection_options options) -> task<std::string> {
      try {
        const tcp_stream made = co_await tcp_stream::connect(listener.local(), options);
        co_return made.mark() == options.mark ? "connected" : "connected without it";
      } catch (const io_error& failure) {
        co_return failure.what();
      }
    };
    connection_options options;
    options.device = "no-such-device";
    std::string words = co_await said(options);
    EXPECT_EQ(words, "SO_BINDTODEVICE " + to + ": No such device");
    options = {};
    options.syn_retry_count = 1000;
    words = co_await said(options);
    EXPECT_EQ(words, "TCP_SYNCNT " + to + ": Invalid argument");
    options = {};
    options.mark = 7;
    words = co_await said(options);
    if (words != "connected") {
      EXPECT_EQ(words, "SO_MARK " + to + ": Operation not permitted");
    }
  });
}

TEST(connection_options, let_a_transparent_proxy_speak_for_its_client) {
  run_loop([]() -> task<> {
    tcp_listener listener = tcp_listener::bind(any_port);
    connection_options options;
    options.transparent = true;
    options.local = endpoint(address::v4(203, 0, 113, 1), 0);
    std::string said;
    try {
      // No way leads back to that address from here.
      co_await with_timeout(20ms, tcp_stream::connect(listener.local(), options));
    } catch (const io_error& failure) {
      said = failure.what();
    }
    if (said != "IP_TRANSPARENT " + listener.local().to_string() + ": Operation not permitted") {
      EXPECT_TRUE(said.ends_with("timed out")) << said;
    }
  });
}

// ---------------------------------------------------------------- closing

TEST(tcp_options, let_a_close_that_lingers_keep_nobody_else_waiting) {
  ::linger value{};
  value.l_onoff = 1;
  value.l_linger = 3;
  for (const char* const way : {"by name", "by number", "of the listener", "of an adopted one"}) {
    const std::string set(way);
    run_loop([&]() -> task<> {
      tcp_listener listener = tcp_listener::bind(any_port);
      if (set == "of the listener") listener.set_option(SOL_SOCKET, SO_LINGER, value);
      tcp_stream right = co_await tcp_stream::connect(listener.local());
      tcp_stream left = co_await listener.accept();
      if (set == "by name") left.set_linger(3s);
      if (set == "by number") left.set_option(SOL_SOCKET, SO_LINGER, value);
      if (set == "of an adopted one") {
        left.set_linger(3s);
        left = tcp_stream::adopt(left.release());
      }
      EXPECT_EQ(left.linger(), 3s) << set;
      const std::string bytes(100'000, 'x');
      while (true) {  // until nothing more fits
        const auto sent = co_await as_result(with_timeout(20ms, left.write(bytes)));
        if (!sent) break;
      }
      const auto begin = std::chrono::steady_clock::now();
      left = tcp_stream();
      co_await test::settle(10);
      EXPECT_LT(std::chrono::steady_clock::now() - begin, 2s) << set;
      right = tcp_stream();  // with unread bytes: a reset, which ends the lingering
    });
  }
}

// ---------------------------------------------------------------- addresses of another kind

TEST(endpoints, of_another_kind_are_refused_by_name) {
  run_loop([]() -> task<> {
    const endpoint nothing;
    const endpoint name = *endpoint::unix_abstract("rill-options-test");
    const std::string why = ": Address family not supported by protocol";
    for (const endpoint& to : {nothing, name}) {
      EXPECT_EQ(failure_of([&] { tcp_listener::bind(to); }), "bind " + to.to_string() + why);
      EXPECT_EQ(failure_of([&] { udp_socket::bind(to); }), "bind " + to.to_string() + why);
    }
    EXPECT_EQ(failure_of([&] { unix_listener::bind(any_port); }), "bind 127.0.0.1:0" + why);
    EXPECT_EQ(failure_of([&] { unix_datagram::bind(any_port); }), "bind 127.0.0.1:0" + why);
    const auto outcome = [](auto connecting) -> task<std::string> {
      try {
        co_await std::move(connecting);
      } catch (const io_error& failure) {
        co_return failure.what();
      }
      co_return "connected";
    };
    const unix_listener listener = unix_listener::bind(name);
    std::string said = co_await outcome(tcp_stream::connect(name));
    EXPECT_EQ(said, "connect " + name.to_string() + why);
    connection_options options;
    options.local = name;
    said = co_await outcome(tcp_stream::connect(any_port, options));
    EXPECT_EQ(said, "bind " + name.to_string() + why);
    said = co_await outcome(unix_stream::connect(any_port));
    EXPECT_EQ(said, "connect 127.0.0.1:0" + why);
  });
}

}  // namespace
}  // namespace rill
