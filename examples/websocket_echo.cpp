// A WebSocket server that sends back what it hears, beside a page that talks to it.
//
//   build/release/bin/websocket_echo           ready: http [::1]:8080
//                                              ready: http 127.0.0.1:8080
//   a browser at http://localhost:8080/        type a line, and it comes back
//   websocket_echo --connect ws://localhost:8080/echo
//                                              sends the lines of stdin and prints what comes
//   Ctrl-C                                     closes each connection with 1001, ends with 0
//
// Read next: protocols/websocket/server.h, connection.h.
#include <cstdint>
#include <functional>
#include <iostream>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "program.h"
#include <rill/net/tcp.h>
#include <rill/protocols/http/router.h>
#include <rill/protocols/http/session.h>
#include <rill/protocols/websocket/client.h>
#include <rill/protocols/websocket/server.h>
#include <rill/runtime/blocking.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/run.h>

namespace {

namespace http = rill::http;
namespace websocket = rill::websocket;

constexpr std::string_view page = R"html(<!doctype html>
<meta charset="utf-8"><title>Echo</title>
<input id="line" autofocus placeholder="type a line, then Enter"><pre id="heard"></pre>
<script>
const show = text => heard.textContent += text + "\n";
const socket = new WebSocket(location.href.replace(/^http/, "ws") + "echo");
socket.onopen = () => show("connected");
socket.onmessage = event => show(event.data);
socket.onclose = event => show("closed: " + event.code + " " + event.reason);
line.onchange = () => { socket.send(line.value); line.value = ""; };
</script>
)html";

struct options {
  std::string host = "localhost";
  std::uint16_t port = 8080;
  std::vector<std::string> origins;
  std::string connect;
  std::string kernel = "auto";
};

rill::task<> echo(websocket::connection& peer) {
  while (auto message = co_await peer.read()) {  // nothing: it has ended
    co_await peer.write(*message);
  }
}

rill::task<> serve(const options& chosen) {
  websocket::server_options how;
  how.connection.deflate.is_on = true;
  how.origins = chosen.origins;
  http::router routes;
  routes.get("/", [](http::request&) { return http::response::fixed(page, "text/html"); });
  routes.get("/echo", [&](http::request& asked) { return websocket::accept(asked, echo, how); });
  auto listener = co_await rill::tcp_listener::bind(chosen.host, chosen.port);
  program::announce(program::ready_lines("http", listener.locals()));
  co_await http::serve(listener, routes);  // until cancelled; drains first
}

std::optional<std::string> read_line() {
  std::string line;
  if (!std::getline(std::cin, line)) return std::nullopt;
  return line;
}

rill::task<> send_lines(websocket::connection& to) {
  for (;;) {
    const std::optional<std::string> line = co_await rill::run_blocking(read_line);
    if (!line) break;
    co_await to.write_text(*line);
  }
  co_await to.close();
}

rill::task<> talk(const options& chosen) {
  websocket::client_options how;
  how.connection.deflate.is_on = true;
  auto peer = co_await websocket::connect(chosen.connect, how);
  co_await rill::with_nursery([&](rill::nursery& tasks) -> rill::task<> {
    tasks.start(send_lines, std::ref(peer));
    while (auto message = co_await peer.read()) std::cout << message->data << std::endl;
    tasks.cancel();
  });
}

rill::task<> run(const options& chosen) {
  if (chosen.connect.empty()) return serve(chosen);
  return talk(chosen);
}

}  // namespace

int main(int argc, char** argv) {
  options chosen;
  CLI::App app("WebSocket echo: a server, or a client, until Ctrl-C.");
  program::add_host(app, chosen.host, "name or address to listen on (localhost)");
  program::add_number(app, "--port", chosen.port, "port, 0 for any that is free (8080)");
  app.add_option("--origin", chosen.origins, "whose pages may connect (those of this host)");
  app.add_option("--connect", chosen.connect, "be a client of this URL: ws://... or wss://...");
  program::add_kernel(app, chosen.kernel);
  program::parse_or_exit(app, argc, argv);
  rill::run_options how;
  how.kernel = chosen.kernel;
  return rill::run(how, run, std::cref(chosen));
}
