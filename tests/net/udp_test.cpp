// Tests of UDP and Unix datagram sockets on the real kernel. See net/datagram.h, udp.h, unix.h.
#include <rill/net/udp.h>

#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "support.h"
#include <rill/net/unix.h>
#include <rill/protocols/echo/datagrams.h>
#include <rill/runtime/event.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/sim/world.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/timeout.h>

namespace rill {
namespace {

using namespace std::chrono_literals;
using test::run_loop;

const endpoint any_port(address::loopback_v4(), 0);

TEST(udp, tells_who_sent_a_datagram_and_answers_it) {
  run_loop([]() -> task<> {
    udp_socket server = udp_socket::bind(any_port);
    udp_socket client = udp_socket::bind(any_port);
    EXPECT_EQ(co_await client.send_to("ping", server.local()), 4U);
    char buffer[64] = {};
    const datagram_info received = co_await server.recv_from(buffer);
    EXPECT_EQ(received.size(), 4U);
    EXPECT_EQ(received.peer(), client.local());
    EXPECT_FALSE(received.is_truncated());
    co_await server.sendto(std::string_view(buffer, received.size()), received.peer());
    const datagram answer = co_await client.receive();
    EXPECT_EQ(answer.text(), "ping");
    EXPECT_EQ(answer.peer(), server.local());
  });
}

TEST(udp, works_over_ipv6) {
  run_loop([]() -> task<> {
    udp_socket server = udp_socket::bind(endpoint(address::loopback_v6(), 0));
    udp_socket client = udp_socket::open(address_family::ipv6);
    co_await client.send_to("six", server.local());
    const datagram received = co_await server.receive();
    EXPECT_EQ(received.text(), "six");
    EXPECT_EQ(received.peer().kind(), endpoint_kind::ipv6);
  });
}

TEST(udp, carries_empty_and_largest_datagrams_both_ways_of_receiving) {
  run_loop([]() -> task<> {
    udp_socket server = udp_socket::bind(any_port);
    udp_socket client = udp_socket::bind(any_port);
    std::string largest(udp_socket::payload_size_max, 'u');
    largest.back() = '!';
    co_await client.send_to("", server.local());
    const datagram empty = co_await server.receive();
    EXPECT_EQ(empty.size(), 0U);
    EXPECT_EQ(empty.peer(), client.local());
    co_await client.send_to(largest, server.local());
    {
      const datagram received = co_await server.receive();
      EXPECT_EQ(received.text(), largest);
      EXPECT_FALSE(received.is_truncated());
    }
    // Now into our own memory, on a socket that never used the loop's buffers.
    co_await server.send_to("", client.local());
    std::vector<char> room(70000);
    const datagram_info nothing = co_await client.recv_from(room);
    EXPECT_EQ(nothing.size(), 0U);
    co_await server.send_to(largest, client.local());
    const datagram_info all = co_await client.recv_from(room);
    EXPECT_EQ(std::string_view(room.data(), all.size()), largest);
  });
}

TEST(udp, refuses_what_is_larger_than_a_datagram) {
  run_loop([]() -> task<> {
    udp_socket server = udp_socket::bind(any_port);
    udp_socket client = udp_socket::bind(any_port);
    const std::string too_large(udp_socket::payload_size_max + 1, 'x');
    const auto sent = co_await as_result(client.send_to(too_large, server.local()));
    EXPECT_FALSE(sent.has_value());
    if (!sent) {
      EXPECT_EQ(sent.error(), std::errc::message_size);
    }
  });
}

TEST(udp, tells_that_a_datagram_was_cut) {
  run_loop([]() -> task<> {
    udp_socket server = udp_socket::bind(any_port);
    udp_socket client = udp_socket::bind(any_port);
    co_await client.send_to("0123456789", server.local());
    char small[4] = {};
    const datagram_info received = co_await server.recv_from(small);
    EXPECT_EQ(received.size(), 4U);
    EXPECT_EQ(received.original_size(), 10U);
    EXPECT_TRUE(received.is_truncated());
  });
}

TEST(udp, reports_port_unreachable_once_on_a_connected_socket) {
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
    const auto refused = co_await as_result(client.receive());
    EXPECT_FALSE(refused.has_value());
    if (!refused) {
      EXPECT_EQ(refused.error(), std::errc::connection_refused);
    }
    // The socket is still good: now somebody is there.
    udp_socket server = udp_socket::bind(nobody);
    co_await client.send("again");
    const datagram received = co_await server.receive();
    EXPECT_EQ(received.text(), "again");
    co_await server.send_to("yes", received.peer());
    const datagram answer = co_await client.receive();
    EXPECT_EQ(answer.text(), "yes");
  });
}

TEST(udp, loses_nothing_when_a_receive_times_out_or_is_cancelled) {
  run_loop([]() -> task<> {
    udp_socket server = udp_socket::bind(any_port);
    udp_socket client = udp_socket::bind(any_port);
    const auto early = co_await as_result(with_timeout(5ms, server.receive()));
    EXPECT_FALSE(early.has_value());
    if (!early) {
      EXPECT_TRUE(early.error().is_timeout());
    }
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([](udp_socket& socket) -> task<> { co_await socket.receive(); },
                  std::ref(server));
      co_await yield();
      tasks.cancel();
    });
    co_await client.send_to("kept", server.local());
    const datagram received = co_await server.receive();
    EXPECT_EQ(received.text(), "kept");
  });
}

TEST(udp, receives_a_burst_in_order) {
  run_loop([]() -> task<> {
    udp_socket server = udp_socket::bind(any_port);
    server.set_receive_buffer_size(4 * 1024 * 1024);
    udp_socket client = udp_socket::bind(any_port);
    for (int round = 0; round < 10; ++round) {
      for (int i = 0; i < 100; ++i) {
        co_await client.send_to(std::to_string(i), server.local());
      }
      for (int i = 0; i < 100; ++i) {
        const datagram received = co_await with_timeout(5s, server.receive());
        EXPECT_EQ(received.text(), std::to_string(i));
      }
    }
  });
}

TEST(udp, receives_into_memory_of_its_own_what_the_kernel_was_told_to_lend) {
  run_loop([]() -> task<> {
    udp_socket server = udp_socket::bind(any_port);
    udp_socket client = udp_socket::bind(any_port);
    co_await client.send_to("first", server.local());
    co_await server.receive();  // the kernel goes on receiving
    char buffer[64] = {};
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        const datagram_info waited = co_await server.recv_from(std::span(buffer, 3));
        EXPECT_EQ(std::string_view(buffer, 3), "sec");
        EXPECT_EQ(waited.size(), 3U);
        EXPECT_TRUE(waited.is_truncated());
        EXPECT_EQ(waited.peer(), client.local());
      });
      co_await test::settle();  // it waits
      co_await client.send_to("second", server.local());
    });
    co_await client.send_to("third", server.local());
    co_await test::settle(20);  // lies in a buffer of the loop
    const datagram_info held = co_await server.recv_from(buffer);
    EXPECT_EQ(std::string_view(buffer, held.size()), "third");
    EXPECT_EQ(held.peer(), client.local());
  });
}

TEST(udp, gives_way_after_its_budget_although_datagrams_have_arrived) {
  run_loop([]() -> task<> {
    udp_socket server = udp_socket::bind(any_port);
    udp_socket client = udp_socket::bind(any_port);
    event set;
    set.set();
    unsigned turns = 0;
    bool gave_way = false;
    const auto receive_after = [&](int steps, bool lent) -> task<> {
      co_await client.send_to("x", server.local());
      co_await test::settle(20);
      for (int i = 0; i < steps; ++i) co_await set.wait();
      const unsigned before = turns;
      char buffer[4];
      if (lent) co_await server.receive();
      if (!lent) co_await server.recv_from(buffer);
      gave_way = gave_way || turns != before;
    };
    co_await client.send_to("first", server.local());
    co_await server.receive();  // the kernel goes on receiving
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        for (;; ++turns) co_await yield();
      });
      for (const bool lent : {true, false}) {
        gave_way = false;
        // Returning from settle() is a step for one compiler and none for the other.
        for (int less = 0; less < 4; ++less) {
          co_await receive_after(detail::scheduler::tick_budget - less, lent);
        }
        EXPECT_TRUE(gave_way);
      }
      tasks.cancel();
    });
  });
}

TEST(udp, receives_although_all_buffers_of_the_loop_are_lent) {
  loop_options options;
  options.buffers.large.buffer_max = 2;
  options.buffers.large.ring_size = 2;
  options.buffers.large.ring_initial = 2;
  loop on(make_kernel("auto"), options);
  on.run([]() -> task<> {
    udp_socket server = udp_socket::bind(any_port);
    udp_socket client = udp_socket::bind(any_port);
    std::vector<datagram> held;
    for (int i = 0; i < 10; ++i) {
      co_await client.send_to("datagram " + std::to_string(i), server.local());
      held.push_back(co_await with_timeout(5s, server.receive()));
    }
    for (int i = 0; i < 10; ++i) {
      EXPECT_EQ(held[static_cast<std::size_t>(i)].text(), "datagram " + std::to_string(i));
    }
  }());
}

TEST(udp, sends_segments_in_one_call_and_may_receive_them_as_one) {
  run_loop([]() -> task<> {
    udp_socket server = udp_socket::bind(any_port);
    udp_socket client = udp_socket::bind(any_port);
    std::string bytes;
    for (char letter = 'a'; letter < 'k'; ++letter) bytes.append(1000, letter);
    const auto sent = co_await as_result(client.send_segments(bytes, 1000, server.local()));
    if (!sent) {
      EXPECT_EQ(sent.error(), std::errc::io_error);  // no UDP_SEGMENT in this kernel
      co_return;
    }
    for (int i = 0; i < 10; ++i) {
      const datagram one = co_await server.receive();
      EXPECT_EQ(one.text(),
                std::string_view(bytes).substr(static_cast<std::size_t>(i) * 1000, 1000));
    }
    if (!server.try_set_receive_offload(true)) co_return;
    co_await client.send_segments(bytes, 1000, server.local());
    const datagram all = co_await server.receive();
    EXPECT_EQ(all.text(), bytes);
    EXPECT_EQ(all.segment_size(), 1000U);
  });
}

TEST(udp, tells_the_size_of_segments_that_a_single_receive_has_brought_as_one) {
  run_loop([]() -> task<> {
    udp_socket server = udp_socket::bind(any_port);
    udp_socket client = udp_socket::bind(any_port);
    const std::string bytes(2500, 'x');
    const auto sent = co_await as_result(client.send_segments(bytes, 1000, server.local()));
    if (!sent || !server.try_set_receive_offload(true)) co_return;  // not in this kernel
    std::string room(5000, '\0');
    for (const std::size_t size : {1000U, 1000U, 500U}) {  // they came before the offload
      const datagram_info one = co_await server.recv_from(room);
      EXPECT_EQ(one.size(), size);
      EXPECT_EQ(one.segment_size(), 0U);
    }
    co_await client.send_segments(bytes, 1000, server.local());
    const datagram_info all = co_await server.recv_from(room);
    EXPECT_EQ(all.size(), 2500U);
    EXPECT_EQ(all.segment_size(), 1000U);
  });
}

TEST(sim_udp, leaves_no_descriptor_open_when_an_option_is_refused) {
  sim::world world(1);
  sim::host& host = world.add_host("host", "10.0.0.1");
  const auto refused = world.inject(sim::failure("set_option", ENOPROTOOPT).on(host));
  std::string said;
  world.run(host.run([&]() -> task<> {
    const std::size_t before = host.descriptor_count();
    try {
      udp_socket::open(address_family::ipv6);
    } catch (const io_error& failure) {
      said = failure.what();
    }
    EXPECT_EQ(host.descriptor_count(), before);
    co_return;
  }));
  EXPECT_EQ(said, "IPV6_V6ONLY descriptor 4: Protocol not available");
}

TEST(udp, names_the_address_that_is_taken) {
  run_loop([]() -> task<> {
    udp_socket first = udp_socket::bind(any_port);
    try {
      udp_socket second = udp_socket::bind(first.local());
      ADD_FAILURE() << "bound twice";
    } catch (const io_error& error) {
      EXPECT_EQ(error.code(), std::errc::address_in_use);
      EXPECT_EQ(std::string(error.what()),
                "bind " + first.local().to_string() + ": Address already in use");
    }
    co_return;
  });
}

/// A datagram with a forged sender goes out by a raw socket, over IPv4.
void send_forged(const endpoint& from, const endpoint& to, std::string_view text) {
  const int raw = ::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
  struct {
    iphdr ip{};
    udphdr udp{};
    char payload[64]{};
  } packet;
  const std::size_t size = sizeof(iphdr) + sizeof(udphdr) + text.size();
  packet.ip.version = 4;
  packet.ip.ihl = 5;
  packet.ip.ttl = 64;
  packet.ip.protocol = IPPROTO_UDP;
  packet.ip.tot_len = htons(static_cast<std::uint16_t>(size));
  std::memcpy(&packet.ip.saddr, from.ip()->address().bytes().data(), sizeof(packet.ip.saddr));
  std::memcpy(&packet.ip.daddr, to.ip()->address().bytes().data(), sizeof(packet.ip.daddr));
  packet.udp.source = htons(from.port());
  packet.udp.dest = htons(to.port());
  packet.udp.len = htons(static_cast<std::uint16_t>(sizeof(udphdr) + text.size()));
  std::memcpy(packet.payload, text.data(), text.size());  // no checksum: allowed over IPv4
  const std::span<const std::byte> name = to.native();
  const ssize_t sent =
      ::sendto(raw, &packet, size, 0, reinterpret_cast<const sockaddr*>(name.data()),
               static_cast<socklen_t>(name.size()));
  ::close(raw);
  ASSERT_EQ(sent, static_cast<ssize_t>(size));
}

/// An echo server on `on`, which is asked at 127.0.0.1.
void expect_no_answer_to_forged_datagrams(const address& on) {
  if (::geteuid() != 0) GTEST_SKIP() << "forging a sender needs root";
  run_loop([&]() -> task<> {
    co_await with_nursery([&](nursery& tasks) -> task<> {
      udp_socket server = udp_socket::bind(endpoint(on, 0));
      const std::uint16_t port = server.local().port();
      const endpoint local(address::loopback_v4(), port);
      tasks.start(echo::serve_datagrams, std::move(server), std::string(), 5s);
      udp_socket client = udp_socket::bind(any_port);
      send_forged(local, local, "me");
      send_forged(endpoint(address::v4(127, 0, 0, 3), port), local, "me by another name");
      send_forged(endpoint(address::loopback_v4(), 0), local, "nobody");
      co_await client.send_to("hi", local);  // comes behind the forged ones
      const datagram answer = co_await client.receive();
      EXPECT_EQ(answer.text(), "hi");
      const std::uint64_t before = loop::current().statistics().completion_count;
      co_await test::settle(50);  // an echo that answered itself would go round for ever
      EXPECT_LT(loop::current().statistics().completion_count - before, 10U);
      tasks.cancel();
    });
  });
}

TEST(udp_echo, answers_neither_itself_nor_port_0) {
  expect_no_answer_to_forged_datagrams(address::loopback_v4());
}

TEST(udp_echo, answers_neither_itself_nor_port_0_on_a_wildcard) {
  expect_no_answer_to_forged_datagrams(address::any_v4());
}

TEST(udp_echo, answers_on_a_wildcard_from_the_address_that_was_asked) {
  run_loop([]() -> task<> {
    co_await with_nursery([&](nursery& tasks) -> task<> {
      udp_socket server = udp_socket::bind(endpoint(address::any_v4(), 0));
      const endpoint asked(address::v4(127, 0, 0, 2), server.local().port());
      tasks.start(echo::serve_datagrams, std::move(server), std::string(), 5s);
      udp_socket client = udp_socket::open(address_family::ipv4);
      co_await client.connect(asked);  // takes answers from nowhere else
      co_await client.send("hi");
      const datagram answer = co_await with_timeout(5s, client.receive());
      EXPECT_EQ(answer.text(), "hi");
      tasks.cancel();
    });
  });
}

TEST(udp_echo, goes_on_after_refusals_and_a_burst) {
  run_loop([]() -> task<> {
    co_await with_nursery([&](nursery& tasks) -> task<> {
      udp_socket server = udp_socket::bind(any_port);
      const endpoint local = server.local();
      // An unconnected socket is told of "port unreachable" only if it asks for it.
      const int on = 1;
      server.set_option(IPPROTO_IP, IP_RECVERR,
                        const_buffer(std::as_bytes(std::span<const int>(&on, 1))));
      tasks.start(echo::serve_datagrams, std::move(server), std::string(), 5s);
      constexpr int refusal_count = 500;
      for (int i = 0; i < refusal_count; ++i) {  // gone before the answer comes
        udp_socket gone = udp_socket::bind(any_port);
        co_await gone.send_to("x", local);
        co_await gone.close();
        co_await test::settle(2);
      }
      udp_socket client = udp_socket::bind(any_port);
      client.set_receive_buffer_size(4 << 20);
      // As many as the server's buffer holds for certain; the rest of the burst may be lost.
      constexpr std::size_t certain = 50;
      constexpr std::size_t burst = 2000;
      std::size_t next = 0;
      for (std::size_t i = 0; i < burst; ++i) {
        const std::string text = std::to_string(i);
        co_await client.send_to(text, local);
      }
      std::size_t answered = 0;
      for (;;) {
        const auto answer = co_await as_result(with_timeout(200ms, client.receive()));
        if (!answer) break;
        const std::size_t number = std::stoul(std::string(answer->text()));
        EXPECT_GE(number, next) << "answered twice, or out of order";
        EXPECT_LT(number, burst);
        next = number + 1;
        ++answered;
      }
      EXPECT_GE(answered, certain);
      co_await client.send_to("still here", local);
      const datagram last = co_await client.receive();
      EXPECT_EQ(last.text(), "still here");
      tasks.cancel();
    });
  });
}

TEST(udp_echo, answers_what_has_arrived_before_it_ends) {
  run_loop([]() -> task<> {
    udp_socket server = udp_socket::bind(any_port);
    const endpoint local = server.local();
    udp_socket client = udp_socket::bind(any_port);
    constexpr std::size_t count = 50;
    for (std::size_t i = 0; i < count; ++i) co_await client.send_to(std::to_string(i), local);
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        co_await echo::serve_datagrams(std::move(server), std::string("Echo: "));
      });
      co_await yield();  // it has begun, and nothing has come to it
      tasks.cancel();
      for (std::size_t i = 0; i < count; ++i) {
        const datagram answer = co_await with_timeout(5s, client.receive());
        EXPECT_EQ(answer.text(), "Echo: " + std::to_string(i));
      }
    });
  });
}

TEST(udp_echo, answers_nothing_more_if_somebody_is_in_a_hurry) {
  run_loop([]() -> task<> {
    udp_socket server = udp_socket::bind(any_port);
    const endpoint local = server.local();
    udp_socket client = udp_socket::bind(any_port);
    co_await client.send_to("late", local);
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start(
          [&]() -> task<> { co_await echo::serve_datagrams(std::move(server), std::string()); });
      co_await yield();
      loop::current().hurry().set();
      tasks.cancel();
    });
    const auto answer = co_await as_result(with_timeout(0s, client.receive()));
    EXPECT_FALSE(answer.has_value());
  });
}

TEST(udp_echo, answers_with_the_prefix) {
  run_loop([]() -> task<> {
    co_await with_nursery([&](nursery& tasks) -> task<> {
      udp_socket server = udp_socket::bind(any_port);
      const endpoint local = server.local();
      tasks.start(echo::serve_datagrams, std::move(server), std::string("Echo: "), 5s);
      udp_socket client = udp_socket::bind(any_port);
      co_await client.send_to("hi", local);
      const datagram answer = co_await client.receive();
      EXPECT_EQ(answer.text(), "Echo: hi");
      co_await client.send_to("", local);
      const datagram empty = co_await client.receive();
      EXPECT_EQ(empty.text(), "Echo: ");
      tasks.cancel();
    });
  });
}

TEST(unix_datagram, answers_a_client_with_an_automatic_name) {
  run_loop([]() -> task<> {
    const std::string name = "rill-test-" + std::to_string(::getpid());
    unix_datagram server = unix_datagram::bind(*endpoint::unix_abstract(name));
    unix_datagram client = unix_datagram::bind(endpoint());
    co_await client.send_to("ask", server.local());
    const datagram question = co_await server.receive();
    EXPECT_EQ(question.text(), "ask");
    co_await server.send_to("answer", question.peer());
    const datagram answer = co_await client.receive();
    EXPECT_EQ(answer.text(), "answer");
  });
}

TEST(unix_stream, connects_by_path_and_knows_who_is_there) {
  const std::string path = "/tmp/rill-test-" + std::to_string(::getpid()) + ".sock";
  const endpoint at = *endpoint::unix_path(path);
  for (int start = 0; start < 2; ++start) {  // the second replaces the file that the first left
    run_loop([&]() -> task<> {
      unix_listener listener = unix_listener::bind(at);
      unix_stream client = co_await unix_stream::connect(at);
      unix_stream server = co_await listener.accept();
      EXPECT_EQ(server.peer_credentials().process, ::getpid());
      EXPECT_EQ(client.peer(), at);
      EXPECT_EQ(server.peer().unix_name(), "");  // a client has no name
      co_await client.write_all("over unix");
      std::string text(9, '\0');
      EXPECT_TRUE(co_await server.read_exactly(text));
      EXPECT_EQ(text, "over unix");
      try {
        unix_listener second = unix_listener::bind(at);
        ADD_FAILURE() << "a listener that lives was replaced";
      } catch (const io_error& error) {
        EXPECT_EQ(error.code(), std::errc::address_in_use);
      }
    });
  }
  ::unlink(path.c_str());
}

TEST(unix_stream, says_where_it_could_not_connect) {
  run_loop([]() -> task<> {
    try {
      co_await unix_stream::connect(*endpoint::unix_path("/nowhere/at/all"));
      ADD_FAILURE() << "connected";
    } catch (const io_error& error) {
      EXPECT_STREQ(error.what(), "connect unix:/nowhere/at/all: No such file or directory");
    }
  });
}

}  // namespace
}  // namespace rill
