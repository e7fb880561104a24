// Heads of requests and responses: what is taken, what is refused and why, the same however the
// bytes are cut.
#include <rill/protocols/http/head.h>

#include <cstddef>
#include <ostream>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

namespace rill::http {
namespace {

const char* name_of(body_framing framing) {
  switch (framing) {
    case body_framing::none:
      return "no body";
    case body_framing::length:
      return "length";
    case body_framing::chunked:
      return "chunked";
    case body_framing::until_close:
      return "until close";
  }
  return "?";
}

std::string body_of(const message_head& head) {
  std::string text = name_of(head.framing());
  if (head.framing() == body_framing::length) text += ' ' + std::to_string(head.content_length());
  return text + (head.keeps_alive() ? ", keeps alive" : ", closes");
}

std::string fields_of(const message_head& head) {
  std::string text;
  for (std::size_t i = 0; i < head.field_count(); ++i) {
    const field each = head.field_at(i);
    text += '[' + std::string(each.name) + '|' + std::string(each.value) + ']';
  }
  return text;
}

/// Everything that the head says.
std::string outcome(const request_head& head, parse_state state) {
  if (state == parse_state::incomplete) return "incomplete";
  if (state == parse_state::failed) {
    return make_error_code(head.error()).message() + ' ' + std::to_string(status_of(head.error()));
  }
  static constexpr const char* forms[] = {"origin", "absolute", "authority", "asterisk"};
  return std::string(head.method()) + ' ' + std::string(head.path()) + '?' +
         std::string(head.query()) + " at " + std::string(head.authority()) + ' ' +
         forms[static_cast<int>(head.form())] + ' ' + fields_of(head) + ' ' + body_of(head) +
         (head.expects_continue() ? ", expects 100" : "") + ", size " + std::to_string(head.size());
}

std::string outcome(const response_head& head, parse_state state) {
  if (state == parse_state::incomplete) return "incomplete";
  if (state == parse_state::failed) return make_error_code(head.error()).message();
  return std::to_string(head.status()) + ' ' + std::string(head.reason()) + ' ' + fields_of(head) +
         ' ' + body_of(head);
}

/// Parses `input` as it comes in pieces that end at `cuts` and at its end. Each piece comes to lie
/// elsewhere, with what came before, as it does in life.
template <class Head, class... More>
std::string parsed(std::string_view input, const std::vector<std::size_t>& cuts,
                   const head_limits& limits, More... more) {
  Head head(limits);
  parse_state state = parse_state::incomplete;
  std::vector<std::string> copies;  // the last one must live until the outcome is told
  std::vector<std::size_t> ends = cuts;
  ends.push_back(input.size());
  for (const std::size_t end : ends) {
    copies.emplace_back(input.substr(0, end));
    state = head.parse(copies.back(), more...);
    if (state != parse_state::incomplete) {
      // What is known stays so, whatever follows.
      EXPECT_EQ(head.parse(copies.back(), more...), state);
      break;
    }
  }
  return outcome(head, state);
}

template <class Head, class... More>
std::string parsed_in_every_way(std::string_view input, const head_limits& limits, More... more) {
  const std::string whole = parsed<Head>(input, {}, limits, more...);
  std::vector<std::size_t> every;
  for (std::size_t i = 1; i < input.size(); ++i) every.push_back(i);
  EXPECT_EQ(parsed<Head>(input, every, limits, more...), whole) << "byte by byte";
  constexpr std::size_t cut_max = 4096;  // longer ones take too long to be cut everywhere
  for (std::size_t i = 1; i < std::min(input.size(), cut_max); ++i) {
    const std::string cut = parsed<Head>(input, {i}, limits, more...);
    EXPECT_EQ(cut, whole) << "cut at " << i;
    if (cut != whole) break;
  }
  return whole;
}

std::string request(std::string_view input, const head_limits& limits = head_limits()) {
  return parsed_in_every_way<request_head>(input, limits);
}

std::string response(std::string_view input, std::string_view method = "GET") {
  return parsed_in_every_way<response_head>(input, head_limits(), method);
}

/// What a request with these fields beside Host is answered with.
std::string with_fields(std::string_view fields) {
  return request("POST / HTTP/1.1\r\nHost: a\r\n" + std::string(fields) + "\r\n");
}

TEST(request_head, gives_method_target_fields_and_framing) {
  EXPECT_EQ(request("GET /a/b?c=d HTTP/1.1\r\nHost: example.org\r\nAccept: */*\r\n\r\nrest"),
            "GET /a/b?c=d at example.org origin [Host|example.org][Accept|*/*] no body, keeps "
            "alive, size 57");
}

TEST(request_head, is_incomplete_until_the_empty_line) {
  const std::string_view whole = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_EQ(request(whole.substr(0, size)), "incomplete");
  }
}

TEST(request_head, passes_over_empty_lines_before_it) {
  EXPECT_EQ(request("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
            "GET /? at a origin [Host|a] no body, keeps alive, size 31");
}

TEST(request_head, takes_the_four_forms_of_targets) {
  const auto target = [](std::string_view method_and_target) {
    const std::string said =
        request(std::string(method_and_target) + " HTTP/1.1\r\nHost: field\r\n\r\n");
    return said.substr(0, said.find(" [Host"));
  };
  EXPECT_EQ(target("GET /"), "GET /? at field origin");
  EXPECT_EQ(target("GET //x??y"), "GET //x??y at field origin");
  EXPECT_EQ(target("GET http://h:80/p?q"), "GET /p?q at h:80 absolute");
  EXPECT_EQ(target("GET http://h"), "GET /? at h absolute");
  EXPECT_EQ(target("GET http://h?q"), "GET /?q at h absolute");
  EXPECT_EQ(target("GET http://[::1]:8080/"), "GET /? at [::1]:8080 absolute");
  EXPECT_EQ(target("CONNECT h:443"), "CONNECT ? at h:443 authority");
  EXPECT_EQ(target("CONNECT [::1]:443"), "CONNECT ? at [::1]:443 authority");
  EXPECT_EQ(target("OPTIONS *"), "OPTIONS *? at field asterisk");
}

TEST(request_head, refuses_other_targets) {
  for (const std::string_view each :
       {"GET *", "GET a", "GET a/b", "GET :80", "CONNECT h", "CONNECT /",
        "CONNECT h:", "CONNECT [::1]", "CONNECT h:99999", "GET http://", "GET http:///p",
        "GET http://u@h/", "GET ://h/", "GET 1http://h/", "GET /a#b", "GET http://h:x/"}) {
    EXPECT_EQ(request(std::string(each) + " HTTP/1.1\r\nHost: a\r\n\r\n"),
              "malformed request target 400")
        << each;
  }
}

TEST(request_head, refuses_lines_that_are_no_request) {
  for (const std::string_view each :
       {"GET", "GET /", "GET  / HTTP/1.1", "GET a b HTTP/1.1", "GET / HTTP/1.1 ", "GET / HTTP/11",
        "GET / http/1.1", "GET / HTTP/1.", "GET / HTTP/1.10", "G@T / HTTP/1.1", " GET / HTTP/1.1",
        "GET\t/ HTTP/1.1", "GET /\x01 HTTP/1.1", "GET /\xc3\xa4 HTTP/1.1", "GET /\r HTTP/1.1",
        "\x16\x03\x01", "GET / HTTP/1.1\r"}) {
    EXPECT_EQ(request(std::string(each) + "\r\nHost: a\r\n\r\n"), "malformed request line 400")
        << each;
  }
}

TEST(request_head, knows_versions_of_http_1_only) {
  EXPECT_EQ(request("GET / HTTP/9.9\r\nHost: a\r\n\r\n"), "unsupported version of HTTP 505");
  EXPECT_EQ(request("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "unsupported version of HTTP 505");
  EXPECT_EQ(request("GET / HTTP/1.0\r\n\r\n"), "GET /? at  origin  no body, closes, size 18");
  EXPECT_EQ(request("GET / HTTP/1.2\r\nHost: a\r\n\r\n"),
            "GET /? at a origin [Host|a] no body, keeps alive, size 27");
}

TEST(request_head, wants_every_line_to_end_with_cr_and_lf) {
  EXPECT_EQ(request("GET / HTTP/1.1\nHost: a\r\n\r\n"), "line ends without CR 400");
  EXPECT_EQ(request("GET / HTTP/1.1\r\nHost: a\n\r\n"), "line ends without CR 400");
  EXPECT_EQ(request("GET / HTTP/1.1\r\nHost: a\r\n\n"), "line ends without CR 400");
  EXPECT_EQ(request("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), "line ends without CR 400");
}

TEST(request_head, takes_fields_with_blanks_around_values_and_any_text_in_them) {
  EXPECT_EQ(with_fields("X: \t a b\t \r\nEmpty:\r\nObs: \xe4\xff\r\nx-!#$%&'*+-.^_`|~9: y\r\n"),
            "POST /? at a origin [Host|a][X|a b][Empty|][Obs|\xe4\xff][x-!#$%&'*+-.^_`|~9|y] no "
            "body, keeps alive, size 80");
}

TEST(request_head, refuses_fields_that_two_readers_could_read_differently) {
  for (const std::string_view each :
       {"Content-Length : 5\r\n", "X Y: 1\r\n", "X\t: 1\r\n", ": 1\r\n", "X\r\n", "X: a\rb\r\n",
        "X: a\x01\r\n", "X: a\x7f\r\n", "X(: 1\r\n", "\x80: 1\r\n", "X: a\r\r\n"}) {
    EXPECT_EQ(with_fields(each), "malformed field 400") << each;
  }
  const std::string nul("X: a\0b\r\n", 8);
  EXPECT_EQ(with_fields(nul), "malformed field 400");
  EXPECT_EQ(with_fields("X: a\r\n b\r\n"), "field folded over several lines 400");
  EXPECT_EQ(request("GET / HTTP/1.1\r\n Host: a\r\n\r\n"), "field folded over several lines 400");
}

TEST(request_head, wants_one_host_in_http_1_1) {
  EXPECT_EQ(request("GET / HTTP/1.1\r\n\r\n"), "no Host 400");
  for (const std::string_view host :
       {"a,b", "user@a", "a/b", "a b", "a:b", "a:99999", "[::1", "[]", "[g]", "[12]", "[1.2.3.4]",
        "[::1%lo]", "[1::2::3]", "a\"", "\xc3\xa4", "a?b", "http://a", "a%", "a%4x"}) {
    EXPECT_EQ(request("GET / HTTP/1.1\r\nHost: " + std::string(host) + "\r\n\r\n"),
              "malformed Host 400")
        << host;
  }
  EXPECT_EQ(request("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"), "malformed Host 400");
  for (const std::string_view host : {"a", "a:80", "a:", "127.0.0.1:8080", "[::1]", "[::1]:80",
                                      "xn--4ca.example", "a_b", "a%41", ""}) {
    EXPECT_TRUE(request("GET / HTTP/1.1\r\nHost: " + std::string(host) + "\r\n\r\n")
                    .starts_with("GET /? at " + std::string(host) + " origin"))
        << host;
  }
}

TEST(request_head, knows_the_length_of_the_body_or_refuses) {
  const auto body = [](std::string_view fields) {
    const std::string said = with_fields(fields);
    const std::size_t at = said.rfind("] ");
    return at == said.npos ? said : said.substr(at + 2, said.find(", size") - at - 2);
  };
  EXPECT_EQ(body("Content-Length: 0\r\n"), "length 0, keeps alive");
  EXPECT_EQ(body("content-length:  42 \r\n"), "length 42, keeps alive");
  EXPECT_EQ(body("Content-Length: 9223372036854775807\r\n"),
            "length 9223372036854775807, keeps alive");
  for (const std::string_view each :
       {"+5", "-1", "0x5", "5_0", "", "5 5", "5, 6", "5,5", "18446744073709551616",
        "9223372036854775808", "99999999999999999999999", "5;", "\xd9\xa5"}) {
    EXPECT_EQ(body("Content-Length: " + std::string(each) + "\r\n"), "malformed Content-Length 400")
        << each;
  }
  EXPECT_EQ(body("Content-Length: 5\r\nContent-Length: 6\r\n"), "malformed Content-Length 400");
  EXPECT_EQ(body("Content-Length: 5\r\nContent-Length: 5\r\n"), "malformed Content-Length 400");
  EXPECT_EQ(body("Transfer-Encoding: chunked\r\n"), "chunked, keeps alive");
  EXPECT_EQ(body("Transfer-Encoding: Chunked \r\n"), "chunked, keeps alive");
  for (const std::string_view each :
       {"xchunked", "chunked, gzip", ",chunked", "chunked,", "chunked;a", "", "identity",
        "chunked, chunked", "gzip chunked", "\"chunked\""}) {
    EXPECT_EQ(body("Transfer-Encoding: " + std::string(each) + "\r\n"),
              "malformed Transfer-Encoding 400")
        << each;
  }
  EXPECT_EQ(with_fields("Transfer-Encoding: \x0b"
                        "chunked\r\n"),
            "malformed field 400");
  EXPECT_EQ(body("Transfer-Encoding: gzip, chunked\r\n"), "unsupported transfer coding 501");
  EXPECT_EQ(body("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
            "malformed Transfer-Encoding 400");
  EXPECT_EQ(body("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
            "both Content-Length and Transfer-Encoding 400");
  EXPECT_EQ(request("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
            "malformed Transfer-Encoding 400");
}

TEST(request_head, knows_whether_the_connection_goes_on) {
  const auto goes_on = [](std::string_view version, std::string_view connection) {
    return request("GET / HTTP/" + std::string(version) +
                   "\r\nHost: a\r\nConnection: " + std::string(connection) + "\r\n\r\n")
               .find("keeps alive") != std::string::npos;
  };
  EXPECT_TRUE(goes_on("1.1", "keep-alive"));
  EXPECT_TRUE(goes_on("1.1", "closed"));
  EXPECT_FALSE(goes_on("1.1", "close"));
  EXPECT_FALSE(goes_on("1.1", "Upgrade , CLOSE"));
  EXPECT_FALSE(goes_on("1.0", "upgrade"));
  EXPECT_TRUE(goes_on("1.0", "Keep-Alive"));
  EXPECT_FALSE(goes_on("1.0", "Keep-Alive, close"));
}

TEST(request_head, knows_one_expectation) {
  EXPECT_TRUE(with_fields("Expect: 100-Continue\r\n").find("expects 100") != std::string::npos);
  EXPECT_EQ(with_fields("Expect: a miracle\r\n"), "unsupported expectation 417");
  EXPECT_EQ(with_fields("Expect: 100-continue, a miracle\r\n"), "unsupported expectation 417");
  // A list (RFC 9110 section 10.1.1), so elements may come again or be empty.
  EXPECT_TRUE(with_fields("Expect: , 100-continue,100-continue\r\n").find("expects 100") !=
              std::string::npos);
  EXPECT_TRUE(with_fields("Expect:\r\n").find("expects 100") == std::string::npos);
  EXPECT_TRUE(with_fields("Expect:\r\n").starts_with("POST"));
  EXPECT_EQ(request("POST / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n"),
            "POST /? at  origin [Expect|100-continue] no body, closes, size 41");
}

TEST(request_head, has_limits_that_are_exact) {
  head_limits limits;
  limits.start_line_size_max = 40;
  limits.head_size_max = 100;
  limits.field_count_max = 3;
  const auto with_line = [&](std::size_t size) {
    const std::string rest = " HTTP/1.1\r\n";
    return request("GET /" + std::string(size - rest.size() - 5, 'x') + rest + "Host: a\r\n\r\n",
                   limits);
  };
  EXPECT_TRUE(with_line(40).starts_with("GET /xxx"));
  EXPECT_EQ(with_line(41), "first line too long 414");
  EXPECT_EQ(request(std::string(40, 'x'), limits), "first line too long 414");
  EXPECT_EQ(request(std::string(39, 'x'), limits), "incomplete");

  const std::string start = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
  const auto with_size = [&](std::size_t size) {
    return request(start + std::string(size - start.size() - 4, 'x') + "\r\n\r\n", limits);
  };
  EXPECT_TRUE(with_size(100).ends_with("size 100"));
  EXPECT_EQ(with_size(101), "fields too large 431");
  EXPECT_EQ(request(start + std::string(100, 'x'), limits), "fields too large 431");

  EXPECT_EQ(with_fields("").substr(0, 4), "POST");
  const std::string three = "GET / HTTP/1.1\r\nHost: a\r\nB: b\r\nC: c\r\n";
  EXPECT_TRUE(request(three + "\r\n", limits).starts_with("GET"));
  EXPECT_EQ(request(three + "D: d\r\n\r\n", limits), "fields too large 431");
}

TEST(request_head, says_which_limit_was_met_first_behind_empty_lines) {
  head_limits limits;
  limits.start_line_size_max = 40;
  limits.head_size_max = 100;
  std::string few;
  for (int i = 0; i < 10; ++i) few += "\r\n";
  const std::string long_line(60, 'x');
  EXPECT_EQ(request(few + long_line + "\r\n", limits), "first line too long 414");
  EXPECT_EQ(request(few + few + few + few + long_line + "\r\n", limits), "fields too large 431");
}

TEST(request_head, takes_a_line_of_8000_octets_by_default) {
  const std::string path(8000, 'p');
  EXPECT_TRUE(request("GET /" + path + " HTTP/1.1\r\nHost: a\r\n\r\n").starts_with("GET /ppp"));
}

TEST(request_head, finds_fields_without_regard_to_case) {
  const std::string bytes =
      "GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip, br\r\naccept-ENCODING: zstd\r\n\r\n";
  request_head head;
  ASSERT_EQ(head.parse(bytes), parse_state::complete);
  EXPECT_EQ(head.find("accept-encoding"), "gzip, br");
  EXPECT_EQ(head.count("Accept-Encoding"), 2U);
  EXPECT_TRUE(head.has_element("Accept-Encoding", "BR"));
  EXPECT_TRUE(head.has_element("Accept-Encoding", "zstd"));
  EXPECT_FALSE(head.has_element("Accept-Encoding", "b"));
  EXPECT_EQ(head.find("Accept"), std::nullopt);
}

TEST(request_head, can_be_used_again_and_moved_to_other_memory) {
  request_head head;
  const std::string first = "GET /first HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
  ASSERT_EQ(head.parse(first), parse_state::complete);
  head.clear();
  const std::string second = "PUT /second HTTP/1.1\r\nHost: b\r\n\r\n";
  ASSERT_EQ(head.parse(second), parse_state::complete);
  const std::string elsewhere = second;
  head.rebase(elsewhere.data());
  EXPECT_EQ(outcome(head, parse_state::complete),
            "PUT /second? at b origin [Host|b] no body, keeps alive, size 33");
  EXPECT_EQ(head.target().data(), elsewhere.data() + 4);
}

TEST(response_head, gives_status_reason_and_framing) {
  EXPECT_EQ(response("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"),
            "200 OK [Content-Length|3] length 3, keeps alive");
  EXPECT_EQ(response("HTTP/1.1 404 Not  Found\r\nTransfer-Encoding: chunked\r\n\r\n"),
            "404 Not  Found [Transfer-Encoding|chunked] chunked, keeps alive");
  EXPECT_EQ(response("HTTP/1.1 200\r\n\r\n"), "200   until close, closes");
  EXPECT_EQ(response("HTTP/1.1 200 \r\n\r\n"), "200   until close, closes");
  EXPECT_EQ(response("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"),
            "200 OK [Content-Length|0] length 0, closes");
}

TEST(response_head, takes_lines_that_end_without_cr) {
  EXPECT_EQ(response("HTTP/1.1 200 OK\nContent-Type: text/html\n\n<html>"),
            "200 OK [Content-Type|text/html] until close, closes");
}

TEST(response_head, has_no_body_where_there_can_be_none) {
  const std::string fields = "\r\nContent-Length: 5\r\n\r\n";
  EXPECT_EQ(response("HTTP/1.1 204 No Content" + fields),
            "204 No Content [Content-Length|5] no body, keeps alive");
  EXPECT_EQ(response("HTTP/1.1 304 Not Modified" + fields),
            "304 Not Modified [Content-Length|5] no body, keeps alive");
  EXPECT_EQ(response("HTTP/1.1 100 Continue\r\n\r\n"), "100 Continue  no body, keeps alive");
  EXPECT_EQ(response("HTTP/1.1 200 OK" + fields, "HEAD"),
            "200 OK [Content-Length|5] no body, keeps alive");
  EXPECT_EQ(response("HTTP/1.1 200 OK\r\n\r\n", "CONNECT"), "200 OK  no body, keeps alive");
  // RFC 9112 section 6.3: the lengths of an answer that opens a tunnel are passed over.
  EXPECT_EQ(response("HTTP/1.1 200 OK\r\nContent-Length: x\r\nTransfer-Encoding: chunked\r\n\r\n",
                     "CONNECT"),
            "200 OK [Content-Length|x][Transfer-Encoding|chunked] no body, keeps alive");
  EXPECT_EQ(response("HTTP/1.1 403 No" + fields, "CONNECT"),
            "403 No [Content-Length|5] length 5, keeps alive");
}

TEST(response_head, refuses_what_is_no_response) {
  for (const std::string_view each :
       {"HTTP/1.1", "HTTP/1.1 ", "HTTP/1.1 20", "HTTP/1.1 2000", "HTTP/1.1 20x OK",
        "HTTP/1.1  200 OK", "HTTP/1.1 099 X", "ICY 200 OK", "SSH-2.0-OpenSSH", "HTTP/1.1 200OK",
        "HTTP/1.1 200 O\x01K", "<html>"}) {
    EXPECT_EQ(response(std::string(each) + "\r\n\r\n"), "malformed status line") << each;
  }
  EXPECT_EQ(response("HTTP/2.0 200 OK\r\n\r\n"), "unsupported version of HTTP");
  EXPECT_EQ(response("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
            "both Content-Length and Transfer-Encoding");
}

TEST(heads, are_judged_alike_however_random_bytes_are_cut) {
  std::mt19937 random(7);
  const std::string_view parts[] = {"GET ",
                                    "/",
                                    " HTTP/1.1",
                                    "\r\n",
                                    "\n",
                                    "\r",
                                    "Host:",
                                    " a",
                                    ":",
                                    ",",
                                    "chunked",
                                    "Content-Length: ",
                                    "5",
                                    "\t",
                                    "\x01",
                                    "\xff",
                                    "Transfer-Encoding: ",
                                    "HTTP/1.1 200",
                                    " OK",
                                    "\r\n\r\n",
                                    "Expect: 100-continue"};
  head_limits limits;
  limits.head_size_max = 120;
  limits.start_line_size_max = 50;
  for (int round = 0; round < 3000; ++round) {
    std::string input = round % 2 == 0 ? "GET / HTTP/1.1\r\n" : "HTTP/1.1 200 OK\r\n";
    const std::size_t count = random() % 12;
    for (std::size_t i = 0; i < count; ++i) input += parts[random() % std::size(parts)];
    if (random() % 2 == 0) input += "\r\n\r\n";
    parsed_in_every_way<request_head>(input, limits);
    parsed_in_every_way<response_head>(input, limits, std::string_view("GET"));
    if (HasFailure()) FAIL() << input;
  }
}

}  // namespace
}  // namespace rill::http
