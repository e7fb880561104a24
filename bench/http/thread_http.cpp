// HTTP by a thread per connection and blocking calls, with the minimal parser (minimal_http.h).
//
// Not tuned beyond small stacks, which are what lets thousands of threads fit.

#include <unistd.h>

#include <string_view>

#include "minimal_http.h"
#include "server.h"

namespace {

constexpr std::size_t buffer_size = 16 * 1024;
constexpr std::size_t stack_size = buffer_size + 48 * 1024;

bool send_all(int descriptor, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(descriptor, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

void* answer(void* argument) {
  thread_local bench::answer_block block;
  const int descriptor = static_cast<int>(reinterpret_cast<std::intptr_t>(argument));
  bench::request_counter requests;
  char buffer[buffer_size];
  for (;;) {
    const ssize_t got = ::recv(descriptor, buffer, sizeof buffer, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    const std::size_t count = requests.count({buffer, static_cast<std::size_t>(got)});
    if (!send_all(descriptor, block.answers(std::min(count, bench::answer_block::count_max))))
      break;
  }
  ::close(descriptor);
  return nullptr;
}

}  // namespace

int main(int argc, char** argv) {
  std::uint16_t port = 0;
  CLI::App app{"HTTP by a thread per connection."};
  app.add_option("--port", port, "port on 127.0.0.1, 0 for any free one");
  bench::parse_or_exit(app, argc, argv);

  bench::raise_descriptor_limit();
  const int listener = bench::listen_on_loopback(port);
  bench::announce_ready_socket(listener);
  bench::serve_by_threads(listener, stack_size, answer);
}
