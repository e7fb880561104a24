// The cases of the Autobahn testsuite, the field's conformance suite for RFC 6455, as facts: what
// is sent, frame by frame, to an end that echoes, and what must come back. Numbered as there; each
// is sent whole and byte by byte, to a server and to a client. Not here: its cases of large
// messages and of compression (autobahn_load_test.cpp).
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "support.h"
#include "websocket/echoing.h"
#include "websocket/frames.h"

namespace rill::websocket {
namespace {

using namespace std::string_literals;
using test::record;
using test::sent_frame;

constexpr int continuation = 0;
constexpr int text = 1;
constexpr int binary = 2;
constexpr int close_frame = 8;
constexpr int ping = 9;
constexpr int pong = 10;

struct conformance_case {
  std::string number;
  std::vector<sent_frame> sent;
  /// What comes back before the end.
  record echoed;
  /// With what it ends. 1000: our own close frame, sent behind the rest, comes back.
  int code = 1000;
};

void check(const conformance_case& one) {
  for (const role own : {role::server, role::client}) {
    for (const std::size_t chop : {0U, 1U}) {
      std::vector<sent_frame> all = one.sent;
      if (one.code == 1000) all.push_back({close_frame, "\x03\xe8"s});
      const record came = test::answers_of_echo(own, all, chop);
      record expected = one.echoed;
      if (came.empty()) {
        ADD_FAILURE() << one.number << ": nothing came";
        continue;
      }
      EXPECT_EQ(record(came.begin(), came.end() - 1), expected)
          << one.number << (own == role::server ? " server" : " client") << chop;
      const std::string end = "close " + std::to_string(one.code) + ':';
      EXPECT_TRUE(came.back().starts_with(end)) << one.number << ' ' << came.back();
    }
  }
}

std::string as_text(const std::string& payload) { return "text:" + payload; }

TEST(autobahn, case_1_framing) {
  int number = 0;
  for (const int kind : {text, binary}) {
    for (const std::size_t size : {0U, 125U, 126U, 127U, 128U, 65535U, 65536U}) {
      const std::string payload(size, kind == text ? '*' : '\xfe');
      const std::string name = "1." + std::to_string(kind) + '.' + std::to_string(++number % 7);
      check({name, {{kind, payload}}, {(kind == text ? "text:" : "binary:") + payload}});
    }
  }
}

TEST(autobahn, case_2_pings_and_pongs) {
  const std::string long_payload(125, '\xfe');
  check({"2.1", {{ping, ""}}, {"pong:"}});
  check({"2.2", {{ping, "Hello, world!"}}, {"pong:Hello, world!"}});
  check({"2.3",
         {{ping, "\x00\xff\xfe\xfd\xfc\xfb\x00\xff"s}},
         {"pong:\x00\xff\xfe\xfd\xfc\xfb\x00\xff"s}});
  check({"2.4 2.6", {{ping, long_payload}}, {"pong:" + long_payload}});
  check({"2.5", {{ping, std::string(126, '\xfe')}}, {}, 1002});
  check({"2.7", {{pong, ""}}, {}});
  check({"2.8", {{pong, "unsolicited pong payload"}}, {}});
  check(
      {"2.9", {{pong, "unsolicited pong payload"}, {ping, "ping payload"}}, {"pong:ping payload"}});
  std::vector<sent_frame> ten;
  record answers;
  for (int i = 0; i < 10; ++i) {
    ten.push_back({ping, "payload-" + std::to_string(i)});
    answers.push_back("pong:payload-" + std::to_string(i));
  }
  check({"2.10 2.11", ten, answers});
}

TEST(autobahn, case_3_reserved_bits) {
  const std::string hello = "Hello, world!";
  check({"3.1", {{text, hello, true, 1}}, {}, 1002});
  check({"3.2", {{text, hello}, {text, hello, true, 2}, {ping, ""}}, {as_text(hello)}, 1002});
  check({"3.3", {{text, hello}, {text, hello, true, 3}, {ping, ""}}, {as_text(hello)}, 1002});
  check({"3.4", {{text, hello}, {text, hello, true, 4}, {ping, ""}}, {as_text(hello)}, 1002});
  check({"3.5", {{binary, "\x00\xff\xfe\xfd"s, true, 5}}, {}, 1002});
  check({"3.6", {{ping, hello, true, 6}}, {}, 1002});
  check({"3.7", {{close_frame, "", true, 7}}, {}, 1002});
}

TEST(autobahn, case_4_reserved_opcodes) {
  const std::string hello = "Hello, world!";
  for (const int first : {3, 11}) {
    const std::string name = first == 3 ? "4.1." : "4.2.";
    check({name + '1', {{first, ""}}, {}, 1002});
    check({name + '2', {{first + 1, "reserved opcode payload"}}, {}, 1002});
    check({name + '3', {{text, hello}, {first + 2, ""}, {ping, ""}}, {as_text(hello)}, 1002});
    check({name + '4', {{text, hello}, {first + 3, hello}, {ping, ""}}, {as_text(hello)}, 1002});
    check({name + '5', {{text, hello}, {first + 4, hello}, {ping, ""}}, {as_text(hello)}, 1002});
  }
}

TEST(autobahn, case_5_fragmentation) {
  const std::string hello = "Hello, world!";
  const std::string both = as_text("fragment1fragment2");
  check({"5.1", {{ping, "fragment1", false}, {continuation, "fragment2"}}, {}, 1002});
  check({"5.2", {{pong, "fragment1", false}, {continuation, "fragment2"}}, {}, 1002});
  check({"5.3 5.4 5.5", {{text, "fragment1", false}, {continuation, "fragment2"}}, {both}});
  check({"5.6 5.7 5.8",
         {{text, "fragment1", false}, {ping, "ping payload"}, {continuation, "fragment2"}},
         {"pong:ping payload", both}});
  check({"5.9 5.10 5.11", {{continuation, "non-continuation payload"}, {text, hello}}, {}, 1002});
  check({"5.12 5.13 5.14",
         {{continuation, "non-continuation payload", false}, {text, hello}},
         {},
         1002});
  check({"5.15",
         {{text, "fragment1", false},
          {continuation, "fragment2"},
          {continuation, "fragment3", false},
          {text, "fragment4"}},
         {both},
         1002});
  for (const bool is_final : {false, true}) {
    check({is_final ? "5.17" : "5.16",
           {{continuation, "fragment1", is_final},
            {text, "fragment2", false},
            {continuation, "fragment3"}},
           {},
           1002});
  }
  check({"5.18", {{text, "fragment1", false}, {text, "fragment2"}}, {}, 1002});
  check({"5.19 5.20",
         {{text, "fragment1", false},
          {continuation, "fragment2", false},
          {ping, "pongme 1!"},
          {continuation, "fragment3", false},
          {continuation, "fragment4", false},
          {ping, "pongme 2!"},
          {continuation, "fragment5"}},
         {"pong:pongme 1!", "pong:pongme 2!",
          as_text("fragment1fragment2fragment3fragment4fragment5")}});
}

/// A message in fragments of one byte.
std::vector<sent_frame> byte_by_byte(const std::string& payload) {
  std::vector<sent_frame> made;
  for (std::size_t i = 0; i < payload.size(); ++i) {
    made.push_back({i == 0 ? text : continuation, payload.substr(i, 1), i + 1 == payload.size()});
  }
  return made;
}

const std::string greek = "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5";

TEST(autobahn, case_6_text) {
  check({"6.1.1", {{text, ""}}, {"text:"}});
  check({"6.1.2", {{text, "", false}, {continuation, "", false}, {continuation, ""}}, {"text:"}});
  check({"6.1.3",
         {{text, "", false}, {continuation, "middle frame payload", false}, {continuation, ""}},
         {"text:middle frame payload"}});
  const std::string first = "Hello-\xc2\xb5@\xc3\x9f\xc3\xb6\xc3\xa4";
  const std::string second = "\xc3\xbc\xc3\xa0\xc3\xa1-UTF-8!!";
  check({"6.2.1", {{text, first + second}}, {as_text(first + second)}});
  check({"6.2.2", {{text, first, false}, {continuation, second}}, {as_text(first + second)}});
  check({"6.2.3", byte_by_byte(first + second), {as_text(first + second)}});
  check({"6.2.4", byte_by_byte(greek), {as_text(greek)}});
  const std::string edited = greek + "\xed\xa0\x80" + "edited";
  check({"6.3.1", {{text, edited}}, {}, 1007});
  check({"6.3.2", byte_by_byte(edited), {}, 1007});
}

TEST(autobahn, case_6_4_fails_at_the_byte_that_is_wrong) {
  const std::string all = greek + "\xf4\x90\x80\x80" + "edited";
  // Of a message whose rest never comes: what was sent until the byte, and with it.
  const auto frames = [&](std::size_t size) {
    return std::vector<sent_frame>{{text, all.substr(0, 11), false},
                                   {continuation, all.substr(11, size - 11), false}};
  };
  for (const role own : {role::server, role::client}) {
    EXPECT_EQ(test::answers_of_echo(own, frames(12), 0), record{}) << "6.4.1 6.4.2";
    const record told = test::answers_of_echo(own, frames(13), 0);
    ASSERT_EQ(told.size(), 1U);
    EXPECT_TRUE(told.front().starts_with("close 1007:")) << told.front();
    // The same in one frame, whose head announces all of it.
    for (const std::size_t size : {12U, 13U}) {
      sent_frame whole{text, all};
      whole.cut = all.size() - size;
      EXPECT_EQ(test::answers_of_echo(own, {whole}, 0).size(), size - 12) << "6.4.3 6.4.4";
    }
  }
}

struct sequence {
  bool is_valid;
  std::string bytes;
};

TEST(autobahn, case_6_5_to_6_23_sequences_of_utf8) {
  std::vector<sequence> all{
      {true, "hello$world"},
      {true, "hello\xc2\xa2world"},
      {true, "hello\xe2\x82\xacworld"},
      {true, "hello\xf0\xa4\xad\xa2world"},
      {true, "\x00"s},
      {true, "\xc2\x80"},
      {true, "\xe0\xa0\x80"},
      {true, "\xf0\x90\x80\x80"},
      {false, "\xf8\x88\x80\x80\x80"},
      {false, "\xfc\x84\x80\x80\x80\x80"},
      {true, "\x7f"},
      {true, "\xdf\xbf"},
      {true, "\xef\xbf\xbf"},
      {true, "\xf4\x8f\xbf\xbf"},
      {false, "\xf7\xbf\xbf\xbf"},
      {false, "\xfb\xbf\xbf\xbf\xbf"},
      {false, "\xfd\xbf\xbf\xbf\xbf\xbf"},
      {true, "\xed\x9f\xbf"},
      {true, "\xee\x80\x80"},
      {true, "\xef\xbf\xbd"},
      {false, "\xf4\x90\x80\x80"},
      {false, "\x80"},
      {false, "\xbf"},
      {false, "\x80\xbf"},
      {false, "\x80\xbf\x80\xbf\x80\xbf"},
      {false, "\xc0"},
      {false, "\xe0\x80"},
      {false, "\xf0\x80\x80"},
      {false, "\xf8\x80\x80\x80"},
      {false, "\xfc\x80\x80\x80\x80"},
      {false, "\xdf"},
      {false, "\xef\xbf"},
      {false, "\xf7\xbf\xbf"},
      {false, "\xfb\xbf\xbf\xbf"},
      {false, "\xfd\xbf\xbf\xbf\xbf"},
      {false, "\xfe"},
      {false, "\xff"},
      {false, "\xfe\xfe\xff\xff"},
      {false, "\xc0\xaf"},
      {false, "\xe0\x80\xaf"},
      {false, "\xf0\x80\x80\xaf"},
      {false, "\xf8\x80\x80\x80\xaf"},
      {false, "\xfc\x80\x80\x80\x80\xaf"},
      {false, "\xc1\xbf"},
      {false, "\xe0\x9f\xbf"},
      {false, "\xf0\x8f\xbf\xbf"},
      {false, "\xf8\x87\xbf\xbf\xbf"},
      {false, "\xfc\x83\xbf\xbf\xbf\xbf"},
      {false, "\xc0\x80"},
      {false, "\xe0\x80\x80"},
      {false, "\xf0\x80\x80\x80"},
      {false, "\xf8\x80\x80\x80\x80"},
      {false, "\xfc\x80\x80\x80\x80\x80"},
      {false, "\xed\xa0\x80"},
      {false, "\xed\xad\xbf"},
      {false, "\xed\xae\x80"},
      {false, "\xed\xaf\xbf"},
      {false, "\xed\xb0\x80"},
      {false, "\xed\xbe\x80"},
      {false, "\xed\xbf\xbf"},
      {false, "\xed\xa0\x80\xed\xb0\x80"},
      {false, "\xed\xaf\xbf\xed\xbf\xbf"},
      {true, "\xef\xbf\xb9"},
      {true, "\xef\xbf\xba"},
      {true, "\xef\xbf\xbb"},
      {true, "\xef\xbf\xbc"},
      {true, "\xef\xbf\xbe"},
  };
  // Whole characters end at these prefixes of the Greek word.
  for (std::size_t size = 1; size <= greek.size(); ++size) {
    all.push_back(
        {size == 2 || size == 5 || size == 7 || size == 9 || size == 11, greek.substr(0, size)});
  }
  for (int first = 0xf0; first <= 0xf4; ++first) {
    for (const char second : {'\x8f', '\x9f', '\xaf', '\xbf'}) {
      if ((first == 0xf4) != (second == '\x8f')) continue;  // overlong, or beyond the last
      for (const char last : {'\xbe', '\xbf'}) {
        all.push_back({true, std::string{static_cast<char>(first), second, '\xbf', last}});
      }
    }
  }
  std::string every_continuation;
  for (int c = 0x80; c < 0xbf; ++c) every_continuation += static_cast<char>(c);
  all.push_back({false, every_continuation});
  std::string lonely;
  for (int c = 0xc0; c < 0xfd; ++c) lonely += {static_cast<char>(c), ' '};
  all.push_back({false, lonely});
  for (const sequence& each : all) {
    const std::string name = "6.5+ " + testing::PrintToString(each.bytes);
    if (each.is_valid) {
      check({name, {{text, each.bytes}}, {as_text(each.bytes)}});
      check({name, byte_by_byte(each.bytes), {as_text(each.bytes)}});
    } else {
      check({name, {{text, each.bytes}}, {}, 1007});
      check({name, byte_by_byte(each.bytes), {}, 1007});
    }
  }
}

std::string close_payload_of(int code) {
  return {static_cast<char>(code >> 8), static_cast<char>(code & 0xff)};
}

TEST(autobahn, case_7_closing) {
  const std::string normal = close_payload_of(1000);
  check({"7.1.1", {{text, "Hello World!"}}, {"text:Hello World!"}});
  check({"7.1.2", {{close_frame, normal}, {close_frame, ""}}, {}});
  check({"7.1.3", {{close_frame, normal}, {ping, ""}}, {}});
  check({"7.1.4", {{close_frame, normal}, {text, "Hello World!"}}, {}});
  check({"7.1.5",
         {{text, "fragment1", false}, {close_frame, normal}, {continuation, "fragment2"}},
         {}});
  check({"7.3.1", {{close_frame, ""}}, {}, 1005});
  check({"7.3.2", {{close_frame, "a"}}, {}, 1002});
  check({"7.3.3", {{close_frame, normal}}, {}});
  check({"7.3.4", {{close_frame, normal + "Hello World!"}}, {}});
  check({"7.3.5", {{close_frame, normal + std::string(123, '*')}}, {}});
  check({"7.3.6", {{close_frame, normal + std::string(124, '*')}}, {}, 1002});
  check({"7.5.1", {{close_frame, normal + greek + "\xed\xa0\x80" + "edited"}}, {}, 1007});
  for (const int code :
       {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999}) {
    conformance_case one{"7.7", {{close_frame, close_payload_of(code)}}, {}};
    one.code = code;
    check(one);
  }
  for (const int code : {0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999}) {
    check({"7.9", {{close_frame, close_payload_of(code)}}, {}, 1002});
  }
  check({"7.13.1", {{close_frame, close_payload_of(5000)}}, {}, 1002});
  check({"7.13.2", {{close_frame, close_payload_of(65535)}}, {}, 1002});
}

TEST(autobahn, case_7_1_6_a_large_message_before_the_close) {
  std::string payload;
  while (payload.size() < 256 * 1024) payload += "BAsd7&jh23";
  const std::vector<sent_frame> sent{
      {text, payload}, {text, "Hello World!"}, {close_frame, close_payload_of(1000)}, {ping, ""}};
  for (const role own : {role::server, role::client}) {
    EXPECT_EQ(test::answers_of_echo(own, sent, 0),
              (record{as_text(payload), "text:Hello World!", "close 1000:"}));
  }
}

// ---------------------------------------------------------------- load

std::string repeated(std::string_view pattern, std::size_t size) {
  std::string made;
  made.reserve(size + pattern.size());
  while (made.size() < size) made += pattern;
  made.resize(size);
  return made;
}

/// One message, in fragments of so many bytes, then the farewell; the echo must be it.
void check_large(role own, int kind, const std::string& payload, std::size_t fragment,
                 std::size_t chop = 0) {
  std::string bytes;
  for (std::size_t at = 0; at == 0 || at < payload.size(); at += fragment) {
    const bool is_last = at + fragment >= payload.size();
    const sent_frame one{at == 0 ? kind : continuation, payload.substr(at, fragment), is_last};
    bytes += one.bytes(own == role::server);
  }
  bytes += sent_frame{close_frame, "\x03\xe8"s}.bytes(own == role::server);
  const record came = test::answers_of_echo(own, bytes, chop, false);
  ASSERT_EQ(came.size(), 2U);
  EXPECT_TRUE(came.front() == (kind == text ? "text:" : "binary:") + payload)
      << payload.size() << ' ' << fragment << ' ' << chop;
}

constexpr std::size_t kib = 1024;
constexpr std::size_t mib = 1024 * kib;

TEST(autobahn, case_9_large_messages) {
  for (const std::size_t size : {64 * kib, 256 * kib, mib, 4 * mib, 8 * mib, 16 * mib}) {
    check_large(role::server, text, repeated("BAsd7&jh23", size), size);               // 9.1
    check_large(role::server, binary, repeated("\x00\xfe\x23\xfa\xf0"s, size), size);  // 9.2
  }
  check_large(role::client, text, repeated("BAsd7&jh23", mib), mib);
  const std::string four = repeated("*", 4 * mib);
  for (std::size_t fragment = 64; fragment <= four.size(); fragment *= 4) {
    check_large(role::server, text, four, fragment);    // 9.3
    check_large(role::server, binary, four, fragment);  // 9.4
  }
  for (std::size_t chop = 64; chop <= 2048; chop *= 2) {
    check_large(role::server, text, repeated("BAsd7&jh23", mib), mib, chop);    // 9.5
    check_large(role::server, binary, repeated("BAsd7&jh23", mib), mib, chop);  // 9.6
  }
  check_large(role::server, text, repeated("*", 65536), 1300);  // 10.1.1
}

TEST(autobahn, case_9_7_9_8_many_messages) {
  for (const int kind : {text, binary}) {
    for (const std::size_t size : {0U, 16U, 64U, 256U, 1024U, 4096U}) {
      const std::string payload = repeated("BAsd7&jh23", size);
      const std::vector<sent_frame> sent(1000, sent_frame{kind, payload});
      std::vector<sent_frame> all = sent;
      all.push_back({close_frame, "\x03\xe8"s});
      record expected(1000, (kind == text ? "text:" : "binary:") + payload);
      expected.emplace_back("close 1000:");
      EXPECT_TRUE(test::answers_of_echo(role::server, all, 0) == expected) << kind << ' ' << size;
    }
  }
}

TEST(autobahn, case_9_9_a_message_without_end) {
  std::string bytes = sent_frame{text, std::string(4096, '*'), false}.bytes(true);
  const std::string next = sent_frame{continuation, std::string(4096, '*'), false}.bytes(true);
  for (int i = 0; i < 10'000; ++i) bytes += next;
  const record came = test::answers_of_echo(role::server, bytes, 0, false);
  ASSERT_EQ(came.size(), 1U);
  EXPECT_TRUE(came.front().starts_with("close 1009:")) << came.front();
}

// ---------------------------------------------------------------- compression

struct compression_case {
  const char* number;
  bool no_context;
  int window_bits;
};

/// What compresses well, what does not, and what lies between.
std::string content(int which, std::size_t size) {
  std::string made;
  std::uint32_t random = 7;
  for (std::size_t i = 0; made.size() < size; ++i) {
    random = random * 1664525U + 1013904223U;
    if (which == 0) {
      made += "{\"id\": " + std::to_string(i) + ", \"name\": \"somebody\"}, ";
    } else if (which == 1) {
      made += static_cast<char>(random >> 24U);
    } else {
      made += "word" + std::to_string(random >> 26U) + ' ';
    }
  }
  made.resize(size);
  return made;
}

struct message_size {
  std::size_t size;
  std::size_t fragment;
};
constexpr message_size message_sizes[] = {
    {16, 0},      {64, 0},      {256, 0},      {1024, 0},      {4096, 0},      {8192, 0},
    {16384, 0},   {32768, 0},   {65536, 0},    {131072, 0},    {8192, 256},    {16384, 256},
    {32768, 256}, {65536, 256}, {131072, 256}, {131072, 1024}, {131072, 4096}, {131072, 32768}};

/// Ten messages each, of which the peer compresses one in fragments of the compressed bytes.
void check_compressed(const compression_case& with, const message_size& size, int which) {
  negotiated agreed;
  agreed.deflate.emplace();
  agreed.deflate->server_no_context_takeover = with.no_context;
  agreed.deflate->client_no_context_takeover = with.no_context;
  agreed.deflate->server_window_bits = static_cast<std::uint8_t>(with.window_bits);
  agreed.deflate->client_window_bits = static_cast<std::uint8_t>(with.window_bits);
  deflater compressing(with.window_bits, 1);
  std::string bytes;
  record expected;
  for (std::size_t i = 0; i < 10; ++i) {
    const std::string payload = content(which, size.size + i);
    std::string smaller;
    compressing.compress(payload, true, smaller);
    if (with.no_context) compressing.reset();
    const std::size_t fragment = size.fragment == 0 ? smaller.size() : size.fragment;
    for (std::size_t at = 0; at < smaller.size(); at += fragment) {
      sent_frame one{at == 0 ? binary : continuation, smaller.substr(at, fragment),
                     at + fragment >= smaller.size()};
      one.reserved = at == 0 ? 4 : 0;
      bytes += one.bytes(true);
    }
    expected.push_back("binary:" + payload);
  }
  bytes += sent_frame{close_frame, "\x03\xe8"s}.bytes(true);
  expected.emplace_back("close 1000:");
  EXPECT_TRUE(test::answers_of_echo(role::server, bytes, 0, false, agreed) == expected)
      << with.number << ' ' << size.size << ' ' << size.fragment << ' ' << which;
}

TEST(autobahn, case_12_13_compression) {
  constexpr compression_case all[] = {{"12 13.1", false, 15},
                                      {"13.2", true, 15},
                                      {"13.3", false, 9},
                                      {"13.5", true, 9},
                                      {"13.6", true, 12}};
  for (const compression_case& with : all) {
    for (const message_size& size : message_sizes) check_compressed(with, size, 0);
  }
  for (const message_size& size : message_sizes) {
    check_compressed(all[0], size, 1);
    check_compressed(all[1], size, 2);
  }
}

}  // namespace
}  // namespace rill::websocket
