// A TCP echo server that could be deployed: both families, several threads, limits, draining.
//
//   build/release/bin/echo_server                       ready: tcp [::1]:8888
//                                                       ready: tcp 127.0.0.1:8888
//   nc localhost 8888                                   what you type comes back
//   Ctrl-C                                              drains and ends with 0; twice: at once
//   kill -USR1 PID                                      shows where every task waits
//
// Not here: the session itself (protocols/echo/echo.h).
#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "program.h"
#include <rill/net/listen.h>
#include <rill/net/serve.h>
#include <rill/protocols/echo/echo.h>
#include <rill/runtime/loop_group.h>
#include <rill/runtime/run.h>

namespace {

struct options {
  std::string host = "localhost";
  std::uint16_t port = 8888;
  std::string prefix;
  unsigned threads = 1;
  std::size_t connection_max = 0;
  std::chrono::milliseconds idle_timeout = std::chrono::minutes(5);
  std::chrono::milliseconds drain_timeout = std::chrono::seconds(5);
  std::string kernel = "auto";
};

rill::task<> echo_server(const options& chosen) {
  // The first listener binds alone, so that a port which another program holds is refused; then it
  // lets the other loops join, and the kernel spreads connections over them.
  rill::tcp_listener first = co_await rill::tcp_listener::bind(chosen.host, chosen.port);
  const std::vector<rill::endpoint> locals = first.locals();
  std::vector<rill::shared_socket> shared;
  if (chosen.threads > 1) shared = first.share();

  std::atomic<std::size_t> connection_count = 0;
  std::atomic<unsigned> listening_count = 0;
  rill::loop_group loops(chosen.threads);
  const auto serve_on_loop = [&](unsigned index) -> rill::task<> {
    rill::tcp_listener listener = index == 0 ? std::move(first) : rill::tcp_listener::join(shared);
    if (++listening_count == chosen.threads) {
      program::announce(program::ready_lines("tcp", locals));
    }
    rill::echo::session_options session;
    session.prefix = chosen.prefix;
    session.idle_timeout = chosen.idle_timeout;
    const auto echo = [&](rill::tcp_stream peer) {
      return rill::echo::session(std::move(peer), session);
    };
    rill::serve_limits limits;
    limits.connection_max = chosen.connection_max;
    limits.shared_count = &connection_count;
    limits.drain_timeout = chosen.drain_timeout;
    co_await rill::serve(listener, echo, limits);
  };
  co_await loops.run(serve_on_loop);
}

}  // namespace

int main(int argc, char** argv) {
  options chosen;
  CLI::App app("TCP echo server: sends back what it receives, until Ctrl-C.");
  program::add_host(app, chosen.host, "name or address to listen on (localhost)");
  program::add_number(app, "--port", chosen.port, "port, 0 for any that is free (8888)");
  app.add_option("--prefix", chosen.prefix, "text before each message (none)");
  program::add_number(app, "--threads", chosen.threads, "loops, each on a thread (1)")
      ->check(CLI::Range(1U, 1024U));
  program::add_number(app, "--max-connections", chosen.connection_max,
                      "over all loops (what fits)");
  program::add_duration(app, "--idle-timeout", chosen.idle_timeout, "a silent peer's time (5m)");
  program::add_duration(app, "--drain-timeout", chosen.drain_timeout, "time to finish in (5s)");
  program::add_kernel(app, chosen.kernel);
  program::parse_or_exit(app, argc, argv);
  const std::size_t fitting = program::default_connection_max(chosen.threads);
  if (chosen.connection_max == 0) chosen.connection_max = fitting;

  rill::run_options how;
  how.kernel = chosen.kernel;
  return rill::run(how, echo_server, std::cref(chosen));
}
