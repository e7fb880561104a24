// The codec: what each packet is, what is refused, and that it does not matter how bytes are cut.
#include <rill/protocols/nats/packet.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <rill/protocols/nats/headers.h>
#include <rill/protocols/nats/nkey.h>
#include <rill/protocols/nats/server.h>
#include <rill/protocols/nats/subject.h>

namespace rill::nats {
namespace {

using testing::ElementsAre;

std::string describe(const packet& of) {
  static constexpr const char* names[] = {"info",        "connect", "publish", "subscribe",
                                          "unsubscribe", "message", "ping",    "pong",
                                          "ok",          "error"};
  std::string text = names[static_cast<std::size_t>(of.type)];
  for (const std::string_view each :
       {of.subject, of.reply, of.queue, of.sid, of.headers, of.payload, of.text}) {
    text.append("|").append(each);
  }
  return text + '|' + std::to_string(of.max_count);
}

/// All packets, and how it ended, with the bytes given in pieces that end at these places.
std::vector<std::string> read_cut(std::string_view bytes, packet_reader::sender from,
                                  const std::vector<std::size_t>& cuts,
                                  const codec_limits& limits = codec_limits()) {
  packet_reader reader(from, limits);
  std::vector<std::string> all;
  std::size_t begin = 0;
  packet_state state = packet_state::incomplete;
  for (std::size_t i = 0; i <= cuts.size() && state != packet_state::failed; ++i) {
    const std::size_t end = i < cuts.size() ? cuts[i] : bytes.size();
    reader.append(bytes.substr(begin, end - begin));
    begin = end;
    packet read;
    for (state = reader.next(read); state == packet_state::complete; state = reader.next(read)) {
      all.push_back(describe(read));
    }
  }
  if (state == packet_state::failed) {
    all.push_back("failed: " + make_error_code(reader.error()).message());
  } else if (reader.buffered_size() != 0) {
    all.push_back("incomplete");
  }
  return all;
}

/// The result, which is the same for every single cut and byte for byte.
std::vector<std::string> read(std::string_view bytes, packet_reader::sender from,
                              const codec_limits& limits = codec_limits()) {
  const std::vector<std::string> whole = read_cut(bytes, from, {}, limits);
  std::vector<std::size_t> every;
  for (std::size_t at = 1; at < bytes.size(); ++at) {
    EXPECT_EQ(read_cut(bytes, from, {at}, limits), whole) << "cut at " << at;
    every.push_back(at);
  }
  EXPECT_EQ(read_cut(bytes, from, every, limits), whole);
  return whole;
}

std::vector<std::string> from_server(std::string_view bytes,
                                     const codec_limits& limits = codec_limits()) {
  return read(bytes, packet_reader::sender::server, limits);
}
std::vector<std::string> from_client(std::string_view bytes,
                                     const codec_limits& limits = codec_limits()) {
  return read(bytes, packet_reader::sender::client, limits);
}

std::string why(std::string_view bytes, bool of_server,
                const codec_limits& limits = codec_limits()) {
  const auto all = of_server ? from_server(bytes, limits) : from_client(bytes, limits);
  return all.empty() ? "" : all.back();
}

TEST(nats_packets, of_a_server_are_read) {
  EXPECT_THAT(from_server("INFO {\"a\":1} \r\nPING\r\nPONG\r\n+OK\r\n-ERR 'Stale Connection'\r\n"),
              ElementsAre("info|||||||{\"a\":1}|0", "ping||||||||0", "pong||||||||0", "ok||||||||0",
                          "error|||||||Stale Connection|0"));
  EXPECT_THAT(
      from_server("MSG a.b 7 5\r\nhello\r\nmsg a.b 7 _I.1\t 2\r\n\r\n\r\nMSG a 1 0\r\n\r\n"),
      ElementsAre("message|a.b|||7||hello||0", "message|a.b|_I.1||7||\r\n||0",
                  "message|a|||1||||0"));
  EXPECT_THAT(from_server("HMSG a 1 12 14\r\nNATS/1.0\r\n\r\nhi\r\n"),
              ElementsAre("message|a|||1|NATS/1.0\r\n\r\n|hi||0"));
}

TEST(nats_packets, of_a_client_are_read) {
  EXPECT_THAT(
      from_client("CONNECT {}\r\nSUB a.* 1\r\nSUB > workers 2\r\nUNSUB 1\r\nUNSUB 2 10\r\n"),
      ElementsAre("connect|||||||{}|0", "subscribe|a.*|||1||||0", "subscribe|>||workers|2||||0",
                  "unsubscribe||||1||||0", "unsubscribe||||2||||10"));
  EXPECT_THAT(from_client("PUB a 2\r\nhi\r\nHPUB a _I.1 12 14\r\nNATS/1.0\r\n\r\nhi\r\n"),
              ElementsAre("publish|a|||||hi||0", "publish|a|_I.1|||NATS/1.0\r\n\r\n|hi||0"));
}

TEST(nats_packets, are_read_as_they_were_written) {
  std::string bytes;
  append_info(bytes, "{}");
  append_message(bytes, "a.b", "9", "r", "NATS/1.0\r\n\r\n", "x");
  append_message(bytes, "a.b", "9", "", "", "");
  append_error(bytes, "no");
  EXPECT_THAT(from_server(bytes),
              ElementsAre("info|||||||{}|0", "message|a.b|r||9|NATS/1.0\r\n\r\n|x||0",
                          "message|a.b|||9||||0", "error|||||||no|0"));
  bytes.clear();
  append_connect(bytes, "{}");
  append_publish(bytes, "a", "r", "", "x");
  append_subscribe(bytes, "a.>", "q", "3");
  append_unsubscribe(bytes, "3", 2);
  append_unsubscribe(bytes, "3");
  EXPECT_THAT(from_client(bytes),
              ElementsAre("connect|||||||{}|0", "publish|a|r||||x||0", "subscribe|a.>||q|3||||0",
                          "unsubscribe||||3||||2", "unsubscribe||||3||||0"));
}

TEST(nats_packets, that_are_malformed_are_refused) {
  EXPECT_EQ(why("PING\n", true), "failed: malformed control line");
  EXPECT_EQ(why("\n", true), "failed: malformed control line");
  EXPECT_EQ(why("PI\x01NG\r\n", true), "failed: malformed control line");
  EXPECT_EQ(why("\r\n", true), "failed: unknown operation");
  EXPECT_EQ(why("PUB a 1\r\n", true), "failed: unknown operation");
  EXPECT_EQ(why("MSG a 1 1\r\n", false), "failed: unknown operation");
  EXPECT_EQ(why("PINGS\r\n", true), "failed: unknown operation");
  const std::string arguments = "failed: malformed arguments of an operation";
  for (const char* const each :
       {"PING x", "INFO", "MSG", "MSG a 1", "MSG a 1 r 1 1", "MSG a 1 -1", "MSG a 1 1x",
        "HMSG a 1 3 2", "HMSG a 1 2", "MSG a 1 99999999999999999999"}) {
    EXPECT_EQ(why(std::string(each) + "\r\n", true), arguments) << each;
  }
  for (const char* const each : {"SUB a", "SUB a b c d", "SUB a.>.b 1", "UNSUB", "UNSUB 1 x",
                                 "PUB a", "PUB a..b 1", "PUB a> 1", "PUB a r.* 1", "CONNECT"}) {
    EXPECT_EQ(why(std::string(each) + "\r\n", false), arguments) << each;
  }
  EXPECT_EQ(why("MSG a 1 1\r\nxy\r\n", true), "failed: payload without its end");
  EXPECT_EQ(why("MSG a 1 1\r\nx\rPING", true), "failed: payload without its end");
}

TEST(nats_packets, keep_their_limits) {
  codec_limits limits;
  limits.control_line_size_max = 20;
  limits.info_size_max = 30;
  limits.header_size_max = 12;
  limits.payload_size_max = 14;
  EXPECT_THAT(from_server("-ERR 'fourteen 14!'\r\n", limits),
              ElementsAre("error|||||||fourteen 14!|0"));
  EXPECT_EQ(why("-ERR 'fourteen 14!!'\r\n", true, limits).substr(0, 5), "error");
  EXPECT_EQ(why("-ERR 'fourteen 14!!!'\r\n", true, limits), "failed: control line too long");
  EXPECT_EQ(why("-ERR 'fourteen 14!!!'", true, limits), "incomplete");
  EXPECT_EQ(why("-ERR 'fourteen 14!!!'x", true, limits), "failed: control line too long");
  EXPECT_EQ(why("INFO {\"aaaaaaaaaaaaaaaaaaa\":1}\r\n", true, limits).substr(0, 4), "info");
  EXPECT_EQ(why("INFO {\"aaaaaaaaaaaaaaaaaaaaaaaaa\":1}\r\n", true, limits),
            "failed: control line too long");
  EXPECT_EQ(why("MSG a 1 14\r\n12345678901234\r\n", true, limits).substr(0, 7), "message");
  EXPECT_EQ(why("MSG a 1 15\r\n", true, limits), "failed: payload too large");
  EXPECT_EQ(why("HPUB a 13 13\r\n", false, limits), "failed: headers too large");
  limits.message_line_size_max = 20;
  EXPECT_EQ(why("MSG aaaaaaaaaaaa 1 2\r\nhi\r\n", true, limits).substr(0, 7), "message");
  EXPECT_EQ(why("MSG aaaaaaaaaaaaaa 1 2\r\nhi\r\n", true, limits), "failed: control line too long");
}

TEST(nats_packets, of_a_server_are_read_whatever_the_publisher_of_a_message_has_made_up) {
  for (const std::string& subject : {std::string("a..b"), std::string(".a"), std::string("chat.*"),
                                     std::string("chat.\x01"), "chat." + std::string(5000, 'x')}) {
    const auto read = read_cut("MSG " + subject + " 1 a..b 2\r\nhi\r\nPING\r\n",
                               packet_reader::sender::server, {});
    EXPECT_THAT(read, ElementsAre("message|" + subject + "|a..b||1||hi||0", "ping||||||||0"));
  }
  EXPECT_EQ(why("MSG a\rb 1 1\r\n", true), "failed: malformed control line");
  const std::string large = "NATS/1.0\r\na: " + std::string(100'000, 'x') + "\r\n\r\n";
  packet_reader reader(packet_reader::sender::server);
  std::string bytes;
  append_message(bytes, "a", "1", "", large, "hi");
  append_ping(bytes);
  reader.append(bytes);
  packet read;
  ASSERT_EQ(reader.next(read), packet_state::complete);
  EXPECT_TRUE(read.has_large_headers);
  EXPECT_EQ(read.headers, "");
  EXPECT_EQ(read.payload, "hi");
  ASSERT_EQ(reader.next(read), packet_state::complete);
  EXPECT_EQ(read.type, packet_type::ping);
}

TEST(nats_headers, are_read_as_they_were_written) {
  headers made;
  made.set_status(503, "No Responders");
  made.add("A", " b ").add("a", "").add("A", "c:d");
  const auto read = headers::parse(made.to_text());
  ASSERT_TRUE(read);
  EXPECT_EQ(read->status(), 503);
  EXPECT_EQ(read->description(), "No Responders");
  EXPECT_EQ(read->find("A"), "b");
  EXPECT_EQ(read->find("a"), "");
  EXPECT_EQ(read->find("B"), std::nullopt);
  EXPECT_EQ(read->fields().size(), 3u);
  EXPECT_EQ(read->to_text(), made.to_text());
  EXPECT_EQ(headers().to_text(), "");
  EXPECT_THROW(made.add("a b", "c"), std::invalid_argument);
  EXPECT_THROW(made.add("a", "c\r\nd: e"), std::invalid_argument);
}

TEST(nats_headers, that_are_malformed_are_refused) {
  for (const char* const each :
       {"NATS/1.0", "NATS/1.0\r\n", "NATS/1.0\r\nA\r\n\r\n", "NATS/1.0\r\n: b\r\n\r\n",
        "NATS/2.0\r\n\r\n", "NATS/1.0503\r\n\r\n", "NATS/1.0 50\r\n\r\n", "NATS/1.0 5030\r\n\r\n",
        "NATS/1.0\r\nA: b\n\r\n\r\n", "NATS/1.0\r\n\r\nrest", "NATS/1.0\r\nA b: c\r\n\r\n"}) {
    EXPECT_FALSE(headers::parse(each)) << each;
  }
  EXPECT_TRUE(headers::parse("NATS/1.0 503\r\n\r\n"));
  EXPECT_TRUE(headers::parse(""));
}

TEST(nats_subjects, match_patterns) {
  EXPECT_TRUE(matches("a.b", "a.b"));
  EXPECT_FALSE(matches("a.b", "a.b.c"));
  EXPECT_FALSE(matches("a.b.c", "a.b"));
  EXPECT_TRUE(matches("a.*", "a.b"));
  EXPECT_FALSE(matches("a.*", "a"));
  EXPECT_FALSE(matches("a.*", "a.b.c"));
  EXPECT_TRUE(matches("a.>", "a.b.c"));
  EXPECT_FALSE(matches("a.>", "a"));
  EXPECT_TRUE(matches(">", "a"));
  EXPECT_TRUE(matches("*.b.*", "a.b.c"));
  EXPECT_FALSE(is_subject(""));
  EXPECT_FALSE(is_subject("a b"));
  EXPECT_FALSE(is_subject("a."));
  EXPECT_FALSE(is_subject(std::string(subject_size_max + 1, 'a')));
  EXPECT_TRUE(is_pattern("a.>"));
  EXPECT_FALSE(is_pattern(">.a"));
}

TEST(nats_subjects, take_any_name_as_one_token) {
  for (const std::string name : {"lobby", "a.b", "", "%", "*", ">", "\xc3\xa4 b\r\n", "a%2Eb"}) {
    const std::string token = to_token(name);
    EXPECT_TRUE(is_subject("chat." + token)) << token;
    EXPECT_EQ(token.find('.'), token.npos);
    EXPECT_EQ(from_token(token), name);
  }
}

TEST(nats_servers, are_read_with_and_without_what_may_lack) {
  const auto plain = server_address::parse("localhost");
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->to_string(), "localhost:4222");
  const auto secret = server_address::parse("tls://me:pass:word@[::1]:1234/");
  ASSERT_TRUE(secret);
  EXPECT_EQ(secret->to_string(), "[::1]:1234");
  EXPECT_TRUE(secret->wants_tls);
  EXPECT_EQ(secret->own.user, "me");
  EXPECT_EQ(secret->own.password, "pass:word");
  EXPECT_EQ(server_address::parse("nats://token@h")->own.token, "token");
  const auto escaped = server_address::parse("nats://a%3ab:p%40s%25s@h");
  ASSERT_TRUE(escaped);
  EXPECT_EQ(escaped->own.user, "a:b");
  EXPECT_EQ(escaped->own.password, "p@s%s");
  EXPECT_EQ(server_address::parse("nats://a%2Fb@h")->own.token, "a/b");
  for (const char* const each :
       {"", "http://a", "a:0", "a:x", "a:99999", "nats://", "[::1", "[a]", "[[::1]", "a b",
        "nats://50%@h", "nats://a:%4@h", "nats://%zz@h"}) {
    EXPECT_FALSE(server_address::parse(each)) << each;
  }
}

TEST(nats_servers, tell_of_themselves) {
  const auto info = server_info::parse(
      R"({"server_id":"X","max_payload":100,"tls_required":true,"ldm":true,"headers":true,
          "connect_urls":["10.0.0.1:4222","[::1]:4223","bad:x",7]})");
  ASSERT_TRUE(info);
  EXPECT_EQ(info->payload_size_max, 100u);
  EXPECT_TRUE(info->requires_tls);
  EXPECT_TRUE(info->offers_tls);
  EXPECT_TRUE(info->is_lame_duck);
  EXPECT_THAT(info->addresses, ElementsAre("10.0.0.1:4222", "[::1]:4223"));
  EXPECT_FALSE(server_info::parse("[]"));
  EXPECT_FALSE(server_info::parse("{"));
  EXPECT_FALSE(server_info::parse("{\"a\":" + std::string(100, '[') + std::string(100, ']') + '}'));
  EXPECT_TRUE(server_info::parse(R"({"max_payload":"x","connect_urls":3})"));
}

TEST(nats_keys, sign_with_the_seed_of_a_user) {
  // Of the documentation of NATS.
  const std::string seed = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
  EXPECT_EQ(public_key(seed), "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4");
  EXPECT_EQ(sign(seed, "nonce").value_or("").size(), 86u);
  EXPECT_EQ(sign(seed, "nonce"), sign(seed, "nonce"));
  EXPECT_NE(sign(seed, "nonce"), sign(seed, "other"));
  EXPECT_FALSE(public_key(seed.substr(1)));
  EXPECT_FALSE(public_key("SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VX"));
  EXPECT_FALSE(sign("", "nonce"));
  const auto read = credentials_from_text(
      "-----BEGIN NATS USER JWT-----\nabc.def\n------END NATS USER JWT------\n\n"
      "-----BEGIN USER NKEY SEED-----\n" +
      seed + "\n------END USER NKEY SEED------\n");
  ASSERT_TRUE(read);
  EXPECT_EQ(read->jwt, "abc.def");
  EXPECT_EQ(read->seed, seed);
  EXPECT_FALSE(credentials_from_text("-----BEGIN NATS USER JWT-----\nabc\n"));
}

}  // namespace
}  // namespace rill::nats
