// A client against servers that misbehave: every request ends with a whole response or an error
// that says what happened, within its time, and nobody is given somebody else's bytes.
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "http/client_peer.h"
#include <rill/protocols/http/connector.h>
#include <rill/runtime/event.h>
#include <rill/runtime/sleep.h>

namespace rill::http {
namespace {

using namespace std::chrono_literals;
using test::direct;
using test::failure_of;
using test::http_peer;
using test::in_virtual_time;
using test::on_linux;
using testing::HasSubstr;

client_request get(const std::string& url) { return client_request("GET", url); }

/// What a client says to a server that answers `text` and closes.
client_error error_after(std::string text) {
  client_error told(client_phase::request, "none", {});
  on_linux(
      [&](http_peer& peer) -> task<> {
        co_await peer.head();
        co_await peer.say(text);
        co_await as_result(peer.stream().shutdown_write());
        co_await peer.wait_for_end();
      },
      [&](const std::string& url) -> task<> {
        client client(direct());
        told = co_await failure_of(client, get(url));
        EXPECT_EQ(client.connection_count(), 0U);
      });
  EXPECT_EQ(told.phase(), client_phase::read) << told.what();
  return told;
}

TEST(http_client_faults, a_response_that_ends_early_is_an_error) {
  for (const char* const text :
       {"", "HTTP/1.1 200 OK\r\nContent-Le", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n"}) {
    EXPECT_EQ(error_after(text).code(), http_error::incomplete) << text;
  }
}

TEST(http_client_faults, garbage_is_an_error) {
  EXPECT_EQ(error_after("SSH-2.0-OpenSSH_9.2\r\n\r\n").code(), http_error::bad_status_line);
  EXPECT_EQ(error_after("HTTP/1.1 2x0 OK\r\n\r\n").code(), http_error::bad_status_line);
  EXPECT_EQ(error_after("HTTP/3.0 200 OK\r\n\r\n").code(), http_error::unsupported_version);
  EXPECT_EQ(error_after("HTTP/1.1 200 OK\r\nA : b\r\n\r\n").code(), http_error::bad_field);
  EXPECT_EQ(error_after("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n"
                        "\r\n0\r\n\r\n")
                .code(),
            http_error::conflicting_length);
  EXPECT_EQ(error_after("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n").code(),
            http_error::bad_chunk);
  EXPECT_EQ(error_after("HTTP/1.1 101 Switching Protocols\r\n\r\n").code(),
            client_fault::unexpected_upgrade);
}

TEST(http_client_faults, what_never_ends_meets_a_limit) {
  EXPECT_EQ(error_after("HTTP/1.1 200 OK\r\nA: " + std::string(100'000, 'a')).code(),
            http_error::head_too_large);
  EXPECT_EQ(error_after("HTTP/1.1 200 " + std::string(100'000, 'a')).code(),
            http_error::start_line_too_long);
  std::string interim;
  for (int i = 0; i < 1000; ++i) interim += "HTTP/1.1 102 Processing\r\n\r\n";
  EXPECT_EQ(error_after(interim).code(), client_fault::too_many_interim);
  on_linux(
      [&](http_peer& peer) -> task<> {
        co_await peer.head();
        co_await peer.say("HTTP/1.1 200 OK\r\n\r\n");
        for (;;) {
          const std::string much(100'000, 'x');
          const auto sent = co_await as_result(peer.stream().write_all(const_buffer(much)));
          if (!sent) co_return;
        }
      },
      [&](const std::string& url) -> task<> {
        client_options options = direct();
        options.body_size_max = 1'000'000;
        client client(std::move(options));
        const client_error error = co_await failure_of(client, get(url));
        EXPECT_EQ(error.code(), http_error::body_too_large);
      });
}

TEST(http_client_faults, silence_ends_at_the_idle_time_out) {
  for (const std::string begun :
       {"", "HTTP/1.1 200 OK\r\nX: y", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab"}) {
    const auto took = in_virtual_time(
        [&](http_peer& peer) -> task<> {
          co_await peer.head();
          co_await peer.say(begun);
          co_await peer.wait_for_end();
        },
        [&](const std::string& url) -> task<> {
          client client(direct());
          const client_error error = co_await failure_of(client, get(url));
          EXPECT_EQ(error.phase(), client_phase::read);
          EXPECT_TRUE(error.is_timeout());
          EXPECT_EQ(error.code(), std::errc::timed_out);
        });
    EXPECT_GE(took, 30s);
    EXPECT_LT(took, 31s);
  }
}

TEST(http_client_faults, dripping_ends_at_the_total_time_out) {
  const auto took = in_virtual_time(
      [](http_peer& peer) -> task<> {
        co_await peer.head();
        co_await peer.say("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
        for (;;) {
          co_await sleep_for(20s);
          co_await peer.say("x");
        }
      },
      [](const std::string& url) -> task<> {
        client client(direct());
        const client_error error = co_await failure_of(client, get(url));
        EXPECT_TRUE(error.is_timeout());
      });
  EXPECT_GE(took, 300s);
  EXPECT_LT(took, 301s);
}

TEST(http_client_faults, a_server_that_takes_nothing_ends_an_upload) {
  const auto took = in_virtual_time(
      [](http_peer& peer) -> task<> {
        co_await peer.head();
        co_await sleep_for(1h);
      },
      [](const std::string& url) -> task<> {
        client client(direct());
        client_request ask("PUT", url);
        ask.text(std::string(20'000'000, 'x'));
        const client_error error = co_await failure_of(client, ask);
        EXPECT_EQ(error.phase(), client_phase::send);
        EXPECT_TRUE(error.is_timeout());
      });
  EXPECT_LT(took, 40s);
}

TEST(http_client_faults, an_upload_that_moves_is_not_idle) {
  in_virtual_time(
      [](http_peer& peer) -> task<> {
        co_await peer.head();
        for (int i = 0; i < 10; ++i) {
          co_await sleep_for(10s);
          co_await peer.bytes(2'000'000);
        }
        co_await peer.answer("taken");
      },
      [](const std::string& url) -> task<> {
        client client(direct());
        const client_response got =
            co_await client.put(url, request_body(std::string(20'000'000, 'x')));
        EXPECT_EQ(got.body(), "taken");
      });
}

TEST(http_client_faults, a_refused_upload_reads_its_answer) {
  on_linux(
      [](http_peer& peer) -> task<> {
        co_await peer.head();
        co_await peer.answer("too much", "Connection: close\r\n", "413 Content Too Large");
        co_await peer.wait_for_end();
      },
      [](const std::string& url) -> task<> {
        client_options options = direct();
        options.continue_size_min = UINT64_MAX;
        client client(std::move(options));
        client_request ask("POST", url);
        ask.text(std::string(50'000'000, 'x'));
        const client_response got = co_await client.send(ask);
        EXPECT_EQ(got.status(), 413);
        EXPECT_EQ(got.body(), "too much");
        EXPECT_EQ(client.connection_count(), 0U);
      });
}

/// A connection whose server takes the head, answers, and closes at once: what is sent after the
/// head fails before the answer is read.
class refusing_stream final : public client_stream {
 public:
  task<result<std::size_t>> fill(loop_clock::time_point) override {
    co_await failed_.wait();
    const std::size_t came = std::exchange(come_, true) ? 0 : answer_.size();
    left_ = came == 0 ? std::string_view() : answer_;
    co_return came;
  }
  const_buffer buffered() const noexcept override { return const_buffer(left_); }
  void consume(std::size_t size) noexcept override { left_.remove_prefix(size); }
  task<result<std::size_t>> write(std::span<const const_buffer> pieces,
                                  loop_clock::time_point) override {
    if (!std::exchange(begun_, true)) co_return pieces.front().size();
    failed_.set();
    co_return tl::unexpected(error::from_errno(EPIPE, "write"));
  }
  const std::string& peer() const noexcept override { return peer_; }

 private:
  std::string_view answer_ = "HTTP/1.1 413 Too Large\r\nContent-Length: 8\r\n\r\ntoo much";
  std::string_view left_;
  std::string peer_ = "server";
  event failed_;
  bool begun_ = false;
  bool come_ = false;
};

class refusing_connector final : public connector {
 public:
  task<std::unique_ptr<client_stream>> open(const destination&, client_phase&) override {
    co_return std::make_unique<refusing_stream>();
  }
};

TEST(http_client_faults, an_upload_that_could_not_be_sent_reads_its_answer) {
  const auto produce = [](body_writer& to) -> task<void> { co_await to.write("some text"); };
  const std::vector<request_body> bodies = {request_body(std::string(100'000, 'x'), "text/plain"),
                                            request_body::stream(produce, std::nullopt),
                                            request_body::stream(produce, 9)};
  for (const request_body& body : bodies) {
    test::run_loop([&]() -> task<> {
      refusing_connector with;
      client_options options = direct();
      options.continue_timeout = 0s;
      options.with = &with;
      client client(std::move(options));
      client_request ask("POST", "http://server/");
      ask.body(body);
      const client_response got = co_await client.send(ask);
      EXPECT_EQ(got.status(), 413);
      EXPECT_EQ(got.body(), "too much");
      EXPECT_EQ(client.connection_count(), 0U);
    });
  }
}

TEST(http_client_faults, a_large_upload_is_announced) {
  std::vector<std::string> heads;
  const auto took = in_virtual_time(
      [&](http_peer& peer) -> task<> {
        heads.push_back(co_await peer.head());
        if (peer.number() == 0) {  // says so
          co_await peer.say("HTTP/1.1 100 Continue\r\n\r\n");
          co_await peer.bytes(2'000'000);
          co_await peer.answer("first");
        } else if (peer.number() == 1) {  // has never heard of it
          co_await peer.bytes(2'000'000);
          co_await peer.answer("second");
        } else if (peer.number() == 2) {  // wants it without
          co_await peer.answer("", {}, "417 Expectation Failed");
        } else if (peer.number() == 3) {
          co_await peer.bytes(2'000'000);
          co_await peer.answer("third");
        } else {  // wants it not
          co_await peer.answer("no", {}, "403 Forbidden");
          EXPECT_EQ(co_await peer.bytes(1), "");
        }
        co_return;
      },
      [&](const std::string& url) -> task<> {
        for (const std::string expected : {"first", "second", "third", "no"}) {
          client client(direct());
          const client_response got =
              co_await client.post(url, request_body(std::string(2'000'000, 'x')));
          EXPECT_EQ(got.body(), expected);
        }
      });
  ASSERT_EQ(heads.size(), 5U);
  EXPECT_THAT(heads[0], HasSubstr("Expect: 100-continue\r\n"));
  EXPECT_THAT(heads[3], testing::Not(HasSubstr("Expect")));
  EXPECT_GE(took, 1s);  // for the second
  EXPECT_LT(took, 3s);
}

TEST(http_client_faults, extra_bytes_answer_no_later_request) {
  std::vector<int> connections;
  on_linux(
      [&](http_peer& peer) -> task<> {
        const std::string head = co_await peer.head();
        connections.push_back(peer.number());
        co_await peer.say(
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n"
            "Content-Length: 6\r\n\r\nforged");
        co_await peer.wait_for_end();
      },
      [&](const std::string& url) -> task<> {
        client client(direct());
        for (int i = 0; i < 3; ++i) {
          const client_response got = co_await client.get(url);
          EXPECT_EQ(got.body(), "ok");
          EXPECT_EQ(client.idle_count(), 0U);
        }
      });
  EXPECT_EQ(connections, (std::vector<int>{0, 1, 2}));
}

TEST(http_client_faults, bytes_on_an_idle_connection_discard_it) {
  int count = 0;
  on_linux(
      [&](http_peer& peer) -> task<> {
        ++count;
        co_await peer.head();
        co_await peer.answer("mine");
        if (peer.number() == 0) {
          co_await peer.say("HTTP/1.1 408 Request Timeout\r\nContent-Length: 6\r\n\r\nforged");
        }
        co_await peer.wait_for_end();
      },
      [&](const std::string& url) -> task<> {
        client client(direct());
        for (int i = 0; i < 2; ++i) {
          const client_response got = co_await client.get(url);
          EXPECT_EQ(got.body(), "mine");
          co_await test::settle(20);
        }
      });
  EXPECT_EQ(count, 2);
}

TEST(http_client_faults, connections_closed_while_idle_are_not_used) {
  int count = 0;
  on_linux(
      [&](http_peer& peer) -> task<> {
        ++count;
        co_await peer.head();
        co_await peer.answer("ok");  // and closes
      },
      [&](const std::string& url) -> task<> {
        client client(direct());
        for (int i = 0; i < 5; ++i) {
          // A POST, which must not be sent twice.
          const client_response got = co_await client.post(url, request_body());
          EXPECT_EQ(got.body(), "ok");
          co_await test::settle(20);
        }
      });
  EXPECT_EQ(count, 5);
}

/// The server answers once and closes as the second request arrives.
task<> closes_at_the_second_request(http_peer& peer) {
  co_await peer.head();
  co_await peer.answer("ok");
  if (peer.number() != 0) co_return co_await peer.wait_for_end();
  co_await peer.head();
}

TEST(http_client_faults, a_request_that_met_a_closing_connection_is_sent_once_more) {
  on_linux(closes_at_the_second_request, [](const std::string& url) -> task<> {
    client client(direct());
    co_await client.get(url);
    const client_response second = co_await client.get(url);
    EXPECT_EQ(second.body(), "ok");
  });
}

TEST(http_client_faults, but_not_one_that_must_not_be_sent_twice) {
  on_linux(closes_at_the_second_request, [](const std::string& url) -> task<> {
    client client(direct());
    co_await client.get(url);
    const client_error error = co_await failure_of(client, client_request("POST", url));
    EXPECT_EQ(error.code(), http_error::incomplete) << error.what();
  });
}

TEST(http_client_faults, nor_one_whose_answer_had_begun) {
  int count = 0;
  on_linux(
      [&](http_peer& peer) -> task<> {
        ++count;
        co_await peer.head();
        co_await peer.answer("ok");
        co_await peer.head();
        co_await peer.say("HTTP/1.1 2");
      },
      [](const std::string& url) -> task<> {
        client client(direct());
        co_await client.get(url);
        const client_error error = co_await failure_of(client, get(url));
        EXPECT_EQ(error.code(), http_error::incomplete) << error.what();
      });
  EXPECT_EQ(count, 1);
}

TEST(http_client_faults, a_server_that_half_closes_after_its_answer_is_understood) {
  on_linux(
      [](http_peer& peer) -> task<> {
        co_await peer.head();
        co_await peer.answer("whole");
        co_await as_result(peer.stream().shutdown_write());
        co_await peer.wait_for_end();
      },
      [](const std::string& url) -> task<> {
        client client(direct());
        for (int i = 0; i < 3; ++i) {
          const client_response got = co_await client.get(url);
          EXPECT_EQ(got.body(), "whole");
        }
      });
}

TEST(http_client_faults, a_reset_in_the_middle_is_told_with_its_peer) {
  on_linux(
      [](http_peer& peer) -> task<> {
        co_await peer.head();
        co_await peer.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab");
        co_await test::settle(20);
        peer.stream().set_linger(0s);
      },
      [](const std::string& url) -> task<> {
        client client(direct());
        const client_error error = co_await failure_of(client, get(url));
        EXPECT_EQ(error.code(), std::errc::connection_reset);
        EXPECT_EQ(std::string(error.what()),
                  "GET " + url + "/: read " + url.substr(7) + ": Connection reset by peer");
      });
}

TEST(http_client_faults, a_client_goes_on_after_a_request_was_given_up) {
  on_linux(
      [](http_peer& peer) -> task<> {
        co_await peer.head();
        if (peer.number() == 0) co_await peer.wait_for_end();
        co_await peer.answer("ok");
        co_await peer.wait_for_end();
      },
      [](const std::string& url) -> task<> {
        client client(direct());
        bool gave_up = false;
        try {
          co_await with_timeout(20ms, client.get(url));
        } catch (const timeout_error&) {
          gave_up = true;
        }
        EXPECT_TRUE(gave_up);
        EXPECT_EQ(client.connection_count(), 0U);
        const client_response got = co_await client.get(url);
        EXPECT_EQ(got.body(), "ok");
      });
}

/// Answers each request with its path, when its body is there.
task<> tell_paths(http_peer& peer) {
  for (;;) {
    const std::string head = co_await peer.head();
    if (head.empty()) co_return;
    const std::size_t at = head.find("Content-Length: ");
    if (at != head.npos) co_await peer.bytes(std::stoul(head.substr(at + 16)));
    const std::size_t path = head.find(' ') + 1;
    co_await peer.answer(head.substr(path, head.find(' ', path) - path));
  }
}

TEST(http_client_faults, a_request_can_be_cancelled_at_every_turn) {
  int completed = 0;
  on_linux(tell_paths, [&](const std::string& url) -> task<> {
    client client(direct());
    for (int turns = 0; turns < 80; ++turns) {
      co_await with_nursery([&](nursery& tasks) -> task<> {
        tasks.start([&]() -> task<> {
          co_await client.get(url + "/given/up");
          client_request ask("PUT", url + "/given/up");
          ask.text(std::string(200'000, 'x'));
          co_await client.send(ask);
          ++completed;
        });
        co_await test::settle(turns);
        tasks.cancel();
      });
      EXPECT_EQ(client.connection_count(), client.idle_count());
      const std::string path = "/after/" + std::to_string(turns);
      const client_response got = co_await client.get(url + path);
      EXPECT_EQ(got.body(), path);
    }
  });
  EXPECT_GT(completed, 0);  // so every turn of it was tried
}

}  // namespace
}  // namespace rill::http
