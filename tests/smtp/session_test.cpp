// Our server against clients that do as they please.
#include <chrono>
#include <string>
#include <string_view>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "smtp/peer.h"
#include "support/certificates.h"
#include <rill/net/base64.h>
#include <rill/runtime/sim/world.h>
#include <rill/runtime/sleep.h>

namespace rill::smtp {
namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;
using test::mail_keeper;
using testing::ElementsAre;
using testing::HasSubstr;

/// Sends all of `text` in pieces of `piece_size`, and gives all that was answered.
std::string answers_to(std::string text, service& to, const session_options& options,
                       std::size_t piece_size = 0) {
  std::string all;
  test::run_loop([&]() -> task<> {
    auto [client_end, server_end] = memory_stream_pair(1 << 20);
    if (piece_size != 0) server_end.set_read_size_max(piece_size);
    memory_stream mine = std::move(client_end);
    memory_stream theirs = std::move(server_end);
    co_await with_nursery([&](nursery& both) -> task<> {
      both.start([&]() { return session(std::move(theirs), to, options); });
      co_await as_result(mine.write_all(const_buffer(text)));
      co_await mine.shutdown_write();
      all = co_await read_all(mine, 1 << 20);
    });
  });
  return all;
}

/// "220 250 ...", the codes of the replies.
std::string codes_of(const std::string& text) {
  std::string codes;
  for (std::size_t at = 0; at < text.size(); at = text.find('\n', at) + 1) {
    if (text[at + 3] != ' ') continue;
    if (!codes.empty()) codes += ' ';
    codes += text.substr(at, 3);
  }
  return codes;
}

std::string codes_for(std::string text, session_options options = session_options()) {
  mail_keeper keeper;
  return codes_of(answers_to(std::move(text), keeper, options));
}

const std::string begin = "EHLO me\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\n";

TEST(smtp_session, takes_pipelined_commands_however_they_are_cut) {
  const std::string commands =
      "EHLO me\r\nMAIL FROM:<a@b.c> SIZE=10 BODY=8BITMIME\r\nRCPT TO:<d@e.f>\r\nRCPT "
      "TO:<nobody@e.f>"
      "\r\nNOOP\r\nRSET\r\nmail from:<>\r\nvrfy x\r\nHELP\r\nQUIT\r\n";
  for (std::size_t size = 0; size < 40; ++size) {
    mail_keeper keeper;
    EXPECT_EQ(codes_of(answers_to(commands, keeper, session_options(), size)),
              "220 250 250 250 550 250 250 250 252 214 221");
  }
}

TEST(smtp_session, answers_what_comes_at_the_wrong_time) {
  EXPECT_EQ(
      codes_for(
          "MAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nDATA\r\nWHAT\r\nEXPN x\r\nEHLO\r\nQUIT\r\n"),
      "220 503 503 503 500 502 501 221");
  EXPECT_EQ(codes_for("EHLO me\r\nMAIL FROM:<a@b.c>\r\nMAIL FROM:<a@b.c>\r\nDATA\r\n"),
            "220 250 250 503 554");
  EXPECT_EQ(
      codes_for("EHLO me\r\nMAIL FROM:a\r\nMAIL FROM:<a@b.c> X=1\r\nMAIL FROM:<a@b.c> SIZE=x\r\n"
                "MAIL FROM:<a@b.c> SIZE=99999999999\r\nMAIL FROM:<\xc3\xbc@b.c>\r\n"),
      "220 250 501 555 501 552 553");
  EXPECT_EQ(codes_for("HELO me\r\nMAIL FROM:<a@b.c> SIZE=1\r\nSTARTTLS\r\nAUTH PLAIN\r\n"),
            "220 250 555 502 503");
}

TEST(smtp_session, requires_what_it_is_told_to_require) {
  session_options options;
  options.tls.emplace(test::test_certificate().loaded());
  options.requires_tls = options.requires_auth = options.offers_auth = true;
  EXPECT_EQ(codes_for("EHLO me\r\nMAIL FROM:<a@b.c>\r\nAUTH PLAIN AGFubgBzM2NyZXQ=\r\n", options),
            "220 250 530 538");
  options.requires_tls = false;
  options.auth_without_tls = true;
  EXPECT_EQ(codes_for("EHLO me\r\nMAIL FROM:<a@b.c>\r\nAUTH PLAIN AGFubgBzM2NyZXQ=\r\n"
                      "MAIL FROM:<a@b.c>\r\n",
                      options),
            "220 250 530 235 250");
  EXPECT_EQ(
      codes_for("EHLO me\r\nAUTH PLAIN AGFubgB4\r\nAUTH X\r\nAUTH LOGIN\r\n*\r\nAUTH PLAIN !\r\n"
                "AUTH LOGIN YW5u\r\nczNjcmV0\r\nAUTH PLAIN\r\n",
                options),
      "220 250 535 504 334 501 501 334 235 503");
}

TEST(smtp_session, takes_no_arguments_where_there_are_none_and_any_case_elsewhere) {
  session_options options;
  options.tls.emplace(test::test_certificate().loaded());
  EXPECT_EQ(codes_for("EHLO me\r\nSTARTTLS now\r\nMAIL FROM:<a@b.c> body=8bitMIME\r\nRSET x\r\n"
                      "RCPT TO:<d@e.f>\r\nDATA x\r\nQUIT x\r\nQUIT\r\n",
                      options),
            "220 250 501 250 501 250 501 501 221");
}

TEST(smtp_session, lets_nobody_act_as_somebody_else) {
  session_options options;
  options.offers_auth = options.auth_without_tls = true;
  const auto says = [&](const std::string& text) {
    return codes_for("EHLO me\r\nAUTH PLAIN " + rill::detail::encode_base64(text) + "\r\n",
                     options);
  };
  EXPECT_EQ(says("bob\0ann\0s3cret"s), "220 250 535");
  EXPECT_EQ(says("ann\0ann\0s3cret"s), "220 250 235");
  EXPECT_EQ(says("\0ann\0s3cret"s), "220 250 235");
}

TEST(smtp_session, forgets_over_tls_that_it_was_greeted) {
  session_options options;
  options.tls.emplace(test::test_certificate().loaded());
  options.offers_auth = true;
  mail_keeper keeper;
  std::string answer;
  test::against_ours(keeper, options, [&](memory_stream stream) -> task<> {
    co_await stream.write_all("EHLO me\r\nSTARTTLS\r\n");
    std::string before;
    while (before.find("220 2.0.0") == before.npos) {
      auto came = co_await stream.read_lease();
      before += came.text();
    }
    const tls::client_context trusted(test::trusting_options());
    auto secure = co_await tls::connect(std::move(stream), trusted, "server.test");
    co_await secure.write_all("AUTH PLAIN AGFubgBzM2NyZXQ=\r\nQUIT\r\n");
    while (answer.find("221") == answer.npos) {
      auto came = co_await secure.read_lease();
      if (came.empty()) break;
      answer += came.text();
    }
  });
  EXPECT_EQ(codes_of(answer), "503 221");
}

TEST(smtp_session, closes_when_the_framing_is_broken) {
  for (const std::string& text :
       {"NOOP\nQUIT\r\n"s, "NO\rOP\r\nQUIT\r\n"s, "NO\0OP\r\nQUIT\r\n"s}) {
    EXPECT_EQ(codes_for("EHLO me\r\n" + text), "220 250 521") << text;
  }
  EXPECT_EQ(codes_for(std::string(20'000, 'x') + "\r\nQUIT\r\n"), "220 500");
  EXPECT_EQ(codes_for(std::string(200'000, 'x')), "220 500");
  // What comes behind DATA and STARTTLS before the answer may be somebody else's.
  EXPECT_EQ(codes_for(begin + "DATA\r\na: b\r\n.\r\nQUIT\r\n"), "220 250 250 250 521");
  session_options options;
  options.tls.emplace(test::test_certificate().loaded());
  EXPECT_EQ(codes_for("EHLO me\r\nSTARTTLS\r\nMAIL FROM:<evil@b.c>\r\n", options), "220 250 521");
}

/// Says `before`, waits for 354, then sends `content`.
std::string codes_with_content(std::string content, mail_keeper& keeper,
                               session_options options = session_options()) {
  std::string all;
  test::against_ours(keeper, options, [&](memory_stream stream) -> task<> {
    co_await stream.write_all(begin + "DATA\r\n");
    buffered_reader<memory_stream> reader(stream);
    for (;;) {
      const auto line = co_await reader.read_until("\r\n", 1000);
      if (line->starts_with("354")) break;
    }
    co_await as_result(stream.write_all(const_buffer(content)));
    co_await stream.shutdown_write();
    for (;;) {
      const auto line = co_await reader.read_until("\r\n", 1000);
      if (!line) break;
      all.append(*line).append("\r\n");
    }
  });
  return codes_of(all);
}

TEST(smtp_session, takes_a_message_and_the_next_command) {
  mail_keeper keeper;
  EXPECT_EQ(codes_with_content("a: b\r\n\r\n..c\r\n.\r\nQUIT\r\n", keeper), "250 221");
  ASSERT_EQ(keeper.kept.size(), 1U);
  EXPECT_EQ(keeper.kept[0].content, "a: b\r\n\r\n.c\r\n");
  EXPECT_EQ(keeper.kept[0].sender.address, "a@b.c");
  EXPECT_EQ(keeper.kept[0].recipients[0].address, "d@e.f");
  EXPECT_EQ(keeper.kept[0].from.hello, "me");
}

TEST(smtp_session, is_not_to_be_smuggled_through) {
  for (const char* const end : {"\n.\n", "\n.\r\n", "\r.\r", "\r\n.\n", "\r\n.\r", "\r.\r\n"}) {
    mail_keeper keeper;
    const std::string smuggled =
        "a: b\r\n\r\nhi"s + end + "MAIL FROM:<evil@b.c>\r\nRCPT TO:<d@e.f>\r\n";
    EXPECT_EQ(codes_with_content(smuggled, keeper), "521") << end;
    EXPECT_TRUE(keeper.kept.empty());
  }
}

TEST(smtp_session, gives_up_a_message_that_is_cut_or_too_large) {
  mail_keeper keeper;
  EXPECT_EQ(codes_with_content("a: b\r\n\r\nhi\r\n", keeper), "");
  session_options options;
  options.size_max = 20;
  EXPECT_EQ(codes_with_content("a: b\r\n\r\n" + std::string(100, 'x') + "\r\n.\r\nNOOP\r\n", keeper,
                               options),
            "552 250");
  EXPECT_TRUE(keeper.kept.empty());
}

TEST(smtp_session, does_not_read_a_message_that_is_far_too_large_to_its_end) {
  mail_keeper keeper;
  session_options options;
  options.size_max = 20;
  const std::string line = std::string(500, 'x') + "\r\n";
  std::size_t sent_size = 0;
  test::against_ours(keeper, options, [&](memory_stream stream) -> task<> {
    co_await stream.write_all(begin + "DATA\r\n");
    buffered_reader<memory_stream> reader(stream);
    for (;;) {
      const auto answer = co_await reader.read_until("\r\n", 1000);
      if (answer->starts_with("354")) break;
    }
    std::string block;
    while (block.size() < 64 * 1024) block += line;
    // Never a dot.
    while (sent_size < std::size_t{64} * 1024 * 1024) {
      const auto sent = co_await as_result(stream.write_all(const_buffer(block)));
      if (!sent) break;
      sent_size += block.size();
    }
    const auto answer = co_await reader.read_until("\r\n", 1000);
    EXPECT_TRUE(answer && answer->starts_with("552"));
  });
  EXPECT_LT(sent_size, std::size_t{20} * 1024 * 1024);
}

/// In virtual time: says `before` and, once that is answered `count` times, `piece` every `pause`.
/// Gives the last reply, and when it came.
std::pair<std::string, std::chrono::nanoseconds> left_after(const session_options& options,
                                                            std::string before, int count,
                                                            std::string piece,
                                                            std::chrono::nanoseconds pause) {
  sim::world world(1);
  sim::host& host = world.add_host("host", "10.0.0.1");
  mail_keeper keeper;
  std::string last;
  std::chrono::nanoseconds at{0};
  world.run(host.run([&]() -> task<> {
    auto [client_end, server_end] = memory_stream_pair();
    memory_stream mine = std::move(client_end);
    memory_stream theirs = std::move(server_end);
    co_await with_nursery([&](nursery& both) -> task<> {
      both.start([&]() { return session(std::move(theirs), keeper, options); });
      co_await mine.write_all(const_buffer(before));
      buffered_reader<memory_stream> reader(mine);
      for (int seen = 0;;) {
        const auto line = co_await reader.read_until("\r\n", 1000);
        if (!line) break;
        last = *line;
        at = world.now();
        if (last[3] == ' ' && ++seen == count && !piece.empty()) {
          both.start([&]() -> task<> {
            for (;;) {
              const auto sent = co_await as_result(mine.write_all(const_buffer(piece)));
              if (!sent) co_return;
              co_await sleep_for(pause);
            }
          });
        }
      }
      both.cancel();
    });
  }));
  return {last, at};
}

TEST(smtp_session, gives_up_clients_that_take_too_long) {
  session_options options;
  options.command_timeout = 10s;
  options.block_timeout = 5s;
  options.message_timeout = 60s;
  const auto silent = left_after(options, "EHLO me\r\n", 2, "", 0s);
  EXPECT_THAT(silent.first, HasSubstr("421 4.4.2"));
  EXPECT_EQ(silent.second, 10s);
  const auto drips = left_after(options, "EHLO me\r\n", 2, "N", 3s);
  EXPECT_THAT(drips.first, HasSubstr("421 4.4.2"));
  EXPECT_EQ(drips.second, 10s);
  const auto stops = left_after(options, begin + "DATA\r\n", 5, "x", 1h);
  EXPECT_THAT(stops.first, HasSubstr("421 4.4.2"));
  EXPECT_EQ(stops.second, 5s);
  const auto goes_on = left_after(options, begin + "DATA\r\n", 5, "x", 3s);
  EXPECT_THAT(goes_on.first, HasSubstr("421 4.4.2"));
  EXPECT_EQ(goes_on.second, 60s);
}

TEST(smtp_session, has_enough_of_mistakes_and_of_recipients) {
  session_options options;
  options.mistake_count_max = 3;
  EXPECT_EQ(codes_for("A\r\nB\r\nC\r\nD\r\nNOOP\r\n", options), "220 500 500 500 421");
  options.recipient_count_max = 1;
  EXPECT_EQ(codes_for(begin + "RCPT TO:<x@e.f>\r\n", options), "220 250 250 250 452");
}

class failing final : public service {
 public:
  task<reply> take(received_mail) override {
    throw io_error(std::make_error_code(std::errc::no_space_on_device), "write", "mailbox");
  }
  task<reply> begin(const session_peer&, const path_argument& sender) override {
    if (sender.address == "x@b.c") throw std::runtime_error("no");
    co_return reply(250, "fine");
  }
  std::optional<std::string> password_of(std::string_view) override {
    throw std::runtime_error("no file of passwords");
  }
};

TEST(smtp_session, answers_what_its_service_throws) {
  failing service;
  session_options options;
  int told = 0;
  options.on_error = [&](const session_peer&, const std::exception_ptr&) { ++told; };
  std::string done;
  test::against_ours(service, options, [&](memory_stream stream) -> task<> {
    client server = co_await client::over(std::move(stream), "server", test::plain_options());
    const envelope other("x@b.c", "d@e.f");
    const delivery first = co_await server.send(other, "a: b\n");
    const envelope who("a@b.c", "d@e.f");
    const delivery second = co_await server.send(who, "a: b\n");
    done = first.reason() + ", " + second.reason();
    EXPECT_TRUE(second.is_temporary());
    co_await server.quit();
  });
  EXPECT_EQ(done, "451 4.3.0 trouble here, 452 4.3.1 short of room");
  EXPECT_EQ(told, 2);
}

TEST(smtp_session, answers_what_a_look_up_of_a_password_throws) {
  failing service;
  session_options options;
  options.offers_auth = options.auth_without_tls = true;
  int told = 0;
  options.on_error = [&](const session_peer&, const std::exception_ptr&) { ++told; };
  const std::string text =
      "EHLO me\r\nAUTH PLAIN AGFubgBzM2NyZXQ=\r\nAUTH LOGIN YW5u\r\nczNjcmV0\r\nNOOP\r\n";
  EXPECT_EQ(codes_of(answers_to(text, service, options)), "220 250 454 334 454 250");
  EXPECT_EQ(told, 2);
}

}  // namespace
}  // namespace rill::smtp
