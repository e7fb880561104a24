// What only TLS streams do: ends that are told apart, alerts, handshakes that fail half-way.
#include <chrono>
#include <optional>
#include <string>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include "support/streams.h"
#include "tls/handshake.h"
#include "tls/pairs.h"
#include <rill/runtime/nursery.h>

namespace rill::test {
namespace {

using namespace std::chrono_literals;
using tls::tls_error;
using secure_stream = tls_stream<memory_stream>;

/// Runs body(client, server), connected.
template <class Body>
void with_pair(Body body) {
  run_loop([&]() -> task<> {
    std::pair<secure_stream, secure_stream> pair = co_await over_tls<memory_maker>::make();
    co_await body(pair.first, pair.second);
  });
}

/// What the other end of `below` reads and writes is ours to choose.
template <class Body>
std::string accept_error(Body peer, std::error_code* code = nullptr) {
  std::string said = "nothing was refused";
  run_loop([&]() -> task<> {
    auto [left, right] = memory_stream_pair();
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        memory_stream mine = std::move(left);
        co_await peer(mine);
      });
      try {
        auto secure = co_await tls::accept(std::move(right), serving(), 50ms);
      } catch (const io_error& error) {
        said = error.what();
        if (code != nullptr) *code = error.code();
      }
    });
  });
  return said;
}

TEST(tls_streams, a_transport_that_ends_early_is_no_end) {
  with_pair([](secure_stream& left, secure_stream& right) -> task<> {
    co_await left.write_all("all there is");
    {
      const secure_stream dropped = std::move(left);
    }
    const std::string came = co_await read_text(right, 12);
    EXPECT_EQ(came, "all there is");
    for (int i = 0; i < 2; ++i) {
      const auto end = co_await as_result(right.read_lease());
      EXPECT_TRUE(!end && end.error() == make_error_code(tls_error::truncated));
    }
    std::string said;
    try {
      char room[8];
      co_await right.read(room);
    } catch (const io_error& error) {
      said = error.what();
    }
    EXPECT_EQ(said, "read: the connection ended without close_notify, bytes may be missing");
  });
}

TEST(tls_streams, a_close_delimited_body_that_was_cut_is_an_error) {
  with_pair([](secure_stream& left, secure_stream& right) -> task<> {
    co_await left.write_all("half of the b");
    {
      const secure_stream dropped = std::move(left);
    }
    bool is_refused = false;
    try {
      co_await read_all(right, 1000);
    } catch (const io_error& error) {
      is_refused = error.code() == tls_error::truncated;
    }
    EXPECT_TRUE(is_refused);
  });
}

TEST(tls_streams, kernel_tls_is_reported) {
  with_pair([](secure_stream& left, secure_stream&) -> task<> {
    EXPECT_FALSE(left.uses_kernel_tls());
    EXPECT_NE(left.why_not_kernel_tls(), "");
    EXPECT_EQ(left.cipher().substr(0, 4), "TLS_");
    co_return;
  });
}

TEST(tls_streams, an_error_names_the_host) {
  with_pair([](secure_stream& left, secure_stream& right) -> task<> {
    {
      const secure_stream dropped = std::move(right);
    }
    std::string said;
    try {
      co_await left.read_lease();
    } catch (const io_error& error) {
      said = error.what();
    }
    EXPECT_EQ(said.substr(0, 18), "read server.test: ");
  });
}

TEST(tls_streams, keys_are_renewed_while_both_sides_talk) {
  with_pair([](secure_stream& left, secure_stream& right) -> task<> {
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        while (lease bytes = co_await right.read_lease()) co_await right.write_all(bytes);
        co_await right.shutdown_write();
      });
      for (int i = 0; i < 20; ++i) {
        SSL_key_update(left.native_handle(), SSL_KEY_UPDATE_REQUESTED);
        if (i % 3 == 0) SSL_key_update(right.native_handle(), SSL_KEY_UPDATE_REQUESTED);
        const std::string question = "question " + std::to_string(i);
        co_await left.write_all(question);
        const std::string answer = co_await read_text(left, question.size());
        EXPECT_EQ(answer, question);
      }
      co_await left.shutdown_write();
      const lease end = co_await left.read_lease();
      EXPECT_TRUE(end.empty());
    });
  });
}

TEST(tls_streams, what_a_closing_stream_cannot_say_it_does_not_wait_for) {
  with_pair([](secure_stream& left, secure_stream&) -> task<> {
    // The peer reads nothing, so not even a close_notify fits.
    const std::string much(65536 - 200, 'm');
    co_await as_result(with_timeout(20ms, left.write_all(much)));
    const auto before = loop_clock::now();
    co_await left.close();
    EXPECT_LT(loop_clock::now() - before, 3s);
  });
}

TEST(tls_streams, a_cancelled_handshake_closes_the_transport) {
  run_loop([]() -> task<> {
    auto [left, right] = memory_stream_pair();
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        co_await tls::connect(std::move(left), trusting(), std::string("server.test"));
      });
      co_await settle();
      tasks.cancel();
    });
    const std::vector<std::byte> hello = co_await drain(right);  // and then the end
    EXPECT_FALSE(hello.empty());
  });
}

TEST(tls_streams, a_handshake_that_takes_too_long_ends) {
  std::error_code code;
  const auto silent = [](memory_stream& peer) -> task<> { co_await drain(peer); };
  EXPECT_EQ(accept_error(silent, &code), "TLS handshake: Connection timed out");
  EXPECT_EQ(code, std::errc::timed_out);
}

TEST(tls_streams, a_peer_that_leaves_during_the_handshake_is_named) {
  const auto leave = [](memory_stream& peer) -> task<> { co_await peer.close(); };
  EXPECT_EQ(accept_error(leave), "TLS handshake: the stream ended in the middle of a message");
}

TEST(tls_streams, who_does_not_speak_tls_is_named_and_gets_no_answer) {
  const std::pair<const char*, const char*> each_of[] = {
      {"GET / HTTP/1.1\r\nHost: server.test\r\n\r\n",
       "TLS handshake: the peer speaks plain HTTP, not TLS"},
      {"EHLO client.test\r\n", "TLS handshake: the peer does not speak TLS"}};
  for (const auto& [said, refusal] : each_of) {
    std::string answer;
    const auto ask = [&](memory_stream& peer) -> task<> {
      co_await peer.write_all(said);
      answer = co_await read_all(peer, 1000);
    };
    EXPECT_EQ(accept_error(ask), refusal);
    EXPECT_EQ(answer, "");
  }
}

TEST(tls_streams, a_refused_peer_that_goes_on_sending_is_read_to_a_limit) {
  std::size_t sent = 0;
  const auto flood = [&](memory_stream& peer) -> task<> {
    const std::string noise(1000, 'x');
    for (int i = 0; i < 1000; ++i) {
      const auto written = co_await as_result(peer.write_all(noise));
      if (!written) break;
      sent += noise.size();
    }
  };
  EXPECT_EQ(accept_error(flood), "TLS handshake: the peer does not speak TLS");
  EXPECT_LT(sent, 300'000U);
}

TEST(tls_streams, a_transport_that_fails_is_reported_as_it_is) {
  run_loop([]() -> task<> {
    for (std::uint64_t after : {0U, 1U, 100U, 1000U}) {
      auto [left, right] = memory_stream_pair();
      left.fail_reads_after(after, ECONNRESET);
      tls_meeting seen;
      co_await all_of(meet_server(std::move(left), trusting(), "server.test", seen.client),
                      meet_client(std::move(right), serving(), seen.server));
      EXPECT_EQ(seen.client.code, std::errc::connection_reset) << after;
      EXPECT_TRUE(seen.server.code || after == 1000U);
    }
    auto [left, right] = memory_stream_pair();
    left.fail_writes_after(10, EPIPE);
    tls_meeting seen;
    co_await all_of(meet_server(std::move(left), trusting(), "server.test", seen.client),
                    meet_client(std::move(right), serving(), seen.server));
    EXPECT_EQ(seen.client.text, "TLS handshake server.test: Broken pipe");
  });
}

/// A message of so many bytes, of which the last is changed on its way.
void harm_message(std::size_t size) {
  run_loop([&]() -> task<> {
    auto [left, right] = memory_stream_pair();
    auto [front, back] = memory_stream_pair();
    // left <-> right: the client and a middle that changes one byte; front <-> back: the server.
    co_await with_nursery([&](nursery& tasks) -> task<> {
      bool is_harmful = false;
      tasks.start([&]() -> task<> {
        while (lease bytes = co_await right.read_lease()) {
          std::vector<std::byte> copy(bytes.data(), bytes.data() + bytes.size());
          if (is_harmful) copy.back() ^= std::byte{1};
          co_await front.write_all(copy);
        }
        co_await front.shutdown_write();
      });
      tasks.start([&]() -> task<> { co_await copy(front, right); });
      auto [client, server] =
          co_await all_of(tls::connect(std::move(left), trusting(), std::string("server.test")),
                          tls::accept(std::move(back), serving()));
      is_harmful = true;
      co_await client.write_all(std::string(size, 'm'));
      std::size_t whole = 0;  // records before the one that is broken
      auto came = co_await as_result(server.read_lease());
      while (came && !came->empty()) {
        whole += came->size();
        came = co_await as_result(server.read_lease());
      }
      EXPECT_EQ(whole, (size - 1) / 16384 * 16384);
      EXPECT_TRUE(!came && came.error().code().category() == tls::tls_category());
      const auto sent = co_await as_result(server.write_all("answer"));
      EXPECT_TRUE(!sent && !came && sent.error().code() == came.error().code());
      co_await server.close();
      const auto told = co_await as_result(client.read_lease());
      EXPECT_TRUE(!told && told.error().code().value() == tls::alert_base + 20)  // bad_record_mac
          << told.error().message();
      co_await client.close();
    });
  });
}

TEST(tls_streams, a_broken_record_breaks_both_directions_and_the_peer_is_told) {
  harm_message(17);
  harm_message(20'000);  // found without waiting, after the first record
}

}  // namespace
}  // namespace rill::test
