// The client with its pool, redirects and retries, over TCP and over TLS: every point of a few
// requests made to fail, and many requests under random faults. Every response belongs to its
// request and is whole, or the client is told.
#include <chrono>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/storm.h"
#include "support/certificates.h"
#include "support/scenarios.h"
#include <rill/net/buffered.h>
#include <rill/net/serve.h>
#include <rill/net/tls/stream.h>
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
    if (asked.path().starts_with("/moved")) {
      co_return http::response::redirect(asked.path().substr(6), 307);
    }
    co_return http::response::text(answer_to(asked.method(), asked.path(), body));
  }
};

/// Good on the first day of a world. Made and read once, outside the worlds.
const tls::certificate& certificate_of_the_day() {
  static const tls::certificate made = [] {
    test::certificate_text text = test::named("DNS:server.test");
    text.not_before = "20251231000000Z";
    text.not_after = "20260102000000Z";
    return test::signed_certificate(text, &test::test_authority()).loaded();
  }();
  return made;
}

/// Calls `session` with every connection, over TLS if `is_secure`.
template <class Session>
task<> serve_with(bool is_secure, const Session& session) {
  auto listener = tcp_listener::bind(endpoint(address::any_v4(), is_secure ? 443 : 80));
  serve_limits limits;
  limits.on_error = [](const endpoint&, std::exception_ptr) {};
  if (!is_secure) {
    co_await serve(listener, session, limits);
    co_return;
  }
  const tls::server_context mine(certificate_of_the_day());
  const auto secured = [&](tcp_stream peer) -> task<> {
    auto secure = co_await tls::accept(std::move(peer), mine);
    co_await session(std::move(secure));
  };
  co_await serve(listener, secured, limits);
}

task<> http_service(bool is_secure) {
  answering all;
  http::session_options options;
  options.on_error = [](const http::request&, const std::exception_ptr&) {};
  const auto session = [&](auto peer) { return http::session(std::move(peer), all, options); };
  co_await serve_with(is_secure, session);
}

/// Answers without a length, and to some leaves in the middle without a word.
task<> careless_service(bool is_secure) {
  const auto session = [](auto peer) -> task<> {
    buffered_reader<decltype(peer)> reader(peer);
    const auto line = co_await reader.read_until(" HTTP/1.1\r\n", 10'000);
    if (!line) co_return;
    const std::string body = answer_to("GET", std::string(line->substr(4)), "");
    co_await peer.write_all("HTTP/1.1 200 OK\r\n\r\n" + body.substr(0, body.size() / 2));
    if (body.find('2') != body.npos) co_return;
    co_await peer.write_all(body.substr(body.size() / 2));
    co_await peer.close();
  };
  co_await serve_with(is_secure, session);
}

/// However bad the weather is when it starts.
task<> lasting(task<> (*service)(bool), bool is_secure) {
  for (;;) {
    try {
      co_await service(is_secure);
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

class visitor {
 public:
  explicit visitor(bool is_secure)
      : base_(is_secure ? "https://server.test" : "http://server.test"), client_(chosen()) {
    client_.set_address("server.test", is_secure ? 443 : 80, "10.0.0.1");
  }

  /// Throws client_error.
  task<> ask(std::string method, std::string path, std::string body, tally& so_far) {
    ++so_far.asked;
    http::client_request request(method, base_ + path);
    if (!body.empty()) request.text(body);
    const http::client_response got = co_await client_.send(request);
    if (got.status() >= 500) {  // the server is short of memory
      throw io_error(std::make_error_code(std::errc::not_enough_memory), "handle", "the server");
    }
    if (path.starts_with("/moved")) path.erase(0, 6);
    require(got.body() == answer_to(method, path, body), "a response is that to its request");
    ++so_far.answered;
  }
  void check_pool() const {
    require(client_.connection_count() == client_.idle_count(), "no connection is lost");
  }

 private:
  static http::client_options chosen() {
    http::client_options options;
    options.proxies.emplace();
    options.pool.origin_count_max = 2;
    options.retry.count_max = 2;
    options.timeouts.idle = 5s;
    options.timeouts.connect = 5s;
    options.timeouts.total = 60s;
    options.tls = test::trusting_options();
    return options;
  }

  std::string base_;
  http::client client_;
};

/// One after the other on one connection, then three at once on two.
task<> visit_server(bool is_secure, tally& so_far) {
  visitor client(is_secure);
  co_await client.ask("GET", "/moved/one", "", so_far);
  co_await client.ask("POST", "/two", "a body", so_far);
  co_await client.ask("PUT", "/large", std::string(40'000, 'b'), so_far);
  co_await with_nursery([&](nursery& tasks) -> task<> {
    for (const char* const path : {"/four", "/five", "/large/six"}) {
      tasks.start([&, path]() { return client.ask("GET", path, "", so_far); });
    }
    co_return;
  });
  client.check_pool();
}

void visit_at_every_point(const std::string& name, bool is_secure) {
  certificate_of_the_day();
  const sim::exhaustive_report report = sim::every_point(name, [&](sim::trial& run) {
    sim::host& server = run.world().add_host("server", "10.0.0.1");
    sim::host& client = run.world().add_host("client", "10.0.0.2");
    tally so_far;
    server.run(http_service, is_secure);
    run.settle(1ms);
    run.run(client.run(visit_server, is_secure, std::ref(so_far)), server);
    require(!run.succeeded() || so_far.answered == 6, "who succeeds has all answers");
    require(!run.is_undisturbed() || so_far.answered == so_far.asked,
            "undisturbed, all are answered");
  });
  std::printf("[   points ] %s\n", report.summary.c_str());
  EXPECT_EQ(report.failure, "");
}

TEST(sim_http_client_points, http_client_with_pool_and_retries) {
  visit_at_every_point("http client with pool and retries", false);
}

TEST(sim_http_client_points, https_client_with_pool_and_retries) {
  visit_at_every_point("https client with pool and retries", true);
}

/// Handshakes take most of a run's time.
int asking_count(bool is_secure) { return is_secure ? 2 : 3; }
constexpr int question_count = 3;

/// Asks again and again, and takes what goes wrong as it comes.
task<> ask_in_a_storm(bool is_secure, bool with_bodies, tally& so_far) {
  visitor client(is_secure);
  co_await with_nursery([&](nursery& tasks) -> task<> {
    for (int number = 0; number < asking_count(is_secure); ++number) {
      tasks.start([&, number]() -> task<> {
        for (int i = 0; i < question_count; ++i) {
          const char* const kinds[] = {"/", "/moved/", "/large/"};
          const std::string path = kinds[with_bodies ? i % 3 : 0] + std::to_string(number * 10 + i);
          const bool has_body = with_bodies && i % 2 != 0;
          const std::string body(has_body ? static_cast<std::size_t>(i) * 9000 : 0U, 'b');
          try {
            co_await client.ask(has_body ? "POST" : "GET", path, body, so_far);
          } catch (const http::client_error&) {
            // The client was told.
          }
        }
      });
    }
    co_return;
  });
  client.check_pool();
}

/// Gives the digest of all that happened.
std::uint64_t ask_in_storms(bool is_secure, std::uint64_t seed) {
  sim::world world(seed);
  auto& server = world.add_host("server", "10.0.0.1");
  auto& client = world.add_host("client", "10.0.0.2");
  test::storm weather(world, seed);
  weather.shake_kernels();
  weather.shake_network();
  if (weather.draw(2) != 0) weather.break_connections();
  const bool is_late = is_secure && weather.draw(9) == 0;
  std::vector<sim::fault_guard> clock;
  if (is_late) clock.push_back(world.inject(sim::clock_jump(48h).on(client)));
  tally so_far;
  server.run(lasting, http_service, is_secure);
  auto& asking = client.run(ask_in_a_storm, is_secure, true, std::ref(so_far));
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
    server.run(lasting, http_service, is_secure);
  }
  world.run(asking);
  require(so_far.asked == asking_count(is_secure) * question_count, "every request ends");
  require(!is_late || so_far.answered == 0, "who shows an expired certificate is not believed");
  return world.digest();
}

TEST(sim_http_client, a_seed_gives_the_same_run_every_time) {
  for (const bool is_secure : {false, true}) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
      EXPECT_EQ(ask_in_storms(is_secure, seed), ask_in_storms(is_secure, seed)) << seed;
    }
    EXPECT_NE(ask_in_storms(is_secure, 1), ask_in_storms(is_secure, 2));
  }
}

/// Of the times, the hosts and what happened there, without any other number: how many bytes a
/// handshake has depends on the version of OpenSSL and on the keys of the day, and how many a head
/// of HTTP has is nobody's concern here.
std::uint64_t digest_without_sizes(std::string_view trace) {
  std::uint64_t digest = 0xcbf29ce484222325U;  // FNV-1a
  bool is_time = true;                         // "     1.000203512 server recv (5) = 100"
  bool has_digit = false;
  for (const char letter : trace) {
    const bool is_digit = letter >= '0' && letter <= '9';
    has_digit = has_digit || is_digit;
    if (letter == ' ' && has_digit) is_time = false;
    if (letter == '\n') {
      is_time = true;
      has_digit = false;
    }
    if (is_digit && !is_time) continue;
    digest = (digest ^ static_cast<unsigned char>(letter)) * 0x100000001b3U;
  }
  return digest;
}

std::uint64_t digest_of_visit(bool is_secure, std::uint64_t seed) {
  sim::world world(seed);
  auto& server = world.add_host("server", "10.0.0.1");
  auto& client = world.add_host("client", "10.0.0.2");
  const auto lost = world.inject(sim::loss(0.05));
  tally so_far;
  server.run(http_service, is_secure);
  world.run_for(1ms);
  world.run(client.run(visit_server, is_secure, std::ref(so_far)));
  return digest_without_sizes(world.trace());
}

TEST(sim_http_client, the_digest_of_a_visit_is_the_same_on_every_compiler_and_in_every_build_type) {
  // If the simulator, or what the protocols ask of their kernel, changes on purpose, so do they.
  EXPECT_EQ(digest_of_visit(false, 1), 2832741418235065249U);
  EXPECT_EQ(digest_of_visit(false, 2), 18315948761664592337U);
  certificate_of_the_day();
  EXPECT_EQ(digest_of_visit(true, 1), 707359473507172682U);
  EXPECT_EQ(digest_of_visit(true, 2), 11772481696740997065U);
}

TEST(sim_property_http_client, http_responses_belong_to_their_requests_and_are_whole) {
  EXPECT_EQ(sim::run_seeds(test::many_seeds, [](auto seed) { ask_in_storms(false, seed); }), "");
}

/// A quarter of the seeds: handshakes take their time.
class https_client : public testing::TestWithParam<std::uint64_t> {};
INSTANTIATE_TEST_SUITE_P(sim_property, https_client, testing::Range<std::uint64_t>(0, 4));

TEST_P(https_client, responses_belong_to_their_requests_and_are_whole) {
  certificate_of_the_day();
  const std::uint64_t count = test::many_seeds.count / 4;
  const sim::seed_options quarter{.first = 1 + GetParam() * count, .count = count};
  EXPECT_EQ(sim::run_seeds(quarter, [](auto seed) { ask_in_storms(true, seed); }), "");
}

void ask_the_careless(bool is_secure, std::uint64_t seed) {
  sim::world world(seed);
  auto& server = world.add_host("server", "10.0.0.1");
  auto& client = world.add_host("client", "10.0.0.2");
  test::storm weather(world, seed);
  tally so_far;
  server.run(lasting, careless_service, is_secure);
  world.run_for(1ms);
  weather.shake_kernels();
  world.run(client.run(ask_in_a_storm, is_secure, false, std::ref(so_far)));
  require(so_far.answered > 0, "who is not cut off is answered");
}

TEST(sim_property_http_client, over_tls_a_body_without_a_length_that_is_cut_is_no_response) {
  const sim::seed_options few{.count = test::many_seeds.count / 20};
  EXPECT_EQ(sim::run_seeds(few, [](auto seed) { ask_the_careless(true, seed); }), "");
}

TEST(sim_property_http_client, canary_a_server_that_cuts_a_body_and_closes_cleanly_is_caught) {
  const std::string failure =
      sim::run_seeds(test::many_seeds, [](auto seed) { ask_the_careless(false, seed); });
  EXPECT_THAT(failure, testing::HasSubstr("not kept: a response is that to its request"));
}

}  // namespace
}  // namespace rill
