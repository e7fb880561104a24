// The HTTP server of the comparison, written with rill: what a user would write, and nothing else.
// Not here: options and robustness of examples/http_server.cpp.
#include <cstdint>
#include <string>

#include "server.h"
#include <rill/net/tcp.h>
#include <rill/protocols/http/router.h>
#include <rill/protocols/http/session.h>
#include <rill/runtime/run.h>

namespace {

rill::task<> service(std::uint16_t port) {
  rill::http::router routes;
  routes.get("/plaintext", [](rill::http::request&) {
    return rill::http::response::fixed("Hello, World!", "text/plain");
  });
  routes.use([](rill::http::request& asked, const rill::http::handler& next) {
    return next(asked).then([](rill::http::response& made) { made.set("Server", "rill"); });
  });
  const rill::endpoint local(rill::address::loopback_v4(), port);
  auto listener = rill::tcp_listener::bind(local);
  bench::announce_ready(listener.local().port());
  co_await rill::http::serve(listener, routes);
}

}  // namespace

int main(int argc, char** argv) {
  std::uint16_t port = 0;
  std::string kernel = "auto";
  CLI::App app{"HTTP by rill: one coroutine for each connection."};
  app.add_option("--port", port, "port on 127.0.0.1, 0 for any free one");
  app.add_option("--kernel", kernel, "auto, uring or epoll");
  bench::parse_or_exit(app, argc, argv);
  bench::raise_descriptor_limit();
  rill::run_options how;
  how.kernel = kernel;
  return rill::run(how, service, port);
}
