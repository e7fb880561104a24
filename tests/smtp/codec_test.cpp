// The other codecs: messages on the wire, commands, paths, addresses, AUTH.
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <rill/net/base64.h>
#include <rill/protocols/smtp/address.h>
#include <rill/protocols/smtp/auth.h>
#include <rill/protocols/smtp/command.h>
#include <rill/protocols/smtp/content.h>
#include <rill/protocols/smtp/data.h>
#include <rill/protocols/smtp/envelope.h>

namespace rill::smtp {
namespace {

using namespace std::string_literals;

// ---------------------------------------------------------------- DATA

std::string encoded(std::string_view text, std::size_t step) {
  data_encoder encoder;
  std::string out;
  for (std::size_t at = 0; at < text.size(); at += step) encoder.encode(text.substr(at, step), out);
  if (encoder.error()) return make_error_code(*encoder.error()).message();
  encoder.finish(out);
  return out;
}

std::string encoded_everywhere(std::string_view text) {
  const std::string whole = encoded(text, text.size() + 1);
  for (std::size_t step = 1; step <= text.size(); ++step) EXPECT_EQ(encoded(text, step), whole);
  return whole;
}

TEST(smtp_data, doubles_dots_and_ends_with_one) {
  EXPECT_EQ(encoded_everywhere(""), ".\r\n");
  EXPECT_EQ(encoded_everywhere("a\r\n"), "a\r\n.\r\n");
  EXPECT_EQ(encoded_everywhere("a"), "a\r\n.\r\n");
  EXPECT_EQ(encoded_everywhere(".\r\n"), "..\r\n.\r\n");
  EXPECT_EQ(encoded_everywhere(".a\r\n..\r\na.b\r\n"), "..a\r\n...\r\na.b\r\n.\r\n");
}

TEST(smtp_data, has_no_line_end_but_crlf_whatever_it_is_given) {
  EXPECT_EQ(encoded_everywhere("a\nb\rc\r\nd\n\re\r\r\nf"),
            "a\r\nb\r\nc\r\nd\r\n\r\ne\r\n\r\nf\r\n.\r\n");
  // What postfix, exim and sendmail once took for an end each in its own way (CVE-2023-51764).
  for (const char* const text : {"a\n.\nMAIL FROM:<x@y>", "a\n.\r\nMAIL", "a\r.\rMAIL",
                                 "a\r\n.\rMAIL", "a\r.\r\nMAIL", "a\r\n.\nMAIL"}) {
    const std::string sent = encoded_everywhere(text);
    EXPECT_EQ(sent.find("\r\n.\r\n"), sent.size() - 5) << text;
    for (std::size_t i = 0; i < sent.size(); ++i) {
      EXPECT_EQ(sent[i] == '\n', i != 0 && sent[i - 1] == '\r') << text;
    }
  }
}

TEST(smtp_data, refuses_long_lines_and_nul) {
  EXPECT_EQ(encoded_everywhere(std::string(998, 'x')).size(), 998U + 5U);
  EXPECT_THAT(encoded_everywhere(std::string(999, 'x')), testing::HasSubstr("998"));
  EXPECT_THAT(encoded_everywhere("a\0b"s), testing::HasSubstr("a byte"));
}

TEST(smtp_data, knows_its_size_before_it_is_sent) {
  for (const std::string text : {"", "a", "a\n", "a\r\n", "a\rb\n\nc", "\r\r\n\n"}) {
    EXPECT_EQ(text_content(text).size(), encoded(text, 1).size() - 3) << text;
  }
}

struct taken {
  std::string content;
  std::size_t left = 0;
  std::string end = "more";
  friend bool operator==(const taken&, const taken&) = default;
};

taken decoded(std::string_view text, std::size_t step) {
  data_decoder decoder(1000);
  taken made;
  for (std::size_t at = 0; at < text.size(); at += step) {
    const std::string_view piece = text.substr(at, step);
    const auto got = decoder.decode(piece, made.content);
    if (got.what == data_decoder::state::more) continue;
    made.left = text.size() - at - got.used;
    made.end = got.what == data_decoder::state::complete ? "complete" : "bare";
    return made;
  }
  return made;
}

TEST(smtp_data, is_read_the_same_wherever_it_is_cut) {
  for (const char* const text :
       {"..a\r\n...\r\na.b\r\n.\r\nQUIT\r\n", ".\r\n", "a\r\n.\r\n", "a\r\n.b\r\n.\r\nx"}) {
    const taken whole = decoded(text, 1000);
    EXPECT_EQ(whole.end, "complete") << text;
    for (std::size_t step = 1; step < std::string_view(text).size(); ++step) {
      EXPECT_EQ(decoded(text, step), whole) << text;
    }
  }
  EXPECT_EQ(decoded("..a\r\n...\r\na.b\r\n.\r\nQUIT\r\n", 7).content, ".a\r\n..\r\na.b\r\n");
}

TEST(smtp_data, ends_at_crlf_dot_crlf_and_nowhere_else) {
  for (const char* const text : {"a\n.\n", "a\n.\r\n", "a\r.\r\n", "a\r\n.\n", "a\r\n.\r.", "\n",
                                 "a\r\n.\r\r\n", "\r\r\n", ".\n"}) {
    for (std::size_t step = 1; step < 8; ++step) EXPECT_EQ(decoded(text, step).end, "bare") << text;
  }
}

TEST(smtp_data, beyond_its_limit_is_counted_and_dropped) {
  data_decoder decoder(5);
  std::string content;
  EXPECT_EQ(decoder.decode("abc\r\ndef\r\n.\r\n", content).what, data_decoder::state::complete);
  EXPECT_TRUE(decoder.is_too_large());
  EXPECT_EQ(content, "abc\r\n");
  EXPECT_EQ(decoder.size(), 10U);
}

// ---------------------------------------------------------------- commands

TEST(smtp_command, lines_end_with_crlf) {
  EXPECT_EQ(take_line("NOOP\r\nQUIT\r\n", 10).line, "NOOP");
  EXPECT_EQ(take_line("NOOP\r\nQUIT\r\n", 10).used, 6U);
  EXPECT_EQ(take_line("NOOP\r", 10).state, line_state::incomplete);
  EXPECT_EQ(take_line("", 10).state, line_state::incomplete);
  for (const std::string& text : {"NOOP\n"s, "NO\rOP\r\n"s, "NO\0OP\r\n"s, "\n"s}) {
    EXPECT_EQ(take_line(text, 10).state, line_state::bare_break) << text;
  }
  EXPECT_EQ(take_line("0123456789\r\n", 10).state, line_state::complete);
  EXPECT_EQ(take_line("0123456789\r", 10).state, line_state::incomplete);
  EXPECT_EQ(take_line("01234567890\r\n", 10).state, line_state::too_long);
  EXPECT_EQ(take_line("01234567890", 10).state, line_state::too_long);
}

TEST(smtp_command, verbs_are_known_in_any_case) {
  EXPECT_EQ(parse_command("ehlo  me ").what, verb::ehlo);
  EXPECT_EQ(parse_command("ehlo  me ").argument, "me");
  EXPECT_EQ(parse_command("StartTLS").what, verb::starttls);
  for (const char* const text : {"", " NOOP", "NOOPS", "MAILFROM:<>", "EHLO\tme"}) {
    EXPECT_EQ(parse_command(text).what, verb::unknown) << text;
  }
}

TEST(smtp_command, paths_have_an_address_and_parameters) {
  const auto got =
      parse_path("from: <a.b@example.org> SIZE=10 body=8BITMIME SMTPUTF8", "FROM", true);
  ASSERT_TRUE(got);
  EXPECT_EQ(got->address, "a.b@example.org");
  EXPECT_EQ(got->find("BODY"), "8BITMIME");
  EXPECT_EQ(got->find("SMTPUTF8"), "");
  EXPECT_EQ(got->find("RET"), std::nullopt);
  EXPECT_EQ(parse_path("FROM:<>", "FROM", true)->address, "");
  EXPECT_EQ(parse_path("TO:<@a,@b:c@d.org>", "TO", false)->address, "c@d.org");
  EXPECT_EQ(parse_path("TO:<\"a>b\"@d.org>", "TO", false)->address, "\"a>b\"@d.org");
  EXPECT_EQ(parse_path("TO:<Postmaster>", "TO", false)->address, "Postmaster");
  for (const char* const text :
       {"TO:<>", "TO:a@b.org", "TO:<a@b.org", "TO:<a@b.org>x", "TO:<a@b.org> =1", "TO <a@b.org>",
        "FROM:<a@b.org>", "TO:<a@b.org> A=", "TO:<a@b.org> A=1 a=2", "TO:<a@@b.org>",
        "TO:<a b@c.d>", "TO:<a@b_.org-> ", "TO:<\"a@b.org>", "TO:<@a c@d.org>"}) {
    EXPECT_EQ(parse_path(text, "TO", false), std::nullopt) << text;
  }
}

TEST(smtp_command, xtext_comes_back) {
  EXPECT_EQ(to_xtext("a+b=c d"), "a+2Bb+3Dc+20d");
  std::string all;
  for (int c = 0; c < 256; ++c) all += static_cast<char>(c);
  EXPECT_EQ(from_xtext(to_xtext(all)), all);
  for (const char* const text : {"+", "+2", "+2g", "+2b", "a b", "a=b"}) {
    EXPECT_EQ(from_xtext(text), std::nullopt) << text;
  }
}

// ---------------------------------------------------------------- addresses

TEST(mail_address, what_is_one_and_what_is_none) {
  for (const std::string text : {"a@b", "a.b+c@example.org", "\"a b\"@c.d", "\"a\\\"b\"@c.d",
                                 "a@[127.0.0.1]", "a@[IPv6:::1]",
                                 "j\xc3\xbcrgen@b\xc3\xbc"
                                 "cher.example",
                                 "!#$%&'*+-/=?^_`{|}~@x.y", "\"@\"@c.d"}) {
    EXPECT_TRUE(mail::is_address(text)) << text;
  }
  for (const std::string& text : {""s,
                                  "a"s,
                                  "@b"s,
                                  "a@"s,
                                  ".a@b"s,
                                  "a.@b"s,
                                  "a..b@c"s,
                                  "a b@c"s,
                                  "a@b c"s,
                                  "a@-b"s,
                                  "a@b-"s,
                                  "a@b..c"s,
                                  "a@.b"s,
                                  "a@[1.2.3]"s,
                                  "a@[::1]"s,
                                  "a@[IPv6:1.2.3.4]"s,
                                  "\"a@b"s,
                                  "\"\"a\"@b"s,
                                  "\"a\\\"@b"s,
                                  "a@b\r\nRCPT TO:<x@y>"s,
                                  "a\r@b"s,
                                  "a@b\0"s,
                                  "<a@b>"s,
                                  "\xff@b"s,
                                  std::string(65, 'a') + "@b",
                                  "a@" + std::string(64, 'b')}) {
    EXPECT_FALSE(mail::is_address(text)) << text;
  }
}

TEST(mail_address, mailboxes_have_names) {
  EXPECT_EQ(mail::mailbox("a@b.c").address(), "a@b.c");
  EXPECT_EQ(mail::mailbox(" Ann Roe <a@b.c> ").name(), "Ann Roe");
  EXPECT_EQ(mail::mailbox("\"Roe, \\\"Ann\\\"\" <a@b.c>").name(), "Roe, \"Ann\"");
  EXPECT_EQ(mail::mailbox("<a@b.c>").name(), "");
  // A bracket within quotation marks is a character as any other.
  EXPECT_EQ(mail::mailbox("Ann <\"<a\"@b.c>").address(), "\"<a\"@b.c");
  EXPECT_EQ(mail::mailbox("\"<Ann\" <a@b.c>").name(), "<Ann");
  for (const std::string& text :
       {""s, "Ann"s, "Ann <a@b.c"s, "Ann a@b.c>"s, "A\r\nBcc: x@y <a@b.c>"s, "A <b> <a@b.c>"s,
        "A\0 <a@b.c>"s, "\xff <a@b.c>"s}) {
    EXPECT_EQ(mail::mailbox::parse(text), std::nullopt) << text;
    EXPECT_THROW(mail::mailbox{text}, std::invalid_argument) << text;
  }
  EXPECT_THROW(mail::mailbox("A\r\nB", "a@b.c"), std::invalid_argument);
}

TEST(smtp_envelope, takes_addresses_only) {
  EXPECT_EQ(envelope("", "a@b.c").from(), "");
  EXPECT_EQ(envelope("a@b.c").add("d@e.f").add("d@e.f").to().size(), 1U);
  EXPECT_THROW(envelope("a@b.c> SIZE=1"), std::invalid_argument);
  EXPECT_THROW(envelope("", "a@b.c\r\nDATA"), std::invalid_argument);
  EXPECT_THROW(envelope("", ""), std::invalid_argument);
  EXPECT_THROW(envelope("").identified_as("a b"), std::invalid_argument);
}

// ---------------------------------------------------------------- AUTH

TEST(smtp_auth, mechanisms_answer_as_their_rfcs_say) {
  const credentials tim("tim", "tanstaaftanstaaf");
  auth_exchange cram(auth_mechanism::cram_md5, tim);
  EXPECT_EQ(cram.initial(), std::nullopt);
  // RFC 2195 section 2.
  EXPECT_EQ(cram.answer(rill::detail::encode_base64("<1896.697170952@postoffice.reston.mci.net>")),
            rill::detail::encode_base64("tim b913a602c7eda7a495b4e6e7334d3890"));
  EXPECT_EQ(cram.answer("AAAA"), std::nullopt);
  auth_exchange plain(auth_mechanism::plain, tim);
  EXPECT_EQ(plain.initial(),
            rill::detail::encode_base64("\0tim\0tanstaaftanstaaf"s));  // RFC 4616 section 4
  auth_exchange login(auth_mechanism::login, tim);
  EXPECT_EQ(login.answer("anything"), rill::detail::encode_base64("tim"));
  EXPECT_EQ(login.answer(""), rill::detail::encode_base64("tanstaaftanstaaf"));
  EXPECT_EQ(login.answer(""), std::nullopt);
  const credentials bearer = credentials::bearer("a@b.c", "token");
  EXPECT_EQ(auth_exchange(auth_mechanism::xoauth2, bearer).initial(),
            rill::detail::encode_base64("user=a@b.c\1auth=Bearer token\1\1"));
  EXPECT_THROW(credentials("a\0b"s, "c"), std::invalid_argument);
  EXPECT_THROW(credentials::bearer("a\1b", "c"), std::invalid_argument);
}

}  // namespace
}  // namespace rill::smtp
