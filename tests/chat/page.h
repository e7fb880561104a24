// A browser of a chat for tests, JSON over a WebSocket, and a server that has both kinds of
// members, in a simulated world. Read next: browser_test.cpp.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include "chat/talker.h"
#include <rill/protocols/chat/browser.h>
#include <rill/protocols/http/router.h>
#include <rill/protocols/http/session.h>
#include <rill/protocols/websocket/client.h>
#include <rill/protocols/websocket/server.h>

namespace rill::chat::test {

/// One loop's chat on port 12345, and its browsers' on port 8081, until it is cancelled.
inline task<> page_service(server_options how, std::shared_ptr<hub>* seen = nullptr) {
  auto lines = tcp_listener::bind(at("0.0.0.0:12345"));
  auto pages = tcp_listener::bind(at("0.0.0.0:8081"));
  const std::shared_ptr<hub> all = hub::make({&loop::current()}, how.hub);
  if (seen != nullptr) *seen = all;
  branch here(all->at(0), how.session);
  address_counter addresses(how.per_address_max);
  if (how.per_address_max != 0) here.addresses = &addresses;
  http::router routes;
  const auto speak = [&here](websocket::connection& peer, drain_signal& drain) {
    return browse(peer, here, &drain);
  };
  routes.get("/ws",
             [&](http::request& asked) { return websocket::accept(asked, speak, how.pages); });
  co_await with_nursery([&](nursery& both) -> task<> {
    both.start([&]() -> task<> {
      co_await http::serve(pages, routes, http::session_options(), how.limits);
    });
    co_await serve(lines, here, how.limits);
  });
}

/// A browser. What does not come within 100 s of virtual time throws.
class page {
 public:
  using json = nlohmann::json;

  static task<page> connect() {
    websocket::connection made = co_await websocket::connect("ws://10.0.0.1:8081/ws");
    co_return page(std::move(made));
  }
  /// Until it has seen who is in its room.
  static task<page> join(std::string name, std::string room = "lobby") {
    page made = co_await connect();
    co_await made.say(R"({"type":"hello","name":")" + name + R"(","room":")" + room + "\"}");
    co_await made.find("joined");
    co_return made;
  }

  task<> say(std::string text) { co_await peer.write_text(text); }
  /// The next message, without what differs from run to run; {"end":"CODE REASON"} at the end.
  task<json> next() {
    const std::optional<websocket::message> came =
        co_await with_timeout(std::chrono::seconds(100), peer.read());
    json made;
    if (came) {
      made = json::parse(came->data);
      last_id = made.value("id", last_id);
      made.erase("id");
      made.erase("time");
    } else {
      made["end"] = std::to_string(static_cast<int>(peer.code())) + ' ' + peer.reason();
    }
    co_return made;
  }
  /// The next message of this type; the end if there is none.
  task<json> find(std::string type) {
    for (;;) {
      json came = co_await next();
      if (came.value("type", type) == type) co_return came;
    }
  }

  websocket::connection peer;
  std::uint64_t last_id = 0;

 private:
  explicit page(websocket::connection connected) : peer(std::move(connected)) {}
};

}  // namespace rill::chat::test
