// Nicknames and lines out of bytes, however the bytes are cut.
#include <rill/protocols/chat/line_codec.h>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <rill/protocols/chat/command.h>

namespace rill::chat {
namespace {

constexpr line_limits small{.line_size_max = 10, .endless_size_max = 30};

using lines = std::vector<std::pair<line_kind, std::string>>;

void feed(line_reader& reader, std::string_view piece, lines& to) {
  while (!piece.empty()) {
    const std::optional<line> next = reader.next(piece, small);
    if (!next) continue;
    to.emplace_back(next->kind, std::string(next->text));
    if (next->kind == line_kind::endless) return;
  }
}

/// The same from one piece, from two cut at every byte, and from single bytes.
lines read(std::string_view bytes) {
  lines whole;
  line_reader reader;
  feed(reader, bytes, whole);
  for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
    lines halves;
    line_reader other;
    feed(other, bytes.substr(0, cut), halves);
    if (halves.empty() || halves.back().first != line_kind::endless) {
      feed(other, bytes.substr(cut), halves);
    }
    EXPECT_EQ(halves, whole) << "cut at " << cut;
  }
  lines single;
  line_reader third;
  for (std::size_t i = 0; i != bytes.size(); ++i) {
    if (!single.empty() && single.back().first == line_kind::endless) break;
    feed(third, bytes.substr(i, 1), single);
  }
  EXPECT_EQ(single, whole) << "byte by byte";
  return whole;
}

TEST(chat_lines, end_with_lf_or_cr_lf) {
  const lines expected{{line_kind::text, "one"},
                       {line_kind::text, "two"},
                       {line_kind::text, ""},
                       {line_kind::text, "a\rb"}};
  EXPECT_EQ(read("one\ntwo\r\n\na\rb\nrest"), expected);
}

TEST(chat_lines, of_the_longest_size_are_taken) {
  EXPECT_EQ(read("0123456789\n"), (lines{{line_kind::text, "0123456789"}}));
  EXPECT_EQ(read("0123456789\r\n"), (lines{{line_kind::text, "0123456789"}}));
}

TEST(chat_lines, that_are_too_long_are_dropped_and_told_once) {
  const lines expected{{line_kind::too_long, ""}, {line_kind::text, "ok"}};
  EXPECT_EQ(read("01234567890\nok\n"), expected);
  EXPECT_EQ(read("01234567890\r\nok\n"), expected);
  EXPECT_EQ(read("012345678901\nok\n"), expected);
  EXPECT_EQ(read("01234567890123456789\nok\n"), expected);
}

TEST(chat_lines, without_an_end_are_endless_at_the_limit) {
  const lines expected{{line_kind::too_long, ""}, {line_kind::endless, ""}};
  EXPECT_EQ(read(std::string(31, 'x')), expected);
  EXPECT_EQ(read(std::string(100, 'x') + "\n"), expected);
  EXPECT_EQ(read(std::string(30, 'x') + "\nok\n"),
            (lines{{line_kind::too_long, ""}, {line_kind::text, "ok"}}));
}

TEST(chat_lines, that_are_not_utf_8_are_told_apart) {
  EXPECT_EQ(read("a\xFFz\n\xC3\xA4\n"),
            (lines{{line_kind::not_utf8, "a\xFFz"}, {line_kind::text, "\xC3\xA4"}}));
}

TEST(chat_lines, of_an_idle_client_hold_nothing) {
  line_reader reader;
  std::string_view input = "half";
  EXPECT_FALSE(reader.next(input, small));
  EXPECT_EQ(reader.held_size(), 4U);
  input = " line\n";
  EXPECT_EQ(reader.next(input, small)->text, "half line");
  EXPECT_FALSE(reader.next(input, small));
  EXPECT_EQ(reader.held_size(), 0U);
}

TEST(chat_nickname, ends_at_a_newline_wherever_it_is_cut) {
  const std::string_view bytes = "alice\r\nhello\n";
  for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
    nickname_reader reader;
    std::string_view first = bytes.substr(0, cut);
    auto status = reader.take(first);
    std::string rest(first);
    if (status == nickname_reader::status::incomplete) {
      std::string_view second = bytes.substr(cut);
      status = reader.take(second);
      rest += second;
    } else {
      rest += bytes.substr(cut);
    }
    EXPECT_EQ(status, nickname_reader::status::line);
    EXPECT_EQ(reader.text(), "alice");
    EXPECT_EQ(rest, "hello\n");
  }
}

TEST(chat_nickname, without_a_newline_is_what_has_come) {
  nickname_reader reader;
  std::string_view input = "bob";
  EXPECT_EQ(reader.take(input), nickname_reader::status::incomplete);
  EXPECT_EQ(reader.text(), "bob");
  EXPECT_TRUE(input.empty());
}

TEST(chat_nickname, of_ten_kilobytes_is_too_long) {
  nickname_reader whole;
  const std::string bytes(10'000, 'x');
  std::string_view input = bytes;
  EXPECT_EQ(whole.take(input), nickname_reader::status::too_long);
  nickname_reader single;
  auto status = nickname_reader::status::incomplete;
  std::size_t count = 0;
  while (status == nickname_reader::status::incomplete) {
    std::string_view one = "x";
    status = single.take(one);
    ++count;
  }
  EXPECT_EQ(status, nickname_reader::status::too_long);
  EXPECT_EQ(count, 1025U);
}

TEST(chat_commands, are_told_from_what_is_said) {
  EXPECT_EQ(parse_command("").what, verb::nothing);
  EXPECT_EQ(parse_command("hello /me").what, verb::say);
  EXPECT_EQ(parse_command("  hello").text, "  hello");
  EXPECT_EQ(parse_command("//me").what, verb::say);
  EXPECT_EQ(parse_command("//me").text, "/me");
  EXPECT_EQ(parse_command("/dance").what, verb::unknown);
  EXPECT_EQ(parse_command("/").what, verb::unknown);
  EXPECT_EQ(parse_command("/whoever").what, verb::unknown);
}

TEST(chat_commands, take_what_they_need) {
  EXPECT_EQ(parse_command("/nick  carol ").name, "carol");
  EXPECT_EQ(parse_command("/join tea room").name, "tea");
  const command told = parse_command("/msg bob  two words ");
  EXPECT_EQ(told.what, verb::msg);
  EXPECT_EQ(told.name, "bob");
  EXPECT_EQ(told.text, "two words ");
  EXPECT_EQ(parse_command("/me waves").text, "waves");
  for (const std::string_view word : {"/nick", "/join ", "/msg", "/msg bob", "/msg bob ", "/me"}) {
    EXPECT_EQ(parse_command(word).what, verb::incomplete) << word;
  }
  EXPECT_EQ(parse_command("/who").what, verb::who);
  EXPECT_EQ(parse_command("/rooms").what, verb::rooms);
  EXPECT_EQ(parse_command("/leave").what, verb::leave);
  EXPECT_EQ(parse_command("/help").what, verb::help);
  EXPECT_EQ(parse_command("/quit now").what, verb::quit);
}

}  // namespace
}  // namespace rill::chat
