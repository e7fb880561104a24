// The searches for bytes that do not belong: each width gives what the plain loop gives.
#include <rill/protocols/http/scan.h>

#include <cstddef>
#include <random>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

namespace rill::http::detail {
namespace {

using search = const char* (*)(const char*, const char*, scan_path);

void expect_equal_results(search find) {
  std::mt19937 random(11);
  for (int round = 0; round < 20'000; ++round) {
    // Mostly good bytes, so that the search comes to its end now and then.
    std::string text(random() % 100, ' ');
    for (char& each : text) {
      each =
          random() % 40 == 0 ? static_cast<char>(random()) : static_cast<char>('a' + random() % 26);
    }
    const std::size_t offset = text.empty() ? 0 : random() % text.size();
    const char* const from = text.data() + offset;
    const char* const end = text.data() + text.size();
    const char* const expected = find(from, end, scan_path::portable);
    for (const scan_path each : {scan_path::sse2, scan_path::avx2}) {
      if (!is_supported(each)) continue;
      ASSERT_EQ(find(from, end, each) - from, expected - from);
    }
  }
}

/// Every byte, at every place of a vector.
template <class Find, class Allowed>
void expect_stops(Find find, Allowed is_allowed) {
  constexpr std::size_t size = 70;
  for (unsigned c = 0; c < 256; ++c) {
    for (std::size_t at = 0; at < size; ++at) {
      std::string text(size, 'a');
      text[at] = static_cast<char>(c);
      const char* const end = text.data() + size;
      ASSERT_EQ(find(text.data(), end), is_allowed(c) ? end : text.data() + at) << c << ' ' << at;
    }
  }
}

TEST(scan, gives_the_same_in_every_width) {
  ASSERT_TRUE(is_supported(scan_path::portable));
  expect_equal_results(find_control);
  expect_equal_results(find_invisible);
}

TEST(scan, stops_in_values_at_controls_but_the_tab) {
  expect_stops([](const char* from, const char* end) { return find_control(from, end); },
               [](unsigned c) { return (c >= 0x20 && c != 0x7f) || c == '\t'; });
}

TEST(scan, stops_in_targets_at_whatever_is_not_visible_ascii) {
  expect_stops([](const char* from, const char* end) { return find_invisible(from, end); },
               [](unsigned c) { return c > 0x20 && c < 0x7f; });
}

TEST(scan, stops_in_tokens_at_delimiters) {
  expect_stops([](const char* from, const char* end) { return find_not_token(from, end); },
               [](unsigned c) {
                 return c > 0x20 && c < 0x7f &&
                        std::string_view("\"(),/:;<=>?@[\\]{}").find(static_cast<char>(c)) ==
                            std::string_view::npos;
               });
}

}  // namespace
}  // namespace rill::http::detail
