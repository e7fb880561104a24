// The client against scripts: what it says and when, what becomes of a message, what it believes.
#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "smtp/peer.h"
#include "support/certificates.h"
#include <rill/net/base64.h>
#include <rill/runtime/sim/world.h>

namespace rill::smtp {
namespace {

using namespace std::chrono_literals;
using test::against;
using test::against_ours;
using test::plain_options;
using test::record;
using test::script;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

const std::string greeting = "220 server.test ESMTP\r\n";
const std::string hello = "250-server.test\r\n250-SIZE 1000\r\n250 8BITMIME\r\n";
const std::string hello_pipelining = "250-server.test\r\n250 PIPELINING\r\n";
const std::string go_on = "354 go on\r\n";
const std::string fine = "250 2.0.0 fine\r\n";

/// What became of a message, or of the connection.
struct result_of {
  std::optional<delivery> done;
  std::optional<client_error> error;
  bool is_open = false;
};

/// Connects, sends one message to each of `to`, and quits.
task<> send_one(memory_stream stream, client_options options, std::vector<std::string> to,
                std::string text, result_of& into) {
  try {
    client server = co_await client::over(std::move(stream), "server.test", std::move(options));
    envelope who("ann@me.test");
    for (const std::string& each : to) who.add(each);
    into.done.emplace(co_await server.send(who, text));
    into.is_open = server.is_open();
    co_await server.quit();
  } catch (const client_error& error) {
    into.error.emplace(error);
  }
}

struct visit_result {
  result_of got;
  record heard;
};

visit_result visit(const script& lines, client_options options = plain_options(),
                   std::vector<std::string> to = {"bob@server.test"},
                   std::string text = "Subject: x\r\n\r\n.hi\r\n", std::size_t piece_size = 0) {
  visit_result made;
  made.heard = against(
      lines,
      [&](memory_stream stream) {
        return send_one(std::move(stream), options, to, text, made.got);
      },
      piece_size);
  return made;
}

const script all_fine = {{"", greeting},  {"EHLO", hello}, {"MAIL", fine},         {"RCPT", fine},
                         {"DATA", go_on}, {".", fine},     {"QUIT", "221 bye\r\n"}};

TEST(smtp_client, hands_over_a_message_whatever_the_pieces) {
  for (std::size_t size = 0; size < 20; ++size) {
    const auto [got, heard] =
        visit(all_fine, plain_options(), {"bob@server.test"}, "Subject: x\r\n\r\n.hi\r\n", size);
    ASSERT_TRUE(got.done) << got.error->what();
    EXPECT_EQ(got.done->what(), outcome::accepted);
    EXPECT_EQ(got.done->reason(), "250 2.0.0 fine");
    EXPECT_TRUE(got.done->is_complete());
    EXPECT_THAT(heard, ElementsAre("EHLO me.test", "MAIL FROM:<ann@me.test> SIZE=19",
                                   "RCPT TO:<bob@server.test>", "DATA", "Subject: x", "", "..hi",
                                   ".", "QUIT"));
  }
}

TEST(smtp_client, says_helo_to_servers_that_know_nothing_else) {
  const auto [got, heard] = visit({{"", greeting},
                                   {"EHLO", "502 what?\r\n"},
                                   {"HELO", fine},
                                   {"MAIL", fine},
                                   {"RCPT", fine},
                                   {"DATA", go_on},
                                   {".", fine}});
  EXPECT_EQ(got.done->what(), outcome::accepted);
  EXPECT_THAT(heard, testing::Contains("MAIL FROM:<ann@me.test>"));
}

TEST(smtp_client, sends_sender_and_recipients_together_where_that_may_be) {
  const auto [got, heard] =
      visit({{"", greeting},
             {"EHLO", hello_pipelining},
             {"RCPT TO:<c@", fine + fine + "550 no\r\n" + fine},
             {"DATA", go_on},
             {".", fine}},
            plain_options(), {"a@server.test", "b@server.test", "c@server.test"});
  ASSERT_TRUE(got.done) << got.error->what();
  EXPECT_EQ(got.done->what(), outcome::accepted);
  EXPECT_FALSE(got.done->is_complete());
  EXPECT_EQ(got.done->recipients()[0].what, outcome::accepted);
  EXPECT_EQ(got.done->recipients()[1].what, outcome::refused);
  EXPECT_EQ(got.done->recipients()[1].answer.code(), 550);
  EXPECT_EQ(got.done->recipients()[2].answer.code(), 250);
}

TEST(smtp_client, tells_refusals_apart) {
  const auto refused = [](const script& lines) {
    const auto [got, heard] = visit(lines);
    EXPECT_TRUE(got.done) << got.error->what();
    EXPECT_EQ(got.done->what(), outcome::refused);
    return got.done->reason() + (got.done->is_temporary() ? " temporary" : " permanent") +
           (got.is_open ? " open" : " closed");
  };
  EXPECT_EQ(refused({{"", greeting}, {"EHLO", hello}, {"MAIL", "550 5.7.1 no\r\n"}}),
            "550 5.7.1 no permanent open");
  EXPECT_EQ(
      refused({{"", greeting}, {"EHLO", hello}, {"MAIL", fine}, {"RCPT", "450 4.2.1 busy\r\n"}}),
      "450 4.2.1 busy temporary open");
  EXPECT_EQ(refused({{"", greeting},
                     {"EHLO", hello},
                     {"MAIL", fine},
                     {"RCPT", fine},
                     {"DATA", "554 no\r\n"}}),
            "554 no permanent open");
  EXPECT_EQ(refused({{"", greeting},
                     {"EHLO", hello},
                     {"MAIL", fine},
                     {"RCPT", fine},
                     {"DATA", go_on},
                     {".", "554-5.6.0 spam\r\n554 5.6.0 see http://x\r\n"}}),
            "554 5.6.0 spam 5.6.0 see http://x permanent open");
  EXPECT_EQ(refused({{"", greeting}, {"EHLO", hello_pipelining}, {"RCPT", "451 a\r\n503 b\r\n"}}),
            "451 a temporary open");
}

TEST(smtp_client, refuses_what_the_server_cannot_take) {
  const auto large = visit({{"", greeting}, {"EHLO", hello}}, plain_options(), {"b@s.test"},
                           std::string(900, 'x') + "\n" + std::string(900, 'x'));
  EXPECT_EQ(large.got.done->what(), outcome::refused);
  EXPECT_EQ(large.got.done->reason(), "the message has 1804 bytes, and the server takes 1000");
  EXPECT_FALSE(large.got.done->is_temporary());
  const script bare = {{"", greeting}, {"EHLO", "250 x\r\n"}};
  EXPECT_THAT(visit(bare, plain_options(), {"b@s.test"}, "a: b\n\n\xc3\xbc").got.done->reason(),
              HasSubstr("8BITMIME"));
  EXPECT_THAT(visit(bare, plain_options(), {"\xc3\xbc@s.test"}).got.done->reason(),
              HasSubstr("SMTPUTF8"));
  EXPECT_THAT(large.heard, testing::Not(testing::Contains(StartsWith("MAIL"))));
}

TEST(smtp_client, sends_several_messages_and_forgets_the_refused_ones) {
  const script lines = {
      {"", greeting}, {"EHLO", hello},        {"MAIL", fine}, {"RCPT", "550 no\r\n"},
      {"RSET", fine}, {"MAIL", fine},         {"RCPT", fine}, {"DATA", go_on},
      {".", fine},    {"MAIL", fine},         {"RCPT", fine}, {"DATA", go_on},
      {".", fine},    {"QUIT", "221 bye\r\n"}};
  std::vector<outcome> got;
  const record heard = against(lines, [&](memory_stream stream) -> task<> {
    client server = co_await client::over(std::move(stream), "server.test", plain_options());
    const envelope who("ann@me.test", "bob@server.test");
    for (int i = 0; i < 3; ++i) {
      const delivery done = co_await server.send(who, "x: y\n\nhi");
      got.push_back(done.what());
    }
    co_await server.quit();
    EXPECT_FALSE(server.is_open());
  });
  EXPECT_THAT(got, ElementsAre(outcome::refused, outcome::accepted, outcome::accepted));
  EXPECT_EQ(heard.back(), "QUIT");
}

TEST(smtp_client, tells_dsn_servers_what_is_to_be_reported) {
  const script lines = {{"", greeting}, {"EHLO", "250-x\r\n250-DSN\r\n250 SMTPUTF8\r\n"},
                        {"MAIL", fine}, {"RCPT", fine},
                        {"RCPT", fine}, {"DATA", go_on},
                        {".", fine}};
  const record heard = against(lines, [&](memory_stream stream) -> task<> {
    client server = co_await client::over(std::move(stream), "server.test", plain_options());
    envelope who("");
    who.add("b@s.test", notify::success | notify::delay).add("\xc3\xbc@s.test", notify::never);
    who.report_whole_message(false).identified_as("a+b");
    const delivery done = co_await server.send(who, "x: y\n\nhi");
    EXPECT_EQ(done.what(), outcome::accepted);
  });
  EXPECT_EQ(heard[1], "MAIL FROM:<> SMTPUTF8 RET=HDRS ENVID=a+2Bb");
  EXPECT_EQ(heard[2], "RCPT TO:<b@s.test> NOTIFY=SUCCESS,DELAY");
  EXPECT_EQ(heard[3], "RCPT TO:<\xc3\xbc@s.test> NOTIFY=NEVER");
}

// ---------------------------------------------------------------- what goes wrong

TEST(smtp_client_faults, a_line_that_drops_is_an_error_before_the_end_and_unknown_after_it) {
  for (std::size_t step = 0; step < all_fine.size() - 1; ++step) {
    script cut(all_fine.begin(), all_fine.begin() + static_cast<std::ptrdiff_t>(step));
    cut.push_back({all_fine[step].expected, "drop"});
    const auto [got, heard] = visit(cut);
    if (step < 5) {
      ASSERT_TRUE(got.error) << step;
      EXPECT_TRUE(got.error->is_temporary()) << got.error->what();
      EXPECT_EQ(got.error->code(), smtp_error::ended);
    } else {
      ASSERT_TRUE(got.done) << step;
      EXPECT_EQ(got.done->what(), outcome::unknown);
      EXPECT_EQ(got.done->recipients()[0].what, outcome::unknown);
      EXPECT_FALSE(got.is_open);
      EXPECT_THAT(got.done->reason(), HasSubstr("may have been accepted or not"));
    }
  }
}

TEST(smtp_client_faults, a_farewell_is_a_refusal_that_closes) {
  for (std::size_t step = 0; step < all_fine.size() - 1; ++step) {
    for (const bool is_pipelining : {false, true}) {
      script cut = all_fine;
      cut[1].said = is_pipelining ? hello_pipelining : hello;
      if (is_pipelining && step >= 2) cut[2].said.clear();
      cut[step].said = "421 4.3.2 shutting down\r\n";
      if (is_pipelining && step == 3) cut[3].said = fine + cut[3].said;
      if (is_pipelining && step > 3) cut[3].said = fine + fine;
      cut.resize(step + 1);
      const auto [got, heard] = visit(cut);
      if (step < 2) {
        ASSERT_TRUE(got.error) << step;
        EXPECT_TRUE(got.error->is_temporary());
        EXPECT_EQ(got.error->answer().code(), 421);
      } else {
        ASSERT_TRUE(got.done) << step << got.error->what();
        EXPECT_EQ(got.done->what(), outcome::refused) << step;
        EXPECT_TRUE(got.done->is_temporary());
        EXPECT_FALSE(got.is_open) << step;
        EXPECT_EQ(got.done->reason(), "421 4.3.2 shutting down");
      }
    }
  }
}

TEST(smtp_client_faults, garbage_at_any_step_is_never_taken_for_acceptance) {
  for (const std::string said :
       {"hello\r\n", "250 fine\n", "199 x\r\n", "354 go\r\n", "250-x\r\n251 y\r\n"}) {
    for (std::size_t step = 0; step < all_fine.size() - 1; ++step) {
      if (said == all_fine[step].said || (said == "354 go\r\n" && step == 4)) continue;
      script odd = all_fine;
      odd[step].said = said;
      odd.resize(step + 1);
      odd.push_back({"", "drop"});
      const auto [got, heard] = visit(odd);
      if (got.error) {
        EXPECT_LT(step, 5U);
        EXPECT_THAT(got.error->what(), testing::AnyOf(HasSubstr("malformed"),
                                                      HasSubstr("unexpected"), HasSubstr("354")))
            << step << said;
      } else {
        EXPECT_EQ(step, 5U);
        EXPECT_EQ(got.done->what(), outcome::unknown) << step << said;
      }
    }
  }
}

TEST(smtp_client_faults, a_reply_that_nobody_asked_for_is_not_believed) {
  for (std::size_t step = 0; step < all_fine.size() - 1; ++step) {
    script odd = all_fine;
    odd[step].said += "250 2.0.0 accepted\r\n";
    const auto [got, heard] = visit(odd);
    if (step < 5) {
      ASSERT_TRUE(got.error) << step;
      EXPECT_EQ(got.error->code(), smtp_error::unasked_reply) << step;
      EXPECT_FALSE(got.error->is_temporary());
      EXPECT_THAT(heard, testing::Not(testing::Contains(".")));
    } else {
      EXPECT_EQ(got.done->what(), outcome::accepted);
    }
  }
}

TEST(smtp_client_faults, endless_replies_meet_a_limit) {
  std::string lines;
  for (int i = 0; i < 1000; ++i) lines += "250-more\r\n";
  EXPECT_EQ(visit({{"", greeting}, {"EHLO", lines}}).got.error->code(), smtp_error::reply_too_long);
  EXPECT_EQ(visit({{"", "220 " + std::string(10'000, 'x')}}).got.error->code(),
            smtp_error::reply_too_long);
}

TEST(smtp_client_faults, content_that_breaks_a_rule_is_not_sent_to_its_end) {
  for (const std::string& text : {std::string(1000, 'x'), std::string("a\0b", 3)}) {
    const auto [got, heard] = visit(
        {{"", greeting}, {"EHLO", "250 x\r\n"}, {"MAIL", fine}, {"RCPT", fine}, {"DATA", go_on}},
        plain_options(), {"b@s.test"}, text);
    ASSERT_TRUE(got.error);
    EXPECT_EQ(got.error->phase(), client_phase::content);
    EXPECT_THAT(heard, testing::Not(testing::Contains(".")));
  }
}

TEST(smtp_client_faults, a_closed_connection_takes_no_command) {
  against({{"", greeting}, {"EHLO", hello}, {"MAIL", "421 bye\r\n"}},
          [&](memory_stream stream) -> task<> {
            client server =
                co_await client::over(std::move(stream), "server.test", plain_options());
            const envelope who("ann@me.test", "bob@server.test");
            const delivery done = co_await server.send(who, "x: y\n\nhi");
            EXPECT_EQ(done.what(), outcome::refused);
            EXPECT_FALSE(server.is_open());
            EXPECT_THROW(co_await server.reset(), std::logic_error);
            EXPECT_THROW(co_await server.send(who, "x: y\n\nhi"), std::logic_error);
            const client moved = std::move(server);
            EXPECT_THROW(co_await server.reset(), std::logic_error);
          });
}

/// Against a script in virtual time; gives how long it took.
std::chrono::nanoseconds time_of(const script& lines, result_of& got, bool drips = false) {
  sim::world world(1);
  sim::host& host = world.add_host("host", "10.0.0.1");
  record heard;
  world.run(host.run([&]() -> task<> {
    auto [client_end, server_end] = memory_stream_pair();
    memory_stream mine = std::move(client_end);
    memory_stream theirs = std::move(server_end);
    co_await with_nursery([&](nursery& both) -> task<> {
      if (drips) {
        both.start([&]() -> task<> {
          for (;;) {
            const auto sent = co_await as_result(theirs.write_all(const_buffer("2")));
            if (!sent) co_return;
            co_await sleep_for(20s);
          }
        });
      } else {
        both.start(test::play, std::move(theirs), std::ref(lines), std::ref(heard));
      }
      const std::vector<std::string> to{"bob@server.test"};
      co_await send_one(std::move(mine), plain_options(), to, "x: y\n\nz", got);
      both.cancel();
    });
  }));
  return world.now();
}

TEST(smtp_client_faults, silence_ends_after_the_times_of_the_rfc) {
  constexpr std::chrono::minutes limits[] = {5min, 5min, 5min, 5min, 2min, 10min};
  for (std::size_t step = 0; step < all_fine.size() - 1; ++step) {
    const script cut(all_fine.begin(), all_fine.begin() + static_cast<std::ptrdiff_t>(step));
    result_of got;
    const auto took = time_of(cut, got);
    EXPECT_GE(took, limits[step]) << step;
    EXPECT_LT(took, limits[step] + 15s) << step;
    if (step < 5) {
      EXPECT_TRUE(got.error->is_temporary());
      EXPECT_THAT(got.error->what(), HasSubstr("timed out"));
    } else {
      EXPECT_EQ(got.done->what(), outcome::unknown);
    }
  }
}

TEST(smtp_client_faults, a_reply_that_drips_ends_after_the_same_time) {
  result_of got;
  const auto took = time_of({}, got, true);
  EXPECT_GE(took, 5min);
  EXPECT_LT(took, 6min);
  EXPECT_TRUE(got.error->is_temporary());
}

// ---------------------------------------------------------------- TLS (row 37) and AUTH

client_options secure_options() {
  client_options options;
  options.hello = "me.test";
  options.tls = test::trusting_options();
  options.login.emplace("ann", "s3cret");
  return options;
}

const std::string hello_tls = "250-server.test\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n";

/// Nothing but EHLO, STARTTLS and QUIT was said in the clear.
void expect_nothing_secret(const record& heard) {
  for (const std::string& line : heard) {
    EXPECT_THAT(line, testing::AnyOf(StartsWith("EHLO"), StartsWith("HELO"), "STARTTLS",
                                     StartsWith("\x16\x03")))
        << line;
  }
}

TEST(smtp_client_tls, that_is_required_and_not_to_be_had_ends_everything) {
  const auto failed = [](const script& lines) {
    const auto [got, heard] = visit(lines, secure_options());
    expect_nothing_secret(heard);
    EXPECT_TRUE(got.error);
    return got.error->code();
  };
  // Stripped on the way.
  EXPECT_EQ(failed({{"", greeting}, {"EHLO", "250-x\r\n250 AUTH PLAIN\r\n"}}),
            smtp_error::starttls_not_offered);
  EXPECT_EQ(failed({{"", greeting}, {"EHLO", "502 what?\r\n"}, {"HELO", fine}}),
            smtp_error::refused);
  EXPECT_EQ(failed({{"", greeting}, {"EHLO", hello_tls}, {"STARTTLS", "454 4.7.0 not today\r\n"}}),
            smtp_error::refused);
  EXPECT_EQ(failed({{"", greeting}, {"EHLO", hello_tls}, {"STARTTLS", "250 what?\r\n"}}),
            smtp_error::unexpected_reply);
  // Injected before the handshake.
  EXPECT_EQ(failed({{"", greeting},
                    {"EHLO", hello_tls},
                    {"STARTTLS", "220 go on\r\n250-x\r\n250 AUTH PLAIN\r\n"}}),
            smtp_error::bytes_before_tls);
  EXPECT_EQ(failed({{"", greeting}, {"EHLO", hello_tls}, {"STARTTLS", "220 go on\r\n2"}}),
            smtp_error::bytes_before_tls);
  EXPECT_EQ(failed({{"", greeting}, {"EHLO", hello_tls + "220 go on\r\n"}}),
            smtp_error::unasked_reply);
}

TEST(smtp_client_tls, is_not_left_out_when_it_is_offered_and_fails) {
  client_options options = plain_options();
  options.secured = security::starttls_if_offered;
  const auto [got, heard] = visit(
      {{"", greeting}, {"EHLO", hello_tls}, {"STARTTLS", "454 4.7.0 not today\r\n"}}, options);
  EXPECT_TRUE(got.error && got.error->is_temporary());
  expect_nothing_secret(heard);
  EXPECT_EQ(visit(all_fine, options).got.done->what(), outcome::accepted);
}

TEST(smtp_client_tls, credentials_are_not_sent_without_it_unless_that_is_asked_for) {
  client_options options = plain_options();
  options.login.emplace("ann", "s3cret");
  const script lines = {{"", greeting},
                        {"EHLO", "250-x\r\n250 AUTH LOGIN PLAIN\r\n"},
                        {"AUTH PLAIN", "235 fine\r\n"},
                        {"MAIL", fine},
                        {"RCPT", fine},
                        {"DATA", go_on},
                        {".", fine}};
  const auto refused = visit(lines, options);
  EXPECT_EQ(refused.got.error->code(), smtp_error::auth_needs_tls);
  expect_nothing_secret(refused.heard);
  options.login_without_tls = true;
  EXPECT_EQ(visit(lines, options).got.done->what(), outcome::accepted);
}

session_options secure_session() {
  session_options options;
  options.name = "server.test";
  options.tls.emplace(test::test_certificate().loaded());
  options.offers_auth = true;
  options.requires_tls = true;
  options.requires_auth = true;
  return options;
}

TEST(smtp_client_tls, and_every_mechanism_work_against_our_own_server) {
  const session_options options = secure_session();
  for (const auth_mechanism each : {auth_mechanism::plain, auth_mechanism::login,
                                    auth_mechanism::cram_md5, auth_mechanism::xoauth2}) {
    for (const bool is_right : {true, false}) {
      test::mail_keeper service;
      result_of got;
      std::string trace;
      client_options chosen = secure_options();
      const std::string secret = is_right ? "s3cret" : "guess";
      chosen.login = each == auth_mechanism::xoauth2 ? credentials::bearer("ann", secret)
                                                     : credentials("ann", secret).only(each);
      chosen.on_trace = [&](trace_event, std::string_view line) {
        trace.append(line).append("\n");
      };
      against_ours(service, options, [&](memory_stream stream) {
        return send_one(std::move(stream), chosen, {"bob@server.test"}, "a: b\n\n.\n..c", got);
      });
      if (is_right) {
        ASSERT_TRUE(got.done) << got.error->what();
        EXPECT_EQ(got.done->what(), outcome::accepted) << got.done->reason();
        ASSERT_EQ(service.kept.size(), 1U);
        EXPECT_EQ(service.kept[0].content, "a: b\r\n\r\n.\r\n..c\r\n");
        EXPECT_EQ(service.kept[0].from.user, "ann");
        EXPECT_TRUE(service.kept[0].from.is_secure);
      } else {
        EXPECT_EQ(got.error->answer().code(), 535) << name_of(each);
        EXPECT_FALSE(got.error->is_temporary());
        EXPECT_TRUE(service.kept.empty());
      }
      EXPECT_THAT(trace, HasSubstr("AUTH " + std::string(name_of(each)) + " ****"));
      for (const std::string& shown :
           {secret, rill::detail::encode_base64("ann"), rill::detail::encode_base64(secret),
            rill::detail::encode_base64(std::string("\0ann\0", 5) + secret)}) {
        EXPECT_THAT(trace, testing::Not(HasSubstr(shown)));
      }
    }
  }
}

TEST(smtp_client_tls, a_certificate_that_is_not_the_servers_ends_everything) {
  const auto fails_with = [](session_options options, client_options chosen, std::string host) {
    test::mail_keeper service;
    std::string what;
    against_ours(service, options, [&](memory_stream stream) -> task<> {
      try {
        client server = co_await client::over(std::move(stream), host, chosen);
        ADD_FAILURE() << "believed";
      } catch (const client_error& error) {
        EXPECT_EQ(error.phase(), client_phase::handshake);
        EXPECT_FALSE(error.is_temporary());
        what = error.what();
      }
    });
    EXPECT_TRUE(service.kept.empty());
    return what;
  };
  EXPECT_THAT(fails_with(secure_session(), secure_options(), "other.test"),
              HasSubstr("other.test"));
  client_options distrusting = secure_options();
  distrusting.tls = tls::client_options();
  EXPECT_NE(fails_with(secure_session(), distrusting, "server.test"), "");
  test::certificate_text old = test::named("DNS:server.test");
  old.not_after = "20210101000000Z";
  session_options expired = secure_session();
  expired.tls.emplace(test::signed_certificate(old, &test::test_authority()).loaded());
  EXPECT_THAT(fails_with(expired, secure_options(), "server.test"), HasSubstr("expired"));
}

TEST(smtp_client_tls, is_not_begun_again_on_a_stream_that_has_it) {
  for (const security each :
       {security::starttls, security::starttls_if_offered, security::none, security::implicit}) {
    client_options chosen = secure_options();
    chosen.secured = each;
    result_of got;
    bool is_refused = false;
    record heard;
    test::run_loop([&]() -> task<> {
      auto [client_end, server_end] = memory_stream_pair();
      memory_stream mine = std::move(client_end);
      memory_stream theirs = std::move(server_end);
      co_await with_nursery([&](nursery& both) -> task<> {
        both.start([&]() -> task<> {
          const tls::server_context certificate(test::test_certificate().loaded());
          auto secure = co_await tls::accept(std::move(theirs), certificate);
          // Offers STARTTLS again, and would agree.
          co_await as_result(secure.write_all(const_buffer(greeting)));
          for (;;) {
            auto came = co_await as_result(secure.read_lease());
            if (!came || came->empty()) co_return;
            heard.emplace_back(came->text());
            const bool is_hello = heard.back().starts_with("EHLO");
            const std::string said = is_hello ? hello_tls : "220 go on\r\n";
            co_await as_result(secure.write_all(const_buffer(said)));
          }
        });
        const tls::client_context trusted(chosen.tls);
        auto secure = co_await tls::connect(std::move(mine), trusted, "server.test");
        try {
          client server = co_await client::over(std::move(secure), "server.test", chosen);
          EXPECT_TRUE(server.is_secure());
          co_await server.quit();
        } catch (const std::invalid_argument&) {
          is_refused = true;
        }
      });
    });
    EXPECT_EQ(is_refused, each == security::implicit);
    EXPECT_THAT(heard, testing::Not(testing::Contains(StartsWith("STARTTLS"))));
  }
}

TEST(smtp_client_tls, may_be_there_from_the_first_byte) {
  session_options options = secure_session();
  test::mail_keeper service;
  result_of got;
  client_options chosen = secure_options();
  chosen.secured = security::implicit;
  test::run_loop([&]() -> task<> {
    auto [client_end, server_end] = memory_stream_pair();
    memory_stream mine = std::move(client_end);
    memory_stream theirs = std::move(server_end);
    co_await with_nursery([&](nursery& both) -> task<> {
      both.start([&]() -> task<> {
        auto secure = co_await tls::accept(std::move(theirs), *options.tls);
        co_await session(std::move(secure), service, options);
      });
      const std::vector<std::string> to{"bob@server.test"};
      co_await send_one(std::move(mine), chosen, to, "a: b\n\nc", got);
    });
  });
  ASSERT_TRUE(got.done) << got.error->what();
  EXPECT_EQ(got.done->what(), outcome::accepted);
  EXPECT_EQ(service.kept.size(), 1U);
}

}  // namespace
}  // namespace rill::smtp
