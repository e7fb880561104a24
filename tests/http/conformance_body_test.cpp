// Bodies of requests as a server reads them, beside what RFC 9110 and RFC 9112 say: Content-Length,
// Transfer-Encoding, both, chunks, extensions, trailers. See conformance_test.cpp.
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "http/conformance_server.h"

namespace rill::http {
namespace {

using namespace std::string_literals;
using test::check_requests;
using enum test::rule;

std::string post(const std::string& fields, const std::string& body = "") {
  return "POST / HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n" + body;
}
std::string length(const std::string& value, const std::string& body = "") {
  return post("Content-Length:" + value + "\r\n", body);
}
const std::string five = "5\r\nhello\r\n0\r\n\r\n";
std::string coding(const std::string& value, const std::string& body = five) {
  return post("Transfer-Encoding:" + value + "\r\n", body);
}
std::string chunks(const std::string& body) { return coding(" chunked", body); }

const std::string nothing = "200 POST / at a +";
const std::string hello = "200 POST / at a body hello +";

TEST(http_conformance, of_lengths) {
  const char* const merged = "may be merged, RFC 9110 section 8.6; nobody sends it";
  check_requests({
      {"9112 6.3", take, post(""), nothing},
      {"9112 6.3", take, length(" 5", "hello"), hello},
      {"9112 6.3", take, length(" 0"), nothing},
      {"9110 5.5", take, length("5", "hello"), hello},
      {"9110 5.5", take, length("\t5", "hello"), hello},
      {"9110 5.5", take, length("   5  \t", "hello"), hello},
      {"9110 5.1", take, post("conTENT-Length: 5\r\n", "hello"), hello},
      {"9110 8.6", take, length(" 005", "hello"), hello},
      {"9110 8.6", take, length(" 00000000000000000000000000005", "hello"), hello},
      {"9110 8.6", take, length(" 00"), nothing},
      {"9110 9.3.1", take, "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
       "200 GET / at a body hello +"},
      {"9110 9.3.2", take, "HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
       "200  +"},
      {"9110 9.3.7", take, "OPTIONS / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
       "200 OPTIONS / at a body hello +"},
      {"9110 9.3.6", either, "CONNECT a:1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
       "501 +"},
      {"9112 6.3", take, "POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
       "200 POST / at a body hello"},
      {"9112 6.3", take, post("Content_Length: 5\r\n"), nothing},
      {"9112 6.3", take, post("Content-Lengths: 5\r\n"), nothing},
      {"9112 6.3", take, post("X-Content-Length: 5\r\n"), nothing},
      {"9112 5.1", refuse, post("Content-Length : 5\r\n", "hello"), "400"},
      {"9112 5", refuse, post("Content Length: 5\r\n", "hello"), "400"},
      {"9112 5", refuse, post("Content\rLength: 5\r\n", "hello"), "400"},
      {"9110 8.6", refuse, length("", "hello"), "400"},
      {"9110 8.6", refuse, length(" ", "hello"), "400"},
      {"9110 8.6", refuse, length(" +5", "hello"), "400"},
      {"9110 8.6", refuse, length(" -5", "hello"), "400"},
      {"9110 8.6", refuse, length(" -0"), "400"},
      {"9110 8.6", refuse, length(" 0x5", "hello"), "400"},
      {"9110 8.6", refuse, length(" 0o5", "hello"), "400"},
      {"9110 8.6", refuse, length(" 5_0", "hello"), "400"},
      {"9110 8.6", refuse, length(" 5.0", "hello"), "400"},
      {"9110 8.6", refuse, length(" 5e0", "hello"), "400"},
      {"9110 8.6", refuse, length(" 5;", "hello"), "400"},
      {"9110 8.6", refuse, length(" \"5\"", "hello"), "400"},
      {"9110 8.6", refuse, length(" 5 5", "hello"), "400"},
      {"9110 8.6", refuse, length(" 5,", "hello"), "400"},
      {"9110 8.6", refuse, length(" abc", "hello"), "400"},
      {"9110 8.6", refuse, length(" 5\x0b", "hello"), "400"},
      {"9110 8.6", refuse, length(" 5\xa0", "hello"), "400"},
      {"9110 8.6", refuse, length(" \xd9\xa5", "hello"), "400"},
      {"9110 5.5", refuse, length(" 5\0"s, "hello"), "400"},
      {"9110 5.5", refuse, length(" 5\r", "hello"), "400"},
      {"9112 5.2", either, length(" 5\r\n 0", "hello"), "400"},
      {"9112 6.3", refuse, length(" 5, 6", "hello"), "400"},
      {"9112 6.3", refuse, length(" 5\r\nContent-Length: 6", "hello"), "400"},
      {"9112 6.3", refuse, length(" 5\r\nContent-Length:", "hello"), "400"},
      {"9112 6.3", take, length(" 5, 5", "hello"), "400", merged},
      {"9112 6.3", take, length(" 5\r\nContent-Length: 5", "hello"), "400", merged},
      {"9110 8.6", refuse, length(" 9223372036854775808", "hello"), "400"},
      {"9110 8.6", refuse, length(" 18446744073709551616", "hello"), "400"},
      {"9110 8.6", refuse, length(" 18446744073709551621", "hello"), "400"},
      {"9110 8.6", refuse, length(" " + std::string(400, '9'), "hello"), "400"},
      {"9110 15.5.14", either, length(" 9223372036854775807", "hello"), "413"},
      {"9110 15.5.14", either, length(" 99999999999", "hello"), "413"},
  });
}

TEST(http_conformance, of_transfer_codings) {
  const char* const empty = "an empty element is a way to hide a coding";
  check_requests({
      {"9112 6.1", take, coding(" chunked"), hello},
      {"9112 7", take, coding(" Chunked"), hello},
      {"9110 5.1", take, post("TRANSFER-ENCODING: CHUNKED\r\n", five), hello},
      {"9110 5.5", take, coding("chunked"), hello},
      {"9110 5.5", take, coding("\t chunked \t"), hello},
      {"9112 6.1", take, "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + five,
       "200 GET / at a body hello +"},
      {"9112 6.1", take, post("Transfer_Encoding: chunked\r\n"), nothing},
      {"9112 6.1", take, post("Transfer-Encodings: chunked\r\n"), nothing},
      {"9112 6.1", take, post("Transfer-%45ncoding: chunked\r\n"), nothing},
      {"9112 6.1", take, post("Content-Encoding: chunked\r\n"), nothing},
      {"9110 10.1.4", take, post("TE: chunked, trailers\r\nConnection: TE\r\n"), nothing},
      {"9110 5.6.1", take, coding(" ,chunked"), "400", empty},
      {"9110 5.6.1", take, coding(" chunked,"), "400", empty},
      {"9112 6.1", refuse, coding(""), "400"},
      {"9112 6.1", refuse, coding(" ,"), "400"},
      {"9112 6.1", refuse, coding(" gzip, chunked"), "501"},
      {"9112 6.1", refuse, coding(" identity, chunked"), "501"},
      {"9112 6.1", refuse, coding(" identity\r\nTransfer-Encoding: chunked"), "400"},
      {"9112 6.3", refuse, coding(" identity"), "400"},
      {"9112 6.3", refuse, coding(" gzip"), "400"},
      {"9112 6.3", refuse, coding(" pigeons"), "400"},
      {"9112 6.3", refuse, coding(" xchunked"), "400"},
      {"9112 6.3", refuse, coding(" chunk"), "400"},
      {"9112 6.3", refuse, coding(" chunkedchunked"), "400"},
      {"9112 6.3", refuse, coding(" chunked, gzip"), "400"},
      {"9112 6.3", refuse, coding(" chunked, identity"), "400"},
      {"9112 6.3", refuse, coding(" identity, chunked, identity"), "400"},
      {"9112 6.3", refuse, coding(" chunked\r\nTransfer-Encoding: identity"), "400"},
      {"9112 6.3", refuse, coding(" chunked\r\nTransfer-Encoding:"), "400"},
      {"9112 6.1", refuse, coding(" chunked, chunked"), "400"},
      {"9112 6.1", refuse, coding(" chunked\r\nTransfer-Encoding: chunked"), "400"},
      {"9112 7", refuse, coding(" chunked;a=b"), "400"},
      {"9112 7", refuse, coding(" chunked;q=0"), "400"},
      {"9112 7", refuse, coding(" chunked chunked"), "400"},
      {"9112 7", refuse, coding(" \"chunked\""), "400"},
      {"9112 7", refuse, coding(" 'chunked'"), "400"},
      {"9112 7", refuse, coding(" =?UTF-8?B?Y2h1bmtlZA==?="), "400"},
      {"9112 7", refuse,
       coding(" \x0b"
              "chunked"),
       "400"},
      {"9112 7", refuse,
       coding(" \x0c"
              "chunked"),
       "400"},
      {"9112 7", refuse, coding(" chunked\x0b"), "400"},
      {"9112 7", refuse,
       coding(" \xa0"
              "chunked"),
       "400"},
      {"9112 7", refuse,
       coding(" chun\xc4\xb7"
              "ed"),
       "400"},
      {"9110 5.5", refuse, coding(" chunked\0"s), "400"},
      {"9110 5.5", refuse, coding(" chu\0nked"s), "400"},
      {"9110 5.5", refuse, coding(" chunked\r"), "400"},
      {"9112 5.2", either, coding("\r\n chunked"), "400"},
      {"9112 5.2", either, coding(" chunked\r\n abc"), "400"},
      {"9112 5.2", either, post("X: y\r\n Transfer-Encoding: chunked\r\n"), "400"},
      {"9112 5.1", refuse, post("Transfer-Encoding : chunked\r\n", five), "400"},
      {"9112 5.1", refuse, post("Transfer-Encoding\t: chunked\r\n", five), "400"},
      {"9112 5.1", refuse, post("Transfer-Encoding\x0b: chunked\r\n", five), "400"},
      {"9112 5.1", refuse, post("Transfer-Encoding\xc2\xa0: chunked\r\n", five), "400"},
      {"9112 5.1", refuse, post("Transfer-Encoding x: chunked\r\n", five), "400"},
      {"9112 5.1", refuse, post("Transfer Encoding: chunked\r\n", five), "400"},
      {"9112 5.1", refuse, post("Transfer\\Encoding: chunked\r\n", five), "400"},
      {"9112 5.1", refuse, post("\x01Transfer-Encoding: chunked\r\n", five), "400"},
      {"9112 2.2", refuse, post("X: y\rTransfer-Encoding: chunked\r\n", five), "400"},
      {"9112 2.2", either, post("X: y\nTransfer-Encoding: chunked\r\n", five), "400"},
      {"9112 6.1", refuse,
       "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + five, "400"},
      {"9112 6.1", refuse,
       "POST / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nContent-Length: 5\r\n"
       "Transfer-Encoding: chunked\r\n\r\nhello",
       "400"},
  });
}

TEST(http_conformance, of_a_length_beside_a_coding) {
  const std::string hidden = "0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";
  const std::string chunked = "Transfer-Encoding: chunked\r\n";
  check_requests({
      {"9112 6.3", either, post("Content-Length: 5\r\n" + chunked, hidden), "400"},
      {"9112 6.3", either, post(chunked + "Content-Length: 5\r\n", hidden), "400"},
      {"9112 6.3", either, post("Content-Length: 0\r\n" + chunked, hidden), "400"},
      {"9112 6.3", either, post("Content-Length: 46\r\n" + chunked, hidden), "400"},
      {"9112 6.3", refuse, post("Content-Length: +5\r\n" + chunked, hidden), "400"},
      {"9112 6.3", refuse, post("Content-Length: 5\r\nTransfer-Encoding: identity\r\n", "hello"),
       "400"},
      {"9112 6.3", refuse, post("Content-Length: 5\r\nTransfer-Encoding: xchunked\r\n", "hello"),
       "400"},
      {"9112 6.3", refuse, post("Content-Length: 5\r\nTransfer-Encoding:\r\n", "hello"), "400"},
      {"9112 6.3", either, post("Content-Length: 5\r\nTransfer-Encoding: \tCHUNKED \r\n", hidden),
       "400"},
      {"9112 6.3", either,
       "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n" + chunked + "\r\n" + hidden, "400"},
  });
}

TEST(http_conformance, of_chunks) {
  check_requests({
      {"9112 7.1", take, chunks("5\r\nhello\r\n0\r\n\r\n"), hello},
      {"9112 7.1", take, chunks("2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"), hello},
      {"9112 7.1", take, chunks("0\r\n\r\n"), nothing},
      {"9112 7.1", take, chunks("000\r\n\r\n"), nothing},
      {"9112 7.1", take, chunks("005\r\nhello\r\n00\r\n\r\n"), hello},
      {"9112 7.1", take, chunks("0000000000000005\r\nhello\r\n0\r\n\r\n"), hello},
      {"9112 7.1", take, chunks("a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n"),
       "200 POST / at a body 01234567890123456789 +"},
      {"9112 7.1", take, chunks("2\r\n\r\n\r\n0\r\n\r\n"), "200 POST / at a body \r\n +"},
      {"9112 7.1", take, chunks("00000000000000005\r\nhello\r\n0\r\n\r\n"), "400",
       "a size has 16 digits at most"},
      {"9112 7.1", refuse, chunks("5 \r\nhello\r\n0\r\n\r\n"), "400"},
      {"9112 7.1", refuse, chunks("5\t\r\nhello\r\n0\r\n\r\n"), "400"},
      {"9112 7.1", refuse, chunks(" 5\r\nhello\r\n0\r\n\r\n"), "400"},
      {"9112 7.1", refuse, chunks("+5\r\nhello\r\n0\r\n\r\n"), "400"},
      {"9112 7.1", refuse, chunks("-5\r\nhello\r\n0\r\n\r\n"), "400"},
      {"9112 7.1", refuse, chunks("0x5\r\nhello\r\n0\r\n\r\n"), "400"},
      {"9112 7.1", refuse, chunks("5_\r\nhello\r\n0\r\n\r\n"), "400"},
      {"9112 7.1", refuse, chunks("5,\r\nhello\r\n0\r\n\r\n"), "400"},
      {"9112 7.1", refuse, chunks("5.\r\nhello\r\n0\r\n\r\n"), "400"},
      {"9112 7.1", refuse, chunks("\"5\"\r\nhello\r\n0\r\n\r\n"), "400"},
      {"9112 7.1", refuse, chunks("g\r\nhello\r\n0\r\n\r\n"), "400"},
      {"9112 7.1", refuse, chunks("5\0\r\nhello\r\n0\r\n\r\n"s), "400"},
      {"9112 7.1", refuse, chunks("\r\nhello\r\n0\r\n\r\n"), "400"},
      {"9112 7.1", refuse, chunks("\xef\xbc\x95\r\nhello\r\n0\r\n\r\n"), "400"},
      {"9112 7.1", refuse, chunks("10000000000000005\r\nhello\r\n0\r\n\r\n"), "400"},
      {"9112 7.1", refuse, chunks("fffffffffffffffff\r\nhello\r\n0\r\n\r\n"), "400"},
      {"9112 7.1", refuse, chunks("ffffffffffffffff\r\nhello\r\n0\r\n\r\n"), "413"},
      {"9112 7.1", refuse, chunks("5\nhello\r\n0\r\n\r\n"), "400"},
      {"9112 7.1", refuse, chunks("5\rhello\r\n0\r\n\r\n"), "400"},
      {"9112 7.1", refuse, chunks("5\r\r\nhello\r\n0\r\n\r\n"), "400"},
      {"9112 7.1", refuse, chunks("5\r\r;abc\r\nhello\r\n0\r\n\r\n"), "400"},
      {"9112 7.1", refuse, chunks("5\r\nhello\n0\r\n\r\n"), "400"},
      {"9112 7.1", refuse, chunks("5\r\nhello\r0\r\n\r\n"), "400"},
      {"9112 7.1", refuse, chunks("5\r\nhello0\r\n\r\n"), "400"},
      {"9112 7.1", refuse, chunks("5\r\nhelloxx0\r\n\r\n"), "400"},
      {"9112 7.1", refuse, chunks("4\r\nhello\r\n0\r\n\r\n"), "400"},
      {"9112 7.1", refuse, chunks("6\r\nhello\r\n0\r\n\r\n"), "400"},
      {"9112 7.1", refuse, chunks("5\r\nhello\r\n\r\n"), "400"},
      {"9112 7.1", refuse, chunks("5\r\nhello\r\n+0\r\n\r\n"), "400"},
      {"9112 7.1", refuse, chunks("5\r\nhello\r\n0 \r\n\r\n"), "400"},
      {"9112 7.1", refuse, chunks("5\r\nhello\r\n0\n\r\n"), "400"},
      {"9112 7.1", refuse, chunks("5\r\nhello\r\n0\r\n\n"), "400"},
  });
}

TEST(http_conformance, of_chunk_extensions) {
  const auto with = [](const std::string& extension) {
    return chunks("5" + extension + "\r\nhello\r\n0\r\n\r\n");
  };
  check_requests({
      {"9112 7.1.1", take, with(";a"), hello},
      {"9112 7.1.1", take, with(";a;b=c;d=e"), hello},
      {"9112 7.1.1", take, with(";a=\"b;c\""), hello},
      {"9112 7.1.1", take, with(";a=\"\\\"b\\\\\";c"), hello},
      {"9112 7.1.1", take, with("; a = b ;\tc"), hello},
      {"9112 7.1.1", take, chunks("5\r\nhello\r\n0;a=b\r\n\r\n"), hello},
      {"9110 5.6.3", take, with(" ;a"), "400", "blanks around a size are refused"},
      {"9112 7.1.1", refuse, with(";"), "400"},
      {"9112 7.1.1", refuse, with("; "), "400"},
      {"9112 7.1.1", refuse, with(";;a"), "400"},
      {"9112 7.1.1", refuse, with(";a="), "400"},
      {"9112 7.1.1", refuse, with(";=b"), "400"},
      {"9112 7.1.1", refuse, with(";a=b=c"), "400"},
      {"9112 7.1.1", refuse, with(";a b"), "400"},
      {"9112 7.1.1", refuse, with(";["), "400"},
      {"9112 7.1.1", refuse, with(";a=\"b"), "400"},
      {"9112 7.1.1", refuse, with(";a=\"b\"c"), "400"},
      {"9112 7.1.1", refuse, with(" a"), "400"},
      {"9112 7.1.1", refuse, with(",a"), "400"},
      {"9112 2.2", refuse, with(";a\r;b"), "400"},
      {"9112 2.2", refuse, with(";a\r"), "400"},
      {"9112 7.1.1", refuse, with(";a\nX"), "400"},
      {"9112 7.1.1", refuse, with(";\n"), "400"},
      {"9112 7.1.1", refuse, with(";a=\"\n\""), "400"},
      {"9112 7.1.1", refuse, with(";a\0"s), "400"},
      {"9112 7.1.1", refuse, with(";a=\"\x01\""), "400"},
      {"9112 7.1.1", refuse, with(";\xc3\xa4"), "400"},
      {"9112 7.1.1", refuse, chunks("5\r\nhello\r\n0;\r\n\r\n"), "400"},
      {"9112 7.1.1", either, with(";a=" + std::string(20'000, 'b')), "400"},
  });
}

TEST(http_conformance, of_trailers) {
  const auto with = [](const std::string& lines) {
    return chunks("5\r\nhello\r\n0\r\n" + lines + "\r\n");
  };
  check_requests({
      {"9112 7.1.2", take, with("X: y\r\n"), hello},
      {"9112 7.1.2", take, with("X:\r\nVary: *\r\nX: z\r\n"), hello},
      {"9110 6.5.1", either, with("Content-Length: 5\r\n"), "400"},
      {"9110 6.5.1", either, with("Transfer-Encoding: chunked\r\n"), "400"},
      {"9110 6.5.1", either, with("Host: b\r\n"), "400"},
      {"9110 6.5.1", either, with("Authorization: Basic eDp5\r\n"), "400"},
      {"9110 6.5.1", either, with("Content-Type: text/html\r\n"), "400"},
      {"9110 6.5.1", either, with("Content-Encoding: gzip\r\n"), "400"},
      {"9110 6.5.1", either, with("Connection: close\r\n"), "400"},
      {"9110 6.5.1", either, with("Cookie: a=b\r\n"), "400"},
      {"9112 5", refuse, with("X\r\n"), "400"},
      {"9112 5", refuse, with(": y\r\n"), "400"},
      {"9112 5.1", refuse, with("X : y\r\n"), "400"},
      {"9112 5.2", either, with("X: y\r\n z\r\n"), "400"},
      {"9112 5.2", either, with(" X: y\r\n"), "400"},
      {"9112 2.2", either, with("X: y\n"), "400"},
      {"9112 2.2", refuse, with("X: y\rZ: 1\r\n"), "400"},
      {"9110 5.5", refuse, with("X: \0\r\n"s), "400"},
      {"9112 7.1", refuse, with("GET /hidden HTTP/1.1\r\n"), "400"},
      {"9110 5.4", refuse, with("X: " + std::string(9000, 'y') + "\r\n"), "431"},
  });
}

TEST(http_conformance, of_bodies_that_do_not_end) {
  // RFC 9112 section 8: such a message is incomplete, whatever came of it.
  EXPECT_EQ(test::told({length(" 6", "hello")}), "400");
  EXPECT_EQ(test::told({length(" 16000000")}), "400");
  EXPECT_EQ(test::told({chunks("5\r\nhello\r\n")}), "400");
  EXPECT_EQ(test::told({chunks("5\r\nhello\r\n0\r\n")}), "400");
  EXPECT_EQ(test::told({chunks("5\r\nhel")}), "400");
}

}  // namespace
}  // namespace rill::http
