// Bodies: what comes out, and what ends them, however the bytes are cut.
#include <rill/protocols/http/body.h>

#include <algorithm>
#include <cstddef>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

namespace rill::http {
namespace {

body_decoder decoder(std::string_view fields, const body_limits& limits) {
  const std::string bytes = "POST / HTTP/1.1\r\nHost: a\r\n" + std::string(fields) + "\r\n";
  request_head head;
  EXPECT_EQ(head.parse(bytes), parse_state::complete);
  return body_decoder(head, limits);
}

struct decoded {
  std::string body;
  std::string state;     // "complete", "goes on", or what is wrong
  std::size_t used = 0;  // bytes of the input
  bool operator==(const decoded&) const = default;
};

std::ostream& operator<<(std::ostream& out, const decoded& of) {
  return out << '"' << of.body << "\" " << of.state << " after " << of.used;
}

/// Feeds `input` in pieces that end at `cuts` and at its end; what is not used comes again.
decoded fed(body_decoder body, std::string_view input, std::vector<std::size_t> cuts) {
  cuts.push_back(input.size());
  decoded outcome;
  for (const std::size_t end : cuts) {
    while (outcome.used < end && !body.is_complete() && !body.has_failed()) {
      const auto piece = body.decode(input.substr(outcome.used, end - outcome.used));
      EXPECT_TRUE(piece.used != 0 || body.has_failed()) << "comes to a stop";
      if (piece.used == 0) break;
      outcome.body += piece.data;
      outcome.used += piece.used;
    }
  }
  EXPECT_EQ(body.size(), outcome.body.size());
  outcome.state = body.is_complete()  ? "complete"
                  : body.has_failed() ? make_error_code(body.error()).message()
                                      : "goes on";
  // Where a failure shows is told by the state; how much of a bad line was used does not matter.
  if (body.has_failed()) outcome.used = 0;
  return outcome;
}

decoded in_every_way(const body_decoder& body, std::string_view input) {
  const decoded whole = fed(body, input, {});
  std::vector<std::size_t> every;
  for (std::size_t i = 1; i < input.size(); ++i) every.push_back(i);
  EXPECT_EQ(fed(body, input, every), whole) << "byte by byte";
  for (std::size_t i = 1; i < std::min<std::size_t>(input.size(), 2000); ++i) {
    const decoded cut = fed(body, input, {i});
    EXPECT_EQ(cut, whole) << "cut at " << i;
    if (cut != whole) break;
  }
  return whole;
}

decoded chunked(std::string_view input, const body_limits& limits = body_limits()) {
  return in_every_way(decoder("Transfer-Encoding: chunked\r\n", limits), input);
}

decoded with_length(std::string_view length, std::string_view input,
                    const body_limits& limits = body_limits()) {
  return in_every_way(decoder("Content-Length: " + std::string(length) + "\r\n", limits), input);
}

TEST(body, is_none_without_a_length) {
  EXPECT_TRUE(decoder("", body_limits()).is_complete());
  EXPECT_TRUE(decoder("Content-Length: 0\r\n", body_limits()).is_complete());
}

TEST(body, has_as_many_bytes_as_its_length_says) {
  EXPECT_EQ(with_length("5", "helloGET /"), (decoded{"hello", "complete", 5}));
  EXPECT_EQ(with_length("5", "hell"), (decoded{"hell", "goes on", 4}));
}

TEST(body, is_refused_before_its_first_byte_when_it_is_too_large) {
  body_limits limits;
  limits.size_max = 5;
  EXPECT_EQ(with_length("5", "hello", limits).state, "complete");
  EXPECT_EQ(with_length("6", "", limits).state, "body too large");
  EXPECT_EQ(with_length("9999999999", "x", limits), (decoded{"", "body too large", 0}));
}

TEST(body, comes_in_chunks) {
  EXPECT_EQ(chunked("5\r\nhello\r\n1;x=y\r\n,\r\n006\r\n world\r\n0\r\n\r\nGET"),
            (decoded{"hello, world", "complete", 38}));
  EXPECT_EQ(chunked("A\r\n0123456789\r\na\r\n0123456789\r\n00000;e\r\n\r\n"),
            (decoded{"01234567890123456789", "complete", 41}));
  EXPECT_EQ(chunked("0\r\n\r\n"), (decoded{"", "complete", 5}));
  EXPECT_EQ(chunked("5\r\nhel"), (decoded{"hel", "goes on", 6}));
}

TEST(body, refuses_malformed_chunks) {
  for (const std::string_view each :
       {"1\nx\r\n", "0x1\r\nx\r\n", "+1\r\nx\r\n", "1 \r\nx\r\n", " 1\r\nx\r\n", "\r\nx\r\n",
        ";a\r\nx", "10000000000000000\r\n", "00000000000000001\r\n", "1\r\rx", "1\r\nx\n0",
        "1\r\nxy", "1\r\nx\rA", "g\r\n", "1;a\nx", "1;a\x01\r\nx", "1;a\r\r\nx", "-1\r\n"}) {
    EXPECT_EQ(chunked(each).state, "malformed chunk") << each;
  }
  const std::string nul("1\0\r\n", 4);
  EXPECT_EQ(chunked(nul).state, "malformed chunk");
}

TEST(body, bounds_chunks_before_it_takes_them) {
  body_limits limits;
  limits.size_max = 10;
  EXPECT_EQ(chunked("A\r\n0123456789\r\n0\r\n\r\n", limits).state, "complete");
  EXPECT_EQ(chunked("B\r\n", limits), (decoded{"", "body too large", 0}));
  EXPECT_EQ(chunked("ffffffffffffffff\r\n", limits).state, "body too large");
  EXPECT_EQ(chunked("9\r\n012345678\r\n2\r\n", limits),
            (decoded{"012345678", "body too large", 0}));
}

TEST(body, bounds_the_extensions_of_all_chunks_together) {
  body_limits limits;
  limits.extension_size_max = 10;
  EXPECT_EQ(chunked("1;0123456789\r\nx\r\n0\r\n\r\n", limits).state, "complete");
  EXPECT_EQ(chunked("1;0123456789a", limits).state, "chunk extensions too large");
  EXPECT_EQ(chunked("1;01234\r\nx\r\n1;012345\r\n", limits).state, "chunk extensions too large");
}

TEST(body, passes_over_extensions_that_are_some) {
  for (const std::string_view each :
       {";a", ";a=b", ";a=\"b\"", ";a=\"\"", ";a;b=c;d=\"e;f\"", "; a", ";\ta \t= b ; c", ";a ;b",
        ";a=\"\\\"\\\\ \t\xe4\"", ";!#$%&'*+-.^_`|~9"}) {
    EXPECT_EQ(chunked("1" + std::string(each) + "\r\nx\r\n0\r\n\r\n").body, "x") << each;
  }
}

TEST(body, refuses_extensions_that_are_none) {
  for (const std::string_view each :
       {";",     "; ",        ";;a",         ";a;",           ";=b",       ";a=",
        ";a= ",  ";a=;b",     ";a=b=c",      ";a b",          ";a=b c",    ";[",
        ";a=[",  ";\"a\"",    ";a=\"b",      ";a=\"b\\\"",    ";a=\"b\"c", ";a ",
        ";a=b ", ";a=\"b\" ", ";a=\"\x7f\"", ";a=\"\\\x01\"", ";\xe4",     ",a",
        " ;a"}) {
    EXPECT_EQ(chunked("1" + std::string(each) + "\r\nx\r\n0\r\n\r\n").state, "malformed chunk")
        << each;
  }
}

TEST(body, takes_a_hundred_thousand_chunks_of_one_byte) {
  std::string input;
  for (int i = 0; i < 100'000; ++i) input += "1\r\nx\r\n";
  input += "0\r\n\r\n";
  EXPECT_EQ(fed(decoder("Transfer-Encoding: chunked\r\n", body_limits()), input, {}).body.size(),
            100'000U);
}

TEST(body, keeps_trailers_apart_and_bounded) {
  body_decoder body = decoder("Transfer-Encoding: chunked\r\n", body_limits());
  const std::string_view input = "0\r\nX-Sum: \t12 \r\nEmpty:\r\n\r\n";
  EXPECT_EQ(body.decode(input).used, input.size());
  EXPECT_TRUE(body.is_complete());
  EXPECT_EQ(body.find_trailer("x-sum"), "12");
  EXPECT_EQ(body.find_trailer("Empty"), "");
  EXPECT_EQ(body.find_trailer("X"), "");

  body_limits limits;
  limits.trailer_size_max = 10;
  EXPECT_EQ(chunked("0\r\nA: bcd\r\n\r\n", limits).state, "complete");
  EXPECT_EQ(chunked("0\r\nA: bcde\r\n\r\n", limits).state, "trailer too large");
  EXPECT_EQ(chunked("0\r\nAAAAAAAAAA", limits).state, "trailer too large");
}

TEST(body, refuses_trailers_that_would_change_the_message) {
  for (const std::string_view each :
       {"Content-Length: 5", "transfer-encoding: chunked", "Host: b", "Authorization: x", "X",
        " X: 1", "X : 1", ": 1", "X: \x01"}) {
    EXPECT_EQ(chunked("0\r\n" + std::string(each) + "\r\n\r\n").state,
              "malformed or forbidden trailer field")
        << each;
  }
  EXPECT_EQ(chunked("0\r\nX: 1\n\r\n").state, "malformed or forbidden trailer field");
}

TEST(body, lasts_until_the_connection_ends_when_a_response_says_nothing_else) {
  response_head head;
  ASSERT_EQ(head.parse("HTTP/1.1 200 OK\r\n\r\n", "GET"), parse_state::complete);
  body_limits limits;
  limits.size_max = 5;
  body_decoder body(head, limits);
  EXPECT_EQ(body.decode("hello").data, "hello");
  EXPECT_FALSE(body.is_complete());
  body_decoder ended = body;
  ended.end();
  EXPECT_TRUE(ended.is_complete());
  body.decode("!");
  EXPECT_EQ(body.error(), http_error::body_too_large);
}

TEST(body, is_incomplete_when_the_connection_ends_before_it) {
  for (const std::string_view fields :
       {"Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"}) {
    body_decoder body = decoder(fields, body_limits());
    body.decode("1");
    body.end();
    EXPECT_TRUE(body.has_failed());
    EXPECT_EQ(body.error(), http_error::incomplete);
  }
}

TEST(body, is_judged_alike_however_random_chunks_are_cut) {
  std::mt19937 random(3);
  const std::string_view parts[] = {"1\r\nx\r\n", "5\r\nhello\r\n", "0\r\n", "\r\n", "\r",
                                    "\n",         ";ext",           "a",     "X: y", ":",
                                    "3\r\nab",    ";a=\"",          "\""};
  body_limits limits;
  limits.size_max = 20;
  limits.extension_size_max = 9;
  limits.trailer_size_max = 20;
  for (int round = 0; round < 5000; ++round) {
    std::string input;
    const std::size_t count = random() % 10;
    for (std::size_t i = 0; i < count; ++i) input += parts[random() % std::size(parts)];
    chunked(input, limits);
    if (HasFailure()) FAIL() << input;
  }
}

}  // namespace
}  // namespace rill::http
