// Which answers are compressed, for whom, and what becomes of their fields.
#include <rill/protocols/http/compress.h>

#include <stdexcept>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "http/handlers.h"
#include <rill/protocols/http/coding.h>
#include <rill/runtime/event.h>

namespace rill::http {
namespace {

using test::answers_to;
using test::got;
using test::without_date;

const std::string page = [] {
  std::string text;
  while (text.size() < 5000) text += "A line of the page.\n";
  return text;
}();

/// The chunks of a body joined.
std::string joined(std::string_view chunks) {
  std::string all;
  for (;;) {
    const std::size_t size = std::stoul(std::string(chunks), nullptr, 16);
    chunks.remove_prefix(chunks.find("\r\n") + 2);
    if (size == 0) return all;
    all += chunks.substr(0, size);
    chunks.remove_prefix(size + 2);
  }
}

struct answer {
  std::string head;
  std::string text;  // decoded
};

answer read(const std::string& all) {
  answer made;
  made.head = without_date(all.substr(0, all.find("\r\n\r\n") + 2));
  std::string body = test::body_of(all);
  if (made.head.find("chunked") != made.head.npos && !body.empty()) body = joined(body);
  const std::size_t at = made.head.find("Content-Encoding: ");
  if (at == made.head.npos || body.empty()) {
    made.text = body;
    return made;
  }
  const std::string name = made.head.substr(at + 18, made.head.find('\r', at) - at - 18);
  const auto from = find_coding(name);
  if (!from) return made;
  content_decoder decoder(*from);
  decoder.decode(body, [&](std::string_view part) { made.text += part; });
  EXPECT_TRUE(decoder.end());
  EXPECT_LT(body.size(), made.text.size() / 2);
  return made;
}

template <class Function>
answer answered(Function handler, const std::string& fields, const std::string& method = "GET",
                compress_options options = compress_options()) {
  router routes;
  routes.use(compressed(options)).get("/", handler);
  std::string request = got(fields);
  request.replace(0, 3, method);
  return read(answers_to(routes, {request}));
}

response of_page(request&) { return response::text(page); }

bool has(const answer& given, std::string_view line) {
  return ("\r\n" + given.head).find("\r\n" + std::string(line) + "\r\n") != std::string::npos;
}

TEST(http_compress, the_coding_is_chosen_by_what_the_client_wants) {
  const auto coding_of = [](const std::string& accepted, compress_options options = {}) {
    const answer given = answered(of_page, "Accept-Encoding: " + accepted + "\r\n", "GET", options);
    EXPECT_EQ(given.text, page);
    EXPECT_TRUE(has(given, "Vary: Accept-Encoding"));
    if (has(given, "Content-Encoding: gzip")) return "gzip";
    if (has(given, "Content-Encoding: br")) return "br";
    return "";
  };
  EXPECT_STREQ(coding_of("gzip, deflate, br, zstd"), "br");
  EXPECT_STREQ(coding_of("gzip"), "gzip");
  EXPECT_STREQ(coding_of("br;q=0.5, gzip;q=0.8"), "gzip");
  EXPECT_STREQ(coding_of("*"), "br");
  EXPECT_STREQ(coding_of("gzip;q=0, *;q=0.1"), "br");
  EXPECT_STREQ(coding_of("gzip;q=0"), "");
  EXPECT_STREQ(coding_of("identity, gzip;q=0.5"), "");
  EXPECT_STREQ(coding_of("zstd"), "");
  EXPECT_STREQ(coding_of("br", compress_options{1024, 5, 4, false}), "");
}

TEST(http_compress, without_accept_encoding_the_answer_stays_plain_and_says_that_it_varies) {
  const answer given = answered(of_page, "");
  EXPECT_EQ(given.text, page);
  EXPECT_TRUE(has(given, "Vary: Accept-Encoding"));
  EXPECT_EQ(given.head.find("Content-Encoding"), given.head.npos);
}

const std::string wants = "Accept-Encoding: gzip\r\n";

TEST(http_compress, fields_stay_but_a_strong_tag_becomes_weak) {
  const answer given = answered(
      [](request&) {
        return response(404, page, "application/problem+json; charset=utf-8")
            .set("ETag", "\"x\"")
            .set("Vary", "Origin")
            .add("Set-Cookie", "a=b")
            .add("Set-Cookie", "c=d");
      },
      wants);
  EXPECT_TRUE(given.head.starts_with("HTTP/1.1 404 "));
  EXPECT_EQ(given.text, page);
  for (const std::string_view line :
       {"ETag: W/\"x\"", "Vary: Origin", "Vary: Accept-Encoding", "Set-Cookie: a=b",
        "Set-Cookie: c=d", "Content-Encoding: gzip",
        "Content-Type: application/problem+json; charset=utf-8"}) {
    EXPECT_TRUE(has(given, line)) << line << given.head;
  }
  const answer weak = answered(
      [](request&) { return response::text(page).set("ETag", "W/\"x\"").set("Vary", "*"); }, wants);
  EXPECT_TRUE(has(weak, "ETag: W/\"x\""));
  EXPECT_FALSE(has(weak, "Vary: Accept-Encoding"));
}

TEST(http_compress, what_would_not_gain_or_must_not_change_is_left_alone) {
  const auto is_plain = [](auto handler) {
    const answer given = answered(handler, wants);
    return given.head.find("Vary") == given.head.npos &&
           given.head.find("Content-Encoding: gzip") == given.head.npos;
  };
  EXPECT_TRUE(is_plain([](request&) { return response::text(std::string(1023, 'x')); }));
  EXPECT_FALSE(is_plain([](request&) { return response::text(std::string(1024, 'x')); }));
  EXPECT_TRUE(is_plain([](request&) { return response(200, page, "image/png"); }));
  EXPECT_FALSE(is_plain([](request&) { return response(200, page, "IMAGE/SVG+XML"); }));
  EXPECT_TRUE(is_plain([](request&) { return response(206, page, "text/plain"); }));
  EXPECT_TRUE(is_plain([](request&) { return response(204, page, "text/plain"); }));
  EXPECT_TRUE(is_plain([](request&) { return response(304, page, "text/plain"); }));
  EXPECT_TRUE(is_plain([](request&) { return response::text(page).set("Content-Encoding", "x"); }));
  EXPECT_TRUE(is_plain(
      [](request&) { return response::text(page).set("Cache-Control", "public, no-transform"); }));
}

TEST(http_compress, a_body_of_nothing_stays_one) {
  const compress_options options{0, 5, 5, true};
  const answer nothing =
      answered([](request&) { return response::text(""); }, wants, "GET", options);
  EXPECT_TRUE(has(nothing, "Content-Length: 0"));
  EXPECT_FALSE(has(nothing, "Content-Encoding: gzip"));
}

TEST(http_compress, head_is_answered_with_the_fields_of_get) {
  const answer whole = answered(of_page, wants);
  const answer head = answered(of_page, wants, "HEAD");
  EXPECT_EQ(head.head, whole.head);
  EXPECT_EQ(head.text, "");
}

TEST(http_compress, a_large_body_goes_in_slices) {
  std::string large;
  while (large.size() < 1'000'000) large += std::to_string(large.size()) + ", ";
  for (const std::string accepted : {"gzip", "br"}) {
    const answer given = answered([&](request&) { return response::text(large); },
                                  "Accept-Encoding: " + accepted + "\r\n");
    EXPECT_EQ(given.text, large);
    EXPECT_TRUE(has(given, "Transfer-Encoding: chunked"));
    const answer fixed = answered([&](request&) { return response::fixed(large, "text/css"); },
                                  "Accept-Encoding: " + accepted + "\r\n");
    EXPECT_EQ(fixed.text, large);
  }
}

TEST(http_compress, others_have_their_turn_while_much_is_compressed) {
  int turns = 0;
  const answer given = answered(
      [&](request&) {
        return response::stream(
            [&](body_writer& to) -> task<void> {
              co_await with_nursery([&](nursery& tasks) -> task<> {
                tasks.start([&]() -> task<> {
                  for (;; ++turns) co_await rill::test::settle(1);
                });
                const std::string part(10'000, 'x');
                for (int i = 0; i < 200; ++i) co_await to.write(part);
                tasks.cancel();
              });
            },
            "text/plain");
      },
      wants);
  EXPECT_EQ(given.text, std::string(2'000'000, 'x'));
  EXPECT_GE(turns, 2'000'000 / (64 * 1024) - 1);
}

TEST(http_compress, what_a_producer_flushes_is_readable_at_once) {
  router routes;
  event goes_on;
  routes.use(compressed()).get("/", [&](request&) {
    return response::stream(
        [&](body_writer& to) -> task<void> {
          co_await to.write("data: one\n\n");
          co_await to.flush();
          co_await goes_on.wait();
          co_await to.write("data: two\n\n");
        },
        "text/event-stream");
  });
  std::string text;
  rill::test::run_loop([&]() -> task<> {
    auto pair = memory_stream_pair();
    const session_options options;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&](memory_stream peer) { return session(std::move(peer), routes, options); },
                  std::move(pair.second));
      co_await pair.first.write_all(const_buffer(got(wants)));
      std::string all;
      content_decoder decoder(coding::gzip);
      std::size_t used = 0;
      while (text.find("two\n\n") == text.npos) {
        const auto part = co_await pair.first.read_lease();
        if (part.empty()) co_return;
        all += part.text();
        if (used == 0 && all.find("\r\n\r\n") == all.npos) continue;
        if (used == 0) used = all.find("\r\n\r\n") + 4;
        // Chunks come whole here, for each is one write.
        const std::string whole = joined(all.substr(used) + "0\r\n");
        text.clear();
        content_decoder again(coding::gzip);
        again.decode(whole, [&](std::string_view piece) { text += piece; });
        if (text == "data: one\n\n") goes_on.set();
      }
      tasks.cancel();
    });
  });
  EXPECT_EQ(text, "data: one\n\ndata: two\n\n");
}

TEST(http_compress, a_producer_that_fails_ends_the_connection_in_the_middle) {
  router routes;
  routes.use(compressed()).get("/", [](request&) {
    return response::stream(
        [](body_writer& to) -> task<void> {
          co_await to.write(page);
          co_await to.flush();
          throw std::runtime_error("in the middle");
        },
        "text/plain");
  });
  const std::string all = answers_to(routes, {got(wants) + got(wants)});
  EXPECT_FALSE(all.ends_with("0\r\n\r\n"));
  EXPECT_EQ(all.find("HTTP/1.1 200", 1), all.npos);
}

}  // namespace
}  // namespace rill::http
