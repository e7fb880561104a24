// Requests as a server answers them, message by message, beside what RFC 9110 and RFC 9112 say:
// start lines, targets, Host, fields, and how the connection goes on. Bodies:
// conformance_body_test.cpp; responses: conformance_response_test.cpp. The cases are those that the
// public suites ask: llhttp's vectors, Http11Probe, h1spec, and the permutations of smuggling
// tools.
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "http/conformance_server.h"

namespace rill::http {
namespace {

using namespace std::string_literals;
using test::check_requests;
using test::rule;
using enum test::rule;

/// A request of this first line, and of these fields.
std::string line(const std::string& first) { return first + "\r\nHost: a\r\n\r\n"; }
std::string target(const std::string& text) { return line("GET " + text + " HTTP/1.1"); }
std::string fields(const std::string& lines) {
  return "GET / HTTP/1.1\r\nHost: a\r\n" + lines + "\r\n";
}
std::string hosts(const std::string& lines) { return "GET / HTTP/1.1\r\n" + lines + "\r\n"; }

const std::string root = "200 GET / at a +";

TEST(http_conformance, of_first_lines) {
  check_requests({
      {"9112 3", take, line("GET / HTTP/1.1"), root},
      {"9110 9.1", take, line("PATCH / HTTP/1.1"), "200 PATCH / at a +"},
      {"9110 9.1", take, line("get / HTTP/1.1"), "200 get / at a +"},
      {"9110 9.1", take, line("BREW / HTTP/1.1"), "200 BREW / at a +"},
      {"9110 9.1", take, line("M-SEARCH / HTTP/1.1"), "200 M-SEARCH / at a +"},
      {"9110 5.6.2", take, line("!#$%&'*+-.^_`|~9 / HTTP/1.1"), "200 !#$%&'*+-.^_`|~9 / at a +"},
      {"9112 3", refuse, line("G@T / HTTP/1.1"), "400"},
      {"9112 3", refuse, line("GET\0 / HTTP/1.1"s), "400"},
      {"9112 3", refuse, line("\xc3\x89T\xc3\x89 / HTTP/1.1"), "400"},
      {"9112 3", refuse, line("\"GET\" / HTTP/1.1"), "400"},
      {"9112 3", refuse, line(" GET / HTTP/1.1"), "400"},
      {"9112 3", refuse, line("\tGET / HTTP/1.1"), "400"},
      {"9112 3", refuse, line("GET\t/ HTTP/1.1"), "400"},
      {"9112 3", refuse, line("GET  / HTTP/1.1"), "400"},
      {"9112 3", refuse, line("GET /  HTTP/1.1"), "400"},
      {"9112 3", refuse, line("GET /\tHTTP/1.1"), "400"},
      {"9112 3", refuse, line("GET / HTTP/1.1 "), "400"},
      {"9112 3", refuse, line("GET / HTTP/1.1\t"), "400"},
      {"9112 3", refuse, line("GET / HTTP/1.1 x"), "400"},
      {"9112 3", refuse, line("GET /a b HTTP/1.1"), "400"},
      {"9112 3", refuse, line("GET HTTP/1.1"), "400"},
      {"9112 3", refuse, line("GET"), "400"},
      {"9112 3", refuse, line(" "), "400"},
      {"9112 3", refuse, line(" \t "), "400"},
      {"9112 3", refuse, "\x16\x03\x01\x02", "400"},
      {"9112 3", refuse, line("\x80\xff\xfe garbage"), "400"},
      {"9112 2.2", refuse, line("GET / HTTP/1.1\r"), "400"},
      {"9112 2.2", refuse, "GET / HTTP/1.1\rHost: a\r\n\r\n", "400"},
      {"9112 2.2", refuse, line("GET /\rx HTTP/1.1"), "400"},
      {"9112 2.2", either, "GET / HTTP/1.1\nHost: a\r\n\r\n", "400"},
      {"9112 2.2", either, "GET / HTTP/1.1\nHost: a\n\n", "400"},
      {"9112 2.2", take, "\r\n" + line("GET / HTTP/1.1"), root},
      {"9112 2.2", either, "\r\n\r\n\r\n" + line("GET / HTTP/1.1"), root},
      {"9112 2.2", either, "\n" + line("GET / HTTP/1.1"), "400"},
      {"9112 2.2", refuse, "\r" + line("GET / HTTP/1.1"), "400"},
      {"9112 3", take, target("/" + std::string(8000, 'p')),
       "200 GET /" + std::string(8000, 'p') + " at a +"},
      {"9112 3", refuse, target("/" + std::string(17'000, 'p')), "414"},
      {"9110 9.1", refuse, line(std::string(17'000, 'M') + " / HTTP/1.1"), "414"},
  });
}

TEST(http_conformance, of_versions) {
  check_requests({
      {"9112 2.3", take, "GET / HTTP/1.0\r\nHost: a\r\n\r\n", "200 GET / at a"},
      {"9110 2.5", take, line("GET / HTTP/1.2"), root},
      {"9110 2.5", take, line("GET / HTTP/1.9"), root},
      {"9110 15.6.6", refuse, line("GET / HTTP/0.9"), "505"},
      {"9110 15.6.6", refuse, line("GET / HTTP/2.0"), "505"},
      {"9110 15.6.6", refuse, line("GET / HTTP/3.0"), "505"},
      {"9110 15.6.6", refuse, line("GET / HTTP/5.6"), "505"},
      {"9113 3.4", refuse, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505"},
      {"9112 2.3", refuse, line("GET /"), "400"},
      {"9112 2.3", refuse, line("GET / "), "400"},
      {"9112 2.3", refuse, line("GET / http/1.1"), "400"},
      {"9112 2.3", refuse, line("GET / Http/1.1"), "400"},
      {"9112 2.3", refuse, line("GET / HTTP/1"), "400"},
      {"9112 2.3", refuse, line("GET / HTTP/1."), "400"},
      {"9112 2.3", refuse, line("GET / HTTP/.1"), "400"},
      {"9112 2.3", refuse, line("GET / HTTP/11"), "400"},
      {"9112 2.3", refuse, line("GET / HTTP/1.10"), "400"},
      {"9112 2.3", refuse, line("GET / HTTP/01.1"), "400"},
      {"9112 2.3", refuse, line("GET / HTTP/1.01"), "400"},
      {"9112 2.3", refuse, line("GET / HTTP/1,1"), "400"},
      {"9112 2.3", refuse, line("GET / HTTP/1.a"), "400"},
      {"9112 2.3", refuse, line("GET / HTTP/-1.1"), "400"},
      {"9112 2.3", refuse, line("GET / HTTP /1.1"), "400"},
      {"9112 2.3", refuse, line("GET / HTTP/ 1.1"), "400"},
      {"9112 2.3", refuse, line("GET / HTTP/1 .1"), "400"},
      {"9112 2.3", refuse, line("GET / IHTTP/1.0"), "400"},
      {"9112 2.3", refuse, line("GET / HTTPS/1.1"), "400"},
      {"9112 2.3", refuse, line("SOURCE / ICE/1.0"), "400"},
      {"9112 2.3", refuse, line("OPTIONS / RTSP/1.0"), "400"},
  });
}

TEST(http_conformance, of_targets) {
  const char* const visible = "any visible character is taken";
  check_requests({
      {"9112 3.2.1", take, target("/a/b?c=d"), "200 GET /a/b?c=d at a +"},
      {"9112 3.2.1", take, target("/?"), root},
      {"9112 3.2.1", take, target("/?a?b/c"), "200 GET /?a?b/c at a +"},
      {"9112 3.2.1", take, target("//x//y"), "200 GET //x//y at a +"},
      {"9112 3.2.1", take, target("/a;b=c,d:@!$&'()*+"), "200 GET /a;b=c,d:@!$&'()*+ at a +"},
      {"9112 3.2.1", take, target("/%41%2f"), "200 GET /%41%2f at a +"},
      {"9112 3.2.2", take, target("http://b:81/p?q"), "200 GET /p?q at b:81 +"},
      {"9112 3.2.2", take, target("http://b"), "200 GET / at b +"},
      {"9112 3.2.2", take, target("http://b?q"), "200 GET /?q at b +"},
      {"9112 3.2.2", take, target("http://b:81?q"), "200 GET /?q at b:81 +"},
      {"9112 3.2.2", take, target("HTTPS://B/"), "200 GET / at B +"},
      {"9112 3.2.2", take, target("http://[::1]:80/"), "200 GET / at [::1]:80 +"},
      {"9112 3.2.2", take, "GET http://b/ HTTP/1.0\r\n\r\n", "200 GET / at b"},
      {"9112 3.2", refuse, "GET http://b/ HTTP/1.1\r\n\r\n", "400"},
      {"9112 3.2", refuse, "GET http://b/ HTTP/1.1\r\nHost: a b\r\n\r\n", "400"},
      {"9110 4.2.1", refuse, target("http:///p"), "400"},
      {"9110 4.2.1", refuse, target("http://:80/p"), "400"},
      {"9110 4.2.1", refuse, target("http:/p"), "400"},
      {"9110 4.2.4", refuse, target("http://user@b/"), "400"},
      {"9110 4.2.4", refuse, target("http://a%12:b!&*$@b:1234/"), "400"},
      {"9110 4.2.1", refuse, target("http://b:x/"), "400"},
      {"9110 4.2.1", refuse, target("http://b:80:80/"), "400"},
      {"9112 3.2.2", refuse, target("http://b /"), "400"},
      {"9112 3.2.2", refuse, target("1http://b/"), "400"},
      {"9112 3.2.2", refuse, target("://b/"), "400"},
      {"9112 3.2.2", either, target("urn:isbn:0"), "400"},
      {"9112 3.2.3", either, line("CONNECT a:443 HTTP/1.1"), "501 +"},
      {"9112 3.2.3", either, line("CONNECT [::1]:443 HTTP/1.1"), "501 +"},
      {"9110 9.3.6", refuse, line("CONNECT a HTTP/1.1"), "400"},
      {"9110 9.3.6", refuse, line("CONNECT a: HTTP/1.1"), "400"},
      {"9110 9.3.6", refuse, line("CONNECT / HTTP/1.1"), "400"},
      {"9110 9.3.6", refuse, line("CONNECT http://a:443/ HTTP/1.1"), "400"},
      {"9110 9.3.6", refuse, line("CONNECT user@a:443 HTTP/1.1"), "400"},
      {"9112 3.2.3", refuse, target("a:443"), "400"},
      {"9112 3.2.4", take, line("OPTIONS * HTTP/1.1"), "204 +"},
      {"9112 3.2.4", take, line("OPTIONS http://b HTTP/1.1"), "200 OPTIONS / at b +"},
      {"9112 3.2.4", refuse, target("*"), "400"},
      {"9112 3.2.4", refuse, line("M-SEARCH * HTTP/1.1"), "400"},
      {"9112 3.2.4", refuse, line("OPTIONS ** HTTP/1.1"), "400"},
      {"9112 3.2", refuse, target("a/b"), "400"},
      {"9112 3.2", refuse, target("?q"), "400"},
      {"9112 3.2", refuse, target("../a"), "400"},
      {"9112 3.2", refuse, target("@b/"), "400"},
      {"9112 3.2", refuse, target("\\a"), "400"},
      {"9112 3.2", refuse, target("/a#b"), "400"},
      {"9112 3.2", refuse, target("/?q#b"), "400"},
      {"9112 3.2", refuse, target("/\xce\xb4"), "400"},
      {"9112 3.2", refuse, target("/\xc0\xaf"), "400"},
      {"9112 3.2", refuse, target("/\0"s), "400"},
      {"9112 3.2", refuse, target("/\x01"), "400"},
      {"9112 3.2", refuse, target("/\x7f"), "400"},
      {"3986 2.1", refuse, target("/%"), "400 +"},
      {"3986 2.1", refuse, target("/%4"), "400 +"},
      {"3986 2.1", refuse, target("/%zz"), "400 +"},
      {"3986 3.3", refuse, target("/\"a\""), "200 GET /\"a\" at a +", visible},
      {"3986 3.3", refuse, target("/a\\b"), "200 GET /a\\b at a +", visible},
      {"3986 3.4", refuse, target("/?q=a|b"), "200 GET /?q=a|b at a +", visible},
      {"3986 3.4", refuse, target("/?a[]={1}"), "200 GET /?a[]={1} at a +", visible},
      {"3986 3.3", refuse, target("/<a>^`"), "200 GET /<a>^` at a +", visible},
  });
}

TEST(http_conformance, of_hosts) {
  const char* const names = "sub-delimiters stand in no name of a host";
  check_requests({
      {"9112 3.2", take, hosts("Host: a\r\n"), root},
      {"9112 3.2", take, hosts("hOST:a\r\n"), root},
      {"9112 3.2", take, hosts("Host: \t a \t\r\n"), root},
      {"9112 3.2", take, hosts("Host: a:8080\r\n"), "200 GET / at a:8080 +"},
      {"9112 3.2", take, hosts("Host: a:\r\n"), "200 GET / at a: +"},
      {"9112 3.2", take, hosts("Host: 127.0.0.1\r\n"), "200 GET / at 127.0.0.1 +"},
      {"9112 3.2", take, hosts("Host: [::1]:80\r\n"), "200 GET / at [::1]:80 +"},
      {"9112 3.2", take, hosts("Host: a_b~%41\r\n"), "200 GET / at a_b~%41 +"},
      {"9112 3.3", either, hosts("Host:\r\n"), "200 GET / at  +"},
      {"9112 3.2", refuse, hosts(""), "400"},
      {"9112 3.2", refuse, hosts("Hos: a\r\n"), "400"},
      {"9112 3.2", refuse, hosts("Host: a\r\nHost: b\r\n"), "400"},
      {"9112 3.2", refuse, hosts("Host: a\r\nHost: a\r\n"), "400"},
      {"9112 3.2", refuse, hosts("Host: a\r\nX: y\r\nhost: a\r\n"), "400"},
      {"9112 3.2", refuse, hosts("Host: user@a\r\n"), "400"},
      {"9112 3.2", refuse, hosts("Host: a/b\r\n"), "400"},
      {"9112 3.2", refuse, hosts("Host: a?b\r\n"), "400"},
      {"9112 3.2", refuse, hosts("Host: a#b\r\n"), "400"},
      {"9112 3.2", refuse, hosts("Host: http://a\r\n"), "400"},
      {"9112 3.2", refuse, hosts("Host: a b\r\n"), "400"},
      {"9112 3.2", refuse, hosts("Host: a\tb\r\n"), "400"},
      {"9112 3.2", refuse, hosts("Host: a\\b\r\n"), "400"},
      {"9112 3.2", refuse, hosts("Host: a, b\r\n"), "400"},
      {"9112 3.2", refuse, hosts("Host: \xc3\xa4\r\n"), "400"},
      {"9112 3.2", refuse, hosts("Host: a%\r\n"), "400"},
      {"9112 3.2", refuse, hosts("Host: a%4x\r\n"), "400"},
      {"9112 3.2", refuse, hosts("Host: :80\r\n"), "400"},
      {"9112 3.2", refuse, hosts("Host: a:b\r\n"), "400"},
      {"9112 3.2", refuse, hosts("Host: a:-1\r\n"), "400"},
      {"9112 3.2", refuse, hosts("Host: a:80:80\r\n"), "400"},
      {"9112 3.2", either, hosts("Host: a:99999\r\n"), "400"},
      {"9112 3.2", refuse, hosts("Host: [::1\r\n"), "400"},
      {"9112 3.2", refuse, hosts("Host: []\r\n"), "400"},
      {"9112 3.2", refuse, hosts("Host: [a]\r\n"), "400"},
      {"9112 3.2", refuse, hosts("Host: [1::2::3]\r\n"), "400"},
      {"9112 3.2", refuse, hosts("Host: [::1]80\r\n"), "400"},
      {"9112 3.2", refuse, hosts("Host: ::1\r\n"), "400"},
      {"9112 3.2", take, hosts("Host: [v1.a]\r\n"), "400", "nobody has an address of the future"},
      {"9112 3.2", take, hosts("Host: a,b\r\n"), "400", names},
      {"9112 3.2", take, hosts("Host: a;b\r\n"), "400", names},
      {"9112 5.1", refuse, hosts("Host : a\r\n"), "400"},
      {"9112 3.2", take, "GET / HTTP/1.0\r\n\r\n", "200 GET / at "},
      {"9112 3.2", refuse, "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", "400"},
  });
}

TEST(http_conformance, of_fields) {
  std::string many;
  for (int i = 0; i < 100; ++i) many += "X: y\r\n";
  check_requests({
      {"9112 5", take, fields("X: y\r\n"), root},
      {"9112 5", take, fields("X:y\r\n"), root},
      {"9112 5", take, fields("X:\ty \t\r\n"), root},
      {"9112 5", take, fields("X:\r\nY: \r\n"), root},
      {"9112 5", take, fields("!#$%&'*+-.^_`|~9: y\r\n"), root},
      {"9112 5", take, fields("X: a\tb :;,\"\r\n"), root},
      {"9110 5.5", take, fields("X: \xe4\xff\x80\r\n"), root},
      {"9110 5.2", take, fields("X: y\r\nX: z\r\n"), root},
      {"9112 5", take, fields(many), root},
      {"9112 5.1", refuse, fields("X : y\r\n"), "400"},
      {"9112 5.1", refuse, fields("X\t: y\r\n"), "400"},
      {"9112 5", refuse, fields(": y\r\n"), "400"},
      {"9112 5", refuse, fields("X\r\n"), "400"},
      {"9112 5", refuse, fields("X y\r\n"), "400"},
      {"9112 5", refuse, fields("X Y: z\r\n"), "400"},
      {"9112 5", refuse, fields("X[]: y\r\n"), "400"},
      {"9112 5", refuse, fields("X@: y\r\n"), "400"},
      {"9112 5", refuse, fields("X(y): z\r\n"), "400"},
      {"9112 5", refuse, fields("\"X\": y\r\n"), "400"},
      {"9112 5", refuse, fields("\\X: y\r\n"), "400"},
      {"9112 5", refuse, fields("\xc3\xa4: y\r\n"), "400"},
      {"9112 5", refuse, fields("X\xa0: y\r\n"), "400"},
      {"9112 5", refuse, fields("X\0: y\r\n"s), "400"},
      {"9112 5", refuse, fields("X\x01: y\r\n"), "400"},
      {"9112 5", refuse, fields("X\rY: z\r\n"), "400"},
      {"9112 5", refuse, fields("X\r\x1b\x35Y: z\r\n"), "400"},
      {"9112 5", refuse, fields("\xef\xbb\xbfX: y\r\n"), "400"},
      {"9110 5.5", refuse, fields("X: a\0b\r\n"s), "400"},
      {"9110 5.5", refuse, fields("X: a\rb\r\n"), "400"},
      {"9110 5.5", refuse, fields("X: a\r\r\n"), "400"},
      {"9110 5.5", refuse, fields("X: a\rY: b\r\n"), "400"},
      {"9110 5.5", refuse, fields("X:\rY: b\r\n"), "400"},
      {"9110 5.5", either, fields("X: a\x01\r\n"), "400"},
      {"9110 5.5", either, fields("X: a\x0b\r\n"), "400"},
      {"9110 5.5", either, fields("X: a\x1b[0m\r\n"), "400"},
      {"9110 5.5", either, fields("X: a\x7f\r\n"), "400"},
      {"9112 2.2", either, fields("X: a\nY: b\r\n"), "400"},
      {"9112 2.2", either, fields("X:\nY: b\r\n"), "400"},
      {"9112 2.2", either, "GET / HTTP/1.1\r\nHost: a\r\n\n", "400"},
      {"9112 2.2", refuse, "GET / HTTP/1.1\r\nHost: a\r\n\rX", "400"},
      {"9112 2.2", refuse, "GET / HTTP/1.1\r\nHost: a\r\n\r\r\n", "400"},
      {"9112 5.2", either, fields("X: a\r\n b\r\n"), "400"},
      {"9112 5.2", either, fields("X: a\r\n\tb\r\n"), "400"},
      {"9112 5.2", either, fields("X:\r\n b\r\n"), "400"},
      {"9112 5.2", either, fields("X: a\r\n \r\n"), "400"},
      {"9112 5.2", either, fields("X\r\n : y\r\n"), "400"},
      {"9112 2.2", either, "GET / HTTP/1.1\r\n Host: a\r\n\r\n", "400"},
      {"9112 2.2", either, "GET / HTTP/1.1\r\n X: y\r\nHost: a\r\n\r\n", "400"},
      {"9110 5.4", refuse, fields(many + many), "431"},
      {"9110 5.4", refuse, fields("X: " + std::string(70'000, 'y') + "\r\n"), "431"},
      {"9110 5.4", refuse, fields(std::string(70'000, 'X') + ": y\r\n"), "431"},
  });
}

TEST(http_conformance, of_connections) {
  const auto old = [](const std::string& lines) {
    return "GET / HTTP/1.0\r\nHost: a\r\n" + lines + "\r\n";
  };
  const std::string closes = "200 GET / at a";
  check_requests({
      {"9112 9.3", take, fields("Connection: keep-alive\r\n"), root},
      {"9112 9.6", take, fields("Connection: close\r\n"), closes},
      {"9110 7.6.1", take, fields("connection:CLOSE\r\n"), closes},
      {"9110 7.6.1", take, fields("Connection: close\t\r\n"), closes},
      {"9110 7.6.1", take, fields("Connection: foo,close\r\n"), closes},
      {"9110 7.6.1", take, fields("Connection: close , foo\r\n"), closes},
      {"9110 5.6.1", take, fields("Connection: , ,close,\r\n"), closes},
      {"9110 5.3", take, fields("Connection: foo\r\nConnection: close\r\n"), closes},
      {"9112 9.3", take, fields("Connection: keep-alive, close\r\n"), closes},
      {"9110 7.6.1", take, fields("Connection: closed\r\n"), root},
      {"9110 7.6.1", take, fields("Connection: c lose\r\n"), root},
      {"9110 7.6.1", take, fields("Connection: \"close\"\r\n"), root},
      {"9110 7.6.1", take, fields("Connection:\r\n"), root},
      {"9110 7.6.1", refuse, fields("Connection: keep\ralive\r\n"), "400"},
      {"9110 7.6.1", refuse, fields("Connection : close\r\n"), "400"},
      {"9112 C.2.2", take, fields("Proxy-Connection: close\r\n"), root},
      {"9112 C.2.2", take, fields("Keep-Alive: timeout=0\r\n"), root},
      {"9112 9.3", take, old(""), closes},
      {"9112 9.3", take, old("Connection: keep-alive\r\n"), root},
      {"9112 9.3", take, old("Connection: Keep-Alive, foo\r\n"), root},
      {"9112 9.3", take, old("Connection: keep-alive, close\r\n"), closes},
      {"9112 9.3", take, old("Connection: upgrade\r\n"), closes},
      {"9110 7.8", take, fields("Connection: upgrade\r\nUpgrade: websocket\r\n"), root},
      {"9110 7.8", take, fields("Connection: upgrade\r\nUpgrade: h2c\r\n"), root},
      {"9110 7.8", take, fields("Upgrade: foo/2, bar\r\n"), root},
      {"9110 7.8", take, fields("Connection: upgrade, close\r\nUpgrade: h2c\r\n"), closes},
      {"9110 7.8", take, old("Connection: upgrade\r\nUpgrade: h2c\r\n"), closes},
      {"9110 10.1.1", take, fields("Expect: 100-continue\r\n"), root},
      {"9110 10.1.1", take, fields("Expect: 100-Continue, 100-continue,\r\n"), root},
      {"9110 10.1.1", take, fields("Expect:\r\n"), root},
      {"9110 10.1.1", either, fields("Expect: 200-ok\r\n"), "417"},
      {"9110 10.1.1", either, fields("Expect: 100-continue, 200-ok\r\n"), "417"},
      {"9110 10.1.1", either, fields("Expect: 100-continue;q=1\r\n"), "417"},
      {"9110 10.1.1", take, old("Expect: 200-ok\r\n"), closes},
  });
}

TEST(http_conformance, of_what_an_answer_may_hold) {
  const auto said = [](const std::string& request) { return test::answers({request}); };
  // 9110 section 9.3.2: the fields of GET, without its content.
  EXPECT_EQ(said("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").find("at a"), std::string::npos);
  EXPECT_NE(said("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").find("Content-Length: 11\r\n"),
            std::string::npos);
  // 9110 section 8.6: no Content-Length beside 204; 9112 section 6.1: no Transfer-Encoding either.
  const std::string nothing = said("GET /204 HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_TRUE(nothing.starts_with("HTTP/1.1 204 "));
  EXPECT_EQ(nothing.find("Content-Length"), std::string::npos);
  EXPECT_EQ(nothing.find("Transfer-Encoding"), std::string::npos);
  EXPECT_TRUE(nothing.ends_with("\r\n\r\n"));
  // 9110 section 6.6.1: a date; section 15.5.6: what is allowed.
  EXPECT_NE(said(target("/")).find("\r\nDate: "), std::string::npos);
  const std::string refused = said("PUT /204 HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_TRUE(refused.starts_with("HTTP/1.1 405 "));
  EXPECT_NE(refused.find("\r\nAllow: GET, HEAD, OPTIONS\r\n"), std::string::npos);
  EXPECT_NE(refused.find("\r\nDate: "), std::string::npos);
  // 9112 section 6.1: Transfer-Encoding for HTTP/1.1 alone.
  EXPECT_NE(said("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n").find("Transfer-Encoding: chunked\r\n"),
            std::string::npos);
  const std::string old = said("GET /stream HTTP/1.0\r\n\r\n");
  EXPECT_EQ(old.find("Transfer-Encoding"), std::string::npos);
  EXPECT_NE(old.find("Connection: close\r\n"), std::string::npos);
  EXPECT_TRUE(old.ends_with("\r\n\r\nstreamed"));
  // 9112 section 9.6: who is refused is told that the connection ends.
  EXPECT_NE(said("x\r\n\r\n").find("Connection: close\r\n"), std::string::npos);
}

TEST(http_conformance, of_interim_answers) {
  const auto told = [](const std::string& version, const std::string& fields) {
    return test::told(
        {"POST / HTTP/" + version + "\r\nHost: a\r\nContent-Length: 2\r\n" + fields + "\r\n",
         "ok"});
  };
  // 9110 section 10.1.1: asked for, and not sent to HTTP/1.0 (section 15.2) nor unasked.
  EXPECT_EQ(told("1.1", "Expect: 100-continue\r\n"), "100, 200 POST / at a body ok open");
  EXPECT_EQ(told("1.0", "Expect: 100-continue\r\n"), "200 POST / at a body ok");
  EXPECT_EQ(told("1.1", ""), "200 POST / at a body ok open");
  EXPECT_EQ(told("1.1", "Expect: 200-ok\r\n"), "417");
}

}  // namespace
}  // namespace rill::http
