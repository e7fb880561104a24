// The demo: every service of rill in one process on one loop. So far HTTP, echo over TCP and UDP,
// and a chat.
//
//   examples/demo.sh                       builds it, starts it on ports 8080, 8888, 9999, 12345,
//                                          says what runs where and what to type to try it
//   build/release/bin/demo --http-port 0 --tcp-port 0 --udp-port 0 --chat-port 0
//                                          the same on free ports, with a "ready: " line for each
//
// Read next: echo_server.cpp, http_server.cpp and chat_server.cpp, which are one service each with
// all its options.
#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "chat_page.h"
#include "http_routes.h"
#include "program.h"
#include <rill/net/listen.h>
#include <rill/net/serve.h>
#include <rill/protocols/chat/browser.h>
#include <rill/protocols/chat/hub.h>
#include <rill/protocols/chat/session.h>
#include <rill/protocols/echo/datagrams.h>
#include <rill/protocols/echo/echo.h>
#include <rill/protocols/http/session.h>
#include <rill/protocols/websocket/server.h>
#include <rill/runtime/loop.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/run.h>

namespace {

struct options {
  std::string host = "localhost";
  std::uint16_t http_port = 8080;
  std::uint16_t tcp_port = 8888;
  std::uint16_t udp_port = 9999;
  std::uint16_t chat_port = 12345;
  std::string kernel = "auto";
};

void explain(std::uint16_t http_port, std::uint16_t tcp_port, std::uint16_t udp_port,
             std::uint16_t chat_port) {
  const std::string http = std::to_string(http_port);
  const std::string tcp = std::to_string(tcp_port);
  const std::string udp = std::to_string(udp_port);
  const std::string chat = std::to_string(chat_port);
  program::announce(
      "\nThe rill demo is running. In another terminal try:\n"
      "  HTTP       a browser at http://localhost:" +
      http + "/any/path\n" + "             curl localhost:" + http + "/json\n" +
      "             build/release/bin/http_client http://localhost:" + http + "/headers\n" +
      "  TCP echo   nc localhost " + tcp + "\n" +
      "             build/release/bin/echo_client localhost " + tcp + " hello\n" +
      "  UDP echo   echo hello | nc -u -w1 localhost " + udp + "\n" +
      "             build/release/bin/udp_echo_client localhost " + udp + " hello\n" +
      "  Chat       a browser at http://localhost:" + http + "/chat\n" +
      "             nc localhost " + chat + ", then a name\n" +
      "             build/release/bin/chat_client localhost " + chat + " --nick me\n" +
      "What its tasks are doing: kill -USR1 $(pidof demo)\n"
      "To end it: Ctrl-C.\n");
}

rill::task<> echo_to(rill::tcp_stream peer) { return rill::echo::session(std::move(peer)); }

rill::task<> demo(const options& chosen) {
  rill::tcp_listener http = co_await rill::tcp_listener::bind(chosen.host, chosen.http_port);
  rill::tcp_listener echo = co_await rill::tcp_listener::bind(chosen.host, chosen.tcp_port);
  rill::tcp_listener chat = co_await rill::tcp_listener::bind(chosen.host, chosen.chat_port);
  std::vector<rill::udp_socket> sockets = co_await rill::bind_udp(chosen.host, chosen.udp_port);
  std::vector<rill::endpoint> udp_locals;
  for (const rill::udp_socket& socket : sockets) udp_locals.push_back(socket.local());
  program::announce(
      program::ready_lines("http", http.locals()) + program::ready_lines("tcp", echo.locals()) +
      program::ready_lines("udp", udp_locals) + program::ready_lines("chat", chat.locals()));
  explain(http.local().port(), echo.local().port(), udp_locals.front().port(), chat.local().port());

  rill::http::router router;
  routes::add(router, "");
  const auto hub = rill::chat::hub::make({&rill::loop::current()});
  rill::chat::branch members(hub->at(0), rill::chat::session_options());
  const auto browse = [&](rill::websocket::connection& peer, rill::drain_signal& drain) {
    return rill::chat::browse(peer, members, &drain);
  };
  router.get("/chat", [](rill::http::request&) {
    return rill::http::response::fixed(chat_page, "text/html; charset=utf-8");
  });
  router.get("/ws",
             [&](rill::http::request& asked) { return rill::websocket::accept(asked, browse); });
  std::atomic<std::size_t> connection_count = 0;
  rill::serve_limits limits;
  limits.connection_max = program::default_connection_max(1);
  limits.shared_count = &connection_count;
  co_await rill::with_nursery([&](rill::nursery& services) -> rill::task<> {
    for (rill::udp_socket& socket : sockets) {
      services.start(rill::echo::serve_datagrams, std::move(socket), std::string(),
                     limits.drain_timeout);
    }
    services.start([&]() -> rill::task<> {
      co_await rill::http::serve(http, router, rill::http::session_options(), limits);
    });
    services.start([&] { return rill::chat::serve(chat, members, limits); });
    co_await rill::serve(echo, echo_to, limits);
  });
}

}  // namespace

int main(int argc, char** argv) {
  options chosen;
  CLI::App app("The rill demo: HTTP, TCP and UDP echo, and a chat in one process, until Ctrl-C.");
  program::add_host(app, chosen.host, "name or address to listen on (localhost)");
  program::add_number(app, "--http-port", chosen.http_port, "HTTP, 0 for any free port (8080)");
  program::add_number(app, "--tcp-port", chosen.tcp_port, "TCP echo, 0 for any free port (8888)");
  program::add_number(app, "--udp-port", chosen.udp_port, "UDP echo, 0 for any free port (9999)");
  program::add_number(app, "--chat-port", chosen.chat_port, "chat, 0 for any free port (12345)");
  program::add_kernel(app, chosen.kernel);
  program::parse_or_exit(app, argc, argv);

  rill::run_options how;
  how.kernel = chosen.kernel;
  return rill::run(how, demo, std::cref(chosen));
}
