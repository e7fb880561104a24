// TLS in simulated worlds: handshakes replay from the seed, and time is the world's.
// A session with every point of it made to fail: tests/sim/tls_points_test.cpp.
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/scenarios.h"
#include "tls/handshake.h"
#include <rill/runtime/sim/world.h>

namespace rill::test {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using tls::tls_error;

endpoint at(const char* text) { return endpoint::parse(text).value(); }

/// A transport that keeps a checksum of what passes, so that equal traces are equal bytes too.
class noted_stream {
 public:
  noted_stream(tcp_stream below, std::uint64_t& sum) : below_(std::move(below)), sum_(&sum) {}

  auto read(mutable_buffer into) noexcept { return below_.read(into); }
  auto read_lease() noexcept { return below_.read_lease(); }
  auto write_all(const_buffer bytes) noexcept {
    for (const char each : bytes.text()) {
      *sum_ = (*sum_ ^ static_cast<unsigned char>(each)) * 0x100000001b3U;
    }
    return below_.write_all(bytes);
  }
  auto write_all(std::span<const const_buffer> pieces) noexcept { return below_.write_all(pieces); }
  auto shutdown_write() noexcept { return below_.shutdown_write(); }
  auto close() noexcept { return below_.close(); }
  bool is_open() const noexcept { return below_.is_open(); }

 private:
  tcp_stream below_;
  std::uint64_t* sum_;
};

struct story {
  std::string trace;
  std::uint64_t sum = 14695981039346656037U;
  int resumed_count = 0;
};

/// Three connections of one client, the second and third resumed.
story told(std::uint64_t seed, tls::version newest) {
  story all;
  test_certificate();  // made before: its keys are not the world's
  sim::world world(seed);
  sim::host& server = world.add_host("server", "10.0.0.1");
  sim::host& client = world.add_host("client", "10.0.0.2");
  server.write_file("/etc/chain.pem", test_certificate().pem());
  server.write_file("/etc/key.pem", test_certificate().key_pem());
  server.run([&]() -> task<> {
    const tls::server_context mine =
        co_await tls::server_context::from_files("/etc/chain.pem", "/etc/key.pem");
    auto listener = tcp_listener::bind(at("0.0.0.0:443"));
    for (;;) {
      auto peer = co_await listener.accept();
      auto secure = co_await tls::accept(noted_stream(std::move(peer), all.sum), mine);
      while (lease bytes = co_await secure.read_lease()) co_await secure.write_all(bytes);
      co_await secure.close();
    }
  });
  sim::program& session = client.run([&]() -> task<> {
    tls::client_options options = trusting_options();
    options.version_max = newest;
    const tls::client_context trusted(options);
    co_await sleep_for(1ms);
    for (int i = 0; i < 3; ++i) {
      auto below = co_await tcp_stream::connect(at("10.0.0.1:443"));
      auto secure = co_await tls::connect(noted_stream(std::move(below), all.sum), trusted,
                                          std::string("server.test"));
      all.resumed_count += secure.is_resumed();
      conversation so_far;
      co_await ask(secure, "hello", so_far);
      co_await ask(secure, std::string(70'000, 'x'), so_far);
      co_await secure.close();
      co_await sleep_for(1s);
    }
  });
  world.run(session);
  all.trace = world.trace();
  return all;
}

TEST(sim_tls, a_seed_gives_the_same_bytes_every_time) {
  for (const tls::version newest : {tls::version::tls1_2, tls::version::tls1_3}) {
    const story first = told(42, newest);
    const story second = told(42, newest);
    EXPECT_EQ(first.resumed_count, 2);
    EXPECT_TRUE(first.trace == second.trace);
    EXPECT_EQ(first.sum, second.sum);
    EXPECT_NE(first.sum, told(43, newest).sum);
  }
}

/// One handshake in a world; what the client makes of it.
class sim_tls_world : public testing::Test {
 protected:
  sim_tls_world()
      : server_(world_.add_host("server", "10.0.0.1")),
        client_(world_.add_host("client", "10.0.0.2")) {}

  void serve_with(const tls::server_context& mine, const char* where = "0.0.0.0:443") {
    server_.run([mine, where]() -> task<> {
      auto listener = tcp_listener::bind(at(where));
      for (;;) {
        auto peer = co_await listener.accept();
        tls_side ignored;
        co_await meet_client(std::move(peer), mine, ignored);
      }
    });
  }
  tls_side asked(const tls::client_context& with, const char* where = "10.0.0.1:443") {
    tls_side seen;
    world_.run(client_.run([&]() -> task<> {
      auto below = co_await tcp_stream::connect(at(where));
      co_await meet_server(std::move(below), with, "server.test", seen);
    }));
    return seen;
  }

  sim::world world_{7};
  sim::host& server_;
  sim::host& client_;
};

tls::server_context valid_between(const char* from, const char* until) {
  certificate_text text = named("DNS:server.test");
  text.not_before = from;
  text.not_after = until;
  return tls::server_context(signed_certificate(text, &test_authority()).loaded());
}

TEST_F(sim_tls_world, dates_are_judged_by_the_calendar_of_the_world) {
  serve_with(valid_between("20251231000000Z", "20260102000000Z"));
  const tls::client_context client = trusting();
  world_.run_for(1ms);
  EXPECT_EQ(asked(client).text, "hello");
  world_.run_for(std::chrono::hours(24));
  EXPECT_EQ(asked(trusting()).code, tls_error::certificate_expired);
}

TEST_F(sim_tls_world, what_is_valid_tomorrow_is_not_yet) {
  serve_with(valid_between("20260102000000Z", "20300101000000Z"));
  world_.run_for(1ms);
  EXPECT_EQ(asked(trusting()).code, tls_error::certificate_not_yet_valid);
  world_.run_for(std::chrono::hours(25));
  EXPECT_EQ(asked(trusting()).text, "hello");
}

TEST_F(sim_tls_world, sessions_expire_by_the_clock_of_the_world) {
  serve_with(serving());
  const tls::client_context client = trusting();
  world_.run_for(1ms);
  EXPECT_FALSE(asked(client).is_resumed);
  world_.run_for(std::chrono::minutes(110));
  EXPECT_TRUE(asked(client).is_resumed);
  world_.run_for(std::chrono::minutes(130));
  EXPECT_FALSE(asked(client).is_resumed);
}

tls::server_context changing_keys_after(std::chrono::nanoseconds interval) {
  tls::server_options options;
  options.ticket_key_interval = interval;
  return serving(options);
}

TEST_F(sim_tls_world, the_key_of_tickets_changes_and_the_one_before_opens_for_as_long_again) {
  serve_with(changing_keys_after(std::chrono::minutes(30)));
  const tls::client_context first = trusting();
  const tls::client_context second = trusting();
  const tls::client_context third = trusting();
  world_.run_for(1ms);
  for (const tls::client_context& each : {first, second, third}) {
    EXPECT_FALSE(asked(each).is_resumed);
  }
  world_.run_for(std::chrono::minutes(25));
  EXPECT_TRUE(asked(first).is_resumed);
  world_.run_for(std::chrono::minutes(30));  // 55: by the key before, which gives a new ticket
  EXPECT_TRUE(asked(first).is_resumed);
  EXPECT_TRUE(asked(second).is_resumed);
  world_.run_for(std::chrono::minutes(10));  // 65: that key is gone, the ticket would be good
  EXPECT_FALSE(asked(third).is_resumed);
  world_.run_for(std::chrono::minutes(20));  // 85
  EXPECT_TRUE(asked(second).is_resumed);
}

TEST_F(sim_tls_world, tickets_of_tls_1_2_are_opened_as_long_as_others) {
  serve_with(changing_keys_after(std::chrono::minutes(30)));
  tls::client_options older = trusting_options();
  older.version_max = tls::version::tls1_2;
  const tls::client_context client(older);
  world_.run_for(1ms);
  EXPECT_FALSE(asked(client).is_resumed);
  world_.run_for(std::chrono::minutes(35));
  EXPECT_TRUE(asked(client).is_resumed);
  world_.run_for(std::chrono::minutes(30));
  EXPECT_FALSE(asked(client).is_resumed);
}

TEST_F(sim_tls_world, after_a_quiet_time_no_old_key_opens_a_ticket) {
  serve_with(changing_keys_after(std::chrono::minutes(30)));
  const tls::client_context client = trusting();
  world_.run_for(1ms);
  EXPECT_FALSE(asked(client).is_resumed);
  world_.run_for(std::chrono::minutes(61));
  EXPECT_FALSE(asked(client).is_resumed);
}

TEST_F(sim_tls_world, loops_that_share_a_context_change_its_keys_together) {
  const tls::server_context shared = changing_keys_after(std::chrono::minutes(30));
  serve_with(shared);
  serve_with(shared, "0.0.0.0:444");
  const tls::client_context first = trusting();
  const tls::client_context second = trusting();
  world_.run_for(1ms);
  EXPECT_FALSE(asked(first).is_resumed);
  EXPECT_FALSE(asked(second).is_resumed);
  world_.run_for(std::chrono::minutes(40));
  EXPECT_TRUE(asked(first, "10.0.0.1:444").is_resumed);
  world_.run_for(std::chrono::minutes(15));
  EXPECT_TRUE(asked(second).is_resumed);
  EXPECT_TRUE(asked(first).is_resumed);
  world_.run_for(std::chrono::minutes(30));
  EXPECT_TRUE(asked(second, "10.0.0.1:444").is_resumed);
}

TEST_F(sim_tls_world, a_silent_server_costs_ten_seconds) {
  server_.run([]() -> task<> {
    auto listener = tcp_listener::bind(at("0.0.0.0:443"));
    auto peer = co_await listener.accept();
    co_await sleep_for(std::chrono::hours(1));
  });
  world_.run_for(1ms);
  const auto before = world_.now();
  const tls_side seen = asked(trusting());
  EXPECT_EQ(seen.text, "TLS handshake server.test: Connection timed out");
  EXPECT_GE(world_.now() - before, 10s);
  EXPECT_LT(world_.now() - before, 11s);
}

TEST_F(sim_tls_world, a_client_that_dribbles_its_hello_is_cut_off_in_time) {
  std::string said;
  sim::program& service = server_.run([&]() -> task<> {
    auto listener = tcp_listener::bind(at("0.0.0.0:443"));
    auto peer = co_await listener.accept();
    try {
      co_await tls::accept(std::move(peer), serving());
    } catch (const timeout_error& error) {
      said = error.what();
    }
  });
  client_.run([]() -> task<> {
    co_await sleep_for(1ms);
    auto below = co_await tcp_stream::connect(at("10.0.0.1:443"));
    const std::string hello =
        std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11) + std::string(500, 'x');
    for (std::size_t i = 0; i < hello.size(); ++i) {
      const std::string_view byte(hello.data() + i, 1);
      const auto sent = co_await as_result(below.write_all(byte));
      if (!sent) break;
      co_await sleep_for(1s);
    }
  });
  world_.run(service);
  EXPECT_THAT(said, HasSubstr("TLS handshake 10.0.0.2:"));
  EXPECT_THAT(said, HasSubstr("Connection timed out"));
  EXPECT_LT(world_.now(), 12s);
}

}  // namespace
}  // namespace rill::test
