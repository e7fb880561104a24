// Writing and reading of dates, without locale. See date.h.
#include <rill/protocols/http/date.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <iterator>

namespace rill::http {
namespace {

constexpr std::string_view days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
constexpr std::string_view long_days[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                          "Thursday", "Friday", "Saturday"};
constexpr std::string_view months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

char* put(char* to, std::string_view text) noexcept {
  std::memcpy(to, text.data(), text.size());
  return to + text.size();
}

char* put(char* to, unsigned number, unsigned digit_count) noexcept {
  for (unsigned i = digit_count; i != 0; --i) {
    to[i - 1] = static_cast<char>('0' + number % 10);
    number /= 10;
  }
  return to + digit_count;
}

/// What is left of a text that is being read; once something is wrong it stays so.
class cursor {
 public:
  explicit cursor(std::string_view text) noexcept : rest_(text) {}

  void skip(std::string_view expected) noexcept {
    if (rest_.starts_with(expected)) {
      rest_.remove_prefix(expected.size());
    } else {
      good_ = false;
    }
  }
  unsigned number(unsigned digit_count) noexcept {
    unsigned value = 0;
    for (unsigned i = 0; i != digit_count; ++i) {
      const char c = rest_.empty() ? '\0' : rest_.front();
      if (c < '0' || c > '9') {
        good_ = false;
        return 0;
      }
      value = value * 10 + static_cast<unsigned>(c - '0');
      rest_.remove_prefix(1);
    }
    return value;
  }
  template <std::size_t Size>
  unsigned one_of(const std::string_view (&names)[Size]) noexcept {
    for (unsigned i = 0; i != Size; ++i) {
      if (rest_.starts_with(names[i])) {
        rest_.remove_prefix(names[i].size());
        return i;
      }
    }
    good_ = false;
    return 0;
  }
  bool next_is(char c) const noexcept { return rest_.starts_with(c); }
  bool is_done() const noexcept { return good_ && rest_.empty(); }

 private:
  std::string_view rest_;
  bool good_ = true;
};

struct parts {
  int year = 0;
  unsigned month = 0;  // from 0
  unsigned day = 0;
  unsigned hour = 0;
  unsigned minute = 0;
  unsigned second = 0;

  void read_time(cursor& in) noexcept {
    hour = in.number(2);
    in.skip(":");
    minute = in.number(2);
    in.skip(":");
    second = in.number(2);
  }
  std::optional<http_time> time() const noexcept {
    const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(month + 1),
                                           std::chrono::day(day)};
    // A leap second is read as the second after it.
    if (!date.ok() || hour > 23 || minute > 59 || second > 60) return std::nullopt;
    return std::chrono::sys_days(date) + std::chrono::hours(hour) + std::chrono::minutes(minute) +
           std::chrono::seconds(second);
  }
};

/// "Sun, 06 Nov 1994 08:49:37 GMT"
bool read_fixed(cursor in, parts& to) noexcept {
  in.one_of(days);
  in.skip(", ");
  to.day = in.number(2);
  in.skip(" ");
  to.month = in.one_of(months);
  in.skip(" ");
  to.year = static_cast<int>(in.number(4));
  in.skip(" ");
  to.read_time(in);
  in.skip(" GMT");
  return in.is_done();
}

/// "Sunday, 06-Nov-94 08:49:37 GMT" (RFC 850)
bool read_obsolete(cursor in, parts& to) noexcept {
  in.one_of(long_days);
  in.skip(", ");
  to.day = in.number(2);
  in.skip("-");
  to.month = in.one_of(months);
  in.skip("-");
  to.year = static_cast<int>(in.number(2));
  in.skip(" ");
  to.read_time(in);
  in.skip(" GMT");
  return in.is_done();
}

/// "Sun Nov  6 08:49:37 1994", as asctime() of C writes it
bool read_asctime(cursor in, parts& to) noexcept {
  in.one_of(days);
  in.skip(" ");
  to.month = in.one_of(months);
  in.skip(" ");
  if (in.next_is(' ')) {
    in.skip(" ");
    to.day = in.number(1);
  } else {
    to.day = in.number(2);
  }
  in.skip(" ");
  to.read_time(in);
  in.skip(" ");
  to.year = static_cast<int>(in.number(4));
  return in.is_done();
}

}  // namespace

date_text::date_text(http_time time) noexcept {
  using std::chrono::sys_days;
  using std::chrono::year;
  constexpr http_time first = sys_days(year(0) / 1 / 1);
  constexpr http_time last = sys_days(year(10000) / 1 / 1) - std::chrono::seconds(1);
  time = std::clamp(time, first, last);
  const sys_days day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(time - day);
  char* to = put(text_, days[std::chrono::weekday(day).c_encoding()]);
  to = put(put(to, ", "), static_cast<unsigned>(date.day()), 2);
  to = put(put(to, " "), months[static_cast<unsigned>(date.month()) - 1]);
  to = put(put(to, " "), static_cast<unsigned>(static_cast<int>(date.year())), 4);
  to = put(put(to, " "), static_cast<unsigned>(clock.hours().count()), 2);
  to = put(put(to, ":"), static_cast<unsigned>(clock.minutes().count()), 2);
  to = put(put(to, ":"), static_cast<unsigned>(clock.seconds().count()), 2);
  put(to, " GMT");
}

std::optional<http_time> parse_date(std::string_view text, http_time now) noexcept {
  parts read;
  if (read_fixed(cursor(text), read) || read_asctime(cursor(text), read)) return read.time();
  if (!read_obsolete(cursor(text), read)) return std::nullopt;
  // RFC 9110 section 5.6.7: more than 50 years ahead is meant to be past.
  const std::chrono::year_month_day today(std::chrono::floor<std::chrono::days>(now));
  const int this_year = static_cast<int>(today.year());
  read.year += this_year - this_year % 100;
  if (read.year > this_year + 50) read.year -= 100;
  return read.time();
}

}  // namespace rill::http
