// What the tests of every point share: how a scenario is visited, and the scenarios whose servers
// are tried once whole and once broken.
// Read next: every_point_test.cpp, point_canary_test.cpp.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "sim/echo.h"
#include "support/scenarios.h"
#include <rill/net/serve.h>
#include <rill/runtime/sim/exhaustive.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/timeout.h>

namespace rill::test {

inline void visit_points(const std::string& name, const sim::scenario& body,
                         const sim::exhaustive_options& options = sim::exhaustive_options()) {
  const sim::exhaustive_report report = sim::every_point(name, body, options);
  std::printf("[   points ] %s\n", report.summary.c_str());
  EXPECT_EQ(report.failure, "");
}

/// Serves until it is cancelled.
template <class Handler>
task<> serve_at(std::string where, Handler handler) {
  auto listener = tcp_listener::bind(at(where));
  co_await serve(listener, handler);
}

inline task<> echo_until_cancelled(std::string where) {
  return serve_at(std::move(where), echo_until_idle);
}

/// A client talks to a server that must echo.
template <class Handler>
void tcp_echo_scenario(sim::trial& run, Handler handler) {
  sim::host& server = run.world().add_host("server", "10.0.0.1");
  sim::host& client = run.world().add_host("client", "10.0.0.2");
  conversation so_far;
  server.run(serve_at<Handler>, std::string("0.0.0.0:80"), handler);
  run.settle(std::chrono::milliseconds(1));
  run.run(client.run(talk, at("10.0.0.1:80"), std::ref(so_far)), server);
  require(!run.succeeded() || so_far.answered == 2, "a session that succeeds has its answers");
}

/// A client talks through a proxy to an echo server at 10.0.0.1:80.
template <class Handler>
void proxy_scenario(sim::trial& run, Handler handler) {
  sim::host& server = run.world().add_host("server", "10.0.0.1");
  sim::host& middle = run.world().add_host("proxy", "10.0.0.3");
  sim::host& client = run.world().add_host("client", "10.0.0.2");
  conversation so_far;
  server.run(echo_until_cancelled, std::string("0.0.0.0:80"));
  middle.run(serve_at<Handler>, std::string("0.0.0.0:81"), handler);
  run.settle(std::chrono::milliseconds(1));
  run.run(client.run(talk, at("10.0.0.3:81"), std::ref(so_far)), middle);
  require(!run.succeeded() || so_far.answered == 2, "a session that succeeds has its answers");
}

/// The first who comes, for `handler`; nobody may come.
template <class Handler>
task<> serve_one(std::string where, Handler handler) {
  auto listener = tcp_listener::bind(at(where));
  std::optional<tcp_stream> peer;
  try {
    peer = co_await with_timeout(patience, listener.accept());
  } catch (const timeout_error&) {
    co_return;
  }
  co_await handler(std::move(*peer));
}

inline task<> talk_later(endpoint where, conversation& so_far) {
  co_await sleep_for(std::chrono::milliseconds(1));
  co_await talk(where, so_far);
}

/// The same two the other way round: what the server does for one client is under test, and the
/// client may vanish.
template <class Handler>
void tcp_echo_server_scenario(sim::trial& run, Handler handler) {
  sim::host& server = run.world().add_host("server", "10.0.0.1");
  sim::host& client = run.world().add_host("client", "10.0.0.2");
  conversation so_far;
  auto& session = server.run(serve_one<Handler>, std::string("0.0.0.0:80"), handler);
  run.wait_for(client.run(talk_later, at("10.0.0.1:80"), std::ref(so_far)));
  run.run(session, client);
  require(!run.is_undisturbed() || so_far.answered == 2, "undisturbed, everything is answered");
}

enum class lost_side : std::uint8_t { client, server };

/// The proxy is under test; its client vanishes, or the server that it passes on to.
template <class Handler>
void proxy_itself_scenario(sim::trial& run, Handler handler, lost_side lost) {
  sim::host& server = run.world().add_host("server", "10.0.0.1");
  sim::host& middle = run.world().add_host("proxy", "10.0.0.3");
  sim::host& client = run.world().add_host("client", "10.0.0.2");
  conversation so_far;
  server.run(echo_until_cancelled, std::string("0.0.0.0:80"));
  auto& session = middle.run(serve_one<Handler>, std::string("0.0.0.0:81"), handler);
  run.wait_for(client.run(talk_later, at("10.0.0.3:81"), std::ref(so_far)));
  run.run(session, lost == lost_side::client ? client : server);
  require(!run.is_undisturbed() || so_far.answered == 2, "undisturbed, everything is answered");
}

}  // namespace rill::test
