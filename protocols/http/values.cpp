// Readers of field values. See values.h.
#include <rill/protocols/http/values.h>

#include <algorithm>
#include <charconv>
#include <system_error>

#include <rill/protocols/http/head.h>
#include <rill/protocols/http/text.h>

namespace rill::http {
namespace {

using detail::is_digit;
using detail::without_blanks;

constexpr int quality_max = 1000;

/// Takes off the front what ends with `separator`, outside of quoted strings.
std::string_view take_until(std::string_view& rest, char separator) noexcept {
  bool quoted = false;
  std::size_t at = 0;
  for (; at != rest.size(); ++at) {
    if (quoted && rest[at] == '\\' && at + 1 != rest.size()) {
      ++at;
    } else if (rest[at] == '"') {
      quoted = !quoted;
    } else if (rest[at] == separator && !quoted) {
      break;
    }
  }
  const std::string_view taken = rest.substr(0, at);
  rest.remove_prefix(std::min(at + 1, rest.size()));
  return without_blanks(taken);
}

/// "0.5" in thousandths; what is no weight is the full one (RFC 9110 section 12.4.2).
int parse_quality(std::string_view text) noexcept {
  if (text.empty() || (text[0] != '0' && text[0] != '1') || text.size() > 5) return quality_max;
  int value = (text[0] - '0') * quality_max;
  if (text.size() > 1 && text[1] != '.') return quality_max;
  int unit = quality_max;
  for (const char c : text.substr(std::min<std::size_t>(2, text.size()))) {
    if (!is_digit(c)) return quality_max;
    unit /= 10;
    value += (c - '0') * unit;
  }
  return std::min(value, quality_max);
}

/// "gzip;q=0.5"
struct weighted {
  std::string_view name;
  int quality = quality_max;
};

weighted read_weighted(std::string_view element) noexcept {
  weighted made;
  made.name = take_until(element, ';');
  while (!element.empty()) {
    const std::string_view parameter = take_until(element, ';');
    const std::size_t equals = parameter.find('=');
    if (equals == 1 && (parameter[0] == 'q' || parameter[0] == 'Q')) {
      made.quality = parse_quality(parameter.substr(2));
    }
  }
  return made;
}

/// All digits; a number too large is the largest. nullopt otherwise.
std::optional<std::uint64_t> parse_number(std::string_view text) noexcept {
  std::uint64_t number = 0;
  if (text.empty() || !is_digit(text.front())) return std::nullopt;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  if (parsed.ptr != text.data() + text.size()) return std::nullopt;
  return parsed.ec == std::errc::result_out_of_range ? UINT64_MAX : number;
}

enum class range_kind { malformed, missing, present };

/// "0-499", "500-", "-200"
range_kind read_range(std::string_view text, std::uint64_t size, byte_range& to) noexcept {
  const std::size_t dash = text.find('-');
  if (dash == text.npos) return range_kind::malformed;
  const auto first = parse_number(text.substr(0, dash));
  const auto last = parse_number(text.substr(dash + 1));
  if (dash == 0) {
    if (!last) return range_kind::malformed;
    if (*last == 0 || size == 0) return range_kind::missing;
    to = {size - std::min(*last, size), size - 1};
    return range_kind::present;
  }
  if (!first || (!last && dash + 1 != text.size()) || (last && *last < *first)) {
    return range_kind::malformed;
  }
  if (*first >= size) return range_kind::missing;
  to = {*first, std::min(last.value_or(size - 1), size - 1)};
  return range_kind::present;
}

}  // namespace

std::optional<std::string_view> next_element(std::string_view& list) noexcept {
  while (!list.empty()) {
    const std::string_view element = take_until(list, ',');
    if (!element.empty()) return element;
  }
  return std::nullopt;
}

int quality_of_coding(std::optional<std::string_view> accept_encoding,
                      std::string_view coding) noexcept {
  const bool is_identity = equals_without_case(coding, "identity");
  if (!accept_encoding) return is_identity ? quality_max : 0;
  int any = -1;
  std::string_view list = *accept_encoding;
  while (const auto element = next_element(list)) {
    const weighted each = read_weighted(*element);
    if (equals_without_case(each.name, coding)) return each.quality;
    if (each.name == "*") any = each.quality;
  }
  if (any >= 0) return any;
  return is_identity ? quality_max : 0;  // acceptable unless it is excluded
}

std::string_view choose_coding(std::optional<std::string_view> accept_encoding,
                               std::span<const std::string_view> offered) noexcept {
  std::string_view best = "identity";
  int most = 0;
  for (const std::string_view each : offered) {
    const int quality = quality_of_coding(accept_encoding, each);
    if (quality > most) {
      best = each;
      most = quality;
    }
  }
  // Named with a higher weight, the plain form is preferred.
  const bool wants_plain =
      accept_encoding && accept_encoding->find("identity") != std::string::npos;
  if (wants_plain && quality_of_coding(accept_encoding, "identity") > most) return "identity";
  return best;
}

range_request parse_range(std::string_view value, std::uint64_t size) {
  constexpr std::string_view unit = "bytes=";
  constexpr std::size_t count_max = 32;
  range_request made;
  if (value.size() < unit.size() || !equals_without_case(value.substr(0, unit.size()), unit)) {
    return made;
  }
  value.remove_prefix(unit.size());
  std::size_t count = 0;
  std::uint64_t total = 0;
  while (const auto element = next_element(value)) {
    byte_range range{};
    const range_kind kind = read_range(*element, size, range);
    if (kind == range_kind::malformed || ++count > count_max) return {};
    if (kind == range_kind::missing) continue;
    if (range.size() > size - total) return {};
    total += range.size();
    made.parts.push_back(range);
  }
  if (count == 0) return made;
  made.answer = made.parts.empty() ? range_answer::refused : range_answer::parts;
  return made;
}

bool has_entity_tag(std::string_view list, std::string_view tag, bool weak_comparison) noexcept {
  const auto is_weak = [](std::string_view text) { return text.starts_with("W/"); };
  const auto opaque = [&](std::string_view text) { return is_weak(text) ? text.substr(2) : text; };
  while (const auto element = next_element(list)) {
    if (*element == "*") return true;
    if (!weak_comparison && (is_weak(*element) || is_weak(tag))) continue;
    if (opaque(*element) == opaque(tag)) return true;
  }
  return false;
}

std::optional<std::string_view> find_cookie(std::string_view value,
                                            std::string_view name) noexcept {
  while (!value.empty()) {
    const std::size_t end = std::min(value.find(';'), value.size());
    const std::string_view pair = without_blanks(value.substr(0, end));
    value.remove_prefix(std::min(end + 1, value.size()));
    const std::size_t equals = pair.find('=');
    if (equals == pair.npos || pair.substr(0, equals) != name) continue;
    std::string_view found = pair.substr(equals + 1);
    if (found.size() >= 2 && found.front() == '"' && found.back() == '"') {
      found = found.substr(1, found.size() - 2);
    }
    return found;
  }
  return std::nullopt;
}

std::string_view media_type(std::string_view content_type) noexcept {
  return without_blanks(content_type.substr(0, content_type.find(';')));
}

std::optional<std::string> media_parameter(std::string_view content_type, std::string_view name) {
  take_until(content_type, ';');
  while (!content_type.empty()) {
    const std::string_view parameter = take_until(content_type, ';');
    const std::size_t equals = parameter.find('=');
    if (equals == parameter.npos || !equals_without_case(parameter.substr(0, equals), name))
      continue;
    const std::string_view value = parameter.substr(equals + 1);
    if (!value.starts_with('"')) return std::string(value);
    std::string made;
    for (std::size_t i = 1; i < value.size() && value[i] != '"'; ++i) {
      if (value[i] == '\\' && i + 1 < value.size()) ++i;
      made += value[i];
    }
    return made;
  }
  return std::nullopt;
}

}  // namespace rill::http
