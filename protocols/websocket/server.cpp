// From a request to a connection. See server.h.
#include <rill/protocols/websocket/server.h>

#include <exception>
#include <memory>
#include <string>
#include <utility>

#include <rill/runtime/nursery.h>

namespace rill::websocket {
namespace {

/// What goes from the handshake to the connection.
struct agreement {
  handler speak;
  draining_handler speak_draining;  // if there is none of the other
  connection_options options;
  negotiated agreed;
};

http::response refusal(const handshake_answer& why) {
  constexpr int method_not_allowed = 405;
  constexpr int upgrade_required = 426;
  http::response made(why.status, std::string(why.text), "text/plain; charset=utf-8");
  if (why.status == method_not_allowed) made.set("Allow", "GET");
  if (why.status == upgrade_required) {
    made.set("Upgrade", "websocket").set("Sec-WebSocket-Version", "13");
  }
  return made;
}

task<> say_farewell(drain_signal& drain, connection& peer) {
  co_await drain.wait();
  co_await peer.close(close_code::going_away, "the server is about to end");
}

/// The handler; its exception as a value, for nothing can be awaited where one is caught.
task<std::exception_ptr> spoken(const handler& speak, connection& peer) {
  std::exception_ptr failure;
  try {
    co_await speak(peer);
  } catch (...) {
    failure = std::current_exception();
  }
  co_return failure;
}

task<> speak_until_end(const handler& speak, connection& peer) {
  const std::exception_ptr failure = co_await spoken(speak, peer);
  const close_code code = failure ? close_code::internal_error : close_code::normal;
  co_await peer.close(code);
  if (failure) std::rethrow_exception(failure);
}

task<> converse(const agreement& with, http::upgraded given) {
  connection peer(std::move(given.stream), role::server, with.options, with.agreed, given.received);
  given.received = std::string();
  if (with.speak_draining) {
    drain_signal never;
    drain_signal& drain = given.drain != nullptr ? *given.drain : never;
    const handler speak = [&](connection& of) { return with.speak_draining(of, drain); };
    co_await speak_until_end(speak, peer);
    co_return;
  }
  if (given.drain == nullptr) {
    co_await speak_until_end(with.speak, peer);
    co_return;
  }
  co_await with_nursery([&](nursery& tasks) -> task<> {
    tasks.start(say_farewell, std::ref(*given.drain), std::ref(peer));
    co_await speak_until_end(with.speak, peer);
    tasks.cancel();
  });
}

http::response shake_hands(const http::request& asked, agreement&& how,
                           const server_options& options) {
  handshake_answer answer = answer_handshake(asked.head(), options);
  constexpr int switching_protocols = 101;
  if (answer.status != switching_protocols) return refusal(answer);
  const auto with = std::make_shared<agreement>(std::move(how));
  with->options = options.connection;
  with->agreed = std::move(answer.agreed);
  http::response made = http::response::upgrade(
      "websocket", [with](http::upgraded given) { return converse(*with, std::move(given)); });
  made.set("Sec-WebSocket-Accept", answer.accept);
  if (!with->agreed.subprotocol.empty()) {
    made.set("Sec-WebSocket-Protocol", with->agreed.subprotocol);
  }
  if (!answer.extensions.empty()) made.set("Sec-WebSocket-Extensions", answer.extensions);
  return made;
}

}  // namespace

http::response accept(const http::request& asked, handler speak, const server_options& options) {
  agreement how;
  how.speak = std::move(speak);
  return shake_hands(asked, std::move(how), options);
}

http::response accept(const http::request& asked, draining_handler speak,
                      const server_options& options) {
  agreement how;
  how.speak_draining = std::move(speak);
  return shake_hands(asked, std::move(how), options);
}

}  // namespace rill::websocket
