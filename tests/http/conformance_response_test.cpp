// Responses as a client reads them, beside what RFC 9110 and RFC 9112 say: status lines, fields,
// and what follows the head. See conformance_test.cpp.
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "http/conformance.h"
#include <rill/protocols/http/body.h>
#include <rill/protocols/http/head.h>

namespace rill::http {
namespace {

using namespace std::string_literals;
using test::conformance_case;
using enum test::rule;

/// The statuses of all heads up to the first that is not interim, its body, whether the connection
/// can be used again, and how many bytes are left; or what is wrong.
std::string told(std::string_view bytes, std::string_view method, std::size_t step) {
  const auto wrong = [](http_error error) { return make_error_code(error).message(); };
  std::string text;
  response_head head;
  for (;;) {
    head.clear();
    parse_state state = parse_state::incomplete;
    for (std::size_t end = step; state == parse_state::incomplete; end += step) {
      state = head.parse(bytes.substr(0, end), method);
      if (end >= bytes.size()) break;
    }
    if (state == parse_state::incomplete) return text + "incomplete";
    if (state == parse_state::failed) return text + wrong(head.error());
    text += std::to_string(head.status());
    bytes.remove_prefix(head.size());
    if (!head.is_interim()) break;
    text += ", ";
  }
  body_decoder body(head);
  std::string content;
  while (!body.is_complete() && !body.has_failed() && !bytes.empty()) {
    const auto piece = body.decode(bytes.substr(0, step));
    content += piece.data;
    bytes.remove_prefix(piece.used);
  }
  body.end();
  if (body.has_failed()) return text + ' ' + wrong(body.error());
  text += " '" + content + (head.keeps_alive() ? "' keeps" : "' closes");
  return bytes.empty() ? text : text + ", " + std::to_string(bytes.size()) + " left";
}

void check_responses(const std::vector<conformance_case>& cases, std::string_view method = "GET") {
  for (const conformance_case& one : cases) {
    const std::string seen = told(one.message, method, one.message.size());
    EXPECT_EQ(told(one.message, method, 1), seen) << test::printable(one.message);
    test::check(one, seen, seen.find('\'') != seen.npos);
  }
}

std::string line(const std::string& first) { return first + "\r\nContent-Length: 0\r\n\r\n"; }
std::string answer(const std::string& fields, const std::string& body = "") {
  return "HTTP/1.1 200 OK\r\n" + fields + "\r\n" + body;
}
std::string chunks(const std::string& body) {
  return answer("Transfer-Encoding: chunked\r\n", body);
}

TEST(http_conformance, of_status_lines) {
  const std::string ok = "200 '' keeps";
  const std::string bad = "malformed status line";
  const char* const blank = "servers write so, and nothing else can be meant";
  check_responses({
      {"9112 4", take, line("HTTP/1.1 200 OK"), ok},
      {"9112 4", take, line("HTTP/1.1 200 "), ok},
      {"9112 4", take, line("HTTP/1.1 200  OK"), ok},
      {"9112 4", take, line("HTTP/1.1 200 Not  quite\tOK"), ok},
      {"9112 4", take, line("HTTP/1.1 500 Ori\xc3\xabntatie"), "500 '' keeps"},
      {"9110 2.5", take, line("HTTP/1.2 200 OK"), ok},
      {"9112 9.3", take, line("HTTP/1.0 200 OK"), "200 '' closes"},
      {"9112 4", refuse, line("HTTP/1.1 200"), ok, blank},
      {"9110 15", take, line("HTTP/1.1 299 OK"), "299 '' keeps"},
      {"9110 15", either, line("HTTP/1.1 600 OK"), "600 '' keeps"},
      {"9110 15", either, line("HTTP/1.1 999 OK"), "999 '' keeps"},
      {"9112 4", refuse, line("HTTP/1.1 99 OK"), bad},
      {"9112 4", refuse, line("HTTP/1.1 2 OK"), bad},
      {"9112 4", refuse, line("HTTP/1.1 2000 OK"), bad},
      {"9112 4", refuse, line("HTTP/1.1 20x OK"), bad},
      {"9112 4", refuse, line("HTTP/1.1 +20 OK"), bad},
      {"9112 4", refuse, line("HTTP/1.1 -20 OK"), bad},
      {"9112 4", refuse, line("HTTP/1.1 000 OK"), bad},
      {"9112 4", refuse, line("HTTP/1.1 099 OK"), bad},
      {"9112 4", refuse, line("HTTP/1.1 200OK"), bad},
      {"9112 4", refuse, line("HTTP/1.1 OK"), bad},
      {"9112 4", refuse, line("HTTP/1.1"), bad},
      {"9112 4", refuse, line("HTTP/1.1  200 OK"), bad},
      {"9112 4", refuse, line("HTTP/1.1\t200 OK"), bad},
      {"9112 4", refuse, line("HTTP/1.1 200\tOK"), bad},
      {"9112 4", refuse, line(" HTTP/1.1 200 OK"), bad},
      {"9112 4", refuse, line("HTTP/1.1 200 O\0K"s), bad},
      {"9112 4", refuse, line("HTTP/1.1 200 O\x01K"), bad},
      {"9112 2.2", refuse, line("HTTP/1.1 200 OK\rX: y"), bad},
      {"9112 2.2", refuse, line("HTTP/1.1 200 OK\r\rX: y"), bad},
      {"9112 2.2", refuse, "\r" + line("HTTP/1.1 200 OK"), bad},
      {"9112 2.3", refuse, line("HTP/1.1 200 OK"), bad},
      {"9112 2.3", refuse, line("http/1.1 200 OK"), bad},
      {"9112 2.3", refuse, line("HTTPER/1.1 200 OK"), bad},
      {"9112 2.3", refuse, line("RTSP/1.1 200 OK"), bad},
      {"9112 2.3", refuse, line("ICE/1.0 200 OK"), bad},
      {"9112 2.3", refuse, line("ICY 200 OK"), bad},
      {"9112 2.3", refuse, line("HTTP/01.1 200 OK"), bad},
      {"9112 2.3", refuse, line("HTTP/11.1 200 OK"), bad},
      {"9112 2.3", refuse, line("HTTP/1.01 200 OK"), bad},
      {"9112 2.3", refuse, line("HTTP/0.9 200 OK"), "unsupported version of HTTP"},
      {"9112 2.3", refuse, line("HTTP/2.0 200 OK"), "unsupported version of HTTP"},
      {"9112 2.3", refuse, line("HTTP/5.6 200 OK"), "unsupported version of HTTP"},
      {"9112 2.2", either, "\r\n" + line("HTTP/1.1 200 OK"), ok},
      {"9112 2.2", either, "HTTP/1.1 200 OK\nContent-Length: 0\n\n", ok},
  });
}

TEST(http_conformance, of_fields_of_responses) {
  const std::string ok = "200 '' closes";
  const std::string bad = "malformed field";
  const std::string folded = "field folded over several lines";
  const char* const folds = "values are views of what was read";
  check_responses({
      {"9112 5", take, answer("X:y\r\nY: \t z \t\r\nEmpty:\r\n.e_t: \xff\r\n"), ok},
      {"9112 2.2", either, answer("X: y\nY: z\r\n"), ok},
      {"9112 5", refuse, answer("X y: z\r\n"), bad},
      {"9112 5", refuse, answer("X : y\r\n"), bad},
      {"9112 5", refuse, answer(": y\r\n"), bad},
      {"9112 5", refuse, answer("X\r\n"), bad},
      {"9112 5", refuse, answer("X@: y\r\n"), bad},
      {"9112 5", refuse, answer("\xc3\xa4: y\r\n"), bad},
      {"9110 5.5", refuse, answer("X: \0\r\n"s), bad},
      {"9110 5.5", refuse, answer("X: y\rZ: z\r\n"), bad},
      {"9110 5.5", either, answer("X: \x01\r\n"), bad},
      {"9112 5.2", take, answer("X: y\r\n z\r\n"), folded, folds},
      {"9112 5.2", take, answer("X: y\r\n\tz\r\n"), folded, folds},
      {"9112 2.2", refuse, answer(" X: y\r\n"), folded},
      {"9112 2.2", refuse, "HTTP/1.1 200 OK\r\n\rX", "incomplete"},
  });
}

TEST(http_conformance, of_lengths_of_responses) {
  const std::string bad = "malformed Content-Length";
  const char* const merged = "may be merged, RFC 9110 section 8.6; nobody sends it";
  check_responses({
      {"9112 6.3", take, answer("Content-Length: 2\r\n", "ok"), "200 'ok' keeps"},
      {"9112 6.3", take, answer("Content-Length:\t2 \t\r\n", "ok+"), "200 'ok' keeps, 1 left"},
      {"9112 6.3", take, answer("Content-Length: 0\r\n"), "200 '' keeps"},
      {"9112 6.3", take, answer("Content-Length: 002\r\n", "ok"), "200 'ok' keeps"},
      {"9112 6.3", take, answer("Content-Length-X: 0\r\n", "ok"), "200 'ok' closes"},
      {"9112 6.3", take, answer("", "ok"), "200 'ok' closes"},
      {"9112 6.3", take, answer("Connection: keep-alive\r\n", "ok"), "200 'ok' closes"},
      {"9112 6.3", take, "HTTP/1.1 404 Not Found\r\n\r\n", "404 '' closes"},
      {"9112 9.3", take, answer("Content-Length: 2\r\nConnection: close\r\n", "ok"),
       "200 'ok' closes"},
      {"9112 9.3", take, answer("Content-Length: 2\r\nProxy-Connection: close\r\n", "ok"),
       "200 'ok' keeps"},
      {"9112 9.3", take, "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
       "200 'ok' keeps"},
      {"9112 8", refuse, answer("Content-Length: 3\r\n", "ok"),
       "200 the connection ended in the middle of a message"},
      {"9112 6.3", refuse, answer("Content-Length: +2\r\n", "ok"), bad},
      {"9112 6.3", refuse, answer("Content-Length: -2\r\n", "ok"), bad},
      {"9112 6.3", refuse, answer("Content-Length: 0x2\r\n", "ok"), bad},
      {"9112 6.3", refuse, answer("Content-Length:\r\n", "ok"), bad},
      {"9112 6.3", refuse, answer("Content-Length: 2, 3\r\n", "ok"), bad},
      {"9112 6.3", refuse, answer("Content-Length: 2\r\nContent-Length: 3\r\n", "ok"), bad},
      {"9112 6.3", refuse, answer("Content-Length: 18446744073709551618\r\n", "ok"), bad},
      {"9112 6.3", take, answer("Content-Length: 2, 2\r\n", "ok"), bad, merged},
      {"9112 6.3", take, answer("Content-Length: 2\r\nContent-Length: 2\r\n", "ok"), bad, merged},
  });
}

TEST(http_conformance, of_codings_of_responses) {
  const std::string bad = "malformed Transfer-Encoding";
  const char* const unasked = "no coding was asked for, and none beside chunked is known";
  check_responses({
      {"9112 6.3", take, chunks("2\r\nok\r\n0\r\n\r\n"), "200 'ok' keeps"},
      {"9112 6.3", take, chunks("2;a=\"b;c\";d\r\nok\r\n000;e\r\nX: y\r\n\r\nz"),
       "200 'ok' keeps, 1 left"},
      {"9112 7", take, answer("transfer-encoding: CHUNKED\r\n", "0\r\n\r\n"), "200 '' keeps"},
      {"9112 8", refuse, chunks("2\r\nok\r\n"),
       "200 the connection ended in the middle of a message"},
      {"9112 8", refuse, chunks("2\r\nok\r\n0\r\n"),
       "200 the connection ended in the middle of a message"},
      {"9112 7.1", refuse, chunks("2 \r\nok\r\n0\r\n\r\n"), "200 malformed chunk"},
      {"9112 7.1", refuse, chunks("2 ok\r\nok\r\n0\r\n\r\n"), "200 malformed chunk"},
      {"9112 7.1", refuse, chunks("2;\r\nok\r\n0\r\n\r\n"), "200 malformed chunk"},
      {"9112 7.1", refuse, chunks("2;a=\"b\r\nok\r\n0\r\n\r\n"), "200 malformed chunk"},
      {"9112 7.1", refuse, chunks("2\nok\n0\n\n"), "200 malformed chunk"},
      {"9112 7.1", refuse, chunks("0x2\r\nok\r\n0\r\n\r\n"), "200 malformed chunk"},
      {"9112 6.3", either, answer("Transfer-Encoding: chunked\r\nContent-Length: 2\r\n", "ok"),
       "both Content-Length and Transfer-Encoding"},
      {"9112 6.3", take, answer("Transfer-Encoding: chunked, gzip\r\n", "ok"), bad, unasked},
      {"9112 6.3", take, answer("Transfer-Encoding: gzip\r\n", "ok"), bad, unasked},
      {"9112 6.3", take, answer("Transfer-Encoding: identity\r\n", "ok"), bad, unasked},
      {"9112 6.3", take, answer("Transfer-Encoding: chunkedchunked\r\n", "ok"), bad, unasked},
      {"9112 7", take, answer("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"),
       "unsupported transfer coding", unasked},
      {"9112 6.1", refuse, answer("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
       bad},
      {"9112 6.1", refuse,
       answer("Transfer-Encoding: \x0b"
              "chunked\r\n"),
       "malformed field"},
      {"9112 5.2", take, answer("Transfer-Encoding: chunked\r\n abc\r\n"),
       "field folded over several lines", "values are views of what was read"},
      {"9112 6.1", either, "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", bad},
  });
}

TEST(http_conformance, of_responses_without_a_body) {
  const std::string length = "Content-Length: 2\r\n\r\n";
  const std::string chunked = "Transfer-Encoding: chunked\r\n\r\n";
  const std::string next = answer("Content-Length: 0\r\n");
  check_responses({
      {"9112 6.3", take, "HTTP/1.1 204 No Content\r\n\r\nok", "204 '' keeps, 2 left"},
      {"9112 6.3", take, "HTTP/1.1 204 No Content\r\n" + length + "ok", "204 '' keeps, 2 left"},
      {"9112 6.3", take, "HTTP/1.1 204 No Content\r\n" + chunked + "ok", "204 '' keeps, 2 left"},
      {"9112 6.3", take, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", "204 '' closes"},
      {"9112 6.3", take, "HTTP/1.0 204 No Content\r\nConnection: keep-alive\r\n\r\n",
       "204 '' keeps"},
      {"9112 6.3", take, "HTTP/1.1 304 Not Modified\r\n" + length + "ok", "304 '' keeps, 2 left"},
      {"9112 6.3", take, "HTTP/1.1 304 Not Modified\r\n" + chunked + "ok", "304 '' keeps, 2 left"},
      {"9112 6.3", take, "HTTP/1.1 205 Reset\r\nContent-Length: 0\r\n\r\n", "205 '' keeps"},
      {"9110 15.2", take, "HTTP/1.1 100 Continue\r\n\r\n" + next, "100, 200 '' keeps"},
      {"9110 15.2", take, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + next,
       "103, 200 '' keeps"},
      {"9110 15.2", take, "HTTP/1.1 100 Continue\r\n" + length + next, "100, 200 '' keeps"},
      {"9110 15.2", take, "HTTP/1.1 199 ?\r\n" + chunked + "HTTP/1.1 102 ?\r\n\r\n" + next,
       "199, 102, 200 '' keeps"},
      {"9110 15.2.2", take, "HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\nok",
       "101 '' keeps, 2 left"},
      {"9110 15.2.2", take, "HTTP/1.1 101 Switching\r\nUpgrade: x\r\n" + length + "ok",
       "101 '' keeps, 2 left"},
      {"9110 15.2", refuse, "HTTP/1.1 100 Continue\r\n\r\n", "100, incomplete"},
  });
  check_responses(
      {
          {"9112 6.3", take, answer("Content-Length: 2\r\n", "ok"), "200 '' keeps, 2 left"},
          {"9112 6.3", take, answer("Transfer-Encoding: chunked\r\n", "ok"),
           "200 '' keeps, 2 left"},
          {"9112 6.3", take, answer("", "ok"), "200 '' keeps, 2 left"},
          {"9112 6.3", take, "HTTP/1.1 404 Not Found\r\n" + length, "404 '' keeps"},
          {"9112 6.3", either, answer("Content-Length: 2\r\n" + chunked),
           "both Content-Length and Transfer-Encoding"},
      },
      "HEAD");
  check_responses(
      {
          {"9112 6.3", take, answer("", "ok"), "200 '' keeps, 2 left"},
          {"9112 6.3", take, answer("Content-Length: 2\r\n", "ok"), "200 '' keeps, 2 left"},
          {"9112 6.3", take, answer("Transfer-Encoding: chunked\r\n", "ok"),
           "200 '' keeps, 2 left"},
          {"9112 6.3", take, "HTTP/1.1 299 ?\r\nContent-Length: x\r\n" + chunked, "299 '' keeps"},
          {"9112 6.3", take, "HTTP/1.1 403 Forbidden\r\n" + length + "ok", "403 'ok' keeps"},
          {"9112 6.3", take, "HTTP/1.1 302 Found\r\n\r\nok", "302 'ok' closes"},
      },
      "CONNECT");
}

}  // namespace
}  // namespace rill::http
