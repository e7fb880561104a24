// What may be shown on a terminal, and what may be a name.
#include <rill/protocols/chat/text.h>

#include <string>
#include <string_view>

#include <gtest/gtest.h>

namespace rill::chat {
namespace {

std::string harmless(std::string_view text) {
  std::string made;
  append_harmless(made, text);
  return made;
}

TEST(chat_text, takes_each_length_of_a_character) {
  EXPECT_TRUE(is_utf8("a \xC3\xA4 \xE2\x82\xAC \xF0\x9F\x98\x80"));
  EXPECT_TRUE(is_utf8(""));
  EXPECT_TRUE(is_utf8("\xF4\x8F\xBF\xBF"));  // U+10FFFF
}

TEST(chat_text, refuses_what_rfc_3629_does_not_allow) {
  for (const std::string_view bad :
       {"\x80", "\xC0\x80", "\xC1\xBF", "\xC3", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xE2\x82",
        "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF", "\xE2\x28\xA1"}) {
    EXPECT_FALSE(is_utf8(bad)) << ::testing::PrintToString(bad);
    EXPECT_FALSE(is_utf8("ok" + std::string(bad) + "ok")) << ::testing::PrintToString(bad);
  }
}

TEST(chat_text, leaves_plain_text_as_it_is) {
  EXPECT_EQ(harmless("h\xC3\xA9llo,\tworld \xF0\x9F\x98\x80"),
            "h\xC3\xA9llo,\tworld \xF0\x9F\x98\x80");
}

TEST(chat_text, makes_control_characters_visible) {
  EXPECT_EQ(harmless("\x1b[2J"), "\xE2\x90\x9B[2J");
  EXPECT_EQ(harmless(std::string_view("a\0b", 3)),
            "a\xE2\x90\x80"
            "b");
  EXPECT_EQ(harmless("a\r\nb\x7f"),
            "a\xE2\x90\x8D\xE2\x90\x8A"
            "b\xE2\x90\xA1");
}

TEST(chat_text, replaces_c1_direction_marks_and_bad_bytes) {
  const std::string mark = "\xEF\xBF\xBD";
  EXPECT_EQ(harmless("\xC2\x9B"
                     "31m"),
            mark + "31m");                       // CSI as one C1 character
  EXPECT_EQ(harmless("\xE2\x80\xAE"), mark);     // RIGHT-TO-LEFT OVERRIDE
  EXPECT_EQ(harmless("\xE2\x81\xA6"), mark);     // LEFT-TO-RIGHT ISOLATE
  EXPECT_EQ(harmless("\xE2\x80\xA8"), mark);     // LINE SEPARATOR
  EXPECT_EQ(harmless("\xFF\xC3"), mark + mark);  // never UTF-8; cut short
  EXPECT_EQ(harmless("\x9B"), mark);             // C1 as a byte
}

TEST(chat_text, every_byte_and_pair_of_bytes_comes_out_harmless) {
  for (unsigned first = 0; first != 256; ++first) {
    for (unsigned second = 0; second != 256; ++second) {
      const char pair[] = {static_cast<char>(first), static_cast<char>(second)};
      const std::string made = harmless(std::string_view(pair, 2));
      for (std::string_view rest = made; !rest.empty();) {
        const character next = first_character(rest);
        ASSERT_TRUE(next.is_valid);
        ASSERT_FALSE(is_harmful(next.value));
        ASSERT_NE(next.value, U'\n');
        rest.remove_prefix(next.size);
      }
    }
  }
}

TEST(chat_text, names_are_one_word_of_at_most_32_characters) {
  EXPECT_EQ(check_name("alice"), name_fault::none);
  EXPECT_EQ(check_name("J\xC3\xBCrgen"), name_fault::none);
  EXPECT_EQ(check_name("\xF0\x9F\x98\x80"), name_fault::none);
  EXPECT_EQ(check_name(std::string(32, 'x')), name_fault::none);
  EXPECT_EQ(check_name(std::string(33, 'x')), name_fault::too_long);
  EXPECT_EQ(check_name(std::string(10'000, 'x')), name_fault::too_long);
  std::string emoji;
  for (int i = 0; i != 32; ++i) emoji += "\xF0\x9F\x98\x80";
  EXPECT_EQ(check_name(emoji), name_fault::none);
  EXPECT_EQ(check_name(emoji + "x"), name_fault::too_long);
  EXPECT_EQ(check_name(""), name_fault::empty);
}

TEST(chat_text, names_cannot_pretend_to_be_something_else) {
  for (const std::string_view bad :
       {"two words", "a\tb", "bob:", "a\nb", "a\x1b[1m", "a\xC2\xA0", "a\xE2\x80\x8B",
        "a\xE2\x80\xAE", "a\xC2\x9B", "a\xEF\xB8\x8F", "a\xE3\x80\x80", "a\xC2\xAD"}) {
    EXPECT_EQ(check_name(bad), name_fault::bad_character) << ::testing::PrintToString(bad);
  }
  EXPECT_EQ(check_name("a\xFF"), name_fault::not_utf8);
  EXPECT_EQ(check_name(std::string(200, '\xFF')), name_fault::not_utf8);
  for (const std::string_view bad : {"*bob", "/bob", "--", "#x"}) {
    EXPECT_EQ(check_name(bad), name_fault::bad_start) << bad;
  }
}

}  // namespace
}  // namespace rill::chat
