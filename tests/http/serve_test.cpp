// A server on sockets that drains: what has begun is answered, what is idle ends. See session.h.
#include <chrono>
#include <string>
#include <string_view>
#include <utility>

#include <gtest/gtest.h>

#include "support.h"
#include <rill/net/tcp.h>
#include <rill/protocols/http/router.h>
#include <rill/protocols/http/session.h>
#include <rill/runtime/event.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/timeout.h>

namespace rill::http {
namespace {

using namespace std::chrono_literals;
using test::run_loop;

/// All that still comes, without the line of the date.
task<std::string> rest_of(tcp_stream& stream) {
  std::string all;
  for (;;) {
    const auto part = co_await as_result(stream.read_lease());
    if (!part) all += "error " + part.error().message();
    if (!part || part->empty()) break;
    all += part->text();
  }
  const std::size_t date = all.find("Date: ");
  if (date != all.npos) all.erase(date, all.find('\n', date) + 1 - date);
  co_return all;
}

std::string closing_answer(std::string_view body) {
  return "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + std::string(body);
}

/// A server with a drain time of an hour, so that a test which had to wait for it would not end.
struct server {
  server() {
    routes.get("/", [](request&) { return response::text("root"); });
    routes.post("/", [this](request& asked) -> task<response> {
      begun.set();
      std::string body = co_await asked.read_body();
      co_return response::text(std::move(body));
    });
    routes.get("/slow", [this](request&) -> task<response> {
      begun.set();
      co_await may_end.wait();
      co_return response::text("slow");
    });
  }

  task<> run() {
    serve_limits limits;
    limits.drain_timeout = 1h;
    session_options options;
    options.idle_timeout = options.header_timeout = options.body_timeout = 1h;
    co_await serve(listener, routes, options, limits);
  }
  task<tcp_stream> connect() { return tcp_stream::connect(listener.local()); }

  tcp_listener listener = tcp_listener::bind(endpoint(address::loopback_v4(), 0));
  router routes;
  event begun;
  event may_end;
};

/// `client(server&)` drains the server by tasks.cancel(), shielded from it itself.
template <class Client>
void with_server(Client client) {
  run_loop([&]() -> task<> {
    server serving;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> { co_await serving.run(); });
      co_await shielded(client(serving, tasks));
    });
  });
}

TEST(http_serve, ends_idle_connections_at_once_when_it_drains) {
  with_server([](server& serving, nursery& tasks) -> task<> {
    tcp_stream fresh = co_await serving.connect();
    tcp_stream used = co_await serving.connect();
    co_await used.write_all("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    std::string answer(16, '\0');
    EXPECT_TRUE(co_await used.read_exactly(answer));
    co_await test::settle();
    tasks.cancel();
    EXPECT_EQ(co_await rest_of(fresh), "");
    const std::string rest = co_await rest_of(used);
    EXPECT_TRUE(rest.ends_with("\r\n\r\nroot")) << rest;
  });
}

TEST(http_serve, finishes_a_handler_and_a_body_that_have_begun_when_it_drains) {
  with_server([](server& serving, nursery& tasks) -> task<> {
    tcp_stream slow = co_await serving.connect();
    co_await slow.write_all("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    co_await serving.begun.wait();
    serving.begun.reset();
    tcp_stream upload = co_await serving.connect();
    co_await upload.write_all("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nfirst");
    co_await serving.begun.wait();
    tcp_stream head = co_await serving.connect();
    co_await head.write_all("GET / HTTP/1.1\r\nHo");
    co_await test::settle(20);
    tasks.cancel();
    co_await test::settle(20);
    co_await upload.write_all("-last");
    co_await head.write_all("st: a\r\n\r\n");
    serving.may_end.set();
    EXPECT_EQ(co_await rest_of(upload), closing_answer("first-last"));
    EXPECT_EQ(co_await rest_of(head), closing_answer("root"));
    EXPECT_EQ(co_await rest_of(slow), closing_answer("slow"));
  });
}

TEST(http_serve, lets_the_last_answer_be_read_by_a_client_that_sends_on) {
  with_server([](server& serving, nursery& tasks) -> task<> {
    tcp_stream slow = co_await serving.connect();
    co_await slow.write_all("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    co_await serving.begun.wait();
    tasks.cancel();
    // Closing a socket with unread bytes resets it, and the answer would be lost.
    co_await slow.write_all("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    serving.may_end.set();
    co_await test::settle(20);
    EXPECT_EQ(co_await rest_of(slow), closing_answer("slow"));
  });
}

TEST(http_serve, answers_what_has_arrived_when_it_drains) {
  with_server([](server& serving, nursery& tasks) -> task<> {
    tcp_stream waiting = co_await serving.connect();
    co_await waiting.write_all("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    tasks.cancel();
    EXPECT_EQ(co_await rest_of(waiting), closing_answer("root"));
  });
}

}  // namespace
}  // namespace rill::http
