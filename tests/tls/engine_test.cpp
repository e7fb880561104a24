// The engine without any stream: two of them, and what lies between cut, changed and replaced.
#include <rill/net/tls/engine.h>

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include "support/certificates.h"
#include "support/streams.h"
#include <rill/runtime/kernel.h>

namespace rill::test {
namespace {

using tls::tls_error;
using tls::detail::engine;
using tls::detail::piece_cursor;
using bytes = std::vector<std::byte>;

bytes bytes_of(std::string_view text) {
  const const_buffer from(text);
  return {from.data(), from.data() + from.size()};
}

class tls_engine : public testing::Test {
 protected:
  std::unique_ptr<engine> client(tls::version newest = tls::version::tls1_3) {
    tls::client_options options = trusting_options();
    options.version_max = newest;
    return std::make_unique<engine>(tls::client_context(options), "server.test", *seam_);
  }
  std::unique_ptr<engine> server() { return std::make_unique<engine>(server_, *seam_); }

  static bytes output_of(engine& of) { return std::exchange(of.output(), {}); }

  /// Gives input in parts of `size` at most; what the handshake says in the end.
  static engine::progress feed(engine& to, const bytes& input, std::size_t size) {
    engine::progress now = to.handshake();
    for (std::size_t at = 0; at < input.size(); at += size) {
      if (now == engine::progress::failed) break;
      to.set_input(std::span(input).subspan(at, std::min(size, input.size() - at)));
      now = to.handshake();
      if (now == engine::progress::done) to.can_read();  // what follows: tickets
    }
    return now;
  }

  /// Until both are done or one has failed.
  static void shake(engine& left, engine& right, std::size_t size = SIZE_MAX / 2) {
    left.handshake();
    for (int i = 0; i < 10; ++i) {
      feed(right, output_of(left), size);
      if (left.failure() || right.failure()) break;
      feed(left, output_of(right), size);
      if (left.failure() || right.failure()) break;
    }
  }

  static bytes encrypted(engine& by, std::string_view text) {
    const const_buffer pieces[] = {const_buffer(text)};
    piece_cursor from(pieces);
    while (by.encrypt(from)) {
      const std::size_t before = by.output().size();
      by.encrypt(from);
      if (by.output().size() == before) break;
    }
    return output_of(by);
  }

  /// All plaintext that comes out for this input.
  static std::string read(engine& by, const bytes& input) {
    std::string all;
    by.set_input(input);
    while (by.can_read() && !by.has_ended() && !by.failure()) {
      std::byte room[1000];
      const std::size_t size = by.read(room);
      all.append(reinterpret_cast<const char*>(room), size);
      if (size == 0) break;
    }
    return all;
  }

 private:
  std::unique_ptr<kernel> seam_ = make_kernel("auto");
  tls::server_context server_{test_certificate().loaded()};
};

TEST_F(tls_engine, a_handshake_in_single_bytes_is_one_in_whole) {
  for (const tls::version newest : {tls::version::tls1_2, tls::version::tls1_3}) {
    for (const std::size_t size : {std::size_t{1}, std::size_t{2}, std::size_t{7}}) {
      const auto left = client(newest);
      const auto right = server();
      shake(*left, *right, size);
      EXPECT_EQ(left->failure(), std::error_code());
      EXPECT_EQ(right->failure(), std::error_code());
      EXPECT_EQ(left->handshake(), engine::progress::done);
      EXPECT_EQ(right->handshake(), engine::progress::done);
      EXPECT_EQ(read(*right, encrypted(*left, "question")), "question");
      EXPECT_EQ(read(*left, encrypted(*right, "answer")), "answer");
    }
  }
}

TEST_F(tls_engine, a_hello_may_be_split_at_each_byte) {
  const auto left = client();
  left->handshake();
  const bytes hello = output_of(*left);
  for (std::size_t at = 1; at < hello.size(); ++at) {
    const auto right = server();
    right->set_input(std::span(hello).first(at));
    EXPECT_EQ(right->handshake(), engine::progress::wants_input);
    EXPECT_FALSE(right->has_input());
    EXPECT_TRUE(right->output().empty());
    right->set_input(std::span(hello).subspan(at));
    EXPECT_EQ(right->handshake(), engine::progress::wants_input);
    EXPECT_FALSE(right->output().empty()) << at;
  }
}

TEST_F(tls_engine, records_may_be_split_at_each_byte) {
  const auto left = client();
  const auto right = server();
  shake(*left, *right);
  for (std::size_t at = 1; at < 40; ++at) {
    const bytes record = encrypted(*left, "one record");
    ASSERT_LT(at, record.size());
    EXPECT_EQ(read(*right, bytes(record.begin(), record.begin() + static_cast<long>(at))), "")
        << "plaintext before its record was whole";
    EXPECT_EQ(read(*right, bytes(record.begin() + static_cast<long>(at), record.end())),
              "one record");
    if (at + 1 == record.size()) break;
  }
}

TEST_F(tls_engine, a_byte_that_was_changed_on_the_way_ends_the_connection) {
  for (const tls::version newest : {tls::version::tls1_2, tls::version::tls1_3}) {
    const std::size_t size = [&] {
      const auto left = client(newest);
      const auto right = server();
      shake(*left, *right);
      return encrypted(*left, "one record").size();
    }();
    for (std::size_t at = 0; at < size; ++at) {
      const auto left = client(newest);
      const auto right = server();
      shake(*left, *right);
      bytes record = encrypted(*left, "one record");
      record[at] ^= std::byte{0x21};
      // A length that says more waits for more, and then fails as well.
      record.resize(record.size() + 20000, std::byte{0});
      EXPECT_EQ(read(*right, record), "");
      EXPECT_TRUE(right->failure()) << at;
      EXPECT_FALSE(right->output().empty()) << "the peer is told";
      EXPECT_FALSE(right->has_ended());
    }
  }
}

TEST_F(tls_engine, only_close_notify_is_an_end) {
  const auto left = client();
  const auto right = server();
  shake(*left, *right);
  EXPECT_EQ(read(*right, encrypted(*left, "last words")), "last words");
  EXPECT_FALSE(right->can_read());
  left->close_notify();
  const bytes farewell = output_of(*left);
  ASSERT_FALSE(farewell.empty());
  EXPECT_EQ(read(*right, farewell), "");
  EXPECT_TRUE(right->has_ended());
  EXPECT_FALSE(right->failure());
  EXPECT_EQ(read(*left, encrypted(*right, "still here")), "still here");
}

TEST_F(tls_engine, plain_http_is_recognised_on_both_sides) {
  for (const char* const text :
       {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "POST /x HTTP/1.1\r\n\r\n", "HEAD / HTTP/1.0\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\n\r\n", "CONNECT a:443 HTTP/1.1\r\n\r\n",
        "DELETE /x HTTP/1.1\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"}) {
    for (const std::size_t size : {std::size_t{5}, std::size_t{8}, std::size_t{1000}}) {
      const auto right = server();
      EXPECT_EQ(feed(*right, bytes_of(text), size), engine::progress::failed);
      EXPECT_EQ(right->failure(), tls_error::plain_http) << text << size;
    }
  }
  const auto left = client();
  EXPECT_EQ(feed(*left, bytes_of("HTTP/1.1 400 Bad Request\r\n\r\n"), 1000),
            engine::progress::failed);
  EXPECT_EQ(left->failure(), tls_error::plain_http);
}

TEST_F(tls_engine, what_is_no_tls_is_refused_at_once) {
  const std::string garbage[] = {"220 mail.test ESMTP ready\r\n", std::string(100, '\0'),
                                 std::string(100, '\xff'), "SSH-2.0-OpenSSH_9.2\r\n",
                                 std::string("\x80\x2e\x01\x00\x02", 5) + std::string(50, 'x')};
  for (const std::string& each : garbage) {
    const auto right = server();
    EXPECT_EQ(feed(*right, bytes_of(each), 1000), engine::progress::failed);
    EXPECT_EQ(right->failure(), tls_error::not_tls) << each;
    const auto left = client();
    EXPECT_EQ(feed(*left, bytes_of(each), 1000), engine::progress::failed);
    EXPECT_EQ(left->failure(), tls_error::not_tls) << each;
  }
}

TEST_F(tls_engine, noise_in_the_form_of_records_is_refused) {
  for (std::size_t seed = 0; seed < 300; ++seed) {
    bytes noise = pattern(20000, seed);
    noise[0] = static_cast<std::byte>(20 + seed % 5);
    noise[1] = std::byte{3};
    noise[2] = static_cast<std::byte>(seed % 5);
    if (seed % 2 == 0) noise[3] = std::byte{0};
    for (const bool is_client : {true, false}) {
      const auto one = is_client ? client() : server();
      EXPECT_EQ(feed(*one, noise, 1000), engine::progress::failed) << seed;
      EXPECT_TRUE(one->failure());
      EXPECT_LT(one->output().size(), 1000U);
    }
  }
}

TEST_F(tls_engine, a_hello_without_end_is_not_kept) {
  // A handshake message of 16 MiB, of which record after record comes.
  const auto right = server();
  bytes record(5 + 16384, std::byte{0});
  record[0] = std::byte{22};
  record[1] = std::byte{3};
  record[2] = std::byte{1};
  record[3] = std::byte{0x40};
  record[5] = std::byte{1};
  record[6] = std::byte{0xff};
  EXPECT_EQ(feed(*right, record, record.size()), engine::progress::failed);
  EXPECT_TRUE(right->failure());
}

TEST_F(tls_engine, keys_are_renewed_when_the_peer_asks) {
  const auto left = client();
  const auto right = server();
  shake(*left, *right);
  for (int i = 0; i < 10; ++i) {
    SSL_key_update(left->native_handle(), SSL_KEY_UPDATE_REQUESTED);
    EXPECT_EQ(read(*right, encrypted(*left, "with new keys")), "with new keys");
    EXPECT_TRUE(right->output().empty()) << "the answer goes with what is written next";
    EXPECT_EQ(read(*left, encrypted(*right, "with others")), "with others");
    EXPECT_FALSE(left->failure());
    EXPECT_FALSE(right->failure());
  }
}

TEST_F(tls_engine, renegotiation_is_refused) {
  const auto left = client(tls::version::tls1_2);
  const auto right = server();
  shake(*left, *right);
  SSL_clear_options(left->native_handle(), SSL_OP_NO_RENEGOTIATION);
  ASSERT_EQ(SSL_renegotiate(left->native_handle()), 1);
  SSL_do_handshake(left->native_handle());
  EXPECT_EQ(read(*right, output_of(*left)), "");
  EXPECT_FALSE(right->has_ended());
  const bytes answer = output_of(*right);
  EXPECT_FALSE(answer.empty());
  read(*left, answer);
  EXPECT_TRUE(left->failure());
}

TEST_F(tls_engine, small_pieces_share_records_and_large_ones_are_not_copied) {
  std::vector<std::byte> room(16);
  const std::string large(40, 'L');
  const const_buffer pieces[] = {"", "ab", "", "cdef", const_buffer(large), "gh", ""};
  piece_cursor from(pieces);
  std::string sum;
  std::size_t count = 0;
  for (const_buffer part = from.next(room); !part.empty(); part = from.next(room)) {
    EXPECT_LE(part.size(), room.size());
    sum += part.text();
    ++count;
  }
  EXPECT_EQ(sum, "abcdef" + large + "gh");
  EXPECT_EQ(count, 3U);
  EXPECT_TRUE(from.next(room).empty());

  const const_buffer one[] = {const_buffer(large)};
  piece_cursor single(one);
  EXPECT_EQ(single.next({static_cast<std::byte*>(nullptr), 16}).data(), one[0].data());
}

}  // namespace
}  // namespace rill::test
