// Twelve scenarios, each with every interaction, moment and allocation made to fail. The number of
// points is printed and grows with the code. That the runner finds what is broken:
// point_canary_test.cpp.
#include <chrono>
#include <cstdio>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/echo.h"
#include "sim/points.h"
#include "support/scenarios.h"
#include <rill/net/connect.h>
#include <rill/net/resolver.h>
#include <rill/net/serve.h>
#include <rill/net/unix.h>
#include <rill/runtime/file.h>
#include <rill/runtime/remote_channel.h>
#include <rill/runtime/sim/exhaustive.h>
#include <rill/runtime/sim/seeds.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/timeout.h>

namespace rill {
namespace {

using namespace std::chrono_literals;
using sim::require;
using test::ask;
using test::at;
using test::conversation;
using test::patience;
using test::talk;

class sim_points : public testing::Test {
 protected:
  static void visit(const std::string& name, const sim::scenario& body,
                    const sim::exhaustive_options& options = sim::exhaustive_options()) {
    test::visit_points(name, body, options);
  }
};

TEST_F(sim_points, tcp_echo_session) {
  visit("tcp echo session",
        [](sim::trial& run) { test::tcp_echo_scenario(run, test::echo_until_idle); });
}

TEST_F(sim_points, udp_exchange) {
  visit("udp exchange", [](sim::trial& run) {
    sim::host& server = run.world().add_host("server", "10.0.0.1");
    sim::host& client = run.world().add_host("client", "10.0.0.2");
    test::datagram_counts so_far;
    server.run([]() -> task<> {
      auto socket = udp_socket::bind(at("0.0.0.0:9"));
      for (;;) {
        auto message = co_await as_result(socket.receive());
        if (!message) {
          co_await sleep_for(1ms);
          continue;
        }
        co_await as_result(socket.send_to(message->bytes(), message->peer()));
      }
    });
    run.settle(1ms);
    auto& session = client.run(test::ask_datagrams, at("10.0.0.1:9"), std::ref(so_far));
    run.run(session, server);
    require(!run.succeeded() || so_far.answered + so_far.lost == 4,
            "every question is answered or given up");
    require(!run.is_undisturbed() || so_far.answered == 4, "undisturbed, all are answered");
  });
}

/// Two buffers of each size: whoever holds them makes the next receive use memory of its own.
sim::exhaustive_options with_few_buffers() {
  sim::exhaustive_options options;
  options.world.loop.buffers.small = {4096, 2, 2, 2};
  options.world.loop.buffers.large = {65536 + 256, 2, 2, 2};
  return options;
}

TEST_F(sim_points, datagrams_while_all_buffers_are_lent) {
  visit(
      "datagrams while all buffers are lent",
      [](sim::trial& run) {
        sim::host& server = run.world().add_host("server", "10.0.0.1");
        sim::host& client = run.world().add_host("client", "10.0.0.2");
        std::string came;
        run.allow_silence();  // what is lost is not sent again
        auto& session = server.run([&]() -> task<> {
          auto socket = udp_socket::bind(at("0.0.0.0:9"));
          std::vector<datagram> held;
          while (held.size() < 5) {
            held.push_back(co_await with_timeout(patience, socket.receive()));
          }
          for (const datagram& each : held) came += each.text();
        });
        client.run([]() -> task<> {
          auto socket = udp_socket::open(address_family::ipv4);
          co_await with_timeout(patience, socket.connect(at("10.0.0.1:9")));
          for (const char* const each : {"a", "b", "c", "d", "e"}) {
            co_await sleep_for(1ms);
            co_await with_timeout(patience, socket.send(each));
          }
        });
        run.run(session);
        require(!run.succeeded() || came == "abcde", "each is held with its own bytes");
      },
      with_few_buffers());
}

TEST_F(sim_points, streams_while_all_buffers_are_lent) {
  visit(
      "streams while all buffers are lent",
      [](sim::trial& run) {
        sim::host& server = run.world().add_host("server", "10.0.0.1");
        sim::host& client = run.world().add_host("client", "10.0.0.2");
        std::string came;
        std::string sent;
        run.allow_silence();  // a client may fail before it connects
        auto& session = server.run([&]() -> task<> {
          auto listener = tcp_listener::bind(at("0.0.0.0:80"));
          std::vector<tcp_stream> streams;
          std::vector<lease> held;
          while (held.size() < 5) {
            streams.push_back(co_await with_timeout(patience, listener.accept()));
            held.push_back(co_await with_timeout(patience, streams.back().read_lease()));
            require(held.back() || sent.size() < held.size(), "what was sent comes before the end");
          }
          for (const lease& each : held) came += each.text();
        });
        client.run([&]() -> task<> {
          std::vector<tcp_stream> streams;
          for (const char* const each : {"a", "b", "c", "d", "e"}) {
            co_await sleep_for(1ms);
            streams.push_back(
                co_await with_timeout(patience, tcp_stream::connect(at("10.0.0.1:80"))));
            co_await with_timeout(patience, streams.back().write_all(each));
            sent += each;
          }
          co_await with_timeout(patience, streams.front().read_lease());  // until the server ends
        });
        run.run(session);
        require(!run.succeeded() || came == sent, "each is held with its own bytes");
        require(!run.is_undisturbed() || came == "abcde", "undisturbed, all of them come");
      },
      with_few_buffers());
}

TEST_F(sim_points, pieces_gathered_and_scattered) {
  visit("pieces gathered and scattered", [](sim::trial& run) {
    sim::host& server = run.world().add_host("server", "10.0.0.1");
    sim::host& client = run.world().add_host("client", "10.0.0.2");
    std::string came;
    const std::string body(70'000, 'b');  // more than a short transfer takes
    server.run([&]() -> task<> {
      auto listener = tcp_listener::bind(at("0.0.0.0:80"));
      auto stream = co_await with_timeout(patience, listener.accept());
      const const_buffer pieces[] = {"head", "", const_buffer(body), "tail", ""};
      co_await with_timeout(patience, stream.write_all(std::span<const const_buffer>(pieces)));
    });
    run.settle(1ms);
    auto& session = client.run([&]() -> task<> {
      auto stream = co_await with_timeout(patience, tcp_stream::connect(at("10.0.0.1:80")));
      std::string small(7, ' ');
      std::string large(10'000, ' ');
      const mutable_buffer pieces[] = {mutable_buffer(small), mutable_buffer(),
                                       mutable_buffer(large)};
      const std::span<const mutable_buffer> into(pieces);
      while (const std::size_t got = co_await with_timeout(patience, stream.read(into))) {
        came += (small + large).substr(0, got);
      }
    });
    run.run(session, server);
    const std::string all = "head" + body + "tail";
    require(all.starts_with(came), "bytes come in order, none twice");
    require(!run.is_undisturbed() || came == all, "undisturbed, all of them come");
  });
}

TEST_F(sim_points, shared_bytes_to_two_streams) {
  sim::exhaustive_options options;
  options.world.send_buffer_size = 32 * 1024;  // so that the second message has to wait
  options.world.receive_buffer_size = 32 * 1024;
  visit(
      "shared bytes to two streams",
      [](sim::trial& run) {
        sim::host& server = run.world().add_host("server", "10.0.0.1");
        sim::host& client = run.world().add_host("client", "10.0.0.2");
        std::string came[2];
        int whole_count = 0;
        run.allow_silence();  // a client may fail before it connects
        const std::string text(20'000, 's');
        auto& session = server.run([&]() -> task<> {
          auto listener = tcp_listener::bind(at("0.0.0.0:80"));
          const shared_bytes message{const_buffer(text)};
          co_await with_nursery([&](nursery& both) -> task<> {
            for (int i = 0; i < 2; ++i) {
              auto peer = co_await with_timeout(patience, listener.accept());
              both.start(
                  [](tcp_stream to, shared_bytes bytes) -> task<> {
                    co_await with_timeout(patience, to.write_all(bytes));
                    co_await with_timeout(patience, to.write_all(bytes));
                  },
                  std::move(peer), message);
            }
          });
          // What goes on being sent is let go as well, some time.
          for (int i = 0; i < 200; ++i) {
            if (message.owner_count() == 1) break;
            co_await sleep_for(10ms);
          }
          require(message.owner_count() == 1 || !run.is_undisturbed(), "undisturbed, it is freed");
        });
        run.settle(1ms);
        for (std::string& each : came) {
          auto& reading = client.run([&]() -> task<> {
            auto stream = co_await with_timeout(patience, tcp_stream::connect(at("10.0.0.1:80")));
            while (auto bytes = co_await with_timeout(patience, stream.read_lease())) {
              each += bytes.text();
            }
            ++whole_count;
          });
          run.wait_for(reading);
        }
        run.run(session, client);
        for (const std::string& each : came) {
          require((text + text).starts_with(each), "bytes come in order, none twice");
        }
        require(!run.is_undisturbed() || came[0].size() + came[1].size() == 4 * text.size(),
                "undisturbed, all of them come");
        require(!run.is_undisturbed() || whole_count == 2, "and then the end");
      },
      options);
}

TEST_F(sim_points, proxy) {
  visit("proxy", [](sim::trial& run) {
    test::proxy_scenario(
        run, [](tcp_stream peer) { return test::pass_on(std::move(peer), at("10.0.0.1:80")); });
  });
}

TEST_F(sim_points, file_to_a_socket) {
  sim::exhaustive_options options;
  options.world.send_buffer_size = 16 * 1024;
  options.world.receive_buffer_size = 16 * 1024;
  visit(
      "file to a socket",
      [](sim::trial& run) {
        sim::host& server = run.world().add_host("server", "10.0.0.1");
        sim::host& client = run.world().add_host("client", "10.0.0.2");
        std::string content(100'000, ' ');
        for (std::size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i % 251);
        server.write_file("/srv/page", content);
        std::string received;
        bool whole = false;
        server.run([]() -> task<> {
          auto listener = tcp_listener::bind(at("0.0.0.0:80"));
          const auto send_page = [](tcp_stream peer) -> task<> {
            file page = co_await file::open("/srv/page");
            const file_status status = co_await page.stat();
            co_await peer.send_file(page, 0, status.size, test::idle_max);
          };
          co_await serve(listener, send_page);
        });
        run.settle(1ms);
        auto& session = client.run([&]() -> task<> {
          auto stream = co_await with_timeout(patience, tcp_stream::connect(at("10.0.0.1:80")));
          for (;;) {
            auto bytes = co_await with_timeout(patience, stream.read_lease());
            if (!bytes) break;
            received += bytes.text();
          }
          whole = true;
        });
        run.run(session, server);
        require(content.compare(0, received.size(), received) == 0, "what comes is the file");
        require(!run.is_undisturbed() || (whole && received.size() == content.size()),
                "undisturbed, it comes whole");
      },
      options);
}

TEST_F(sim_points, resolve_and_connect) {
  visit("resolve and connect", [](sim::trial& run) {
    sim::host& names = run.world().add_name_server("10.0.0.53");
    sim::host& server = run.world().add_host("server", {"10.0.0.1", "fd00::1"});
    sim::host& client = run.world().add_host("client", {"10.0.0.2", "fd00::2"});
    conversation so_far;
    server.run(test::echo_until_cancelled, std::string("[::]:80"));
    run.settle(1ms);
    auto& session = client.run([&]() -> task<> {
      auto stream = co_await with_timeout(patience, connect("server", 80));
      co_await ask(stream, "hello", so_far);
    });
    (void)names;
    run.run(session, server);
    require(!run.succeeded() || so_far.answered == 1, "a session that succeeds has its answer");
  });
}

TEST_F(sim_points, serve_with_drain) {
  visit("serve with drain", [](sim::trial& run) {
    sim::host& server = run.world().add_host("server", "10.0.0.1");
    sim::host& client = run.world().add_host("client", "10.0.0.2");
    int accepted = 0;
    int answered = 0;
    int received = 0;
    auto& service = server.run([&]() -> task<> {
      auto listener = tcp_listener::bind(at("0.0.0.0:80"));
      const auto slow_answer = [&](tcp_stream peer) -> task<> {
        ++accepted;
        co_await sleep_for(10ms);
        co_await peer.write_all(const_buffer("done"));
        ++answered;
      };
      co_await serve(listener, slow_answer);
    });
    for (int i = 0; i < 3; ++i) {
      auto& asking = client.run([&, i]() -> task<> {
        co_await sleep_for(std::chrono::milliseconds(1 + 4 * i));
        auto stream = co_await with_timeout(patience, tcp_stream::connect(at("10.0.0.1:80")));
        char buffer[4];
        if (co_await with_timeout(patience, stream.read_exactly(mutable_buffer(buffer)))) {
          ++received;
        }
      });
      run.wait_for(asking);
    }
    run.settle(12ms);
    service.cancel();
    run.run(service, client);
    require(!run.is_undisturbed() || (accepted == 3 && answered == 3),
            "what was accepted is answered");
    require(!run.is_undisturbed() || received == 3, "and the answers arrive");
  });
}

TEST_F(sim_points, unix_echo_session) {
  visit("unix echo session", [](sim::trial& run) {
    sim::host& host = run.world().add_host("host", "10.0.0.1");
    bool is_answered = false;
    host.run([]() -> task<> {
      auto listener = unix_listener::bind(at("unix:/run/echo"));
      const auto echo = [](unix_stream peer) -> task<> {
        while (auto bytes = co_await peer.read_lease()) co_await peer.write_all(bytes);
      };
      co_await serve(listener, echo);
    });
    run.settle(1ms);
    auto& session = host.run([&]() -> task<> {
      auto stream = co_await with_timeout(patience, unix_stream::connect(at("unix:/run/echo")));
      const std::string question(5000, 'u');
      std::string answer(question.size(), ' ');
      co_await with_timeout(patience, stream.write_all(const_buffer(question)));
      const bool whole =
          co_await with_timeout(patience, stream.read_exactly(mutable_buffer(answer)));
      if (!whole) {
        throw io_error(std::make_error_code(std::errc::connection_reset), "read", "the server");
      }
      require(answer == question, "an echo is what was sent");
      is_answered = true;
    });
    run.run(session);
    require(!run.succeeded() || is_answered, "a session that succeeds has its answer");
  });
}

TEST_F(sim_points, channel_between_loops) {
  visit("channel between loops", [](sim::trial& run) {
    sim::host& host = run.world().add_host("host", "10.0.0.1");
    std::optional<remote_sender<int>> sender;
    std::vector<int> received;
    int sent = 0;
    auto& receiver = host.run([&]() -> task<> {
      remote_channel<int> made(2);
      sender.emplace(std::move(made.sender));
      while (auto value = co_await made.receiver.receive()) {
        received.push_back(*value);
        co_await sleep_for(10us);
      }
    });
    run.settle(1ms);
    if (!sender) return;  // memory was too short for a channel
    run.wait_for(receiver);
    auto& session = host.run(test::send_eight, std::move(*sender), std::ref(sent));
    sender.reset();
    run.run(session);
    for (std::size_t i = 0; i < received.size(); ++i) {
      require(received[i] == static_cast<int>(i), "values arrive once and in order");
    }
    require(!run.is_undisturbed() || (sent == 8 && received.size() == 8), "all of them arrive");
  });
}

TEST_F(sim_points, every_transfer_of_the_undisturbed_run_is_cut_short) {
  // The session gives up after a short write, so the run that is disturbed first has few of them.
  const sim::scenario body = [](sim::trial& run) {
    sim::host& server = run.world().add_host("server", "10.0.0.1");
    sim::host& client = run.world().add_host("client", "10.0.0.2");
    server.run(test::echo_until_cancelled, std::string("0.0.0.0:80"));
    run.settle(1ms);
    auto& session = client.run([]() -> task<> {
      auto stream = co_await tcp_stream::connect(at("10.0.0.1:80"));
      for (int i = 0; i < 20; ++i) {
        std::string text(50, 'q');
        const std::size_t sent = co_await stream.write(const_buffer(text));
        require(sent == text.size() || i < 10, "the eleventh write is whole");
        if (sent != text.size()) co_return;
        co_await stream.read_exactly(mutable_buffer(text));
      }
    });
    run.run(session, server);
  };
  sim::exhaustive_options options;
  options.errors = options.cancellations = options.crashes = options.allocations = false;
  const sim::exhaustive_report report = sim::every_point("late", body, options);
  EXPECT_THAT(report.failure, testing::HasSubstr("the eleventh write is whole"));
  EXPECT_THAT(report.failure, testing::HasSubstr("RILL_SIM_POINT=short:"));
}

/// A session of one sleep, alone on its host.
void sleep_once(sim::trial& run) {
  sim::host& host = run.world().add_host("host", "10.0.0.1");
  run.run(host.run([]() -> task<> { co_await sleep_for(1ms); }));
}

class chosen_point {
 public:
  explicit chosen_point(const char* text) { ::setenv("RILL_SIM_POINT", text, 1); }
  chosen_point(const chosen_point&) = delete;
  chosen_point& operator=(const chosen_point&) = delete;
  ~chosen_point() { ::unsetenv("RILL_SIM_POINT"); }
};

TEST_F(sim_points, a_chosen_point_that_passes_is_no_failure) {
  const chosen_point once("cancel:1");
  EXPECT_EQ(sim::every_point("fine", sleep_once).failure, "");
}

TEST_F(sim_points, nothing_vanishes_for_a_session_without_a_peer) {
  for (const char* const text : {"crash:1", "crash-restart:1"}) {
    const chosen_point once(text);
    EXPECT_EQ(sim::every_point("alone", sleep_once).failure, "");
  }
  visit("two sessions without a peer", [](sim::trial& run) {
    for (const char* const address : {"10.0.0.1", "10.0.0.2"}) {
      sim::host& host = run.world().add_host(address, address);
      run.run(host.run([]() -> task<> { co_await sleep_for(1ms); }));
    }
  });
}

}  // namespace
}  // namespace rill
