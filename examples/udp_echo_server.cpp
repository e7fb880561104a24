// A UDP echo server: every datagram goes back to whoever sent it.
//
//   build/release/bin/udp_echo_server                   ready: udp [::1]:9999
//                                                       ready: udp 127.0.0.1:9999
//   echo hello | nc -u -w1 127.0.0.1 9999               hello
//   Ctrl-C                                              answers what has come and ends with 0
#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "program.h"
#include <rill/net/listen.h>
#include <rill/net/udp.h>
#include <rill/protocols/echo/datagrams.h>
#include <rill/runtime/loop_group.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/run.h>

namespace {

struct options {
  std::string host = "localhost";
  std::uint16_t port = 9999;
  std::string prefix;
  unsigned threads = 1;
  // Datagrams have no connections: these two are taken so that both servers start alike.
  std::size_t connection_max = 0;
  std::chrono::milliseconds idle_timeout = std::chrono::minutes(5);
  std::chrono::milliseconds drain_timeout = std::chrono::seconds(5);
  std::string kernel = "auto";
};

rill::task<> udp_echo_server(const options& chosen) {
  std::vector<rill::udp_socket> first = co_await rill::bind_udp(chosen.host, chosen.port);
  std::vector<rill::endpoint> locals;
  std::vector<rill::shared_socket> shared;
  for (rill::udp_socket& socket : first) {
    locals.push_back(socket.local());
    if (chosen.threads > 1) shared.push_back(socket.share());
  }

  std::atomic<unsigned> bound_count = 0;
  rill::loop_group loops(chosen.threads);
  const auto serve_on_loop = [&](unsigned index) -> rill::task<> {
    std::vector<rill::udp_socket> sockets;
    if (index == 0) {
      sockets = std::move(first);
    } else {
      for (const rill::shared_socket& each : shared) {
        sockets.push_back(rill::udp_socket::join(each));
      }
    }
    if (++bound_count == chosen.threads) {
      program::announce(program::ready_lines("udp", locals));
    }
    co_await rill::with_nursery([&](rill::nursery& tasks) -> rill::task<> {
      for (rill::udp_socket& socket : sockets) {
        tasks.start(rill::echo::serve_datagrams, std::move(socket), chosen.prefix,
                    chosen.drain_timeout);
      }
      co_return;
    });
  };
  co_await loops.run(serve_on_loop);
}

}  // namespace

int main(int argc, char** argv) {
  options chosen;
  CLI::App app("UDP echo server: sends every datagram back to its sender, until Ctrl-C.");
  program::add_host(app, chosen.host, "name or address to receive on (localhost)");
  program::add_number(app, "--port", chosen.port, "port, 0 for any that is free (9999)");
  app.add_option("--prefix", chosen.prefix, "text before each message (none)");
  program::add_number(app, "--threads", chosen.threads, "loops, each on a thread (1)")
      ->check(CLI::Range(1U, 1024U));
  program::add_number(app, "--max-connections", chosen.connection_max, "no effect: UDP has none");
  program::add_duration(app, "--idle-timeout", chosen.idle_timeout, "no effect on UDP");
  program::add_duration(app, "--drain-timeout", chosen.drain_timeout, "for what has arrived (5s)");
  program::add_kernel(app, chosen.kernel);
  program::parse_or_exit(app, argc, argv);

  rill::run_options how;
  how.kernel = chosen.kernel;
  return rill::run(how, udp_echo_server, std::cref(chosen));
}
