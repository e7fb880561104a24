// Promises that hold in any weather, checked over many seeds: RILL_SIM_SEEDS=n for more of them,
// RILL_SIM_SEED=n for one alone. How to add one: runtime/sim/README.md, "Properties".
#include <algorithm>
#include <chrono>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/echo.h"
#include "sim/storm.h"
#include "support/scenarios.h"
#include <rill/net/resolver.h>
#include <rill/net/serve.h>
#include <rill/net/stream.h>
#include <rill/runtime/combine.h>
#include <rill/runtime/file.h>
#include <rill/runtime/sim/seeds.h>
#include <rill/runtime/sim/world.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/timeout.h>

namespace rill {
namespace {

using namespace std::chrono_literals;
using sim::require;
using test::at;
using test::many_seeds;
using test::storm;

constexpr auto patience = 20s;

/// Bytes that tell where they belong.
std::string pattern(std::size_t size, std::uint64_t seed) {
  std::string made(size, ' ');
  for (std::size_t i = 0; i < size; ++i)
    made[i] = static_cast<char>((i * 7 + i / 256 + seed) % 251);
  return made;
}

/// A server that accepts, if the weather lets it bind.
task<> echo_service() {
  for (;;) {
    try {
      auto listener = tcp_listener::bind(at("0.0.0.0:80"));
      co_await serve(listener, test::echo);
    } catch (const io_error&) {
    }
    co_await sleep_for(10ms);
  }
}

/// Sends all of it in one direction while the other is read: what came back, and whether the
/// stream said that this was all.
struct exchange {
  std::string received;
  bool is_whole = false;
  bool has_failed = false;
};

task<> exchange_with(std::string where, const std::string& sent, exchange& outcome) {
  try {
    auto stream = co_await with_timeout(patience, tcp_stream::connect(at(where)));
    co_await with_nursery([&](nursery& both) -> task<> {
      both.start([&]() -> task<> {
        co_await with_timeout(patience, stream.write_all(const_buffer(sent)));
        co_await with_timeout(patience, stream.shutdown_write());
      });
      while (auto bytes = co_await with_timeout(patience, stream.read_lease())) {
        outcome.received += bytes.text();
      }
      outcome.is_whole = true;
    });
  } catch (const io_error&) {
    outcome.has_failed = true;
  }
}

void check(const exchange& outcome, const std::string& sent) {
  require(outcome.received.size() <= sent.size(), "nothing is invented");
  require(sent.compare(0, outcome.received.size(), outcome.received) == 0,
          "what comes back is what was sent, in order");
  require(outcome.is_whole || outcome.has_failed, "an exchange ends");
  // The end of the stream may come early only if the server was lost; it then says so by a reset,
  // and a proxy between them does.
  require(outcome.has_failed || outcome.received.size() == sent.size(),
          "all of it comes back, or an error says that it could not");
}

TEST(sim_property, shared_bytes_stay_as_they_are_until_the_kernel_lets_them_go) {
  // The simulated kernel looks at what it was lent once more when it lets go of it; memory that was
  // freed before shows under the address sanitizer, and what was changed everywhere.
  constexpr sim::seed_options seeds{.count = many_seeds.count / 5};
  const std::string failure = sim::run_seeds(seeds, [](std::uint64_t seed) {
    sim::world world(seed);
    auto& server = world.add_host("server", "10.0.0.1");
    auto& client = world.add_host("client", "10.0.0.2");
    storm weather(world, seed);
    weather.shake_kernels();
    weather.shake_network();
    weather.break_connections();
    weather.shake_lending();
    server.run(echo_service);
    const std::string sent = pattern(1 + weather.draw(20'000), seed);
    exchange outcome;
    const auto back_off = std::chrono::milliseconds(weather.draw(30));
    auto& talk = client.run([&]() -> task<> {
      try {
        auto stream = co_await with_timeout(patience, tcp_stream::connect(at("10.0.0.1:80")));
        stream.set_zero_copy(zero_copy::always);
        co_await with_nursery([&](nursery& both) -> task<> {
          both.start([&]() -> task<> {
            for (std::size_t done = 0; done < sent.size();) {
              const std::size_t part = std::min<std::size_t>(sent.size() - done, 3000);
              // Its only owner here, and so freed as soon as the kernel says that it may be.
              co_await with_timeout(patience, stream.write_all(shared_bytes{const_buffer(
                                                  std::string_view(sent).substr(done, part))}));
              done += part;
            }
            co_await with_timeout(patience, stream.shutdown_write());
          });
          while (auto bytes = co_await with_timeout(patience, stream.read_lease())) {
            outcome.received += bytes.text();
          }
          outcome.is_whole = true;
        });
      } catch (const io_error&) {
        outcome.has_failed = true;
      }
      co_await sleep_for(back_off);
    });
    world.run(talk);
    check(outcome, sent);
  });
  EXPECT_EQ(failure, "");
}

TEST(sim_property, echo_returns_what_was_sent_in_order_or_says_that_it_could_not) {
  const std::string failure = sim::run_seeds(many_seeds, [](std::uint64_t seed) {
    sim::world world(seed);
    auto& server = world.add_host("server", "10.0.0.1");
    auto& client = world.add_host("client", "10.0.0.2");
    storm weather(world, seed);
    weather.shake_kernels();
    weather.shake_network();
    weather.break_connections();
    server.run(echo_service);
    const std::string sent = pattern(weather.draw(20'000), seed);
    exchange outcome;
    auto& talk =
        client.run(exchange_with, std::string("10.0.0.1:80"), std::cref(sent), std::ref(outcome));
    if (weather.draw(3) == 0) {
      world.run_for(weather.moment(5ms));
      const auto cut = world.partition(server, client);
      world.run_for(weather.moment(2000ms));
    }
    if (weather.draw(5) == 0) {
      world.run_for(weather.moment(5ms));
      server.crash();
      server.restart();
    }
    world.run(talk);
    check(outcome, sent);
  });
  EXPECT_EQ(failure, "");
}

task<> proxy_session(tcp_stream peer) {
  co_await test::pass_on(std::move(peer), at("10.0.0.1:80"));
}

/// One exchange through a proxy, in a weather that also breaks connections.
template <class Session>
void check_proxy(std::uint64_t seed, Session session) {
  sim::world world(seed);
  auto& server = world.add_host("server", "10.0.0.1");
  auto& middle = world.add_host("proxy", "10.0.0.3");
  auto& client = world.add_host("client", "10.0.0.2");
  storm weather(world, seed);
  weather.shake_kernels();
  weather.shake_network();
  if (weather.draw(1) == 0) weather.break_connections();
  server.run(echo_service);
  middle.run([&]() -> task<> {
    for (;;) {
      try {
        auto listener = tcp_listener::bind(at("0.0.0.0:81"));
        co_await serve(listener, session);
      } catch (const io_error&) {
      }
      co_await sleep_for(10ms);
    }
  });
  const std::string sent = pattern(weather.draw(20'000), seed);
  exchange outcome;
  world.run(
      client.run(exchange_with, std::string("10.0.0.3:81"), std::cref(sent), std::ref(outcome)));
  check(outcome, sent);
}

TEST(sim_property, a_proxy_neither_invents_nor_loses_a_byte) {
  EXPECT_EQ(
      sim::run_seeds(many_seeds, [](std::uint64_t seed) { check_proxy(seed, proxy_session); }), "");
}

TEST(sim_property, canary_a_proxy_that_ends_orderly_when_its_server_is_lost_is_caught) {
  const auto orderly = [](tcp_stream peer) -> task<> {
    auto target = co_await tcp_stream::connect(at("10.0.0.1:80"));
    co_await all_of(copy(peer, target), copy(target, peer));
  };
  const std::string failure =
      sim::run_seeds({.count = 2000}, [&](std::uint64_t seed) { check_proxy(seed, orderly); });
  EXPECT_THAT(failure, testing::HasSubstr("all of it comes back, or an error says"));
}

TEST(sim_property, a_calm_proxy_passes_every_byte) {
  const std::string failure = sim::run_seeds(many_seeds, [](std::uint64_t seed) {
    sim::world world(seed);
    auto& server = world.add_host("server", "10.0.0.1");
    auto& middle = world.add_host("proxy", "10.0.0.3");
    auto& client = world.add_host("client", "10.0.0.2");
    storm weather(world, seed);
    server.run(echo_service);
    middle.run([]() -> task<> {
      auto listener = tcp_listener::bind(at("0.0.0.0:81"));
      co_await serve(listener, proxy_session);
    });
    world.run_for(1ms);
    weather.shake_kernels();  // and no connection breaks
    const std::string sent = pattern(weather.draw(20'000), seed);
    exchange outcome;
    world.run(
        client.run(exchange_with, std::string("10.0.0.3:81"), std::cref(sent), std::ref(outcome)));
    check(outcome, sent);
    require(!outcome.has_failed, "nothing fails that was not made to");
  });
  EXPECT_EQ(failure, "");
}

TEST(sim_property, a_drained_server_has_answered_what_it_had_accepted) {
  const std::string failure = sim::run_seeds(many_seeds, [](std::uint64_t seed) {
    sim::world world(seed);
    auto& server = world.add_host("server", "10.0.0.1");
    auto& client = world.add_host("client", "10.0.0.2");
    storm weather(world, seed);
    int accepted = 0;
    int answered = 0;
    int received = 0;
    int refused = 0;
    auto& service = server.run([&]() -> task<> {
      auto listener = tcp_listener::bind(at("0.0.0.0:80"));
      serve_limits limits;
      limits.drain_timeout = 10min;
      const auto session = [&](tcp_stream peer) -> task<> {
        ++accepted;
        co_await sleep_for(weather.moment(3ms));
        co_await peer.write_all(const_buffer("done"));
        ++answered;
      };
      co_await serve(listener, session, limits);
    });
    world.run_for(1ms);
    weather.shake_kernels();
    std::vector<sim::program*> clients;
    clients.reserve(6);
    const std::uint64_t count = 1 + weather.draw(5);
    for (std::uint64_t i = 0; i < count; ++i) {
      clients.push_back(&client.run([&]() -> task<> {
        try {
          co_await sleep_for(weather.moment(5ms));
          auto stream = co_await tcp_stream::connect(at("10.0.0.1:80"));
          char buffer[4];
          const bool whole =
              co_await with_timeout(patience, stream.read_exactly(mutable_buffer(buffer)));
          ++(whole ? received : refused);
        } catch (const timeout_error&) {
          throw;  // it was left alone
        } catch (const io_error&) {
          ++refused;  // it came too late
        }
      }));
    }
    world.run_for(weather.moment(8ms));
    service.cancel();
    world.run(service);
    require(answered == accepted, "every session that was accepted has answered");
    for (const sim::program* each : clients) world.run(*each);
    require(received == answered, "every answer arrives");
    require(received + refused == static_cast<int>(count), "everybody else is refused");
    require(server.descriptor_count() == 1, "nothing is left open");
  });
  EXPECT_EQ(failure, "");
}

TEST(sim_property, what_was_synced_survives_a_crash) {
  const std::string failure = sim::run_seeds(many_seeds, [](std::uint64_t seed) {
    sim::world world(seed);
    auto& host = world.add_host("host", "10.0.0.1");
    storm weather(world, seed);
    std::size_t synced = 0;
    host.write_file("/var/journal", "");
    host.run([&]() -> task<> {
      file journal = co_await file::open("/var/journal", open_mode::write);
      const std::string record = pattern(3000, seed);
      for (std::size_t size = 0;; size += record.size()) {
        co_await journal.write_all_at(std::as_bytes(std::span(record)), size);
        if (weather.draw(2) != 0) continue;
        co_await journal.sync();
        synced = size + record.size();
      }
    });
    world.run_for(weather.moment(10ms));
    host.crash();
    host.restart();
    const std::string left = host.read_file("/var/journal");
    const std::string record = pattern(3000, seed);
    require(left.size() >= synced, "no synced byte is missing");
    for (std::size_t i = 0; i < synced; i += record.size()) {
      require(left.compare(i, record.size(), record) == 0, "every synced record is whole");
    }
  });
  EXPECT_EQ(failure, "");
}

TEST(sim_property, a_name_has_its_own_addresses_or_no_answer) {
  const std::string failure = sim::run_seeds(many_seeds, [](std::uint64_t seed) {
    sim::world world(seed);
    world.add_name_server("10.0.0.53");
    world.add_host("one", {"10.1.0.1", "fd00::1"});
    world.add_host("two", "10.1.0.2");
    auto& client = world.add_host("client", {"10.0.0.2", "fd00::2"});
    storm weather(world, seed);
    weather.shake_kernels();
    weather.shake_network();
    const auto look_up = [](std::string name, std::vector<std::string> known) -> task<> {
      try {
        const auto found = co_await resolve(name, 80);
        require(!found.empty(), "an answer has addresses");
        for (const endpoint& each : found) {
          const bool is_known =
              std::find(known.begin(), known.end(), each.to_string()) != known.end();
          require(is_known, "an answer is about the name that was asked for");
        }
      } catch (const io_error& error) {
        const bool gave_up = error.code() == resolve_error::no_answer;
        require(gave_up || (known.empty() && error.code() == resolve_error::name_not_found),
                "only a name without a host does not exist");
      }
    };
    const std::vector<std::string> both{"10.1.0.1:80", "[fd00::1]:80"};
    const std::vector<std::string> single{"10.1.0.2:80"};
    // Beside each other: late answers to one must not be taken for the other's.
    const sim::program* const asking[] = {
        &client.run(look_up, std::string("one"), both),
        &client.run(look_up, std::string("two"), single),
        &client.run(look_up, std::string("none"), std::vector<std::string>()),
    };
    for (const sim::program* each : asking) world.run(*each);
  });
  EXPECT_EQ(failure, "");
}

TEST(sim_property, datagrams_come_whole_and_from_whom_they_say) {
  const std::string failure = sim::run_seeds(many_seeds, [](std::uint64_t seed) {
    sim::world world(seed);
    auto& server = world.add_host("server", "10.0.0.1");
    auto& client = world.add_host("client", "10.0.0.2");
    storm weather(world, seed);
    server.run([]() -> task<> {
      auto socket = udp_socket::bind(at("0.0.0.0:9"));
      for (;;) {
        auto message = co_await as_result(socket.receive());
        if (!message) continue;
        require(message->original_size() == message->bytes().size(), "a datagram comes whole");
        co_await as_result(socket.send_to(message->bytes(), message->peer()));
      }
    });
    world.run_for(1ms);
    weather.shake_kernels();
    weather.shake_network();
    const std::size_t sizes[] = {0, 1, weather.draw(65'507), 65'507};
    auto& asking = client.run([&]() -> task<> {
      auto socket = udp_socket::open(address_family::ipv4);
      std::vector<char> buffer(65'507);
      for (const std::size_t size : sizes) {
        const std::string sent = pattern(size, seed);
        if (!co_await as_result(socket.send_to(const_buffer(sent), at("10.0.0.1:9")))) continue;
        while (auto got = co_await as_result(
                   with_timeout(300ms, socket.recv_from(mutable_buffer(buffer))))) {
          require(got->peer() == at("10.0.0.1:9"), "an answer names who sent it");
          const std::string expected = pattern(got->size(), seed);
          require(std::equal(expected.begin(), expected.end(), buffer.begin()),
                  "an answer is what was sent");
        }
      }
    });
    world.run(asking);
  });
  EXPECT_EQ(failure, "");
}

// ---------------------------------------------------------------- the runner itself

TEST(sim_property, canary_a_server_that_loses_bytes_is_caught_and_reported) {
  const auto sloppy = [](tcp_stream peer) -> task<> {
    while (auto bytes = co_await peer.read_lease()) co_await peer.write(bytes);
  };
  const std::string failure = sim::run_seeds({.count = 1000}, [&](std::uint64_t seed) {
    sim::world world(seed);
    auto& server = world.add_host("server", "10.0.0.1");
    auto& client = world.add_host("client", "10.0.0.2");
    storm weather(world, seed);
    weather.shake_kernels();
    server.run([&]() -> task<> {
      auto listener = tcp_listener::bind(at("0.0.0.0:80"));
      co_await serve(listener, sloppy);
    });
    world.run_for(1ms);
    const std::string sent = pattern(5000, seed);
    exchange outcome;
    world.run(
        client.run(exchange_with, std::string("10.0.0.1:80"), std::cref(sent), std::ref(outcome)));
    check(outcome, sent);
  });
  EXPECT_THAT(failure, testing::HasSubstr("failed: not kept: "));
  EXPECT_THAT(failure, testing::ContainsRegex("To repeat it:  RILL_SIM_SEED=[0-9]+ "));
  EXPECT_THAT(failure, testing::HasSubstr("Timeline, the latest events:"));
  EXPECT_THAT(failure, testing::HasSubstr("server                                      client"));
  EXPECT_THAT(failure, testing::HasSubstr("Tasks:\nhost server: "));
}

TEST(sim_property, a_deadlock_is_reported_with_its_timeline) {
  const std::string failure = sim::run_seeds({.first = 7, .count = 3}, [](std::uint64_t seed) {
    sim::world world(seed);
    world.add_host("server", "10.0.0.1").run(echo_service);
    world.run();
  });
  EXPECT_THAT(failure, testing::HasSubstr("seed 7 failed: deadlock: "));
  EXPECT_THAT(failure, testing::HasSubstr("listen (4) = 0"));
  EXPECT_THAT(failure, testing::HasSubstr(": accept 0.0.0.0:80"));
}

}  // namespace
}  // namespace rill
