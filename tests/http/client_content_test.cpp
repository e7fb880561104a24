// What stands around a client's exchange: TLS, tunnels, compressed bodies, cookies.
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "http/client_peer.h"
#include "support/certificates.h"
#include <rill/net/stream.h>
#include <rill/net/tls/error.h>
#include <rill/net/tls/stream.h>
#include <rill/protocols/http/coding.h>
#include <rill/protocols/http/cookies.h>

namespace rill::http {
namespace {

using namespace std::chrono_literals;
using test::direct;
using test::failure_of;
using test::http_peer;
using test::on_linux;
using testing::HasSubstr;

// ---------------------------------------------------------------- https

/// One connection over TLS: answers each request with its first line; "/cut" without an end.
task<> answer_secretly(tcp_stream plain, tls::server_context mine) {
  auto secure = co_await tls::accept(std::move(plain), mine);
  buffered_reader<tls_stream<tcp_stream>> reader(secure);
  for (;;) {
    std::string head;
    while (!head.ends_with("\r\n\r\n")) {
      const auto line = co_await reader.read_until("\r\n", 10'000);
      if (!line) co_return;
      head.append(*line).append("\r\n");
    }
    const std::string line = head.substr(0, head.find("\r\n"));
    if (line.starts_with("GET /cut ")) {
      co_await secure.write_all("HTTP/1.0 200 OK\r\n\r\nwhole?");
      co_return;  // without close_notify
    }
    const std::string all =
        "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(line.size()) + "\r\n\r\n" + line;
    co_await secure.write_all(const_buffer(all));
  }
}

/// Given the port of a server that shows `shown`.
void with_tls_server(const test::signed_certificate& shown,
                     const std::function<task<>(const std::string& port)>& visit) {
  test::run_loop([&]() -> task<> {
    tcp_listener listener = tcp_listener::bind(endpoint(address::loopback_v4(), 0));
    const tls::server_context mine(shown.loaded());
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        for (;;) {
          tcp_stream stream = co_await listener.accept();
          const auto serve_one = [](tcp_stream peer, tls::server_context with) -> task<> {
            try {
              co_await answer_secretly(std::move(peer), std::move(with));
            } catch (const io_error&) {
              // The client has refused.
            }
          };
          tasks.start(serve_one, std::move(stream), mine);
        }
      });
      const std::string port = std::to_string(listener.local().port());
      co_await visit(port);
      tasks.cancel();
    });
  });
}

client_options trusting() {
  client_options options = direct();
  options.tls = test::trusting_options();
  return options;
}

TEST(http_client_tls, gets_pages_over_one_connection) {
  with_tls_server(test::test_certificate(), [](const std::string& port) -> task<> {
    client client(trusting());
    client.set_address("server.test", static_cast<std::uint16_t>(std::stoi(port)), "127.0.0.1");
    for (int i = 0; i < 3; ++i) {
      const std::string path = "/" + std::to_string(i);
      const client_response got = co_await client.get("https://server.test:" + port + path);
      EXPECT_EQ(got.body(), "GET " + path + " HTTP/1.1");
      EXPECT_EQ(client.connection_count(), 1U);
      EXPECT_EQ(client.idle_count(), 1U);
      co_await test::settle();
    }
  });
}

TEST(http_client_tls, names_why_it_refuses_a_server) {
  const auto refused = [](const test::signed_certificate& shown, std::string host,
                          tls::tls_error expected) {
    with_tls_server(shown, [&](const std::string& port) -> task<> {
      client client(trusting());
      client.set_address(host, static_cast<std::uint16_t>(std::stoi(port)), "127.0.0.1");
      const client_error error =
          co_await failure_of(client, client_request("GET", "https://" + host + ':' + port));
      EXPECT_EQ(error.phase(), client_phase::tls) << error.what();
      EXPECT_EQ(error.code(), expected) << error.what();
      EXPECT_THAT(error.what(), HasSubstr("GET https://" + host + ':' + port + "/: "));
      EXPECT_EQ(client.connection_count(), 0U);
    });
  };
  refused(test::test_certificate(), "other.test", tls::tls_error::wrong_host);
  test::certificate_text old = test::named("DNS:server.test");
  old.not_after = "20210101000000Z";
  refused(test::signed_certificate(old, &test::test_authority()), "server.test",
          tls::tls_error::certificate_expired);
  refused(test::signed_certificate(test::named("DNS:server.test")), "server.test",
          tls::tls_error::certificate_self_signed);
  test::certificate_text stranger;
  stranger.common_name = "a stranger";
  stranger.is_authority = true;
  const test::signed_certificate unknown(stranger);
  refused(test::signed_certificate(test::named("DNS:server.test"), &unknown), "server.test",
          tls::tls_error::unknown_ca);
}

TEST(http_client_tls, a_body_that_ends_without_close_notify_is_an_error) {
  with_tls_server(test::test_certificate(), [](const std::string& port) -> task<> {
    client client(trusting());
    const client_error error =
        co_await failure_of(client, client_request("GET", "https://127.0.0.1:" + port + "/cut"));
    EXPECT_EQ(error.phase(), client_phase::read);
    EXPECT_EQ(error.code(), tls::tls_error::truncated) << error.what();
  });
}

TEST(http_client_tls, a_server_without_it_is_told_from_one_that_is_wrong) {
  on_linux(
      [](http_peer& peer) -> task<> {
        co_await peer.say("HTTP/1.1 400 Bad Request\r\n\r\n");
        co_await peer.wait_for_end();
      },
      [](const std::string& url) -> task<> {
        client client(trusting());
        const client_error error =
            co_await failure_of(client, client_request("GET", "https" + url.substr(4)));
        EXPECT_EQ(error.phase(), client_phase::tls);
        EXPECT_EQ(error.code(), tls::tls_error::plain_http) << error.what();
      });
}

TEST(http_client_tls, goes_through_the_tunnel_of_a_proxy) {
  with_tls_server(test::test_certificate(), [](const std::string& port) -> task<> {
    std::string asked;
    const test::http_behaviour proxy = [&](http_peer& peer) -> task<> {
      asked = co_await peer.head();
      const endpoint to(address::loopback_v4(), static_cast<std::uint16_t>(std::stoi(port)));
      tcp_stream target = co_await tcp_stream::connect(to);
      co_await peer.say("HTTP/1.1 200 Connection established\r\n\r\n");
      co_await with_nursery([&](nursery& both) -> task<> {
        both.start([&]() -> task<> { co_await copy(peer.stream(), target); });
        co_await copy(target, peer.stream());
      });
    };
    const test::http_visit visit = [&](const std::string& url) -> task<> {
      client_options options = trusting();
      options.proxies.emplace("http://user:pass@" + url.substr(7));
      client client(std::move(options));
      for (int i = 0; i < 2; ++i) {
        const client_response got = co_await client.get("https://server.test:" + port + "/inside");
        EXPECT_EQ(got.body(), "GET /inside HTTP/1.1");
        EXPECT_EQ(client.connection_count(), 1U);
      }
    };
    co_await test::serve_and_visit(proxy, visit);
    EXPECT_EQ(asked, "CONNECT server.test:" + port + " HTTP/1.1\r\nHost: server.test:" + port +
                         "\r\nProxy-Authorization: Basic dXNlcjpwYXNz\r\n\r\n");
  });
}

TEST(http_client_tls, a_proxy_that_refuses_or_speaks_too_much_is_an_error) {
  const std::vector<std::string> answers = {
      "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
      "HTTP/1.1 200 OK\r\n\r\nforged", "nonsense\r\n\r\n", ""};
  on_linux(
      [&](http_peer& peer) -> task<> {
        co_await peer.head();
        co_await peer.say(answers.at(static_cast<std::size_t>(peer.number())));
        co_await as_result(peer.stream().shutdown_write());
        co_await peer.wait_for_end();
      },
      [&](const std::string& url) -> task<> {
        client_options options = trusting();
        options.proxies.emplace(url);
        client client(std::move(options));
        for (std::size_t i = 0; i < answers.size(); ++i) {
          const client_error error =
              co_await failure_of(client, client_request("GET", "https://server.test/"));
          EXPECT_EQ(error.phase(), client_phase::proxy) << error.what();
          EXPECT_EQ(error.status(), i == 0 ? 407 : 0);
        }
      });
}

// ---------------------------------------------------------------- compressed bodies

std::string encoded(coding to, std::string_view text) {
  std::string made;
  content_encoder encoder(to);
  encoder.encode(text, made);
  encoder.finish(made);
  return made;
}

/// What a client makes of `body` with this Content-Encoding.
client_result received(const std::string& body, const std::string& coding_name,
                       client_request ask = client_request("GET", "/")) {
  std::optional<client_result> told;
  on_linux(
      [&](http_peer& peer) -> task<> {
        co_await peer.head();
        co_await peer.answer(body, "Content-Encoding: " + coding_name + "\r\n");
        co_await peer.wait_for_end();
      },
      [&](const std::string& url) -> task<> {
        client_options options = direct();
        options.body_size_max = 20'000'000;
        client client(std::move(options));
        client_request here(ask.method(), url);
        for (const auto& [name, value] : ask.fields()) here.header(name, value);
        told.emplace(co_await client.send_as_result(here));
      });
  return std::move(*told);
}

TEST(http_client_content, is_decoded) {
  std::string text;
  for (int i = 0; i < 20'000; ++i) text += "line " + std::to_string(i) + '\n';
  for (const auto& [which, name] :
       {std::pair(coding::gzip, "gzip"), std::pair(coding::brotli, "br"),
        std::pair(coding::deflate, "deflate")}) {
    const client_result got = received(encoded(which, text), name);
    ASSERT_TRUE(got.has_value()) << got.error().what();
    EXPECT_EQ(got->body(), text);
  }
  const client_result plain = received("plain", "identity");
  ASSERT_TRUE(plain.has_value());
  EXPECT_EQ(plain->body(), "plain");
}

TEST(http_client_content, is_left_alone_for_who_asks_for_a_coding_by_name) {
  client_request ask("GET", "/");
  ask.header("Accept-Encoding", "gzip");
  const std::string body = encoded(coding::gzip, "text");
  const client_result got = received(body, "gzip", ask);
  ASSERT_TRUE(got.has_value());
  EXPECT_EQ(got->body(), body);
}

TEST(http_client_content, that_is_wrong_is_an_error) {
  const std::string body = encoded(coding::gzip, std::string(100'000, 'x') + "end");
  EXPECT_EQ(received(body.substr(0, body.size() - 3), "gzip").error().code(),
            http_error::incomplete);
  EXPECT_EQ(received("no gzip at all", "gzip").error().code(), client_fault::corrupt_content);
  EXPECT_EQ(received(body, "zstd").error().code(), client_fault::unknown_content_coding);
  EXPECT_EQ(received(body, "gzip, br").error().code(), client_fault::unknown_content_coding);
}

TEST(http_client_content, bombs_do_not_go_off) {
  EXPECT_EQ(received(encoded(coding::gzip, std::string(15'000'000, 'x')), "gzip").error().code(),
            client_fault::content_bomb);
  // Not dense enough for a bomb, but too much.
  std::string text;
  while (text.size() < 25'000'000) text += std::to_string(text.size() * 2654435761U);
  EXPECT_EQ(received(encoded(coding::gzip, text), "gzip").error().code(),
            http_error::body_too_large);
}

// ---------------------------------------------------------------- cookies

TEST(http_client_cookies, are_kept_and_sent_to_whom_they_belong) {
  std::vector<std::string> heads;
  on_linux(
      [&](http_peer& peer) -> task<> {
        for (;;) {
          heads.push_back(co_await peer.head());
          if (heads.back().empty()) co_return;
          if (heads.back().starts_with("GET /login")) {
            co_await peer.answer("", "Set-Cookie: id=7; Path=/\r\nLocation: /in\r\n", "302 Found");
          } else {
            co_await peer.answer("ok", "Set-Cookie: other=1; Path=/elsewhere\r\n");
          }
        }
      },
      [&](const std::string& url) -> task<> {
        cookie_jar jar;
        client_options options = direct();
        options.cookies = &jar;
        client client(std::move(options));
        const std::string port = url.substr(url.rfind(':'));
        client.set_address("else.test", static_cast<std::uint16_t>(std::stoi(port.substr(1))),
                           "127.0.0.1");
        co_await client.get(url + "/login");
        co_await client.get("http://else.test" + port + "/");
        EXPECT_EQ(jar.size(), 3U);
      });
  ASSERT_GE(heads.size(), 3U);
  EXPECT_EQ(heads[0].find("Cookie"), std::string::npos);
  EXPECT_THAT(heads[1], HasSubstr("\r\nCookie: id=7\r\n"));
  EXPECT_EQ(heads[2].find("Cookie"), std::string::npos);
}

}  // namespace
}  // namespace rill::http
