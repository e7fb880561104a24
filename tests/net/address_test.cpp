// What rill::address reads, writes and knows about addresses.
#include <rill/net/address.h>

#include <algorithm>
#include <random>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace rill {
namespace {

address parsed(std::string_view text) {
  const auto result = address::parse(text);
  EXPECT_TRUE(result.has_value()) << text;
  return result.value_or(address());
}

std::uint32_t one_interface(const char* name) noexcept {
  return std::string_view(name) == "eth0" ? 7 : 0;
}

TEST(address, is_any_of_ipv4_by_default) {
  EXPECT_EQ(address(), address::any_v4());
  EXPECT_EQ(address().to_string(), "0.0.0.0");
}

TEST(address, parses_ipv4) {
  EXPECT_EQ(parsed("1.2.3.4"), address::v4(1, 2, 3, 4));
  EXPECT_EQ(parsed("255.255.255.255"), address::v4(255, 255, 255, 255));
  EXPECT_EQ(parsed("0.0.0.0"), address::any_v4());
}

TEST(address, parses_every_text_form_of_rfc_4291) {
  const address full =
      address::v6({0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 8, 8, 0, 0x20, 0x0c, 0x41, 0x7a});
  EXPECT_EQ(parsed("2001:DB8:0:0:8:800:200C:417A"), full);
  EXPECT_EQ(parsed("2001:db8::8:800:200c:417a"), full);
  EXPECT_EQ(parsed("2001:0db8:0000:0000:0008:0800:200c:417a"), full);
  EXPECT_EQ(parsed("::"), address::any_v6());
  EXPECT_EQ(parsed("::1"), address::loopback_v6());
  EXPECT_EQ(parsed("0:0:0:0:0:0:13.1.68.3"),
            address::v6({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 13, 1, 68, 3}));
  EXPECT_EQ(parsed("::FFFF:129.144.52.38"),
            address::v6({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 129, 144, 52, 38}));
  EXPECT_EQ(parsed("1::").bytes()[1], 1);
}

TEST(address, refuses_everything_else) {
  using namespace std::string_view_literals;
  const std::vector<std::string_view> refused = {
      "",
      " ",
      "1",
      "1.2.3",
      "1.2.3.4.5",
      "1.2.3.256",
      "1.2.3.-4",
      "1.2.3.+4",
      "01.2.3.4",
      "1.2.3.04",
      "0x7f.0.0.1",
      "127.1",
      "2130706433",
      "1.2.3.4 ",
      " 1.2.3.4",
      "1.2.3.4\n",
      "1.2.3.4\0"sv,
      "1.2.3.4\0x"sv,
      "1..3.4",
      "1.2.3.",
      ".1.2.3",
      "1.2.3.4%1",
      "1.2.3.4:80",
      ":",
      ":::",
      "1:",
      ":1",
      "1:2:3:4:5:6:7",
      "1:2:3:4:5:6:7:8:9",
      "::1::",
      "1::2::3",
      "1:2:3:4:5:6:7:8::",
      "12345::",
      "g::",
      "[::1]",
      "::1 ",
      "::1/128",
      "::1.2.3",
      "::1.2.3.4.5",
      "::01.2.3.4",
      "1.2.3.4::",
      "::1\0"sv,
      "::%1",
      "::1%1",
      "2001:db8::1%1",
      "fe80::1%",
      "fe80::1%0",
      "fe80::1%03",
      "fe80::1%4294967296",

      "%1",
      "fe80::1%3\0"sv,
      "fe80::1%an-interface-name-that-is-too-long",
      "localhost",
      "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb"};
  for (const auto text : refused) {
    const auto result = address::parse(text, one_interface);
    ASSERT_FALSE(result.has_value()) << text;
    EXPECT_EQ(result.error(), std::errc::invalid_argument) << text;
  }
}

TEST(address, formats_ipv6_by_rfc_5952) {
  const std::vector<std::pair<const char*, const char*>> canonical = {
      {"2001:0db8::0001", "2001:db8::1"},                // 4.1 no leading zeros
      {"2001:db8:0:0:0:0:2:1", "2001:db8::2:1"},         // 4.2.1 as short as possible
      {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},  // 4.2.2 no "::" for one group
      {"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},           // 4.2.3 the longest run
      {"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},     // 4.2.3 the first of equals
      {"2001:DB8::AbCd", "2001:db8::abcd"},              // 4.3 lower case
      {"::ffff:c0a8:1", "::ffff:192.168.0.1"},           // 5 mapped
      {"::102:304", "::102:304"},                        // compatible is no longer special
      {"0:0:0:0:0:0:0:0", "::"},
      {"1:0:0:0:0:0:0:0", "1::"},
      {"0:0:0:0:0:0:0:1", "::1"},
      {"0:1:2:3:4:5:6:7", "0:1:2:3:4:5:6:7"},
      {"1:2:3:4:5:6:7:0", "1:2:3:4:5:6:7:0"},
      {"1:2:3:4:5:6:0:0", "1:2:3:4:5:6::"},
      {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"}};
  for (const auto& [text, wanted] : canonical) EXPECT_EQ(parsed(text).to_string(), wanted);
}

TEST(address, reads_back_what_it_writes) {
  std::mt19937 random(1);
  for (int i = 0; i < 20000; ++i) {
    address::v6_bytes bytes{};
    for (auto& byte : bytes) {
      const auto drawn = random();
      byte = (drawn & 0x300U) != 0 ? std::uint8_t{0} : static_cast<std::uint8_t>(drawn);
    }
    const address six = address::v6(bytes);
    ASSERT_EQ(parsed(six.to_string()), six) << six;
    const address four = address::v4(bytes[0], bytes[1], bytes[2], bytes[3]);
    ASSERT_EQ(parsed(four.to_string()), four) << four;
  }
}

TEST(address, survives_any_text) {
  constexpr std::string_view alphabet = "0123456789abcdefF:::..%x-[] \0";
  std::mt19937 random(2);
  for (int i = 0; i < 100000; ++i) {
    std::string text;
    for (auto size = random() % 24; size > 0; --size) text += alphabet[random() % alphabet.size()];
    if (const auto result = address::parse(text, one_interface)) {
      ASSERT_EQ(parsed(result->to_string()), *result) << text;
    }
  }
}

TEST(address, takes_a_scope_by_number_or_by_interface_name) {
  EXPECT_EQ(parsed("fe80::1%3").scope_id(), 3U);
  EXPECT_EQ(parsed("fe80::1%4294967295").to_string(), "fe80::1%4294967295");
  EXPECT_EQ(parsed("ff02::1%3").scope_id(), 3U);
  EXPECT_EQ(address::parse("fe80::1%eth0", one_interface)->to_string(), "fe80::1%7");
}

TEST(address, says_when_a_scope_names_no_interface) {
  for (const auto text : {"fe80::1%eth1", "fe80::1%1%2", "fe80::1%-3"}) {
    EXPECT_EQ(address::parse(text, one_interface).error(), std::errc::no_such_device) << text;
  }
}

TEST(address, asks_the_system_for_interface_names) {
  const std::uint32_t index = system_interface_index("lo");
  if (index == 0) GTEST_SKIP() << "no loopback interface here";
  EXPECT_EQ(parsed("fe80::1%lo").scope_id(), index);
}

TEST(address, orders_by_family_then_number_then_scope) {
  const std::vector<address> sorted = {parsed("0.0.0.0"),   parsed("9.9.9.9"),   parsed("10.0.0.0"),
                                       parsed("::"),        parsed("::1"),       parsed("fe80::1"),
                                       parsed("fe80::1%1"), parsed("fe80::1%2"), parsed("fe80::2")};
  EXPECT_TRUE(std::is_sorted(sorted.begin(), sorted.end()));
  for (std::size_t i = 1; i < sorted.size(); ++i) EXPECT_NE(sorted[i - 1], sorted[i]);
}

TEST(address, equal_addresses_hash_equal_and_others_mostly_not) {
  std::unordered_set<std::size_t> hashes;
  for (unsigned i = 0; i < 1000; ++i) {
    const auto low = static_cast<std::uint8_t>(i);
    const auto high = static_cast<std::uint8_t>(i >> 8);
    hashes.insert(std::hash<address>{}(address::v4(10, 0, high, low)));
    hashes.insert(std::hash<address>{}(address::v6({10, 0, high, low})));
    hashes.insert(std::hash<address>{}(address::v6({0xfe, 0x80}, i + 1)));
  }
  EXPECT_GT(hashes.size(), 2990U);
  EXPECT_EQ(std::hash<address>{}(parsed("::1")), std::hash<address>{}(address::loopback_v6()));
}

TEST(address, knows_the_special_ranges) {
  EXPECT_TRUE(parsed("127.255.0.1").is_loopback());
  EXPECT_FALSE(parsed("128.0.0.1").is_loopback());
  EXPECT_TRUE(parsed("::1").is_loopback());
  EXPECT_FALSE(parsed("::2").is_loopback());
  EXPECT_TRUE(parsed("0.0.0.0").is_any());
  EXPECT_TRUE(parsed("::").is_any());
  EXPECT_FALSE(parsed("::1").is_any());
  EXPECT_TRUE(parsed("224.0.0.1").is_multicast());
  EXPECT_TRUE(parsed("239.255.255.255").is_multicast());
  EXPECT_FALSE(parsed("240.0.0.1").is_multicast());
  EXPECT_TRUE(parsed("ff02::1").is_multicast());
  EXPECT_FALSE(parsed("fe80::1").is_multicast());
  EXPECT_TRUE(parsed("169.254.1.1").is_link_local());
  EXPECT_FALSE(parsed("169.253.1.1").is_link_local());
  EXPECT_TRUE(parsed("febf::1").is_link_local());
  EXPECT_FALSE(parsed("fec0::1").is_link_local());
}

TEST(address, looks_through_the_mapped_form) {
  EXPECT_TRUE(parsed("::ffff:127.0.0.1").is_loopback());
  EXPECT_TRUE(parsed("::ffff:0.0.0.0").is_any());
  EXPECT_TRUE(parsed("::ffff:224.0.0.1").is_multicast());
  EXPECT_TRUE(parsed("::ffff:169.254.0.1").is_link_local());
  EXPECT_TRUE(parsed("::ffff:1.2.3.4").is_v4_mapped());
  EXPECT_FALSE(parsed("::fffe:1.2.3.4").is_v4_mapped());
  EXPECT_FALSE(parsed("1.2.3.4").is_v4_mapped());
  EXPECT_EQ(parsed("::ffff:1.2.3.4").unmapped(), parsed("1.2.3.4"));
  EXPECT_NE(parsed("::ffff:1.2.3.4"), parsed("1.2.3.4"));
  EXPECT_EQ(parsed("::1").unmapped(), parsed("::1"));
}

TEST(address, can_be_a_constant) {
  static_assert(address::loopback_v4() < address::loopback_v6());
  static_assert(address::v4(1, 2, 3, 4).bytes().size() == 4);
  static_assert(address::v6({}).bytes().size() == 16);
  static_assert(address::loopback_v6().is_v6() && !address::loopback_v6().is_v4_mapped());
}

}  // namespace
}  // namespace rill
