// Writing and keeping cookies. See cookies.h.
#include <rill/protocols/http/cookies.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <stdexcept>

#include <rill/net/address.h>
#include <rill/protocols/http/head.h>
#include <rill/protocols/http/text.h>

namespace rill::http {
namespace {

using detail::has_control;
using detail::in_lower_case;
using detail::is_digit;
using detail::without_blanks;

constexpr std::string_view secure_prefix = "__Secure-";
constexpr std::string_view host_prefix = "__Host-";
constexpr std::chrono::days life_max(400);

bool begins_with(std::string_view text, std::string_view prefix) noexcept {
  return equals_without_case(text.substr(0, prefix.size()), prefix);
}

/// cookie-octet of RFC 6265 section 4.1.1.
bool is_value_character(char c) noexcept {
  return c > ' ' && c < '\x7f' && c != '"' && c != ',' && c != ';' && c != '\\';
}

/// RFC 6265 section 5.1.3; both in lower case.
bool is_below(std::string_view host, std::string_view domain) {
  return host.size() > domain.size() && host.ends_with(domain) &&
         host[host.size() - domain.size() - 1] == '.' && !address::parse(host);
}

/// RFC 6265 section 5.1.4.
bool is_path_for(std::string_view path, std::string_view of_cookie) noexcept {
  return path.starts_with(of_cookie) && (path.size() == of_cookie.size() ||
                                         of_cookie.ends_with('/') || path[of_cookie.size()] == '/');
}
std::string default_path(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return slash == 0 || slash == path.npos ? "/" : std::string(path.substr(0, slash));
}

/// Digits, at most `count_max` of them, and what follows them is no digit.
std::optional<int> take_number(std::string_view& text, std::size_t count_max) noexcept {
  std::size_t count = 0;
  while (count < text.size() && is_digit(text[count])) ++count;
  if (count == 0 || count > count_max) return std::nullopt;
  int number = 0;
  std::from_chars(text.data(), text.data() + count, number);
  text.remove_prefix(count);
  return number;
}

struct date_parts {
  int hour = -1;
  int minute = 0;
  int second = 0;
  int day = -1;
  int month = -1;
  int year = -1;
};

bool read_time(std::string_view token, date_parts& to) noexcept {
  const auto hour = take_number(token, 2);
  if (!hour || !token.starts_with(':')) return false;
  token.remove_prefix(1);
  const auto minute = take_number(token, 2);
  if (!minute || !token.starts_with(':')) return false;
  token.remove_prefix(1);
  const auto second = take_number(token, 2);
  if (!second) return false;
  to.hour = *hour;
  to.minute = *minute;
  to.second = *second;
  return true;
}

int month_of(std::string_view token) noexcept {
  constexpr std::array<std::string_view, 12> months{"jan", "feb", "mar", "apr", "may", "jun",
                                                    "jul", "aug", "sep", "oct", "nov", "dec"};
  for (std::size_t i = 0; i < months.size(); ++i) {
    if (begins_with(token, months[i])) return static_cast<int>(i) + 1;
  }
  return -1;
}

/// Each kind of token counts once, the first time (RFC 6265 section 5.1.1).
void read_date_token(std::string_view token, date_parts& to) noexcept {
  constexpr int century = 100;
  if (to.hour < 0 && read_time(token, to)) return;
  std::string_view rest = token;
  if (to.day < 0) {
    if (const auto day = take_number(rest, 2)) {
      to.day = *day;
      return;
    }
  }
  if (to.month < 0) {
    to.month = month_of(token);
    if (to.month > 0) return;
  }
  if (to.year >= 0) return;
  rest = token;
  const auto year = take_number(rest, 4);
  if (!year || token.size() - rest.size() < 2) return;
  to.year = *year;
  if (*year < century) to.year += *year < 70 ? 2000 : 1900;
}

}  // namespace

std::optional<http_time> detail::parse_cookie_date(std::string_view text) noexcept {
  const auto is_part = [](char c) {
    return is_digit(c) || is_letter(c) || c == ':' || static_cast<unsigned char>(c) >= 0x7f;
  };
  date_parts parts;
  while (!text.empty()) {
    const auto* const begin = std::find_if(text.begin(), text.end(), is_part);
    const auto* const end = std::find_if_not(begin, text.end(), is_part);
    read_date_token(std::string_view(begin, end), parts);
    text = std::string_view(end, text.end());
  }
  constexpr int year_min = 1601;
  if (parts.hour < 0 || parts.day < 0 || parts.month < 0 || parts.year < year_min) return {};
  if (parts.hour > 23 || parts.minute > 59 || parts.second > 59) return {};
  const std::chrono::year_month_day date(std::chrono::year(parts.year),
                                         std::chrono::month(static_cast<unsigned>(parts.month)),
                                         std::chrono::day(static_cast<unsigned>(parts.day)));
  if (!date.ok()) return {};
  return std::chrono::sys_days(date) + std::chrono::hours(parts.hour) +
         std::chrono::minutes(parts.minute) + std::chrono::seconds(parts.second);
}

// ---------------------------------------------------------------- Set-Cookie

set_cookie::set_cookie(std::string_view name, std::string_view value) : name_(name), value_(value) {
  if (!detail::is_token(name)) {
    throw std::invalid_argument("the name of a cookie is not a token");
  }
  if (!std::all_of(value.begin(), value.end(), is_value_character)) {
    throw std::invalid_argument("the cookie " + name_ + " has a character that must be encoded");
  }
}

set_cookie& set_cookie::path(std::string_view path) {
  if (!path.starts_with('/') || has_control(path) || path.find(';') != path.npos) {
    throw std::invalid_argument("the path of the cookie " + name_ + " is none");
  }
  path_ = path;
  return *this;
}

set_cookie& set_cookie::domain(std::string_view domain) {
  const bool is_name = std::all_of(domain.begin(), domain.end(), [](char c) {
    return detail::is_letter(c) || is_digit(c) || c == '-' || c == '.';
  });
  if (domain.empty() || !is_name) {
    throw std::invalid_argument("the domain of the cookie " + name_ + " is none");
  }
  domain_ = domain;
  return *this;
}

set_cookie& set_cookie::max_age(std::chrono::seconds age) {
  max_age_ = age;
  return *this;
}
set_cookie& set_cookie::expires(http_time time) {
  expires_ = time;
  return *this;
}
set_cookie& set_cookie::secure() noexcept {
  is_secure_ = true;
  return *this;
}
set_cookie& set_cookie::http_only() noexcept {
  is_http_only_ = true;
  return *this;
}
set_cookie& set_cookie::same_site(http::same_site rule) noexcept {
  same_site_ = rule;
  return *this;
}

std::string set_cookie::to_string() const {
  const bool is_host = begins_with(name_, host_prefix);
  if ((is_host || begins_with(name_, secure_prefix) || same_site_ == http::same_site::none) &&
      !is_secure_) {
    throw std::logic_error("the cookie " + name_ + " must be secure");
  }
  if (is_host && (path_ != "/" || !domain_.empty())) {
    throw std::logic_error("the cookie " + name_ + " must have the path / and no domain");
  }
  std::string text = name_ + '=' + value_;
  if (!path_.empty()) text += "; Path=" + path_;
  if (!domain_.empty()) text += "; Domain=" + domain_;
  if (max_age_) text += "; Max-Age=" + std::to_string(max_age_->count());
  if (expires_) text.append("; Expires=").append(date_text(*expires_));
  if (is_secure_) text += "; Secure";
  if (is_http_only_) text += "; HttpOnly";
  if (same_site_ == http::same_site::lax) text += "; SameSite=Lax";
  if (same_site_ == http::same_site::strict) text += "; SameSite=Strict";
  if (same_site_ == http::same_site::none) text += "; SameSite=None";
  return text;
}

// ---------------------------------------------------------------- the jar

void cookie_jar::read_attribute(std::string_view attribute, http_time now, cookie& made,
                                bool& has_max_age) {
  const std::size_t equals = std::min(attribute.find('='), attribute.size());
  const std::string_view name = without_blanks(attribute.substr(0, equals));
  attribute.remove_prefix(std::min(equals + 1, attribute.size()));
  const std::string_view value = without_blanks(attribute);
  if (equals_without_case(name, "Secure")) made.is_secure = true;
  if (equals_without_case(name, "Path")) made.path = value;
  if (equals_without_case(name, "Domain")) {
    made.domain = in_lower_case(value.starts_with('.') ? value.substr(1) : value);
  }
  if (equals_without_case(name, "Expires") && !has_max_age) {
    if (const auto time = detail::parse_cookie_date(value)) made.expires = *time;
  }
  if (equals_without_case(name, "Max-Age")) {
    const std::string_view digits = value.starts_with('-') ? value.substr(1) : value;
    if (value.empty() || !std::all_of(digits.begin(), digits.end(), is_digit)) return;
    std::int64_t seconds = 0;
    const auto read = std::from_chars(value.data(), value.data() + value.size(), seconds);
    // Too many digits are very many seconds, past or to come.
    if (read.ec != std::errc()) seconds = value.starts_with('-') ? 0 : INT64_MAX;
    const std::int64_t most = std::chrono::seconds(life_max).count();
    has_max_age = true;
    made.expires =
        seconds <= 0 ? http_time::min() : now + std::chrono::seconds(std::min(seconds, most));
  }
}

/// RFC 6265 section 5.2 and 5.3.
bool cookie_jar::read(const url& where, std::string_view field, http_time now, cookie& made) const {
  if (has_control(field)) return false;
  const std::size_t end = std::min(field.find(';'), field.size());
  const std::string_view pair = field.substr(0, end);
  const std::size_t equals = pair.find('=');
  if (equals == pair.npos) return false;
  made.name = without_blanks(pair.substr(0, equals));
  made.value = without_blanks(pair.substr(equals + 1));
  if (made.name.empty()) return false;
  bool has_max_age = false;
  for (field.remove_prefix(end); !field.empty();) {
    field.remove_prefix(1);
    const std::size_t size = std::min(field.find(';'), field.size());
    read_attribute(field.substr(0, size), now, made, has_max_age);
    field.remove_prefix(size);
  }
  if (made.expires != http_time::max()) made.expires = std::min(made.expires, now + life_max);

  const bool named_path = made.path.starts_with('/');
  const bool named_domain = !made.domain.empty();
  if (!named_path) made.path = default_path(where.path);
  made.is_host_only = !named_domain || made.domain.find('.') == made.domain.npos;
  if (!named_domain) made.domain = where.host;
  if (made.domain != where.host && (made.is_host_only || !is_below(where.host, made.domain))) {
    return false;
  }
  const bool is_https = where.scheme == "https";
  if (made.is_secure && !is_https) return false;
  const bool is_host = begins_with(made.name, host_prefix);
  if ((is_host || begins_with(made.name, secure_prefix)) && !made.is_secure) return false;
  if (is_host && (named_domain || !named_path || made.path != "/")) return false;
  return made.name.size() + made.value.size() + made.path.size() <= limits_.size_max;
}

bool cookie_jar::store(const url& where, std::string_view field, http_time now) {
  cookie made;
  if (!read(where, field, now, made)) return false;
  made.created = made.used = ++turn_;
  const auto known = std::find_if(cookies_.begin(), cookies_.end(), [&](const cookie& each) {
    return each.name == made.name && each.domain == made.domain && each.path == made.path;
  });
  if (known != cookies_.end()) {
    if (known->is_secure && where.scheme != "https") return false;
    made.created = known->created;
    cookies_.erase(known);
  }
  if (made.expires <= now) return true;
  const std::string domain = made.domain;
  cookies_.push_back(std::move(made));
  forget(domain, now);
  return true;
}

std::string cookie_jar::cookies_for(const url& where, http_time now) {
  std::vector<cookie*> fitting;
  for (cookie& each : cookies_) {
    const bool is_host = each.domain == where.host;
    if (!is_host && (each.is_host_only || !is_below(where.host, each.domain))) continue;
    if (each.expires <= now || (each.is_secure && where.scheme != "https")) continue;
    if (is_path_for(where.path, each.path)) fitting.push_back(&each);
  }
  // RFC 6265 section 5.4: the longest path first, then the oldest.
  std::sort(fitting.begin(), fitting.end(), [](const cookie* left, const cookie* right) {
    if (left->path.size() != right->path.size()) return left->path.size() > right->path.size();
    return left->created < right->created;
  });
  std::string text;
  ++turn_;
  for (cookie* const each : fitting) {
    each->used = turn_;
    if (!text.empty()) text += "; ";
    text += each->name + '=' + each->value;
  }
  return text;
}

void cookie_jar::forget(std::string_view domain, http_time now) {
  std::erase_if(cookies_, [&](const cookie& each) { return each.expires <= now; });
  const auto count = std::count_if(cookies_.begin(), cookies_.end(),
                                   [&](const cookie& each) { return each.domain == domain; });
  if (static_cast<std::size_t>(count) > limits_.host_count_max) forget_least_used(domain);
  if (cookies_.size() > limits_.count_max) forget_least_used({});
}

/// Of a domain, or of all.
void cookie_jar::forget_least_used(std::string_view domain) {
  auto least = cookies_.end();
  for (auto each = cookies_.begin(); each != cookies_.end(); ++each) {
    if (!domain.empty() && each->domain != domain) continue;
    if (least == cookies_.end() || each->used < least->used) least = each;
  }
  if (least != cookies_.end()) cookies_.erase(least);
}

}  // namespace rill::http
