// 101: a connection leaves HTTP, and nothing that its client has sent is lost or read twice.
#include <chrono>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "http/handlers.h"
#include "tls/pairs.h"
#include <rill/net/any_stream.h>
#include <rill/net/serve.h>
#include <rill/protocols/http/compress.h>
#include <rill/protocols/http/response.h>
#include <rill/protocols/http/router.h>
#include <rill/protocols/http/session.h>
#include <rill/runtime/event.h>

namespace rill::http {
namespace {

using namespace std::chrono_literals;
using rill::test::run_loop;
using test::answers_to;
using test::body_of;
using test::got;
using test::without_date;

/// Sends back what comes, between brackets.
task<> bracket(upgraded with) {
  std::string all = with.received;
  for (;;) {
    const lease part = co_await with.stream.read_lease();
    if (part.empty()) break;
    all += part.text();
  }
  all = '[' + all + ']';
  co_await with.stream.write_all(const_buffer(all));
}

answer to_brackets(request&) { return response::upgrade("brackets", bracket); }
task<response> to_brackets_later(request&) {
  co_await sleep_for(1ns);
  co_return response::upgrade("brackets", bracket);
}

const std::string asks = "Connection: upgrade\r\nUpgrade: brackets\r\n";
const std::string switched =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: brackets\r\n\r\n";

void add_routes(router& to) {
  to.get("/", [](request&) { return response::text("root"); });
  to.get("/now", to_brackets).get("/later", to_brackets_later).post("/now", to_brackets);
}

std::string answer_to(const std::string& input) {
  router all;
  add_routes(all);
  return without_date(answers_to(all, {input}));
}

TEST(http_upgrade, hands_over_the_stream_and_what_came_behind_the_request) {
  for (const char* const path : {"/now", "/later"}) {
    EXPECT_EQ(answer_to(got(asks, path) + "GET / HTTP/1.1\r\n\r\n"),
              switched + "[GET / HTTP/1.1\r\n\r\n]");
  }
}

TEST(http_upgrade, gives_the_same_however_the_bytes_are_cut) {
  const std::string input = got() + got(asks, "/now") + "first frame";
  router all;
  add_routes(all);
  const std::string expected = without_date(answers_to(all, {input}));
  EXPECT_TRUE(expected.ends_with("root" + switched + "[first frame]")) << expected;
  for (std::size_t cut = 1; cut < input.size(); ++cut) {
    EXPECT_EQ(without_date(answers_to(all, {input.substr(0, cut), input.substr(cut)})), expected)
        << cut;
  }
}

TEST(http_upgrade, is_not_for_who_has_not_asked_for_it) {
  const std::string required =
      "HTTP/1.1 426 Upgrade Required\r\nConnection: Upgrade\r\nContent-Length: 20\r\n"
      "Content-Type: text/plain; charset=utf-8\r\nUpgrade: brackets\r\n\r\nupgrade to brackets\n";
  EXPECT_EQ(answer_to(got("", "/now")), required);
  EXPECT_EQ(answer_to(got("Upgrade: brackets\r\n", "/now")), required);
  EXPECT_EQ(answer_to(got("Connection: upgrade\r\n", "/now")), required);
  EXPECT_EQ(answer_to(got("Connection: upgrade\r\nUpgrade: braces\r\n", "/now")), required);
  const std::string old =
      answer_to("GET /now HTTP/1.0\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: brackets\r\n\r\n");
  EXPECT_TRUE(old.starts_with("HTTP/1.1 426 ")) << old;
  EXPECT_NE(old.find("Connection: close, Upgrade\r\n"), old.npos) << old;
}

TEST(http_upgrade, reads_the_names_among_others_and_without_case) {
  EXPECT_EQ(answer_to(got("Connection: keep-alive, UPGRADE\r\nUpgrade: h2c, BRACKETS\r\n", "/now")),
            switched + "[]");
}

TEST(http_upgrade, is_refused_to_a_request_with_a_body) {
  for (const std::string& body : {std::string("Content-Length: 5\r\n\r\nhello"),
                                  std::string("Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")}) {
    const std::string all = answer_to("POST /now HTTP/1.1\r\nHost: a\r\n" + asks + body + got());
    EXPECT_TRUE(all.starts_with("HTTP/1.1 400 ")) << all;
    EXPECT_EQ(all.find("101"), all.npos) << all;
    EXPECT_EQ(all.find('['), all.npos) << all;
  }
}

TEST(http_upgrade, passes_middleware_and_keeps_the_fields_that_it_adds) {
  router all;
  add_routes(all);
  all.use(compressed());
  all.use([](request& asked, const handler& next) {
    return next(asked).then([](response& made) { made.set("X-Layer", "1"); });
  });
  for (const char* const path : {"/now", "/later"}) {
    const std::string given =
        without_date(answers_to(all, {got(asks + "Accept-Encoding: gzip\r\n", path) + "x"}));
    EXPECT_TRUE(given.ends_with("Upgrade: brackets\r\nX-Layer: 1\r\n\r\n[x]")) << given;
  }
}

TEST(http_upgrade, begins_when_the_answer_has_been_sent) {
  run_loop([]() -> task<> {
    router all;
    add_routes(all);
    session_options options;
    auto pair = memory_stream_pair();
    pair.second.fail_writes_after(10, ECONNRESET);
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&](memory_stream peer) { return session(std::move(peer), all, options); },
                  std::move(pair.second));
      co_await pair.first.write_all(const_buffer(got(asks, "/now")));
      const std::string came = co_await read_all(pair.first, 1000);
      EXPECT_EQ(came, "HTTP/1.1 1");
    });
  });
}

TEST(http_upgrade, ends_with_what_its_task_throws) {
  run_loop([]() -> task<> {
    router all;
    all.get("/", [](request&) {
      return response::upgrade("brackets", [](upgraded) -> task<> {
        throw std::runtime_error("lost");
        co_return;
      });
    });
    session_options options;
    auto pair = memory_stream_pair();
    co_await pair.first.write_all(const_buffer(got(asks)));
    bool is_told = false;
    try {
      co_await session(std::move(pair.second), all, options);
    } catch (const std::runtime_error&) {
      is_told = true;
    }
    EXPECT_TRUE(is_told);
    EXPECT_EQ(without_date(co_await read_all(pair.first, 1000)), switched);
  });
}

TEST(http_upgrade, is_told_of_the_drain_and_waited_for) {
  run_loop([]() -> task<> {
    tcp_listener listener = tcp_listener::bind(endpoint(address::loopback_v4(), 0));
    const endpoint at = listener.local();
    router all;
    add_routes(all);
    endpoint seen;
    all.get("/farewell", [&](request&) {
      return response::upgrade("brackets", [&](upgraded with) -> task<> {
        seen = with.peer;
        co_await with.drain->wait();
        co_await with.stream.write_all("bye");
      });
    });
    co_await with_nursery([&](nursery& tasks) -> task<> {
      serve_limits limits;
      limits.drain_timeout = 1h;
      tasks.start(
          [&, limits]() -> task<> { co_await serve(listener, all, session_options(), limits); });
      const auto client = [&]() -> task<> {
        tcp_stream peer = co_await tcp_stream::connect(at);
        co_await peer.write_all(const_buffer(got(asks, "/farewell")));
        const endpoint own = peer.local();
        std::string came(switched.size(), ' ');
        co_await peer.read_exactly(mutable_buffer(came));
        co_await rill::test::settle(20);
        tasks.cancel();
        came += co_await read_all(peer, 1000);
        EXPECT_TRUE(came.ends_with("\r\n\r\nbye")) << came;
        EXPECT_EQ(seen, own);
      };
      co_await shielded(client());
    });
  });
}

TEST(http_upgrade, is_not_begun_while_the_server_drains) {
  run_loop([]() -> task<> {
    tcp_listener listener = tcp_listener::bind(endpoint(address::loopback_v4(), 0));
    const endpoint at = listener.local();
    router all;
    add_routes(all);
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> { co_await serve(listener, all); });
      const auto client = [&]() -> task<> {
        tcp_stream peer = co_await tcp_stream::connect(at);
        const std::string asked = got(asks, "/now");
        co_await peer.write_all(const_buffer(std::string_view(asked).substr(0, 10)));
        co_await rill::test::settle(20);
        tasks.cancel();
        co_await rill::test::settle(20);
        co_await peer.write_all(const_buffer(std::string_view(asked).substr(10)));
        const std::string came = co_await read_all(peer, 1000);
        EXPECT_TRUE(came.starts_with("HTTP/1.1 503 ")) << came;
      };
      co_await shielded(client());
    });
  });
}

TEST(http_upgrade, works_over_tls) {
  run_loop([]() -> task<> {
    auto pair = co_await rill::test::over_tls<rill::test::memory_maker>::make();
    router all;
    add_routes(all);
    session_options options;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      using stream = rill::test::over_tls<rill::test::memory_maker>::stream;
      tasks.start([&](stream peer) { return session(std::move(peer), all, options); },
                  std::move(pair.second));
      co_await pair.first.write_all(const_buffer(got(asks, "/now") + "secret"));
      co_await pair.first.shutdown_write();
      std::string came(switched.size(), ' ');
      for (came.clear(); !came.ends_with(']');) {
        const lease part = co_await pair.first.read_lease();
        if (part.empty()) break;
        came += part.text();
      }
      EXPECT_EQ(without_date(came), switched + "[secret]");
    });
  });
}

}  // namespace
}  // namespace rill::http
