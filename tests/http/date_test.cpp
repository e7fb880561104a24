// Dates: written as C's library writes them, and read in all three forms.
#include <rill/protocols/http/date.h>

#include <cstdint>
#include <ctime>
#include <random>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

namespace rill::http {
namespace {

constexpr http_time example{std::chrono::seconds(784'111'777)};
constexpr http_time now{std::chrono::seconds(1'800'000'000)};  // 2027

std::string text_of(http_time time) { return std::string(std::string_view(date_text(time))); }

std::string by_c(std::int64_t seconds, const char* format) {
  const std::time_t time = seconds;
  std::tm parts{};
  ::gmtime_r(&time, &parts);
  char text[64];
  return std::string(text, std::strftime(text, sizeof(text), format, &parts));
}

TEST(date, is_written_in_the_fixed_form) {
  EXPECT_EQ(text_of(example), "Sun, 06 Nov 1994 08:49:37 GMT");
  EXPECT_EQ(text_of(http_time()), "Thu, 01 Jan 1970 00:00:00 GMT");
  EXPECT_EQ(text_of(http_time(std::chrono::seconds(-1))), "Wed, 31 Dec 1969 23:59:59 GMT");
  EXPECT_EQ(text_of(http_time::max()), "Fri, 31 Dec 9999 23:59:59 GMT");
  EXPECT_EQ(text_of(http_time::min()), "Sat, 01 Jan 0000 00:00:00 GMT");
}

TEST(date, is_read_in_three_forms) {
  EXPECT_EQ(parse_date("Sun, 06 Nov 1994 08:49:37 GMT", now), example);
  EXPECT_EQ(parse_date("Sunday, 06-Nov-94 08:49:37 GMT", now), example);
  EXPECT_EQ(parse_date("Sun Nov  6 08:49:37 1994", now), example);
  EXPECT_EQ(text_of(parse_date("Tue Nov 16 08:49:37 1994", now).value()),
            "Wed, 16 Nov 1994 08:49:37 GMT");
}

TEST(date, with_a_year_of_two_digits_is_at_most_fifty_years_ahead) {
  EXPECT_EQ(text_of(parse_date("Friday, 01-Jan-77 00:00:00 GMT", now).value()).substr(12, 4),
            "2077");
  EXPECT_EQ(text_of(parse_date("Friday, 01-Jan-78 00:00:00 GMT", now).value()).substr(12, 4),
            "1978");
}

TEST(date, is_refused_when_there_is_no_such_day_or_form) {
  for (const std::string_view each :
       {"", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 GMT ", "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:00 GMT", "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 6 Nov 1994 08:49:37 GMT", "sun, 06 nov 1994 08:49:37 gmt", "784111777",
        "Sun, 06 Nov 199x 08:49:37 GMT", "Xun, 06 Nov 1994 08:49:37 GMT"}) {
    EXPECT_EQ(parse_date(each, now), std::nullopt) << each;
  }
}

TEST(date, agrees_with_the_c_library_about_thousands_of_moments) {
  std::mt19937_64 random(5);
  for (int i = 0; i < 20'000; ++i) {
    const std::int64_t seconds = static_cast<std::int64_t>(random() % 253'402'300'800);  // to 9999
    const http_time time{std::chrono::seconds(seconds)};
    const std::string text = text_of(time);
    ASSERT_EQ(text, by_c(seconds, "%a, %d %b %Y %H:%M:%S GMT"));
    ASSERT_EQ(parse_date(text, now), time);
    ASSERT_EQ(parse_date(by_c(seconds, "%a %b %e %H:%M:%S %Y"), now), time);
  }
}

}  // namespace
}  // namespace rill::http
