// What a simulated host has beside its network: Unix sockets, files, names, several loops, and a
// power switch.
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/echo.h"
#include "support.h"
#include <rill/net/connect.h>
#include <rill/net/resolver.h>
#include <rill/net/serve.h>
#include <rill/net/unix.h>
#include <rill/runtime/blocking.h>
#include <rill/runtime/combine.h>
#include <rill/runtime/file.h>
#include <rill/runtime/remote_channel.h>
#include <rill/runtime/signals.h>
#include <rill/runtime/sim/world.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/timeout.h>

namespace rill {
namespace {

using namespace std::chrono_literals;
using test::at;
using testing::ElementsAre;

// ---------------------------------------------------------------- Unix sockets

task<> unix_echo(unix_stream peer) {
  while (auto bytes = co_await peer.read_lease()) co_await peer.write_all(bytes);
}

task<> unix_echo_service(std::string where) {
  auto listener = unix_listener::bind(at(where));
  co_await serve(listener, unix_echo);
}

task<> unix_echo_client(std::string where, std::size_t size) {
  auto stream = co_await unix_stream::connect(at(where));
  const std::string sent(size, 'u');
  std::string received(size, ' ');
  co_await with_nursery([&](nursery& both) -> task<> {
    both.start([&]() -> task<> { co_await stream.write_all(const_buffer(sent)); });
    const bool whole = co_await stream.read_exactly(mutable_buffer(received));
    EXPECT_TRUE(whole);
  });
  EXPECT_EQ(received, sent);
}

TEST(sim_unix, a_service_answers_by_path_and_by_abstract_name) {
  for (const std::string where : {"unix:/run/echo", "unix:@echo"}) {
    sim::world world(1);
    auto& host = world.add_host("a", "10.0.0.1");
    host.run(unix_echo_service, where);
    world.run(host.run(unix_echo_client, where, std::size_t{2'000'000}));
    // Another host has other files and names.
    auto& other = world.add_host("b", "10.0.0.2");
    EXPECT_THROW(world.run(other.run(unix_echo_client, where, std::size_t{1})), io_error);
  }
}

TEST(sim_unix, a_socket_file_that_a_killed_server_left_is_replaced) {
  sim::world world(2);
  auto& host = world.add_host("a", "10.0.0.1");
  auto& first = host.run(unix_echo_service, std::string("unix:/run/echo"));
  world.run_for(1s);
  EXPECT_THROW(world.run(host.run(unix_echo_service, std::string("unix:/run/echo"))), io_error);
  first.cancel();
  world.run(first);
  EXPECT_TRUE(host.has_file("/run/echo"));
  host.run(unix_echo_service, std::string("unix:/run/echo"));
  world.run(host.run(unix_echo_client, std::string("unix:/run/echo"), std::size_t{10}));
}

TEST(sim_unix, pairs_and_datagrams_work) {
  sim::world world(3);
  world.add_host("a", "10.0.0.1").run([]() -> task<> {
    auto [one, other] = unix_stream::pair();
    co_await one.write_all(const_buffer("over"));
    char buffer[4];
    EXPECT_TRUE(co_await other.read_exactly(mutable_buffer(buffer)));
    auto server = unix_datagram::bind(at("unix:/run/log"));
    auto client = unix_datagram::bind(endpoint());
    for (int i = 0; i < 5; ++i) {
      co_await client.send_to(const_buffer("note"), at("unix:/run/log"));
      const datagram got = co_await server.receive();
      EXPECT_EQ(got.bytes().size(), 4U);
      co_await server.send_to(got.bytes(), got.peer());
      char answer[10];
      const datagram_info info = co_await client.recv_from(mutable_buffer(answer));
      EXPECT_EQ(info.size(), 4U);
    }
  });
  world.run();
}

// ---------------------------------------------------------------- files

task<> write_log(std::string path, std::string text, bool sync) {
  file log = co_await file::open(path, open_mode::write | open_mode::create);
  co_await log.write_all_at(std::as_bytes(std::span(text)), 0);
  if (sync) {
    co_await log.sync();
    file folder = co_await file::open("/var", open_mode::directory);
    co_await folder.sync();
  }
  co_await log.close();
}

TEST(sim_file, what_a_program_writes_others_of_its_host_read) {
  sim::world world(4);
  auto& host = world.add_host("a", "10.0.0.1");
  host.write_file("/etc/app/config", "level=3\n");
  world.run(host.run([]() -> task<> {
    EXPECT_EQ(co_await read_file("/etc/app/config", 1000), "level=3\n");
    co_await write_log("/var/log", "begun\n", false);
  }));
  world.run(
      host.run([]() -> task<> { EXPECT_EQ(co_await read_file("/var/log", 1000), "begun\n"); }));
  EXPECT_EQ(host.read_file("/var/log"), "begun\n");
  host.rename_file("/var/log", "/var/log.1");
  host.remove_file("/etc/app/config");
  EXPECT_FALSE(host.has_file("/var/log"));
  EXPECT_THROW(host.read_file("/etc/app/config"), std::invalid_argument);
}

TEST(sim_file, synced_bytes_survive_a_crash_and_others_only_in_part) {
  int lost = 0;
  int kept = 0;
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    sim::world world(seed);
    auto& host = world.add_host("a", "10.0.0.1");
    world.run(host.run(write_log, std::string("/var/safe"), std::string("synced"), true));
    world.run(host.run(write_log, std::string("/var/safe"), std::string("torn??"), false));
    world.run(host.run(write_log, std::string("/var/new"), std::string("new"), false));
    host.crash();
    host.restart();
    const std::string safe = host.read_file("/var/safe");
    EXPECT_TRUE(safe == "synced" || safe == "torn??") << safe;
    ++(safe == "synced" ? lost : kept);
    if (!host.has_file("/var/new")) ++lost;
  }
  EXPECT_GT(lost, 10);
  EXPECT_GT(kept, 10);
}

TEST(sim_file, a_file_is_sent_whole_to_a_slow_reader) {
  sim::world_options options;
  options.send_buffer_size = 8192;
  options.receive_buffer_size = 8192;
  sim::world world(5, options);
  auto& server = world.add_host("server", "10.0.0.1");
  auto& client = world.add_host("client", "10.0.0.2");
  std::string content(300'000, ' ');
  for (std::size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i % 251);
  server.write_file("/srv/page", content);
  server.run([&]() -> task<> {
    auto listener = tcp_listener::bind(at("0.0.0.0:80"));
    auto peer = co_await listener.accept();
    file page = co_await file::open("/srv/page");
    EXPECT_EQ(co_await peer.send_file(page, 0, content.size() + 5), content.size());
  });
  world.run(client.run([&]() -> task<> {
    auto stream = co_await tcp_stream::connect(at("10.0.0.1:80"));
    co_await sleep_for(1s);
    EXPECT_EQ(co_await read_all(stream, 1'000'000), content);
  }));
}

// ---------------------------------------------------------------- names

TEST(sim_file, sending_one_after_the_own_end_leaves_the_other_direction_alone) {
  sim::world world(28);
  auto& server = world.add_host("server", "10.0.0.1");
  auto& client = world.add_host("client", "10.0.0.2");
  server.write_file("/srv/x", "hello");
  auto& serving = server.run([]() -> task<> {
    auto listener = tcp_listener::bind(at("0.0.0.0:80"));
    auto peer = co_await listener.accept();
    co_await peer.shutdown_write();
    file content = co_await file::open("/srv/x");
    try {
      co_await peer.send_file(content, 0, 5);
      ADD_FAILURE() << "sent";
    } catch (const io_error& error) {
      EXPECT_EQ(error.code(), std::errc::broken_pipe);
    }
    char text[4];
    EXPECT_TRUE(co_await peer.read_exactly(mutable_buffer(text)));
  });
  client.run([]() -> task<> {
    auto stream = co_await tcp_stream::connect(at("10.0.0.1:80"));
    co_await sleep_for(100ms);
    co_await stream.write_all(const_buffer("data"));
    co_await sleep_for(1s);
  });
  world.run(serving);
}

TEST(sim_file, a_folder_is_not_moved_into_itself) {
  sim::world world(29);
  auto& host = world.add_host("a", "10.0.0.1");
  host.write_file("/a/b/c", "text");
  EXPECT_THROW(host.rename_file("/a", "/a/d"), std::invalid_argument);
  EXPECT_THROW(host.rename_file("/a", "/a/b/d"), std::invalid_argument);
  EXPECT_EQ(host.read_file("/a/b/c"), "text");
  host.rename_file("/a/b", "/d");
  EXPECT_EQ(host.read_file("/d/c"), "text");
}

TEST(sim_names, a_service_is_found_by_its_hosts_name) {
  sim::world world(6);
  world.add_name_server("10.0.0.53");
  auto& server = world.add_host("server", {"10.0.0.1", "fd00::1"});
  auto& client = world.add_host("client", {"10.0.0.2", "fd00::2"});
  server.run(test::tcp_echo_service, std::string("[::]:80"));
  client.write_file("/etc/services", "http 80/tcp\n");
  world.run(client.run([]() -> task<> {
    auto stream = co_await connect("server", "http");
    EXPECT_EQ(stream.peer().to_string(), "[fd00::1]:80");
    co_await stream.write_all(const_buffer("hi"));
    auto other = co_await connect("SERVER.sim", 80);
    const auto all = co_await resolve("server", 80);
    EXPECT_EQ(all.size(), 2U);
    try {
      co_await resolve("nowhere", 80);
      ADD_FAILURE() << "found";
    } catch (const io_error& error) {
      EXPECT_EQ(error.code(), resolve_error::name_not_found);
    }
    // A name without addresses of the family asked for.
    resolve_options options;
    options.families = family_preference::ipv6_only;
    try {
      co_await resolve("names", 80, options);
      ADD_FAILURE() << "found";
    } catch (const io_error& error) {
      EXPECT_EQ(error.code(), resolve_error::no_address);
    }
  }));
}

TEST(sim_names, an_answer_too_large_for_a_datagram_comes_over_tcp) {
  sim::world world(7);
  world.add_name_server("10.0.0.53");
  auto& many = world.add_host("many", "10.1.0.1");
  for (int i = 2; i <= 60; ++i) {
    many.add_address("10.1.0." + std::to_string(i));
    many.add_address("fd00::" + std::to_string(i));
  }
  auto& client = world.add_host("client", "10.0.0.2");
  world.run(client.run([]() -> task<> {
    resolve_options options;
    options.families = family_preference::ipv6_only;
    EXPECT_EQ((co_await resolve("many", 80, options)).size(), 59U);
  }));
  EXPECT_THAT(world.trace(), testing::HasSubstr("10.0.0.53:53 syn"));
}

TEST(sim_names, the_hosts_file_comes_first) {
  sim::world world(8);
  auto& client = world.add_host("client", "10.0.0.2");
  client.write_file("/etc/hosts", "10.0.0.9 printer\n");
  world.run(client.run([]() -> task<> {
    const auto found = co_await resolve("printer", 9100);
    EXPECT_EQ(found.size(), 1U);
    EXPECT_EQ(found.front().to_string(), "10.0.0.9:9100");
  }));
}

TEST(sim_names, a_lost_name_server_gives_no_answer) {
  sim::world world(9);
  auto& names = world.add_name_server("10.0.0.53");
  auto& client = world.add_host("client", "10.0.0.2");
  const sim::fault_guard cut = world.partition(names, client);
  world.run(client.run([]() -> task<> {
    const auto before = loop_clock::now();
    try {
      co_await resolve("server", 80);
      ADD_FAILURE() << "found";
    } catch (const io_error& error) {
      EXPECT_EQ(error.code(), resolve_error::no_answer);
    }
    EXPECT_LE(loop_clock::now() - before, resolve_options::limit_default + 1s);
  }));
}

// ---------------------------------------------------------------- several loops

TEST(sim_loops, loops_of_one_host_speak_through_a_channel) {
  std::vector<int> got;
  std::optional<remote_sender<int>> sender;
  sim::world world(10);
  auto& host = world.add_host("a", "10.0.0.1");
  host.run([&]() -> task<> {
    remote_channel<int> made(2);
    sender.emplace(std::move(made.sender));
    while (auto value = co_await made.receiver.receive()) got.push_back(*value);
  });
  world.run_for(1ms);
  host.run([&]() -> task<> {
    for (int i = 0; i < 20; ++i) co_await sender->send(i);
    sender.reset();
  });
  world.run();
  EXPECT_EQ(got.size(), 20U);
  EXPECT_TRUE(std::is_sorted(got.begin(), got.end()));
}

// ---------------------------------------------------------------- crashes

TEST(sim_crash, the_peer_learns_of_it_when_it_sends_and_the_host_is_back) {
  sim::world world(11);
  auto& server = world.add_host("server", "10.0.0.1");
  auto& client = world.add_host("client", "10.0.0.2");
  auto& service = server.run(test::tcp_echo_service, std::string("0.0.0.0:8888"));
  auto& talk = client.run([]() -> task<> {
    auto stream = co_await tcp_stream::connect(at("10.0.0.1:8888"));
    char buffer[5];
    co_await stream.write_all(const_buffer("hello"));
    co_await stream.read_exactly(mutable_buffer(buffer));
    co_await sleep_for(10s);  // meanwhile it crashes
    const auto silent = co_await as_result(with_timeout(5s, stream.read(mutable_buffer(buffer))));
    EXPECT_TRUE(!silent && silent.error().is_timeout());
    co_await stream.write_all(const_buffer("hello"));
    const auto got = co_await as_result(stream.read(mutable_buffer(buffer)));
    EXPECT_TRUE(!got && got.error() == std::errc::connection_reset);
  });
  world.run_for(5s);
  EXPECT_FALSE(service.has_ended());
  server.crash();
  EXPECT_TRUE(service.has_ended());
  EXPECT_TRUE(server.is_down());
  EXPECT_EQ(server.descriptor_count(), 0U);
  EXPECT_THROW(server.run(test::tcp_echo_service, std::string("0.0.0.0:8888")), std::logic_error);
  world.run_for(8s);
  server.restart();
  server.run(test::tcp_echo_service, std::string("0.0.0.0:8888"));
  world.run(talk);
  world.run(client.run(test::tcp_echo_client, std::string("10.0.0.1:8888"), std::string("x"), 3));
}

TEST(sim_crash, destructors_run_without_any_effect_on_the_world) {
  test::record notes;
  sim::world_options options;
  options.offload_time = {10s, 10s};
  sim::world world(12, options);
  auto& server = world.add_host("server", "10.0.0.1");
  auto& client = world.add_host("client", "10.0.0.2");
  server.run([&]() -> task<> {
    const test::leaves_note note(notes, "destroyed");
    auto listener = tcp_listener::bind(at("0.0.0.0:80"));
    auto peer = co_await listener.accept();
    signals wanted({15});
    co_await with_nursery([&](nursery& all) -> task<> {
      all.start([&]() -> task<> { co_await run_blocking([&] { notes.push_back("never"); }); });
      all.start([&]() -> task<> {
        const auto farewell = [&]() -> task<> {
          co_await sleep_for(1h);
          co_await as_result(peer.write_all(const_buffer("from beyond")));
          notes.push_back("shielded");
        };
        co_await shielded(farewell());
      });
      char buffer[10];
      co_await as_result(peer.read(mutable_buffer(buffer)));
      notes.push_back("never");
    });
  });
  auto& talk = client.run([]() -> task<> {
    auto stream = co_await tcp_stream::connect(at("10.0.0.1:80"));
    const auto got = co_await as_result(with_timeout(2h, stream.read_lease()));
    EXPECT_TRUE(!got && got.error().is_timeout());
  });
  world.run_for(1s);
  server.crash();
  EXPECT_THAT(notes, ElementsAre("shielded", "destroyed"));
  world.run(talk);
}

TEST(sim_crash, a_task_may_pull_the_plug_of_its_own_host) {
  bool after = false;
  sim::world world(13);
  auto& host = world.add_host("a", "10.0.0.1");
  auto& program = host.run([&]() -> task<> {
    host.crash();
    co_await sleep_for(1s);
    after = true;
  });
  world.run();
  EXPECT_TRUE(program.has_ended());
  EXPECT_FALSE(after);
}

TEST(sim_crash, a_task_that_ends_with_the_timer_it_waits_for_ends_its_program) {
  sim::world world(27);
  auto& host = world.add_host("a", "10.0.0.1");
  auto& last = host.run([]() -> task<> {
    const auto farewell = []() -> task<> { co_await sleep_for(1h); };
    co_await shielded(farewell());
  });
  world.run_for(1s);
  host.crash();
  EXPECT_TRUE(last.has_ended());
}

TEST(sim_crash, a_drain_in_progress_is_cut_off) {
  sim::world world(14);
  auto& server = world.add_host("server", "10.0.0.1");
  auto& client = world.add_host("client", "10.0.0.2");
  auto& service = server.run([]() -> task<> {
    auto listener = tcp_listener::bind(at("0.0.0.0:80"));
    co_await serve(listener, [](tcp_stream peer) -> task<> {
      co_await sleep_for(1h);
      co_await as_result(peer.write_all(const_buffer("late")));
    });
  });
  client.run([]() -> task<> {
    auto stream = co_await tcp_stream::connect(at("10.0.0.1:80"));
    co_await as_result(with_timeout(2h, stream.read_lease()));
  });
  world.run_for(1s);
  service.cancel();
  world.run_for(1s);
  server.crash();
  EXPECT_TRUE(service.has_ended());
  world.run();
}

}  // namespace
}  // namespace rill
