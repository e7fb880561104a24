// Sends one message over UDP and prints the reply.
//
//   build/release/bin/udp_echo_client localhost 9999 'hello, rill'      hello, rill
//
// UDP promises no delivery: without an answer the client gives up after its time-out and exits 1.
#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "program.h"
#include <rill/net/resolver.h>
#include <rill/net/udp.h>
#include <rill/runtime/run.h>
#include <rill/runtime/timeout.h>

namespace {

struct options {
  std::string host;
  std::string port;
  std::string message;
  std::chrono::milliseconds timeout = std::chrono::seconds(5);
  std::string kernel = "auto";
};

rill::task<std::string> ask(const rill::endpoint& server, const std::string& message) {
  rill::udp_socket socket = rill::udp_socket::open(server.ip()->address().family());
  co_await socket.connect(server);  // only its datagrams are received, and its refusals are told
  co_await socket.send(message);
  const rill::datagram reply = co_await socket.receive();
  co_return std::string(reply.text());
}

/// The answer of the first address that does not refuse. `asked` is whom the client waits for.
rill::task<std::string> ask_any(const options& chosen, std::string& asked) {
  const std::vector<rill::endpoint> servers = co_await rill::resolve(chosen.host, chosen.port);
  // A name may have an address on which nobody listens; the refusal comes back at once.
  for (std::size_t i = 0;; ++i) {
    asked = servers[i].to_string();
    try {
      co_return co_await ask(servers[i], chosen.message);
    } catch (const rill::io_error& failure) {
      if (i + 1 == servers.size()) {
        throw rill::io_error(failure.code(), failure.operation(), asked);
      }
    }
  }
}

rill::task<> udp_echo_client(const options& chosen) {
  std::string asked = chosen.host;
  try {
    const std::string reply = co_await rill::with_timeout(chosen.timeout, ask_any(chosen, asked));
    program::print(reply + '\n');
  } catch (const rill::timeout_error&) {
    throw rill::timeout_error(asked == chosen.host ? "resolve" : "recv", asked);
  }
}

}  // namespace

int main(int argc, char** argv) {
  options chosen;
  CLI::App app("Sends MESSAGE to a UDP echo server and prints the reply.");
  app.add_option("HOST", chosen.host, "name or address")->required();
  app.add_option("PORT", chosen.port, "port number or service name")->required();
  app.add_option("MESSAGE", chosen.message, "what to send")->required();
  program::add_duration(app, "--timeout", chosen.timeout, "for the look-up and the reply (5s)");
  program::add_kernel(app, chosen.kernel);
  program::parse_or_exit(app, argc, argv);

  rill::run_options how;
  how.kernel = chosen.kernel;
  return rill::run(how, udp_echo_client, std::cref(chosen));
}
