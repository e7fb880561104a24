// The rules of faults.h, one by one: what each does, where and when it holds, and that ordinary
// services bear it.
#include <cerrno>
#include <chrono>
#include <functional>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/echo.h"
#include <rill/net/serve.h>
#include <rill/runtime/file.h>
#include <rill/runtime/sim/seeds.h>
#include <rill/runtime/sim/world.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/timeout.h>

namespace rill {
namespace {

using namespace std::chrono_literals;
using test::at;
using testing::HasSubstr;
using testing::Not;

class sim_rule : public testing::Test {
 protected:
  sim_rule() {
    server_.run([]() -> task<> {
      auto listener = tcp_listener::bind(at("0.0.0.0:8888"));
      co_await serve(listener, test::echo);
    });
    server_.run(test::udp_echo_service, std::string("0.0.0.0:9999"));
    world_.run_for(1ms);
  }
  /// How long an echo session takes.
  std::chrono::nanoseconds talk(std::size_t size = 5, int times = 20) {
    const auto before = world_.now();
    world_.run(client_.run(test::tcp_echo_client, std::string("10.0.0.1:8888"),
                           std::string(size, 'x'), times));
    return world_.now() - before;
  }
  template <class Body>
  void run(Body body) {
    world_.run(client_.run(body));
  }

  sim::world world_{1};
  sim::host& server_ = world_.add_host("server", "10.0.0.1");
  sim::host& client_ = world_.add_host("client", "10.0.0.2");
};

// ---------------------------------------------------------------- the network

TEST_F(sim_rule, latency_adds_to_what_the_world_has_and_ends_with_its_guard) {
  const auto usual = talk();
  {
    const auto slow = world_.inject(sim::latency(10ms).between(client_, server_));
    EXPECT_GT(talk(), 21 * 20ms);
  }
  EXPECT_LT(talk(), usual * 2);
}

TEST_F(sim_rule, jitter_is_drawn_for_each_packet) {
  const auto jitter = world_.inject(sim::latency(0ms, 10ms).from(client_));
  const auto took = talk();
  EXPECT_GT(took, 21 * 2ms);
  EXPECT_LT(took, 21 * 8ms);
}

TEST_F(sim_rule, bandwidth_makes_large_transfers_slow_and_leaves_small_ones_fast) {
  const auto thin = world_.inject(sim::bandwidth(1'000'000).between(client_, server_));
  EXPECT_LT(talk(5, 1), 10ms);
  const auto before = world_.now();
  run([]() -> task<> {
    auto stream = co_await tcp_stream::connect(at("10.0.0.1:8888"));
    co_await with_nursery([&](nursery& sides) -> task<> {
      sides.start([&]() -> task<> {
        const std::string much(1'000'000, 'x');
        co_await stream.write_all(const_buffer(much));
        co_await stream.shutdown_write();
      });
      EXPECT_EQ((co_await read_all(stream, 2'000'000)).size(), 1'000'000U);
    });
  });
  EXPECT_GT(world_.now() - before, 1s);
  EXPECT_LT(world_.now() - before, 3s);
}

TEST_F(sim_rule, lost_segments_are_sent_again) {
  const auto lossy = world_.inject(sim::loss(0.2));
  EXPECT_GT(talk(3000, 50), 200ms);  // at least one retransmission
  EXPECT_THAT(world_.trace(), HasSubstr("lost"));
}

TEST_F(sim_rule, a_one_way_partition_lets_the_other_direction_through) {
  const auto cut = world_.inject(sim::partition().from(server_).to(client_));
  run([]() -> task<> {
    try {
      co_await tcp_stream::connect(at("10.0.0.1:8888"));
      ADD_FAILURE() << "connected";
    } catch (const io_error& error) {
      EXPECT_EQ(error.code(), std::errc::timed_out);
    }
  });
  EXPECT_THAT(world_.trace(), HasSubstr("server received 10.0.0.2"));
  EXPECT_THAT(world_.trace(), Not(HasSubstr("client received 10.0.0.1")));
}

TEST_F(sim_rule, a_reset_comes_at_the_very_byte) {
  const auto cut = world_.inject(sim::reset_after(10'000).from(server_));
  run([]() -> task<> {
    auto stream = co_await tcp_stream::connect(at("10.0.0.1:8888"));
    const std::string sent(50'000, 'x');
    std::size_t received = 0;
    co_await as_result(stream.write_all(const_buffer(sent)));
    char buffer[100'000];
    for (;;) {
      const auto got = co_await as_result(stream.read(mutable_buffer(buffer)));
      if (!got) {
        EXPECT_EQ(got.error(), std::errc::connection_reset);
        break;
      }
      received += *got;
    }
    EXPECT_EQ(received, 10'000U);
  });
}

TEST_F(sim_rule, datagrams_are_lost_doubled_and_delayed_by_rules_too) {
  int answers = 0;
  const auto ask = [&](int times) {
    return [&answers, times]() -> task<> {
      auto socket = udp_socket::open(address_family::ipv4);
      char buffer[10];
      for (int i = 0; i < times; ++i) {
        co_await socket.send_to(const_buffer("x"), at("10.0.0.1:9999"));
        while (co_await as_result(with_timeout(5ms, socket.recv_from(mutable_buffer(buffer))))) {
          ++answers;
        }
      }
    };
  };
  {
    const auto twice = world_.inject(sim::duplication(1).to(server_));
    run(ask(10));
    EXPECT_EQ(answers, 20);
  }
  {
    const auto third = world_.inject(sim::partition().from(client_).only(3));
    run(ask(10));
    EXPECT_EQ(answers, 29);
  }
}

TEST_F(sim_rule, reordered_datagrams_overtake_each_other) {
  std::string order;
  const auto late = world_.inject(sim::reordering(1).to(server_));
  run([&]() -> task<> {
    auto socket = udp_socket::open(address_family::ipv4);
    for (char number = '0'; number <= '9'; ++number) {
      co_await socket.send_to(const_buffer(std::string_view(&number, 1)), at("10.0.0.1:9999"));
    }
    char answer = 0;
    while (co_await as_result(
        with_timeout(100ms, socket.recv_from(mutable_buffer(std::span(&answer, 1)))))) {
      order += answer;
    }
  });
  EXPECT_EQ(order.size(), 10U);
  EXPECT_FALSE(std::is_sorted(order.begin(), order.end())) << order;
}

// ---------------------------------------------------------------- the kernel

TEST_F(sim_rule, a_failure_hits_one_operation_of_one_host_at_one_step) {
  const auto third = world_.inject(sim::failure("connect", ETIMEDOUT).on(client_).only(3));
  run([]() -> task<> {
    for (int i = 1; i <= 5; ++i) {
      std::error_code code;
      try {
        co_await tcp_stream::connect(at("10.0.0.1:8888"));
      } catch (const io_error& error) {
        code = error.code();
      }
      EXPECT_EQ(code == std::errc::timed_out, i == 3);
    }
  });
  EXPECT_EQ(third.match_count(), 5U);
}

TEST_F(sim_rule, descriptors_run_out_and_come_back) {
  {
    const auto none = world_.inject(sim::no_descriptors().on(client_));
    run([]() -> task<> {
      EXPECT_THROW(udp_socket::open(address_family::ipv4), io_error);
      try {
        co_await file::open("/etc/hosts");
        ADD_FAILURE() << "opened";
      } catch (const io_error& error) {
        EXPECT_EQ(error.code(), std::errc::too_many_files_open);
      }
    });
  }
  talk();
}

TEST_F(sim_rule, memory_and_buffers_run_out_and_come_back) {
  {
    const auto none = world_.inject(sim::no_memory().on(client_).beginning_with(2));
    run([]() -> task<> {
      auto socket = udp_socket::open(address_family::ipv4);  // the first match
      EXPECT_THROW(udp_socket::open(address_family::ipv4), io_error);
      co_return;
    });
    EXPECT_GE(none.match_count(), 2U);
  }
  {
    const auto none = world_.inject(sim::no_buffers().on(client_).of("sendmsg"));
    run([]() -> task<> {
      auto socket = udp_socket::open(address_family::ipv4);
      const auto sent = co_await as_result(socket.send_to(const_buffer("x"), at("10.0.0.1:9999")));
      EXPECT_TRUE(!sent && sent.error() == std::errc::no_buffer_space);
    });
  }
  talk();
}

/// What five echo sessions at once leave behind.
struct traffic {
  std::string trace;
  std::chrono::nanoseconds took{};

  /// Events whose line has both.
  std::size_t count(std::string_view one, std::string_view other = {}) const {
    std::istringstream lines(trace);
    std::size_t found = 0;
    for (std::string line; std::getline(lines, line);) {
      if (line.find(one) != line.npos && line.find(other) != line.npos) ++found;
    }
    return found;
  }
};

task<> five_echo_clients() {
  co_await with_nursery([](nursery& clients) -> task<> {
    for (int i = 0; i < 5; ++i) {
      clients.start(test::tcp_echo_client, std::string("10.0.0.1:8888"),
                    std::string(i % 2 == 0 ? 3000 : 9000, 'x'), 10);
    }
    co_return;
  });
}

traffic traffic_under(const std::vector<sim::fault>& imposed) {
  sim::world world(1);
  auto& server = world.add_host("server", "10.0.0.1");
  auto& client = world.add_host("client", "10.0.0.2");
  server.run([]() -> task<> {
    auto listener = tcp_listener::bind(at("0.0.0.0:8888"));
    co_await serve(listener, test::echo);
  });
  world.run_for(1ms);
  std::vector<sim::fault_guard> guards;
  for (const sim::fault& each : imposed) guards.push_back(world.inject(each));
  const auto before = world.now();
  world.run(client.run(five_echo_clients));
  return {world.trace(), world.now() - before};
}

/// Whether a fault has struck, beside what happens without it.
using effect = std::function<bool(const traffic& with, const traffic& without)>;

effect more_events(std::string one, std::string other = {}) {
  return [=](const traffic& with, const traffic& without) {
    return with.count(one, other) > without.count(one, other);
  };
}

bool takes_longer(const traffic& with, const traffic& without) {
  return with.took > without.took + 1ms;
}

struct bearable {
  const char* name;
  sim::fault imposed;
  effect shows;
};

void expect_borne(const std::vector<bearable>& all) {
  const traffic without = traffic_under({});
  for (const bearable& each : all) {
    SCOPED_TRACE(each.name);
    EXPECT_TRUE(each.shows(traffic_under({each.imposed}), without));
  }
}

/// Every fault of the kernel that a correct program does not notice.
TEST(sim_rule_of_kernel, an_echo_session_bears_whatever_the_kernel_may_do) {
  expect_borne({
      {"interruption", sim::interruption().of("wait").sometimes(0.5),
       more_events(" wait (", "EINTR")},
      {"interrupted receive", sim::failure("recv_multishot", EINTR).sometimes(0.2),
       more_events(" recv (", "EINTR")},
      {"no buffers", sim::failure("recv_multishot", ENOBUFS).sometimes(0.3),
       more_events(" recv (", "ENOBUFS")},
      {"enter: EAGAIN", sim::failure("enter", EAGAIN).sometimes(0.3),
       more_events(" enter (", "EAGAIN")},
      {"enter: EBUSY", sim::failure("enter", EBUSY).sometimes(0.3),
       more_events(" enter (", "EBUSY")},
      {"lost cancels", sim::failure("cancel", ENOENT).sometimes(0.5),
       more_events(" cancel (", "ENOENT")},
      {"short sends", sim::short_transfers().of("send"), more_events(" send (", "submitted")},
      {"short receives", sim::short_transfers().of("recv"), more_events(" recv (", " = ")},
      {"early ends", sim::early_end(), more_events(" recv (", "submitted")},
      {"late completions", sim::late_completions(200us), takes_longer},
      {"disordered completions", sim::disordered_completions(),
       more_events("a completion overtakes")},
      {"slow submission", sim::slow_submission(),
       more_events("the kernel takes no more submissions")},
      {"completion overflow", sim::completion_overflow().sometimes(0.5),
       more_events("completion queue overflow")},
  });
}

TEST(sim_rule_of_kernel, a_rule_of_one_operation_meets_its_completions_too) {
  expect_borne({
      {"early end, recv_multishot", sim::early_end().of("recv_multishot"),
       more_events(" recv (", "submitted")},
      {"early end, recv", sim::early_end().of("recv"), more_events(" recv (", "submitted")},
      {"late, recv", sim::late_completions(200us).of("recv"), takes_longer},
      {"late, recv_multishot", sim::late_completions(200us).of("recv_multishot"), takes_longer},
      {"disordered, recv", sim::disordered_completions().of("recv"),
       more_events("a completion overtakes")},
      {"overflow, recv", sim::completion_overflow().of("recv"),
       more_events("completion queue overflow")},
  });
  // Once, where the rule says so, and nowhere else.
  EXPECT_EQ(traffic_under({sim::completion_overflow().of("recv").only(3)})
                .count("completion queue overflow"),
            1U);
  EXPECT_EQ(
      traffic_under({sim::completion_overflow().of("openat")}).count("completion queue overflow"),
      0U);
}

TEST_F(sim_rule, a_bandwidth_holds_when_its_rule_says) {
  const auto thin = world_.inject(sim::bandwidth(1000).only(1'000'000));
  EXPECT_LT(talk(5000), 1s);
  EXPECT_GT(thin.match_count(), 0U);
  EXPECT_LT(thin.match_count(), 1'000'000U);
}

TEST_F(sim_rule, a_full_disk_is_full_when_and_for_whom_its_rule_says) {
  const auto full = world_.inject(sim::full_disk().of("write").only(2));
  run([]() -> task<> {
    file made = co_await file::open("/var/new", open_mode::write | open_mode::create);
    for (int i = 1; i <= 3; ++i) {
      bool is_written = true;
      try {
        co_await made.write_all_at(std::as_bytes(std::span("x", 1)), 0);
      } catch (const io_error& error) {
        EXPECT_EQ(error.code(), std::errc::no_space_on_device);
        is_written = false;
      }
      EXPECT_EQ(is_written, i != 2);
    }
  });
  EXPECT_EQ(full.match_count(), 3U);
}

TEST_F(sim_rule, a_rule_that_could_never_hold_is_refused) {
  const sim::fault senseless[] = {
      sim::loss(0.1).of("send"),
      sim::bandwidth(1000).of("send"),
      sim::pause().of("recv"),
      sim::pause().sometimes(0.5),
      sim::pause().only(3),
      sim::clock_jump(1h).beginning_with(2),
      sim::clock_jump(1h).of("read"),
      sim::failure("connect", ECONNREFUSED).to(server_),
      sim::failure("connect", ECONNREFUSED).between(client_, server_),
      sim::pause().to(server_),
      sim::loss(0.1).on(client_).to(server_),
  };
  for (const sim::fault& each : senseless) {
    EXPECT_THROW(static_cast<void>(world_.inject(each)), std::invalid_argument);
  }
}

TEST_F(sim_rule, all_of_them_together_over_many_seeds) {
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    sim::world world(seed);
    auto& server = world.add_host("server", "10.0.0.1");
    auto& client = world.add_host("client", "10.0.0.2");
    const sim::fault_guard guards[] = {
        world.inject(sim::failure("recv_multishot", ENOBUFS).sometimes(0.05)),
        world.inject(sim::failure("enter", EAGAIN).sometimes(0.1)),
        world.inject(sim::short_transfers().sometimes(0.3)),
        world.inject(sim::early_end().sometimes(0.3)),
        world.inject(sim::late_completions(1ms).sometimes(0.2)),
        world.inject(sim::disordered_completions().sometimes(0.3)),
        world.inject(sim::slow_submission().sometimes(0.3)),
        world.inject(sim::completion_overflow().sometimes(0.1)),
        world.inject(sim::loss(0.02)),
    };
    auto& service = server.run(test::tcp_echo_service, std::string("0.0.0.0:8888"));
    auto& talk = client.run([]() -> task<> {
      co_await with_nursery([](nursery& all) -> task<> {
        for (int i = 0; i < 5; ++i) {
          all.start(test::tcp_echo_client, std::string("10.0.0.1:8888"), std::string(9000, 'x'), 5);
        }
        co_return;
      });
    });
    world.run(talk);
    service.cancel();
    world.run(service);
    EXPECT_EQ(server.descriptor_count(), 1U);
    EXPECT_EQ(client.descriptor_count(), 1U);
  }
}

TEST_F(sim_rule, a_completion_may_come_just_before_its_cancel) {
  // The bytes have arrived, the completion is not seen yet, the deadline passes: the read that
  // follows must find them.
  int late = 0;
  for (int i = 0; i < 100; ++i) {
    run([&, i]() -> task<> {
      auto stream = co_await tcp_stream::connect(at("10.0.0.1:8888"));
      co_await stream.write_all(const_buffer("hello"));
      const auto held = world_.inject(sim::late_completions(1ms).on(client_));
      char buffer[5];
      std::size_t got = 0;
      const auto first = co_await as_result(with_timeout(std::chrono::microseconds(100 + 10 * i),
                                                         stream.read(mutable_buffer(buffer))));
      if (first) {
        got = *first;
      } else {
        ++late;
      }
      while (got < 5) got += co_await stream.read(mutable_buffer(buffer));
      EXPECT_EQ(got, 5U);
    });
  }
  EXPECT_GT(late, 5);   // nothing had come by then
  EXPECT_LT(late, 90);  // it had come: completion wins
  EXPECT_THAT(world_.trace(), HasSubstr(" cancel (-1) = -2 ENOENT"));
}

// ---------------------------------------------------------------- disk and time

/// Reads one byte from each of thirty streams at once, cancels the readers when the first has its
/// byte, and then reads what is left. A byte that was lost is waited for in vain.
task<> read_cancel_and_read_again() {
  auto listener = tcp_listener::bind(at("0.0.0.0:80"));
  std::vector<tcp_stream> streams;
  while (streams.size() < 30) streams.push_back(co_await listener.accept());
  std::vector<std::size_t> read_count(streams.size());
  bool is_first_read = false;
  const auto read_one = [&](std::size_t which) -> task<> {
    char bytes[2];
    read_count[which] += co_await streams[which].read(bytes);
    is_first_read = true;
  };
  co_await with_nursery([&](nursery& readers) -> task<> {
    for (std::size_t i = 0; i < streams.size(); ++i) readers.start(std::ref(read_one), i);
    while (!is_first_read) co_await sleep_for(1us);
    readers.cancel();  // while the bytes of the others come in
  });
  for (std::size_t i = 0; i < streams.size(); ++i) {
    if (read_count[i] == 0) co_await read_one(i);
    sim::require(read_count[i] == 1, "a byte is read once");
  }
}

task<> send_a_byte_to_each(std::string where) {
  std::vector<tcp_stream> streams;
  while (streams.size() < 30) streams.push_back(co_await tcp_stream::connect(at(where)));
  co_await sleep_for(10ms);
  for (tcp_stream& each : streams) co_await each.write_all("x");
  co_await sleep_for(1s);
}

TEST(sim_queue, cancels_that_wait_for_room_may_find_that_their_operations_have_completed) {
  sim::world_options options;
  options.loop.queues = {4, 64};
  const std::string failure = sim::run_seeds({.count = 100}, [&](std::uint64_t seed) {
    sim::world world(seed, options);
    world.add_host("server", "10.0.0.1").run(read_cancel_and_read_again);
    world.add_host("client", "10.0.0.2").run(send_a_byte_to_each, std::string("10.0.0.1:80"));
    world.run();
  });
  EXPECT_EQ(failure, "");
}

TEST_F(sim_rule, a_slow_disk_is_waited_for) {
  const auto slow = world_.inject(sim::slow_disk(1s, 2s).on(client_));
  run([]() -> task<> {
    const auto before = loop_clock::now();
    co_await read_file("/etc/hosts", 1000);  // open, read, read: the end
    EXPECT_GE(loop_clock::now() - before, 3s);
  });
}

TEST_F(sim_rule, a_full_disk_takes_no_more) {
  const auto full = world_.inject(sim::full_disk());
  run([]() -> task<> {
    file old = co_await file::open("/etc/hosts", open_mode::write);
    try {
      co_await old.write_all_at(std::as_bytes(std::span("x", 1)), 0);
      ADD_FAILURE() << "written";
    } catch (const io_error& error) {
      EXPECT_EQ(error.code(), std::errc::no_space_on_device);
    }
    try {
      co_await file::open("/var/new", open_mode::write | open_mode::create);
      ADD_FAILURE() << "made";
    } catch (const io_error& error) {
      EXPECT_EQ(error.code(), std::errc::no_space_on_device);
    }
  });
}

TEST_F(sim_rule, the_calendar_jumps_and_the_clock_does_not) {
  run([&]() -> task<> {
    kernel& below = loop::current().kernel();
    const std::int64_t before = below.wall_now();
    const auto monotonic = loop_clock::now();
    {
      const auto jump = world_.inject(sim::clock_jump(-1h).on(client_));
      EXPECT_EQ(below.wall_now() - before, -3600'000'000'000);
    }
    EXPECT_EQ(below.wall_now(), before);
    EXPECT_EQ(loop_clock::now(), monotonic);
    co_return;
  });
}

TEST_F(sim_rule, a_paused_host_acknowledges_and_does_not_answer) {
  auto& talk =
      client_.run(test::tcp_echo_client, std::string("10.0.0.1:8888"), std::string("x"), 1);
  {
    const auto pause = world_.inject(sim::pause().on(server_));
    world_.run_for(10s);
    EXPECT_FALSE(talk.has_ended());
    EXPECT_THAT(world_.trace(), HasSubstr("10.0.0.1:8888 > 10.0.0.2"));  // by the kernel
  }
  world_.run(talk);
  EXPECT_LT(world_.now(), 11s);
}

TEST_F(sim_rule, a_fault_that_is_injected_later_leaves_what_others_draw_as_it_was) {
  const auto digest = [](bool with_another) {
    sim::world world(5);
    auto& server = world.add_host("server", "10.0.0.1");
    auto& client = world.add_host("client", "10.0.0.2");
    const auto first = world.inject(sim::loss(0.1));
    // Never hits, as there is no such host's packet; draws nothing from the others' stream.
    sim::fault_guard second(nullptr);
    if (with_another) second = world.inject(sim::loss(0.5).from(client).to(client));
    server.run(test::tcp_echo_service, std::string("0.0.0.0:8888"));
    world.run(client.run(test::tcp_echo_client, std::string("10.0.0.1:8888"), std::string("x"), 9));
    return world.digest();
  };
  EXPECT_EQ(digest(false), digest(true));
}

}  // namespace
}  // namespace rill
