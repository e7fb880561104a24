// Several loops of one program, with every interaction, moment and allocation made to fail, and
// under many seeds: values between loops come once and in order until the end is told, and a server
// on several loops keeps what one loop promises. See every_point_test.cpp and properties_test.cpp.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/echo.h"
#include "sim/storm.h"
#include "support/loops.h"
#include "support/scenarios.h"
#include <rill/runtime/loop_group.h>
#include <rill/runtime/remote_channel.h>
#include <rill/runtime/sim/exhaustive.h>
#include <rill/runtime/sim/world.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/timeout.h>

namespace rill {
namespace {

using namespace std::chrono_literals;
using sim::require;
using test::at;
using test::conversation;
using test::patience;
using test::storm;
using test::talk;

void visit(const std::string& name, const sim::scenario& body) {
  const sim::exhaustive_report report = sim::every_point(name, body);
  std::printf("[   points ] %s\n", report.summary.c_str());
  EXPECT_EQ(report.failure, "");
}

// ---------------------------------------------------------------- values between loops

struct numbered {
  unsigned from;
  int number;
};

/// What the loops are to do. Loop 0 receives, the others send.
struct plan {
  unsigned loop_count = 3;
  std::size_t capacity = 2;
  int value_count = 4;       // of each sender
  int close_after = -1;      // so many values the receiver takes no more
  unsigned failing = 0;      // this sender's task ends with an exception
  std::uint64_t pauses = 0;  // a bit for each step of somebody
};

struct traffic {
  explicit traffic(const plan& of) : sent(of.loop_count), received(of.loop_count) {}
  std::vector<int> sent;      // by sender: send() has said so
  std::vector<int> received;  // by sender
  bool is_closed = false;
  bool is_end_told = false;
};

task<> pause_if(std::uint64_t pauses, unsigned step) {
  if ((pauses >> (step % 64U) & 1U) != 0) co_await sleep_for(10us);
}

task<> receive_all(remote_receiver<numbered>& from, const plan& what, traffic& so_far) {
  unsigned count = 0;
  while (const auto value = co_await from.receive()) {
    require(value->number == so_far.received[value->from],
            "values of a sender come once and in order");
    ++so_far.received[value->from];
    if (static_cast<int>(++count) == what.close_after) {
      so_far.is_closed = true;
      from.close();
    }
    co_await pause_if(what.pauses, count);
  }
  so_far.is_end_told = true;
}

task<> send_all(remote_sender<numbered> to, unsigned from, const plan& what, traffic& so_far) {
  for (int i = 0; i < what.value_count; ++i) {
    if (!co_await to.send(numbered{from, i})) {
      require(so_far.is_closed, "a value is refused only by who has closed");
      break;
    }
    ++so_far.sent[from];
    co_await pause_if(what.pauses, 16 * from + static_cast<unsigned>(i));
  }
  if (from == what.failing) throw std::out_of_range("as planned");
}

task<> pass_values(const plan& what, traffic& so_far) {
  loop_group group(what.loop_count);
  remote_channel<numbered> made(what.capacity);
  std::vector<remote_sender<numbered>> senders(what.loop_count, made.sender);
  made.sender.reset();
  senders[0].reset();
  co_await group.run([&](unsigned index) -> task<> {
    if (index == 0) return receive_all(made.receiver, what, so_far);
    return send_all(std::move(senders[index]), index, what, so_far);
  });
}

void check(const traffic& all) {
  for (std::size_t i = 0; i < all.sent.size(); ++i) {
    require(all.received[i] <= all.sent[i], "nothing is invented");
    require(!all.is_end_told || all.received[i] == all.sent[i],
            "what was sent has come before the end is told");
  }
}

TEST(sim_loop_points, channel_between_the_loops_of_a_group) {
  visit("channel between the loops of a group", [](sim::trial& run) {
    sim::host& host = run.world().add_host("host", "10.0.0.1");
    const plan what;
    traffic so_far(what);
    run.run(host.run(pass_values, std::cref(what), std::ref(so_far)));
    check(so_far);
    require(!run.succeeded() || (so_far.is_end_told && so_far.received[2] == what.value_count),
            "a session that succeeds has all values");
  });
}

/// What the weather does not do to a plan that it may end early.
enum class fate : std::uint8_t { whole, cancelled, crashed };

void pass_values_in_a_storm(std::uint64_t seed) {
  plan what;
  std::optional<traffic> so_far;
  sim::world world(seed);
  sim::host& host = world.add_host("host", "10.0.0.1");
  storm weather(world, seed);
  weather.shake_kernels();
  what.loop_count = static_cast<unsigned>(2 + weather.draw(2));
  what.capacity = 1 + weather.draw(3);
  what.value_count = static_cast<int>(weather.draw(12));
  if (weather.draw(3) == 0) what.close_after = static_cast<int>(weather.draw(12));
  if (weather.draw(3) == 0) what.failing = static_cast<unsigned>(weather.draw(3));
  what.pauses = weather.draw(UINT64_MAX - 1);
  const auto end = static_cast<fate>(weather.draw(2));
  so_far.emplace(what);
  auto& session = host.run([&]() -> task<> {
    try {
      co_await pass_values(what, *so_far);
    } catch (const std::out_of_range&) {
      require(what.failing != 0, "nothing fails that was not made to");
    }
  });
  if (end != fate::whole) world.run_for(weather.moment(300us));
  if (end == fate::cancelled) session.cancel();
  if (end == fate::crashed) host.crash();
  world.run(session);
  check(*so_far);
  const bool is_calm = end == fate::whole && (what.failing == 0 || what.failing >= what.loop_count);
  require(!is_calm || so_far->is_end_told, "the end is told");
  require(host.descriptor_count() == (end == fate::crashed ? 0 : 1), "no ring is left");
}

TEST(sim_property_loops, values_come_once_and_in_order_until_the_end_is_told) {
  EXPECT_EQ(sim::run_seeds(test::many_seeds, pass_values_in_a_storm), "");
}

TEST(sim_property_loops, canary_a_counter_that_two_loops_read_and_write_is_caught) {
  // Each step by itself is right; between reading and writing another loop may have its turn.
  const std::string failure = sim::run_seeds({.count = 100}, [](std::uint64_t seed) {
    int counter = 0;
    sim::world world(seed);
    world.run(world.add_host("host", "10.0.0.1").run([&]() -> task<> {
      loop_group group(2);
      co_await group.run([&](unsigned) -> task<> {
        const int read = counter;
        co_await sleep_for(5us);
        counter = read + 1;
      });
    }));
    require(counter == 2, "every loop is counted");
  });
  EXPECT_THAT(failure, testing::HasSubstr("not kept: every loop is counted"));
}

// ---------------------------------------------------------------- a server on several loops

TEST(sim_loop_points, server_on_two_loops) {
  visit("server on two loops", [](sim::trial& run) {
    sim::host& server = run.world().add_host("server", "10.0.0.1");
    sim::host& client = run.world().add_host("client", "10.0.0.2");
    conversation so_far[2];
    test::loop_counts counts(2);
    server.run(test::serve_on_loops, 2U, std::ref(counts), test::echo);
    run.settle(1ms);
    auto& session = client.run([&]() -> task<> {
      for (conversation& each : so_far) co_await talk(at("10.0.0.1:8888"), each);
    });
    run.run(session, server);
    require(!run.succeeded() || (so_far[0].answered == 2 && so_far[1].answered == 2),
            "a session that succeeds has its answers, whole");
  });
}

TEST(sim_property_loops, a_server_that_is_drained_has_answered_what_its_loops_had_accepted) {
  const sim::seed_options half{.count = test::many_seeds.count / 2};
  const std::string failure = sim::run_seeds(half, [](std::uint64_t seed) {
    test::loop_counts counts;
    sim::world world(seed);
    auto& server = world.add_host("server", "10.0.0.1");
    auto& client = world.add_host("client", "10.0.0.2");
    storm weather(world, seed);
    const auto loop_count = static_cast<unsigned>(2 + weather.draw(2));
    counts.resize(loop_count);
    auto& service = server.run(test::serve_on_loops, loop_count, std::ref(counts), test::greet);
    world.run_for(1ms);
    weather.shake_kernels();
    std::size_t answered = 0;
    std::vector<sim::program*> clients;
    const std::uint64_t client_count = 1 + weather.draw(7);
    for (std::uint64_t i = 0; i < client_count; ++i) {
      clients.push_back(&client.run([&]() -> task<> {
        try {
          co_await sleep_for(weather.moment(3ms));
          auto stream = co_await tcp_stream::connect(at("10.0.0.1:8888"));
          char buffer[4];
          const bool whole =
              co_await with_timeout(patience, stream.read_exactly(mutable_buffer(buffer)));
          if (whole) ++answered;
        } catch (const timeout_error&) {
          throw;  // it was left alone
        } catch (const io_error&) {
          // It came too late.
        }
      }));
    }
    world.run_for(weather.moment(5ms));
    service.cancel();
    world.run(service);
    for (const sim::program* each : clients) world.run(*each);
    require(answered == test::accepted_count(counts), "who was accepted by a loop is answered");
    require(server.descriptor_count() == 1, "nothing is left open");
  });
  EXPECT_EQ(failure, "");
}

}  // namespace
}  // namespace rill
