// A protocol of one's own in two parts: a codec that knows bytes and no connection, and a driver
// that joins it to any stream. The same driver talks through memory, a byte at a time, and through
// TCP.
//
//   build/release/bin/12_own_protocol
//     cut anywhere, the codec finds the same message
//     through memory: llir ,olleh
//     through TCP: llir ,olleh
//
// Read next: protocols/README.md, then protocols/echo/echo.h.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <rill/net/buffered.h>
#include <rill/net/memory_stream.h>
#include <rill/net/tcp.h>
#include <rill/runtime/combine.h>
#include <rill/runtime/run.h>
#include <rill/runtime/timeout.h>

using namespace std::chrono_literals;

namespace {

// The codec. A message is one byte, its size, and so many bytes: the size has a limit by itself.
struct decoded {
  std::optional<std::string_view> message;  // nothing: more bytes are needed
  std::size_t used = 0;                     // of the bytes, with the message
};

decoded decode(std::string_view bytes) {
  if (bytes.empty()) return {};
  const std::size_t size = static_cast<unsigned char>(bytes.front());
  if (bytes.size() - 1 < size) return {};
  return {bytes.substr(1, size), size + 1};
}

std::string encode(std::string_view message) {
  if (message.size() > 255) throw std::length_error("a message has 255 bytes at most");
  return static_cast<char>(message.size()) + std::string(message);
}

// The driver of the server's side: answers each message with its mirror image.
template <rill::byte_stream Stream>
rill::task<> session(Stream peer) {
  rill::buffered_reader reader(peer);
  for (;;) {
    const decoded next = decode(reader.buffered().text());
    if (!next.message) {
      // Everything that waits for a peer has a limit. 0: the peer has finished.
      const std::size_t came = co_await rill::with_timeout(5s, reader.fill());
      if (came == 0) co_return;
      continue;
    }
    std::string mirrored(next.message->rbegin(), next.message->rend());
    reader.consume(next.used);
    const std::string answer = encode(mirrored);
    co_await rill::with_timeout(5s, peer.write_all(answer));
  }
}

// And of the client's.
template <rill::byte_stream Stream>
rill::task<> ask(const char* by, Stream server) {
  co_await server.write_all(encode("hello, rill"));
  rill::buffered_reader reader(server);
  for (;;) {
    const decoded answer = decode(reader.buffered().text());
    if (answer.message) {
      std::printf("through %s: %s\n", by, std::string(*answer.message).c_str());
      co_return;  // the stream goes, and the session sees its end
    }
    const std::size_t came = co_await rill::with_timeout(5s, reader.fill());
    if (came == 0) throw std::runtime_error("the server has hung up");
  }
}

void cut_everywhere() {
  const std::string whole = encode("hello, rill");
  for (std::size_t size = 0; size != whole.size(); ++size) {
    if (decode(std::string_view(whole).substr(0, size)).message)
      throw std::logic_error("too early");
  }
  if (decode(whole).message != "hello, rill") throw std::logic_error("not found");
  std::printf("cut anywhere, the codec finds the same message\n");
}

rill::task<> own_protocol() {
  cut_everywhere();

  auto [left, right] = rill::memory_stream_pair();
  left.set_write_size_max(1);
  right.set_write_size_max(1);
  co_await rill::all_of(session(std::move(left)), ask("memory", std::move(right)));

  const rill::endpoint local(rill::address::loopback_v4(), 0);
  rill::tcp_listener listener = rill::tcp_listener::bind(local);
  rill::tcp_stream client = co_await rill::tcp_stream::connect(listener.local());
  rill::tcp_stream server = co_await listener.accept();
  co_await rill::all_of(session(std::move(server)), ask("TCP", std::move(client)));
}

}  // namespace

int main() { return rill::run(own_protocol); }
