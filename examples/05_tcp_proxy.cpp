// A TCP proxy: what clients send goes to another server, and its answers come back.
//
//   build/release/bin/echo_server                        (in one terminal)
//   build/release/bin/05_tcp_proxy localhost 8888        ready: tcp 127.0.0.1:PORT
//   build/release/bin/echo_client 127.0.0.1 PORT hello   hello
//
// Back-pressure needs no code: a direction reads only when its last write has gone out.
// A connection on which nothing passes for --idle-timeout is given up: a peer that has lost its
// power says nothing. Read next: 06_simulated_partition.cpp.
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "program.h"
#include <rill/net/connect.h>
#include <rill/net/serve.h>
#include <rill/net/tcp.h>
#include <rill/runtime/combine.h>
#include <rill/runtime/event.h>
#include <rill/runtime/run.h>
#include <rill/runtime/sleep.h>

namespace {

struct options {
  std::string host = "localhost";
  std::string service = "8888";
  std::uint16_t listen_port = 0;
  std::chrono::milliseconds idle_timeout = std::chrono::minutes(5);
  std::string kernel = "auto";
};

/// One connection. It is idle when both directions are: a long download asks for nothing meanwhile.
class passage {
 public:
  passage(rill::tcp_stream& client, rill::tcp_stream& server, std::chrono::milliseconds idle)
      : client_(&client), server_(&server), idle_(idle) {}

  /// Each direction ends when its sender has finished. If one fails the other is cancelled.
  rill::task<> both_ways() {
    up_is_written_.set();
    down_is_written_.set();
    co_await rill::all_of(pass(*client_, *server_, up_is_written_, down_is_written_),
                          pass(*server_, *client_, down_is_written_, up_is_written_));
  }
  rill::task<> until_idle() {
    while (rill::loop_clock::now() < latest_ + idle_) co_await rill::sleep_until(latest_ + idle_);
  }

 private:
  /// As rill::copy, and notes when. An end is passed on when the write to where it came from is
  /// over, for that may be about to say that the connection was reset.
  rill::task<> pass(rill::tcp_stream& from, rill::tcp_stream& to, rill::event& is_written,
                    rill::event& other_is_written) {
    while (rill::lease bytes = co_await from.read_lease()) {
      is_written.reset();
      co_await to.write_all(bytes);
      is_written.set();
      latest_ = rill::loop_clock::now();
    }
    co_await other_is_written.wait();
    co_await to.shutdown_write();
  }

  rill::tcp_stream* client_;
  rill::tcp_stream* server_;
  rill::event up_is_written_;
  rill::event down_is_written_;
  std::chrono::milliseconds idle_;
  rill::loop_clock::time_point latest_ = rill::loop_clock::now();
};

rill::task<> proxy(const options& chosen) {
  const rill::endpoint local(rill::address::loopback_v4(), chosen.listen_port);
  rill::tcp_listener listener = rill::tcp_listener::bind(local);
  program::announce(program::ready_lines("tcp", listener.locals()));

  const auto forward = [&](rill::tcp_stream client) -> rill::task<> {
    // Until all has been passed on, closing is a reset, whatever happens here: an orderly end would
    // tell a peer that what it has got is all there is.
    client.set_linger(std::chrono::seconds(0));
    rill::tcp_stream server = co_await rill::connect(chosen.host, chosen.service);
    server.set_linger(std::chrono::seconds(0));
    passage both(client, server, chosen.idle_timeout);
    const auto first = co_await rill::any_of(both.both_ways(), both.until_idle());
    if (first.index() != 0) co_return;
    client.set_linger(std::nullopt);
    server.set_linger(std::nullopt);
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
  program::add_duration(app, "--idle-timeout", chosen.idle_timeout,
                        "give up connections so long idle (5m)");
  program::add_kernel(app, chosen.kernel);
  program::parse_or_exit(app, argc, argv);

  rill::run_options how;
  how.kernel = chosen.kernel;
  return rill::run(how, proxy, std::cref(chosen));
}
