// What a world promises: virtual time, replay from a seed, the end of runs, deadlocks, limits.
#include <rill/runtime/sim/world.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/echo.h"
#include "support.h"
#include <rill/net/connect.h>
#include <rill/net/serve.h>
#include <rill/net/unix.h>
#include <rill/runtime/blocking.h>
#include <rill/runtime/event.h>
#include <rill/runtime/file.h>
#include <rill/runtime/signals.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/timeout.h>

namespace rill {
namespace {

using namespace std::chrono_literals;
using test::at;
using testing::HasSubstr;

TEST(sim_time, an_hour_of_sleep_takes_an_hour_of_virtual_time) {
  sim::world world(1);
  world.add_host("a", "10.0.0.1").run([]() -> task<> {
    const auto before = loop_clock::now();
    co_await sleep_for(1h);
    EXPECT_EQ(loop_clock::now() - before, 1h);
  });
  world.run();
  EXPECT_GE(world.now(), 1h);
  EXPECT_LT(world.now(), 1h + 1s);
}

TEST(sim_time, a_thousand_idle_connections_time_out_after_an_hour) {
  int ended = 0;
  sim::world_options options;
  options.descriptor_max = 4096;
  sim::world world(2, options);
  world.add_host("server", "10.0.0.1").run([&]() -> task<> {
    auto listener = tcp_listener::bind(at("0.0.0.0:8888"));
    co_await with_nursery([&](nursery& sessions) -> task<> {
      for (int i = 0; i < 1000; ++i) {
        sessions.start(
            [&](tcp_stream peer) -> task<> {
              const auto got = co_await as_result(with_timeout(1h, peer.read_lease()));
              EXPECT_TRUE(!got && got.error().is_timeout());
              ++ended;
            },
            co_await listener.accept());
      }
    });
  });
  world.add_host("client", "10.0.0.2").run([]() -> task<> {
    std::vector<tcp_stream> idle;
    for (int i = 0; i < 1000; ++i) {
      idle.push_back(co_await tcp_stream::connect(at("10.0.0.1:8888")));
    }
    co_await sleep_for(2h);
  });
  world.run();
  EXPECT_EQ(ended, 1000);
  EXPECT_GE(world.now(), 1h);
}

TEST(sim_time, passes_even_for_a_task_that_is_always_ready) {
  sim::world world(3);
  world.add_host("a", "10.0.0.1").run([]() -> task<> {
    const auto until = loop_clock::now() + 1ms;
    while (loop_clock::now() < until) co_await yield();
  });
  world.run();
}

TEST(sim_time, run_for_lets_time_pass_with_nothing_to_do) {
  sim::world world(4);
  world.run_for(5s);
  EXPECT_EQ(world.now(), 5s);
}

std::string trace_of(std::uint64_t seed) {
  sim::world_options options;
  options.udp_loss = 0.1;
  sim::world world(seed, options);
  auto& server = world.add_host("server", "10.0.0.1");
  server.run(test::tcp_echo_service, std::string("0.0.0.0:8888"));
  server.run(test::udp_echo_service, std::string("0.0.0.0:9999"));
  auto& client = world.add_host("client", "10.0.0.2");
  auto& all = client.run([]() -> task<> {
    co_await with_nursery([](nursery& clients) -> task<> {
      for (int i = 0; i < 20; ++i) {
        clients.start(test::tcp_echo_client, std::string("10.0.0.1:8888"), std::to_string(i), 20);
      }
      auto socket = udp_socket::open(address_family::ipv4);
      char buffer[100];
      for (int i = 0; i < 50; ++i) {
        co_await socket.send_to(const_buffer("x"), at("10.0.0.1:9999"));
        co_await as_result(with_timeout(2ms, socket.recv_from(mutable_buffer(buffer))));
      }
    });
  });
  world.run(all);
  return world.trace() + std::to_string(world.digest());
}

TEST(sim_replay, the_same_seed_gives_the_same_trace_and_another_seed_another) {
  const std::string first = trace_of(7);
  EXPECT_GT(first.size(), 10'000U);
  EXPECT_EQ(first, trace_of(7));
  EXPECT_NE(first, trace_of(8));
}

TEST(sim_replay, the_digest_is_the_same_on_every_compiler_and_in_every_build_type) {
  // The number was made by g++ -O0. If the model of the network changes on purpose, so does it.
  sim::world world(9);
  world.add_host("server", "10.0.0.1").run(test::tcp_echo_service, std::string("0.0.0.0:8888"));
  auto& client = world.add_host("client", "10.0.0.2");
  world.run(client.run(test::tcp_echo_client, std::string("10.0.0.1:8888"), std::string("x"), 50));
  EXPECT_EQ(world.digest(), 17389207388295079100U);
}

task<> talk_of_everything(std::string text) {
  try {
    auto stream = co_await connect("server", 80);
    stream.set_zero_copy(zero_copy::always);
    for (int i = 0; i < 20; ++i) {
      std::string answer(text.size(), ' ');
      co_await with_timeout(5s, stream.write_all(shared_bytes{const_buffer(text)}));
      co_await with_timeout(5s, stream.read_exactly(mutable_buffer(answer)));
      file log = co_await file::open("/var/log", open_mode::write | open_mode::create);
      co_await log.write_all_at(std::as_bytes(std::span(answer)), 0);
      co_await log.sync();
    }
  } catch (const io_error&) {
  }
  try {
    auto socket = udp_socket::open(address_family::ipv4);
    char buffer[100];
    for (int i = 0; i < 20; ++i) {
      co_await socket.send_to(const_buffer(std::to_string(i)), at("10.0.0.1:9999"));
      co_await as_result(with_timeout(2ms, socket.recv_from(mutable_buffer(buffer))));
    }
  } catch (const io_error&) {
  }
  auto [one, other] = unix_stream::pair();
  co_await one.write_all(const_buffer(text));
  co_await other.read_exactly(mutable_buffer(text));
}

/// A run that meets all there is: names, files, Unix sockets, datagrams, every rule of faults.h, a
/// crash. `unmet`: where it is told which of the rules found nothing to
/// strike.
std::uint64_t digest_of_everything(std::uint64_t seed, std::string* unmet = nullptr) {
  sim::world world(seed);
  world.add_name_server("10.0.0.53");
  auto& server = world.add_host("server", {"10.0.0.1", "fd00::1"});
  auto& client = world.add_host("client", {"10.0.0.2", "fd00::2"});
  const std::pair<const char*, sim::fault> all[] = {
      {"loss", sim::loss(0.02).between(server, client)},
      {"partition", sim::partition().from(server).to(client).only(40)},
      {"duplication", sim::duplication(0.2)},
      {"reordering", sim::reordering(0.2)},
      {"latency", sim::latency(0ms, 1ms)},
      {"bandwidth", sim::bandwidth(10'000'000)},
      {"reset_after", sim::reset_after(5'000)},
      {"short_transfers", sim::short_transfers().on(server).sometimes(0.2)},
      {"early_end", sim::early_end().sometimes(0.2)},
      {"late_completions", sim::late_completions(100us).sometimes(0.1)},
      {"late_notifications", sim::late_notifications(1ms).sometimes(0.5)},
      {"disordered_completions", sim::disordered_completions().sometimes(0.2)},
      {"slow_submission", sim::slow_submission().sometimes(0.2)},
      {"completion_overflow", sim::completion_overflow().sometimes(0.1)},
      {"no_buffers", sim::failure("recv_multishot", ENOBUFS).sometimes(0.1)},
      {"interruption", sim::interruption().of("wait").sometimes(0.1)},
      {"no_descriptors", sim::no_descriptors().on(server).of("accept").sometimes(0.1)},
      {"no_memory", sim::no_memory().of("send_zc").sometimes(0.05)},
      {"slow_disk", sim::slow_disk(0ms, 1ms)},
      {"full_disk", sim::full_disk().sometimes(0.02)},
  };
  std::vector<sim::fault_guard> guards;
  for (const auto& [name, imposed] : all) guards.push_back(world.inject(imposed));
  const auto jump = world.inject(sim::clock_jump(1h).on(client));
  const auto serve_all = [](std::string where) -> task<> {
    auto listener = tcp_listener::bind(at(where));
    co_await serve(listener, test::echo);
  };
  const auto answer_all = [](std::string where) -> task<> {
    auto socket = udp_socket::bind(at(where));
    for (;;) {
      const auto message = co_await as_result(socket.receive());
      if (message) co_await as_result(socket.send_to(message->bytes(), message->peer()));
    }
  };
  const auto start_server = [&] {
    server.run(serve_all, std::string("[::]:80"));
    server.run(answer_all, std::string("0.0.0.0:9999"));
  };
  start_server();
  auto& first = client.run(talk_of_everything, std::string(3000, 'x'));
  auto& second = client.run(talk_of_everything, std::string("short"));
  world.run_for(20ms);
  {
    const auto pause = world.inject(sim::pause().on(server));
    world.run_for(10ms);
  }
  world.run_for(70ms);
  server.crash();
  world.run_for(1s);
  server.restart();
  start_server();
  world.run(first);
  world.run(second);
  for (std::size_t i = 0; unmet != nullptr && i < guards.size(); ++i) {
    if (guards[i].match_count() == 0) *unmet += std::string(all[i].first) + ' ';
  }
  return world.digest();
}

TEST(sim_replay, the_digest_of_a_run_with_everything_in_it_is_the_same_everywhere) {
  std::string unmet;
  EXPECT_EQ(digest_of_everything(1, &unmet), digest_of_everything(1));
  EXPECT_EQ(unmet, "") << "a rule that meets nothing proves nothing";
  // Made by g++ -O2; see above.
  EXPECT_EQ(digest_of_everything(1), 5484337484590176419U);
  EXPECT_EQ(digest_of_everything(2), 6365304870000075288U);
}

TEST(sim_end, an_error_of_any_program_is_rethrown) {
  sim::world world(10);
  world.add_host("server", "10.0.0.1").run(test::tcp_echo_service, std::string("0.0.0.0:8888"));
  world.add_host("client", "10.0.0.2").run([]() -> task<> {
    co_await sleep_for(1s);
    throw std::out_of_range("as planned");
  });
  EXPECT_THROW(world.run(), std::out_of_range);
}

TEST(sim_end, a_deadlock_says_how_long_its_tasks_have_waited) {
  sim::world world(1);
  world.add_host("a", "10.0.0.1").run([]() -> task<> {
    event never;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> { co_await never.wait(); });
      co_await sleep_for(90s);
    });
  });
  try {
    world.run();
    FAIL() << "no deadlock";
  } catch (const sim::deadlock& found) {
    EXPECT_THAT(found.what(), HasSubstr("event, 90.0 s"));
  }
}

TEST(sim_end, a_deadlock_is_told_with_the_tasks_of_every_host) {
  event never;
  sim::world world(11);
  world.add_host("alice", "10.0.0.1").run(test::tcp_echo_service, std::string("0.0.0.0:8888"));
  world.add_host("bob", "10.0.0.2").run([&]() -> task<> { co_await never.wait(); });
  try {
    world.run();
    FAIL() << "no deadlock";
  } catch (const sim::deadlock& found) {
    EXPECT_THAT(found.what(), HasSubstr("host alice: "));
    EXPECT_THAT(found.what(), HasSubstr("sim/echo.h:"));
    EXPECT_THAT(found.what(), HasSubstr("host bob: "));
    EXPECT_THAT(found.what(), HasSubstr(": event"));
    EXPECT_THAT(found.what(), HasSubstr("seed 11"));
  }
}

TEST(sim_end, a_world_that_never_comes_to_rest_hits_the_time_limit) {
  sim::world_options options;
  options.run_limit = 1min;
  sim::world world(12, options);
  world.add_host("a", "10.0.0.1").run([]() -> task<> {
    for (;;) co_await sleep_for(1s);
  });
  EXPECT_THROW(world.run(), sim::time_limit);
}

TEST(sim_end, a_world_that_runs_in_circles_hits_the_limit_of_steps) {
  sim::world_options options;
  options.step_max = 10'000;
  sim::world world(12, options);
  auto& host = world.add_host("a", "10.0.0.1");
  auto circle = world.inject(sim::failure("enter", EAGAIN));
  host.run([]() -> task<> { co_await file::open("/etc/hosts"); });
  EXPECT_THROW(world.run(), sim::time_limit);
  circle.lift();
  world.run();
}

task<> turn_for_ever() {
  for (;;) co_await yield();
}

TEST(sim_end, run_for_has_a_limit_of_steps_too) {
  sim::world_options options;
  options.step_max = 10'000;
  sim::world world(12, options);
  auto& busy = world.add_host("a", "10.0.0.1").run(turn_for_ever);
  EXPECT_THROW(world.run_for(1h), sim::time_limit);
  EXPECT_LT(world.now(), 1s);
  world.run_for(1ms);  // every call has its own
  busy.cancel();
  world.run();
}

TEST(sim_end, a_limit_of_time_may_be_as_long_as_time_itself) {
  sim::world_options options;
  options.run_limit = std::chrono::nanoseconds::max();
  sim::world world(12, options);
  world.run_for(1s);
  world.run(world.add_host("a", "10.0.0.1").run([]() -> task<> { co_await sleep_for(1s); }));
  EXPECT_GE(world.now(), 2s);
}

TEST(sim_end_death_test, destroying_a_world_gives_up_on_a_task_that_turns_for_ever) {
  const auto destroy = [] {
    sim::world_options options;
    options.step_max = 10'000;
    sim::world world(12, options);
    world.add_host("a", "10.0.0.1").run([]() -> task<> { co_await shielded(turn_for_ever()); });
    world.run_for(1ms);
  };
  EXPECT_DEATH(destroy(), "world_test");
}

TEST(sim_end, destroying_a_world_ends_its_tasks_and_runs_their_destructors) {
  test::record notes;
  {
    sim::world world(13);
    world.add_host("server", "10.0.0.1").run(test::tcp_echo_service, std::string("0.0.0.0:8888"));
    world.add_host("client", "10.0.0.2").run([&]() -> task<> {
      const test::leaves_note note(notes, "client gone");
      auto stream = co_await tcp_stream::connect(at("10.0.0.1:8888"));
      co_await stream.read_lease();
    });
    world.run_for(1s);
    EXPECT_TRUE(notes.empty());
  }
  EXPECT_THAT(notes, testing::ElementsAre("client gone"));
}

TEST(sim_end, a_cancelled_program_leaves_no_descriptor_behind) {
  sim::world world(14);
  auto& server = world.add_host("server", "10.0.0.1");
  auto& service = server.run(test::tcp_echo_service, std::string("0.0.0.0:8888"));
  const std::size_t rings = 1;
  auto& client = world.add_host("client", "10.0.0.2");
  world.run(client.run(test::tcp_echo_client, std::string("10.0.0.1:8888"), std::string("x"), 5));
  EXPECT_GT(server.descriptor_count(), rings);
  service.cancel();
  world.run();
  EXPECT_EQ(server.descriptor_count(), rings);
  EXPECT_EQ(client.descriptor_count(), rings);
}

TEST(sim_cancel, a_read_is_withdrawn_at_its_deadline_and_the_stream_still_works) {
  sim::world world(15);
  world.add_host("server", "10.0.0.1").run([]() -> task<> {
    auto listener = tcp_listener::bind(at("0.0.0.0:8888"));
    auto peer = co_await listener.accept();
    co_await sleep_for(10s);
    co_await peer.write_all(const_buffer("late"));
  });
  world.add_host("client", "10.0.0.2").run([]() -> task<> {
    auto stream = co_await tcp_stream::connect(at("10.0.0.1:8888"));
    char buffer[10];
    for (int i = 0; i < 3; ++i) {
      const auto got = co_await as_result(with_timeout(1s, stream.read(mutable_buffer(buffer))));
      EXPECT_TRUE(!got && got.error().is_timeout());
    }
    EXPECT_EQ(co_await stream.read(mutable_buffer(buffer)), 4U);
  });
  world.run();
}

TEST(sim_cancel, sessions_are_cancelled_wherever_they_are) {
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    sim::world world(seed);
    auto& server = world.add_host("server", "10.0.0.1");
    auto& service = server.run(test::tcp_echo_service, std::string("0.0.0.0:8888"));
    auto& client = world.add_host("client", "10.0.0.2");
    client.run([]() -> task<> {
      const auto hang_up = [](const io_error&) {};
      try {
        co_await test::tcp_echo_client("10.0.0.1:8888", std::string(100'000, 'x'), 1000);
      } catch (const io_error& error) {
        hang_up(error);
      }
    });
    world.run_for(std::chrono::microseconds(100 * seed));
    service.cancel();
    // The client sees a reset, or an end in the middle of a message, which the test client reports.
    world.run(service);
    EXPECT_EQ(server.descriptor_count(), 1U);
  }
}

TEST(sim_queues, operations_wait_for_room_in_a_full_submission_queue) {
  sim::world_options options;
  options.loop.queues.submission = 4;
  options.loop.queues.completion = 4;
  sim::world world(16, options);
  world.add_host("server", "10.0.0.1").run(test::tcp_echo_service, std::string("0.0.0.0:8888"));
  auto& client = world.add_host("client", "10.0.0.2");
  auto& all = client.run([]() -> task<> {
    co_await with_nursery([](nursery& clients) -> task<> {
      for (int i = 0; i < 100; ++i) {
        clients.start(test::tcp_echo_client, std::string("10.0.0.1:8888"), std::to_string(i), 10);
      }
      co_return;
    });
  });
  world.run(all);
  EXPECT_GT(all.statistics().backlog_count, 0U);
  EXPECT_THAT(world.trace(), HasSubstr("completion queue overflow"));
}

TEST(sim_host, a_spent_descriptor_table_refuses_and_recovers) {
  sim::world_options options;
  options.descriptor_max = 10;
  sim::world world(17, options);
  world.add_host("a", "10.0.0.1").run([]() -> task<> {
    {
      std::vector<udp_socket> many;
      for (int i = 0; i < 6; ++i) many.push_back(udp_socket::open(address_family::ipv4));
      EXPECT_THROW(udp_socket::open(address_family::ipv4), io_error);
    }
    co_await sleep_for(1ms);  // closing is an operation
    udp_socket::open(address_family::ipv4);
  });
  world.run();
}

TEST(sim_host, signals_reach_the_programs_that_asked) {
  int got = 0;
  sim::world world(18);
  auto& host = world.add_host("a", "10.0.0.1");
  EXPECT_THROW(host.signal(SIGTERM), std::logic_error);
  for (int i = 0; i < 2; ++i) {
    host.run([&]() -> task<> {
      signals wanted({SIGTERM, SIGINT});
      EXPECT_EQ(co_await wanted.next(), SIGTERM);
      ++got;
    });
  }
  world.run_for(1s);
  world.signal(host, SIGTERM);
  world.run();
  EXPECT_EQ(got, 2);
}

TEST(sim_host, a_descriptor_for_signals_may_be_left_open) {
  sim::world world(22);  // whose end frees it; AddressSanitizer sees what it touches
  auto& host = world.add_host("a", "10.0.0.1");
  world.run(host.run([]() -> task<> {
    const int numbers[] = {SIGTERM};
    EXPECT_GE(loop::current().kernel().signals(numbers), 0);
    co_return;
  }));
  EXPECT_EQ(host.descriptor_count(), 2U);
}

TEST(sim_host, blocking_calls_take_virtual_time) {
  sim::world world(19);
  world.add_host("a", "10.0.0.1").run([]() -> task<> {
    const auto before = loop_clock::now();
    EXPECT_EQ(co_await run_blocking([] { return 42; }), 42);
    EXPECT_GE(loop_clock::now() - before, 50us);
  });
  world.run();
}

TEST(sim_host, a_blocking_call_that_nobody_waits_for_any_more_is_dropped) {
  bool ran = false;
  {
    sim::world world(20);
    world.add_host("a", "10.0.0.1").run([&]() -> task<> {
      co_await run_blocking([&] { ran = true; });
    });
    world.run_for(10us);
  }
  EXPECT_FALSE(ran);
}

TEST(sim_host, loops_of_one_host_post_to_each_other) {
  event arrived;
  loop* first = nullptr;
  sim::world world(21);
  auto& host = world.add_host("a", "10.0.0.1");
  host.run([&]() -> task<> {
    first = &loop::current();
    co_await arrived.wait();
  });
  host.run([&]() -> task<> {
    co_await sleep_for(1s);
    first->post([&] { arrived.set(); });
  });
  world.run();
}

TEST(sim_host, addresses_are_checked) {
  sim::world world(22);
  world.add_host("a", "10.0.0.1");
  EXPECT_THROW(world.add_host("b", "10.0.0.1"), std::invalid_argument);
  EXPECT_THROW(world.add_host("c", "10.0.0"), std::invalid_argument);
  EXPECT_THROW(world.add_host("d", "127.0.0.1"), std::invalid_argument);
}

}  // namespace
}  // namespace rill
