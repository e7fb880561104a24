// Several loops on one simulated host: what they do for each other replays from the seed, comes in
// other orders with other seeds, and ends with the host. What loop_group promises anywhere stands
// in tests/runtime/loop_group_test.cpp, which runs here too.
#include <rill/runtime/loop_group.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/echo.h"
#include "support/loops.h"
#include <rill/net/serve.h>
#include <rill/runtime/blocking.h>
#include <rill/runtime/event.h>
#include <rill/runtime/frame_cache.h>
#include <rill/runtime/remote_channel.h>
#include <rill/runtime/signals.h>
#include <rill/runtime/sim/world.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/timeout.h>

namespace rill {
namespace {

using namespace std::chrono_literals;
using test::accepted_count;
using test::at;
using test::serve_on_loops;
using testing::HasSubstr;

constexpr unsigned loop_count = 4;

/// Three loops tell the fourth of each of their steps; gives the order of arrival.
std::string order_of_steps(std::uint64_t seed, std::string* trace = nullptr) {
  std::string order;
  sim::world world(seed);
  world.run(world.add_host("host", "10.0.0.1").run([&]() -> task<> {
    loop_group group(loop_count);
    co_await group.run([&](unsigned index) -> task<> {
      for (int step = 0; index != 0 && step < 5; ++step) {
        group.at(0).post([&order, index] { order += std::to_string(index); });
        co_await sleep_for(5us);
      }
    });
  }));
  if (trace != nullptr) *trace = world.trace();
  return order;
}

TEST(sim_loop_group, a_seed_gives_one_order_between_loops_and_the_same_trace_byte_for_byte) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    std::string first;
    std::string second;
    EXPECT_EQ(order_of_steps(seed, &first), order_of_steps(seed, &second));
    EXPECT_EQ(first, second);
    EXPECT_THAT(first, HasSubstr(" host woken by another loop"));
  }
}

TEST(sim_loop_group, different_seeds_give_different_orders_between_loops) {
  std::set<std::string> orders;
  std::set<char> begun_first;
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    const std::string order = order_of_steps(seed);
    ASSERT_EQ(order.size(), 15U);
    orders.insert(order);
    begun_first.insert(order[0]);
  }
  EXPECT_GT(orders.size(), 20U);
  EXPECT_EQ(begun_first, (std::set<char>{'1', '2', '3'}));
}

TEST(sim_loop_group, a_message_to_a_loop_that_sleeps_takes_the_time_of_a_wake) {
  sim::world_options options;
  options.wake_latency = {5ms, 5ms};
  sim::world world(1, options);
  world.run(world.add_host("host", "10.0.0.1").run([&]() -> task<> {
    loop_group group(2);
    co_await group.run([&](unsigned index) -> task<> {
      if (index == 1) co_return;
      co_await sleep_for(1s);
      const auto before = loop_clock::now();
      event answered;
      loop& home = loop::current();
      group.at(1).post([&] { home.post([&] { answered.set(); }); });
      co_await answered.wait();
      EXPECT_GE(loop_clock::now() - before, 10ms);
      EXPECT_LT(loop_clock::now() - before, 11ms);
    });
  }));
}

TEST(sim_loop_group, every_loop_has_a_name_in_the_trace_and_its_tree_in_a_deadlock) {
  sim::world world(1);
  world.add_host("host", "10.0.0.1").run([]() -> task<> {
    loop_group group(3);
    co_await group.run([](unsigned index) -> task<> {
      auto socket = tcp_listener::bind(at("127.0.0.1:" + std::to_string(80 + index)));
      co_await socket.accept();
    });
  });
  try {
    world.run();
    FAIL() << "nobody connects";
  } catch (const sim::deadlock& stuck) {
    const std::string text = stuck.what();
    EXPECT_THAT(text, HasSubstr("group of 3 loops, 3 running"));
    for (const char* const port : {":80", ":81", ":82"}) {
      EXPECT_THAT(text, HasSubstr("accept 127.0.0.1" + std::string(port)));
    }
  }
  EXPECT_THAT(world.trace(), HasSubstr(" host listen ("));
  EXPECT_THAT(world.trace(), HasSubstr(" host/1 listen ("));
  EXPECT_THAT(world.trace(), HasSubstr(" host/2 listen ("));
  EXPECT_THAT(world.timeline(), HasSubstr("/2 listen ("));
}

TEST(sim_loop_group, without_a_ring_or_a_thread_for_a_loop_the_group_says_so) {
  for (const bool at_run : {false, true}) {
    sim::world world(1);
    sim::host& host = world.add_host("host", "10.0.0.1");
    const auto lack =
        world.inject(sim::failure(at_run ? "thread" : "ring", at_run ? EAGAIN : EMFILE).only(2));
    std::string said;
    world.run(host.run([&]() -> task<> {
      try {
        loop_group group(loop_count);
        co_await group.run([](unsigned) -> task<> { co_await sleep_for(24h); });
      } catch (const std::exception& error) {
        said = error.what();
      }
    }));
    EXPECT_EQ(said, at_run ? "start a thread: Resource temporarily unavailable"
                           : "sim: no ring for another loop: Too many open files");
    EXPECT_EQ(host.descriptor_count(), 1U);
    EXPECT_LT(world.now(), 1s);
  }
}

TEST(sim_loop_group, a_loop_of_a_group_can_make_a_group) {
  sim::world world(1);
  sim::host& host = world.add_host("host", "10.0.0.1");
  std::set<std::pair<unsigned, unsigned>> ran;
  world.run(host.run([&]() -> task<> {
    loop_group outer(2);
    co_await outer.run([&](unsigned one) -> task<> {
      loop_group inner(2);
      co_await inner.run([&ran, one](unsigned two) -> task<> {
        co_await sleep_for(1ms);
        ran.insert({one, two});
      });
    });
  }));
  EXPECT_EQ(ran.size(), 4U);
  EXPECT_EQ(host.descriptor_count(), 1U);
}

TEST(sim_loop_group, a_signal_reaches_every_loop_that_has_asked) {
  sim::world world(1);
  sim::host& host = world.add_host("host", "10.0.0.1");
  int told = 0;
  auto& program = host.run([&]() -> task<> {
    loop_group group(3);
    co_await group.run([&](unsigned) -> task<> {
      signals hangup({SIGHUP});
      co_await hangup.next();
      ++told;
    });
  });
  world.run_for(1ms);
  host.signal(SIGHUP);
  world.run(program);
  EXPECT_EQ(told, 3);
}

TEST(sim_loop_group, a_pause_stops_all_loops_of_a_host) {
  sim::world world(1);
  sim::host& host = world.add_host("host", "10.0.0.1");
  int count = 0;
  auto& program = host.run([&]() -> task<> {
    loop_group group(3);
    co_await group.run([&](unsigned index) -> task<> {
      for (int i = 0; i < 100; ++i) {
        co_await sleep_for(1ms);
        group.at((index + 1) % 3).post([&count] { ++count; });
      }
    });
  });
  world.run_for(10ms);
  {
    const auto stopped = world.inject(sim::pause().on(host));
    const int before = count;
    world.run_for(1s);
    EXPECT_EQ(count, before);
  }
  world.run(program);
  EXPECT_EQ(count, 300);
}

TEST(sim_loop_group, blocking_calls_come_back_to_the_loop_that_made_them) {
  sim::world world(1);
  world.run(world.add_host("host", "10.0.0.1").run([]() -> task<> {
    loop_group group(3);
    co_await group.run([](unsigned index) -> task<> {
      loop& mine = loop::current();
      const unsigned got = co_await run_blocking([index] { return index; });
      EXPECT_EQ(got, index);
      EXPECT_EQ(&loop::current(), &mine);
    });
  }));
}

TEST(sim_loop_group, ends_with_the_world_wherever_it_was) {
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    const std::uint64_t before = frame_statistics().live_count;
    {
      sim::world world(seed);
      world.add_host("host", "10.0.0.1").run([]() -> task<> {
        loop_group group(loop_count);
        co_await group.run([](unsigned) -> task<> { co_await sleep_for(24h); });
      });
      world.run_for(std::chrono::microseconds(seed));
    }
    EXPECT_EQ(frame_statistics().live_count, before);
  }
}

// ---------------------------------------------------------------- a server on several loops

/// Sends `count` messages, each after the answer to the one before, on a connection of its own.
task<> ask_server(int count, std::string text) {
  co_await test::tcp_echo_client("10.0.0.1:8888", std::move(text), count);
}

/// Forty clients under loss; gives the digest of all that happened.
std::uint64_t serve_forty(std::uint64_t seed) {
  test::loop_counts counts(loop_count);
  sim::world world(seed);
  sim::host& server = world.add_host("server", "10.0.0.1");
  sim::host& client = world.add_host("client", "10.0.0.2");
  auto& service = server.run(serve_on_loops, loop_count, std::ref(counts), test::echo);
  world.run_for(1ms);
  const auto lost = world.inject(sim::loss(0.05));
  std::vector<sim::program*> asking;
  for (int i = 0; i < 40; ++i) asking.push_back(&client.run(ask_server, 10, std::to_string(i)));
  for (const sim::program* each : asking) world.run(*each);
  service.cancel();
  world.run(service);
  for (const auto& each : counts) EXPECT_GT(each.accepted_count, 0U) << "a share for every loop";
  EXPECT_EQ(accepted_count(counts), 40U);
  EXPECT_EQ(server.descriptor_count(), 1U);
  return world.digest();
}

TEST(sim_loop_group, a_server_on_four_loops_serves_its_clients_under_loss) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) serve_forty(seed);
}

TEST(sim_loop_group, the_digest_of_a_server_on_four_loops_is_the_same_everywhere) {
  // Made by g++ -O2. If the model of the network changes on purpose, so does it.
  EXPECT_EQ(serve_forty(1), 17045599882860895854U);
  EXPECT_EQ(serve_forty(2), 13565046486736176851U);
}

TEST(sim_loop_group, a_drain_answers_what_the_backlogs_of_all_loops_hold) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    test::loop_counts counts(loop_count);
    sim::world world(seed);
    sim::host& server = world.add_host("server", "10.0.0.1");
    sim::host& client = world.add_host("client", "10.0.0.2");
    auto& service = server.run(serve_on_loops, loop_count, std::ref(counts), test::greet);
    world.run_for(1ms);
    std::size_t answered = 0;
    int refused = 0;
    std::vector<sim::program*> asking;
    for (int i = 0; i < 20; ++i) {
      asking.push_back(&client.run([&answered, &refused, i]() -> task<> {
        co_await sleep_for(i * 50us);
        try {
          auto stream = co_await tcp_stream::connect(at("10.0.0.1:8888"));
          char buffer[4];
          const bool whole = co_await stream.read_exactly(mutable_buffer(buffer));
          EXPECT_TRUE(whole);
          ++answered;
        } catch (const io_error&) {
          ++refused;  // it came too late
        }
      }));
    }
    world.run_for(std::chrono::microseconds(500 + 10 * seed));
    service.cancel();
    world.run(service);
    for (const sim::program* each : asking) world.run(*each);
    EXPECT_EQ(answered, accepted_count(counts)) << "seed " << seed;
    EXPECT_GT(refused, 0);
  }
}

TEST(sim_loop_group, a_crash_takes_all_loops_and_leaves_nothing) {
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    const std::uint64_t before = frame_statistics().live_count;
    {
      test::loop_counts counts(loop_count);
      sim::world world(seed);
      sim::host& server = world.add_host("server", "10.0.0.1");
      sim::host& client = world.add_host("client", "10.0.0.2");
      auto& service = server.run(serve_on_loops, loop_count, std::ref(counts), test::echo);
      auto& asking = client.run([]() -> task<> {
        co_await with_nursery([](nursery& all) -> task<> {
          for (int i = 0; i < 20; ++i) {
            all.start([]() -> task<> {
              try {
                co_await sleep_for(1ms);
                auto stream = co_await tcp_stream::connect(at("10.0.0.1:8888"));
                for (int turn = 0; turn < 100; ++turn) {
                  co_await stream.write_all(const_buffer("x"));
                  const lease answer = co_await with_timeout(5s, stream.read_lease());
                  if (answer.empty()) co_return;
                }
              } catch (const io_error&) {
                // The server is gone.
              }
            });
          }
          co_return;
        });
      });
      // From before its loops have begun until they are busy.
      world.run_for(std::chrono::microseconds(seed < 50 ? seed : seed * 50));
      server.crash();
      EXPECT_TRUE(service.has_ended());
      EXPECT_EQ(server.descriptor_count(), 0U);
      world.run_for(1s);
      server.restart();
      auto& second = server.run(serve_on_loops, loop_count, std::ref(counts), test::echo);
      world.run(asking);  // each is reset, waits in vain, or is served by the new one
      EXPECT_FALSE(second.has_ended());
    }
    EXPECT_EQ(frame_statistics().live_count, before);
  }
}

TEST(sim_loop_group, a_crash_from_within_one_of_the_loops_takes_the_others) {
  sim::world world(1);
  sim::host& host = world.add_host("host", "10.0.0.1");
  int ended = 0;
  auto& program = host.run([&]() -> task<> {
    struct counts_end {
      explicit counts_end(int& to) noexcept : count(&to) {}
      ~counts_end() { ++*count; }
      int* count;
    };
    loop_group group(3);
    co_await group.run([&](unsigned index) -> task<> {
      const counts_end end(ended);
      co_await sleep_for(1ms);
      if (index == 2) host.crash();
      co_await sleep_for(24h);
    });
  });
  world.run(program);
  EXPECT_EQ(ended, 3);
  EXPECT_TRUE(host.is_down());
  EXPECT_LT(world.now(), 2ms);
}

TEST(sim_loop_group, of_a_crashed_host_no_shielded_task_makes_another) {
  sim::world world(1);
  sim::host& host = world.add_host("host", "10.0.0.1");
  std::string said;
  host.run([&]() -> task<> {
    co_await shielded([](std::string& to) -> task<> {
      co_await sleep_for(1s);
      try {
        loop_group group(2);
        to = "made";
      } catch (const kernel_error& error) {
        to = error.what();
      }
    }(said));
  });
  world.run_for(1ms);
  host.crash();
  EXPECT_EQ(said, "sim: no ring for another loop: Input/output error");
}

}  // namespace
}  // namespace rill
