// A server and a client that meet over HTTP: handshakes, TLS, drains, exceptions.
#include <rill/protocols/websocket/server.h>

#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "support.h"
#include "support/certificates.h"
#include "websocket/frames.h"
#include <rill/net/serve.h>
#include <rill/net/tcp.h>
#include <rill/net/tls/stream.h>
#include <rill/protocols/http/compress.h>
#include <rill/protocols/http/router.h>
#include <rill/protocols/http/session.h>
#include <rill/protocols/http/tls_connector.h>
#include <rill/protocols/websocket/client.h>
#include <rill/runtime/event.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/timeout.h>

namespace rill::websocket {
namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;
using rill::test::run_loop;
using rill::test::settle;
using test::frame;

task<> echo(connection& peer) {
  for (;;) {
    const std::optional<message> came = co_await peer.read();
    if (!came) break;
    co_await peer.write(*came);
  }
}

/// With a drain time of an hour: a test that had to wait for it would not end.
struct site {
  site() {
    limits.drain_timeout = 1h;
    limits.on_error = [](const endpoint&, std::exception_ptr) {};
    options.subprotocols = {"chat"};
    options.connection.deflate.is_on = true;
    routes.get("/", [](http::request&) { return http::response::text("a page"); });
    routes.get("/echo", [this](http::request& asked) { return accept(asked, echo, options); });
    routes.get("/once", [this](http::request& asked) {
      return accept(
          asked, [](connection& peer) -> task<> { co_await peer.write_text("only this"); },
          options);
    });
    routes.get("/throw", [this](http::request& asked) {
      return accept(
          asked,
          [](connection& peer) -> task<> {
            co_await peer.read();
            throw std::runtime_error("a secret");
          },
          options);
    });
    routes.get("/talk", [this](http::request& asked) {
      return accept(asked, [this](connection& peer) { return talk(peer); }, options);
    });
    routes.get("/last", [this](http::request& asked) {
      return accept(
          asked, [this](connection& peer, drain_signal& drain) { return say_last(peer, drain); });
    });
    routes.use(http::compressed());
  }
  /// Says what it hears, and that it has ended.
  task<> talk(connection& peer) {
    begun.set();
    for (;;) {
      const std::optional<message> came = co_await peer.read();
      if (!came) break;
      heard.emplace_back(came->data);
    }
    ended.set();
  }
  /// Says something when the server drains.
  task<> say_last(connection& peer, drain_signal& drain) {
    begun.set();
    co_await drain.wait();
    co_await peer.write_text("last words");
    co_await peer.close(close_code::going_away);
    ended.set();
  }
  std::string url(const std::string& path) const {
    return "ws://" + listener.local().to_string() + path;
  }

  tcp_listener listener = tcp_listener::bind(endpoint(address::loopback_v4(), 0));
  http::router routes;
  server_options options;
  serve_limits limits;
  std::vector<std::string> heard;
  rill::event begun;
  rill::event ended;
};

/// `client(site&, nursery&)` drains the server by tasks.cancel(), shielded from it itself.
template <class Client>
void with_site(Client client) {
  run_loop([&]() -> task<> {
    site here;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        co_await http::serve(here.listener, here.routes, http::session_options(), here.limits);
      });
      co_await shielded(client(here, tasks));
      tasks.cancel();
    });
  });
}

task<std::string> next(connection& from) {
  const std::optional<message> came = co_await from.read();
  if (came) co_return std::string(came->data);
  co_return (from.is_clean() ? "closed " : "ended ") +
      std::to_string(static_cast<int>(from.code())) + ':' + from.reason();
}

TEST(websocket_server, speaks_with_a_client) {
  with_site([](site& here, nursery&) -> task<> {
    client_options options;
    options.subprotocols = {"other", "chat"};
    for (const bool compresses : {false, true}) {
      options.connection.deflate.is_on = compresses;
      connection peer = co_await connect(here.url("/echo"), options);
      EXPECT_EQ(peer.subprotocol(), "chat");
      EXPECT_EQ(peer.compression().has_value(), compresses);
      const std::string large(200'000, 'l');
      co_await peer.write_text("hello");
      EXPECT_EQ(co_await next(peer), "hello");
      co_await with_nursery([&](nursery& beside) -> task<> {
        beside.start([&]() -> task<> { EXPECT_TRUE(co_await peer.write_binary(large)); });
        EXPECT_EQ(co_await next(peer), large);
      });
      co_await peer.close(close_code::normal, "bye");
      EXPECT_TRUE(peer.is_clean());
    }
  });
}

TEST(websocket_server, closes_when_its_handler_returns_or_throws) {
  with_site([](site& here, nursery&) -> task<> {
    connection once = co_await connect(here.url("/once"));
    EXPECT_EQ(co_await next(once), "only this");
    EXPECT_EQ(co_await next(once), "closed 1000:");
    connection broken = co_await connect(here.url("/throw"));
    co_await broken.write_text("x");
    EXPECT_EQ(co_await next(broken), "closed 1011:");
  });
}

task<std::string> failure_of(std::string url, client_options options = client_options()) {
  std::string text;
  try {
    co_await connect(std::move(url), std::move(options));
  } catch (const io_error& error) {
    text = error.what();
  }
  co_return text;
}

TEST(websocket_server, tells_a_client_why_there_is_no_connection) {
  with_site([](site& here, nursery&) -> task<> {
    const std::string at = here.url("");
    EXPECT_EQ(co_await failure_of(here.url("/nothing")),
              "WebSocket handshake " + at + "/nothing (404): the server has refused it");
    EXPECT_EQ(co_await failure_of(here.url("/")),
              "WebSocket handshake " + at + "/ (200): the server has refused it");
    client_options options;
    options.origin = "https://elsewhere.test";
    EXPECT_EQ(co_await failure_of(here.url("/echo"), options),
              "WebSocket handshake " + at + "/echo (403): the server has refused it");
    EXPECT_EQ(co_await failure_of("http://a.test/"),
              "WebSocket handshake http://a.test/: not a URL of a WebSocket");
    const std::string insecure = co_await failure_of("wss://" + at.substr(5) + "/echo");
    EXPECT_TRUE(insecure.starts_with("TLS handshake ")) << insecure;
  });
}

/// A connection of TCP on which the handshake has been asked for.
task<tcp_stream> asked(site& here, std::string path, std::string behind = {}) {
  tcp_stream peer = co_await tcp_stream::connect(here.listener.local());
  co_await peer.write_all(
      const_buffer("GET " + path + " HTTP/1.1\r\nHost: " + here.listener.local().to_string() +
                   "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                   "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" +
                   behind));
  co_return peer;
}

task<std::string> rest_of(tcp_stream& from) {
  std::string all;
  for (;;) {
    const auto part = co_await as_result(from.read_lease());
    if (!part || part->empty()) break;
    all += part->text();
  }
  co_return all;
}

TEST(websocket_server, reads_frames_that_came_with_the_handshake) {
  with_site([](site& here, nursery&) -> task<> {
    const std::string frames = frame(opcode::text, "early") + frame(opcode::close, "\x03\xe8"s);
    tcp_stream peer = co_await asked(here, "/echo", frames);
    const std::string all = co_await rest_of(peer);
    EXPECT_TRUE(all.starts_with("HTTP/1.1 101 ")) << all;
    EXPECT_NE(all.find("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), all.npos);
    EXPECT_TRUE(
        all.ends_with("\r\n\r\n\x81\x05"
                      "early\x88\x02\x03\xe8"s))
        << all;
  });
}

TEST(websocket_server, says_which_version_it_speaks) {
  with_site([](site& here, nursery&) -> task<> {
    tcp_stream peer = co_await tcp_stream::connect(here.listener.local());
    co_await peer.write_all(
        "GET /echo HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    const std::string all = co_await rest_of(peer);
    EXPECT_TRUE(all.starts_with("HTTP/1.1 426 Upgrade Required\r\n")) << all;
    EXPECT_NE(all.find("\r\nConnection: close, Upgrade\r\n"), all.npos) << all;
    EXPECT_NE(all.find("\r\nUpgrade: websocket\r\n"), all.npos) << all;
    EXPECT_NE(all.find("\r\nSec-WebSocket-Version: 13\r\n"), all.npos) << all;
  });
}

TEST(websocket_server, closes_with_1001_when_it_drains) {
  with_site([](site& here, nursery& tasks) -> task<> {
    connection first = co_await connect(here.url("/talk"));
    co_await here.begun.wait();
    connection second = co_await connect(here.url("/echo"));
    co_await second.write_text("x");
    EXPECT_EQ(co_await next(second), "x");
    co_await first.write_text("on its way");
    tasks.cancel();
    EXPECT_EQ(co_await next(first), "closed 1001:the server is about to end");
    EXPECT_EQ(co_await next(second), "closed 1001:the server is about to end");
    co_await here.ended.wait();
    EXPECT_EQ(here.heard, std::vector<std::string>{"on its way"});
  });
}

TEST(websocket_server, lets_a_handler_that_is_told_of_the_drain_say_something_more) {
  with_site([](site& here, nursery& tasks) -> task<> {
    connection peer = co_await connect(here.url("/last"));
    co_await here.begun.wait();
    tasks.cancel();
    EXPECT_EQ(co_await next(peer), "last words");
    EXPECT_EQ(co_await next(peer), "closed 1001:");
    co_await here.ended.wait();
  });
}

TEST(websocket_server, ends_in_a_drain_though_its_peer_says_nothing) {
  with_site([](site& here, nursery& tasks) -> task<> {
    here.options.connection.close_timeout = 50ms;
    tcp_stream peer = co_await asked(here, "/talk");
    co_await here.begun.wait();
    tasks.cancel();
    const std::string all = co_await rest_of(peer);
    EXPECT_TRUE(all.ends_with("the server is about to end")) << all;
    co_await here.ended.wait();
  });
}

TEST(websocket_server, works_over_tls) {
  run_loop([]() -> task<> {
    site here;
    tls::server_context context(rill::test::test_certificate().loaded());
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        const auto handle = [&](tcp_stream peer, drain_signal& drain) -> task<> {
          const http::session_options options;
          auto secure = co_await tls::accept(std::move(peer), context);
          co_await http::session(std::move(secure), here.routes, options, &drain);
        };
        co_await serve(here.listener, handle, here.limits);
      });
      const auto client = [&]() -> task<> {
        client_options options;
        options.tls = rill::test::trusting_options();
        options.connection.deflate.is_on = true;
        http::tls_connector to(options.tls);
        const std::uint16_t port = here.listener.local().port();
        to.set_address("server.test", port, "127.0.0.1");
        options.with = &to;
        const std::string url = "wss://server.test:" + std::to_string(port) + "/echo";
        connection peer = co_await connect(url, options);
        const std::string text(100'000, 's');
        co_await with_nursery([&](nursery& beside) -> task<> {
          beside.start([&]() -> task<> { EXPECT_TRUE(co_await peer.write_text(text)); });
          EXPECT_EQ(co_await next(peer), text);
        });
        co_await peer.write_text("last");
        EXPECT_EQ(co_await next(peer), "last");
        tasks.cancel();
        EXPECT_EQ(co_await next(peer), "closed 1001:the server is about to end");
      };
      co_await shielded(client());
    });
  });
}

}  // namespace
}  // namespace rill::websocket
