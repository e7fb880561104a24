// Tests of stream_socket::send_file on the real kernel. See net/tcp.h.
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <string>

#include <gtest/gtest.h>

#include "support.h"
#include <rill/net/stream.h>
#include <rill/net/tcp.h>
#include <rill/runtime/combine.h>
#include <rill/runtime/file.h>

namespace rill {
namespace {

using test::run_loop;

/// A file of its own for a test, filled with bytes that differ from place to place.
class made_file {
 public:
  explicit made_file(std::size_t size) : bytes_(size, '\0') {
    for (std::size_t i = 0; i < size; ++i) bytes_[i] = static_cast<char>((i * 31 + i / 4096) % 251);
    char name[] = "/tmp/rill-send-file-XXXXXX";
    const int descriptor = ::mkstemp(name);
    path_ = name;
    std::FILE* out = ::fdopen(descriptor, "wb");
    std::fwrite(bytes_.data(), 1, bytes_.size(), out);
    std::fclose(out);
  }
  made_file(const made_file&) = delete;
  made_file& operator=(const made_file&) = delete;
  ~made_file() { ::unlink(path_.c_str()); }

  const std::string& path() const { return path_; }
  const std::string& bytes() const { return bytes_; }

 private:
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

}  // namespace
}  // namespace rill
