// HTTP by a bare io_uring loop that parses just enough: the limit for rill's HTTP server.
//
// It looks for the empty line that ends a request and answers each with the same bytes, sent from
// one block in which they stand many times over; see uring_loop.h. Whatever is asked, in
// whatever words, is answered so: a yardstick and not a server to copy.

#include <algorithm>
#include <cstring>
#include <ctime>
#include <string>
#include <string_view>
#include <vector>

#include "server.h"
#include "uring_loop.h"

namespace {

using buffer_pool = bench::uring_buffer_pool;

constexpr std::size_t block_count = 256;  // answers in the block: as many as are sent at once

class uring_http : public bench::uring_loop<uring_http> {
 public:
  uring_http(io_uring& ring, int listener, int descriptor_max)
      : uring_loop(ring, listener, descriptor_max, 1024, 4096, 1024),
        connections_(static_cast<std::size_t>(descriptor_max)) {
    write_block();
  }

  void received_bytes(int descriptor, buffer_pool::id buffer) {
    connection& peer = at(descriptor);
    const std::string_view text(buffers().data(buffer), buffers().length(buffer));
    peer.due += count_ends(peer, text);
    buffers().give_back(buffer);
    if (!peer.sending && peer.due > 0) send_due(descriptor);
  }

  void sent(int descriptor, int result) {
    connection& peer = at(descriptor);
    peer.sending = false;
    if (result <= 0) peer.due = 0;
    if (peer.due > 0) return send_due(descriptor);
    close_when_done(descriptor);
  }

  bool may_close(int descriptor) { return !at(descriptor).sending; }
  void closed(int descriptor) { at(descriptor) = {}; }

 private:
  struct connection {
    std::size_t due = 0;   // answers
    unsigned matched = 0;  // characters of an end that lies across two buffers
    bool sending = false;
  };

  static std::size_t count_ends(connection& peer, std::string_view text) {
    constexpr std::string_view end = "\r\n\r\n";
    std::size_t count = 0;
    std::size_t at = 0;
    for (; peer.matched > 0 && at < text.size(); ++at) {
      peer.matched = text[at] == end[peer.matched] ? peer.matched + 1 : 0;
      if (peer.matched == end.size()) {
        peer.matched = 0;
        ++count;
      }
    }
    for (;;) {
      const void* found = ::memmem(text.data() + at, text.size() - at, end.data(), end.size());
      if (found == nullptr) break;
      ++count;
      at = static_cast<std::size_t>(static_cast<const char*>(found) - text.data()) + end.size();
    }
    const std::string_view rest = text.substr(at);
    for (std::size_t size = std::min<std::size_t>(3, rest.size()); size > 0; --size) {
      if (rest.ends_with(end.substr(0, size))) {
        peer.matched = static_cast<unsigned>(size);
        break;
      }
    }
    return count;
  }

  void send_due(int descriptor) {
    connection& peer = at(descriptor);
    if (std::time(nullptr) != written_) write_block();
    const std::size_t count = std::min(peer.due, block_count);
    peer.due -= count;
    peer.sending = true;
    send(descriptor, block_.data(), count * answer_size_);
  }

  // Once a second. What the kernel is sending at that moment changes under its hands, which harms
  // nobody: all but the date stays as it is.
  void write_block() {
    written_ = std::time(nullptr);
    tm parts{};
    ::gmtime_r(&written_, &parts);
    char date[40];
    std::strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &parts);
    const std::string answer = "HTTP/1.1 200 OK\r\nDate: " + std::string(date) +
                               "\r\nContent-Length: 13\r\nContent-Type: text/plain\r\n"
                               "Server: raw\r\n\r\nHello, World!";
    answer_size_ = answer.size();
    block_.resize(answer_size_ * block_count);
    for (std::size_t i = 0; i < block_count; ++i)
      answer.copy(&block_[i * answer_size_], answer_size_);
  }

  connection& at(int descriptor) { return connections_[static_cast<std::size_t>(descriptor)]; }

  std::vector<connection> connections_;  // by descriptor
  std::string block_;
  std::size_t answer_size_ = 0;
  std::time_t written_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  std::uint16_t port = 0;
  CLI::App app{"HTTP by a bare io_uring loop."};
  app.add_option("--port", port, "port on 127.0.0.1, 0 for any free one");
  bench::parse_or_exit(app, argc, argv);

  int descriptor_max = bench::raise_descriptor_limit();
  int listener = bench::listen_on_loopback(port);
  io_uring ring{};
  bench::open_ring(ring);
  uring_http server(ring, listener, descriptor_max);
  bench::announce_ready_socket(listener);
  server.run();
}
