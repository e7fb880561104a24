// Tests of stream_socket::send_file on the real kernel. See net/tcp.h.
#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>
#include <tuple>

#include <gtest/gtest.h>

#include "support.h"
#include "support/files.h"
#include <rill/net/stream.h>
#include <rill/net/tcp.h>
#include <rill/net/unix.h>
#include <rill/runtime/combine.h>
#include <rill/runtime/file.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/timeout.h>

namespace rill {
namespace {

using test::run_loop;
using test::temporary_folder;

/// A file of its own for a test, filled with bytes that differ from place to place.
class made_file {
 public:
  explicit made_file(std::size_t size) : bytes_(size, '\0') {
    for (std::size_t i = 0; i < size; ++i) bytes_[i] = static_cast<char>((i * 31 + i / 4096) % 251);
    path_ = folder_.made("file", bytes_);
  }

  const std::string& path() const { return path_; }
  const std::string& bytes() const { return bytes_; }

 private:
  temporary_folder folder_;
  std::string bytes_;
  std::string path_;
};

/// Sends a part of the file through a TCP connection. Gives what arrived, and checks the count.
task<std::string> send_part(const made_file& from, std::uint64_t offset, std::uint64_t size,
                            std::uint64_t expected) {
  tcp_listener listener = tcp_listener::bind(endpoint(address::loopback_v4(), 0));
  tcp_stream reader = co_await tcp_stream::connect(listener.local());
  tcp_stream writer = co_await listener.accept();
  file source = co_await file::open(from.path(), open_mode::read);
  std::string received;
  const auto send = [&]() -> task<> {
    const std::uint64_t sent = co_await writer.send_file(source, offset, size);
    EXPECT_EQ(sent, expected);
    co_await writer.shutdown_write();
  };
  const auto receive = [&]() -> task<> { received = co_await read_all(reader, 64 << 20); };
  co_await all_of(send(), receive());
  co_return received;
}

TEST(send_file, sends_more_than_a_socket_holds_byte_for_byte) {
  const made_file made(8 << 20);
  const std::string received = run_loop(send_part(made, 0, made.bytes().size(), 8 << 20));
  EXPECT_TRUE(received == made.bytes());
}

TEST(send_file, sends_a_part) {
  const made_file made(100'000);
  const std::string received = run_loop(send_part(made, 777, 5'000, 5'000));
  EXPECT_TRUE(received == made.bytes().substr(777, 5'000));
}

TEST(send_file, ends_early_and_pads_nothing_when_the_file_is_shorter) {
  const made_file made(10'000);
  const std::string received = run_loop(send_part(made, 9'000, 50'000, 1'000));
  EXPECT_TRUE(received == made.bytes().substr(9'000));
}

/// Threads with which io_uring carries out what would block.
std::size_t ring_worker_count() {
  std::size_t count = 0;
  for (const auto& each : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream from(each.path() / "comm");
    std::string name;
    from >> name;
    if (name.starts_with("iou-wrk")) ++count;
  }
  return count;
}

/// A stream whose peer does not read, while `made` is sent through it.
struct slow_peer {
  explicit slow_peer(std::size_t size) : made(size) {}
  made_file made;
  unix_stream writer;
  unix_stream reader;
};

TEST(send_file, of_a_file_that_is_cut_meanwhile_ends_early) {
  run_loop([]() -> task<> {
    slow_peer peer(3'000'000);
    std::tie(peer.writer, peer.reader) = unix_stream::pair();
    const file source = co_await file::open(peer.made.path());
    std::uint64_t count = 0;
    std::string received;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        count = co_await peer.writer.send_file(source, 0, 3'000'000);
        co_await peer.writer.shutdown_write();
      });
      co_await test::settle();  // the socket is full now, and nobody reads
      EXPECT_EQ(::truncate(peer.made.path().c_str(), 1'000'000), 0);
      received = co_await read_all(peer.reader, 64 << 20);
    });
    EXPECT_EQ(count, 1'000'000U);
    EXPECT_TRUE(received == peer.made.bytes().substr(0, 1'000'000));
  });
}

TEST(send_file, waits_for_a_slow_peer_in_the_ring_and_can_be_cancelled) {
  run_loop([]() -> task<> {
    slow_peer peer(3'000'000);
    std::tie(peer.writer, peer.reader) = unix_stream::pair();
    const file source = co_await file::open(peer.made.path());
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        co_await peer.writer.send_file(source, 0, 3'000'000);
        ADD_FAILURE() << "nobody has read";
      });
      const std::size_t workers = ring_worker_count();  // of tests before this one
      co_await test::settle();
      EXPECT_NE(loop::current().task_tree().find("poll"), std::string::npos);
      EXPECT_LE(ring_worker_count(), workers);
      tasks.cancel();
    });
    EXPECT_EQ(::fcntl(peer.writer.descriptor(), F_GETFL) & O_NONBLOCK, 0);
  });
}

TEST(send_file, gives_up_a_peer_that_stands_still) {
  run_loop([]() -> task<> {
    slow_peer peer(3'000'000);
    std::tie(peer.writer, peer.reader) = unix_stream::pair();
    const file source = co_await file::open(peer.made.path());
    bool has_timed_out = false;
    try {
      co_await peer.writer.send_file(source, 0, 3'000'000, std::chrono::milliseconds(5));
    } catch (const timeout_error&) {
      has_timed_out = true;
    }
    EXPECT_TRUE(has_timed_out);
  });
}

TEST(send_file, does_not_give_up_a_peer_that_reads_less_than_makes_room) {
  const made_file made(8 << 20);
  run_loop([&]() -> task<> {
    tcp_listener listener = tcp_listener::bind(endpoint(address::loopback_v4(), 0));
    tcp_stream reader = co_await tcp_stream::connect(listener.local());
    tcp_stream writer = co_await listener.accept();
    const file source = co_await file::open(made.path());
    std::string received;
    bool is_sent = false;
    const auto send = [&]() -> task<> {
      co_await writer.send_file(source, 0, made.bytes().size(), std::chrono::milliseconds(200));
      is_sent = true;
      co_await writer.shutdown_write();
    };
    const auto receive = [&]() -> task<> {
      std::string room(65536, ' ');
      for (int i = 0; i < 40; ++i) {  // 3 MB a second: a third of the buffer takes longer
        const std::size_t came = co_await reader.read(mutable_buffer(room));
        received.append(room, 0, came);
        co_await sleep_for(std::chrono::milliseconds(20));
      }
      EXPECT_FALSE(is_sent);
      received += co_await read_all(reader, 64 << 20);
    };
    co_await all_of(send(), receive());
    EXPECT_TRUE(received == made.bytes());
  });
}

TEST(send_file, ends_when_another_task_closes_the_stream) {
  run_loop([]() -> task<> {
    slow_peer peer(3'000'000);
    std::tie(peer.writer, peer.reader) = unix_stream::pair();
    const file source = co_await file::open(peer.made.path());
    std::error_code told;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        try {
          co_await peer.writer.send_file(source, 0, 3'000'000);
        } catch (const io_error& error) {
          told = error.code();
        }
      });
      co_await test::settle();
      co_await peer.writer.close();
    });
    EXPECT_EQ(told, std::errc::operation_canceled);
  });
}

TEST(send_file, ends_when_the_stream_is_closed_between_two_parts_of_the_file) {
  run_loop([]() -> task<> {
    slow_peer peer(1'000'000);
    std::tie(peer.writer, peer.reader) = unix_stream::pair();
    peer.writer.set_send_buffer_size(4 << 20);
    const file source = co_await file::open(peer.made.path());
    std::error_code told;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        try {
          co_await peer.writer.send_file(source, 0, 1'000'000);
        } catch (const io_error& error) {
          told = error.code();
        }
      });
      tasks.start([&]() -> task<> { co_await peer.writer.close(); });  // runs after the first part
      co_return;
    });
    EXPECT_EQ(told, std::errc::operation_canceled);
  });
}

TEST(send_file, to_a_peer_that_is_gone_is_an_error_and_no_signal) {
  run_loop([]() -> task<> {
    slow_peer peer(1'000'000);
    std::tie(peer.writer, peer.reader) = unix_stream::pair();
    const file source = co_await file::open(peer.made.path());
    co_await peer.reader.close();
    std::error_code told;
    try {
      co_await peer.writer.send_file(source, 0, 1'000'000);
    } catch (const io_error& error) {
      told = error.code();
    }
    EXPECT_EQ(told, std::errc::broken_pipe);
  });
}

}  // namespace
}  // namespace rill
