// A TCP proxy: what clients send goes to another server, and its answers come back.
//
//   build/release/bin/echo_server                        (in one terminal)
//   build/release/bin/05_tcp_proxy localhost 8888        ready: tcp 127.0.0.1:PORT
//   build/release/bin/echo_client 127.0.0.1 PORT hello   hello
//
// Back-pressure needs no code: a copy reads only when its last write has gone out.
// Read next: 06_simulated_partition.cpp.
#include <cstdint>
#include <string>

#include "program.h"
#include <rill/net/connect.h>
#include <rill/net/serve.h>
#include <rill/net/stream.h>
#include <rill/runtime/combine.h>
#include <rill/runtime/run.h>

namespace {

struct options {
  std::string host = "localhost";
  std::string service = "8888";
  std::uint16_t listen_port = 0;
  std::string kernel = "auto";
};

rill::task<> proxy(const options& chosen) {
  const rill::endpoint local(rill::address::loopback_v4(), chosen.listen_port);
  rill::tcp_listener listener = rill::tcp_listener::bind(local);
  program::announce(program::ready_lines("tcp", listener.locals()));

  const auto forward = [&](rill::tcp_stream client) -> rill::task<> {
    rill::tcp_stream server = co_await rill::connect(chosen.host, chosen.service);
    // Each direction ends when its sender has finished, and passes the half-close on. If one fails
    // the other is cancelled, and both connections are closed.
    co_await rill::all_of(rill::copy(client, server), rill::copy(server, client));
  };
  co_await rill::serve(listener, forward);
}

}  // namespace

int main(int argc, char** argv) {
  options chosen;
  CLI::App app("Forwards TCP connections to HOST PORT, until Ctrl-C.");
  app.add_option("HOST", chosen.host, "where to (localhost)");
  app.add_option("PORT", chosen.service, "port number or service name there (8888)");
  program::add_number(app, "--port", chosen.listen_port, "port to listen on, 0 for any (0)");
  program::add_kernel(app, chosen.kernel);
  program::parse_or_exit(app, argc, argv);

  rill::run_options how;
  how.kernel = chosen.kernel;
  return rill::run(how, proxy, std::cref(chosen));
}
