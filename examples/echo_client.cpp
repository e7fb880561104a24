// Sends one message over TCP and prints what comes back.
//
//   build/release/bin/echo_client localhost 8888 'hello, rill'      hello, rill
//   build/release/bin/echo_client localhost 1 hello
//     echo_client: connect localhost:1: [::1]:1: Connection refused; 127.0.0.1:1: ...
#include <chrono>
#include <string>

#include "program.h"
#include <rill/net/connect.h>
#include <rill/net/stream.h>
#include <rill/runtime/run.h>
#include <rill/runtime/timeout.h>

namespace {

struct options {
  std::string host;
  std::string port;
  std::string message;
  std::chrono::milliseconds timeout = std::chrono::seconds(10);
  std::string kernel = "auto";
};

// An echo without end would fill the memory: nobody types a message of this size.
constexpr std::size_t reply_size_max = 64 * 1024 * 1024;

rill::task<std::string> exchange(rill::tcp_stream& server, const std::string& message) {
  co_await server.write_all(message);
  // Tells the server that this was all. If the connection is over, reading tells why.
  co_await rill::as_result(server.shutdown_write());
  co_return co_await rill::read_all(server, reply_size_max);
}

rill::task<> echo_client(const options& chosen) {
  const auto deadline = rill::loop_clock::after(rill::loop_clock::now(), chosen.timeout);
  rill::connect_options how;
  how.timeout = chosen.timeout;
  rill::tcp_stream server = co_await rill::connect(chosen.host, chosen.port, how);
  const std::string peer = server.peer().to_string();
  try {
    const std::string reply =
        co_await rill::with_deadline(deadline, exchange(server, chosen.message));
    program::print(reply + '\n');
  } catch (const rill::timeout_error&) {
    throw rill::timeout_error("no answer from", peer);
  }
}

}  // namespace

int main(int argc, char** argv) {
  options chosen;
  CLI::App app("Sends MESSAGE to a TCP echo server and prints the reply.");
  app.add_option("HOST", chosen.host, "name or address")->required();
  app.add_option("PORT", chosen.port, "port number or service name")->required();
  app.add_option("MESSAGE", chosen.message, "what to send")->required();
  program::add_duration(app, "--timeout", chosen.timeout, "for all of it (10s)");
  program::add_kernel(app, chosen.kernel);
  program::parse_or_exit(app, argc, argv);

  rill::run_options how;
  how.kernel = chosen.kernel;
  return rill::run(how, echo_client, std::cref(chosen));
}
