// What the operations of TCP streams and listeners say of themselves: results, names, no room.
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <span>
#include <string>
#include <thread>
#include <utility>

#include <gtest/gtest.h>

#include "support.h"
#include "support/pair.h"
#include "support/streams.h"
#include <rill/net/tcp.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/timeout.h>

namespace rill::test {
namespace {

using namespace std::chrono_literals;

TEST(tcp_stream, tells_a_writer_that_another_task_closed_it) {
  for (const bool in_pieces : {false, true}) {
    for (const bool as_value : {false, true}) {
      with_pair([&](tcp_stream& left, tcp_stream&) -> task<> {
        const std::string expected = "write " + left.peer().to_string() + ": Operation canceled";
        const std::string bytes(more_than_fits, 'x');
        const std::array<const_buffer, 2> pieces{const_buffer(bytes), const_buffer(bytes)};
        std::string said;
        co_await with_nursery([&](nursery& tasks) -> task<> {
          tasks.start([&]() -> task<> {
            if (as_value) {
              const auto sent = co_await as_result(left.write_all(bytes));
              if (!sent) said = std::string(sent.error().operation());
              co_return;
            }
            try {
              if (in_pieces) {
                co_await left.write_all(pieces);
              } else {
                co_await left.write_all(bytes);
              }
            } catch (const io_error& error) {
              said = error.what();
            }
          });
          co_await settle();
          co_await left.close();
        });
        EXPECT_EQ(said, as_value ? "write" : expected);
      });
    }
  }
}

TEST(tcp_stream, returns_the_size_of_what_it_has_written_even_beyond_an_int) {
  constexpr std::size_t size = (std::size_t{1} << 31) + 12345;
  // The page of zeros, over and over: no memory but the table's.
  void* const zeros =
      ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (zeros == MAP_FAILED) GTEST_SKIP() << "no address space";
  const const_buffer bytes(static_cast<const std::byte*>(zeros), size);
  std::size_t written = 0;
  with_pair([&](tcp_stream& left, tcp_stream& right) -> task<> {
    const int descriptor = right.release();
    std::size_t came = 0;
    std::thread reader([&] {
      // tcp(7): with MSG_TRUNC the bytes are thrown away, which saves copying them.
      ssize_t part = 0;
      while ((part = ::recv(descriptor, nullptr, std::size_t{1} << 20, MSG_TRUNC)) > 0) {
        came += static_cast<std::size_t>(part);
      }
    });
    written = co_await left.write_all(bytes);
    co_await left.shutdown_write();
    reader.join();
    EXPECT_EQ(came, size);
    ::close(descriptor);
  });
  ::munmap(zeros, size);
  EXPECT_EQ(written, size);
}

TEST(tcp_stream, reads_nothing_at_once_into_no_room) {
  with_pair([](tcp_stream& left, tcp_stream& right) -> task<> {
    const std::array<mutable_buffer, 2> empty{};
    for (const auto& room :
         {std::span<const mutable_buffer>(), std::span<const mutable_buffer>(empty)}) {
      const std::size_t size = co_await with_timeout(5s, right.read(room));
      EXPECT_EQ(size, 0U);
    }
    const std::size_t size = co_await with_timeout(5s, right.read(mutable_buffer()));
    EXPECT_EQ(size, 0U);
    co_await left.write_all("hello");
    const std::string text = co_await read_text(right, 5);
    EXPECT_EQ(text, "hello");
  });
}

TEST(tcp_listener, shows_all_its_addresses_while_it_accepts) {
  run_loop([]() -> task<> {
    const std::array<endpoint, 2> both{any_port, endpoint(address::v4(127, 0, 0, 2), 0)};
    tcp_listener listener = tcp_listener::bind(both);
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> { co_await listener.accept(); });
      co_await settle();
      const std::string tree = loop::current().task_tree();
      const std::string port = std::to_string(listener.local().port());
      const std::string second = ", 127.0.0.2:" + port + " (descriptor ";
      EXPECT_NE(tree.find("accept 127.0.0.1:" + port + " (descriptor "), std::string::npos) << tree;
      EXPECT_NE(tree.find(second), std::string::npos) << tree;
      tasks.cancel();
    });
  });
}

}  // namespace
}  // namespace rill::test
