// The HTTP client with its pool and retries: every point of a few requests made to fail, and many
// requests under random faults. Every response belongs to its request and is whole, or the client
// is told.
#include <chrono>
#include <cstdio>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "sim/storm.h"
#include "support/scenarios.h"
#include <rill/net/serve.h>
#include <rill/protocols/http/client.h>
#include <rill/protocols/http/session.h>
#include <rill/runtime/sim/exhaustive.h>
#include <rill/runtime/sim/seeds.h>
#include <rill/runtime/sleep.h>

namespace rill {
namespace {

using namespace std::chrono_literals;
using sim::require;

/// What the server answers to a request.
std::string answer_to(std::string_view method, std::string_view path, std::string_view body) {
  std::string all(method);
  all.append(" ").append(path).append(" ").append(body);
  if (path.starts_with("/large")) all.append(50'000, 'L');
  return all;
}

class answering final : public http::service {
 public:
  http::answer handle(http::request& asked) override { return read_and_answer(asked); }

 private:
  static task<http::response> read_and_answer(http::request& asked) {
    const std::string body = co_await asked.read_body();
    co_return http::response::text(answer_to(asked.method(), asked.path(), body));
  }
};

task<> http_service() {
  auto listener = tcp_listener::bind(endpoint::parse("0.0.0.0:80").value());
  answering all;
  http::session_options options;
  options.on_error = [](const http::request&, const std::exception_ptr&) {};
  const auto session = [&](tcp_stream peer) {
    return http::session(std::move(peer), all, options);
  };
  serve_limits limits;
  limits.on_error = [](const endpoint&, std::exception_ptr) {};
  co_await serve(listener, session, limits);
}

/// However bad the weather is when it starts.
task<> lasting_http_service() {
  for (;;) {
    try {
      co_await http_service();
    } catch (const io_error&) {
      // No descriptor for the listener, this time.
    }
    co_await sleep_for(10ms);
  }
}

struct tally {
  int asked = 0;
  int answered = 0;
};

task<> ask(http::client& client, std::string method, std::string path, std::string body,
           tally& so_far) {
  ++so_far.asked;
  http::client_request request(method, "http://10.0.0.1" + path);
  if (!body.empty()) request.text(body);
  const http::client_response got = co_await client.send(request);
  if (got.status() >= 500) {  // the server is short of memory
    throw io_error(std::make_error_code(std::errc::not_enough_memory), "handle", "the server");
  }
  require(got.body() == answer_to(method, path, body), "a response is that to its request");
  ++so_far.answered;
}

http::client_options chosen() {
  http::client_options options;
  options.proxies.emplace();
  options.pool.origin_count_max = 2;
  options.retry.count_max = 2;
  options.timeouts.idle = 5s;
  options.timeouts.connect = 5s;
  options.timeouts.total = 60s;
  return options;
}

/// One after the other on one connection, then three at once on two.
task<> visit_server(tally& so_far) {
  http::client client(chosen());
  co_await ask(client, "GET", "/one", "", so_far);
  co_await ask(client, "POST", "/two", "a body", so_far);
  co_await ask(client, "PUT", "/large", std::string(40'000, 'b'), so_far);
  co_await with_nursery([&](nursery& tasks) -> task<> {
    for (const char* const path : {"/four", "/five", "/large/six"}) {
      tasks.start([&, path]() { return ask(client, "GET", path, "", so_far); });
    }
    co_return;
  });
  require(client.connection_count() == client.idle_count(), "no connection is lost");
}

TEST(sim_http_client_points, http_client_with_pool_and_retries) {
  const sim::exhaustive_report report =
      sim::every_point("http client with pool and retries", [](sim::trial& run) {
        sim::host& server = run.world().add_host("server", "10.0.0.1");
        sim::host& client = run.world().add_host("client", "10.0.0.2");
        tally so_far;
        server.run(http_service);
        run.settle(1ms);
        run.run(client.run(visit_server, std::ref(so_far)), server);
        require(!run.succeeded() || so_far.answered == 6, "who succeeds has all answers");
        require(!run.is_undisturbed() || so_far.answered == so_far.asked,
                "undisturbed, all are answered");
      });
  std::printf("[   points ] %s\n", report.summary.c_str());
  EXPECT_EQ(report.failure, "");
}

/// Asks again and again, and takes what goes wrong as it comes.
task<> ask_in_a_storm(tally& so_far) {
  http::client client(chosen());
  co_await with_nursery([&](nursery& tasks) -> task<> {
    for (int number = 0; number < 3; ++number) {
      tasks.start([&, number]() -> task<> {
        for (int i = 0; i < 6; ++i) {
          const std::string path = (i % 3 == 2 ? "/large/" : "/") + std::to_string(number * 10 + i);
          const std::string body(i % 2 == 0 ? 0U : static_cast<std::size_t>(i) * 9000, 'b');
          const std::string method = i % 2 == 0 ? "GET" : "POST";
          try {
            co_await ask(client, method, path, body, so_far);
          } catch (const http::client_error&) {
            // The client was told.
          }
        }
      });
    }
    co_return;
  });
  require(client.connection_count() == client.idle_count(), "no connection is lost");
}

TEST(sim_property, http_responses_belong_to_their_requests_and_are_whole) {
  sim::seed_options many;
  many.count = 300;
  const std::string failure = sim::run_seeds(many, [](std::uint64_t seed) {
    sim::world world(seed);
    auto& server = world.add_host("server", "10.0.0.1");
    auto& client = world.add_host("client", "10.0.0.2");
    test::storm weather(world, seed);
    weather.shake_kernels();
    weather.shake_network();
    if (weather.draw(2) != 0) weather.break_connections();
    tally so_far;
    server.run(lasting_http_service);
    auto& asking = client.run(ask_in_a_storm, std::ref(so_far));
    if (weather.draw(5) == 0) {
      world.run_for(weather.moment(50ms));
      const auto cut = world.partition(server, client);
      world.run_for(weather.moment(8000ms));
    }
    if (weather.draw(5) == 0) {
      world.run_for(weather.moment(50ms));
      server.crash();
      world.run_for(weather.moment(500ms));
      server.restart();
      server.run(lasting_http_service);
    }
    world.run(asking);
    require(so_far.asked == 18, "every request ends");
  });
  EXPECT_EQ(failure, "");
}

}  // namespace
}  // namespace rill
