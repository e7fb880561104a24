// Set-Cookie as it is written, and the jar: what it takes, what it gives back, to whom.
#include <rill/protocols/http/cookies.h>

#include <chrono>
#include <stdexcept>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

namespace rill::http {
namespace {

using namespace std::chrono_literals;

const http_time now = http_time(1'700'000'000s);

url at(std::string_view text) { return url::parse(text).value(); }

TEST(set_cookie, attributes_follow_name_and_value) {
  EXPECT_EQ(set_cookie("id", "7").to_string(), "id=7");
  EXPECT_EQ(set_cookie("id", "")
                .path("/a")
                .domain("example.org")
                .max_age(60s)
                .expires(http_time(784111777s))
                .secure()
                .http_only()
                .same_site(same_site::strict)
                .to_string(),
            "id=; Path=/a; Domain=example.org; Max-Age=60; Expires=Sun, 06 Nov 1994 08:49:37 GMT; "
            "Secure; HttpOnly; SameSite=Strict");
  EXPECT_EQ(set_cookie("id", "7").same_site(same_site::lax).to_string(), "id=7; SameSite=Lax");
  EXPECT_EQ(set_cookie::removed("id").to_string(), "id=; Max-Age=0");
}

TEST(set_cookie, what_a_cookie_cannot_hold_is_refused) {
  for (const char* const name : {"", "a b", "a=b", "a;b", "\"a\"", "\xc3\xa4", "a\r\nb"}) {
    EXPECT_THROW(set_cookie(name, ""), std::invalid_argument) << name;
  }
  for (const char* const value : {"a b", "a;b", "a,b", "\"", "\\", "\xc3\xa4", "a\nb", "\x7f"}) {
    EXPECT_THROW(set_cookie("a", value), std::invalid_argument) << value;
  }
  set_cookie made("a", "b");
  EXPECT_THROW(made.path("a"), std::invalid_argument);
  EXPECT_THROW(made.path("/a; Domain=b"), std::invalid_argument);
  EXPECT_THROW(made.path("/a\r\nb"), std::invalid_argument);
  EXPECT_THROW(made.domain(""), std::invalid_argument);
  EXPECT_THROW(made.domain("a;b"), std::invalid_argument);
  EXPECT_EQ(made.to_string(), "a=b");
}

TEST(set_cookie, prefixes_promise_what_they_say) {
  EXPECT_THROW(set_cookie("__Secure-a", "").to_string(), std::logic_error);
  EXPECT_EQ(set_cookie("__Secure-a", "").secure().to_string(), "__Secure-a=; Secure");
  EXPECT_THROW(set_cookie("__Host-a", "").secure().to_string(), std::logic_error);
  EXPECT_THROW(set_cookie("__host-a", "").path("/").to_string(), std::logic_error);
  EXPECT_THROW(set_cookie("__Host-a", "").secure().path("/").domain("a.b").to_string(),
               std::logic_error);
  EXPECT_EQ(set_cookie("__Host-a", "").secure().path("/").to_string(), "__Host-a=; Path=/; Secure");
  EXPECT_THROW(set_cookie("a", "").same_site(same_site::none).to_string(), std::logic_error);
}

/// What comes back to `to` when `from` has set a cookie.
std::string kept(std::string_view from, std::string_view field, std::string_view to,
                 std::chrono::seconds later = 0s) {
  cookie_jar jar;
  jar.store(at(from), field, now);
  return jar.cookies_for(at(to), now + later);
}

TEST(cookie_jar, a_cookie_goes_back_to_its_host_alone_unless_it_names_a_domain) {
  const std::string_view from = "http://www.example.org/";
  EXPECT_EQ(kept(from, "a=b", "http://www.example.org:8080/x"), "a=b");
  EXPECT_EQ(kept(from, "a=b", "http://example.org/"), "");
  EXPECT_EQ(kept(from, "a=b", "http://x.www.example.org/"), "");
  for (const std::string_view domain : {"example.org", ".example.org", "EXAMPLE.org"}) {
    const std::string field = "a=b; Domain=" + std::string(domain);
    EXPECT_EQ(kept(from, field, "http://example.org/"), "a=b");
    EXPECT_EQ(kept(from, field, "http://x.example.org/"), "a=b");
    EXPECT_EQ(kept(from, field, "http://xexample.org/"), "");
    EXPECT_EQ(kept(from, field, "http://other.org/"), "");
  }
}

TEST(cookie_jar, a_domain_that_is_not_the_hosts_own_is_refused) {
  cookie_jar jar;
  for (const std::string_view domain :
       {"other.org", "x.www.example.org", "org", "ww.example.org", "xample.org"}) {
    EXPECT_FALSE(
        jar.store(at("http://www.example.org/"), "a=b; Domain=" + std::string(domain), now))
        << domain;
  }
  EXPECT_FALSE(jar.store(at("http://1.2.3.4/"), "a=b; Domain=3.4", now));
  EXPECT_EQ(jar.size(), 0U);
  EXPECT_EQ(kept("http://1.2.3.4/", "a=b; Domain=1.2.3.4", "http://1.2.3.4/"), "a=b");
  EXPECT_EQ(kept("http://[::1]/", "a=b", "http://[::1]/"), "a=b");
  // A host of one label may name itself, for itself alone.
  EXPECT_EQ(kept("http://localhost/", "a=b; Domain=localhost", "http://localhost/"), "a=b");
  EXPECT_EQ(kept("http://localhost/", "a=b; Domain=localhost", "http://x.localhost/"), "");
}

TEST(cookie_jar, a_path_holds_for_what_lies_below_it) {
  const std::string_view from = "http://a.b/x/y";
  EXPECT_EQ(kept(from, "a=b", "http://a.b/x"), "a=b");
  EXPECT_EQ(kept(from, "a=b", "http://a.b/x/z/z"), "a=b");
  EXPECT_EQ(kept(from, "a=b", "http://a.b/xx"), "");
  EXPECT_EQ(kept(from, "a=b", "http://a.b/"), "");
  EXPECT_EQ(kept(from, "a=b; Path=/", "http://a.b/"), "a=b");
  EXPECT_EQ(kept(from, "a=b; Path=/z/", "http://a.b/z/1"), "a=b");
  EXPECT_EQ(kept(from, "a=b; Path=/z/", "http://a.b/z"), "");
  EXPECT_EQ(kept(from, "a=b; Path=z", "http://a.b/x"), "a=b");
  EXPECT_EQ(kept("http://a.b", "a=b", "http://a.b/q"), "a=b");
}

TEST(cookie_jar, cookies_end_with_their_time) {
  const std::string_view where = "http://a.b/";
  EXPECT_EQ(kept(where, "a=b", where, 86'400s * 10'000), "a=b");
  EXPECT_EQ(kept(where, "a=b; Max-Age=10", where, 9s), "a=b");
  EXPECT_EQ(kept(where, "a=b; Max-Age=10", where, 10s), "");
  EXPECT_EQ(kept(where, "a=b; Max-Age=0", where), "");
  EXPECT_EQ(kept(where, "a=b; Max-Age=-1", where), "");
  EXPECT_EQ(kept(where, "a=b; Max-Age=-99999999999999999999", where), "");
  EXPECT_EQ(kept(where, "a=b; Max-Age=x", where, 1000s), "a=b");
  EXPECT_EQ(kept(where, "a=b; Max-Age=99999999999999999999", where, 86'400s * 399), "a=b");
  EXPECT_EQ(kept(where, "a=b; Max-Age=99999999999999999999", where, 86'400s * 400), "");
  const std::string soon = "; Expires=Tue, 14-Nov-2023 22:13:30 GMT";  // in 10 s
  EXPECT_EQ(kept(where, "a=b" + soon, where, 9s), "a=b");
  EXPECT_EQ(kept(where, "a=b" + soon, where, 10s), "");
  EXPECT_EQ(kept(where, "a=b; Max-Age=100" + soon, where, 50s), "a=b");
  EXPECT_EQ(kept(where, "a=b" + soon + "; Max-Age=100", where, 50s), "a=b");
  EXPECT_EQ(kept(where, "a=b; Expires=Fri, 31 Dec 9999 23:59:59 GMT", where, 86'400s * 400), "");
  EXPECT_EQ(kept(where, "a=b; Expires=never", where), "a=b");
}

TEST(cookie_jar, a_cookie_replaces_and_removes_its_like) {
  cookie_jar jar;
  const url where = at("http://a.b/x/");
  jar.store(where, "a=1", now);
  jar.store(where, "b=2", now);
  jar.store(where, "c=3; Path=/", now);
  jar.store(where, "d=4; Path=/x/y", now);
  EXPECT_EQ(jar.cookies_for(at("http://a.b/x/y"), now), "d=4; a=1; b=2; c=3");
  jar.store(where, "a=5", now);
  EXPECT_EQ(jar.cookies_for(where, now), "a=5; b=2; c=3");
  jar.store(where, "a=; Max-Age=0", now);
  EXPECT_EQ(jar.cookies_for(where, now), "b=2; c=3");
  EXPECT_EQ(jar.size(), 3U);
}

TEST(cookie_jar, secure_cookies_are_for_https) {
  const std::string_view plain = "http://a.b/";
  const std::string_view tls = "https://a.b/";
  EXPECT_EQ(kept(tls, "a=b; secure", tls), "a=b");
  EXPECT_EQ(kept(tls, "a=b; Secure", plain), "");
  EXPECT_EQ(kept(plain, "a=b; Secure", tls), "");
  EXPECT_EQ(kept(tls, "__Secure-a=b", tls), "");
  EXPECT_EQ(kept(tls, "__Host-a=b; Secure; Path=/", tls), "__Host-a=b");
  EXPECT_EQ(kept(tls, "__Host-a=b; Secure", tls), "");
  EXPECT_EQ(kept(tls, "__Host-a=b; Secure; Path=/; Domain=a.b", tls), "");
  cookie_jar jar;
  jar.store(at(tls), "a=secret; Secure", now);
  EXPECT_FALSE(jar.store(at(plain), "a=forged", now));
  EXPECT_EQ(jar.cookies_for(at(tls), now), "a=secret");
}

TEST(cookie_jar, what_is_malformed_is_refused_and_what_is_strange_is_kept) {
  const std::string_view where = "http://a.b/";
  for (const std::string& field :
       {std::string(), std::string("a"), std::string("=b"), std::string(" =b"), std::string(";a=b"),
        std::string("a=b\r\nc=d"), std::string("a=\0b", 4), "a=" + std::string(5000, 'x')}) {
    EXPECT_EQ(kept(where, field, where), "") << field;
  }
  EXPECT_EQ(kept(where, " a = b = c ;;;=;Path;Domain=;x=y", where), "a=b = c");
  EXPECT_EQ(kept(where, "a=\"b\"", where), "a=\"b\"");
  EXPECT_EQ(kept(where, "a=", where), "a=");
}

TEST(cookie_jar, beyond_its_limits_it_forgets_what_was_used_least) {
  cookie_jar jar(cookie_jar_limits{4, 2, 100});
  const url one = at("http://one.org/");
  const url two = at("http://two.org/");
  jar.store(one, "a=1", now);
  jar.store(at("http://one.org/only/b"), "b=1", now);
  jar.cookies_for(one, now);  // a is used
  jar.store(one, "c=1", now);
  EXPECT_EQ(jar.cookies_for(at("http://one.org/only/"), now), "a=1; c=1");
  jar.store(two, "a=2", now);
  jar.store(two, "b=2", now);
  jar.store(at("http://three.org/"), "a=3", now);
  EXPECT_EQ(jar.size(), 4U);
  EXPECT_EQ(jar.cookies_for(two, now), "a=2; b=2");
  cookie_jar short_lived(cookie_jar_limits{2, 2, 100});
  short_lived.store(one, "a=1; Max-Age=5", now);
  short_lived.store(one, "b=1", now);
  short_lived.store(one, "c=1", now + 5s);
  EXPECT_EQ(short_lived.cookies_for(one, now), "b=1; c=1");
}

TEST(cookie_jar, dates_are_read_as_browsers_read_them) {
  const auto read = [](std::string_view text) {
    const auto time = detail::parse_cookie_date(text);
    return time ? time->time_since_epoch().count() : -1;
  };
  for (const std::string_view text :
       {"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994", "6 november 1994 8:49:37", "1994 6 nov 08:49:37",
        "Sun, 06-Nov-1994 08:49:37 UTC"}) {
    EXPECT_EQ(read(text), 784111777) << text;
  }
  EXPECT_EQ(read("Thu, 01 Jan 1970 00:00:00 GMT"), 0);
  EXPECT_EQ(read("1 Jan 69 00:00:00"), 3124224000);
  for (const std::string_view text :
       {"", "never", "06 Nov 1994", "08:49:37", "06 Nov 1994 24:00:00", "31 Feb 2000 00:00:00",
        "06 Nov 1600 08:49:37", "32 Nov 1994 08:49:37", "06 Nov 1994 08:60:37",
        "06 Nov 1994 08:49"}) {
    EXPECT_EQ(read(text), -1) << text;
  }
}

}  // namespace
}  // namespace rill::http
