// Replies: the same however they are cut, limits, what is refused.
#include <rill/protocols/smtp/reply.h>

#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <rill/protocols/smtp/client.h>

namespace rill::smtp {
namespace {

struct answer {
  std::vector<std::string> replies;  // as wire() has them
  std::string end = "more";
  friend bool operator==(const answer&, const answer&) = default;
};

/// Given `step` more bytes at a time, as a client that keeps what is not used.
answer read(std::string_view text, std::size_t step) {
  answer made;
  reply_parser parser({60, 4});
  std::string buffer;
  for (std::size_t at = 0; at < text.size(); at += step) {
    buffer += text.substr(at, step);
    for (;;) {
      const auto got = parser.parse(buffer);
      buffer.erase(0, got.used);
      if (got.state == parse_state::failed) {
        made.end = make_error_code(parser.error()).message();
        return made;
      }
      if (got.state == parse_state::incomplete) break;
      made.replies.push_back(parser.value().wire());
    }
  }
  return made;
}

answer read_everywhere(std::string_view text) {
  const answer whole = read(text, text.size());
  for (std::size_t step = 1; step < text.size(); ++step) {
    EXPECT_EQ(read(text, step), whole) << text << " cut at every " << step;
  }
  return whole;
}

TEST(smtp_reply, is_the_same_wherever_it_is_cut) {
  const answer got = read_everywhere(
      "220 mail.example.org ESMTP\r\n250-mail.example.org\r\n250-SIZE 10\r\n250 HELP\r\n250\r\n"
      "550 5.1.1 no such user\r\n");
  EXPECT_EQ(got.end, "more");
  ASSERT_EQ(got.replies.size(), 4U);
  EXPECT_EQ(got.replies[1], "250-mail.example.org\r\n250-SIZE 10\r\n250 HELP\r\n");
  EXPECT_EQ(got.replies[2], "250 \r\n");
}

TEST(smtp_reply, that_is_none_is_refused) {
  for (const char* const text :
       {"hello\r\n", "25 x\r\n", "2500 x\r\n", "150 x\r\n", "650 x\r\n", "25a x\r\n", "250x\r\n",
        "250 x\n", "\n", "\r\n", "250 a\rb\r\n", "250-a\r\n251 b\r\n", "250-a\r\nb\r\n"}) {
    EXPECT_EQ(read_everywhere(text).end, "malformed reply") << text;
  }
  EXPECT_EQ(read_everywhere(std::string_view("250 a\0b\r\n", 9)).end, "malformed reply");
}

TEST(smtp_reply, that_does_not_end_meets_a_limit) {
  EXPECT_EQ(read_everywhere("250 " + std::string(56, 'x') + "\r\n").end, "more");
  EXPECT_EQ(read_everywhere("250 " + std::string(57, 'x') + "\r\n").end, "reply too long");
  EXPECT_EQ(read_everywhere("250 " + std::string(100, 'x')).end, "reply too long");
  EXPECT_EQ(read_everywhere("250 " + std::string(57, 'x') + "\n").end, "reply too long");
  EXPECT_EQ(read_everywhere("250-1\r\n250-2\r\n250-3\r\n250 4\r\n").end, "more");
  EXPECT_EQ(read_everywhere("250-1\r\n250-2\r\n250-3\r\n250-4\r\n").end, "reply too long");
}

TEST(smtp_reply, has_an_enhanced_status_if_it_begins_with_one_of_its_kind) {
  EXPECT_EQ(reply(550, "5.1.1 no").status(), (enhanced_status{5, 1, 1}));
  EXPECT_EQ(reply(451, "4.7.650 later").status()->to_string(), "4.7.650");
  EXPECT_EQ(reply(250, "2.0.0").status(), (enhanced_status{2, 0, 0}));
  for (const char* const text :
       {"", "5", "5.1", "5.1.1x", "4.1.1 other kind", "5.1.1234", "5.01.1", "5..1 x", "x"}) {
    EXPECT_EQ(reply(550, text).status(), std::nullopt) << text;
  }
}

TEST(smtp_reply, is_written_so_that_nothing_can_be_put_into_it) {
  EXPECT_EQ(reply(550, "a\nb\r\n250 c").wire(), "550-a\r\n550-b \r\n550 250 c\r\n");
  EXPECT_EQ(reply(550, "a\x1b[2J").to_string(), "550 a\\x1b[2J");
}

TEST(smtp_reply, of_ehlo_tells_what_a_server_can_do) {
  const extensions got(reply(
      250, "me\nPIPELINING\nsize 1000\nAUTH PLAIN x-odd login\nAUTH=LOGIN CRAM-MD5\n8bitmime"));
  EXPECT_TRUE(got.pipelining && got.eight_bit && got.has_size);
  EXPECT_FALSE(got.starttls || got.utf8 || got.dsn);
  EXPECT_EQ(got.size_max, 1000U);
  EXPECT_THAT(got.mechanisms, testing::ElementsAre(auth_mechanism::plain, auth_mechanism::login,
                                                   auth_mechanism::cram_md5));
  EXPECT_FALSE(extensions(reply(250, "STARTTLS")).starttls);  // that is its name
  EXPECT_EQ(extensions(reply(250, "me\nSIZE")).size_max, 0U);
}

}  // namespace
}  // namespace rill::smtp
