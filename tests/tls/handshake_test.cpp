// What client and server agree on, and every reason for which they refuse each other.
#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/files.h"
#include "tls/handshake.h"

namespace rill::test {
namespace {

using testing::HasSubstr;
using tls::tls_error;

tls::server_context showing(const certificate_text& text,
                            const signed_certificate* issuer = &test_authority()) {
  return tls::server_context(signed_certificate(text, issuer).loaded());
}

certificate_text server_text() { return named("DNS:server.test"); }

// ---------------------------------------------------------------- what is agreed

TEST(tls_handshake, newest_version_is_spoken) {
  const tls_meeting seen = met(trusting(), serving());
  EXPECT_EQ(seen.client.text, "hello");
  EXPECT_EQ(seen.client.version, tls::version::tls1_3);
  EXPECT_EQ(seen.server.version, tls::version::tls1_3);
  EXPECT_EQ(seen.client.code, std::error_code());
  EXPECT_EQ(seen.server.code, std::error_code());
}

TEST(tls_handshake, a_peer_of_tls_1_2_is_served) {
  tls::client_options old_client = trusting_options();
  old_client.version_max = tls::version::tls1_2;
  EXPECT_EQ(met(tls::client_context(old_client), serving()).client.version, tls::version::tls1_2);
  tls::server_options old_server;
  old_server.version_max = tls::version::tls1_2;
  const tls_meeting seen = met(trusting(), serving(old_server));
  EXPECT_EQ(seen.client.version, tls::version::tls1_2);
  EXPECT_EQ(seen.client.text, "hello");
}

TEST(tls_handshake, rsa_and_ecdsa_certificates_both_work) {
  certificate_text rsa = server_text();
  rsa.is_rsa = true;
  EXPECT_EQ(met(trusting(), showing(rsa)).client.text, "hello");
}

TEST(tls_handshake, names_are_compared_without_case_and_root) {
  EXPECT_EQ(met(trusting(), serving(), "SERVER.Test.").client.text, "hello");
}

TEST(tls_handshake, a_wildcard_stands_for_one_label) {
  EXPECT_EQ(met(trusting(), serving(), "a.wild.test").client.text, "hello");
  EXPECT_EQ(met(trusting(), serving(), "a.b.wild.test").client.code, tls_error::wrong_host);
  EXPECT_EQ(met(trusting(), serving(), "wild.test").client.code, tls_error::wrong_host);
}

TEST(tls_handshake, an_address_is_checked_as_one_and_not_asked_for) {
  const tls_meeting seen = met(trusting(), serving(), "127.0.0.1");
  EXPECT_EQ(seen.client.text, "hello");
  EXPECT_EQ(seen.server.server_name, "");
  const tls::server_context six = showing(named("IP:::1"));
  EXPECT_EQ(met(trusting(), six, "::1").client.text, "hello");
  EXPECT_EQ(met(trusting(), six, "[::1]").client.text, "hello");
  EXPECT_EQ(met(trusting(), six, "::2").client.code, tls_error::wrong_address);
}

TEST(tls_handshake, first_protocol_of_the_server_that_the_client_has_is_chosen) {
  tls::client_options client = trusting_options();
  client.protocols = {"http/1.1", "h2"};
  tls::server_options server;
  server.protocols = {"spdy/3", "h2", "http/1.1"};
  tls_meeting seen = met(tls::client_context(client), serving(server));
  EXPECT_EQ(seen.client.protocol, "h2");
  EXPECT_EQ(seen.server.protocol, "h2");
  EXPECT_EQ(met(trusting(), serving(server)).server.protocol, "");
  EXPECT_EQ(met(tls::client_context(client), serving()).client.protocol, "");

  client.protocols = {"imap"};
  seen = met(tls::client_context(client), serving(server));
  EXPECT_EQ(seen.server.code, tls_error::no_application_protocol);
  EXPECT_EQ(seen.client.code, tls_error::alert_no_application_protocol);
  EXPECT_THAT(seen.client.text, HasSubstr("no application protocol in common"));
}

// ---------------------------------------------------------------- several certificates

class tls_names : public testing::Test {
 protected:
  static tls::certificate one(const char* common_name, const char* names, bool is_rsa = false) {
    certificate_text text = named(names);
    text.common_name = common_name;
    text.is_rsa = is_rsa;
    return signed_certificate(text, &test_authority()).loaded();
  }
};

TEST_F(tls_names, each_client_gets_the_certificate_that_it_asks_for) {
  tls::server_context server(one("first", "DNS:first.test"));
  server.add(one("second", "DNS:second.test,DNS:*.second.test"));
  for (const tls::version newest : {tls::version::tls1_2, tls::version::tls1_3}) {
    tls::client_options options = trusting_options();
    options.version_max = newest;
    const tls::client_context client(options);
    EXPECT_EQ(met(client, server, "first.test").client.peer_subject, "CN=first");
    EXPECT_EQ(met(client, server, "second.test").client.peer_subject, "CN=second");
    const tls_meeting seen = met(client, server, "a.second.test");
    EXPECT_EQ(seen.client.peer_subject, "CN=second");
    EXPECT_EQ(seen.server.server_name, "a.second.test");
    EXPECT_EQ(met(client, server, "third.test").client.code, tls_error::wrong_host);
  }
}

TEST_F(tls_names, unknown_names_can_be_refused) {
  tls::server_options options;
  options.refuse_unknown_names = true;
  const tls::server_context server(one("first", "DNS:first.test"), options);
  EXPECT_EQ(met(trusting(), server, "first.test").client.text, "hello");
  const tls_meeting seen = met(trusting(), server, "second.test");
  EXPECT_EQ(seen.server.code, tls_error::unknown_name);
  EXPECT_EQ(seen.client.code, tls_error::alert_unrecognized_name);
}

TEST_F(tls_names, replaced_certificates_are_used_from_the_next_handshake_on) {
  tls::server_context server(one("first", "DNS:server.test"));
  EXPECT_EQ(met(trusting(), server).client.peer_subject, "CN=first");
  server.replace({one("second", "DNS:server.test")});
  EXPECT_EQ(met(trusting(), server).client.peer_subject, "CN=second");
}

TEST_F(tls_names, files_are_read_again) {
  const auto write = [](const temporary_folder& folder, const char* common_name,
                        const char* prefix) {
    certificate_text text = named(std::string("DNS:") + prefix + ".test");
    text.common_name = common_name;
    const signed_certificate made(text, &test_authority());
    folder.made(std::string(prefix) + ".pem", made.pem());
    folder.made(std::string(prefix) + ".key", made.key_pem());
  };
  const temporary_folder folder;
  write(folder, "first", "one");
  write(folder, "other", "two");
  run_loop([&]() -> task<> {
    tls::server_context server =
        co_await tls::server_context::from_files(folder.path("one.pem"), folder.path("one.key"));
    co_await server.add_files(folder.path("two.pem"), folder.path("two.key"));
    const tls::client_context client = trusting();
    const auto subject_of = [&](std::string host) -> task<std::string> {
      tls_meeting seen;
      co_await meet(client, server, host, seen);
      co_return seen.client.peer_subject;
    };
    std::string subject = co_await subject_of("one.test");
    EXPECT_EQ(subject, "CN=first");
    write(folder, "second", "one");
    subject = co_await subject_of("one.test");
    EXPECT_EQ(subject, "CN=first");
    co_await server.reload();
    subject = co_await subject_of("one.test");
    EXPECT_EQ(subject, "CN=second");
    subject = co_await subject_of("two.test");
    EXPECT_EQ(subject, "CN=other");

    // What cannot be read changes nothing.
    write(folder, "third", "one");
    folder.made("two.key", "not a key");
    std::string refused;
    try {
      co_await server.reload();
    } catch (const io_error& error) {
      refused = error.what();
    }
    EXPECT_EQ(refused, "load key " + folder.path("two.key") + ": no private key in PEM format");
    subject = co_await subject_of("one.test");
    EXPECT_EQ(subject, "CN=second");
  });
}

// ---------------------------------------------------------------- resumption

class tls_resumption : public testing::TestWithParam<tls::version> {
 protected:
  static tls::client_options options() {
    tls::client_options made = trusting_options();
    made.version_max = GetParam();
    return made;
  }
};

TEST_P(tls_resumption, second_connection_resumes) {
  const tls::client_context client(options());
  const tls::server_context server = serving();
  EXPECT_FALSE(met(client, server).client.is_resumed);
  EXPECT_GE(client.session_count(), 1U);
  for (int i = 0; i < 3; ++i) {
    const tls_meeting seen = met(client, server);
    EXPECT_TRUE(seen.client.is_resumed);
    EXPECT_TRUE(seen.server.is_resumed);
    EXPECT_EQ(seen.client.text, "hello");
    EXPECT_EQ(seen.client.peer_subject, "CN=rill test");
  }
}

TEST_P(tls_resumption, sessions_belong_to_a_host) {
  const tls::client_context client(options());
  const tls::server_context server = serving();
  met(client, server, "server.test");
  EXPECT_FALSE(met(client, server, "a.wild.test").client.is_resumed);
  EXPECT_TRUE(met(client, server, "server.test").client.is_resumed);
}

TEST_P(tls_resumption, can_be_switched_off_on_either_side) {
  tls::client_options none = options();
  none.session_count_max = 0;
  const tls::client_context forgetful(none);
  met(forgetful, serving());
  EXPECT_EQ(forgetful.session_count(), 0U);

  tls::server_options no_tickets;
  no_tickets.tickets = false;
  const tls::client_context client(options());
  const tls::server_context server = serving(no_tickets);
  met(client, server);
  EXPECT_FALSE(met(client, server).client.is_resumed);
}

TEST_P(tls_resumption, session_count_is_bounded) {
  tls::client_options few = options();
  few.session_count_max = 2;
  const tls::client_context client(few);
  const tls::server_context server = serving();
  for (const char* const host : {"a.wild.test", "b.wild.test", "c.wild.test"}) {
    met(client, server, host);
    EXPECT_LE(client.session_count(), 2U);
  }
}

TEST_P(tls_resumption, after_a_reload_a_session_is_a_full_handshake_again) {
  const tls::client_context client(options());
  tls::server_context server = serving();
  met(client, server);
  server.replace({test_certificate().loaded()});
  const tls_meeting seen = met(client, server);
  EXPECT_FALSE(seen.client.is_resumed);
  EXPECT_EQ(seen.client.text, "hello");
}

TEST_P(tls_resumption, threads_share_the_keys_of_tickets_while_they_change) {
  tls::server_options often;
  often.ticket_key_interval = std::chrono::milliseconds(2);
  const tls::server_context server = serving(often);
  std::atomic<int> met_count = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      const tls::client_context client(options());
      for (int meeting = 0; meeting < 30; ++meeting) {
        if (met(client, server).client.text == "hello") ++met_count;
      }
    });
  }
  for (std::thread& each : threads) each.join();
  EXPECT_EQ(met_count, 90);
}

INSTANTIATE_TEST_SUITE_P(versions, tls_resumption,
                         testing::Values(tls::version::tls1_2, tls::version::tls1_3),
                         [](const auto& each) {
                           return each.param == tls::version::tls1_2 ? "tls1_2" : "tls1_3";
                         });

// ---------------------------------------------------------------- what is refused

TEST(tls_refusal, expired) {
  certificate_text text = server_text();
  text.not_after = "20211231235959Z";
  const tls_meeting seen = met(trusting(), showing(text));
  EXPECT_EQ(seen.client.code, tls_error::certificate_expired);
  EXPECT_EQ(seen.client.text, "TLS handshake server.test: the certificate has expired");
  EXPECT_EQ(seen.server.code, tls_error::alert_certificate_expired);
}

TEST(tls_refusal, not_yet_valid) {
  certificate_text text = server_text();
  text.not_before = "20480101000000Z";
  EXPECT_EQ(met(trusting(), showing(text)).client.code, tls_error::certificate_not_yet_valid);
}

TEST(tls_refusal, wrong_host) {
  const tls_meeting seen = met(trusting(), serving(), "other.test");
  EXPECT_EQ(seen.client.code, tls_error::wrong_host);
  EXPECT_EQ(seen.client.text, "TLS handshake other.test: the certificate is for another host name");
  EXPECT_EQ(met(trusting(), serving(), "127.0.0.2").client.code, tls_error::wrong_address);
}

TEST(tls_refusal, common_name_is_no_host_name) {
  certificate_text text;
  text.common_name = "server.test";
  EXPECT_EQ(met(trusting(), showing(text)).client.code, tls_error::wrong_host);
}

TEST(tls_refusal, self_signed) {
  const tls_meeting seen = met(trusting(), showing(server_text(), nullptr));
  EXPECT_EQ(seen.client.code, tls_error::certificate_self_signed);
}

TEST(tls_refusal, unknown_authority) {
  certificate_text text;
  text.common_name = "somebody";
  text.is_authority = true;
  const signed_certificate somebody(text);
  const tls_meeting seen = met(trusting(), showing(server_text(), &somebody));
  EXPECT_EQ(seen.client.code, tls_error::unknown_ca);
  EXPECT_EQ(seen.server.code, tls_error::alert_unknown_ca);
  EXPECT_THAT(seen.server.text, HasSubstr("the peer refused: unknown CA"));
}

TEST(tls_refusal, system_authorities_do_not_know_ours) {
  EXPECT_EQ(met(tls::client_context(), serving()).client.code, tls_error::unknown_ca);
}

TEST(tls_refusal, authority_that_is_none) {
  certificate_text text = named("DNS:leaf.test");
  text.common_name = "leaf";
  const signed_certificate leaf(text, &test_authority());
  const signed_certificate below(server_text(), &leaf);
  const tls::certificate chain = tls::certificate::parse(below.pem() + leaf.pem(), below.key_pem());
  const tls_meeting seen = met(trusting(), tls::server_context(chain));
  EXPECT_EQ(seen.client.code.category(), tls::tls_category());
  EXPECT_THAT(seen.client.text, HasSubstr("invalid CA certificate"));
}

TEST(tls_refusal, a_chain_through_an_authority_in_between_is_no_refusal) {
  certificate_text text;
  text.common_name = "between";
  text.is_authority = true;
  const signed_certificate between(text, &test_authority());
  const signed_certificate own(server_text(), &between);
  const tls::certificate chain = tls::certificate::parse(own.pem() + between.pem(), own.key_pem());
  EXPECT_EQ(met(trusting(), tls::server_context(chain)).client.text, "hello");
  EXPECT_EQ(met(trusting(), showing(server_text(), &between)).client.code, tls_error::unknown_ca);
}

TEST(tls_refusal, unverified_server_is_believed_only_if_asked_for) {
  tls::client_options options;
  options.verify = false;
  EXPECT_EQ(
      met(tls::client_context(options), showing(server_text(), nullptr), "any.test").client.text,
      "hello");
  EXPECT_EQ(met(tls::client_context(options), showing(server_text(), nullptr), "").client.text,
            "hello");
}

TEST(tls_refusal, no_version_in_common) {
  tls::client_options old_client = trusting_options();
  old_client.version_max = tls::version::tls1_2;
  tls::server_options new_server;
  new_server.version_min = tls::version::tls1_3;
  tls_meeting seen = met(tls::client_context(old_client), serving(new_server));
  EXPECT_EQ(seen.server.code, tls_error::protocol_version);
  EXPECT_EQ(seen.client.code, tls_error::alert_protocol_version);

  tls::client_options new_client = trusting_options();
  new_client.version_min = tls::version::tls1_3;
  tls::server_options old_server;
  old_server.version_max = tls::version::tls1_2;
  seen = met(tls::client_context(new_client), serving(old_server));
  EXPECT_EQ(seen.server.code, tls_error::protocol_version);
  EXPECT_EQ(seen.client.code, tls_error::alert_protocol_version);
}

TEST(tls_refusal, names_that_are_none) {
  for (const std::string host : {"", "a b", "a/b", "\xc3\xa4.test"}) {
    EXPECT_EQ(met(trusting(), serving(), host).client.code, tls_error::bad_host_name) << host;
  }
  const std::string with_nul("server.test\0x", 13);
  EXPECT_EQ(met(trusting(), serving(), with_nul).client.code, tls_error::bad_host_name);
  EXPECT_EQ(met(trusting(), serving(), std::string(300, 'a')).client.code,
            tls_error::bad_host_name);
}

// ---------------------------------------------------------------- client certificates

class tls_clients : public testing::TestWithParam<tls::version> {
 protected:
  static tls::client_options client_options() {
    tls::client_options made = trusting_options();
    made.version_max = GetParam();
    return made;
  }
  static tls::server_options server_options(tls::client_certificates wanted) {
    tls::server_options made;
    made.clients = wanted;
    made.client_authorities_pem = test_authority().pem();
    return made;
  }
  static tls::certificate alice(const signed_certificate* issuer = &test_authority()) {
    certificate_text text;
    text.common_name = "alice";
    return signed_certificate(text, issuer).loaded();
  }
};

TEST_P(tls_clients, server_knows_who_the_client_is) {
  const tls::server_context server = serving(server_options(tls::client_certificates::required));
  const tls::client_context client(client_options(), alice());
  tls_meeting seen = met(client, server);
  EXPECT_EQ(seen.client.text, "hello");
  EXPECT_EQ(seen.server.peer_subject, "CN=alice");
  seen = met(client, server);  // also when resumed
  EXPECT_TRUE(seen.server.is_resumed);
  EXPECT_EQ(seen.server.peer_subject, "CN=alice");
}

TEST_P(tls_clients, one_without_a_certificate_is_refused_and_told_why) {
  const tls::server_context server = serving(server_options(tls::client_certificates::required));
  const tls_meeting seen = met(tls::client_context(client_options()), server);
  EXPECT_EQ(seen.server.code, tls_error::no_client_certificate);
  if (GetParam() == tls::version::tls1_3) {
    EXPECT_EQ(seen.client.code, tls_error::alert_certificate_required);
    EXPECT_EQ(seen.client.text, "read server.test: the peer refused: certificate required");
  } else {
    EXPECT_EQ(seen.client.code, tls_error::alert_handshake_failure);
  }
}

TEST_P(tls_clients, one_may_be_anonymous_where_a_certificate_is_only_wanted) {
  const tls::server_context server = serving(server_options(tls::client_certificates::wanted));
  const tls_meeting seen = met(tls::client_context(client_options()), server);
  EXPECT_EQ(seen.client.text, "hello");
  EXPECT_EQ(seen.server.peer_subject, "");
}

TEST_P(tls_clients, one_that_is_signed_by_a_stranger_is_refused) {
  const tls::server_context server = serving(server_options(tls::client_certificates::wanted));
  const tls_meeting seen = met(tls::client_context(client_options(), alice(nullptr)), server);
  EXPECT_EQ(seen.server.code, tls_error::certificate_self_signed);
  EXPECT_EQ(seen.client.code, tls_error::alert_unknown_ca);
}

INSTANTIATE_TEST_SUITE_P(versions, tls_clients,
                         testing::Values(tls::version::tls1_2, tls::version::tls1_3),
                         [](const auto& each) {
                           return each.param == tls::version::tls1_2 ? "tls1_2" : "tls1_3";
                         });

// ---------------------------------------------------------------- certificates and keys

template <class Make>
std::string refusal_of(Make make) {
  try {
    make();
  } catch (const io_error& error) {
    return error.what();
  }
  return "nothing was refused";
}

TEST(tls_certificate, what_cannot_be_used_says_why) {
  const signed_certificate& good = test_certificate();
  const auto parse = [](const std::string& chain, const std::string& key) {
    return refusal_of([&] { tls::certificate::parse(chain, key); });
  };
  EXPECT_EQ(parse(good.pem(), good.key_pem()), "nothing was refused");
  EXPECT_EQ(parse("nonsense", good.key_pem()),
            "load certificate from memory: no certificate in PEM format");
  EXPECT_EQ(parse(good.pem().substr(0, 300), good.key_pem()),
            "load certificate from memory: no certificate in PEM format");
  EXPECT_EQ(parse(good.pem(), good.pem()), "load key from memory: no private key in PEM format");
  EXPECT_EQ(parse(good.pem(), good.key_pem("word")),
            "load key from memory: the private key is protected by a passphrase; store it without "
            "one");
  EXPECT_EQ(parse(good.pem(), test_authority().key_pem()),
            "load key from memory: the private key does not belong to the certificate");
}

TEST(tls_certificate, a_file_that_is_not_there_is_named) {
  const std::string said = refusal_of([] {
    run_loop([]() -> task<> {
      co_await tls::certificate::from_files("/nowhere/chain.pem", "/nowhere/key.pem");
    });
  });
  EXPECT_THAT(said, HasSubstr("/nowhere/chain.pem: No such file or directory"));
}

TEST(tls_certificate, options_that_make_no_sense_are_refused) {
  tls::client_options options = trusting_options();
  options.version_min = tls::version::tls1_3;
  options.version_max = tls::version::tls1_2;
  EXPECT_THAT(refusal_of([&] { tls::client_context made(options); }), HasSubstr("set up TLS"));
  options = trusting_options();
  options.protocols = {""};
  EXPECT_THAT(refusal_of([&] { tls::client_context made(options); }), HasSubstr("set up TLS"));
  options = trusting_options();
  options.authorities_pem = "nobody";
  EXPECT_THAT(refusal_of([&] { tls::client_context made(options); }),
              HasSubstr("of the authorities"));
  tls::server_options never;
  never.ticket_key_interval = std::chrono::seconds(0);
  EXPECT_THAT(refusal_of([&] { serving(never); }), HasSubstr("ticket_key_interval"));
}

}  // namespace
}  // namespace rill::test
