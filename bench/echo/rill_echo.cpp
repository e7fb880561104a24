// The echo server of the comparison, written with rill: what a user would write, and nothing else.
// Not here: options and robustness of examples/echo_server.cpp.
#include <cstdint>
#include <string>

#include "server.h"
#include <rill/net/serve.h>
#include <rill/runtime/run.h>

namespace {

rill::task<> echo(rill::tcp_stream peer) {
  while (auto bytes = co_await peer.read_lease()) {
    co_await peer.write_all(bytes);
  }
}

rill::task<> service(std::uint16_t port) {
  const rill::endpoint local(rill::address::loopback_v4(), port);
  auto listener = rill::tcp_listener::bind(local);
  bench::announce_ready(listener.local().port());
  co_await rill::serve(listener, echo);
}

}  // namespace

int main(int argc, char** argv) {
  std::uint16_t port = 0;
  std::string kernel = "auto";
  CLI::App app{"Echo by rill: one coroutine for each connection."};
  app.add_option("--port", port, "port on 127.0.0.1, 0 for any free one");
  app.add_option("--kernel", kernel, "auto, uring or epoll");
  bench::parse_or_exit(app, argc, argv);
  bench::raise_descriptor_limit();
  rill::run_options how;
  how.kernel = kernel;
  return rill::run(how, service, port);
}
