// The opening handshake: what a server answers, what a client makes of it.
#include <rill/protocols/websocket/handshake.h>

#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace rill::websocket {
namespace {

using namespace std::string_literals;

const std::string key = "dGhlIHNhbXBsZSBub25jZQ==";  // of RFC 6455 section 1.3
using field_list = std::vector<std::pair<std::string, std::string>>;

field_list request_fields() {
  return {{"Host", "example.org"},
          {"Upgrade", "websocket"},
          {"Connection", "Upgrade"},
          {"Sec-WebSocket-Key", key},
          {"Sec-WebSocket-Version", "13"}};
}

handshake_answer answer_to(const field_list& fields,
                           const server_options& options = server_options(),
                           const std::string& line = "GET /chat HTTP/1.1") {
  std::string text = line + "\r\n";
  for (const auto& [name, value] : fields) text += name + ": " + value + "\r\n";
  text += "\r\n";
  http::request_head head;
  EXPECT_EQ(head.parse(text), http::parse_state::complete) << text;
  return answer_handshake(head, options);
}

/// The request with one field changed, left out (empty), or added.
field_list with(const std::string& name, const std::string& value) {
  field_list made = request_fields();
  for (auto each = made.begin(); each != made.end(); ++each) {
    if (each->first != name) continue;
    if (value.empty()) {
      made.erase(each);
    } else {
      each->second = value;
    }
    return made;
  }
  made.emplace_back(name, value);
  return made;
}
field_list twice(const std::string& name, const std::string& value) {
  field_list made = request_fields();
  made.emplace_back(name, value);
  return made;
}

TEST(websocket_handshake, answers_the_example_of_the_rfc) {
  EXPECT_EQ(accept_of(key), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  const handshake_answer made = answer_to(request_fields());
  EXPECT_EQ(made.status, 101);
  EXPECT_EQ(made.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  EXPECT_EQ(made.agreed.subprotocol, "");
  EXPECT_FALSE(made.agreed.deflate);
  EXPECT_EQ(answer_to(with("Connection", "keep-alive, upgrade")).status, 101);
  EXPECT_EQ(answer_to(with("Upgrade", "h2c, WebSocket")).status, 101);
}

TEST(websocket_handshake, refuses_what_is_no_handshake) {
  EXPECT_EQ(answer_to(with("Upgrade", "")).status, 426);
  EXPECT_EQ(answer_to(with("Upgrade", "websockets")).status, 426);
  EXPECT_EQ(answer_to(with("Connection", "")).status, 400);
  EXPECT_EQ(answer_to(with("Connection", "keep-alive")).status, 400);
  EXPECT_EQ(answer_to(with("Sec-WebSocket-Key", "")).status, 400);
  EXPECT_EQ(answer_to(with("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZ==")).status, 400);
  EXPECT_EQ(answer_to(with("Sec-WebSocket-Key", "c2hvcnQ=")).status, 400);
  EXPECT_EQ(answer_to(with("Sec-WebSocket-Key", "!!!")).status, 400);
  EXPECT_EQ(answer_to(twice("Sec-WebSocket-Key", key)).status, 400);
  EXPECT_EQ(answer_to(with("Sec-WebSocket-Version", "")).status, 426);
  for (const char* const each : {"8", "0", "13, 8", "14", "013", "thirteen"}) {
    EXPECT_EQ(answer_to(with("Sec-WebSocket-Version", each)).status, 426) << each;
  }
  EXPECT_EQ(answer_to(twice("Sec-WebSocket-Version", "13")).status, 426);
  const server_options options;
  EXPECT_EQ(answer_to(request_fields(), options, "GET /chat HTTP/1.0").status, 426);
  EXPECT_EQ(answer_to(request_fields(), options, "POST /chat HTTP/1.1").status, 405);
  EXPECT_EQ(answer_to(twice("Sec-WebSocket-Protocol", "a b")).status, 400);
  server_options compressing;
  compressing.connection.deflate.is_on = true;
  EXPECT_EQ(answer_to(twice("Sec-WebSocket-Extensions", "a b"), compressing).status, 400);
}

TEST(websocket_handshake, lets_pages_of_its_own_host_connect) {
  EXPECT_EQ(answer_to(with("Origin", "https://example.org")).status, 101);
  EXPECT_EQ(answer_to(with("Origin", "http://EXAMPLE.org")).status, 101);
  for (const char* const each :
       {"https://example.com", "https://example.org:8443", "https://example.org.evil.com",
        "https://evil.com/example.org", "null", "example.org", "file://"}) {
    EXPECT_EQ(answer_to(with("Origin", each)).status, 403) << each;
  }
  field_list with_port = with("Host", "localhost:8080");
  with_port.emplace_back("Origin", "http://localhost:8080");
  EXPECT_EQ(answer_to(with_port).status, 101);
  with_port.back().second = "http://localhost";
  EXPECT_EQ(answer_to(with_port).status, 403);
  field_list two = with("Origin", "https://example.org");
  two.emplace_back("Origin", "https://example.org");
  EXPECT_EQ(answer_to(two).status, 403);
}

TEST(websocket_handshake, lets_pages_connect_that_are_listed) {
  server_options options;
  options.origins = {"https://pages.test", "null"};
  EXPECT_EQ(answer_to(with("Origin", "https://pages.test"), options).status, 101);
  EXPECT_EQ(answer_to(with("Origin", "null"), options).status, 101);
  EXPECT_EQ(answer_to(with("Origin", "https://example.org"), options).status, 403);
  EXPECT_EQ(answer_to(request_fields(), options).status, 101);
  options.origins = {"*"};
  EXPECT_EQ(answer_to(with("Origin", "https://anywhere.test"), options).status, 101);
}

TEST(websocket_handshake, chooses_a_subprotocol_and_an_extension) {
  server_options options;
  options.subprotocols = {"best", "good"};
  options.connection.deflate.is_on = true;
  field_list fields = with("Sec-WebSocket-Protocol", "bad, good");
  fields.emplace_back("Sec-WebSocket-Protocol", "best");
  fields.emplace_back("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits");
  const handshake_answer made = answer_to(fields, options);
  EXPECT_EQ(made.agreed.subprotocol, "best");
  EXPECT_EQ(made.extensions,
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover");
  EXPECT_TRUE(made.agreed.deflate);
  EXPECT_EQ(answer_to(with("Sec-WebSocket-Protocol", "bad"), options).agreed.subprotocol, "");
}

// ---------------------------------------------------------------- the client

TEST(websocket_handshake, reads_urls) {
  EXPECT_EQ(parse_url("ws://a.test/x?y=1")->to_string(), "http://a.test/x?y=1");
  EXPECT_EQ(parse_url("WSS://a.test")->origin(), "https://a.test");
  EXPECT_EQ(parse_url("wss://a.test:9/")->port, 9);
  for (const char* const each : {"http://a.test/", "https://a.test/", "ws:/a", "a.test", "",
                                 "ws://", "ws://a.test/#part", "wss:"}) {
    EXPECT_FALSE(parse_url(each)) << each;
  }
}

TEST(websocket_handshake, writes_a_request_that_it_answers_itself) {
  client_options options;
  options.subprotocols = {"one", "two"};
  options.origin = "https://a.test";
  options.connection.deflate.is_on = true;
  options.fields.emplace_back("Cookie", "a=b");
  const std::string text = write_request(*parse_url("ws://user:pass@a.test:81/x?y"), key, options);
  EXPECT_EQ(text,
            "GET /x?y HTTP/1.1\r\nHost: a.test:81\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " +
                key +
                "\r\nOrigin: https://a.test\r\nSec-WebSocket-Protocol: one, two\r\n"
                "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; "
                "client_no_context_takeover; client_max_window_bits\r\n"
                "Authorization: Basic dXNlcjpwYXNz\r\nCookie: a=b\r\n\r\n");
  http::request_head head;
  ASSERT_EQ(head.parse(text), http::parse_state::complete);
  server_options server;
  server.origins = {"https://a.test"};
  server.subprotocols = {"two"};
  server.connection.deflate.is_on = true;
  const handshake_answer answer = answer_handshake(head, server);
  EXPECT_EQ(answer.status, 101);
  EXPECT_EQ(answer.agreed.subprotocol, "two");
  EXPECT_TRUE(answer.agreed.deflate);
}

TEST(websocket_handshake, sends_no_field_that_could_be_two) {
  const auto write = [](const std::function<void(client_options&)>& change) {
    client_options options;
    change(options);
    write_request(*parse_url("ws://a/"), key, options);
  };
  EXPECT_THROW(write([](auto& to) { to.origin = "a\r\nb"; }), std::invalid_argument);
  EXPECT_THROW(write([](auto& to) { to.subprotocols = {"a b"}; }), std::invalid_argument);
  EXPECT_THROW(write([](auto& to) { to.fields.emplace_back("X", "a\nb"); }), std::invalid_argument);
  EXPECT_THROW(write([](auto& to) { to.fields.emplace_back("X:", "a"); }), std::invalid_argument);
}

std::error_code fault_of(const std::string& fields,
                         const client_options& options = client_options(),
                         const std::string& status = "101 Switching Protocols") {
  const std::string text = "HTTP/1.1 " + status + "\r\n" + fields + "\r\n";
  http::response_head head;
  EXPECT_EQ(head.parse(text, "GET"), http::parse_state::complete);
  return read_answer(head, key, options).fault;
}

TEST(websocket_handshake, believes_only_an_answer_to_its_own_key) {
  const std::string switched = "Upgrade: websocket\r\nConnection: Upgrade\r\n";
  const std::string good = switched + "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
  EXPECT_FALSE(fault_of(good));
  const client_options defaults;
  EXPECT_EQ(fault_of(good, defaults, "200 OK"), handshake_fault::refused);
  EXPECT_EQ(fault_of(good, defaults, "403 Forbidden"), handshake_fault::refused);
  EXPECT_EQ(fault_of("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
            handshake_fault::not_upgraded);
  EXPECT_EQ(fault_of(switched), handshake_fault::bad_accept);
  EXPECT_EQ(fault_of(switched + "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOp=\r\n"),
            handshake_fault::bad_accept);
  EXPECT_EQ(fault_of(good + "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
            handshake_fault::bad_accept);
  EXPECT_EQ(fault_of(good + "Sec-WebSocket-Protocol: x\r\n"), handshake_fault::unknown_subprotocol);
  EXPECT_EQ(fault_of(good + "Sec-WebSocket-Extensions: permessage-deflate\r\n"),
            handshake_fault::unknown_extension);
  client_options offering;
  offering.subprotocols = {"x"};
  EXPECT_FALSE(fault_of(good + "Sec-WebSocket-Protocol: x\r\n", offering));
  EXPECT_EQ(fault_of(good + "Sec-WebSocket-Protocol: y\r\n", offering),
            handshake_fault::unknown_subprotocol);
}

TEST(websocket_handshake, says_what_went_wrong_and_where) {
  const handshake_error error(handshake_fault::refused, "ws://a.test/", 403);
  EXPECT_STREQ(error.what(), "WebSocket handshake ws://a.test/ (403): the server has refused it");
  EXPECT_EQ(error.status(), 403);
  EXPECT_EQ(error.code().category(), websocket_category());
}

}  // namespace
}  // namespace rill::websocket
