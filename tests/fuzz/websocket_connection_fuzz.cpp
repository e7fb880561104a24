// A whole WebSocket of a server in a simulated world: what its client sends is what the input says,
// in pieces and with pauses. The server echoes; what it sends back is what a reader written a
// second time would make of the bytes, the session ends, and nothing is left.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fuzz/input.h"
#include "fuzz/websocket_reader.h"
#include "fuzz/world.h"
#include <rill/net/tcp.h>
#include <rill/protocols/http/router.h>
#include <rill/protocols/http/session.h>
#include <rill/protocols/websocket/server.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/sleep.h>

namespace {

using rill::endpoint;
using rill::task;
using rill::fuzz::check;
namespace http = rill::http;
namespace websocket = rill::websocket;

constexpr std::size_t message_max = 300;
constexpr std::size_t empty_max = 3;

task<> echo(websocket::connection& peer) {
  for (;;) {
    const std::optional<websocket::message> came = co_await peer.read();
    if (!came) break;
    co_await peer.write(*came);
  }
}

task<> serve_one() {
  websocket::server_options options;
  options.connection.limits = {message_max, empty_max};
  http::router routes;
  routes.get("/", [&](http::request& asked) { return websocket::accept(asked, echo, options); });
  const http::session_options session;
  auto listener = rill::tcp_listener::bind(endpoint(rill::address::any_v4(), 80));
  auto peer = co_await listener.accept();
  co_await http::session(std::move(peer), routes, session);
}

const std::string handshake =
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Sends `bytes` piece by piece, then ends its direction and reads to the end.
task<> speak(std::string_view bytes, std::size_t step, std::chrono::nanoseconds pause,
             std::string& came) {
  auto stream = co_await rill::tcp_stream::connect(endpoint(*rill::address::parse("10.0.0.1"), 80));
  co_await rill::with_nursery([&](rill::nursery& both) -> task<> {
    both.start([&]() -> task<> {
      while (!bytes.empty()) {
        const std::string_view piece = bytes.substr(0, step);
        bytes.remove_prefix(piece.size());
        const auto sent = co_await rill::as_result(stream.write_all(rill::const_buffer(piece)));
        if (!sent) co_return;
        if (pause.count() != 0) co_await rill::sleep_for(pause);
      }
      co_await rill::as_result(stream.shutdown_write());
    });
    for (;;) {
      const auto part = co_await rill::as_result(stream.read_lease());
      if (!part || part->empty()) break;
      came += part->text();
    }
  });
}

/// What an echo of these events sends.
std::vector<std::string> answers_to(const std::vector<std::string>& events) {
  std::vector<std::string> made;
  for (const std::string& each : events) {
    if (each.starts_with("ping:")) {
      made.push_back("pong:" + each.substr(5));
    } else if (each.starts_with("failed ")) {
      made.push_back("close " + each.substr(7));
    } else if (each.starts_with("close ")) {
      made.push_back(each.substr(0, each.find(':')));
    } else if (!each.starts_with("pong:")) {
      made.push_back(each);
    }
  }
  return made;
}

/// A function of its own: g++ 12 gives a coroutine lambda within a lambda of an extern "C" function
/// one name twice.
void visit(rill::sim::world& world, const std::string& sent, std::size_t step,
           std::chrono::nanoseconds pause, std::string& came) {
  rill::sim::host& server = world.add_host("server", "10.0.0.1");
  rill::sim::host& client = world.add_host("client", "10.0.0.2");
  auto& serving = server.run(serve_one);
  world.run_for(std::chrono::milliseconds(1));
  world.run(client.run([&]() -> task<> { co_await speak(sent, step, pause, came); }));
  world.run(serving);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t size_max = 2048;
  if (size > size_max) return -1;
  rill::fuzz::input from(data, size);
  const std::uint64_t seed = from.byte();
  const std::size_t step = 1 + from.number(200);
  const std::chrono::nanoseconds pause = std::chrono::microseconds(from.number(255));
  const std::string_view frames = from.rest();
  const auto expected = rill::fuzz::read_plainly(frames, true, message_max, empty_max);
  const std::string sent = handshake + std::string(frames.substr(0, expected.used));
  std::string came;
  rill::fuzz::in_a_world(seed,
                         [&](rill::sim::world& world) { visit(world, sent, step, pause, came); });
  const std::size_t head_size = came.find("\r\n\r\n");
  check(came.starts_with("HTTP/1.1 101 ") && head_size != came.npos, "hands are shaken");
  auto answers =
      rill::fuzz::read_plainly(std::string_view(came).substr(head_size + 4), false, size_max, 0);
  for (std::string& each : answers.events) {
    if (each.starts_with("close ")) each.erase(each.find(':'));
  }
  check(answers.events == answers_to(expected.events), "an echo is that of what was read");
  return 0;
}
