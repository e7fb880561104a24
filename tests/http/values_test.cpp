// Values of single fields: qualities, ranges, tags, cookies, media types.
#include <rill/protocols/http/values.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

namespace rill::http {
namespace {

std::string elements(std::string_view list) {
  std::string text;
  while (const auto each = next_element(list)) text += '[' + std::string(*each) + ']';
  return text;
}

std::string coding(std::optional<std::string_view> accepted) {
  constexpr std::string_view offered[] = {"br", "gzip"};
  return std::string(choose_coding(accepted, offered));
}

std::string range(std::string_view value, std::uint64_t size = 1000) {
  const range_request read = parse_range(value, size);
  if (read.answer == range_answer::whole) return "whole";
  if (read.answer == range_answer::refused) return "refused";
  std::string text;
  for (const byte_range& each : read.parts) {
    text += '[' + std::to_string(each.first) + '-' + std::to_string(each.last) + ']';
  }
  return text;
}

TEST(list, has_elements_between_commas_that_are_not_quoted) {
  EXPECT_EQ(elements("a, b ,,\t c"), "[a][b][c]");
  EXPECT_EQ(elements(" , ,"), "");
  EXPECT_EQ(elements("\"a,b\", \"c\\\",d\" e"), "[\"a,b\"][\"c\\\",d\" e]");
  EXPECT_EQ(elements("\"open, a"), "[\"open, a]");
}

TEST(accept_encoding, is_weighed) {
  EXPECT_EQ(coding(std::nullopt), "identity");
  EXPECT_EQ(coding(""), "identity");
  EXPECT_EQ(coding("gzip, deflate, br, zstd"), "br");
  EXPECT_EQ(coding("gzip;q=1.0, br;q=0.5"), "gzip");
  EXPECT_EQ(coding("GZIP"), "gzip");
  EXPECT_EQ(coding("br;q=0, gzip;q=0.001"), "gzip");
  EXPECT_EQ(coding("*"), "br");
  EXPECT_EQ(coding("*;q=0"), "identity");
  EXPECT_EQ(coding("gzip;q=0, *;q=0.1"), "br");
  EXPECT_EQ(coding("identity;q=1, gzip;q=0.5"), "identity");
  EXPECT_EQ(coding("gzip; q=0"), "identity");
  EXPECT_EQ(coding("gzipx, xbr"), "identity");
  EXPECT_EQ(quality_of_coding("a;q=0.123", "a"), 123);
  EXPECT_EQ(quality_of_coding("identity;q=0", "identity"), 0);
  EXPECT_EQ(quality_of_coding("*;q=0", "identity"), 0);
  for (const std::string_view odd : {"a;q=2", "a;q=", "a;q=0.1234", "a;q=x", "a;x=0", "a;q=-1"}) {
    EXPECT_EQ(quality_of_coding(odd, "a"), 1000) << odd;
  }
}

TEST(range, gives_the_bytes_that_exist) {
  EXPECT_EQ(range("bytes=0-499"), "[0-499]");
  EXPECT_EQ(range("Bytes=500-"), "[500-999]");
  EXPECT_EQ(range("bytes=-200"), "[800-999]");
  EXPECT_EQ(range("bytes=-2000"), "[0-999]");
  EXPECT_EQ(range("bytes=0-0, -1, 10-20"), "[0-0][999-999][10-20]");
  EXPECT_EQ(range("bytes=900-18446744073709551616"), "[900-999]");
  EXPECT_EQ(range("bytes=0-5, 2000-3000"), "[0-5]");
}

TEST(range, is_refused_when_none_of_it_exists) {
  EXPECT_EQ(range("bytes=1000-"), "refused");
  EXPECT_EQ(range("bytes=99999999999999999999-"), "refused");
  EXPECT_EQ(range("bytes=-0"), "refused");
  EXPECT_EQ(range("bytes=0-", 0), "refused");
  EXPECT_EQ(range("bytes=-5", 0), "refused");
}

TEST(range, is_passed_over_when_it_means_nothing) {
  for (const std::string_view each :
       {"", "bytes", "bytes=", "bytes=,", "lines=0-5", "bytes=5-1", "bytes=a-b", "bytes=1-2-3",
        "bytes=0-5;x", "bytes= 0 - 5", "bytes=+1-5", "bytes=5", "bytes=-", "bytes 0-5"}) {
    EXPECT_EQ(range(each), "whole") << each;
  }
}

TEST(range, of_many_or_overlapping_parts_is_the_whole) {
  std::string many = "bytes=0-0";
  for (int i = 0; i < 1500; ++i) many += ",0-";
  EXPECT_EQ(range(many), "whole");
  EXPECT_EQ(range("bytes=0-600,400-999"), "whole");
  std::string fine = "bytes=0-0";
  for (int i = 1; i < 32; ++i) fine += ',' + std::to_string(i * 2) + '-' + std::to_string(i * 2);
  EXPECT_EQ(parse_range(fine, 1000).parts.size(), 32U);
  EXPECT_EQ(range(fine + ",100-100"), "whole");
}

TEST(entity_tag, is_compared_strongly_or_weakly) {
  EXPECT_TRUE(has_entity_tag("\"a\", \"b\"", "\"b\"", false));
  EXPECT_FALSE(has_entity_tag("\"a\", W/\"b\"", "\"b\"", false));
  EXPECT_TRUE(has_entity_tag("\"a\", W/\"b\"", "\"b\"", true));
  EXPECT_TRUE(has_entity_tag("\"b\"", "W/\"b\"", true));
  EXPECT_FALSE(has_entity_tag("W/\"b\"", "W/\"b\"", false));
  EXPECT_TRUE(has_entity_tag("*", "\"b\"", false));
  EXPECT_TRUE(has_entity_tag("\"a,b\"", "\"a,b\"", false));
  EXPECT_FALSE(has_entity_tag("b", "\"b\"", true));
}

TEST(cookie, is_found_by_its_name) {
  const std::string_view value = "a=1; bb=\"two\";c=; a=2 ; d = 4";
  EXPECT_EQ(find_cookie(value, "a"), "1");
  EXPECT_EQ(find_cookie(value, "bb"), "two");
  EXPECT_EQ(find_cookie(value, "c"), "");
  EXPECT_EQ(find_cookie(value, "b"), std::nullopt);
  EXPECT_EQ(find_cookie(value, "A"), std::nullopt);
}

TEST(media_type, has_parameters) {
  const std::string_view value = "Multipart/Form-Data ; charset=utf-8; Boundary=\"a;\\\"b\"";
  EXPECT_EQ(media_type(value), "Multipart/Form-Data");
  EXPECT_EQ(media_parameter(value, "boundary"), "a;\"b");
  EXPECT_EQ(media_parameter(value, "charset"), "utf-8");
  EXPECT_EQ(media_parameter(value, "form-data"), std::nullopt);
  EXPECT_EQ(media_parameter("text/html", "charset"), std::nullopt);
}

}  // namespace
}  // namespace rill::http
