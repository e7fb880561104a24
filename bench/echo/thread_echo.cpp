// Echo by a thread per connection and blocking calls: what people write before they know better,
// and hard to beat at one connection.
//
// Not tuned beyond small stacks, which are what lets 16,000 threads fit.

#include <unistd.h>

#include "server.h"

namespace {

constexpr std::size_t buffer_size = 64 * 1024;

// The buffer lives on the stack: pages of it that a connection never touches cost no memory.
constexpr std::size_t stack_size = buffer_size + 32 * 1024;

bool send_all(int descriptor, const char* data, std::size_t size) {
  while (size > 0) {
    ssize_t sent = ::send(descriptor, data, size, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return false;
    data += sent;
    size -= static_cast<std::size_t>(sent);
  }
  return true;
}

void* echo(void* argument) {
  int descriptor = static_cast<int>(reinterpret_cast<std::intptr_t>(argument));
  char buffer[buffer_size];
  for (;;) {
    ssize_t got = ::recv(descriptor, buffer, sizeof buffer, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0 || !send_all(descriptor, buffer, static_cast<std::size_t>(got))) break;
  }
  ::close(descriptor);
  return nullptr;
}

}  // namespace

int main(int argc, char** argv) {
  std::uint16_t port = 0;
  CLI::App app{"Echo by a thread per connection."};
  app.add_option("--port", port, "port on 127.0.0.1, 0 for any free one");
  bench::parse_or_exit(app, argc, argv);

  bench::raise_descriptor_limit();
  int listener = bench::listen_on_loopback(port);
  bench::announce_ready_socket(listener);
  bench::serve_by_threads(listener, stack_size, echo);
}
