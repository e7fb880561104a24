// permessage-deflate: what is agreed on, and what messages become.
#include <rill/protocols/websocket/deflate.h>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "websocket/frames.h"

namespace rill::websocket {
namespace {

using namespace std::string_literals;
using test::events_of;
using test::frame;
using test::record;

deflate_options on(bool takeover = false) {
  deflate_options made;
  made.is_on = true;
  made.server_context_takeover = made.client_context_takeover = takeover;
  return made;
}

deflate_parameters with(bool server_none, bool client_none, int server_bits = 15,
                        int client_bits = 15) {
  deflate_parameters made;
  made.server_no_context_takeover = server_none;
  made.client_no_context_takeover = client_none;
  made.server_window_bits = static_cast<std::uint8_t>(server_bits);
  made.client_window_bits = static_cast<std::uint8_t>(client_bits);
  return made;
}

// ---------------------------------------------------------------- negotiation

std::string answer_to(std::string_view offers, const deflate_options& options) {
  const deflate_answer made = answer_offers(offers, options);
  if (made.is_malformed) return "malformed";
  EXPECT_EQ(made.agreed.has_value(), !made.text.empty());
  return made.text;
}

TEST(websocket_deflate, is_answered_by_a_server) {
  const std::string name = "permessage-deflate";
  EXPECT_EQ(answer_to("", on()), "");
  EXPECT_EQ(answer_to(name, deflate_options()), "");
  EXPECT_EQ(answer_to(name, on(true)), name);
  EXPECT_EQ(answer_to(name, on()),
            name + "; server_no_context_takeover; client_no_context_takeover");
  EXPECT_EQ(answer_to(name + "; server_no_context_takeover", on(true)),
            name + "; server_no_context_takeover");
  EXPECT_EQ(answer_to(name + "; client_no_context_takeover", on(true)),
            name + "; client_no_context_takeover");
  EXPECT_EQ(answer_to(name + "; server_max_window_bits=10", on(true)),
            name + "; server_max_window_bits=10");
  EXPECT_EQ(answer_to(name + "; server_max_window_bits=\"10\"", on(true)),
            name + "; server_max_window_bits=10");
  EXPECT_EQ(answer_to(name + "; client_max_window_bits", on(true)), name);
  EXPECT_EQ(answer_to(name + " ;client_max_window_bits = 9", on(true)),
            name + "; client_max_window_bits=9");
  deflate_options narrow = on(true);
  narrow.server_window_bits = 11;
  narrow.client_window_bits = 12;
  EXPECT_EQ(answer_to(name, narrow), name + "; server_max_window_bits=11");
  EXPECT_EQ(answer_to(name + "; client_max_window_bits=10; server_max_window_bits=14", narrow),
            name + "; server_max_window_bits=11; client_max_window_bits=10");
  EXPECT_EQ(answer_to(name + "; client_max_window_bits", narrow),
            name + "; server_max_window_bits=11; client_max_window_bits=12");
}

TEST(websocket_deflate, takes_the_first_offer_that_it_can_meet) {
  EXPECT_EQ(answer_to("permessage-deflate; server_max_window_bits=8, x-other; a=b, "
                      "permessage-deflate; server_max_window_bits=12, permessage-deflate",
                      on(true)),
            "permessage-deflate; server_max_window_bits=12");
  for (const char* const each :
       {"server_max_window_bits", "server_max_window_bits=7", "server_max_window_bits=16",
        "server_max_window_bits=010", "server_max_window_bits=8", "client_max_window_bits=7",
        "client_max_window_bits=x", "server_no_context_takeover=1",
        "server_no_context_takeover; server_no_context_takeover",
        "client_max_window_bits; client_max_window_bits", "unknown", "unknown=1"}) {
    EXPECT_EQ(answer_to("permessage-deflate; "s + each, on(true)), "") << each;
  }
  for (const char* const each : {"permessage-deflate;", "a b", ";a", "a; =b", "a; b=", "a; b=\"",
                                 "a; b=\"c d\"", "permessage-deflate; ;"}) {
    EXPECT_EQ(answer_to(each, on(true)), "malformed") << each;
  }
}

TEST(websocket_deflate, is_offered_by_a_client) {
  EXPECT_EQ(write_offer(deflate_options()), "");
  EXPECT_EQ(write_offer(on(true)), "permessage-deflate; client_max_window_bits");
  EXPECT_EQ(write_offer(on()),
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; "
            "client_max_window_bits");
  deflate_options narrow = on(true);
  narrow.server_window_bits = 10;
  narrow.client_window_bits = 9;
  EXPECT_EQ(write_offer(narrow),
            "permessage-deflate; server_max_window_bits=10; client_max_window_bits=9");
}

TEST(websocket_deflate, is_read_by_a_client) {
  const auto read = [](std::string_view text, const deflate_options& offered) {
    const deflate_reading made = read_answer(text, offered);
    EXPECT_FALSE(made.is_refused && made.agreed);
    return made;
  };
  EXPECT_FALSE(read("", on()).is_refused);
  EXPECT_FALSE(read("", on()).agreed);
  EXPECT_EQ(read("permessage-deflate", on(true)).agreed, with(false, false));
  EXPECT_EQ(read("permessage-deflate; client_max_window_bits=11; server_max_window_bits=8; "
                 "client_no_context_takeover; server_no_context_takeover",
                 on(true))
                .agreed,
            with(true, true, 8, 11));
  deflate_options narrow = on(true);
  narrow.server_window_bits = 10;
  EXPECT_TRUE(read("permessage-deflate", narrow).is_refused);
  EXPECT_TRUE(read("permessage-deflate; server_max_window_bits=11", narrow).is_refused);
  EXPECT_TRUE(read("permessage-deflate", on()).is_refused);  // takes its context over
  for (const char* const each :
       {"other", "permessage-deflate, permessage-deflate", "permessage-deflate; unknown",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; client_max_window_bits=8",
        "permessage-deflate; server_max_window_bits=16", "permessage-deflate;"}) {
    EXPECT_TRUE(read(each, on(true)).is_refused) << each;
  }
  EXPECT_TRUE(read("permessage-deflate", deflate_options()).is_refused);
}

// ---------------------------------------------------------------- messages

record one(std::string event) { return {std::move(event)}; }

TEST(websocket_deflate, reads_the_examples_of_the_rfc) {
  // RFC 7692 section 7.2.3, in frames of a server.
  const auto parameters = with(false, false);
  const decoder_limits limits;
  const auto events = [&](const std::string& bytes) {
    return events_of(bytes, role::client, limits, parameters);
  };
  EXPECT_EQ(events("\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00"s), one("text:Hello"));
  EXPECT_EQ(events("\x41\x03\xf2\x48\xcd\x80\x04\xc9\xc9\x07\x00"s), one("text:Hello"));
  // The second refers to the first, whose window is still there.
  EXPECT_EQ(events("\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00\xc1\x05\xf2\x00\x11\x00\x00"s),
            (record{"text:Hello", "text:Hello"}));
  // A block without compression.
  EXPECT_EQ(events("\xc1\x0b\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"s), one("text:Hello"));
  // A block that ends its stream, and what another stream after it refers to.
  EXPECT_EQ(events("\xc1\x08\xf3\x48\xcd\xc9\xc9\x07\x00\x00"s), one("text:Hello"));
  EXPECT_EQ(events("\xc1\x08\xf3\x48\xcd\xc9\xc9\x07\x00\x00\xc1\x05\xf2\x00\x11\x00\x00"s),
            (record{"text:Hello", "text:Hello"}));
  // Two blocks in one message, and an empty one.
  EXPECT_EQ(events("\xc1\x0d\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"s),
            one("text:Hello"));
  EXPECT_EQ(events("\xc1\x01\x00"s), one("text:"));
}

TEST(websocket_deflate, carries_messages_with_and_without_context) {
  for (const bool takeover : {false, true}) {
    for (int bits = 9; bits <= 15; bits += 3) {
      deflater compressing(bits, 6);
      std::string bytes;
      record expected;
      std::size_t last_size = 0;
      for (const std::size_t size : {0, 1, 5, 300, 6'000, 300, 0}) {
        std::string text;
        for (std::size_t i = 0; text.size() < size; ++i) text += std::to_string(i * 7 % 1000) + ' ';
        text.resize(size);
        std::string smaller;
        compressing.compress(text, true, smaller);
        last_size = smaller.size();
        if (!takeover) compressing.reset();
        const std::size_t half = smaller.size() / 2;
        bytes += frame(opcode::text, smaller.substr(0, half), false, true, true) +
                 frame(opcode::ping, "") + frame(opcode::continuation, smaller.substr(half));
        expected.emplace_back("ping:");
        expected.push_back("text:" + text);
      }
      EXPECT_EQ(last_size, 1U);  // an empty message is a byte
      const auto agreed = with(!takeover, !takeover, 15, bits);
      EXPECT_EQ(events_of(bytes, role::server, decoder_limits(), agreed), expected);
    }
  }
}

TEST(websocket_deflate, refuses_the_compressed_bit_where_it_does_not_belong) {
  const auto parameters = with(true, true);
  const decoder_limits limits;
  const record reserved = one("failed 1002:a reserved bit is set");
  EXPECT_EQ(events_of(frame(opcode::text, "x", true, true, true)), reserved);
  EXPECT_EQ(events_of(frame(opcode::text, "", false, true, true) +
                          frame(opcode::continuation, "", true, true, true),
                      role::server, limits, parameters),
            reserved);
  EXPECT_EQ(events_of(frame(opcode::ping, "", true, true, true), role::server, limits, parameters),
            one("failed 1002:a compressed control frame"));
  EXPECT_EQ(events_of(frame(opcode::text, "plain"), role::server, limits, parameters),
            one("text:plain"));
}

TEST(websocket_deflate, refuses_what_does_not_decompress_with_1007) {
  const auto parameters = with(true, true);
  const decoder_limits limits;
  const auto events = [&](const std::string& payload) {
    return events_of(frame(opcode::text, payload, true, true, true), role::server, limits,
                     parameters);
  };
  const record corrupt = one("failed 1007:the message does not decompress");
  EXPECT_EQ(events("\xff\xff\xff\xff"), corrupt);
  EXPECT_EQ(events("\x00\x05\x00\x00\x00Hello"s), corrupt);  // a length and its complement
  EXPECT_EQ(events("\xf2\x00\x11\x00\x00"s), corrupt);       // refers to what is not there
  std::string invalid;
  deflater(15, 6).compress("a\xff", true, invalid);
  EXPECT_EQ(events(invalid), one("failed 1007:the text is not UTF-8"));
  // Streams that end again and again.
  std::string ends;
  for (int i = 0; i < 1000; ++i) ends += "\x03\x00"s;
  EXPECT_EQ(events(ends), corrupt);
}

TEST(websocket_deflate, stops_a_bomb_at_the_limit) {
  decoder_limits limits;
  limits.message_size_max = 100'000;
  std::string bomb;
  deflater(15, 1).compress(std::string(10'000'000, '0'), true, bomb);
  ASSERT_LT(bomb.size(), limits.message_size_max);
  const auto parameters = with(true, true);
  test::fed_decoder decoder(role::server, limits, parameters);
  decoder.feed(frame(opcode::text, bomb, true, true, true));
  EXPECT_EQ(decoder.events, one("failed 1009:the message is too large"));
  // Just as much as there may be.
  std::string full;
  deflater(15, 1).compress(std::string(100'000, '0'), true, full);
  EXPECT_EQ(
      events_of(frame(opcode::text, full, true, true, true), role::server, limits, parameters),
      one("text:" + std::string(100'000, '0')));
}

}  // namespace
}  // namespace rill::websocket
