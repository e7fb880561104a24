// The rules of a client: redirects, credentials, retries, proxies, charsets.
#include <chrono>
#include <cstdlib>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "http/client_peer.h"
#include <rill/protocols/http/charset.h>
#include <rill/protocols/http/client_head.h>
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
using testing::Not;

// ---------------------------------------------------------------- redirects

/// "/302/target" redirects with that status; all else is answered with its head.
task<> redirecting(http_peer& peer) {
  for (;;) {
    const std::string head = co_await peer.head();
    if (head.empty()) co_return;
    const std::size_t at = head.find("Content-Length: ");
    if (at != head.npos) co_await peer.bytes(std::stoul(head.substr(at + 16)));
    const std::string path =
        head.substr(head.find(' ') + 1, head.find(" HTTP") - head.find(' ') - 1);
    if (path.starts_with("/3")) {
      co_await peer.answer("moved", "Location: " + path.substr(4) + "\r\n",
                           path.substr(1, 3) + " Moved");
    } else {
      co_await peer.answer(head);
    }
  }
}

/// What POST becomes.
const std::map<std::string, std::string> after_post = {
    {"301", "GET"}, {"302", "GET"}, {"303", "GET"}, {"307", "POST"}, {"308", "POST"}};

TEST(http_client_redirects, turn_methods_as_the_standard_has_it) {
  on_linux(redirecting, [](const std::string& url) -> task<> {
    client client(direct());
    for (const auto& [status, method] : after_post) {
      client_request ask("POST", url + '/' + status + "/x");
      ask.text("body").header("Content-Language", "en");
      const client_response got = co_await client.send(ask);
      EXPECT_THAT(got.body(), testing::StartsWith(method + " /x HTTP/1.1\r\n")) << status;
      const bool has_body = got.body().find("Content-Length: 4") != std::string::npos;
      EXPECT_EQ(has_body, method == "POST");
      EXPECT_EQ(got.body().find("Content-Language") != std::string::npos, has_body);
      EXPECT_EQ(got.history().size(), 1U);
      EXPECT_EQ(got.history()[0].status, std::stoi(status));
      EXPECT_EQ(got.history()[0].url, ask.url_text());
      const auto put = co_await client.put(url + '/' + status + "/x", request_body::text("body"));
      EXPECT_THAT(put.body(), testing::StartsWith(status == "303" ? "GET /x" : "PUT /x")) << status;
    }
    EXPECT_EQ(client.connection_count(), 1U);  // the bodies of redirects were read
    const client_response twice = co_await client.get(url + "/302/307/y?z");
    EXPECT_EQ(twice.history().size(), 2U);
    EXPECT_EQ(twice.url().to_string(), url + "/y?z");
  });
}

TEST(http_client_redirects, have_a_limit_and_can_be_left) {
  on_linux(
      [](http_peer& peer) -> task<> {
        for (;;) {
          const std::string head = co_await peer.head();
          if (head.empty()) co_return;
          co_await peer.answer("", "Location: /again\r\n", "302 Found");
        }
      },
      [](const std::string& url) -> task<> {
        client client(direct());
        const client_error error = co_await failure_of(client, client_request("GET", url));
        EXPECT_EQ(error.code(), client_fault::too_many_redirects);
        EXPECT_EQ(error.phase(), client_phase::redirect);
        client_request ask("GET", url);
        ask.redirect_max(0);
        const client_response got = co_await client.send(ask);
        EXPECT_EQ(got.status(), 302);
        EXPECT_EQ(got.find("location").value_or(""), "/again");
      });
}

TEST(http_client_redirects, carry_no_credentials_to_another_origin) {
  std::string foreign;
  on_linux(
      [&](http_peer& peer) -> task<> {
        foreign = co_await peer.head();
        co_await peer.answer("foreign");
      },
      [&](const std::string& other) -> task<> {
        std::vector<std::string> heads;
        const test::http_behaviour first = [&](http_peer& peer) -> task<> {
          for (;;) {
            heads.push_back(co_await peer.head());
            if (heads.back().empty()) co_return;
            const std::string to = heads.back().starts_with("GET /second") ? other : "/second";
            co_await peer.answer("", "Location: " + to + "\r\n", "302 Found");
          }
        };
        const test::http_visit visit = [&](const std::string& url) -> task<> {
          client client(direct());
          client_request ask("GET", url);
          ask.bearer_auth("secret").header("Cookie", "a=b").header("X-Other", "kept");
          ask.header("Host", "virtual.example");
          const client_response got = co_await client.send(ask);
          EXPECT_EQ(got.body(), "foreign");
        };
        co_await test::serve_and_visit(first, visit);
        EXPECT_GE(heads.size(), 2U);
        for (std::size_t i = 0; i < 2; ++i) {
          EXPECT_THAT(heads[i], HasSubstr("Authorization: Bearer secret\r\n"));
          EXPECT_THAT(heads[i], HasSubstr("Cookie: a=b\r\n"));
          EXPECT_THAT(heads[i], HasSubstr("Host: virtual.example\r\n"));
        }
      });
  EXPECT_THAT(foreign, HasSubstr("X-Other: kept"));
  EXPECT_THAT(foreign, HasSubstr("Host: 127.0.0.1:"));
  EXPECT_THAT(foreign, Not(HasSubstr("secret")));
  EXPECT_THAT(foreign, Not(HasSubstr("a=b")));
}

TEST(http_client_redirects, to_what_is_no_url_are_errors) {
  std::string location;
  on_linux(
      [&](http_peer& peer) -> task<> {
        co_await peer.head();
        co_await peer.answer("", "Location: " + location + "\r\n", "302 Found");
      },
      [&](const std::string& url) -> task<> {
        for (const char* const each : {"ftp://a/", "http://", "file:///etc/passwd"}) {
          location = each;
          client client(direct());
          const client_error error = co_await failure_of(client, client_request("GET", url));
          EXPECT_EQ(error.code(), client_fault::bad_redirect) << each;
        }
      });
}

TEST(http_client_redirects, do_not_send_a_body_again_that_cannot_be) {
  on_linux(redirecting, [](const std::string& url) -> task<> {
    const auto produce = [](body_writer& to) -> task<void> { co_await to.write("four"); };
    for (const bool is_repeatable : {false, true}) {
      client client(direct());
      client_request ask("PUT", url + "/307/x");
      ask.body(request_body::stream(produce, 4, "text/plain", is_repeatable));
      const client_result got = co_await client.send_as_result(ask);
      EXPECT_EQ(got.has_value(), is_repeatable);
      if (!got) {
        EXPECT_EQ(got.error().phase(), client_phase::redirect);
      }
    }
  });
}

// ---------------------------------------------------------------- retries

client_options patient(unsigned count) {
  client_options options = direct();
  options.retry.count_max = count;
  options.retry.delay = 1s;
  return options;
}

TEST(http_client_retries, wait_longer_each_time) {
  int count = 0;
  const auto took = in_virtual_time(
      [&](http_peer& peer) -> task<> {
        co_await peer.head();
        if (++count == 4) co_await peer.answer("at last");
        // before that nothing: the connection ends
      },
      [&](const std::string& url) -> task<> {
        client client(patient(3));
        const client_response got = co_await client.get(url);
        EXPECT_EQ(got.body(), "at last");
        count = -100;
        client_request ask("POST", url);
        ask.text("only once");
        const client_error error = co_await failure_of(client, ask);
        EXPECT_EQ(error.code(), http_error::incomplete);
        EXPECT_EQ(count, -99);
      });
  EXPECT_GE(took, 3500ms);  // half of 1, 2 and 4 s at least
  EXPECT_LE(took, 7s);
}

TEST(http_client_retries, ask_again_when_the_server_is_busy) {
  std::vector<std::string> answers = {"503 Busy", "429 Slow down", "200 OK"};
  int count = 0;
  const auto took = in_virtual_time(
      [&](http_peer& peer) -> task<> {
        for (;;) {
          const std::string head = co_await peer.head();
          if (head.empty()) co_return;
          const std::size_t number = static_cast<std::size_t>(count++);
          const std::string fields = number == 0 ? "Retry-After: 20\r\n" : "";
          co_await peer.answer("x", fields, answers.at(number));
        }
      },
      [&](const std::string& url) -> task<> {
        client client(patient(5));
        const client_response got = co_await client.get(url);
        EXPECT_EQ(got.status(), 200);
        EXPECT_EQ(client.connection_count(), 1U);
      });
  EXPECT_EQ(count, 3);
  EXPECT_GE(took, 21s);
  EXPECT_LE(took, 23s);
}

TEST(http_client_retries, do_not_wait_longer_than_the_caller) {
  int count = 0;
  const auto took = in_virtual_time(
      [&](http_peer& peer) -> task<> {
        ++count;
        co_await peer.head();
        co_await peer.answer("busy", "Retry-After: 61\r\n", "503 Busy");
      },
      [&](const std::string& url) -> task<> {
        client client(patient(5));
        const client_response patience_spent = co_await client.get(url);
        EXPECT_EQ(patience_spent.status(), 503);
        client_request ask("GET", url + "/refused");
        client_timeouts limits;
        limits.total = 300ms;
        ask.timeouts(limits);
        const client_response time_spent = co_await client.send(ask);
        EXPECT_EQ(time_spent.body(), "busy");
      });
  EXPECT_EQ(count, 2);
  EXPECT_LT(took, 1s);
}

TEST(http_client_retries, connect_again_whatever_the_method) {
  in_virtual_time([](http_peer&) -> task<> { co_return; },
                  [](const std::string&) -> task<> {
                    client client(patient(3));
                    const loop_clock::time_point begin = loop_clock::now();
                    const client_error error =
                        co_await failure_of(client, client_request("POST", "http://127.0.0.1:1/"));
                    EXPECT_EQ(error.phase(), client_phase::connect);
                    EXPECT_GE(loop_clock::now() - begin, 3500ms);
                  });
}

std::optional<std::chrono::nanoseconds> retry_after(const std::string& value) {
  response_head head;
  const std::string text = "HTTP/1.1 503 Busy\r\nRetry-After: " + value + "\r\n\r\n";
  EXPECT_EQ(head.parse(text, "GET"), parse_state::complete);
  constexpr std::int64_t second = 1'000'000'000;
  return detail::retry_after(head, 784'111'777 * second);  // 1994-11-06 08:49:37
}

TEST(http_client_retries, read_retry_after_in_both_forms) {
  EXPECT_EQ(retry_after("0"), 0s);
  EXPECT_EQ(retry_after("120"), 120s);
  EXPECT_GT(retry_after("99999999999999999999999"), std::chrono::hours(800'000));
  EXPECT_GT(retry_after("9223372036854775807"), std::chrono::hours(800'000));
  EXPECT_EQ(retry_after("Sun, 06 Nov 1994 08:50:07 GMT"), 30s);
  EXPECT_EQ(retry_after("Sun, 06 Nov 1993 08:49:37 GMT"), 0s);
  EXPECT_GT(retry_after("Fri, 31 Dec 9999 23:59:59 GMT"), std::chrono::hours(800'000));
  EXPECT_EQ(retry_after("-1"), std::nullopt);
  EXPECT_EQ(retry_after("soon"), std::nullopt);
}

// ---------------------------------------------------------------- proxies

TEST(http_client_proxies, are_given_the_whole_url) {
  on_linux(
      [](http_peer& peer) -> task<> {
        for (;;) {
          const std::string head = co_await peer.head();
          if (head.empty()) co_return;
          co_await peer.answer(head);
        }
      },
      [](const std::string& url) -> task<> {
        client_options options;
        options.proxies.emplace("http://user:pass@" + url.substr(7));
        options.proxies->except("direct.example, 127.0.0.1");
        client client(std::move(options));
        client_request ask("GET", "http://www.example:81/a?b");
        ask.basic_auth("me", "mine");
        const client_response got = co_await client.send(ask);
        EXPECT_THAT(got.body(), testing::StartsWith("GET http://www.example:81/a?b HTTP/1.1\r\n"
                                                    "Host: www.example:81\r\n"));
        EXPECT_THAT(got.body(), HasSubstr("Proxy-Authorization: Basic dXNlcjpwYXNz\r\n"));
        EXPECT_THAT(got.body(), HasSubstr("\r\nAuthorization: Basic bWU6bWluZQ==\r\n"));
        const client_response other = co_await client.get("http://other.example/");
        EXPECT_EQ(other.peer(), url.substr(7));
        EXPECT_EQ(client.connection_count(), 1U);
        const client_response straight = co_await client.get(url + "/straight");
        EXPECT_THAT(straight.body(), testing::StartsWith("GET /straight HTTP/1.1\r\n"));
        EXPECT_THAT(straight.body(), Not(HasSubstr("Proxy-Authorization")));
      });
}

TEST(http_client_proxies, are_read_from_the_environment) {
  std::map<std::string, std::string> variables;
  const auto get = [&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  };
  const auto chosen = [&](const std::string& target) -> std::string {
    const proxy_settings settings = proxy_settings::from_environment(get);
    const url* const found = settings.find(url::parse(target).value());
    if (found == nullptr) return "direct";
    return found->host.empty() ? "bad" : found->authority();
  };
  EXPECT_EQ(chosen("http://a"), "direct");
  variables = {{"HTTP_PROXY", "evil:1"}};
  EXPECT_EQ(chosen("http://a"), "direct");
  variables = {{"http_proxy", "one:3128"}, {"HTTPS_PROXY", "http://two:1/"}};
  EXPECT_EQ(chosen("http://a"), "one:3128");
  EXPECT_EQ(chosen("https://a"), "two:1");
  variables = {{"ALL_PROXY", "three:1"}, {"http_proxy", ""}};
  EXPECT_EQ(chosen("http://a"), "three:1");
  EXPECT_EQ(chosen("https://a"), "three:1");
  variables = {{"all_proxy", "socks5://four:1"}};
  EXPECT_EQ(chosen("http://a"), "bad");
  variables = {
      {"http_proxy", "p:1"},
      {"no_proxy", "example.org,.example.net , *.example.com,host:81,10.0.0.0/8,[::1],fd00::/8"}};
  for (const char* const each :
       {"http://example.org", "http://www.Example.ORG:99", "http://example.net",
        "http://a.b.example.net", "http://x.example.com", "http://host:81", "http://10.1.2.3",
        "http://[::1]:5/", "http://[fd12::1]"}) {
    EXPECT_EQ(chosen(each), "direct") << each;
  }
  for (const char* const each : {"http://notexample.org", "http://example.org.evil", "http://host",
                                 "http://11.0.0.1", "http://[fe00::1]", "http://10.example"}) {
    EXPECT_EQ(chosen(each), "p:1") << each;
  }
  variables["no_proxy"] = "*";
  EXPECT_EQ(chosen("http://anything"), "direct");
}

TEST(http_client_proxies, that_cannot_be_read_fail_the_request) {
  test::run_loop([]() -> task<> {
    client_options options;
    options.proxies.emplace("socks5://127.0.0.1:1");
    client client(std::move(options));
    const client_error error = co_await failure_of(client, client_request("GET", "http://a/"));
    EXPECT_EQ(error.phase(), client_phase::proxy);
    EXPECT_EQ(error.code(), client_fault::bad_proxy);
  });
}

// ---------------------------------------------------------------- requests and text

TEST(http_client_requests, refuse_what_would_forge_a_head) {
  EXPECT_THROW(client_request("GET /", "http://a"), std::invalid_argument);
  EXPECT_THROW(client_request("", "http://a"), std::invalid_argument);
  client_request ask("GET", "http://a");
  EXPECT_THROW(ask.header("A\r\nB", "c"), std::invalid_argument);
  EXPECT_THROW(ask.header("A", "b\r\nC: d"), std::invalid_argument);
  EXPECT_THROW(ask.header("A", std::string("b\0c", 3)), std::invalid_argument);
  EXPECT_THROW(ask.file("a", "b", "c", "text/plain\r\nX: y"), std::invalid_argument);
  EXPECT_THROW(ask.bearer_auth("a\nb"), std::invalid_argument);
  for (const char* const name : {"content-length", "Transfer-Encoding", "Connection", "Expect"}) {
    EXPECT_THROW(ask.header(name, "1"), std::logic_error) << name;
  }
  test::run_loop([]() -> task<> {
    client client(direct());
    for (const char* const url : {"http://a/\r\nX: y", "http://a\nb/", "//a", "", "http:///x"}) {
      const client_error error = co_await failure_of(client, client_request("GET", url));
      EXPECT_EQ(error.code(), client_fault::bad_url) << url;
    }
  });
}

TEST(http_client_requests, hide_their_secrets_from_traces) {
  EXPECT_EQ(detail::without_secrets("GET / HTTP/1.1\r\nauthorization: Basic abc\r\nCookie: a\r\n"
                                    "Proxy-Authorization: b\r\nX: y\r\n\r\n"),
            "GET / HTTP/1.1\r\nauthorization: (hidden)\r\nCookie: (hidden)\r\n"
            "Proxy-Authorization: (hidden)\r\nX: y\r\n\r\n");
  EXPECT_EQ(detail::without_secrets("HTTP/1.1 200\nSet-Cookie: a=b\nno line end"),
            "HTTP/1.1 200\nSet-Cookie: (hidden)\r\nno line end");
}

TEST(http_charset, becomes_utf_8) {
  EXPECT_EQ(to_utf8("a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "UTF-8"),
            "a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80");
  EXPECT_EQ(to_utf8("\xef\xbb\xbfx", ""), "x");
  EXPECT_EQ(to_utf8("\xe4\x80\x93", "ISO-8859-1"), "\xc3\xa4\xe2\x82\xac\xe2\x80\x9c");
  EXPECT_EQ(to_utf8("abc", "us-ascii"), "abc");
  EXPECT_EQ(to_utf8("abc", "utf-16"), std::nullopt);
  const std::string bad = "\xef\xbf\xbd";
  // Overlong, surrogate, beyond Unicode, cut, alone (Unicode, table 3-8).
  EXPECT_EQ(to_utf8("\xc0\xaf", "utf-8"), bad + bad);
  EXPECT_EQ(to_utf8("\xed\xa0\x80", "utf-8"), bad + bad + bad);
  EXPECT_EQ(to_utf8("\xf4\x91\x92\x93", "utf-8"), bad + bad + bad + bad);
  EXPECT_EQ(to_utf8("\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41", "utf-8"), bad + bad + bad + bad + "A");
  EXPECT_EQ(to_utf8("\xe2\x82", "utf-8"), bad);
}

}  // namespace
}  // namespace rill::http
