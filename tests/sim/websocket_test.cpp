// A WebSocket from the handshake to the farewell, both ends ours: every point made to fail, and
// many seeds of weather, drains and crashes. What must hold: messages arrive whole, in order and
// once; an end that both have agreed on means that all of them did; any other end is told.
#include <chrono>
#include <cstdio>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/echo.h"
#include "sim/storm.h"
#include "support/scenarios.h"
#include <rill/protocols/http/router.h>
#include <rill/protocols/http/session.h>
#include <rill/protocols/websocket/client.h>
#include <rill/protocols/websocket/server.h>
#include <rill/runtime/sim/exhaustive.h>
#include <rill/runtime/sim/world.h>
#include <rill/runtime/sleep.h>

namespace rill {
namespace {

using namespace std::chrono_literals;
using sim::require;
using test::at;
using test::patience;

/// Message `number` of an end: of a size and kind that follow from the number.
std::string message_of(char end, int number) {
  constexpr int sizes[] = {1, 100, 3'000, 20'000};
  std::string made = end + std::to_string(number) + ':';
  made.resize(made.size() + static_cast<std::size_t>(sizes[number % 4]),
              static_cast<char>('a' + number % 26));
  return made;
}

/// What an end has said and heard.
struct side {
  explicit side(char end) : name(end) {}

  char name;
  int sent_count = 0;  // of which write() has said true
  std::vector<std::string> heard;
  bool is_clean = false;
  websocket::close_code code = websocket::close_code::abnormal;

  /// `from` are the other's messages.
  void check(char from) const {
    for (std::size_t i = 0; i < heard.size(); ++i) {
      require(heard[i] == message_of(from, static_cast<int>(i)),
              "messages arrive whole, in order and once");
    }
  }
};

task<> speak(websocket::connection& peer, side& own, int count) {
  for (int i = 0; i < count; ++i) {
    const std::string text = message_of(own.name, i);
    bool is_sent = false;
    if (i % 3 == 2) {
      const std::size_t half = text.size() / 2;
      is_sent =
          co_await peer.write_part(websocket::message_kind::text, text.substr(0, half), false);
      if (is_sent) {
        is_sent = co_await peer.write_part(websocket::message_kind::text, text.substr(half), true);
      }
    } else {
      is_sent = co_await peer.write_text(text);
    }
    if (!is_sent) co_return;
    own.sent_count = i + 1;
  }
}

task<> hear(websocket::connection& peer, side& own) {
  for (;;) {
    const std::optional<websocket::message> came = co_await peer.read();
    if (!came) break;
    own.heard.emplace_back(came->data);
  }
  own.is_clean = peer.is_clean();
  own.code = peer.code();
}

websocket::connection_options patient_options(bool compresses) {
  websocket::connection_options made;
  made.ping_interval = 5s;
  made.pong_timeout = 5s;
  made.write_timeout = 10s;
  made.deflate.is_on = compresses;
  return made;
}

task<> websocket_service(side& own, int count, bool compresses) {
  websocket::server_options options;
  options.connection = patient_options(compresses);
  http::router routes;
  routes.get("/talk", [&](http::request& asked) {
    const auto talk = [&own, count](websocket::connection& peer) -> task<> {
      co_await with_nursery([&](nursery& tasks) -> task<> {
        tasks.start([&]() -> task<> { co_await speak(peer, own, count); });
        co_await hear(peer, own);
      });
    };
    return websocket::accept(asked, talk, options);
  });
  http::session_options session;
  session.on_error = [](const http::request&, const std::exception_ptr&) {};
  serve_limits limits;
  limits.on_error = [](const endpoint&, std::exception_ptr) {};
  limits.drain_timeout = 60s;
  auto listener = tcp_listener::bind(at("0.0.0.0:80"));
  co_await http::serve(listener, routes, session, limits);
}

/// Says all it has to say, then farewell.
task<> visit(side& own, int count, bool compresses) {
  websocket::client_options options;
  options.connection = patient_options(compresses);
  options.timeout = patience;
  websocket::connection peer = co_await websocket::connect("ws://10.0.0.1/talk", options);
  co_await with_nursery([&](nursery& tasks) -> task<> {
    tasks.start([&]() -> task<> {
      co_await speak(peer, own, count);
      co_await peer.close(websocket::close_code::normal, "done");
    });
    co_await hear(peer, own);
  });
}

/// After a run: what each end was told is true.
void check(const side& client, const side& server) {
  client.check(server.name);
  server.check(client.name);
  if (client.is_clean) {
    require(static_cast<int>(server.heard.size()) >= client.sent_count ||
                client.code == websocket::close_code::internal_error,  // which says so
            "a farewell that was answered comes behind all messages");
    require(static_cast<int>(client.heard.size()) >= server.sent_count,
            "a farewell comes behind all messages of who says it");
  }
}

// ---------------------------------------------------------------- every point

void one_visit(sim::trial& run, bool compresses) {
  constexpr int count = 4;
  sim::host& server = run.world().add_host("server", "10.0.0.1");
  sim::host& client = run.world().add_host("client", "10.0.0.2");
  side here('c');
  side there('s');
  server.run(websocket_service, std::ref(there), count, compresses);
  run.settle(1ms);
  run.run(client.run(visit, std::ref(here), count, compresses), server);
  check(here, there);
  if (run.is_undisturbed()) {
    require(here.is_clean && there.is_clean, "undisturbed, both say farewell");
    require(there.heard.size() == count, "undisturbed, all messages of the client arrive");
  }
}

TEST(sim_websocket_points, a_visit) {
  for (const bool compresses : {false, true}) {
    const sim::exhaustive_report report =
        sim::every_point(compresses ? "websocket, compressed" : "websocket",
                         [compresses](sim::trial& run) { one_visit(run, compresses); });
    std::printf("[   points ] %s\n", report.summary.c_str());
    EXPECT_EQ(report.failure, "");
  }
}

// ---------------------------------------------------------------- many seeds

using service = std::function<task<>(side&, int, bool)>;

void visit_in_a_storm(std::uint64_t seed, const service& serving) {
  side here('c');  // these outlive the world, whose end is that of its programs
  side there('s');
  sim::world world(seed);
  sim::host& server = world.add_host("server", "10.0.0.1");
  sim::host& client = world.add_host("client", "10.0.0.2");
  test::storm weather(world, seed);
  const bool compresses = weather.draw(2) == 0;
  const int count = static_cast<int>(weather.draw(6));
  sim::program& service = server.run(serving, std::ref(there), count, compresses);
  world.run_for(1ms);
  weather.shake_kernels();
  weather.shake_network();
  const bool is_calm = weather.draw(2) == 0;
  if (!is_calm) weather.break_connections();
  bool is_told = false;
  sim::program& session = client.run([&]() -> task<> {
    try {
      co_await visit(here, count, compresses);
    } catch (const io_error&) {
      is_told = true;
    }
  });
  const std::uint64_t event = weather.draw(5);
  if (event == 0) {
    world.run_for(weather.moment(100ms));
    service.cancel();  // drains
  } else if (event == 1 && !is_calm) {
    world.run_for(weather.moment(100ms));
    server.crash();
  }
  world.run(session);
  check(here, there);
  if (is_calm && event != 0) {
    require(here.is_clean && here.code == websocket::close_code::normal,
            "what TCP hides ends no connection");
    require(static_cast<int>(there.heard.size()) == count, "what TCP hides costs no message");
  }
  if (is_calm && event == 0 && !is_told) {
    require(here.is_clean, "a server that drains says farewell");
  }
}

TEST(sim_property_websocket, messages_arrive_whole_in_order_and_once_or_the_end_is_told) {
  const std::string failure = sim::run_seeds(
      test::many_seeds, [](std::uint64_t seed) { visit_in_a_storm(seed, websocket_service); });
  EXPECT_EQ(failure, "");
}

TEST(sim_property_websocket, canary_a_server_that_forgets_a_message_is_caught) {
  const service forgetful = [](side& own, int count, bool compresses) -> task<> {
    side inner(own.name);
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        for (;;) {  // copies what was heard, but for the third
          own.heard = inner.heard;
          if (own.heard.size() > 2) own.heard.erase(own.heard.begin() + 2);
          co_await sleep_for(1ms);
        }
      });
      co_await websocket_service(inner, count, compresses);
    });
  };
  const std::string failure = sim::run_seeds(
      test::many_seeds, [&](std::uint64_t seed) { visit_in_a_storm(seed, forgetful); });
  EXPECT_THAT(failure, testing::HasSubstr("not kept:"));
}

}  // namespace
}  // namespace rill
