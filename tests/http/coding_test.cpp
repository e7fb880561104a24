// gzip, deflate and br: what is encoded comes back however it is cut, and what strangers send makes
// an error at most.
#include <rill/protocols/http/coding.h>

#include <cstddef>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

namespace rill::http {
namespace {

constexpr coding all_codings[] = {coding::gzip, coding::deflate, coding::brotli};

std::string encoded(coding with, std::string_view text) {
  content_encoder encoder(with);
  std::string made;
  encoder.encode(text, made);
  encoder.finish(made);
  return made;
}

/// Fed in pieces of `step` bytes, each in memory of its own.
std::string decoded(coding from, std::string_view bytes, std::size_t step = 1'000'000,
                    const decode_limits& limits = decode_limits()) {
  content_decoder decoder(from, limits);
  std::string made;
  while (!bytes.empty()) {
    const std::string piece(bytes.substr(0, step));
    bytes.remove_prefix(piece.size());
    if (!decoder.decode(piece, [&](std::string_view part) { made += part; })) break;
  }
  if (decoder.end()) return made;
  return std::string(message_of(decoder.error()));
}

std::string sample(std::size_t size) {
  std::string text;
  for (int i = 0; text.size() < size; ++i) text += "line " + std::to_string(i * i) + "\n";
  return text;
}

std::string of_bytes(std::initializer_list<int> bytes) {
  std::string made;
  for (const int each : bytes) made += static_cast<char>(each);
  return made;
}

TEST(http_coding, what_is_encoded_comes_back_however_it_is_cut) {
  for (const coding each : all_codings) {
    for (const std::size_t size : {0U, 1U, 100U, 200'000U}) {
      const std::string text = sample(size);
      const std::string bytes = encoded(each, text);
      EXPECT_EQ(decoded(each, bytes), text) << name_of(each);
      EXPECT_EQ(decoded(each, bytes, 1), text) << name_of(each);
      EXPECT_EQ(decoded(each, bytes, 7), text) << name_of(each);
      EXPECT_LT(bytes.size(), text.size() / 3 + 100);
    }
  }
}

TEST(http_coding, what_was_flushed_can_be_read) {
  for (const coding each : all_codings) {
    content_encoder encoder(each);
    content_decoder decoder(each);
    std::string read;
    for (int i = 0; i < 100; ++i) {
      std::string bytes;
      encoder.encode(std::to_string(i), bytes);
      encoder.flush(bytes);
      read.clear();
      EXPECT_TRUE(decoder.decode(bytes, [&](std::string_view part) { read += part; }));
      EXPECT_EQ(read, std::to_string(i)) << name_of(each);
    }
    EXPECT_FALSE(decoder.end());
    EXPECT_EQ(decoder.error(), decode_error::incomplete);
  }
}

TEST(http_coding, others_streams_are_read) {
  // gzip of Python with a name in its header, deflate with and without the header of zlib, br.
  const std::string raw = of_bytes({0xcb, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00});
  EXPECT_EQ(decoded(coding::deflate, raw), "hello");
  EXPECT_EQ(decoded(coding::deflate, raw, 1), "hello");
  EXPECT_EQ(decoded(coding::deflate, of_bytes({0x03, 0x00})), "");  // raw, and empty
  EXPECT_EQ(
      decoded(coding::deflate, of_bytes({0x78, 0x9c}) + raw + of_bytes({0x06, 0x2c, 0x02, 0x15})),
      "hello");
  EXPECT_EQ(
      decoded(coding::gzip, of_bytes({0x1f, 0x8b, 0x08, 0x08, 0, 0, 0, 0, 0x02, 0xff, 'a', 0}) +
                                raw + of_bytes({0x86, 0xa6, 0x10, 0x36, 0x05, 0, 0, 0})),
      "hello");
  EXPECT_EQ(decoded(coding::brotli, of_bytes({0x0b, 0x02, 0x80, 'h', 'e', 'l', 'l', 'o', 0x03})),
            "hello");
}

TEST(http_coding, gzip_may_have_members_and_nothing_else_behind_its_end) {
  const std::string one = encoded(coding::gzip, "one");
  EXPECT_EQ(decoded(coding::gzip, one + encoded(coding::gzip, "two")), "onetwo");
  EXPECT_EQ(decoded(coding::gzip, one + encoded(coding::gzip, "two"), 1), "onetwo");
  for (const coding each : all_codings) {
    EXPECT_EQ(decoded(each, encoded(each, "one") + "xx"), "compressed content is corrupt");
    EXPECT_EQ(decoded(each, encoded(each, "one") + "xx", 1), "compressed content is corrupt");
  }
  EXPECT_EQ(decoded(coding::deflate, of_bytes({0x03, 0x00, 0x00})),
            "compressed content is corrupt");
  EXPECT_EQ(decoded(coding::deflate, encoded(coding::deflate, "one") + one),
            "compressed content is corrupt");
}

TEST(http_coding, an_early_end_is_told_and_nothing_at_all_is_empty) {
  for (const coding each : all_codings) {
    const std::string bytes = encoded(each, sample(300));
    for (std::size_t i = 1; i < bytes.size(); ++i) {
      EXPECT_EQ(decoded(each, bytes.substr(0, i)), "compressed content is incomplete")
          << name_of(each) << i;
    }
    EXPECT_EQ(decoded(each, ""), "");
  }
}

TEST(http_coding, a_wrong_bit_never_gives_the_same_text_of_gzip) {
  const std::string text = sample(300);
  for (const coding each : all_codings) {
    const std::string bytes = encoded(each, text);
    for (std::size_t i = 0; i < bytes.size() * 8; ++i) {
      std::string wrong = bytes;
      wrong[i / 8] = static_cast<char>(wrong[i / 8] ^ (1 << (i % 8)));
      const std::string read = decoded(each, wrong);
      EXPECT_EQ(decoded(each, wrong, 1), read) << name_of(each) << i;
      // The flags, time and system of the header of gzip are not checked; the text always is.
      if (each == coding::gzip && read != text) {
        EXPECT_TRUE(read.starts_with("compressed content")) << i;
      }
    }
  }
}

TEST(http_coding, random_bytes_are_an_error_at_most) {
  std::minstd_rand random(1);
  for (int round = 0; round < 3000; ++round) {
    std::string bytes;
    for (std::size_t size = random() % 200; bytes.size() < size;) {
      bytes += static_cast<char>(random());
    }
    // With a proper beginning they get farther.
    if (round % 3 == 0) bytes.insert(0, of_bytes({0x1f, 0x8b, 0x08, 0, 0, 0, 0, 0, 0, 3}));
    const decode_limits limits{1'000'000, 200, 100'000};
    for (const coding each : all_codings) {
      EXPECT_EQ(decoded(each, bytes, 1'000'000, limits), decoded(each, bytes, 1, limits));
    }
  }
}

TEST(http_coding, a_bomb_is_stopped_early) {
  for (const coding each : all_codings) {
    content_encoder encoder(each, 9);
    std::string bytes;
    const std::string zeros(1'000'000, '\0');
    for (int i = 0; i < 20; ++i) encoder.encode(zeros, bytes);
    encoder.finish(bytes);
    EXPECT_LT(bytes.size(), 22'000U);
    for (const std::size_t step : {1'000'000, 100}) {
      EXPECT_EQ(decoded(each, bytes, step), "compressed content becomes far larger than it is");
      content_decoder decoder(each);
      std::size_t size = 0;
      decoder.decode(bytes, [&](std::string_view part) { size += part.size(); });
      EXPECT_LE(size, decode_limits().ratio_free_size + bytes.size() * decode_limits().ratio_max);
    }
  }
}

TEST(http_coding, the_limit_of_size_holds_to_the_byte) {
  const std::string text = sample(50'000);
  for (const coding each : all_codings) {
    const std::string bytes = encoded(each, text);
    EXPECT_EQ(decoded(each, bytes, 100, decode_limits{text.size(), 1000, 1'000'000}), text);
    EXPECT_EQ(decoded(each, bytes, 100, decode_limits{text.size() - 1, 1000, 1'000'000}),
              "compressed content becomes too large");
  }
}

TEST(http_coding, codings_are_found_by_their_names) {
  EXPECT_EQ(find_coding("GZip"), coding::gzip);
  EXPECT_EQ(find_coding("x-gzip"), coding::gzip);
  EXPECT_EQ(find_coding("deflate"), coding::deflate);
  EXPECT_EQ(find_coding("br"), coding::brotli);
  EXPECT_EQ(find_coding("identity"), std::nullopt);
  EXPECT_EQ(find_coding(""), std::nullopt);
}

}  // namespace
}  // namespace rill::http
