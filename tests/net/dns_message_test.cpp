// How DNS queries look on the wire, and which replies are believed.
//
// Replies are put together by `message` below, byte by byte, so that wrong ones are as easy to make
// as right ones. Every message is parsed from a heap block of exactly its size: a read beyond the
// end is an error under AddressSanitizer.
#include <rill/net/dns_message.h>

#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <rill/net/resolve_error.h>

namespace rill::dns {
namespace {

using bytes = std::vector<std::byte>;

constexpr std::uint16_t type_a = 1;
constexpr std::uint16_t type_cname = 5;
constexpr std::uint16_t type_aaaa = 28;
constexpr std::uint16_t type_opt = 41;
constexpr std::uint16_t id = 0x1234;
constexpr std::uint16_t reply_flags = 0x8180;  // QR, RD, RA
constexpr std::size_t question_begin = 12;

const address one = address::v4(192, 0, 2, 1);
const address two = address::v4(192, 0, 2, 2);

question ask(std::string_view name = "www.example.org", record_type type = record_type::a) {
  return question(name, type, id);
}

/// A message under construction. Sections must be filled in their order.
class message {
 public:
  explicit message(std::uint16_t flags = reply_flags, std::uint16_t message_id = id) {
    put_u16(message_id);
    put_u16(flags);
    for (int i = 0; i < 4; ++i) put_u16(0);
  }

  message& question(std::string_view name = "www.example.org", std::uint16_t type = type_a,
                    std::uint16_t record_class = 1) {
    put_name(name);
    put_u16(type);
    put_u16(record_class);
    count(4);
    return *this;
  }

  /// A record with `data`; `section` is 6 for answers, 8 for authority, 10 for additional.
  message& record(std::string_view owner, std::uint16_t type, const bytes& data,
                  std::uint32_t time_to_live = 300, std::size_t section = 6,
                  std::uint16_t record_class = 1) {
    put_name(owner);
    put_u16(type);
    put_u16(record_class);
    put_u16(static_cast<std::uint16_t>(time_to_live >> 16));
    put_u16(static_cast<std::uint16_t>(time_to_live));
    put_u16(static_cast<std::uint16_t>(data.size()));
    content_.insert(content_.end(), data.begin(), data.end());
    count(section);
    return *this;
  }

  message& ip(std::string_view owner, const address& ip, std::uint32_t time_to_live = 300) {
    const auto data = std::as_bytes(ip.bytes());
    return record(owner, ip.is_v4() ? type_a : type_aaaa, bytes(data.begin(), data.end()),
                  time_to_live);
  }

  message& alias(std::string_view owner, std::string_view target,
                 std::uint32_t time_to_live = 300) {
    return record(owner, type_cname, encoded(target), time_to_live);
  }

  /// Adds raw bytes and counts them as a record of `section` (0: as nothing).
  message& raw(std::initializer_list<int> values, std::size_t section = 0) {
    for (const int value : values) content_.push_back(static_cast<std::byte>(value));
    if (section != 0) count(section);
    return *this;
  }

  /// Increments a count of the header.
  message& count(std::size_t section) {
    auto number = std::to_integer<unsigned>(content_[section]) << 8 |
                  std::to_integer<unsigned>(content_[section + 1]);
    ++number;
    content_[section] = static_cast<std::byte>(number >> 8);
    content_[section + 1] = static_cast<std::byte>(number & 0xffU);
    return *this;
  }

  std::size_t size() const { return content_.size(); }
  const bytes& content() const { return content_; }
  reply parse(const dns::question& asked = ask()) const {
    const bytes exact(content_.begin(), content_.end());
    return parse_reply(exact, asked);
  }

  /// "@12" is a pointer to offset 12; "x@12" the label x and then the pointer.
  static bytes encoded(std::string_view name) {
    bytes wire;
    while (!name.empty() && name.front() != '@') {
      const std::string_view label = name.substr(0, name.find_first_of(".@"));
      wire.push_back(static_cast<std::byte>(label.size()));
      for (const char c : label) wire.push_back(static_cast<std::byte>(c));
      name.remove_prefix(label.size());
      if (name.starts_with('.')) name.remove_prefix(1);
    }
    if (name.empty()) {
      wire.push_back(std::byte{0});
    } else {
      const auto target = static_cast<unsigned>(std::stoi(std::string(name.substr(1))));
      wire.push_back(static_cast<std::byte>(0xc0U | target >> 8));
      wire.push_back(static_cast<std::byte>(target & 0xffU));
    }
    return wire;
  }

 private:
  void put_u16(std::uint16_t value) {
    content_.push_back(static_cast<std::byte>(value >> 8));
    content_.push_back(static_cast<std::byte>(value & 0xffU));
  }
  void put_name(std::string_view name) {
    const bytes wire = encoded(name);
    content_.insert(content_.end(), wire.begin(), wire.end());
  }

  bytes content_;
};

/// A reply with everything in it: aliases, compression, other records, EDNS0.
message rich_reply() {
  message made;
  made.question();
  made.alias("@12", "web@16", 60);  // web.example.org
  made.ip("web.example.org", one, 30).ip("web.example.org", two, 90);
  made.record("example.org", 2, message::encoded("ns.example.org"), 300, 8);
  made.record("ns.example.org", type_a, bytes(4), 300, 10);
  made.record("", type_opt, {}, 0, 10, 1232);
  return made;
}

TEST(dns_name, is_lower_case_without_final_dot) {
  EXPECT_EQ(normalize_name("WWW.Example.ORG.").value(), "www.example.org");
  EXPECT_EQ(normalize_name("localhost").value(), "localhost");
  EXPECT_EQ(normalize_name("_sip._tcp.example").value(), "_sip._tcp.example");
  EXPECT_EQ(normalize_name("3com.com").value(), "3com.com");
  EXPECT_EQ(normalize_name("0123456789ab").value(), "0123456789ab");
}

TEST(dns_name, may_have_253_characters_and_labels_of_63) {
  const std::string label(63, 'a');
  const std::string longest = label + '.' + label + '.' + label + '.' + std::string(61, 'a');
  ASSERT_EQ(longest.size(), name_size_max);
  EXPECT_TRUE(normalize_name(longest).has_value());
  EXPECT_TRUE(normalize_name(longest + '.').has_value());
  EXPECT_TRUE(build_query(ask(longest)).has_value());
  EXPECT_FALSE(normalize_name(longest + 'a').has_value());
  EXPECT_FALSE(normalize_name(label + "a.org").has_value());
}

TEST(dns_name, is_refused_when_it_is_no_host_name) {
  using namespace std::string_view_literals;
  for (const auto name : {""sv,           "."sv,
                          ".."sv,         ".org"sv,
                          "a..b"sv,       "a.."sv,
                          "a b"sv,        " a"sv,
                          "a\n"sv,        "a\0b"sv,
                          "a\\.b"sv,      "a/b"sv,
                          "a:80"sv,       "caf\xc3\xa9.org"sv,
                          "-a.org"sv,     "a.-b"sv,
                          "*.org"sv,      "10.1"sv,
                          "127.0.0.01"sv, "1.2.3.4"sv,
                          "1.2.3.4."sv,   "a.1"sv,
                          "[::1]"sv,      "fe80::1%x"sv}) {
    const auto result = normalize_name(name);
    ASSERT_FALSE(result.has_value()) << name;
    EXPECT_EQ(result.error(), resolve_error::invalid_name);
    EXPECT_EQ(build_query(ask(name)).error(), resolve_error::invalid_name);
  }
}

TEST(dns_query, asks_for_recursion_and_offers_1232_bytes) {
  message wanted(0x0100);  // RD
  wanted.question("www.example.org", type_aaaa);
  wanted.record("", type_opt, {}, 0, 10, 1232);
  EXPECT_EQ(build_query(ask("www.example.org", record_type::aaaa)).value(), wanted.content());
}

TEST(dns_query, leaves_edns_out_on_request) {
  EXPECT_EQ(build_query(ask(), 0).value(), message(0x0100).question().content());
}

TEST(dns_query, never_asks_for_onion_names) {
  EXPECT_EQ(build_query(ask("x.onion")).error(), resolve_error::name_not_found);
}

TEST(dns_query, is_not_its_own_reply) {
  EXPECT_EQ(parse_reply(build_query(ask()).value(), ask()).kind(), reply_kind::not_ours);
}

TEST(dns_reply, gives_addresses_in_the_servers_order) {
  const reply got = message().question().ip("www.example.org", two, 7).ip("@12", one, 500).parse();
  ASSERT_EQ(got.kind(), reply_kind::addresses);
  EXPECT_EQ(got.addresses(), (std::vector<address>{two, one}));
  EXPECT_EQ(got.time_to_live(), std::chrono::seconds(7));
  EXPECT_EQ(got.canonical_name(), "www.example.org");
}

TEST(dns_reply, gives_ipv6_addresses) {
  const address six = address::parse("2001:db8::1").value();
  const reply got = message()
                        .question("www.example.org", type_aaaa)
                        .ip("@12", six)
                        .ip("@12", one)
                        .parse(ask("www.example.org", record_type::aaaa));
  ASSERT_EQ(got.kind(), reply_kind::addresses);
  EXPECT_EQ(got.addresses(), std::vector<address>{six});
}

TEST(dns_reply, is_compared_without_case) {
  const reply got = message().question("wWw.eXample.ORG").ip("WWW.example.oRG", one).parse();
  EXPECT_EQ(got.kind(), reply_kind::addresses);
  EXPECT_EQ(message().question().ip("@12", one).parse(ask("WWW.EXAMPLE.org")).kind(),
            reply_kind::addresses);
}

TEST(dns_reply, follows_aliases_in_any_order) {
  const reply got = message()
                        .question()
                        .ip("c.example", one, 100)
                        .alias("b.example", "c.example", 40)
                        .alias("@12", "b.example", 50)
                        .parse();
  ASSERT_EQ(got.kind(), reply_kind::addresses);
  EXPECT_EQ(got.addresses(), std::vector<address>{one});
  EXPECT_EQ(got.time_to_live(), std::chrono::seconds(40));
  EXPECT_EQ(got.canonical_name(), "c.example");
}

TEST(dns_reply, ignores_records_about_other_names) {
  const reply got = message()
                        .question()
                        .ip("evil.example", two, 1)
                        .alias("evil.example", "www.example.org", 1)
                        .ip("@12", one)
                        .record("@12", type_a, bytes(4), 300, 10)
                        .parse();
  ASSERT_EQ(got.kind(), reply_kind::addresses);
  EXPECT_EQ(got.addresses(), std::vector<address>{one});
  EXPECT_EQ(got.time_to_live(), std::chrono::seconds(300));
  EXPECT_EQ(message().question().ip("evil.example", two).parse().kind(), reply_kind::no_data);
}

TEST(dns_reply, does_not_take_a_dot_in_a_label_for_a_separator) {
  message made;
  made.question("a.example");
  made.raw({9, 'a', '.', 'e', 'x', 'a', 'm', 'p', 'l', 'e'});
  made.raw({0, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 1, 2, 3, 4}, 6);
  EXPECT_EQ(made.parse(ask("a.example")).kind(), reply_kind::no_data);
}

TEST(dns_reply, does_not_take_a_nul_in_a_label_for_the_end_of_a_name) {
  using namespace std::string_view_literals;
  const auto kind = [](std::string_view target, std::string_view owner) {
    return message().question().alias("@12", target).ip(owner, one).parse().kind();
  };
  EXPECT_EQ(kind("\0.x"sv, ""), reply_kind::no_data);
  EXPECT_EQ(kind("a.\0.x"sv, "a.\0.y"sv), reply_kind::no_data);
  EXPECT_EQ(kind("a.\0.x"sv, "A.\0.X"sv), reply_kind::addresses);
}

TEST(dns_reply, writes_unusual_bytes_of_a_name_as_zone_files_do) {
  using namespace std::string_view_literals;
  const std::string_view name = "A \"b\\;$.\0.(c)\x7f\xff"sv;
  const reply came = message().question().alias("@12", name).ip(name, one).parse();
  EXPECT_EQ(came.canonical_name(), R"(a\032\"b\\\;\$.\000.\(c\)\127\255)");
}

TEST(dns_reply, ignores_records_of_other_classes_and_types) {
  const reply got = message()
                        .question()
                        .record("@12", type_a, bytes(4), 300, 6, 3)
                        .record("@12", 16, bytes(7))
                        .record("@12", type_aaaa, bytes(5))
                        .parse();
  EXPECT_EQ(got.kind(), reply_kind::no_data);
}

TEST(dns_reply, must_answer_our_question) {
  const auto kind_of = [](message made) { return made.ip("www.example.org", one).parse().kind(); };
  EXPECT_EQ(kind_of(message().question()), reply_kind::addresses);
  EXPECT_EQ(kind_of(message(0x0180).question()), reply_kind::not_ours) << "QR is 0";
  EXPECT_EQ(kind_of(message(0x8980).question()), reply_kind::not_ours) << "opcode 1";
  EXPECT_EQ(kind_of(message(reply_flags, id + 1).question()), reply_kind::not_ours) << "id";
  EXPECT_EQ(kind_of(message()), reply_kind::not_ours) << "no question";
  EXPECT_EQ(kind_of(message().question().question()), reply_kind::not_ours) << "two questions";
  EXPECT_EQ(kind_of(message().question("ww.example.org")), reply_kind::not_ours) << "name";
  EXPECT_EQ(kind_of(message().question("example.org")), reply_kind::not_ours) << "name";
  EXPECT_EQ(kind_of(message().question("")), reply_kind::not_ours) << "root";
  EXPECT_EQ(kind_of(message().question("www.example.org", type_aaaa)), reply_kind::not_ours);
  EXPECT_EQ(kind_of(message().question("www.example.org", type_a, 3)), reply_kind::not_ours);
}

TEST(dns_reply, is_checked_before_its_response_code_counts) {
  EXPECT_EQ(message(0x8183).question("other.example").parse().kind(), reply_kind::not_ours);
  EXPECT_EQ(message(0x8183).parse().kind(), reply_kind::not_ours);
  EXPECT_EQ(message(0x8380).question("other.example").parse().kind(), reply_kind::not_ours);
}

TEST(dns_reply, tells_name_not_found_from_no_data) {
  EXPECT_EQ(message(0x8183).question().parse().kind(), reply_kind::name_not_found);
  EXPECT_EQ(message(0x8180).question().parse().kind(), reply_kind::no_data);
  EXPECT_EQ(message(0x8400).question().parse().kind(), reply_kind::no_data) << "authoritative";
  EXPECT_EQ(message().question().alias("@12", "b.example").parse().kind(), reply_kind::no_data);
  EXPECT_EQ(message(0x8183).question().alias("@12", "b.example").parse().kind(),
            reply_kind::name_not_found);
}

TEST(dns_reply, reports_failures_of_the_server) {
  for (const unsigned code : {1U, 2U, 4U, 5U, 9U, 15U}) {
    const auto flags = static_cast<std::uint16_t>(reply_flags | code);
    const reply got = message(flags).question().ip("@12", one).parse();
    EXPECT_EQ(got.kind(), reply_kind::server_failure);
    EXPECT_EQ(got.response_code(), code);
  }
}

TEST(dns_reply, may_be_a_bare_header_that_does_not_understand_the_query) {
  const reply got = message(static_cast<std::uint16_t>(reply_flags | 1U)).parse();
  EXPECT_EQ(got.kind(), reply_kind::server_failure);
  EXPECT_EQ(got.response_code(), response_format_error);
  EXPECT_EQ(message(static_cast<std::uint16_t>(reply_flags | 1U), id + 1).parse().kind(),
            reply_kind::not_ours);
  EXPECT_EQ(message(static_cast<std::uint16_t>(reply_flags | 2U)).parse().kind(),
            reply_kind::not_ours)
      << "only this code";
}

TEST(dns_reply, takes_a_referral_for_a_failure) {
  EXPECT_EQ(message(0x8100).question().record("org", 2, bytes(1), 9, 8).parse().kind(),
            reply_kind::server_failure);
}

TEST(dns_reply, reads_the_extended_response_code) {
  const reply got =
      message().question().record("", type_opt, {}, 0x01000000, 10, 1232).parse();  // BADVERS
  EXPECT_EQ(got.kind(), reply_kind::server_failure);
  EXPECT_EQ(got.response_code(), 16);
  EXPECT_EQ(message()
                .question()
                .record("", type_opt, {}, 0, 10, 1232)
                .record("", type_opt, {}, 0, 10, 1232)
                .parse()
                .kind(),
            reply_kind::malformed);
}

TEST(dns_reply, reports_truncation_even_when_cut_inside_a_record) {
  EXPECT_EQ(message(0x8380).question().parse().kind(), reply_kind::truncated);
  EXPECT_EQ(message(0x8380).question().raw({0xc0, 12, 0, 1}, 6).parse().kind(),
            reply_kind::truncated);
}

TEST(dns_reply, refuses_alias_loops) {
  EXPECT_EQ(message().question().alias("@12", "@12").parse().kind(), reply_kind::server_failure);
  EXPECT_EQ(message().question().alias("@12", "b.example").alias("b.example", "@12").parse().kind(),
            reply_kind::server_failure);
}

TEST(dns_reply, limits_the_chain_of_aliases) {
  const auto chain = [](std::size_t alias_count) {
    message made;
    made.question("n0.example");
    for (std::size_t i = 0; i < alias_count; ++i) {
      made.alias("n" + std::to_string(i) + ".example", "n" + std::to_string(i + 1) + ".example");
    }
    made.ip("n" + std::to_string(alias_count) + ".example", one);
    return made.parse(ask("n0.example")).kind();
  };
  EXPECT_EQ(chain(alias_count_max), reply_kind::addresses);
  EXPECT_EQ(chain(alias_count_max + 1), reply_kind::server_failure);
}

TEST(dns_reply, limits_the_addresses) {
  message made;
  made.question();
  for (std::size_t i = 0; i < 3000; ++i) made.ip("@12", one);
  EXPECT_EQ(made.parse().addresses().size(), address_count_max);
}

TEST(dns_reply, takes_a_time_to_live_with_the_high_bit_for_zero) {
  EXPECT_EQ(message().question().ip("@12", one, 0x80000001).parse().time_to_live().count(), 0);
  EXPECT_EQ(message().question().ip("@12", one, 0x7fffffff).parse().time_to_live().count(),
            0x7fffffff);
}

TEST(dns_reply, refuses_pointer_loops_and_pointers_forward) {
  const auto kind_of_owner = [](std::initializer_list<int> owner) {
    message made;
    made.question().raw(owner).raw({0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 1, 2, 3, 4}, 6);
    return made.parse().kind();
  };
  const int here = static_cast<int>(message().question().size());
  EXPECT_EQ(kind_of_owner({0xc0, 12}), reply_kind::addresses);
  EXPECT_EQ(kind_of_owner({0xc0, here}), reply_kind::malformed) << "to itself";
  EXPECT_EQ(kind_of_owner({1, 'a', 0xc0, here}), reply_kind::malformed) << "to its own label";
  EXPECT_EQ(kind_of_owner({0xc0, here + 1}), reply_kind::malformed) << "into itself";
  EXPECT_EQ(kind_of_owner({0xc0, here + 2}), reply_kind::malformed) << "forward";
  EXPECT_EQ(kind_of_owner({0xff, 0xff}), reply_kind::malformed) << "beyond the end";
  EXPECT_EQ(kind_of_owner({0xc0, 4}), reply_kind::malformed) << "into the header";
  EXPECT_EQ(kind_of_owner({0x40, 12}), reply_kind::malformed) << "label type 01";
  EXPECT_EQ(kind_of_owner({0x80, 12}), reply_kind::malformed) << "label type 10";
}

TEST(dns_reply, refuses_a_question_that_points_at_itself) {
  message made;
  made.raw({0xc0, question_begin, 0, 1, 0, 1}, 4);
  EXPECT_EQ(made.parse().kind(), reply_kind::malformed);
}

TEST(dns_reply, refuses_names_above_255_bytes_made_by_compression) {
  const std::string label(63, 'a');
  message made;
  made.question();
  const std::size_t first = made.size();
  made.ip(label + '.' + label + '.' + label, one);  // 193 bytes
  const std::string pointer = '@' + std::to_string(first);
  EXPECT_EQ(message(made).ip(std::string(61, 'b') + pointer, one).parse().kind(),
            reply_kind::no_data);
  EXPECT_EQ(message(made).ip(std::string(62, 'b') + pointer, one).parse().kind(),
            reply_kind::malformed);
}

TEST(dns_reply, refuses_long_chains_of_pointers) {
  const auto kind_for = [](std::size_t pointer_count) {
    message made;
    made.question();
    bytes pointers;
    std::size_t target = question_begin;
    std::size_t at = made.size() + 11;  // behind the fixed part of the record that holds them
    for (std::size_t i = 1; i < pointer_count; ++i, target = at, at += 2) {
      pointers.push_back(static_cast<std::byte>(0xc0U | target >> 8));
      pointers.push_back(static_cast<std::byte>(target & 0xffU));
    }
    made.record("", 16, pointers).ip('@' + std::to_string(target), one);
    return made.parse().kind();
  };
  EXPECT_EQ(kind_for(50), reply_kind::addresses);
  EXPECT_EQ(kind_for(51), reply_kind::malformed);
  EXPECT_EQ(kind_for(8000), reply_kind::malformed);
}

TEST(dns_reply, refuses_lies_about_lengths) {
  EXPECT_EQ(message().question().record("@12", type_a, bytes(3)).parse().kind(),
            reply_kind::malformed);
  EXPECT_EQ(message().question().record("@12", type_a, bytes(5)).parse().kind(),
            reply_kind::malformed);
  EXPECT_EQ(message().question().record("@12", type_cname, {}).parse().kind(),
            reply_kind::malformed);
  bytes target = message::encoded("b.example");
  target.push_back(std::byte{0});
  EXPECT_EQ(message().question().record("@12", type_cname, target).parse().kind(),
            reply_kind::malformed);
  target.resize(target.size() - 2);  // the name now runs on into the next record
  EXPECT_EQ(message().question().record("@12", type_cname, target).ip("", one).parse().kind(),
            reply_kind::malformed);
  message beyond;
  beyond.question().raw({0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0xff, 0xff, 1, 2, 3, 4}, 6);
  EXPECT_EQ(beyond.parse().kind(), reply_kind::malformed);
}

TEST(dns_reply, refuses_lies_about_counts) {
  for (const std::size_t section : {6U, 8U, 10U}) {
    EXPECT_EQ(message().question().ip("@12", one).count(section).parse().kind(),
              reply_kind::malformed);
  }
}

TEST(dns_reply, ignores_bytes_behind_the_last_record) {
  EXPECT_EQ(message().question().ip("@12", one).raw({1, 2, 3}).parse().kind(),
            reply_kind::addresses);
}

TEST(dns_reply, cut_anywhere_is_not_believed) {
  const bytes whole = rich_reply().content();
  ASSERT_EQ(parse_reply(whole, ask()).addresses(), (std::vector<address>{one, two}));
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    ASSERT_EQ(parse_reply(cut, ask()).kind(), reply_kind::malformed) << size;
  }
}

TEST(dns_reply, with_any_bit_of_id_or_question_wrong_is_not_believed) {
  const bytes whole = message().question().ip("www.example.org", one).content();
  const std::size_t question_end = message().question().size();
  for (std::size_t bit = 0; bit < question_end * 8; ++bit) {
    const std::size_t at = bit / 8;
    if (at == 2 || at == 3 || (at >= 6 && at < question_begin)) continue;  // flags, other counts
    bytes flipped = whole;
    flipped[at] ^= std::byte{1} << (bit % 8);
    const char before = static_cast<char>(whole[at]);
    const bool only_case = at >= question_begin && before >= 'a' && before <= 'z' && bit % 8 == 5;
    const auto kind = parse_reply(flipped, ask()).kind();
    ASSERT_EQ(kind == reply_kind::addresses, only_case) << "byte " << at << " bit " << bit % 8;
  }
}

TEST(dns_reply, survives_random_damage) {
  const bytes whole = rich_reply().content();
  std::mt19937 random(4);
  for (int i = 0; i < 200000; ++i) {
    bytes damaged = whole;
    for (auto flips = random() % 4 + 1; flips > 0; --flips) {
      // Half of the time beyond the question, so that the damage is not noticed at once.
      const std::size_t begin = random() % 2 == 0 ? 0 : 33;
      const std::size_t at = begin + random() % (damaged.size() - begin);
      damaged[at] = static_cast<std::byte>(random() & 0xffU);
    }
    if (random() % 4 == 0) damaged.resize(random() % damaged.size());
    damaged.shrink_to_fit();
    const reply got = parse_reply(damaged, ask());
    ASSERT_EQ(got.addresses().empty(), got.kind() != reply_kind::addresses);
  }
}

TEST(dns_reply, survives_random_records) {
  std::mt19937 random(5);
  for (int i = 0; i < 100000; ++i) {
    message made;
    made.question();
    for (auto records = random() % 5; records > 0; --records) made.count(6);
    for (auto size = random() % 64; size > 0; --size) {
      constexpr int likely[] = {0, 1, 5, 4, 12, 28, 41, 0xc0};
      made.raw({random() % 2 == 0 ? likely[random() % 8] : static_cast<int>(random() & 0xffU)});
    }
    const reply got = made.parse();
    ASSERT_EQ(got.addresses().empty(), got.kind() != reply_kind::addresses);
  }
}

TEST(dns_reply, of_impossible_size_is_malformed) {
  EXPECT_EQ(parse_reply({}, ask()).kind(), reply_kind::malformed);
  EXPECT_EQ(parse_reply(bytes(message_size_max + 1), ask()).kind(), reply_kind::malformed);
}

TEST(resolve_error, has_a_category_and_texts_of_its_own) {
  const std::error_code code = resolve_error::name_not_found;
  EXPECT_STREQ(code.category().name(), "resolve");
  EXPECT_EQ(code.message(), "name not found");
  EXPECT_NE(code, std::error_code(resolve_error::no_answer));
  EXPECT_EQ(std::error_code(resolve_error::no_answer).message(), "no answer from any name server");
  EXPECT_EQ(resolve_category().message(99), "unknown resolve error 99");
}

}  // namespace
}  // namespace rill::dns
