// Sockets that others have made, and streams that are given away. See adopt() and release().
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "support.h"
#include "support/pair.h"
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

bool is_open(int descriptor) { return ::fcntl(descriptor, F_GETFD) >= 0; }

std::string subject_of(int descriptor) { return "adopt descriptor " + std::to_string(descriptor); }

int listening_socket() {
  const int made = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  EXPECT_EQ(::listen(made, 10), 0);
  return made;
}

TEST(tcp_stream, adopts_a_connection_that_another_library_made) {
  run_loop([]() -> task<> {
    tcp_listener listener = tcp_listener::bind(any_port);
    const endpoint to = listener.local();
    const int descriptor = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const auto name = to.native();
    EXPECT_EQ(::connect(descriptor, reinterpret_cast<const sockaddr*>(name.data()),
                        static_cast<socklen_t>(name.size())),
              0);
    ::fcntl(descriptor, F_SETFL, O_NONBLOCK);
    tcp_stream adopted = tcp_stream::adopt(descriptor);
    tcp_stream other = co_await listener.accept();
    EXPECT_EQ(adopted.peer(), to);
    EXPECT_TRUE(adopted.no_delay());
    EXPECT_EQ(::fcntl(descriptor, F_GETFL) & O_NONBLOCK, 0);
    char buffer[16] = {};
    std::size_t size = 0;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> { size = co_await adopted.read(buffer); });
      co_await test::settle();  // it waits, where O_NONBLOCK would have failed
      co_await other.write_all("hello");
    });
    EXPECT_EQ(std::string(buffer, size), "hello");
  });
}

TEST(tcp_stream, adopts_nothing_else_and_closes_it) {
  run_loop([]() -> task<> {
    const int file = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    EXPECT_EQ(failure_of([&] { tcp_stream::adopt(file); }),
              "adopt descriptor " + std::to_string(file) + ": Socket operation on non-socket");
    co_await test::settle();
    EXPECT_EQ(::fcntl(file, F_GETFD), -1);
  });
}

TEST(tcp_stream, gives_its_connection_away_and_takes_it_back) {
  with_pair([](tcp_stream& left, tcp_stream& right) -> task<> {
    co_await left.write_all("before");
    std::string text(6, '\0');
    std::size_t size = co_await right.read(text);
    EXPECT_EQ(text.substr(0, size), "before");
    right.set_user_timeout(700ms);
    const endpoint peer = right.peer();
    const int descriptor = right.release();
    EXPECT_FALSE(right.is_open());
    co_await test::settle();
    EXPECT_EQ(::send(descriptor, "by hand", 7, 0), 7);
    char buffer[16] = {};
    size = co_await left.read(buffer);
    EXPECT_EQ(std::string(buffer, size), "by hand");
    tcp_stream again = tcp_stream::adopt(descriptor);
    EXPECT_EQ(again.peer(), peer);
    EXPECT_EQ(again.user_timeout(), 700ms);
  });
}

TEST(tcp_stream, adopts_a_number_that_it_gave_away_as_another_connection) {
  with_pair([](tcp_stream& left, tcp_stream& right) -> task<> {
    char buffer[8];
    // Once read from, so that epoll knows the number and that nothing more has come.
    co_await left.write_all("x");
    EXPECT_EQ(co_await right.read(buffer), 1U);
    const auto early = co_await as_result(with_timeout(1ms, right.read(buffer)));
    EXPECT_FALSE(early.has_value());
    const int given = right.release();
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    EXPECT_EQ(::dup3(ends[0], given, O_CLOEXEC), given);  // as if closed and opened anew
    ::close(ends[0]);
    unix_stream taken = unix_stream::adopt(given);
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        co_await test::settle();
        EXPECT_EQ(::send(ends[1], "hello", 5, 0), 5);
      });
      const auto got = co_await as_result(with_timeout(10s, taken.read(buffer)));
      EXPECT_TRUE(got && *got == 5);
    });
    ::close(ends[1]);
  });
}

TEST(tcp_stream, gives_nothing_away_while_the_kernel_holds_an_operation) {
  with_pair([](tcp_stream& left, tcp_stream& right) -> task<> {
    co_await left.write_all("one");
    {
      const lease first = co_await right.read_lease();
      EXPECT_EQ(first.size(), 3U);
    }
    co_await left.write_all("two");
    {
      const lease second = co_await right.read_lease();
      EXPECT_EQ(second.size(), 3U);
    }
    // Multishot from the second receive on: it stays armed.
    EXPECT_EQ(failure_of([&] { right.release(); }),
              "release " + right.peer().to_string() + ": Device or resource busy");
    EXPECT_TRUE(right.is_open());
    co_await left.write_all("three");
    const lease third = co_await right.read_lease();
    EXPECT_EQ(third.size(), 5U);
  });
}

TEST(adopted_sockets, are_all_closed_when_one_of_them_does_not_fit) {
  run_loop([]() -> task<> {
    const int sockets[] = {listening_socket(), ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0),
                           listening_socket()};
    EXPECT_EQ(failure_of([&] { tcp_listener::adopt(sockets); }),
              subject_of(sockets[1]) + ": Protocol wrong type for socket");
    co_await test::settle();
    for (const int each : sockets) EXPECT_FALSE(is_open(each));
  });
}

TEST(adopted_sockets, are_of_the_kind_that_takes_them_over) {
  run_loop([]() -> task<> {
    const auto refused = [](auto adopt, int descriptor, const std::string& why) {
      EXPECT_EQ(failure_of([&] { adopt(descriptor); }), subject_of(descriptor) + ": " + why);
    };
    const auto listener = [](int descriptor) { tcp_listener::adopt(descriptor); };
    const auto unix_one = [](int descriptor) { unix_listener::adopt(descriptor); };
    const auto stream = [](int descriptor) { tcp_stream::adopt(descriptor); };
    const auto unix_other = [](int descriptor) { unix_stream::adopt(descriptor); };
    const auto udp = [](int descriptor) { udp_socket::adopt(descriptor); };
    const auto datagrams = [](int descriptor) { unix_datagram::adopt(descriptor); };
    const auto make = [](int family, int type) { return ::socket(family, type | SOCK_CLOEXEC, 0); };
    const std::string wrong_type = "Protocol wrong type for socket";
    const std::string wrong_family = "Address family not supported by protocol";

    const int nothing = ::dup(0);
    ::close(nothing);
    refused(listener, nothing, "Bad file descriptor");
    refused(unix_one, nothing, "Bad file descriptor");
    refused(stream, nothing, "Bad file descriptor");
    refused(unix_other, nothing, "Bad file descriptor");
    refused(udp, nothing, "Bad file descriptor");
    refused(datagrams, nothing, "Bad file descriptor");
    for (const int family : {AF_INET, AF_UNIX}) {
      refused(listener, make(family, SOCK_DGRAM), wrong_type);
      refused(stream, make(family, SOCK_DGRAM), wrong_type);
      refused(unix_one, make(family, SOCK_DGRAM), wrong_type);
      refused(unix_other, make(family, SOCK_DGRAM), wrong_type);
      refused(udp, make(family, SOCK_STREAM), wrong_type);
      refused(datagrams, make(family, SOCK_STREAM), wrong_type);
    }
    refused(listener, make(AF_UNIX, SOCK_STREAM), wrong_family);
    refused(stream, make(AF_UNIX, SOCK_STREAM), wrong_family);
    refused(unix_one, make(AF_INET, SOCK_STREAM), wrong_family);
    refused(unix_other, make(AF_INET6, SOCK_STREAM), wrong_family);
    refused(udp, make(AF_UNIX, SOCK_DGRAM), wrong_family);
    refused(datagrams, make(AF_INET, SOCK_DGRAM), wrong_family);
    refused(listener, make(AF_INET, SOCK_STREAM), "Invalid argument");  // does not listen
    refused(unix_one, make(AF_UNIX, SOCK_STREAM), "Invalid argument");
    refused(stream, listening_socket(), "Invalid argument");  // is no connection
    co_return;
  });
}

TEST(tcp_stream, gives_an_adopted_connection_back_as_blocking_as_it_came) {
  for (const bool waits : {true, false}) {
    run_loop([&]() -> task<> {
      tcp_listener listener = tcp_listener::bind(any_port);
      tcp_stream made = co_await tcp_stream::connect(listener.local());
      const int descriptor = made.release();
      EXPECT_EQ(::fcntl(descriptor, F_SETFL, waits ? 0 : O_NONBLOCK), 0);
      tcp_stream adopted = tcp_stream::adopt(descriptor);
      co_await adopted.write_all("x");
      EXPECT_EQ(::fcntl(descriptor, F_GETFL) & O_NONBLOCK, 0);
      EXPECT_EQ(adopted.release(), descriptor);
      EXPECT_EQ(::fcntl(descriptor, F_GETFL) & O_NONBLOCK, waits ? 0 : O_NONBLOCK);
      ::close(descriptor);
    });
  }
}

}  // namespace
}  // namespace rill
