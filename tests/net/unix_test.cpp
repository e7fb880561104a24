// Tests of what only Unix sockets have: files in the way, adopted sockets, serving. See net/unix.h.
// Their streams pass the contract of stream_contract_test.cpp; datagrams are in udp_test.cpp, and
// sockets handed over by a service manager in listen_test.cpp.
#include <rill/net/unix.h>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "support.h"
#include <rill/net/serve.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/sim/world.h>
#include <rill/runtime/timeout.h>

namespace rill {
namespace {

using namespace std::chrono_literals;
using test::run_loop;

endpoint abstract_name(const std::string& of) {
  return *endpoint::unix_abstract("rill-unix-test-" + of + '-' + std::to_string(::getpid()));
}

/// A path in the temporary folder that nothing is at, before and after.
class free_path {
 public:
  free_path()
      : path_((std::filesystem::temp_directory_path() /
               ("rill-unix-test-" + std::to_string(::getpid()) + ".sock"))
                  .string()) {
    ::unlink(path_.c_str());
  }
  free_path(const free_path&) = delete;
  free_path& operator=(const free_path&) = delete;
  ~free_path() { ::unlink(path_.c_str()); }
  endpoint at() const { return *endpoint::unix_path(path_); }
  const std::string& text() const { return path_; }

 private:
  std::string path_;
};

/// A socket as another program makes it, which waits for nothing.
int raw_socket(const endpoint& at, int type) {
  const int descriptor = ::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const auto name = at.native();
  EXPECT_EQ(::bind(descriptor, reinterpret_cast<const sockaddr*>(name.data()),
                   static_cast<socklen_t>(name.size())),
            0);
  return descriptor;
}

template <class Socket>
std::string outcome_of_bind(const endpoint& at) {
  try {
    const Socket bound = Socket::bind(at);
  } catch (const io_error& failure) {
    return failure.what();
  }
  return "bound";
}

task<> echo(unix_stream peer) {
  while (auto bytes = co_await peer.read_lease()) co_await peer.write_all(bytes);
}

task<std::string> exchange(unix_stream& stream, std::string message) {
  co_await stream.write_all(message);
  std::string reply(message.size(), '\0');
  if (!co_await stream.read_exactly(reply)) reply = "ended";
  co_return reply;
}

// ---------------------------------------------------------------- serving

TEST(unix_serve, ends_idle_connections_at_once_when_it_drains) {
  serve_statistics counts;
  serve_limits limits;
  limits.statistics = &counts;
  limits.drain_timeout = 1h;  // the test would never end if it were waited for
  const free_path path;
  run_loop([&]() -> task<> {
    unix_listener listener = unix_listener::bind(path.at());
    std::vector<unix_stream> clients;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> { co_await serve(listener, echo, limits); });
      for (int i = 0; i < 20; ++i) {
        clients.push_back(co_await unix_stream::connect(path.at()));
        const std::string reply = co_await exchange(clients.back(), "x");
        EXPECT_EQ(reply, "x");
      }
      EXPECT_EQ(counts.active_count, 20U);
      tasks.cancel();
    });
    char byte = 0;
    for (unix_stream& client : clients) {
      const std::size_t size = co_await client.read(std::span(&byte, 1));
      EXPECT_EQ(size, 0U);
    }
  });
  EXPECT_EQ(counts.cut_count, 0U);
  EXPECT_EQ(counts.active_count, 0U);
  EXPECT_EQ(counts.accepted_count, 20U);
}

TEST(unix_serve, answers_what_waits_in_the_backlog_before_it_ends) {
  run_loop([]() -> task<> {
    unix_listener listener = unix_listener::bind(abstract_name("backlog"));
    const endpoint local = listener.local();
    std::vector<unix_stream> clients;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      for (int i = 0; i < 20; ++i) {
        clients.push_back(co_await unix_stream::connect(local));
        co_await clients.back().write_all("pending");
      }
      tasks.start([&]() -> task<> { co_await serve(listener, echo); });
      co_await yield();
      tasks.cancel();
    });
    for (unix_stream& client : clients) {
      std::string reply(7, '\0');
      const bool is_whole = co_await client.read_exactly(reply);
      EXPECT_TRUE(is_whole);
      EXPECT_EQ(reply, "pending");
      const std::size_t rest = co_await client.read(reply);
      EXPECT_EQ(rest, 0U);
    }
    try {
      co_await unix_stream::connect(local);
      ADD_FAILURE() << "it listens still";
    } catch (const io_error& failure) {
      EXPECT_EQ(failure.code(), std::errc::connection_refused);
    }
  });
}

// ---------------------------------------------------------------- files in the way

TEST(unix_datagram, replaces_the_file_that_a_killed_server_left) {
  const free_path path;
  for (const int type : {SOCK_DGRAM, SOCK_STREAM}) {
    ::close(raw_socket(path.at(), type));  // the file stays
    run_loop([&]() -> task<> {
      unix_datagram server = unix_datagram::bind(path.at());
      unix_datagram client = unix_datagram::open();
      co_await client.send_to("to the new one", path.at());
      const datagram came = co_await with_timeout(5s, server.receive());
      EXPECT_EQ(came.text(), "to the new one");
    });
    ::unlink(path.text().c_str());
  }
}

TEST(unix_datagram, replaces_neither_a_living_socket_nor_another_file) {
  const free_path path;
  const std::string taken = "bind unix:" + path.text() + ": Address already in use";
  run_loop([&]() -> task<> {
    {
      unix_datagram living = unix_datagram::bind(path.at());
      EXPECT_EQ(outcome_of_bind<unix_datagram>(path.at()), taken);
      unix_datagram peer = unix_datagram::bind(endpoint());
      co_await living.connect(peer.local());  // it takes nobody else's datagrams, and lives
      EXPECT_EQ(outcome_of_bind<unix_datagram>(path.at()), taken);
      EXPECT_EQ(outcome_of_bind<unix_listener>(path.at()), taken);
      co_await living.close();
    }
    ::unlink(path.text().c_str());
    std::ofstream(path.text()) << "precious";
    EXPECT_EQ(outcome_of_bind<unix_datagram>(path.at()), taken);
    EXPECT_EQ(std::filesystem::file_size(path.text()), 8U);
  });
}

TEST(unix_listener, asks_whether_another_one_lives_without_disturbing_it) {
  const free_path path;
  const std::string taken = "bind unix:" + path.text() + ": Address already in use";
  run_loop([&]() -> task<> {
    unix_listener living = unix_listener::bind(path.at());
    EXPECT_EQ(outcome_of_bind<unix_listener>(path.at()), taken);
    EXPECT_EQ(outcome_of_bind<unix_datagram>(path.at()), taken);
    co_await living.stop();
    EXPECT_EQ(living.unclaimed_count(), 0U);  // nobody has connected
    co_return;
  });
  ::unlink(path.text().c_str());
  const int about_to_listen = raw_socket(path.at(), SOCK_STREAM);
  run_loop([&]() -> task<> {
    EXPECT_EQ(outcome_of_bind<unix_listener>(path.at()), taken);
    co_return;
  });
  ::close(about_to_listen);
}

// ---------------------------------------------------------------- adopted sockets

TEST(unix_listener, adopts_sockets_that_listen_already) {
  run_loop([]() -> task<> {
    const endpoint first = abstract_name("first");
    const endpoint second = abstract_name("second");
    std::vector<int> descriptors;
    for (const endpoint& at : {first, second}) {
      descriptors.push_back(raw_socket(at, SOCK_STREAM));
      EXPECT_EQ(::listen(descriptors.back(), 10), 0);
    }
    unix_listener listener = unix_listener::adopt(descriptors);
    EXPECT_EQ(listener.local(), first);
    EXPECT_EQ(listener.locals().size(), 2U);
    for (const endpoint& at : {first, second}) {
      unix_stream client;
      unix_stream server;
      co_await with_nursery([&](nursery& tasks) -> task<> {
        tasks.start([&]() -> task<> { server = co_await listener.accept(); });
        co_await test::settle();  // it waits, where O_NONBLOCK would have failed
        client = co_await unix_stream::connect(at);
      });
      EXPECT_EQ(server.local(), at);
    }
    const endpoint third = abstract_name("third");
    const int descriptor = raw_socket(third, SOCK_STREAM);
    EXPECT_EQ(::listen(descriptor, 10), 0);
    const unix_listener alone = unix_listener::adopt(descriptor);
    EXPECT_EQ(alone.local(), third);
  });
}

TEST(unix_datagram, adopts_a_socket_that_is_bound_already) {
  run_loop([]() -> task<> {
    const endpoint at = abstract_name("datagrams");
    unix_datagram server = unix_datagram::adopt(raw_socket(at, SOCK_DGRAM));
    EXPECT_EQ(server.local(), at);
    unix_datagram client = unix_datagram::bind(endpoint());
    char buffer[16];
    std::string came;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        const datagram_info question = co_await server.recv_from(buffer);
        came.assign(buffer, question.size());
        co_await server.send_to("answer", question.peer());
      });
      co_await test::settle();  // it waits, where O_NONBLOCK would have failed
      co_await client.send_to("question", at);
    });
    EXPECT_EQ(came, "question");
    const datagram answer = co_await with_timeout(5s, client.receive());
    EXPECT_EQ(answer.text(), "answer");
  });
}

TEST(unix_stream, adopts_an_end_that_a_parent_process_made) {
  run_loop([]() -> task<> {
    int ends[2] = {};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
    unix_stream left = unix_stream::adopt(ends[0]);
    unix_stream right = unix_stream::adopt(ends[1]);
    EXPECT_EQ(left.peer_credentials().process, ::getpid());
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        std::string text(5, '\0');
        const bool is_whole = co_await right.read_exactly(text);
        EXPECT_TRUE(is_whole);
        EXPECT_EQ(text, "hello");
      });
      co_await test::settle();
      co_await left.write_all("hello");
    });
  });
}

// ---------------------------------------------------------------- waiting for a peer that is full

/// Sends until the receiver, which nobody reads, takes no more. The number of datagrams it has.
task<int> fill(unix_datagram& from, const endpoint& to) {
  int count = 0;
  for (;; ++count) {
    const auto sent = co_await as_result(with_timeout(50ms, from.send_to("x", to)));
    if (sent) continue;
    EXPECT_TRUE(sent.error().is_timeout()) << sent.error().message();
    co_return count;
  }
}

task<> give_sends_up(bool connected) {
  unix_datagram server = unix_datagram::bind(endpoint());
  const endpoint to = server.local();
  unix_datagram client = unix_datagram::open();
  if (connected) co_await client.connect(to);
  const int count = co_await fill(client, to);
  EXPECT_GT(count, 0);
  bool told = false;
  co_await with_nursery([&](nursery& tasks) -> task<> {
    tasks.start([&]() -> task<> {
      co_await as_result(client.send_to("x", to));
      told = true;
    });
    co_await sleep_for(20ms);  // the send waits in the kernel
    tasks.cancel();
  });
  EXPECT_FALSE(told);
  for (int i = 0; i < count; ++i) {
    const datagram came = co_await with_timeout(5s, server.receive());
    EXPECT_EQ(came.text(), "x");
  }
  const auto more = co_await as_result(with_timeout(20ms, server.receive()));
  EXPECT_FALSE(more.has_value());
  co_await with_timeout(5s, client.send_to("last", to));
  const datagram last = co_await with_timeout(5s, server.receive());
  EXPECT_EQ(last.text(), "last");
}

TEST(unix_datagram, gives_up_a_send_to_a_full_receiver_as_if_it_had_never_begun) {
  for (const bool connected : {false, true}) run_loop(give_sends_up(connected));
}

TEST(sim_unix_datagram, gives_up_a_send_to_a_full_receiver_as_if_it_had_never_begun) {
  for (const bool connected : {false, true}) {
    sim::world world(1);
    world.add_host("a", "10.0.0.1").run(give_sends_up, connected);
    world.run();
  }
}

TEST(unix_datagram, waits_for_a_full_receiver_without_keeping_the_processor_busy) {
  run_loop([]() -> task<> {
    unix_datagram server = unix_datagram::bind(endpoint());
    const endpoint to = server.local();
    unix_datagram client = unix_datagram::open();
    const int count = co_await fill(client, to);
    bool sent = false;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        co_await client.send_to("last", to);
        sent = true;
      });
      const auto used = [] {
        timespec now{};
        ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
        return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
      };
      const auto before = used();
      co_await sleep_for(300ms);
      EXPECT_LT(used() - before, 150ms);
      EXPECT_FALSE(sent);
      for (int i = 0; i < count; ++i) co_await with_timeout(5s, server.receive());
      const datagram last = co_await with_timeout(5s, server.receive());
      EXPECT_EQ(last.text(), "last");
    });
    EXPECT_TRUE(sent);
  });
}

TEST(unix_stream, gives_up_connecting_to_a_listener_whose_backlog_is_full) {
  run_loop([]() -> task<> {
    listen_options options;
    options.backlog = 1;
    unix_listener listener = unix_listener::bind(abstract_name("full"), options);
    const endpoint to = listener.local();
    std::vector<unix_stream> clients;
    std::string said;
    while (said.empty()) {
      try {
        clients.push_back(co_await with_timeout(50ms, unix_stream::connect(to)));
      } catch (const io_error& failure) {
        said = failure.what();
      }
    }
    EXPECT_EQ(said, "task: Connection timed out");
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> { clients.push_back(co_await unix_stream::connect(to)); });
      co_await sleep_for(20ms);  // it waits
      const std::size_t count = clients.size();
      std::vector<unix_stream> servers;
      while (servers.size() != count + 1) {
        servers.push_back(co_await with_timeout(5s, listener.accept()));
      }
    });
  });
}

TEST(unix_datagram, tells_a_sender_that_waits_that_another_task_closed_the_socket) {
  for (const bool connected : {false, true}) {
    run_loop([&]() -> task<> {
      unix_datagram server = unix_datagram::bind(endpoint());
      const endpoint to = server.local();
      unix_datagram client = unix_datagram::open();
      if (connected) co_await client.connect(to);
      co_await fill(client, to);
      std::string said;
      co_await with_nursery([&](nursery& tasks) -> task<> {
        tasks.start([&]() -> task<> {
          const auto sent = co_await as_result(client.send_to("x", to));
          if (!sent) said = sent.error().message();
        });
        co_await sleep_for(20ms);
        co_await client.close();
      });
      EXPECT_EQ(said, "send: Operation canceled");
    });
  }
}

}  // namespace
}  // namespace rill
