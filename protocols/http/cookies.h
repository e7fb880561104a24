// Cookies (RFC 6265): a server's Set-Cookie, and a client's jar.
//   made.add("Set-Cookie", http::set_cookie("id", text).path("/").secure().to_string());
//   jar.store(where, field, now);   jar.cookies_for(where, now)
// Not here: reading a request's Cookie (values.h, find_cookie).
// Read next: cookies.cpp.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rill/protocols/http/date.h>
#include <rill/protocols/http/url.h>

namespace rill::http {

enum class same_site : std::uint8_t { unset, lax, strict, none };

/// Writes a Set-Cookie field. Everything throws std::invalid_argument for what a cookie cannot
/// hold.
class set_cookie {
 public:
  /// A name is a token; a value visible ASCII without quotation mark, comma, semicolon and
  /// backslash (RFC 6265 section 4.1.1): encode the others, by percent_encode for instance.
  set_cookie(std::string_view name, std::string_view value);
  /// Takes the cookie away from the client. Path and domain must be those it was set with.
  static set_cookie removed(std::string_view name) {
    return set_cookie(name, {}).max_age(std::chrono::seconds(0));
  }

  set_cookie& path(std::string_view path);
  /// For this domain and those below it; without it for the very host alone.
  set_cookie& domain(std::string_view domain);
  /// Without it and expires() until the client's session ends.
  set_cookie& max_age(std::chrono::seconds age);
  set_cookie& expires(http_time time);
  set_cookie& secure() noexcept;
  set_cookie& http_only() noexcept;
  set_cookie& same_site(http::same_site rule) noexcept;

  /// "id=7; Path=/; Secure". Throws std::logic_error where a client would refuse it: a name that
  /// begins with __Secure- without Secure, one with __Host- without Secure and Path=/ or with a
  /// domain, and SameSite=None without Secure.
  std::string to_string() const;

 private:
  std::string name_;
  std::string value_;
  std::string path_;
  std::string domain_;
  std::optional<std::chrono::seconds> max_age_;
  std::optional<http_time> expires_;
  http::same_site same_site_ = http::same_site::unset;
  bool is_secure_ = false;
  bool is_http_only_ = false;
};

/// How much a jar keeps.
struct cookie_jar_limits {
  /// RFC 6265 section 6.1 wants 3,000, 50 of each host, and 4,096 bytes of each at least.
  std::size_t count_max = 3000;
  std::size_t host_count_max = 180;
  /// Bytes of one: name, value and path.
  std::size_t size_max = 4096;
};

/// Keeps what servers set and says what they get back (RFC 6265 section 5). Beyond its limits it
/// forgets those that were not used for longest.
/// Of RFC 6265bis it has the prefixes __Host- and __Secure-, that only https sets and replaces
/// secure cookies, and 400 days as the longest life.
/// There is no list of public suffixes here: a domain of one label such as "com" is refused,
/// "co.uk" is not. A jar that several people's requests share needs a list.
class cookie_jar {
 public:
  explicit cookie_jar(const cookie_jar_limits& limits = cookie_jar_limits()) noexcept
      : limits_(limits) {}

  /// Takes one Set-Cookie field of an answer from `where`. False: it is refused or malformed.
  bool store(const url& where, std::string_view field, http_time now);
  /// The field Cookie of a request to `where`: "a=1; b=2"; empty if there is none for it.
  std::string cookies_for(const url& where, http_time now);

  std::size_t size() const noexcept { return cookies_.size(); }
  void clear() noexcept { cookies_.clear(); }

 private:
  struct cookie {
    std::string name;
    std::string value;
    std::string domain;
    std::string path;
    http_time expires = http_time::max();
    std::uint64_t created = 0;  // in the order of store()
    std::uint64_t used = 0;
    bool is_host_only = true;
    bool is_secure = false;
  };

  bool read(const url& where, std::string_view field, http_time now, cookie& made) const;
  static void read_attribute(std::string_view attribute, http_time now, cookie& made,
                             bool& has_max_age);
  void forget(std::string_view domain, http_time now);
  void forget_least_used(std::string_view domain);

  cookie_jar_limits limits_;
  std::vector<cookie> cookies_;
  std::uint64_t turn_ = 0;
};

namespace detail {
/// A date as cookies have them: whatever browsers read (RFC 6265 section 5.1.1).
std::optional<http_time> parse_cookie_date(std::string_view text) noexcept;
}  // namespace detail

}  // namespace rill::http
