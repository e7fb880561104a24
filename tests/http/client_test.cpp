// What a client can do, against a server that behaves.
#include <rill/protocols/http/client.h>

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "http/client_peer.h"
#include <rill/net/serve.h>
#include <rill/protocols/http/session.h>

namespace rill::http {
namespace {

using namespace std::chrono_literals;
using test::direct;
using test::http_peer;
using test::on_linux;
using testing::HasSubstr;
using testing::Not;

/// Answers each request with its head and body.
task<> mirror(http_peer& peer) {
  for (;;) {
    const std::string head = co_await peer.head();
    if (head.empty()) co_return;
    std::string body;
    const std::size_t at = head.find("Content-Length: ");
    if (at != head.npos) {
      body = co_await peer.bytes(std::stoul(head.substr(at + 16)));
    }
    co_await peer.answer(head + body);
  }
}

TEST(http_client, gets_a_page) {
  on_linux(
      [](http_peer& peer) -> task<> {
        const std::string head = co_await peer.head();
        EXPECT_THAT(head, testing::StartsWith("GET /page?x=1 HTTP/1.1\r\nHost: 127.0.0.1:"));
        EXPECT_THAT(head, HasSubstr("\r\nUser-Agent: rill\r\n"));
        EXPECT_THAT(head, Not(HasSubstr("Content-Length")));
        co_await peer.answer("Hello", "Content-Type: text/plain; charset=iso-8859-1\r\nX: y\r\n");
      },
      [](const std::string& url) -> task<> {
        client client(direct());
        const client_response got = co_await client.get(url + "/page?x=1#fragment");
        got.raise_for_status();
        EXPECT_EQ(got.status(), 200);
        EXPECT_EQ(got.reason(), "OK");
        EXPECT_EQ(got.text(), "Hello");
        EXPECT_EQ(got.find("x").value_or(""), "y");
        EXPECT_EQ(got.url().to_string(), url + "/page?x=1");
        EXPECT_TRUE(got.history().empty());
        EXPECT_EQ(client.idle_count(), 1U);
      });
}

TEST(http_client, sends_what_a_request_holds) {
  on_linux(mirror, [](const std::string& url) -> task<> {
    client client(direct());
    client_request ask("REPORT", url + "/a?b=c");
    ask.header("X-One", "1")
        .header("user-agent", "mine")
        .query("q", "a b&c")
        .query("r", "\xc3\xa4");
    ask.bearer_auth("token").json("{\"a\":1}");
    const client_response got = co_await client.send(ask);
    EXPECT_THAT(got.body(), testing::StartsWith("REPORT /a?b=c&q=a+b%26c&r=%C3%A4 HTTP/1.1\r\n"));
    EXPECT_THAT(got.body(), HasSubstr("\r\nX-One: 1\r\n"));
    EXPECT_THAT(got.body(), HasSubstr("\r\nuser-agent: mine\r\n"));
    EXPECT_THAT(got.body(), Not(HasSubstr("User-Agent: rill")));
    EXPECT_THAT(got.body(), HasSubstr("\r\nAuthorization: Bearer token\r\n"));
    EXPECT_THAT(got.body(), HasSubstr("\r\nContent-Type: application/json\r\n"));
    EXPECT_THAT(got.body(), testing::EndsWith("Content-Length: 7\r\n\r\n{\"a\":1}"));
  });
}

TEST(http_client, has_a_method_for_each_of_http) {
  on_linux(mirror, [](const std::string& url) -> task<> {
    client client(direct());
    const auto post = co_await client.post(url, request_body::text("one"));
    EXPECT_THAT(post.body(), testing::StartsWith("POST / HTTP/1.1"));
    EXPECT_THAT(post.body(), testing::EndsWith("\r\n\r\none"));
    const auto put = co_await client.put(url, request_body::text("two"));
    EXPECT_THAT(put.body(), testing::StartsWith("PUT / HTTP/1.1"));
    const auto patch = co_await client.patch(url, request_body::text("three"));
    EXPECT_THAT(patch.body(), testing::StartsWith("PATCH / HTTP/1.1"));
    const auto removed = co_await client.remove(url + "/x");
    EXPECT_THAT(removed.body(), testing::StartsWith("DELETE /x HTTP/1.1"));
    EXPECT_EQ(client.connection_count(), 1U);
    const auto empty = co_await client.post(url, request_body());
    EXPECT_THAT(empty.body(), HasSubstr("\r\nContent-Length: 0\r\n"));
    // The mirror answers HEAD with a body, which belongs to no request: nobody may take it for the
    // next response.
    const auto head = co_await client.head(url);
    EXPECT_EQ(head.body(), "");
    const auto after = co_await client.get(url + "/after");
    EXPECT_THAT(after.body(), testing::StartsWith("GET /after"));
  });
}

TEST(http_client, sends_forms_and_files) {
  on_linux(mirror, [](const std::string& url) -> task<> {
    client client(direct());
    client_request form("POST", url);
    form.form("a", "1 2").form("b", "&");
    const client_response plain = co_await client.send(form);
    EXPECT_THAT(plain.body(), HasSubstr("Content-Type: application/x-www-form-urlencoded\r\n"));
    EXPECT_THAT(plain.body(), testing::EndsWith("\r\n\r\na=1+2&b=%26"));

    client_request upload("POST", url);
    upload.form("a", "1").file("f\"ile", "na\r\nme.txt", "content", "text/plain");
    const client_response parts = co_await client.send(upload);
    const std::size_t at = parts.body().find("boundary=");
    const std::string boundary =
        parts.body().substr(at + 9, parts.body().find("\r\n", at) - at - 9);
    EXPECT_EQ(boundary.size(), 37U);
    EXPECT_EQ(parts.body().substr(parts.body().find("\r\n\r\n") + 4),
              "--" + boundary + "\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--" +
                  boundary +
                  "\r\nContent-Disposition: form-data; name=\"f%22ile\"; "
                  "filename=\"na%0D%0Ame.txt\"\r\nContent-Type: text/plain\r\n\r\ncontent\r\n--" +
                  boundary + "--\r\n");
  });
}

TEST(http_client, tells_who_it_is) {
  on_linux(mirror, [](const std::string& url) -> task<> {
    client client(direct());
    client_request ask("GET", url);
    ask.basic_auth("Aladdin", "open sesame");
    const client_response got = co_await client.send(ask);
    EXPECT_THAT(got.body(), HasSubstr("Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n"));
    const client_response by_url =
        co_await client.get("http://u:p%40@" + url.substr(url.find("127")));
    EXPECT_THAT(by_url.body(), HasSubstr("Authorization: Basic dTpwQA==\r\n"));
    EXPECT_THAT(by_url.body(), Not(HasSubstr("@")));
  });
}

TEST(http_client, reads_bodies_of_every_framing) {
  on_linux(
      [](http_peer& peer) -> task<> {
        for (;;) {
          const std::string head = co_await peer.head();
          if (head.empty()) co_return;
          if (head.starts_with("GET /chunked")) {
            co_await peer.say(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n");
            co_await peer.say("2\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n");
          } else if (head.starts_with("GET /none")) {
            co_await peer.say("HTTP/1.1 204 No Content\r\n\r\n");
          } else if (head.starts_with("GET /bare")) {
            co_await peer.say("HTTP/1.1 200\nContent-Length: 4\n\nbare");
          } else {
            co_await peer.say("HTTP/1.0 200 OK\r\n\r\nuntil the end");
            co_return;
          }
        }
      },
      [](const std::string& url) -> task<> {
        client client(direct());
        const client_response chunked = co_await client.get(url + "/chunked");
        EXPECT_EQ(chunked.body(), "abcde");
        EXPECT_EQ(chunked.find_trailer("x-sum"), "5");
        const client_response none = co_await client.get(url + "/none");
        EXPECT_EQ(none.status(), 204);
        EXPECT_EQ(none.body(), "");
        const client_response bare = co_await client.get(url + "/bare");
        EXPECT_EQ(bare.body(), "bare");
        EXPECT_EQ(client.connection_count(), 1U);
        const client_response old = co_await client.get(url + "/old");
        EXPECT_EQ(old.body(), "until the end");
        EXPECT_EQ(client.connection_count(), 0U);
      });
}

/// Answers with the method and the body.
class echoing final : public service {
 public:
  answer handle(request& asked) override { return later(asked); }

 private:
  static task<response> later(request& asked) {
    if (asked.path() == "/large") co_return response::text(std::string(1'000'000, 'L'));
    if (asked.path() == "/refuse") co_return response(403);
    std::string body = co_await asked.read_body();
    co_return response::text(std::string(asked.method()) + ':' + std::move(body));
  }
};

void with_session(const test::http_visit& visit) {
  test::run_loop([&]() -> task<> {
    tcp_listener listener = tcp_listener::bind(endpoint(address::loopback_v4(), 0));
    echoing answering;
    session_options options;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        const auto each = [&](tcp_stream peer) {
          return session(std::move(peer), answering, options);
        };
        serve_limits how;
        how.drain_timeout = 0s;
        co_await serve(listener, each, how);
      });
      const std::string url = "http://" + listener.local().to_string();
      co_await visit(url);
      tasks.cancel();
    });
  });
}

TEST(http_client, talks_to_our_own_server) {
  with_session([](const std::string& url) -> task<> {
    client client(direct());
    for (int i = 0; i < 20; ++i) {
      const std::string body(static_cast<std::size_t>(i) * 1000, 'x');
      const client_response got = co_await client.post(url, request_body::text(body));
      EXPECT_EQ(got.body(), "POST:" + body);
    }
    EXPECT_EQ(client.connection_count(), 1U);
    const client_response large = co_await client.get(url + "/large");
    EXPECT_EQ(large.body(), std::string(1'000'000, 'L'));
    // Announced with Expect, sent in pieces.
    const std::string much(3'000'000, 'm');
    std::vector<std::uint64_t> progress;
    client_request upload("POST", url);
    upload.text(much).on_upload([&](std::uint64_t sent, std::optional<std::uint64_t> size) {
      progress.push_back(sent);
      EXPECT_EQ(size.value_or(0), much.size());
    });
    const client_response echoed = co_await client.send(upload);
    EXPECT_EQ(echoed.body(), "POST:" + much);
    EXPECT_GT(progress.size(), 10U);
    EXPECT_EQ(progress.back(), much.size());
    EXPECT_EQ(client.connection_count(), 1U);
  });
}

TEST(http_client, sends_what_a_producer_writes) {
  with_session([](const std::string& url) -> task<> {
    client client(direct());
    const auto produce = [](body_writer& to) -> task<void> {
      for (int i = 0; i < 100; ++i) {
        const std::string piece = std::to_string(i) + ',';
        co_await to.write(piece);
      }
    };
    std::string expected = "PUT:";
    for (int i = 0; i < 100; ++i) expected += std::to_string(i) + ',';
    const auto chunked = co_await client.put(url, request_body::stream(produce, std::nullopt));
    EXPECT_EQ(chunked.body(), expected);
    const auto sized = co_await client.put(url, request_body::stream(produce, 290));
    EXPECT_EQ(sized.body(), expected);
    for (const std::uint64_t wrong : {289U, 291U}) {
      client_request ask("PUT", url);
      ask.body(request_body::stream(produce, wrong));
      const client_error error = co_await test::failure_of(client, ask);
      EXPECT_EQ(error.code(), client_fault::bad_body);
      EXPECT_EQ(error.phase(), client_phase::send);
    }
    const auto fail = [](body_writer& to) -> task<void> {
      co_await to.write("begun");
      throw std::runtime_error("the disk is gone");
    };
    client_request ask("PUT", url);
    ask.body(request_body::stream(fail, std::nullopt));
    std::string what;
    try {
      co_await client.send(ask);
    } catch (const std::runtime_error& error) {
      what = error.what();
    }
    EXPECT_EQ(what, "the disk is gone");
    EXPECT_EQ(client.connection_count(), 0U);
  });
}

TEST(http_client, gives_a_body_piece_by_piece) {
  with_session([](const std::string& url) -> task<> {
    client client(direct());
    std::uint64_t last = 0;
    client_request ask("GET", url + "/large");
    ask.on_download([&](std::uint64_t size, std::optional<std::uint64_t> all) {
      EXPECT_GT(size, last);
      EXPECT_EQ(all.value_or(0), 1'000'000U);
      last = size;
    });
    {
      client_response got = co_await client.open(ask);
      EXPECT_EQ(got.status(), 200);
      EXPECT_EQ(client.idle_count(), 0U);
      std::size_t size = 0;
      for (;;) {
        const std::string_view piece = co_await got.read_some();
        if (piece.empty()) break;
        size += piece.size();
      }
      EXPECT_EQ(size, 1'000'000U);
      EXPECT_EQ(last, size);
      EXPECT_EQ(client.idle_count(), 1U);
    }
    {
      last = 0;
      client_response left = co_await client.open(ask);
      co_await left.read_some();
    }
    EXPECT_EQ(client.connection_count(), 0U);  // what is left unread is closed
  });
}

TEST(http_client, tells_a_status_that_is_a_failure) {
  with_session([](const std::string& url) -> task<> {
    client client(direct());
    const client_response got = co_await client.get(url + "/refuse");
    EXPECT_FALSE(got.is_ok());
    try {
      got.raise_for_status();
      ADD_FAILURE();
    } catch (const client_error& error) {
      EXPECT_EQ(error.status(), 403);
      EXPECT_EQ(error.phase(), client_phase::status);
      EXPECT_EQ(std::string(error.what()), "GET " + url + "/refuse: 403 Forbidden");
    }
  });
}

TEST(http_client, tells_what_failed_and_where) {
  test::run_loop([]() -> task<> {
    client client(direct());
    const client_error scheme = co_await test::failure_of(client, client_request("GET", "ftp://a"));
    EXPECT_EQ(scheme.phase(), client_phase::request);
    EXPECT_EQ(scheme.code(), client_fault::bad_url);
    const client_error refused =
        co_await test::failure_of(client, client_request("GET", "http://u:secret@127.0.0.1:1/x"));
    EXPECT_EQ(refused.phase(), client_phase::connect);
    EXPECT_EQ(refused.code(), std::errc::connection_refused);
    EXPECT_STREQ(refused.what(),
                 "GET http://127.0.0.1:1/x: connect 127.0.0.1:1: Connection refused");
    const client_error unknown =
        co_await test::failure_of(client, client_request("GET", "http://nowhere.invalid/"));
    EXPECT_EQ(unknown.phase(), client_phase::resolve);
    EXPECT_EQ(unknown.code(), resolve_error::name_not_found);
  });
}

}  // namespace
}  // namespace rill::http
