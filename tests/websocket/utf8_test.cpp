// UTF-8, told at the first byte that cannot belong.
#include <rill/protocols/websocket/utf8.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

namespace rill::websocket {
namespace {

std::string encoded(std::uint32_t point) {
  std::string made;
  const auto add = [&](std::uint32_t byte) { made += static_cast<char>(byte); };
  if (point < 0x80) {
    add(point);
  } else if (point < 0x800) {
    add(0xc0U | point >> 6U);
    add(0x80U | (point & 0x3fU));
  } else if (point < 0x10000) {
    add(0xe0U | point >> 12U);
    add(0x80U | (point >> 6U & 0x3fU));
    add(0x80U | (point & 0x3fU));
  } else {
    add(0xf0U | point >> 18U);
    add(0x80U | (point >> 12U & 0x3fU));
    add(0x80U | (point >> 6U & 0x3fU));
    add(0x80U | (point & 0x3fU));
  }
  return made;
}

TEST(websocket_utf8, takes_every_character_and_no_surrogate) {
  for (std::uint32_t point = 0; point < 0x140000; ++point) {
    const bool expected = point < 0x110000 && (point < 0xd800 || point > 0xdfff);
    ASSERT_EQ(is_utf8(encoded(point)), expected) << point;
  }
}

/// How many bytes are taken one by one.
std::size_t taken(std::string_view text) {
  utf8_validator checked;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (!checked.add(text.substr(i, 1))) return i;
  }
  return text.size();
}

TEST(websocket_utf8, stops_at_the_first_byte_that_cannot_belong) {
  EXPECT_EQ(taken("abc\x80"), 3U);
  EXPECT_EQ(taken("\xc0\x80"), 0U);  // overlong forms
  EXPECT_EQ(taken("\xc1\xbf"), 0U);
  EXPECT_EQ(taken("\xe0\x9f\xbf"), 1U);
  EXPECT_EQ(taken("\xf0\x8f\xbf\xbf"), 1U);
  EXPECT_EQ(taken("\xed\xa0\x80"), 1U);      // a surrogate
  EXPECT_EQ(taken("\xf4\x90\x80\x80"), 1U);  // beyond the last character
  EXPECT_EQ(taken("\xf5\x80\x80\x80"), 0U);
  EXPECT_EQ(taken("\xfe"), 0U);
  EXPECT_EQ(taken("\xff"), 0U);
  EXPECT_EQ(taken("\xe2\x82 "), 2U);
  EXPECT_EQ(taken("\xf0\x9f\x98x"), 3U);
}

TEST(websocket_utf8, knows_the_same_at_every_cut) {
  const std::string text =
      "plain text that is long enough for words, \xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80, end";
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    utf8_validator checked;
    ASSERT_TRUE(checked.add(std::string_view(text).substr(0, cut)));
    ASSERT_EQ(checked.is_complete(), is_utf8(text.substr(0, cut)));
    ASSERT_TRUE(checked.add(std::string_view(text).substr(cut)));
    ASSERT_TRUE(checked.is_complete());
    for (std::size_t bad = 0; bad < text.size(); ++bad) {
      std::string broken = text;
      broken[bad] = '\xff';
      utf8_validator again;
      ASSERT_EQ(again.add(std::string_view(broken).substr(0, cut)), cut <= bad);
      ASSERT_FALSE(again.add(std::string_view(broken).substr(cut)));
      ASSERT_FALSE(again.is_complete());
    }
  }
}

TEST(websocket_utf8, stays_refused_until_it_begins_anew) {
  utf8_validator checked;
  EXPECT_FALSE(checked.add("\xff"));
  EXPECT_FALSE(checked.add("good"));
  checked.reset();
  EXPECT_TRUE(checked.add("good"));
}

}  // namespace
}  // namespace rill::websocket
