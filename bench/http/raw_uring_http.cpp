// HTTP by a bare io_uring loop that parses just enough: the limit for rill's HTTP server.
//
// Requests are counted and answered from one block of answers; see minimal_http.h and uring_loop.h.

#include <algorithm>
#include <string_view>
#include <vector>

#include "minimal_http.h"
#include "server.h"
#include "uring_loop.h"

namespace {

using buffer_pool = bench::uring_buffer_pool;

class uring_http : public bench::uring_loop<uring_http> {
 public:
  uring_http(io_uring& ring, int listener, int descriptor_max)
      : uring_loop(ring, listener, descriptor_max, 1024, 4096, 1024),
        connections_(static_cast<std::size_t>(descriptor_max)) {}

  void received_bytes(int descriptor, buffer_pool::id buffer) {
    connection& peer = at(descriptor);
    peer.due += peer.requests.count({buffers().data(buffer), buffers().length(buffer)});
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
    bench::request_counter requests;
    std::size_t due = 0;  // answers
    bool sending = false;
  };

  void send_due(int descriptor) {
    connection& peer = at(descriptor);
    const std::size_t count = std::min(peer.due, bench::answer_block::count_max);
    peer.due -= count;
    peer.sending = true;
    const std::string_view bytes = block_.answers(count);
    send(descriptor, bytes.data(), bytes.size());
  }

  connection& at(int descriptor) { return connections_[static_cast<std::size_t>(descriptor)]; }

  std::vector<connection> connections_;  // by descriptor
  bench::answer_block block_;
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
