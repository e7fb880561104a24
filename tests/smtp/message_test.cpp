// Messages: what setters refuse, what is written. That other readers read it is tried by
// tests/examples/mail.py, and by the fuzz target mime_fuzz.
#include <rill/protocols/smtp/message.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "smtp/peer.h"
#include "support/files.h"

namespace rill::mail {
namespace {

using namespace std::string_literals;
using testing::HasSubstr;
using testing::Not;

message letter() {
  message made;
  made.from("Ann <ann@example.org>").to("bob@example.org");
  return made;
}

std::string written(const message& of) {
  return test::run_loop([&]() -> task<std::string> {
    const auto content = co_await of.open();
    std::string all;
    for (;;) {
      const std::string_view piece = co_await content->read_some();
      if (piece.empty()) break;
      all += piece;
    }
    EXPECT_EQ(content->size(), all.size());
    co_return all;
  });
}

TEST(mail_message, no_field_can_be_left) {
  for (const std::string& text :
       {"a\r\nBcc: x@y.z"s, "a\nb"s, "a\rb"s, "a\0b"s, "a\x7f"s, "\xff"s}) {
    EXPECT_THROW(letter().subject(text), std::invalid_argument);
    EXPECT_THROW(letter().field("X-A", text), std::invalid_argument);
    EXPECT_THROW(letter().field("X" + text, "a"), std::invalid_argument);
    EXPECT_THROW(letter().attach(text, "a/b", "c"), std::invalid_argument);
    EXPECT_THROW(letter().attach("a", "a/" + text, "c"), std::invalid_argument);
    EXPECT_THROW(letter().id(text), std::invalid_argument);
    EXPECT_THROW(letter().inline_image(text, "a/b", "c"), std::invalid_argument);
    EXPECT_THROW(letter().to(text + "@b.c"), std::invalid_argument);
  }
  for (const char* const name : {"From", "bcc", "Content-Type", "", "a b", "a:"}) {
    EXPECT_THROW(letter().field(name, "x"), std::invalid_argument) << name;
  }
  EXPECT_THROW(letter().text("\xff"), std::invalid_argument);
}

TEST(mail_message, the_envelope_names_everybody_and_the_message_no_blind_copy) {
  const message made = letter().cc("c@d.e").bcc("secret@d.e").to("bob@example.org").text("hi\n");
  const smtp::envelope who = made.envelope();
  EXPECT_EQ(who.from(), "ann@example.org");
  ASSERT_EQ(who.to().size(), 3U);
  EXPECT_EQ(who.to()[2].address, "secret@d.e");
  EXPECT_THAT(written(made), Not(HasSubstr("secret")));
  EXPECT_THROW(message().envelope(), std::invalid_argument);
  EXPECT_THROW(message().from("a@b.c").envelope(), std::invalid_argument);
}

TEST(mail_message, a_plain_one_reads_as_it_was_written) {
  const std::string text = written(letter()
                                       .date(std::chrono::sys_seconds(std::chrono::seconds(0)))
                                       .id("1@here")
                                       .reply_to("r@s.t")
                                       .subject("Hello")
                                       .field("X-Own", "yes")
                                       .text("Hi\n.\nbye"));
  EXPECT_EQ(text,
            "Date: Thu, 01 Jan 1970 00:00:00 +0000\r\nFrom: Ann <ann@example.org>\r\n"
            "Reply-To: r@s.t\r\nTo: bob@example.org\r\nMessage-ID: <1@here>\r\nSubject: Hello\r\n"
            "X-Own: yes\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
            "Content-Transfer-Encoding: quoted-printable\r\n\r\nHi\r\n=2E\r\nbye\r\n");
}

TEST(mail_message, ids_and_links_stay_as_they_are_however_long) {
  const std::string id = "<" + std::string(70, 'a') + "@mail.example.org>";
  const std::string link = "<https://example.org/u?token=" + std::string(200, 'b') + ">";
  const std::string text = written(letter()
                                       .field("In-Reply-To", id)
                                       .field("References", id + ' ' + id)
                                       .field("List-Unsubscribe", link)
                                       .text("hi"));
  EXPECT_THAT(text, HasSubstr("\r\nIn-Reply-To: " + id + "\r\n"));
  EXPECT_THAT(text, HasSubstr("\r\nReferences: " + id + "\r\n " + id + "\r\n"));
  EXPECT_THAT(text, HasSubstr("\r\nList-Unsubscribe: " + link + "\r\n"));
  // What no server would take is encoded all the same.
  EXPECT_THAT(written(letter().field("X-A", std::string(1000, 'x'))), HasSubstr("X-A: =?UTF-8?B?"));
}

TEST(mail_message, no_line_with_encoded_words_is_longer_than_76_bytes) {
  std::string many;
  for (int i = 0; i < 40; ++i) many += "\xc3\xbc";
  const std::string text = written(letter()
                                       .subject(many)
                                       .field("X-Quite-A-Long-Name-Of-A-Field", many)
                                       .reply_to(mailbox(many, "r@s.t")));
  std::string_view rest = text;
  int count = 0;
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find("\r\n"));
    if (line.find("=?") != line.npos) {
      ++count;
      EXPECT_LE(line.size(), 76U) << line;
    }
    rest.remove_prefix(std::min(line.size() + 2, rest.size()));
  }
  EXPECT_GE(count, 6);
}

TEST(mail_message, no_line_of_a_text_begins_with_a_dot_or_an_f) {
  for (const char* const each : {".", "F"}) {
    for (std::size_t size = 70; size < 80; ++size) {
      const std::string text = written(letter().text(std::string(size, 'x') + each));
      EXPECT_EQ(text.find("=\r\n"s + each), text.npos) << size;
    }
  }
}

TEST(mail_message, html_has_its_images_beside_it_and_the_text_before) {
  const std::string text = written(
      letter().text("t").html("<img src=\"cid:p@1\">").inline_image("p@1", "image/png", "png"));
  const std::size_t alternative = text.find("multipart/alternative");
  const std::size_t related = text.find("multipart/related");
  EXPECT_LT(alternative, text.find("text/plain"));
  EXPECT_LT(text.find("text/plain"), related);
  EXPECT_LT(related, text.find("text/html"));
  EXPECT_THAT(text, HasSubstr("Content-Disposition: inline\r\nContent-ID: <p@1>\r\n\r\ncG5n\r\n"));
  message without = letter();
  without.inline_image("a", "b/c", "d");
  EXPECT_THROW(written(without), std::invalid_argument);
}

TEST(mail_message, a_file_that_changes_ends_it) {
  const test::temporary_folder folder;
  const std::string path = folder.made("a.bin", std::string(200'000, 'x'));
  const message made = letter().attach_file(path);
  EXPECT_GT(written(made).size(), 200'000U * 4 / 3);
  for (const std::size_t size : {199'999U, 200'001U, 0U}) {
    test::run_loop([&]() -> task<> {
      const auto content = co_await made.open();
      folder.made("a.bin", std::string(size, 'x'));
      bool has_failed = false;
      try {
        for (;;) {
          const std::string_view piece = co_await content->read_some();
          if (piece.empty()) break;
        }
      } catch (const io_error&) {
        has_failed = true;
      }
      EXPECT_TRUE(has_failed) << size;
      folder.made("a.bin", std::string(200'000, 'x'));
    });
  }
  EXPECT_THROW(written(letter().attach_file(folder.path("none"))), io_error);
  EXPECT_THROW(written(letter().attach_file(folder.path("."))), io_error);
}

TEST(mail_message, a_file_that_fails_while_it_is_sent_is_delivered_to_nobody) {
  test::mail_keeper keeper;
  const smtp::session_options options;
  test::against_ours(keeper, options, [&](memory_stream stream) -> task<> {
    class failing final : public smtp::content_source {
     public:
      task<std::string_view> read_some() override {
        if (++count_ == 3) {
          throw io_error(std::make_error_code(std::errc::io_error), "read", "a file");
        }
        co_return "Subject: x\r\n\r\n";
      }
      std::optional<std::uint64_t> size() const override { return std::nullopt; }
      bool has_high_bytes() const override { return false; }
      bool needs_utf8() const override { return false; }

     private:
      int count_ = 0;
    } source;
    auto server = co_await smtp::client::over(std::move(stream), "server", test::plain_options());
    const smtp::envelope who("a@b.c", "d@e.f");
    bool has_failed = false;
    try {
      const smtp::delivery done = co_await server.send(who, source);
    } catch (const io_error&) {
      has_failed = true;
    }
    EXPECT_TRUE(has_failed);
    EXPECT_FALSE(server.is_open());
  });
  EXPECT_TRUE(keeper.kept.empty());
}

}  // namespace
}  // namespace rill::mail
