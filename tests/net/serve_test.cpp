// Tests of serve(): errors of handlers, draining. Its limits are in serve_limits_test.cpp.
#include <rill/net/serve.h>

#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "net/serving.h"
#include "support.h"
#include "support/descriptors.h"
#include <rill/runtime/event.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/run.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/timeout.h>

namespace rill {
namespace {

using namespace std::chrono_literals;
using test::any_port;
using test::echo;
using test::exchange;
using test::run_loop;
using test::with_server;

TEST(serve, answers_connections_beside_each_other) {
  serve_statistics counts;
  serve_limits limits;
  limits.statistics = &counts;
  with_server(echo, limits, [&](endpoint local, nursery&) -> task<> {
    tcp_stream first = co_await tcp_stream::connect(local);
    tcp_stream second = co_await tcp_stream::connect(local);
    EXPECT_EQ(co_await exchange(second, "two"), "two");
    EXPECT_EQ(co_await exchange(first, "one"), "one");
    EXPECT_EQ(counts.active_count, 2U);
  });
  EXPECT_EQ(counts.accepted_count, 2U);
  EXPECT_EQ(counts.active_count, 0U);
  EXPECT_EQ(counts.active_peak, 2U);
}

std::string reported;

TEST(serve, goes_on_when_a_handler_throws_and_tells_whoever_asked) {
  const auto fail = [](tcp_stream) -> task<> {
    co_await yield();
    throw std::runtime_error("out of order");
  };
  serve_statistics counts;
  serve_limits limits;
  limits.statistics = &counts;
  limits.on_error = [](const endpoint& peer, std::exception_ptr error) {
    try {
      std::rethrow_exception(error);
    } catch (const std::exception& what) {
      reported = (peer.kind() == endpoint_kind::ipv4 ? "ipv4: " : "") + std::string(what.what());
    }
  };
  reported.clear();
  with_server(fail, limits, [&](endpoint local, nursery&) -> task<> {
    for (int i = 0; i < 3; ++i) {
      tcp_stream stream = co_await tcp_stream::connect(local);
      char byte = 0;
      EXPECT_EQ(co_await stream.read(std::span(&byte, 1)), 0U);
    }
  });
  EXPECT_EQ(counts.failed_count, 3U);
  EXPECT_EQ(reported, "ipv4: out of order");
}

TEST(serve, names_the_peer_and_what_was_thrown_when_nobody_asked) {
  std::string expected;
  int count = 0;
  const auto fail = [&count](tcp_stream) -> task<> {
    co_await yield();
    if (++count == 1) throw std::runtime_error("out of order");
    if (count == 2) throw 5;
    throw io_error(std::make_error_code(std::errc::connection_reset), "read", "somebody");
  };
  run_loop([]() -> task<> { co_return; });  // what the loop itself may say is said
  testing::internal::CaptureStderr();
  with_server(fail, serve_limits(), [&](endpoint local, nursery&) -> task<> {
    for (const char* what : {"out of order", "unknown exception", ""}) {
      tcp_stream stream = co_await tcp_stream::connect(local);
      // That a peer has gone is everyday life, and not said.
      const std::string of = "connection of " + stream.local().to_string() + ": ";
      if (*what != '\0') expected += of + what + '\n';
      char byte = 0;
      EXPECT_EQ(co_await stream.read(std::span(&byte, 1)), 0U);
    }
  });
  EXPECT_EQ(testing::internal::GetCapturedStderr(), expected);
}

TEST(serve, outlives_a_handler_that_throws_before_it_is_a_coroutine) {
  run_loop([]() -> task<> {
    tcp_listener listener = tcp_listener::bind(any_port);
    const endpoint to = listener.local();
    serve_statistics statistics;
    serve_limits limits;
    limits.statistics = &statistics;
    static unsigned told_count;
    told_count = 0;
    limits.on_error = [](const endpoint& peer, std::exception_ptr) {
      EXPECT_TRUE(peer.is_ip());
      ++told_count;
    };
    const auto handler = [](tcp_stream) -> task<> { throw std::runtime_error("not you"); };
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> { co_await serve(listener, handler, limits); });
      for (int i = 0; i < 3; ++i) {
        tcp_stream peer = co_await tcp_stream::connect(to);
        const lease bytes = co_await peer.read_lease();
        EXPECT_TRUE(bytes.empty());
      }
      tasks.cancel();
    });
    EXPECT_EQ(told_count, 3U);
    EXPECT_EQ(statistics.failed_count, 3U);
    EXPECT_EQ(statistics.active_count, 0U);
  });
}

TEST(serve, lets_a_stream_outlive_a_handler_that_stored_it_and_threw) {
  run_loop([]() -> task<> {
    tcp_listener listener = tcp_listener::bind(any_port);
    const endpoint to = listener.local();
    std::vector<tcp_stream> kept;
    const auto handler = [&kept](tcp_stream stream) -> task<> {
      if (kept.empty()) kept.push_back(std::move(stream));
      throw std::runtime_error("not you");
    };
    serve_limits limits;
    limits.on_error = [](const endpoint&, std::exception_ptr) {};
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> { co_await serve(listener, handler, limits); });
      tcp_stream first = co_await tcp_stream::connect(to);
      tcp_stream second = co_await tcp_stream::connect(to);  // ends when the first was let go
      const lease end = co_await second.read_lease();
      EXPECT_TRUE(end.empty());
      co_await kept.at(0).write_all(std::string_view("still here"));
      const lease bytes = co_await first.read_lease();
      EXPECT_EQ(bytes.size(), 10U);
      kept.clear();
      tasks.cancel();
    });
  });
}

TEST(serve, ends_idle_connections_at_once_when_it_drains) {
  serve_statistics counts;
  serve_limits limits;
  limits.statistics = &counts;
  limits.drain_timeout = 1h;  // the test would never end if it were waited for
  run_loop([&]() -> task<> {
    tcp_listener listener = tcp_listener::bind(any_port);
    std::vector<tcp_stream> clients;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> { co_await serve(listener, echo, limits); });
      for (int i = 0; i < 300; ++i) {
        clients.push_back(co_await tcp_stream::connect(listener.local()));
        EXPECT_EQ(co_await exchange(clients.back(), "x"), "x");
      }
      tasks.cancel();
    });
    char byte = 0;
    for (tcp_stream& client : clients) {
      EXPECT_EQ(co_await client.read(std::span(&byte, 1)), 0U);
    }
  });
  EXPECT_EQ(counts.cut_count, 0U);
  EXPECT_EQ(counts.active_count, 0U);
  EXPECT_EQ(counts.accepted_count, 300U);
}

TEST(serve, answers_what_has_arrived_before_it_drains) {
  run_loop([]() -> task<> {
    tcp_listener listener = tcp_listener::bind(any_port);
    const endpoint local = listener.local();
    std::vector<tcp_stream> clients;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      // Connected and sent before anybody accepts: all of it waits in the backlog.
      for (int i = 0; i < 100; ++i) {
        clients.push_back(co_await tcp_stream::connect(local));
        co_await clients.back().write_all("pending");
      }
      tasks.start([&]() -> task<> { co_await serve(listener, echo); });
      co_await yield();
      tasks.cancel();
    });
    for (tcp_stream& client : clients) {
      std::string reply(7, '\0');
      EXPECT_TRUE(co_await client.read_exactly(reply));
      EXPECT_EQ(reply, "pending");
      EXPECT_EQ(co_await client.read(reply), 0U);
    }
  });
}

TEST(serve, lets_a_handler_say_farewell_and_cuts_it_after_the_drain_time) {
  serve_statistics counts;
  serve_limits limits;
  limits.statistics = &counts;
  limits.drain_timeout = 50ms;
  bool cut = false;
  class notes_end {
   public:
    explicit notes_end(bool& ended) : ended_(&ended) {}
    notes_end(const notes_end&) = delete;
    notes_end& operator=(const notes_end&) = delete;
    ~notes_end() { *ended_ = true; }

   private:
    bool* ended_;
  };
  const auto stubborn = [&](tcp_stream peer, drain_signal& drain) -> task<> {
    const notes_end note(cut);
    co_await peer.write_all("hello");
    co_await drain.wait();
    co_await peer.write_all("goodbye");
    co_await sleep_for(1h);
  };
  run_loop([&]() -> task<> {
    tcp_listener listener = tcp_listener::bind(any_port);
    tcp_stream client;
    std::string text(5, '\0');
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> { co_await serve(listener, stubborn, limits); });
      client = co_await tcp_stream::connect(listener.local());
      EXPECT_TRUE(co_await client.read_exactly(text));
      tasks.cancel();
    });
    text.resize(7);
    EXPECT_TRUE(co_await client.read_exactly(text));
    EXPECT_EQ(text, "goodbye");
    EXPECT_EQ(co_await client.read(text), 0U);
  });
  EXPECT_TRUE(cut);
  EXPECT_EQ(counts.cut_count, 1U);
}

TEST(serve, leaves_an_idle_connection_of_which_something_has_come_to_begin_with_it) {
  event may_look;
  std::string came;
  const auto late = [&](tcp_stream peer, drain_signal&) -> task<> {
    peer.set_idle(true);
    co_await peer.write_all("x");
    co_await may_look.wait();
    peer.set_idle(false);
    std::string text(4, '\0');
    co_await peer.read_exactly(text);
    came = text;
    co_await peer.write_all("y");
    co_await peer.read_exactly(text);
    came += text;
  };
  serve_limits limits;
  limits.drain_timeout = 1h;
  run_loop([&]() -> task<> {
    tcp_listener listener = tcp_listener::bind(any_port);
    tcp_stream client;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> { co_await serve(listener, late, limits); });
      client = co_await tcp_stream::connect(listener.local());
      char byte = 0;
      co_await client.read(std::span(&byte, 1));
      co_await client.write_all("head");
      tasks.start([&]() -> task<> {
        co_await shielded([&]() -> task<> {
          co_await test::settle(20);  // the drain has looked
          may_look.set();
          char told = 0;
          co_await client.read(std::span(&told, 1));
          co_await client.write_all("rest");
        }());
      });
      co_await yield();
      tasks.cancel();
    });
  });
  EXPECT_EQ(came, "headrest");
}

TEST(serve, ends_an_idle_connection_later_if_what_had_come_was_too_little_to_begin_with) {
  event may_look;
  std::size_t first = 0;
  std::size_t second = 1;
  const auto idle = [&](tcp_stream peer, drain_signal&) -> task<> {
    peer.set_idle(true);
    co_await peer.write_all("x");
    co_await may_look.wait();
    char byte = 0;
    first = co_await peer.read(std::span(&byte, 1));
    second = co_await peer.read(std::span(&byte, 1));
  };
  serve_limits limits;
  limits.drain_timeout = 1h;
  limits.short_pause = 5ms;
  run_loop([&]() -> task<> {
    tcp_listener listener = tcp_listener::bind(any_port);
    tcp_stream client;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> { co_await serve(listener, idle, limits); });
      client = co_await tcp_stream::connect(listener.local());
      char byte = 0;
      co_await client.read(std::span(&byte, 1));
      co_await client.write_all("?");
      tasks.start([&]() -> task<> {
        co_await shielded([&]() -> task<> {
          co_await test::settle(20);
          may_look.set();
        }());
      });
      co_await yield();
      tasks.cancel();
    });
  });
  EXPECT_EQ(first, 1U);
  EXPECT_EQ(second, 0U);
}

TEST(serve, does_not_wait_for_the_drain_time_when_somebody_is_in_a_hurry) {
  const auto stubborn = [](tcp_stream peer, drain_signal&) -> task<> {
    co_await peer.write_all("x");
    co_await sleep_for(1h);
  };
  serve_limits limits;
  limits.drain_timeout = 1h;
  with_server(stubborn, limits, [&](endpoint local, nursery& tasks) -> task<> {
    tcp_stream client = co_await tcp_stream::connect(local);
    char byte = 0;
    co_await client.read(std::span(&byte, 1));
    tasks.start([]() -> task<> {
      co_await shielded([]() -> task<> {
        co_await sleep_for(20ms);
        loop::current().hurry().set();
      }());
    });
    co_await yield();
  });
}

/// A server in a process of its own, which does not outlive the test.
class server_process {
 public:
  server_process() {
    int report[2] = {};
    if (::pipe(report) != 0) return;
    process_ = ::fork();
    // exit() and not _exit(): what the server has leaked is looked for at its end.
    if (process_ == 0) std::exit(serve_until_signal(report[1]));
    ::close(report[1]);
    if (::read(report[0], &port_, sizeof(port_)) != sizeof(port_)) port_ = 0;
    ::close(report[0]);
  }
  server_process(const server_process&) = delete;
  server_process& operator=(const server_process&) = delete;
  ~server_process() {
    if (process_ > 0) {
      ::kill(process_, SIGKILL);
      ::waitpid(process_, nullptr, 0);
    }
  }

  endpoint local() const { return endpoint(address::loopback_v4(), port_); }
  void terminate() const { ::kill(process_, SIGTERM); }
  int wait() {
    int status = 0;
    ::waitpid(std::exchange(process_, -1), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

 private:
  static int serve_until_signal(int tell) {
    return run([tell]() -> task<> {
      tcp_listener listener = tcp_listener::bind(any_port);
      const std::uint16_t port = listener.local().port();
      if (::write(tell, &port, sizeof(port)) != sizeof(port)) co_return;
      co_await serve(listener, echo);
    });
  }

  pid_t process_ = -1;
  std::uint16_t port_ = 0;
};

/// A thousand clients, and what must not happen to them.
struct busy_clients {
  static constexpr int count = 1000;
  int ready_count = 0;
  int broken_count = 0;
  event all_ready;
};

/// Sends and receives until the server ends: after whole answers only.
task<> stay_busy(endpoint server, busy_clients& all) {
  tcp_stream stream = co_await tcp_stream::connect(server);
  const std::string message(64, 'm');
  std::string reply(64, '\0');
  for (bool first = true;; first = false) {
    const auto sent = co_await as_result(stream.write_all(message));
    if (!sent) co_return;  // closed between two messages
    std::size_t received = 0;
    while (received < reply.size()) {
      const auto part = co_await as_result(stream.read(std::span(reply).subspan(received)));
      if (!part || (*part == 0 && received != 0)) ++all.broken_count;
      if (!part || *part == 0) co_return;
      received += *part;
    }
    if (first && ++all.ready_count == busy_clients::count) all.all_ready.set();
    if (first) co_await all.all_ready.wait();
  }
}

TEST(serve, ends_with_0_and_breaks_no_answer_on_sigterm_with_a_thousand_busy_sessions) {
  const test::descriptor_limit more;
  server_process server;
  busy_clients clients;
  std::chrono::steady_clock::time_point told;
  run_loop([&]() -> task<> {
    co_await with_nursery([&](nursery& tasks) -> task<> {
      for (int i = 0; i < busy_clients::count; ++i) {
        tasks.start(stay_busy, server.local(), std::ref(clients));
        // A few at a time, so that no SYN has to be sent twice.
        if (i % 50 == 0) co_await test::settle();
      }
      co_await with_timeout(45s, clients.all_ready.wait());
      co_await test::settle(20);  // all of them are in the middle of it
      told = std::chrono::steady_clock::now();
      server.terminate();
    });
  });
  EXPECT_EQ(server.wait(), 0);
  EXPECT_LT(std::chrono::steady_clock::now() - told, serve_limits().drain_timeout + 5s);
  EXPECT_EQ(clients.ready_count, busy_clients::count);
  EXPECT_EQ(clients.broken_count, 0);
}

TEST(serve, drains_without_an_end_if_its_drain_time_has_none) {
  const auto slow = [](tcp_stream peer, drain_signal& drain) -> task<> {
    co_await peer.write_all("x");
    co_await drain.wait();
    co_await sleep_for(30ms);
  };
  serve_statistics counts;
  serve_limits limits;
  limits.statistics = &counts;
  limits.drain_timeout = std::chrono::nanoseconds::max();
  with_server(slow, limits, [&](endpoint local, nursery&) -> task<> {
    tcp_stream client = co_await tcp_stream::connect(local);
    char byte = 0;
    co_await client.read(std::span(&byte, 1));
  });
  EXPECT_EQ(counts.accepted_count, 1U);
  EXPECT_EQ(counts.cut_count, 0U);
}

TEST(serve, closes_its_listener_when_that_fails) {
  run_loop([]() -> task<> {
    tcp_listener listener = tcp_listener::bind(any_port);
    const int descriptor = listener.descriptors().front();
    co_await with_nursery([&](nursery& tasks) -> task<> {
      std::string said;
      tasks.start([&]() -> task<> {
        try {
          co_await serve(listener, echo);
        } catch (const io_error& failure) {
          said = failure.what();
        }
      });
      co_await test::settle();
      ::shutdown(descriptor, SHUT_RDWR);  // it listens no more
      while (said.empty()) co_await yield();
      EXPECT_TRUE(said.starts_with("accept ")) << said;
      EXPECT_TRUE(said.ends_with(": Invalid argument")) << said;
    });
    EXPECT_FALSE(listener.is_open());
  });
}

}  // namespace
}  // namespace rill
