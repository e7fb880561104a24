// Sessions cancelled at each moment of their life, on the kernels over Linux: after each turn of
// the loop, once before the completions of the next turn are stored and once after. The number of
// moments and the places at which the cancellation struck are printed. What must hold: nothing is
// left, whoever the session spoke with sees no wrong byte, and the service goes on.
// The simulated kernel has the same and more: tests/sim/every_point_test.cpp.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <functional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "net/name_server.h"
#include "support.h"
#include "support/descriptors.h"
#include "support/files.h"
#include "support/known_hosts.h"
#include "support/scenarios.h"
#include "support/streams.h"
#include <rill/net/connect.h>
#include <rill/net/resolver.h>
#include <rill/net/serve.h>
#include <rill/net/unix.h>
#include <rill/runtime/file.h>
#include <rill/runtime/frame_cache.h>

namespace rill {
namespace {

using namespace std::chrono_literals;
using test::ask;
using test::conversation;
using test::patience;
using test::require;

const endpoint any_port(address::loopback_v4(), 0);

/// One run of a scenario: where its session is, and whether the cancellation has struck.
class trial {
 public:
  /// Runs the session. It is this that is cancelled, and only this.
  template <class Function>
  task<> run(Function session) {
    co_await with_nursery([&](nursery& of_session) -> task<> {
      session_ = &of_session;
      co_await session();
      succeeded_ = !struck_;
    });
    session_ = nullptr;
  }

  bool is_under_way() const { return session_ != nullptr; }
  /// The session has ended by itself.
  bool succeeded() const { return succeeded_; }
  void strike() {
    if (session_ == nullptr) return;
    struck_ = true;
    stop();
  }
  bool has_struck() const { return struck_; }
  /// For a session that never ends by itself: ends it.
  void stop() {
    if (session_ != nullptr) session_->cancel();
  }

  /// Joined when the loop is gone.
  std::thread other_thread;

 private:
  nursery* session_ = nullptr;
  bool struck_ = false;
  bool succeeded_ = false;
};

using scenario = std::function<task<>(trial&)>;

/// The places at which tasks wait: "read" of "talk (tests/x.cpp:7): read 127.0.0.1:80, 3 ms".
void note_places(const std::string& tree, std::set<std::string>& places) {
  for (std::size_t at = tree.find("): "); at != std::string::npos; at = tree.find("): ", at + 1)) {
    const std::size_t from = at + 3;
    places.insert(tree.substr(from, tree.find_first_of(" ,\n", from) - from));
  }
}

struct visit_outcome {
  bool has_struck;     // false: the session had ended before the moment came
  std::string broken;  // what did not hold
};

visit_outcome visit(const scenario& body, unsigned moment, bool completions_first,
                    std::set<std::string>& places) {
  const std::size_t descriptors = test::open_descriptor_count();
  trim_frame_cache();
  const std::uint64_t frames = frame_statistics().live_count;
  trial current;
  std::string broken;
  {
    loop on(make_kernel("auto"));
    on.start(body(current));
    unsigned turns_of_session = 0;
    for (bool goes_on = true; goes_on;) {
      if (current.is_under_way() && turns_of_session++ == moment) {
        note_places(on.task_tree(), places);
        if (completions_first) {
          on.post([&] { current.strike(); });
        } else {
          current.strike();
        }
      }
      goes_on = on.turn();
    }
    try {
      on.finish();
    } catch (const std::exception& error) {
      broken = error.what();
    }
  }
  if (current.other_thread.joinable()) current.other_thread.join();
  if (frame_statistics().live_count != frames) broken += " a frame is left";
  if (test::open_descriptor_count() != descriptors) broken += " a descriptor is left";
  return {current.has_struck(), broken};
}

/// Every moment of the session. `expected` names operations that must have been cancelled.
/// Empty, or at which moment what did not hold.
[[nodiscard]] std::string cancel_everywhere(const char* name, const scenario& body,
                                            const std::vector<std::string>& expected) {
  constexpr unsigned moment_max = 10'000;
  std::set<std::string> places;
  unsigned cancellation_count = 0;
  for (const bool completions_first : {false, true}) {
    for (unsigned moment = 0;; ++moment) {
      const visit_outcome outcome = visit(body, moment, completions_first, places);
      if (!outcome.broken.empty() || moment == moment_max) {
        return std::string(name) + ", cancelled in turn " + std::to_string(moment) +
               (completions_first ? " after completions: " : ": ") + outcome.broken;
      }
      if (!outcome.has_struck) break;
      ++cancellation_count;
    }
  }
  std::string said;
  for (const std::string& each : places) said += ' ' + each;
  std::printf("[   points ] %s: %u cancellations, in:%s\n", name, cancellation_count, said.c_str());
  for (const std::string& each : expected) {
    if (places.count(each) == 0) return std::string(name) + ": never cancelled in " + each;
  }
  return "";
}

/// All that comes until the peer ends or is gone.
task<std::vector<std::byte>> read_to_the_end(tcp_stream& stream) {
  std::vector<std::byte> all;
  for (;;) {
    const auto part = co_await as_result(stream.read_lease());
    if (!part || part->empty()) break;
    all.insert(all.end(), part->data(), part->data() + part->size());
  }
  co_return all;
}

bool is_beginning(const std::vector<std::byte>& part, const std::vector<std::byte>& of) {
  return part.size() <= of.size() && std::equal(part.begin(), part.end(), of.begin());
}

/// Echo over TCP until cancelled.
task<> echo_service(tcp_listener& listener) {
  const auto echo = [](tcp_stream peer) -> task<> {
    while (auto bytes = co_await peer.read_lease()) co_await peer.write_all(bytes);
  };
  co_await serve(listener, echo);
}

/// It still answers, whatever became of the sessions before.
task<> expect_service(endpoint where) {
  conversation again;
  auto stream = co_await tcp_stream::connect(where);
  co_await ask(stream, "still there?", again);
}

TEST(cancel_points, tcp_client) {
  const std::string failure = cancel_everywhere(
      "tcp client",
      [](trial& run) -> task<> {
        tcp_listener listener = tcp_listener::bind(any_port);
        const endpoint where = listener.local();
        conversation so_far;
        co_await with_nursery([&](nursery& others) -> task<> {
          others.start(echo_service, std::ref(listener));
          co_await run.run([&] { return test::talk(where, so_far); });
          require(!run.succeeded() || so_far.answered == 2, "a whole session has its answers");
          co_await expect_service(where);
          others.cancel();
        });
      },
      {"connect", "read", "write"});
  EXPECT_EQ(failure, "");
}

TEST(cancel_points, tcp_echo_session) {
  const std::string failure = cancel_everywhere(
      "tcp echo session",
      [](trial& run) -> task<> {
        tcp_listener listener = tcp_listener::bind(any_port);
        const endpoint where = listener.local();
        co_await with_nursery([&](nursery& others) -> task<> {
          others.start([&]() -> task<> {
            // Sends more than fits, so that the session has to wait in its answers
            // too.
            const auto question = test::pattern(std::size_t{2} << 20);
            auto stream = co_await tcp_stream::connect(where);
            co_await with_nursery([&](nursery& both) -> task<> {
              both.start([&]() -> task<> {
                const auto sent = co_await as_result(stream.write_all(question));
                if (sent) co_await as_result(stream.shutdown_write());
              });
              co_await test::settle(10);
              const auto answer = co_await read_to_the_end(stream);
              require(is_beginning(answer, question),
                      "what comes back is what was sent, as far as it comes");
              require(!run.succeeded() || answer.size() == question.size(), "all of it comes back");
            });
          });
          co_await run.run([&]() -> task<> {
            tcp_stream peer = co_await listener.accept();
            while (auto bytes = co_await peer.read_lease()) co_await peer.write_all(bytes);
          });
          if (!run.succeeded()) co_await listener.stop();
          listener.close();  // a client that was not accepted is reset
        });
      },
      {"accept", "read", "write"});
  EXPECT_EQ(failure, "");
}

TEST(cancel_points, shared_bytes_to_a_slow_peer) {
  const auto content = test::pattern(std::size_t{2} << 20);
  const std::string failure = cancel_everywhere(
      "shared bytes to a slow peer",
      [&](trial& run) -> task<> {
        tcp_listener listener = tcp_listener::bind(any_port);
        const endpoint where = listener.local();
        const shared_bytes message{const_buffer(content)};
        co_await with_nursery([&](nursery& others) -> task<> {
          others.start([&]() -> task<> {
            auto stream = co_await tcp_stream::connect(where);
            co_await test::settle(10);
            const auto received = co_await read_to_the_end(stream);
            require(received.size() <= 2 * content.size(), "nothing is invented");
            const std::size_t first = std::min(received.size(), content.size());
            require(std::equal(received.begin(), received.begin() + static_cast<long>(first),
                               content.begin()),
                    "what comes is the message, as far as it comes");
            require(!run.succeeded() || received.size() == 2 * content.size(),
                    "it comes whole, both times");
          });
          co_await run.run([&]() -> task<> {
            tcp_stream peer = co_await listener.accept();
            peer.set_zero_copy(zero_copy::always);
            co_await peer.write_all(message);
            co_await peer.write_all(message);
          });
          if (!run.succeeded()) co_await listener.stop();
          listener.close();  // a client that was not accepted is reset
        });
        while (message.owner_count() != 1) co_await sleep_for(1ms);
      },
      {"accept", "write"});
  EXPECT_EQ(failure, "");
}

TEST(cancel_points, udp_exchange) {
  const std::string failure = cancel_everywhere(
      "udp exchange",
      [](trial& run) -> task<> {
        udp_socket service = udp_socket::bind(any_port);
        const endpoint where = service.local();
        test::datagram_counts so_far;
        co_await with_nursery([&](nursery& others) -> task<> {
          others.start([&]() -> task<> {
            for (;;) {
              const datagram message = co_await service.receive();
              co_await as_result(service.send_to(message.bytes(), message.peer()));
            }
          });
          co_await run.run([&] { return test::ask_datagrams(where, so_far); });
          require(!run.succeeded() || so_far.answered == 4, "every question is answered");
          test::datagram_counts again;
          co_await test::ask_datagrams(where, again);
          require(again.answered == 4, "the service goes on");
          others.cancel();
        });
      },
      {"recv"});
  EXPECT_EQ(failure, "");
}

TEST(cancel_points, proxy) {
  const std::string failure = cancel_everywhere(
      "proxy",
      [](trial& run) -> task<> {
        tcp_listener server = tcp_listener::bind(any_port);
        tcp_listener middle = tcp_listener::bind(any_port);
        const endpoint behind = server.local();
        const endpoint where = middle.local();
        conversation so_far;
        co_await with_nursery([&](nursery& others) -> task<> {
          others.start(echo_service, std::ref(server));
          others.start([&]() -> task<> {
            try {
              co_await test::talk(where, so_far);
            } catch (const io_error&) {  // the proxy is gone
            }
          });
          co_await run.run([&]() -> task<> {
            tcp_stream peer = co_await middle.accept();
            co_await test::pass_on(std::move(peer), behind);
          });
          require(!run.succeeded() || so_far.answered == 2, "a whole session has its answers");
          middle.close();
          co_await expect_service(behind);
          others.cancel();
        });
      },
      {"accept", "connect", "read"});
  EXPECT_EQ(failure, "");
}

TEST(cancel_points, file_to_a_socket) {
  const test::temporary_folder folder;
  const auto content = test::pattern(std::size_t{4} << 20);
  const std::string path = folder.made("page", const_buffer(content).text());
  const std::string failure = cancel_everywhere(
      "file to a socket",
      [&](trial& run) -> task<> {
        tcp_listener listener = tcp_listener::bind(any_port);
        const endpoint where = listener.local();
        co_await with_nursery([&](nursery& others) -> task<> {
          others.start([&]() -> task<> {
            auto stream = co_await tcp_stream::connect(where);
            co_await test::settle(10);
            const auto received = co_await read_to_the_end(stream);
            require(is_beginning(received, content), "what comes is the file");
            require(!run.succeeded() || received.size() == content.size(), "it comes whole");
          });
          co_await run.run([&]() -> task<> {
            tcp_stream peer = co_await listener.accept();
            file page = co_await file::open(path);
            const file_status status = co_await page.stat();
            co_await peer.send_file(page, 0, status.size);
            co_await page.close();
          });
          listener.close();
        });
      },
      {"open", "stat", "poll"});
  EXPECT_EQ(failure, "");
}

TEST(cancel_points, resolve_and_connect) {
  const std::string failure = cancel_everywhere(
      "resolve and connect",
      [](trial& run) -> task<> {
        test::name_server names([](const test::query& q) {
          const address found = q.is_a() ? address::loopback_v4() : address::loopback_v6();
          return std::vector<test::bytes>{test::message(q).ip(q.name, found)};
        });
        tcp_listener listener = tcp_listener::bind(any_port);
        const endpoint where = listener.local();
        const test::known_hosts known("", names.where());
        connect_options how;
        how.with = known.with.get();
        conversation so_far;
        co_await with_nursery([&](nursery& others) -> task<> {
          others.start([&] { return names.run(); });
          others.start(echo_service, std::ref(listener));
          co_await run.run([&]() -> task<> {
            auto stream = co_await connect("server.example", where.port(), how);
            co_await ask(stream, "hello", so_far);
          });
          require(!run.succeeded() || so_far.answered == 1, "a whole session has its answer");
          co_await expect_service(where);
          others.cancel();
        });
      },
      {"connect", "recv", "read"});
  EXPECT_EQ(failure, "");
}

TEST(cancel_points, serve_with_drain) {
  const std::string failure = cancel_everywhere(
      "serve with drain",
      [](trial& run) -> task<> {
        tcp_listener listener = tcp_listener::bind(any_port);
        const endpoint where = listener.local();
        serve_statistics counts;
        serve_limits limits;
        limits.statistics = &counts;
        unsigned answered = 0;
        unsigned received = 0;
        const auto slow_answer = [&](tcp_stream peer) -> task<> {
          co_await test::settle(3);
          co_await peer.write_all(const_buffer("done"));
          ++answered;
        };
        co_await with_nursery([&](nursery& others) -> task<> {
          for (int i = 0; i < 3; ++i) {
            others.start([&, i]() -> task<> {
              co_await test::settle(2 * i);
              try {
                auto stream = co_await tcp_stream::connect(where);
                char buffer[4];
                if (co_await stream.read_exactly(mutable_buffer(buffer))) ++received;
              } catch (const io_error&) {  // refused or reset: drained before it was accepted
              }
              if (received == 3) run.stop();
            });
          }
          co_await run.run([&]() -> task<> { co_await serve(listener, slow_answer, limits); });
          require(answered == counts.accepted_count, "what was accepted is answered");
        });
        require(received == answered, "and the answers arrive");
        require(run.has_struck() || received == 3, "undisturbed, all have an answer");
      },
      {"serve", "accept"});
  EXPECT_EQ(failure, "");
}

TEST(cancel_points, unix_echo_session) {
  const std::string failure = cancel_everywhere(
      "unix echo session",
      [](trial& run) -> task<> {
        const endpoint where =
            *endpoint::unix_abstract("rill-cancel-points-" + std::to_string(::getpid()));
        unix_listener listener = unix_listener::bind(where);
        conversation so_far;
        co_await with_nursery([&](nursery& others) -> task<> {
          others.start([&]() -> task<> {
            const auto echo = [](unix_stream peer) -> task<> {
              while (auto bytes = co_await peer.read_lease()) co_await peer.write_all(bytes);
            };
            co_await serve(listener, echo);
          });
          co_await run.run([&]() -> task<> {
            auto stream = co_await unix_stream::connect(where);
            co_await ask(stream, "hello", so_far);
            co_await ask(stream, std::string(100'000, 'u'), so_far);
          });
          require(!run.succeeded() || so_far.answered == 2, "a whole session has its answers");
          conversation again;
          auto stream = co_await unix_stream::connect(where);
          co_await ask(stream, "still there?", again);
          others.cancel();
        });
      },
      {"connect", "read", "write"});
  EXPECT_EQ(failure, "");
}

TEST(cancel_points, channel_between_loops) {
  const std::string failure = cancel_everywhere(
      "channel between loops",
      [](trial& run) -> task<> {
        remote_channel<int> made(2);
        std::vector<int> received;
        run.other_thread = std::thread([sender = std::move(made.sender)]() mutable {
          int sent = 0;
          test::run_loop([&] { return test::send_eight(std::move(sender), sent); });
        });
        co_await run.run([&]() -> task<> {
          auto receiver = std::move(made.receiver);
          while (auto value = co_await receiver.receive()) received.push_back(*value);
        });
        for (std::size_t i = 0; i < received.size(); ++i) {
          require(received[i] == static_cast<int>(i), "values arrive once and in order");
        }
        require(!run.succeeded() || received.size() == 8, "all of them arrive");
      },
      {"remote"});
  EXPECT_EQ(failure, "");
}

TEST(cancel_points, canary_a_session_that_leaves_a_descriptor_open_is_caught) {
  std::vector<int> left;
  const std::string failure =
      cancel_everywhere("canary",
                        [&](trial& run) -> task<> {
                          co_await run.run([&]() -> task<> {
                            const int descriptor = ::dup(0);
                            left.push_back(descriptor);
                            co_await test::settle(3);  // cancelled here, it stays open
                            ::close(descriptor);
                            left.pop_back();
                          });
                        },
                        {});
  EXPECT_EQ(failure, "canary, cancelled in turn 0:  a descriptor is left");
  for (const int each : left) ::close(each);
}

}  // namespace
}  // namespace rill
