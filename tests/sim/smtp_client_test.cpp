// Delivery under faults: every point of a few messages made to fail, and many messages in bad
// weather. A message is kept at most once, and what the client says of it is true.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/storm.h"
#include "support/certificates.h"
#include <rill/net/serve.h>
#include <rill/protocols/smtp/client.h>
#include <rill/protocols/smtp/session.h>
#include <rill/runtime/sim/exhaustive.h>
#include <rill/runtime/sim/seeds.h>
#include <rill/runtime/sleep.h>

namespace rill {
namespace {

using namespace std::chrono_literals;
using sim::require;

/// What the client was told of a message.
enum class claim { none, accepted, not_accepted, unknown };

std::string text_of(int number) {
  std::string text = "Subject: " + std::to_string(number) + "\r\n\r\n.\r\n";
  if (number % 3 == 2) {
    for (int i = 0; i < 400; ++i)
      text += ".line " + std::to_string(i) + std::string(60, 'x') + "\r\n";
  }
  return text;
}

/// Keeps mail, on a disk that survives crashes: it outlives the world.
class keeper final : public smtp::service {
 public:
  explicit keeper(bool lies = false) : lies_(lies) {}

  task<smtp::reply> begin(const smtp::session_peer&, const smtp::path_argument& sender) override {
    if (sender.address.starts_with("5")) co_return smtp::reply(550, "5.7.1 no");
    co_return smtp::reply(250, "2.1.0 ok");
  }
  task<smtp::reply> take(smtp::received_mail mail) override {
    smtp::reply said(250, "2.0.0 kept");  // first: once it is kept nothing may fail
    const smtp::reply busy(451, "4.3.0 busy");
    const int number = std::stoi(mail.content.substr(9));
    require(mail.content == text_of(number), "what is kept is what was sent");
    if (number % 4 == 3 && !lies_) co_return busy;
    ++kept_[number];
    if (number % 4 == 3) co_return busy;
    co_return said;
  }

  void check(const std::map<int, claim>& claims) const {
    for (const auto& [number, said] : claims) {
      const auto found = kept_.find(number);
      const int count = found == kept_.end() ? 0 : found->second;
      require(count <= 1, "a message is kept once");
      require(said != claim::accepted || count == 1, "what was accepted is kept");
      require(said != claim::not_accepted || count == 0, "what was not accepted is not kept");
    }
  }

 private:
  std::map<int, int> kept_;
  bool lies_;
};

/// Good on the first days of a world.
const tls::certificate& certificate_of_the_day() {
  static const tls::certificate made = test::test_certificate().loaded();
  return made;
}

task<> mail_service(keeper& all, bool is_secure) {
  smtp::session_options options;
  options.name = "server.test";
  if (is_secure) options.tls.emplace(certificate_of_the_day());
  options.on_error = [](const smtp::session_peer&, const std::exception_ptr&) {};
  auto listener = tcp_listener::bind(endpoint(address::any_v4(), 25));
  serve_limits limits;
  limits.on_error = [](const endpoint&, std::exception_ptr) {};
  const auto session = [&](tcp_stream peer) {
    return smtp::session(std::move(peer), all, options);
  };
  co_await serve(listener, session, limits);
}

/// However bad the weather is when it starts.
task<> lasting(keeper& all, bool is_secure) {
  for (;;) {
    try {
      co_await mail_service(all, is_secure);
    } catch (const io_error&) {
      // No descriptor for the listener, this time.
    }
    co_await sleep_for(10ms);
  }
}

smtp::client_options make_options(bool is_secure) {
  smtp::client_options options;
  options.hello = "client.test";
  options.secured = is_secure ? smtp::security::starttls : smtp::security::none;
  options.tls = test::trusting_options();
  options.timeouts.at_most(20s);
  return options;
}

/// Sends messages `first` to `last` on one connection, as long as it lasts. What is thrown before
/// a delivery is there says that nothing was accepted.
task<> send_some(bool is_secure, int first, int last, std::map<int, claim>& claims) {
  int number = first;
  try {
    smtp::client server = co_await smtp::client::connect("10.0.0.1", 25, make_options(is_secure));
    for (; number <= last && server.is_open(); ++number) {
      claims[number] = claim::none;
      const std::string text = text_of(number);
      const std::string from = (number % 5 == 4 ? "5@" : "a@") + std::string("client.test");
      const smtp::envelope who(from, "bob@server.test");
      const smtp::delivery done = co_await server.send(who, text);
      claims[number] = done.what() == smtp::outcome::accepted  ? claim::accepted
                       : done.what() == smtp::outcome::refused ? claim::not_accepted
                                                               : claim::unknown;
    }
    co_await server.quit();
  } catch (const smtp::client_error&) {
    claims[number] = claim::not_accepted;
  }
}

task<> visit_server(bool is_secure, std::map<int, claim>& claims) {
  co_await send_some(is_secure, 1, 4, claims);
  if (claims.size() != 4 || claims[1] != claim::accepted || claims[2] != claim::accepted ||
      claims[3] != claim::not_accepted || claims[4] != claim::not_accepted) {
    throw io_error(std::make_error_code(std::errc::connection_reset), "send", "mail");
  }
}

void visit_at_every_point(const std::string& name, bool is_secure) {
  certificate_of_the_day();
  const sim::exhaustive_report report = sim::every_point(name, [&](sim::trial& run) {
    keeper all;
    std::map<int, claim> claims;
    sim::host& server = run.world().add_host("server", "10.0.0.1");
    sim::host& client = run.world().add_host("client", "10.0.0.2");
    server.run(mail_service, std::ref(all), is_secure);
    run.settle(1ms);
    run.run(client.run(visit_server, is_secure, std::ref(claims)), server);
    all.check(claims);
    require(!run.is_undisturbed() || run.succeeded(), "undisturbed, all is delivered");
  });
  std::printf("[   points ] %s\n", report.summary.c_str());
  EXPECT_EQ(report.failure, "");
}

TEST(sim_smtp_points, smtp_client_with_several_messages) {
  visit_at_every_point("smtp client with several messages", false);
}

/// Gives the digest of all that happened.
std::uint64_t send_in_storms(bool is_secure, bool lies, std::uint64_t seed) {
  keeper all(lies);
  std::map<int, claim> claims;
  sim::world world(seed);
  auto& server = world.add_host("server", "10.0.0.1");
  auto& client = world.add_host("client", "10.0.0.2");
  test::storm weather(world, seed);
  weather.shake_kernels();
  weather.shake_network();
  if (weather.draw(2) != 0) weather.break_connections();
  server.run(lasting, std::ref(all), is_secure);
  const auto send_all = [&]() -> task<> {
    co_await send_some(is_secure, 1, 3, claims);
    co_await send_some(is_secure, 4, 5, claims);
  };
  auto& sending = client.run(std::cref(send_all));
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
    server.run(lasting, std::ref(all), is_secure);
  }
  world.run(sending);
  all.check(claims);
  return world.digest();
}

TEST(sim_smtp, a_seed_gives_the_same_run_every_time) {
  certificate_of_the_day();
  for (const bool is_secure : {false, true}) {
    for (std::uint64_t seed = 1; seed <= 5; ++seed) {
      EXPECT_EQ(send_in_storms(is_secure, false, seed), send_in_storms(is_secure, false, seed));
    }
  }
}

TEST(sim_property_smtp, mail_is_delivered_once_and_what_the_client_says_is_true) {
  EXPECT_EQ(sim::run_seeds(test::many_seeds, [](auto seed) { send_in_storms(false, false, seed); }),
            "");
}

TEST(sim_property_smtp, over_tls_too) {
  certificate_of_the_day();
  const sim::seed_options few{.count = test::many_seeds.count / 25};
  EXPECT_EQ(sim::run_seeds(few, [](auto seed) { send_in_storms(true, false, seed); }), "");
}

TEST(sim_property_smtp, canary_a_server_that_keeps_what_it_refuses_is_caught) {
  EXPECT_THAT(
      sim::run_seeds(test::many_seeds, [](auto seed) { send_in_storms(false, true, seed); }),
      testing::HasSubstr("not kept: what was not accepted is not kept"));
}

}  // namespace
}  // namespace rill
