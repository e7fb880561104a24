// Looking names up: against name servers in the test's own loop that answer, lie, fail or keep
// silent. What bytes mean and what configuration says is tested beside the parts that know it.
#include <rill/net/resolver.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "net/name_server.h"
#include "support.h"
#include "support/descriptors.h"
#include "support/files.h"
#include <rill/net/dns_message.h>
#include <rill/runtime/sim/world.h>
#include <rill/runtime/timeout.h>

namespace rill {
namespace {

using namespace std::chrono_literals;
using test::bytes;
using test::message;
using test::name_server;
using test::query;
using test::run_loop;
using texts = std::vector<std::string>;

const address v4 = address::v4(192, 0, 2, 1);
const address v6 = address::parse("2001:db8::1").value();

/// Answers every question with `v4` or `v6`.
std::vector<bytes> both_families(const query& q) {
  return {message(q).ip(q.name, q.is_a() ? v4 : v6)};
}
std::vector<bytes> silence(const query&) { return {}; }
std::vector<bytes> with_code(const query& q, unsigned code) {
  return {message(q, message::reply_flags | code)};
}
std::vector<bytes> server_failure(const query& q) { return with_code(q, 2); }
std::vector<bytes> name_error(const query& q) { return with_code(q, 3); }

/// Options that leave the machine's own files alone.
resolver_options without_files() {
  resolver_options options;
  options.resolv_conf_path.clear();
  options.hosts_path.clear();
  options.query_timeout = 5s;
  return options;
}

/// What a look-up gives, as one text.
task<std::string> outcome(resolver& asked, std::string host,
                          resolve_options options = resolve_options(), service to = 80) {
  try {
    std::string text;
    for (const endpoint& each : co_await asked.resolve(host, to, options)) {
      if (!text.empty()) text += ' ';
      text += each.to_string();
    }
    co_return text;
  } catch (const io_error& failure) {
    co_return failure.what();
  }
}

/// A resolver and the name servers it asks.
class names {
 public:
  explicit names(std::vector<name_server::script> scripts,
                 resolver_options options = without_files(),
                 resolver_config config = resolver_config()) {
    servers.reserve(scripts.size());
    config.name_servers.clear();
    for (auto& each : scripts) {
      servers.emplace_back(std::move(each));
      config.name_servers.push_back(servers.back().where());
    }
    options.config = config;
    asked = std::make_unique<resolver>(std::move(options));
  }
  std::vector<name_server> servers;
  std::unique_ptr<resolver> asked;
};

/// Runs `body(names&)` beside the servers of `make()`, which are made in the loop.
template <class Make, class Body>
task<> run_beside(Make& make, Body& body) {
  names around = make();
  co_await with_nursery([&](nursery& tasks) -> task<> {
    for (name_server& each : around.servers) {
      tasks.start([&each] { return each.run(); });
    }
    co_await body(around);
    tasks.cancel();
  });
}

template <class Make, class Body>
void beside(Make make, Body body) {
  run_loop([&] { return run_beside(make, body); });
}

/// The same on a simulated host: where time decides, which is exact there.
template <class Make, class Body>
void beside_in_virtual_time(Make make, Body body) {
  sim::world world(1);
  sim::host& host = world.add_host("host", "10.0.0.1");
  world.run(host.run([&] { return run_beside(make, body); }));
}

/// The same with one server, one look-up and what is expected of it.
void expect_outcome(name_server::script script, const std::string& host,
                    const std::string& expected, resolver_options options = without_files()) {
  beside([&] { return names({script}, options); },
         [&](names& around) -> task<> {
           const std::string said = co_await outcome(*around.asked, host);
           EXPECT_EQ(said, expected);
         });
}

TEST(resolver, limits_a_look_up_to_ten_seconds_unless_told_otherwise) {
  EXPECT_EQ(resolve_options().limit, 10s);
}

TEST(resolver, answers_addresses_localhost_and_invalid_without_any_operation) {
  run_loop([]() -> task<> {
    resolver asked;
    const texts hosts{"127.0.0.1",   "::1",       "localhost", "LocalHost.",
                      "x.localhost", "x.invalid", "x.onion",   "fe80::1%3"};
    texts said;
    const auto before = loop::current().statistics().submission_count;
    for (const std::string& host : hosts) said.push_back(co_await outcome(asked, host));
    EXPECT_EQ(loop::current().statistics().submission_count, before);
    const std::string local = "[::1]:80 127.0.0.1:80";
    EXPECT_EQ(said, (texts{"127.0.0.1:80", "[::1]:80", local, local, local,
                           "resolve x.invalid: name not found", "resolve x.onion: name not found",
                           "[fe80::1%3]:80"}));
  });
}

TEST(resolver, refuses_what_is_no_host_name_without_asking) {
  beside([] { return names({both_families}); },
         [](names& around) -> task<> {
           texts said;
           for (const std::string host : {"", "a b\n", "10.1", "-x", "a..b", "\\"}) {
             said.push_back(co_await outcome(*around.asked, host));
           }
           EXPECT_EQ(
               said,
               (texts{"resolve \"\": invalid host name", "resolve a\\x20b\\x0a: invalid host name",
                      "resolve 10.1: invalid host name", "resolve -x: invalid host name",
                      "resolve a..b: invalid host name", "resolve \\x5c: invalid host name"}));
           EXPECT_EQ(around.servers[0].asked, texts{});
         });
}

TEST(resolver, asks_for_both_families_and_puts_native_ipv6_first) {
  beside([] { return names({both_families}); },
         [](names& around) -> task<> {
           const std::string said = co_await outcome(*around.asked, "WWW.example.org.");
           EXPECT_EQ(said, "[2001:db8::1]:80 192.0.2.1:80");
           std::sort(around.servers[0].asked.begin(), around.servers[0].asked.end());
           EXPECT_EQ(around.servers[0].asked, (texts{"www.example.org A", "www.example.org AAAA"}));
         });
}

TEST(resolver, asks_for_the_wanted_family_only) {
  beside([] { return names({both_families}); },
         [](names& around) -> task<> {
           resolve_options options;
           options.families = family_preference::ipv4_only;
           texts said;
           said.push_back(co_await outcome(*around.asked, "a.example", options));
           said.push_back(co_await outcome(*around.asked, "::1", options));
           options.families = family_preference::ipv6_only;
           said.push_back(co_await outcome(*around.asked, "b.example", options));
           said.push_back(co_await outcome(*around.asked, "localhost", options));
           options.families = family_preference::ipv4_first;
           said.push_back(co_await outcome(*around.asked, "localhost", options));
           EXPECT_EQ(said, (texts{"192.0.2.1:80", "resolve ::1: name has no address",
                                  "[2001:db8::1]:80", "[::1]:80", "127.0.0.1:80 [::1]:80"}));
           EXPECT_EQ(around.servers[0].asked, (texts{"a.example A", "b.example AAAA"}));
         });
}

TEST(resolver, tells_a_name_that_does_not_exist_from_one_without_address) {
  expect_outcome(name_error, "nosuch.example", "resolve nosuch.example: name not found");
  expect_outcome([](const query& q) { return std::vector<bytes>{message(q)}; }, "mail.example",
                 "resolve mail.example: name has no address");
  // Both questions must agree that there is none: some servers know no AAAA and deny the name.
  expect_outcome([](const query& q) { return q.is_a() ? both_families(q) : name_error(q); },
                 "old.example", "192.0.2.1:80");
  expect_outcome([](const query& q) { return q.is_a() ? server_failure(q) : name_error(q); },
                 "old.example", "resolve old.example: name server failure");
}

TEST(resolver, gives_codes_of_the_resolve_category) {
  beside([] { return names({name_error}); },
         [](names& around) -> task<> {
           try {
             co_await around.asked->resolve("nosuch.example", 80);
             ADD_FAILURE() << "it was found";
           } catch (const io_error& failure) {
             EXPECT_EQ(failure.code(), resolve_error::name_not_found);
             EXPECT_EQ(failure.operation(), "resolve");
             EXPECT_EQ(failure.subject(), "nosuch.example");
           }
         });
}

TEST(resolver, asks_the_next_server_after_one_that_cannot_tell) {
  beside([] { return names({server_failure, both_families}); },
         [](names& around) -> task<> {
           const std::string said = co_await outcome(*around.asked, "a.example");
           EXPECT_EQ(said, "[2001:db8::1]:80 192.0.2.1:80");
           EXPECT_EQ(around.servers[0].asked.size(), 2U);
         });
}

TEST(resolver, asks_a_server_that_cannot_tell_only_once) {
  beside([] { return names({server_failure}); },
         [](names& around) -> task<> {
           const std::string said = co_await outcome(*around.asked, "a.example");
           EXPECT_EQ(said, "resolve a.example: name server failure");
           EXPECT_EQ(around.servers[0].asked.size(), 2U);
         });
}

TEST(resolver, asks_the_next_server_after_a_silent_one) {
  resolver_options options = without_files();
  options.query_timeout = 30ms;
  resolver_config config;
  config.attempt_count = 5;
  beside([&] { return names({silence, both_families}, options, config); },
         [](names& around) -> task<> {
           const std::string said = co_await outcome(*around.asked, "a.example");
           EXPECT_EQ(said, "[2001:db8::1]:80 192.0.2.1:80");
         });
}

TEST(resolver, asks_the_next_server_after_one_that_is_not_there) {
  run_loop([]() -> task<> {
    resolver_options options = without_files();
    options.config.emplace();
    {
      const name_server gone(silence);
      options.config->name_servers = {gone.where()};
    }
    resolver asked(options);
    // "Port unreachable" comes at once: nothing waits for the limit.
    const std::string said = co_await outcome(asked, "a.example");
    EXPECT_EQ(said, "resolve a.example: no answer from any name server");
  });
}

TEST(resolver, asks_every_silent_server_as_often_as_configured_within_the_limit) {
  beside_in_virtual_time([] { return names({silence, silence, silence}); },
                         [](names& around) -> task<> {
                           resolve_options options;
                           options.limit = 240ms;
                           options.families = family_preference::ipv4_only;
                           const auto begin = loop_clock::now();
                           const std::string said =
                               co_await outcome(*around.asked, "a.example", options);
                           EXPECT_EQ(said, "resolve a.example: no answer from any name server");
                           EXPECT_GE(loop_clock::now() - begin, 239ms);
                           EXPECT_LE(loop_clock::now() - begin, 241ms);
                           for (const name_server& each : around.servers) {
                             EXPECT_EQ(each.asked, (texts{"a.example A", "a.example A"}));
                           }
                         });
}

TEST(resolver, does_not_go_on_to_another_name_without_an_answer) {
  resolver_config config;
  config.search = {"corp.example"};
  config.attempt_count = 1;
  resolver_options options = without_files();
  options.query_timeout = 20ms;
  beside([&] { return names({silence}, options, config); },
         [](names& around) -> task<> {
           const std::string said = co_await outcome(*around.asked, "host");
           EXPECT_EQ(said, "resolve host: no answer from any name server");
           EXPECT_EQ(around.servers[0].asked.size(), 2U);
         });
}

TEST(resolver, repeats_no_question_once_the_other_has_found_an_address) {
  resolver_config config;
  config.attempt_count = 5;
  resolver_options options = without_files();
  options.query_timeout = 100ms;
  beside(
      [&] {
        return names({[](const query& q) { return q.is_a() ? both_families(q) : silence(q); }},
                     options, config);
      },
      [](names& around) -> task<> {
        const std::string said = co_await outcome(*around.asked, "a.example");
        EXPECT_EQ(said, "192.0.2.1:80");
        const texts& all = around.servers[0].asked;
        EXPECT_EQ(std::count(all.begin(), all.end(), "a.example AAAA"), 1);
      });
}

TEST(resolver, keeps_what_came_before_the_limit) {
  beside(
      [] {
        return names({[](const query& q) { return q.is_a() ? both_families(q) : silence(q); }});
      },
      [](names& around) -> task<> {
        resolve_options options;
        options.limit = 100ms;
        const std::string said = co_await outcome(*around.asked, "a.example", options);
        EXPECT_EQ(said, "192.0.2.1:80");
      });
}

TEST(resolver, asks_over_tcp_after_a_truncated_reply) {
  beside(
      [] {
        return names({[](const query& q) {
          if (q.is_tcp) return both_families(q);
          return std::vector<bytes>{message(q, message::reply_flags | message::truncated)};
        }});
      },
      [](names& around) -> task<> {
        resolve_options options;
        options.families = family_preference::ipv4_only;
        const std::string said = co_await outcome(*around.asked, "a.example", options);
        EXPECT_EQ(said, "192.0.2.1:80");
        EXPECT_EQ(around.servers[0].asked, (texts{"a.example A", "a.example A tcp"}));
      });
}

TEST(resolver, asks_over_tcp_at_once_when_configured_so) {
  resolver_config config;
  config.use_tcp = true;
  beside([&] { return names({both_families}, without_files(), config); },
         [](names& around) -> task<> {
           const std::string said = co_await outcome(*around.asked, "a.example");
           EXPECT_EQ(said, "[2001:db8::1]:80 192.0.2.1:80");
           std::sort(around.servers[0].asked.begin(), around.servers[0].asked.end());
           EXPECT_EQ(around.servers[0].asked, (texts{"a.example A tcp", "a.example AAAA tcp"}));
         });
}

TEST(resolver, reads_long_replies_over_tcp_and_skips_those_that_are_not_ours) {
  resolver_config config;
  config.use_tcp = true;
  beside(
      [&] {
        return names({[](const query& q) {
                       message all(q);
                       for (std::uint8_t i = 0; i != 200; ++i) {
                         all.ip(q.name, address::v4(192, 0, 2, i));
                       }
                       message wrong(static_cast<std::uint16_t>(q.id + 1), q.name, q.type,
                                     message::reply_flags);
                       return std::vector<bytes>{wrong, bytes(), all};
                     }},
                     without_files(), config);
      },
      [](names& around) -> task<> {
        resolve_options options;
        options.families = family_preference::ipv4_only;
        const std::vector<endpoint> found =
            co_await around.asked->resolve("a.example", 80, options);
        EXPECT_EQ(found.size(), dns::address_count_max);
      });
}

TEST(resolver, takes_a_tcp_connection_that_breaks_off_for_no_answer) {
  resolver_config config;
  config.use_tcp = true;
  config.attempt_count = 1;
  for (const std::size_t size : {0U, 1U, 2U, 20U}) {
    beside(
        [&] {
          names around({both_families, both_families}, without_files(), config);
          around.servers[0].tcp_size_max = size;
          return around;
        },
        [](names& around) -> task<> {
          const std::string said = co_await outcome(*around.asked, "a.example");
          EXPECT_EQ(said, "[2001:db8::1]:80 192.0.2.1:80");
        });
  }
}

TEST(resolver, takes_truncation_over_tcp_for_a_failure) {
  expect_outcome(
      [](const query& q) {
        return std::vector<bytes>{message(q, message::reply_flags | message::truncated)};
      },
      "a.example", "resolve a.example: name server failure");
}

TEST(resolver, ignores_replies_that_are_not_ours_and_awaits_the_right_one) {
  const address wrong = address::v4(192, 0, 2, 66);
  const auto wrong_for = [=](const query& q) {
    return q.is_a() ? wrong : address::v6({0x20, 1, 0xd, 0xb8, 0x66});
  };
  const auto lie = [=](const query& q, std::uint16_t id, const std::string& name,
                       unsigned flags) -> bytes {
    return message(id, name, q.type, flags).ip(name, wrong_for(q));
  };
  const std::uint16_t flags = message::reply_flags;
  expect_outcome(
      [=](const query& q) {
        const query other_type = [&] {
          query made = q;
          made.type = q.is_a() ? 28 : 1;
          return made;
        }();
        bytes short_length = message(q).ip(q.name, wrong_for(q));
        short_length.pop_back();
        return std::vector<bytes>{
            lie(q, static_cast<std::uint16_t>(q.id ^ 1U), q.name, flags),  // wrong id
            lie(q, q.id, "other.example", flags),                          // wrong question
            message(other_type).ip(q.name, wrong_for(q)),                  // wrong type
            lie(q, q.id, q.name, 0x0100),                                  // QR=0: a query
            short_length,                                                  // RDLENGTH lies
            message(q).pointer_loop(),
            bytes(),
            bytes(3, std::byte{0xff}),
            bytes(600, std::byte{0}),
            message(q).ip("other.example", wrong_for(q)).ip(q.name, q.is_a() ? v4 : v6),
            lie(q, q.id, q.name, flags),  // too late
        };
      },
      "www.example.org", "[2001:db8::1]:80 192.0.2.1:80");
}

TEST(resolver, finds_no_address_in_records_of_other_names) {
  expect_outcome(
      [](const query& q) {
        return std::vector<bytes>{message(q).ip("other.example", q.is_a() ? v4 : v6)};
      },
      "www.example.org", "resolve www.example.org: name has no address");
}

TEST(resolver, ignores_replies_from_another_port) {
  resolver_config config;
  config.attempt_count = 1;
  beside(
      [&] {
        names around({both_families}, without_files(), config);
        around.servers[0].answers_from_elsewhere = true;
        return around;
      },
      [](names& around) -> task<> {
        resolve_options options;
        options.limit = 40ms;
        const std::string said = co_await outcome(*around.asked, "a.example", options);
        EXPECT_EQ(said, "resolve a.example: no answer from any name server");
      });
}

TEST(resolver, follows_aliases_and_takes_a_loop_for_a_failure) {
  expect_outcome(
      [](const query& q) {
        return std::vector<bytes>{message(q)
                                      .alias("www.example", "web.example")
                                      .alias("web.example", "host.example")
                                      .ip("host.example", q.is_a() ? v4 : v6)};
      },
      "www.example", "[2001:db8::1]:80 192.0.2.1:80");
  expect_outcome(
      [](const query& q) {
        return std::vector<bytes>{
            message(q).alias("www.example", "web.example").alias("web.example", "www.example")};
      },
      "www.example", "resolve www.example: name server failure");
}

TEST(resolver, asks_without_edns_a_server_that_does_not_know_it) {
  beside(
      [] {
        return names(
            {[](const query& q) { return q.has_edns ? with_code(q, 1) : both_families(q); }});
      },
      [](names& around) -> task<> {
        resolve_options options;
        options.families = family_preference::ipv4_only;
        const std::string said = co_await outcome(*around.asked, "a.example", options);
        EXPECT_EQ(said, "192.0.2.1:80");
        EXPECT_EQ(around.servers[0].asked, (texts{"a.example A", "a.example A without-edns"}));
      });
}

TEST(resolver, goes_through_the_search_list_until_a_name_exists) {
  resolver_config config;
  config.search = {"one.example", "two.example", "three.example"};
  beside(
      [&] {
        return names({[](const query& q) {
                       return q.name == "db.two.example" ? both_families(q) : name_error(q);
                     }},
                     without_files(), config);
      },
      [](names& around) -> task<> {
        resolve_options options;
        options.families = family_preference::ipv4_only;
        texts said;
        said.push_back(co_await outcome(*around.asked, "db", options));
        said.push_back(co_await outcome(*around.asked, "db.", options));
        EXPECT_EQ(said, (texts{"192.0.2.1:80", "resolve db.: name not found"}));
        EXPECT_EQ(around.servers[0].asked, (texts{"db.one.example A", "db.two.example A", "db A"}));
      });
}

TEST(resolver, begins_with_another_server_each_time_when_told_to_rotate) {
  resolver_config config;
  config.rotate = true;
  beside([&] { return names({both_families, both_families}, without_files(), config); },
         [](names& around) -> task<> {
           for (int i = 0; i != 4; ++i) co_await outcome(*around.asked, "a.example");
           EXPECT_EQ(around.servers[0].asked.size(), 4U);
           EXPECT_EQ(around.servers[1].asked.size(), 4U);
         });
}

TEST(resolver, reads_hosts_and_resolv_conf_again_when_they_have_changed) {
  const test::temporary_folder folder;
  resolver_options options;
  options.hosts_path = folder.made("hosts", "192.0.2.7 box box.example\n2001:db8::7 box\n");
  options.resolv_conf_path = folder.made("resolv.conf", "");
  run_loop([&]() -> task<> {
    name_server first(both_families);
    name_server second(name_error);
    resolver asked(options);
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&] { return first.run(); });
      tasks.start([&] { return second.run(); });
      texts said;
      said.push_back(co_await outcome(asked, "BOX"));
      folder.made("hosts", "192.0.2.8 box\n192.0.2.9 box # two\n");
      said.push_back(co_await outcome(asked, "box."));
      folder.made("resolv.conf", "nameserver " + first.where().to_string() + "\n");
      said.push_back(co_await outcome(asked, "a.example"));
      folder.made("resolv.conf",
                  "nameserver " + second.where().to_string() + "\noptions attempts:1\n");
      said.push_back(co_await outcome(asked, "a.example"));
      EXPECT_EQ(said,
                (texts{"[2001:db8::7]:80 192.0.2.7:80", "192.0.2.8:80 192.0.2.9:80",
                       "[2001:db8::1]:80 192.0.2.1:80", "resolve a.example: name not found"}));
      tasks.cancel();
    });
    EXPECT_EQ(first.asked.size(), 2U);
  });
}

TEST(resolver, asks_for_a_family_that_the_hosts_file_lacks) {
  const test::temporary_folder folder;
  resolver_options options = without_files();
  options.hosts_path = folder.made("hosts", "192.0.2.7 box.example\n");
  beside([&] { return names({both_families}, options); },
         [](names& around) -> task<> {
           resolve_options wanted;
           wanted.families = family_preference::ipv6_only;
           texts said;
           said.push_back(co_await outcome(*around.asked, "box.example", wanted));
           said.push_back(co_await outcome(*around.asked, "box.example"));
           EXPECT_EQ(said, (texts{"[2001:db8::1]:80", "192.0.2.7:80"}));
         });
}

TEST(resolver, knows_services_by_number_and_name) {
  const test::temporary_folder folder;
  resolver_options options = without_files();
  options.services_path =
      folder.made("services",
                  "# a comment\nhttp\t80/tcp www # web\nsyslog 514/udp\nshell 514/tcp cmd\n"
                  "twice 1/udp\ntwice 2/tcp\nbroken\nbroken x/tcp\nbroken 3\nbroken 70000/tcp\n");
  run_loop([&]() -> task<> {
    resolver asked(options);
    const auto at = [&](service to) { return outcome(asked, "127.0.0.1", {}, std::move(to)); };
    texts said;
    for (const char* const name : {"http", "www", "syslog", "twice", "65535", "0"}) {
      said.push_back(co_await at(name));
    }
    EXPECT_EQ(said, (texts{"127.0.0.1:80", "127.0.0.1:80", "127.0.0.1:514", "127.0.0.1:2",
                           "127.0.0.1:65535", "127.0.0.1:0"}));
    said.clear();
    for (const char* const name : {"broken", "65536", "", "HTTP", "80 ", "+80"}) {
      said.push_back(co_await at(name));
    }
    said.push_back(co_await at(-1));
    said.push_back(co_await at(65536));
    for (const std::string& each : said) {
      EXPECT_TRUE(each.starts_with("resolve service ") && each.ends_with(": Invalid argument"))
          << each;
    }
  });
}

TEST(resolver, is_cancelled_at_any_time_and_leaves_no_descriptor_behind) {
  const auto before = test::open_descriptor_count();
  for (const bool use_tcp : {false, true}) {
    resolver_config config;
    config.use_tcp = use_tcp;
    // After so many turns of the loop: from before the first socket to the wait for a reply.
    for (int turns = 0; turns != 12; ++turns) {
      beside([&] { return names({silence}, without_files(), config); },
             [&](names& around) -> task<> {
               co_await with_nursery([&](nursery& tasks) -> task<> {
                 tasks.start([&]() -> task<> {
                   co_await around.asked->resolve("a.example", 80);
                   ADD_FAILURE() << "it was answered";
                 });
                 for (int i = 0; i != turns; ++i) co_await sleep_for(0ns);
                 tasks.cancel();
               });
             });
    }
  }
  EXPECT_EQ(test::open_descriptor_count(), before);
}

TEST(resolver, lets_a_nearer_deadline_from_outside_win) {
  beside([] { return names({silence}); },
         [](names& around) -> task<> {
           try {
             co_await with_timeout(20ms, around.asked->resolve("a.example", 80));
             ADD_FAILURE() << "it was answered";
           } catch (const timeout_error&) {
           }
         });
}

TEST(resolver, says_when_descriptors_are_short) {
  beside([] { return names({both_families}); },
         [](names& around) -> task<> {
           const test::descriptor_limit none(0);
           const std::string said = co_await outcome(*around.asked, "a.example");
           EXPECT_EQ(said, "resolve a.example: Too many open files");
         });
}

TEST(resolver, resolves_many_names_at_once) {
  beside([] { return names({both_families}); },
         [](names& around) -> task<> {
           int found_count = 0;
           co_await with_nursery([&](nursery& tasks) -> task<> {
             for (int i = 0; i != 50; ++i) {
               tasks.start(
                   [&](std::string host) -> task<> {
                     const std::string said = co_await outcome(*around.asked, host);
                     if (said == "[2001:db8::1]:80 192.0.2.1:80") ++found_count;
                   },
                   "host" + std::to_string(i) + ".example");
             }
             co_return;
           });
           EXPECT_EQ(found_count, 50);
         });
}

TEST(resolve, works_without_a_resolver_of_ones_own) {
  run_loop([]() -> task<> {
    const std::vector<endpoint> found = co_await resolve("localhost", 8888);
    EXPECT_EQ(found.size(), 2U);
    resolve_options options;
    resolver mine(without_files());
    options.with = &mine;
    const std::vector<endpoint> same = co_await resolve("localhost", "8888", options);
    EXPECT_EQ(found, same);
  });
}

TEST(resolver, asks_over_tcp_after_a_reply_that_is_longer_than_its_buffer) {
  beside(
      [] {
        return names({[](const query& q) {
          message reply(q);
          for (int i = 0; i != (q.is_tcp ? 1 : 200); ++i) reply.ip(q.name, v4);
          return std::vector<bytes>{reply};
        }});
      },
      [](names& around) -> task<> {
        resolve_options options;
        options.families = family_preference::ipv4_only;
        const std::string said = co_await outcome(*around.asked, "a.example", options);
        EXPECT_EQ(said, "192.0.2.1:80");
        EXPECT_EQ(around.servers[0].asked, (texts{"a.example A", "a.example A tcp"}));
      });
}

}  // namespace
}  // namespace rill
