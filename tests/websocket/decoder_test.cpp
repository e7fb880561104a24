// What the decoder makes of frames: the RFC's examples, the rules of framing, the limits.
#include <rill/protocols/websocket/decoder.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "websocket/frames.h"

namespace rill::websocket {
namespace {

using test::events_of;
using test::fed_decoder;
using test::frame;
using test::record;
using namespace std::string_literals;

record one(std::string event) { return {std::move(event)}; }

TEST(websocket_decoder, reads_the_examples_of_the_rfc) {
  // RFC 6455 section 5.7.
  EXPECT_EQ(events_of("\x81\x05Hello"s, role::client), one("text:Hello"));
  EXPECT_EQ(events_of("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"s), one("text:Hello"));
  EXPECT_EQ(events_of("\x01\x03Hel\x80\x02lo"s, role::client), one("text:Hello"));
  EXPECT_EQ(events_of("\x89\x05Hello"s, role::client), one("ping:Hello"));
  EXPECT_EQ(events_of("\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"s), one("pong:Hello"));
  const std::string small(256, 'b');
  EXPECT_EQ(events_of("\x82\x7e\x01\x00"s + small, role::client), one("binary:" + small));
  const std::string large(65536, 'B');
  EXPECT_EQ(events_of("\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"s + large, role::client),
            one("binary:" + large));
}

TEST(websocket_decoder, reads_lengths_at_their_borders) {
  for (const std::size_t size : {0U, 1U, 124U, 125U, 126U, 127U, 128U, 65535U, 65536U, 65537U}) {
    const std::string payload(size, 'x');
    EXPECT_EQ(events_of(frame(opcode::text, payload)), one("text:" + payload)) << size;
  }
}

TEST(websocket_decoder, gives_control_frames_between_fragments_at_once) {
  EXPECT_EQ(events_of(frame(opcode::text, "one ", false) + frame(opcode::ping, "?") +
                      frame(opcode::continuation, "two ", false) + frame(opcode::pong, "!") +
                      frame(opcode::continuation, "three")),
            (record{"ping:?", "pong:!", "text:one two three"}));
}

TEST(websocket_decoder, reads_messages_one_behind_the_other) {
  EXPECT_EQ(events_of(frame(opcode::text, "a") + frame(opcode::binary, "b") +
                      frame(opcode::text, "", false) + frame(opcode::continuation, "c")),
            (record{"text:a", "binary:b", "text:c"}));
}

struct violation {
  std::string bytes;
  std::string why;
};

TEST(websocket_decoder, refuses_what_breaks_the_rules_with_1002) {
  const std::vector<violation> all{
      {frame(opcode::text, "x", true, false), "a frame of a client is not masked"},
      {frame(opcode::text, "x", true, true, true), "a reserved bit is set"},
      {"\xa1\x80\0\0\0\0"s, "a reserved bit is set"},
      {"\x91\x80\0\0\0\0"s, "a reserved bit is set"},
      {"\x83\x80\0\0\0\0"s, "a reserved opcode"},
      {"\x87\x80\0\0\0\0"s, "a reserved opcode"},
      {"\x8b\x80\0\0\0\0"s, "a reserved opcode"},
      {"\x8f\x80\0\0\0\0"s, "a reserved opcode"},
      {frame(opcode::ping, "x", false), "a control frame in fragments"},
      {frame(opcode::close, "", false), "a control frame in fragments"},
      {frame(opcode::ping, std::string(126, 'x')), "a control frame of more than 125 bytes"},
      {"\x89\xff"s, "a control frame of more than 125 bytes"},
      {"\xc9\x80\0\0\0\0"s, "a compressed control frame"},
      {frame(opcode::continuation, "x"), "the continuation of no message"},
      {frame(opcode::text, "x", false) + frame(opcode::text, "y"), "a message within another"},
      {"\x82\xff\x80"s, "a length of 2^63 or more"},
      {"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff"s, "a length of 2^63 or more"},
      {"\x82\xfe\x00\x7d\x01\x02\x03\x04"s, "a length in more bytes than it needs"},
      {"\x82\xff\x00\x00\x00\x00\x00\x00\xff\xff"s, "a length in more bytes than it needs"},
      {frame(opcode::close, "\x03"), "a close frame of one byte"},
  };
  for (const violation& each : all) {
    EXPECT_EQ(events_of(each.bytes + "more"), one("failed 1002:" + each.why));
  }
  EXPECT_EQ(events_of(frame(opcode::text, "x"), role::client),
            one("failed 1002:a frame of a server is masked"));
}

TEST(websocket_decoder, tells_a_wrong_head_with_its_first_wrong_byte) {
  const auto told_at = [](const std::string& bytes) {
    fed_decoder decoder(role::server);
    for (const char each : bytes) {
      if (!decoder.has_ended()) decoder.feed(std::string_view(&each, 1));
    }
    return decoder.last_event_at();
  };
  EXPECT_EQ(told_at("\x83\x80\0\0\0\0"s), 1U);
  EXPECT_EQ(told_at("\x09\x80\0\0\0\0"s), 1U);
  EXPECT_EQ(told_at("\xc1\x80\0\0\0\0"s), 1U);
  EXPECT_EQ(told_at("\x80\x80\0\0\0\0"s), 1U);
  EXPECT_EQ(told_at("\x81\x05Hello"s), 2U);
  EXPECT_EQ(told_at("\x89\xfe\x00\x7e"s), 2U);
  EXPECT_EQ(told_at("\x82\xff\x80"s), 3U);
}

TEST(websocket_decoder, says_nothing_more_after_a_close_or_a_failure) {
  const std::string closed = frame(opcode::close, "\x03\xe8"s + "bye") + frame(opcode::text, "x");
  EXPECT_EQ(events_of(closed), one("close 1000:bye"));
  message_decoder decoder(role::server);
  EXPECT_EQ(decoder.decode("\xff").what, event::failed);
  const auto again = decoder.decode("more");
  EXPECT_EQ(again.what, event::failed);
  EXPECT_EQ(again.used, 4U);
  EXPECT_EQ(again.data, "a reserved bit is set");
}

TEST(websocket_decoder, reads_close_frames) {
  EXPECT_EQ(events_of(frame(opcode::close, "")), one("close 1005:"));
  EXPECT_EQ(events_of(frame(opcode::close, "\x03\xe8"s)), one("close 1000:"));
  const std::string longest(123, 'r');
  EXPECT_EQ(events_of(frame(opcode::close, "\x0f\xa0"s + longest)), one("close 4000:" + longest));
  EXPECT_EQ(events_of(frame(opcode::close, "\x03\xe8"s + "\xc3\x28")),
            one("failed 1007:the reason for closing is not UTF-8"));
  EXPECT_EQ(events_of(frame(opcode::close, "\x03\xe8"s + "\xc3")),
            one("failed 1007:the reason for closing is not UTF-8"));
}

TEST(websocket_decoder, takes_the_codes_that_may_be_sent_and_no_others) {
  for (int code = 0; code < 65536; ++code) {
    const std::string payload{static_cast<char>(code >> 8), static_cast<char>(code & 0xff)};
    fed_decoder decoder(role::server);
    decoder.feed(frame(opcode::close, payload));
    const bool is_registered =
        (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014);  // IANA's, for the wire
    const bool expected = is_registered || (code >= 3000 && code <= 4999);
    ASSERT_EQ(may_be_sent(static_cast<close_code>(code)), expected) << code;
    ASSERT_EQ(decoder.events.front().starts_with("close"), expected) << code;
  }
}

TEST(websocket_decoder, refuses_a_message_that_is_too_large_by_its_head) {
  decoder_limits limits;
  limits.message_size_max = 10;
  const record too_large = one("failed 1009:the message is too large");
  const std::string eleven(11, 'x');
  EXPECT_EQ(events_of(frame(opcode::text, std::string(10, 'x')), role::server, limits),
            one("text:xxxxxxxxxx"));
  EXPECT_EQ(events_of(frame(opcode::text, eleven).substr(0, 6), role::server, limits), too_large);
  EXPECT_EQ(events_of(frame(opcode::text, "12345", false) +
                          frame(opcode::continuation, "123456").substr(0, 6),
                      role::server, limits),
            too_large);
  // 2^62 bytes, of which none has come: no memory is taken for them.
  EXPECT_EQ(events_of("\x82\xff\x40\0\0\0\0\0\0\0key!"s, role::server, limits), too_large);
  // The next message begins anew.
  EXPECT_EQ(events_of(frame(opcode::text, "1234567890") + frame(opcode::text, "abcdefghij"),
                      role::server, limits),
            (record{"text:1234567890", "text:abcdefghij"}));
}

TEST(websocket_decoder, allows_some_empty_frames_in_a_message) {
  decoder_limits limits;
  limits.empty_frame_max = 3;
  std::string bytes = frame(opcode::text, "", false);
  for (int i = 0; i < 2; ++i) bytes += frame(opcode::continuation, "", false);
  EXPECT_EQ(events_of(bytes + frame(opcode::continuation, ""), role::server, limits), one("text:"));
  EXPECT_EQ(events_of(bytes + frame(opcode::continuation, "", false), role::server, limits),
            one("failed 1008:too many empty frames"));
  // Empty messages are messages.
  std::string many;
  record expected;
  for (int i = 0; i < 10; ++i) {
    many += frame(opcode::text, "");
    expected.emplace_back("text:");
  }
  EXPECT_EQ(events_of(many, role::server, limits), expected);
}

TEST(websocket_decoder, gives_binary_as_it_is) {
  std::string all(256, '\0');
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<char>(i);
  EXPECT_EQ(events_of(frame(opcode::binary, all)), one("binary:" + all));
}

TEST(websocket_decoder, refuses_text_at_the_byte_that_is_no_utf8) {
  // U+1F600 in two frames, then a byte that begins nothing, and much more of the message to come.
  const std::string smile = "\xf0\x9f\x98\x80";
  const std::string good = frame(opcode::text, smile.substr(0, 2), false);
  const std::string bad =
      frame(opcode::continuation, smile.substr(2) + "\xff" + "0123456789", false);
  const std::size_t head_size = 6;
  const std::size_t bad_at = good.size() + head_size + 2;  // of the bytes on the wire
  fed_decoder decoder(role::server);
  std::size_t given = 0;
  for (const char each : good + bad) {
    decoder.feed(std::string_view(&each, 1));
    ++given;
    if (decoder.has_ended()) break;
  }
  EXPECT_EQ(decoder.events, one("failed 1007:the text is not UTF-8"));
  EXPECT_EQ(given, bad_at + 1);
}

TEST(websocket_decoder, holds_no_memory_between_messages) {
  fed_decoder decoder(role::server);
  decoder.feed(frame(opcode::text, std::string(100'000, 'x')) + frame(opcode::text, "y", false));
  decoder.feed(frame(opcode::ping, "0123456789abcdef0123456789abcdef"));
  decoder.feed(frame(opcode::continuation, "z"));
  EXPECT_EQ(decoder.events.back(), "text:yz");
}

}  // namespace
}  // namespace rill::websocket
