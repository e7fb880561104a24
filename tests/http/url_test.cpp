// URLs, percent-encoding, forms and paths.
#include <rill/protocols/http/url.h>

#include <random>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

namespace rill::http {
namespace {

using namespace std::string_literals;

std::string path_of(std::string_view encoded) { return resolve_path(encoded).value_or("refused"); }

std::string parsed(std::string_view text) {
  const auto made = url::parse(text);
  if (!made) return "refused";
  return made->scheme + ' ' + made->user_information + ' ' + made->host + ' ' +
         std::to_string(made->port) + ' ' + made->target();
}

TEST(percent_encoding, is_undone_by_decoding) {
  std::string every;
  for (int c = 0; c < 256; ++c) every += static_cast<char>(c);
  EXPECT_EQ(percent_decode(percent_encode(every)), every);
  EXPECT_EQ(percent_encode("a-b.c_d~e f/\xc3\xa4"), "a-b.c_d~e%20f%2F%C3%A4");
  EXPECT_EQ(percent_encode("a/b c", "/"), "a/b%20c");
  EXPECT_EQ(percent_decode("%4a%4A"), "JJ");
}

TEST(percent_encoding, is_refused_when_malformed) {
  for (const std::string_view each : {"%", "%4", "a%", "%g0", "%0g", "%%41", "%-1"}) {
    EXPECT_EQ(percent_decode(each), std::nullopt) << each;
  }
}

TEST(form, is_read_and_written) {
  EXPECT_EQ(
      parse_form("a=1&b=x+y%26z&a=2&c&=d&&e=f=g"),
      (parameter_list{{"a", "1"}, {"b", "x y&z"}, {"a", "2"}, {"c", ""}, {"", "d"}, {"e", "f=g"}}));
  EXPECT_EQ(parse_form(""), parameter_list());
  EXPECT_EQ(parse_form("100%=5%zz"), (parameter_list{{"100%", "5%zz"}}));
  EXPECT_EQ(write_form({{"a b", "1&2=3"}, {"\xc3\xa4", "+"}}), "a+b=1%262%3D3&%C3%A4=%2B");
}

TEST(form, has_a_limit) {
  EXPECT_EQ(parse_form("a&b", 2)->size(), 2U);
  EXPECT_EQ(parse_form("a&b&c", 2), std::nullopt);
}

TEST(form, survives_a_round_trip_of_random_bytes) {
  std::mt19937 random(9);
  for (int i = 0; i < 1000; ++i) {
    parameter_list all(1 + random() % 4);
    for (auto& [name, value] : all) {
      name = "n";
      for (std::size_t n = random() % 8; n != 0; --n) name += static_cast<char>(random());
      for (std::size_t n = random() % 8; n != 0; --n) value += static_cast<char>(random());
    }
    EXPECT_EQ(parse_form(write_form(all)), all);
  }
}

TEST(path, is_resolved_to_what_the_file_system_would_see) {
  EXPECT_EQ(path_of("/"), "/");
  EXPECT_EQ(path_of("/a/b"), "/a/b");
  EXPECT_EQ(path_of("/a/%62/../c/"), "/a/c/");
  EXPECT_EQ(path_of("/a/./b/."), "/a/b/");
  EXPECT_EQ(path_of("/a//b"), "/a/b");
  EXPECT_EQ(path_of("/a/b/.."), "/a/");
  EXPECT_EQ(path_of("/%2e/a"), "/a");
  EXPECT_EQ(path_of("/a%20b%c3%a4"), "/a b\xc3\xa4");
  EXPECT_EQ(path_of("/..."), "/...");
  EXPECT_EQ(path_of("/.a"), "/.a");
}

TEST(path, is_refused_when_it_leaves_the_root_or_hides_a_separator) {
  for (const std::string_view each :
       {"", "a", "/..", "/../etc/passwd", "/a/../../b", "/%2e%2e/x", "/.%2e/x", "/a/%2e./../x",
        "/a%2fb", "/..%2fx", "/a%5cb", "/a\\..\\b", "/a%00b", "/%", "/%zz", "/%2e%2e%2fx"}) {
    EXPECT_EQ(path_of(each), "refused") << each;
  }
}

TEST(url, is_taken_apart) {
  EXPECT_EQ(parsed("http://example.org"), "http  example.org 80 /");
  EXPECT_EQ(parsed("HTTPS://Example.ORG:8443/a?b#c"), "https  example.org 8443 /a?b");
  EXPECT_EQ(parsed("https://user:secret@h"), "https user:secret h 443 /");
  EXPECT_EQ(parsed("http://[2001:DB8::1]:8080/x"), "http  2001:db8::1 8080 /x");
  EXPECT_EQ(parsed("http://h:/"), "http  h 80 /");
  EXPECT_EQ(parsed("http://h?q"), "http  h 80 /?q");
  EXPECT_EQ(parsed("http://h/?"), "http  h 80 /?");
  EXPECT_EQ(parsed("http://h/a b/\xc3\xa4?c d"), "http  h 80 /a%20b/%C3%A4?c%20d");
  EXPECT_EQ(parsed("http://h/a/../b/./c%2e"), "http  h 80 /b/c%2e");
  EXPECT_EQ(parsed("http://h/../../x"), "http  h 80 /x");
}

TEST(url, is_refused_when_it_is_none) {
  for (const std::string_view each :
       {"", "example.org", "/a", "ftp://h/", "http:/h", "http://", "http:///a", "http://h:x/",
        "http://h:99999/", "http://h:-1/", "http://a b/", "http://[::1", "http://[]/",
        "http://[::1]x/", "http://h\r\nX: y/", "http://h/\r\n", "http://\xc3\xa4/",
        "http://a%41/"}) {
    EXPECT_EQ(parsed(each), "refused") << each;
  }
  EXPECT_EQ(parsed("http://h/\0"s), "refused");
}

TEST(url, takes_nothing_but_an_ipv6_address_in_brackets) {
  EXPECT_EQ(parsed("http://[::ffff:1.2.3.4]/"), "http  ::ffff:1.2.3.4 80 /");
  for (const std::string_view each : {"http://[a]/", "http://[1.2.3.4]/", "http://[::%25lo]/"}) {
    EXPECT_EQ(parsed(each), "refused") << each;
  }
}

TEST(url, tells_what_a_request_needs_and_keeps_secrets) {
  const url made = url::parse("https://user:secret@[::1]:8443/p?q").value();
  EXPECT_EQ(made.authority(), "[::1]:8443");
  EXPECT_EQ(made.origin(), "https://[::1]:8443");
  EXPECT_EQ(made.target(), "/p?q");
  EXPECT_EQ(made.to_string(), "https://[::1]:8443/p?q");
  EXPECT_EQ(url::parse("http://h:80/")->authority(), "h");
  EXPECT_EQ(url::parse("http://h:443/")->authority(), "h:443");
}

TEST(url, resolves_references_as_rfc_3986_does) {
  const url base = url::parse("http://a/b/c/d;p?q").value();
  const auto resolved = [&](std::string_view reference) {
    const auto made = base.resolve(reference);
    return made ? made->to_string() : "refused";
  };
  // RFC 3986 section 5.4, without fragments, which never reach a server.
  EXPECT_EQ(resolved("g"), "http://a/b/c/g");
  EXPECT_EQ(resolved("./g"), "http://a/b/c/g");
  EXPECT_EQ(resolved("g/"), "http://a/b/c/g/");
  EXPECT_EQ(resolved("/g"), "http://a/g");
  EXPECT_EQ(resolved("//g"), "http://g/");
  EXPECT_EQ(resolved("?y"), "http://a/b/c/d;p?y");
  EXPECT_EQ(resolved("g?y"), "http://a/b/c/g?y");
  EXPECT_EQ(resolved("#s"), "http://a/b/c/d;p?q");
  EXPECT_EQ(resolved("g#s"), "http://a/b/c/g");
  EXPECT_EQ(resolved(";x"), "http://a/b/c/;x");
  EXPECT_EQ(resolved(""), "http://a/b/c/d;p?q");
  EXPECT_EQ(resolved("."), "http://a/b/c/");
  EXPECT_EQ(resolved(".."), "http://a/b/");
  EXPECT_EQ(resolved("../g"), "http://a/b/g");
  EXPECT_EQ(resolved("../.."), "http://a/");
  EXPECT_EQ(resolved("../../../g"), "http://a/g");
  EXPECT_EQ(resolved("/./g"), "http://a/g");
  EXPECT_EQ(resolved("g."), "http://a/b/c/g.");
  EXPECT_EQ(resolved("..g"), "http://a/b/c/..g");
  EXPECT_EQ(resolved("./../g"), "http://a/b/g");
  EXPECT_EQ(resolved("g;x=1/../y"), "http://a/b/c/y");
  EXPECT_EQ(resolved("g?y/../x"), "http://a/b/c/g?y/../x");
  EXPECT_EQ(resolved("https://h/x"), "https://h/x");
  EXPECT_EQ(resolved("mailto:a@b"), "refused");
  EXPECT_EQ(resolved("javascript:alert(1)"), "refused");
  EXPECT_EQ(resolved("g\r\nX: y"), "refused");
}

}  // namespace
}  // namespace rill::http
