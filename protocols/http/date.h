// Dates of HTTP (RFC 9110 section 5.6.7), in whole seconds of UTC.
#pragma once

#include <chrono>
#include <optional>
#include <string_view>

namespace rill::http {

using http_time = std::chrono::sys_seconds;

/// "Sun, 06 Nov 1994 08:49:37 GMT", in memory of its own.
class date_text {
 public:
  static constexpr std::size_t size = 29;

  /// Years 0 to 9999; others become the nearest of these.
  explicit date_text(http_time time) noexcept;
  operator std::string_view() const noexcept { return {text_, size}; }

 private:
  char text_[size];
};

/// Reads the three forms that RFC 9110 wants to be read: "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday,
/// 06-Nov-94 08:49:37 GMT" and "Sun Nov  6 08:49:37 1994". nullopt for anything else, and for dates
/// that there are not. A year of two digits that would lie more than 50 years after `now` is of the
/// century before. The day of the week is not compared.
std::optional<http_time> parse_date(std::string_view text, http_time now) noexcept;

}  // namespace rill::http
