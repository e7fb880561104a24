// Echo by a bare io_uring loop: the least that the ring costs, and so the limit for rill as long as
// messages are small. With large ones the order of the receives decides (runtime/buffer_pool.h).
//
// Every received buffer is sent back from where it lies; see uring_loop.h.

#include <vector>

#include "server.h"
#include "uring_loop.h"

namespace {

using buffer_pool = bench::uring_buffer_pool;

class uring_echo : public bench::uring_loop<uring_echo> {
 public:
  uring_echo(io_uring& ring, int listener, int descriptor_max, unsigned buffer_count,
             unsigned buffer_size, unsigned offered_max)
      : uring_loop(ring, listener, descriptor_max, buffer_count, buffer_size, offered_max),
        queues_(static_cast<std::size_t>(descriptor_max)) {}

  void received_bytes(int descriptor, buffer_pool::id buffer) {
    queue& waiting = at(descriptor);
    if (waiting.first == buffer_pool::none) {
      waiting.first = waiting.last = buffer;
      send_first(descriptor);
    } else {
      buffers().next(waiting.last) = buffer;
      waiting.last = buffer;
    }
  }

  void sent(int descriptor, int result) {
    queue& waiting = at(descriptor);
    bool failed = result < 0 || static_cast<unsigned>(result) < buffers().length(waiting.first);
    drop_first(waiting);
    while (failed && waiting.first != buffer_pool::none) drop_first(waiting);
    if (waiting.first != buffer_pool::none) return send_first(descriptor);
    close_when_done(descriptor);
  }

  bool may_close(int descriptor) { return at(descriptor).first == buffer_pool::none; }
  void closed(int) {}

 private:
  // Buffers that wait to be sent, the first of which the kernel is sending.
  struct queue {
    buffer_pool::id first = buffer_pool::none;
    buffer_pool::id last = buffer_pool::none;
  };

  void drop_first(queue& waiting) {
    buffer_pool::id gone = waiting.first;
    waiting.first = buffers().next(gone);
    buffers().give_back(gone);
  }
  void send_first(int descriptor) {
    buffer_pool::id buffer = at(descriptor).first;
    send(descriptor, buffers().data(buffer), buffers().length(buffer));
  }
  queue& at(int descriptor) { return queues_[static_cast<std::size_t>(descriptor)]; }

  std::vector<queue> queues_;  // by descriptor
};

}  // namespace

int main(int argc, char** argv) {
  std::uint16_t port = 0;
  unsigned buffer_size = 4096;
  unsigned buffer_count = 1024;
  unsigned offered_max = 0;
  bool large = false;
  CLI::App app{"Echo by a bare io_uring loop."};
  app.add_option("--port", port, "port on 127.0.0.1, 0 for any free one");
  app.add_option("--buffer-size", buffer_size, "bytes of a provided buffer");
  app.add_option("--buffers", buffer_count, "how many provided buffers")
      ->check(CLI::Range(1, 32768));
  app.add_option("--offered", offered_max, "how many of them stand in the ring at once");
  app.add_flag("--large", large, "64 buffers of 64 KiB: best for messages of that size");
  bench::parse_or_exit(app, argc, argv);
  if (large) {
    buffer_size = 64 * 1024;
    buffer_count = 64;
  }
  if (offered_max == 0 || offered_max > buffer_count) offered_max = buffer_count;

  int descriptor_max = bench::raise_descriptor_limit();
  int listener = bench::listen_on_loopback(port);
  io_uring ring{};
  bench::open_ring(ring);
  uring_echo server(ring, listener, descriptor_max, buffer_count, buffer_size, offered_max);
  bench::announce_ready_socket(listener);
  server.run();
}
