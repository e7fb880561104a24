// What is read from resolv.conf and hosts, what is answered without asking, and in which order
// names and addresses are tried.
#include <rill/net/resolver_config.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <rill/net/dns_message.h>
#include <rill/net/resolve_error.h>

namespace rill {
namespace {

using names = std::vector<std::string>;

std::uint32_t one_interface(const char* name) noexcept {
  return std::string_view(name) == "eth0" ? 7 : 0;
}

resolver_config parsed(std::string_view text) {
  return resolver_config::parse(text, one_interface);
}

names servers_of(const resolver_config& config) {
  names texts;
  for (const auto& server : config.name_servers) texts.push_back(server.to_string());
  return texts;
}

names texts_of(const std::vector<address>& addresses) {
  names texts;
  for (const address& ip : addresses) texts.push_back(ip.to_string());
  return texts;
}

std::vector<address> addresses_of(const names& texts) {
  std::vector<address> addresses;
  for (const auto& text : texts) addresses.push_back(address::parse(text).value());
  return addresses;
}

TEST(resolver_config, has_the_defaults_of_resolv_conf) {
  for (const resolver_config& config :
       {resolver_config(), parsed(""), parsed("# nothing\n\n;nameserver 1.2.3.4")}) {
    EXPECT_EQ(servers_of(config), names{"127.0.0.1:53"});
    EXPECT_EQ(config.search, names{});
    EXPECT_EQ(config.dot_count_min, 1U);
    EXPECT_EQ(config.timeout, std::chrono::seconds(5));
    EXPECT_EQ(config.attempt_count, 2U);
    EXPECT_FALSE(config.rotate);
    EXPECT_FALSE(config.use_tcp);
  }
}

TEST(resolver_config, reads_name_servers) {
  EXPECT_EQ(servers_of(parsed("nameserver 1.2.3.4\nnameserver\t2001:db8::1  # cache\r\n"
                              "nameserver fe80::1%eth0")),
            (names{"1.2.3.4:53", "[2001:db8::1]:53", "[fe80::1%7]:53"}));
}

TEST(resolver_config, reads_name_servers_with_ports) {
  EXPECT_EQ(servers_of(parsed("nameserver [::1]:5353\nnameserver 127.0.0.1:5300\n"
                              "nameserver [fe80::1%3]:1")),
            (names{"[::1]:5353", "127.0.0.1:5300", "[fe80::1%3]:1"}));
}

TEST(resolver_config, skips_malformed_name_servers_before_it_counts_them) {
  EXPECT_EQ(servers_of(parsed("nameserver\nnameserver x\nnameserver 1.2.3\nnameserver fe80::1%x\n"
                              "nameserver 1.1.1.1\nnameserver 2.2.2.2\nnameserver 3.3.3.3\n"
                              "nameserver 4.4.4.4\nnameservers 5.5.5.5\n")),
            (names{"1.1.1.1:53", "2.2.2.2:53", "3.3.3.3:53"}));
}

TEST(resolver_config, takes_the_last_of_search_and_domain) {
  EXPECT_EQ(parsed("search a.example b.example.\ndomain C.Example").search, names{"c.example"});
  EXPECT_EQ(parsed("domain c.example\nsearch a.example b.example.").search,
            (names{"a.example", "b.example"}));
  EXPECT_EQ(parsed("search a.example\nsearch .").search, names{});
}

TEST(resolver_config, limits_the_search_list) {
  EXPECT_EQ(parsed("search a ..bad b c d e f g h").search, (names{"a", "b", "c", "d", "e", "f"}));
}

TEST(resolver_config, reads_options_within_their_limits) {
  const auto config = parsed("options ndots:2 timeout:7 attempts:4 rotate use-vc edns0\n");
  EXPECT_EQ(config.dot_count_min, 2U);
  EXPECT_EQ(config.timeout, std::chrono::seconds(7));
  EXPECT_EQ(config.attempt_count, 4U);
  EXPECT_TRUE(config.rotate);
  EXPECT_TRUE(config.use_tcp);
  const auto large = parsed("options ndots:99 timeout:99 attempts:99999999999999999999");
  EXPECT_EQ(large.dot_count_min, 15U);
  EXPECT_EQ(large.timeout, std::chrono::seconds(30));
  EXPECT_EQ(large.attempt_count, 5U);
  const auto small = parsed("options ndots:0 timeout:0\noptions attempts:0");
  EXPECT_EQ(small.dot_count_min, 0U);
  EXPECT_EQ(small.timeout, std::chrono::seconds(1));
  EXPECT_EQ(small.attempt_count, 1U);
  const auto wrong = parsed("options ndots: timeout:x attempts:-1 ndots:2x rotated");
  EXPECT_EQ(wrong.dot_count_min, 1U);
  EXPECT_EQ(wrong.timeout, std::chrono::seconds(5));
  EXPECT_EQ(wrong.attempt_count, 2U);
  EXPECT_FALSE(wrong.rotate);
}

TEST(resolver_config, survives_any_text) {
  const names words = {"nameserver", "search", "domain", "options", " ", "\n", "\t", "ndots:", "#",
                       "1.2.3.4",    "[::1]:", "53",     ".",       "a", "\r", "-",  "%eth0",  ":"};
  std::mt19937 random(6);
  for (int i = 0; i < 50000; ++i) {
    std::string text;
    for (auto count = random() % 30; count > 0; --count) text += words[random() % words.size()];
    const auto config = parsed(text);
    ASSERT_FALSE(config.name_servers.empty());
    ASSERT_LE(config.name_servers.size(), resolver_config::name_server_count_max);
    ASSERT_LE(config.search.size(), resolver_config::search_count_max);
    ASSERT_TRUE(hosts_table::parse(text, one_interface).has_value());
  }
}

TEST(hosts_table, finds_names_and_aliases_without_case) {
  const auto table = hosts_table::parse(
                         "127.0.0.1 localhost\n"
                         "192.0.2.1\tHost.Example host # www.example\r\n"
                         "  2001:db8::1 host\n"
                         "fe80::1%eth0 router.\n",
                         one_interface)
                         .value();
  EXPECT_EQ(texts_of(table.find("HOST")), (names{"192.0.2.1", "2001:db8::1"}));
  EXPECT_EQ(texts_of(table.find("host.example.")), names{"192.0.2.1"});
  EXPECT_EQ(texts_of(table.find("router")), names{"fe80::1%7"});
  EXPECT_EQ(table.find("www.example"), std::vector<address>{});
  EXPECT_EQ(table.find(""), std::vector<address>{});
  EXPECT_EQ(table.size(), 4U);
}

TEST(hosts_table, skips_what_it_cannot_read) {
  const auto table =
      hosts_table::parse("bad name\n1.2.3 name\n1.2.3.4\n#1.2.3.4 name\n1.2.3.4#name\n. .\n" +
                         ("1.2.3.4 " + std::string(254, 'x')))
          .value();
  EXPECT_EQ(table.size(), 0U);
}

TEST(hosts_table, keeps_an_address_once_and_limits_their_number) {
  std::string text;
  for (int i = 0; i < 200; ++i) text += "10.0.0." + std::to_string(i) + " host host\n";
  EXPECT_EQ(hosts_table::parse(text)->find("host").size(), hosts_table::address_count_max);
  EXPECT_EQ(hosts_table::parse("1.1.1.1 a a\n1.1.1.1 A")->find("a").size(), 1U);
}

TEST(hosts_table, refuses_a_file_above_its_limit) {
  const std::string text(hosts_table::text_size_max + 1, '\n');
  EXPECT_EQ(hosts_table::parse(text).error(), std::errc::file_too_large);
  EXPECT_TRUE(hosts_table::parse(std::string_view(text).substr(1)).has_value());
}

TEST(answer_locally, takes_addresses_as_they_are) {
  EXPECT_EQ(dns::answer_locally("1.2.3.4").value(), addresses_of({"1.2.3.4"}));
  EXPECT_EQ(dns::answer_locally("::1").value(), addresses_of({"::1"}));
  EXPECT_EQ(dns::answer_locally("fe80::1%eth0", one_interface).value()->front().scope_id(), 7U);
  EXPECT_EQ(dns::answer_locally("fe80::1%x", one_interface).value().error(),
            std::errc::no_such_device);
}

TEST(answer_locally, knows_the_special_names) {
  for (const auto name : {"localhost", "LocalHost", "localhost.", "a.b.localhost"}) {
    EXPECT_EQ(texts_of(dns::answer_locally(name).value().value()), (names{"::1", "127.0.0.1"}));
  }
  for (const auto name : {"invalid", "x.INVALID.", "a.b.invalid", "x.onion"}) {
    EXPECT_EQ(dns::answer_locally(name).value().error(), resolve_error::name_not_found) << name;
  }
  for (const auto name : {"example.org", "notlocalhost", "localhost.example", "xinvalid"}) {
    EXPECT_FALSE(dns::answer_locally(name).has_value()) << name;
  }
}

TEST(answer_locally, refuses_what_is_no_host_name) {
  for (const auto name : {"", ".", "a..b", "1.2.3.400", "127.1", "[::1]", "a b", "1.2.3.4:80"}) {
    EXPECT_EQ(dns::answer_locally(name).value().error(), resolve_error::invalid_name) << name;
  }
}

TEST(candidate_names, follow_ndots_and_the_search_list) {
  auto config = parsed("search a.example b.example\noptions ndots:2");
  const auto of = [&config](std::string_view host) {
    return dns::candidate_names(host, config).value();
  };
  EXPECT_EQ(of("Host"), (names{"host.a.example", "host.b.example", "host"}));
  EXPECT_EQ(of("x.host"), (names{"x.host.a.example", "x.host.b.example", "x.host"}));
  EXPECT_EQ(of("y.x.host"), (names{"y.x.host", "y.x.host.a.example", "y.x.host.b.example"}));
  EXPECT_EQ(of("host."), names{"host"});
  config.search.clear();
  EXPECT_EQ(of("host"), names{"host"});
}

TEST(candidate_names, leave_out_what_gets_too_long) {
  const std::string label(60, 'x');
  const std::string host = label + '.' + label + '.' + label + '.' + label;  // 243
  EXPECT_EQ(dns::candidate_names(host, parsed("search a.example bc.example")).value(),
            (names{host, host + ".a.example"}));
  EXPECT_EQ(dns::candidate_names("a..b", parsed("search a")).error(), resolve_error::invalid_name);
}

TEST(order_destinations, alternates_families_beginning_with_ipv6) {
  const auto order = [](const names& texts) {
    return texts_of(dns::order_destinations(addresses_of(texts)));
  };
  EXPECT_EQ(order({"1.1.1.1", "2.2.2.2", "3.3.3.3", "2001:db8::2", "2001:db8::1"}),
            (names{"2001:db8::2", "1.1.1.1", "2001:db8::1", "2.2.2.2", "3.3.3.3"}));
  EXPECT_EQ(order({"2001:db8::1", "2001:db8::2", "2001:db8::3", "1.1.1.1"}),
            (names{"2001:db8::1", "1.1.1.1", "2001:db8::2", "2001:db8::3"}));
  EXPECT_EQ(order({"127.0.0.1", "::1"}), (names{"::1", "127.0.0.1"}));
  EXPECT_EQ(order({}), names{});
  EXPECT_EQ(order({"1.1.1.1"}), names{"1.1.1.1"});
}

TEST(order_destinations, puts_tunnels_and_unique_local_addresses_behind) {
  const auto order = [](const names& texts) {
    return texts_of(dns::order_destinations(addresses_of(texts)));
  };
  EXPECT_EQ(order({"2002::1", "2001::1", "fd00::1", "1.1.1.1", "2001:db8::1"}),
            (names{"2001:db8::1", "1.1.1.1", "2002::1", "2001::1", "fd00::1"}));
  EXPECT_EQ(order({"fd00::1", "1.1.1.1"}), (names{"1.1.1.1", "fd00::1"}));
}

TEST(order_destinations, drops_repetitions) {
  EXPECT_EQ(dns::order_destinations(addresses_of({"::1", "1.1.1.1", "::1", "1.1.1.1"})),
            addresses_of({"::1", "1.1.1.1"}));
}

}  // namespace
}  // namespace rill
