// Descriptors that leave a loop and come back as others. What else adopt() and release() promise is
// in options_test.cpp, with the options that they keep.
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>

#include <gtest/gtest.h>

#include "support.h"
#include <rill/net/tcp.h>
#include <rill/net/unix.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/timeout.h>

namespace rill {
namespace {

using namespace std::chrono_literals;

TEST(tcp_stream, adopts_a_number_that_it_gave_away_as_another_connection) {
  test::run_loop([]() -> task<> {
    tcp_listener listener = tcp_listener::bind(endpoint(address::loopback_v4(), 0));
    tcp_stream left = co_await tcp_stream::connect(listener.local());
    tcp_stream right = co_await listener.accept();
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

}  // namespace
}  // namespace rill
