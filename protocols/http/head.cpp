// Parsing of heads, line by line. See head.h.
// A line is judged when its end is there, or when it is longer than a limit allows: therefore the
// answer does not depend on how the input was cut. Errors are those of the first line that has one.
#include <rill/protocols/http/head.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

#include <rill/protocols/http/scan.h>
#include <rill/protocols/http/text.h>

namespace rill::http {
namespace {

using detail::hex_value;
using detail::is_blank;
using detail::is_digit;
using detail::is_ipv6_literal;
using detail::is_letter;
using detail::lower;
using detail::without_blanks;

/// Takes the next element off a list; empty ones too, which RFC 9110 section 5.6.1 has ignored.
std::string_view take_element(std::string_view& list) noexcept {
  const std::size_t comma = std::min(list.find(','), list.size());
  const std::string_view element = without_blanks(list.substr(0, comma));
  list.remove_prefix(std::min(comma + 1, list.size()));
  return element;
}

bool is_port(std::string_view text) noexcept {
  constexpr std::size_t longest = 5;
  unsigned number = 0;
  for (const char c : text) {
    if (!is_digit(c)) return false;
    number = number * 10 + static_cast<unsigned>(c - '0');
  }
  return text.size() <= longest && number <= UINT16_MAX;
}

/// Letters, digits, what RFC 3986 calls unreserved, and percent signs. The sub-delims that it
/// allows beside them stand in no name of a host, and a comma would look like two.
constexpr auto host_characters = [] {
  std::array<bool, 256> stands{};
  for (const char c : std::string_view("-._~%")) stands[static_cast<unsigned char>(c)] = true;
  for (char c = '0'; c <= '9'; ++c) stands[static_cast<unsigned char>(c)] = true;
  for (char c = 'a'; c <= 'z'; ++c) {
    stands[static_cast<unsigned char>(c)] = true;
    stands[static_cast<unsigned char>(c - 'a' + 'A')] = true;
  }
  return stands;
}();

/// "host", "host:port", "[address]:port". No user information.
bool is_authority(std::string_view text) noexcept {
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    if (end == text.npos || end == 1) return false;
    if (!is_ipv6_literal(text.substr(1, end - 1))) return false;
    text.remove_prefix(end + 1);
  } else {
    const std::size_t colon = std::min(text.find(':'), text.size());
    const std::string_view name = text.substr(0, colon);
    if (!std::all_of(name.begin(), name.end(),
                     [](char c) { return host_characters[static_cast<unsigned char>(c)]; })) {
      return false;
    }
    for (std::size_t at = name.find('%'); at != name.npos; at = name.find('%', at + 1)) {
      if (name.size() - at < 3 || hex_value(name[at + 1]) < 0 || hex_value(name[at + 2]) < 0) {
        return false;
      }
    }
    if (colon == 0) return text.empty();
    text.remove_prefix(colon);
  }
  return text.empty() || (text.front() == ':' && is_port(text.substr(1)));
}

}  // namespace

bool equals_without_case(std::string_view left, std::string_view right) noexcept {
  return left.size() == right.size() &&
         std::equal(left.begin(), left.end(), right.begin(),
                    [](char a, char b) { return lower(a) == lower(b); });
}

// ---------------------------------------------------------------- fields

field message_head::field_at(std::size_t index) const noexcept {
  return {text(fields_[index].name), text(fields_[index].value)};
}

std::optional<std::string_view> message_head::find(std::string_view name) const noexcept {
  for (const field_place& each : fields_) {
    if (equals_without_case(text(each.name), name)) return text(each.value);
  }
  return std::nullopt;
}

std::size_t message_head::count(std::string_view name) const noexcept {
  return static_cast<std::size_t>(std::count_if(
      fields_.begin(), fields_.end(),
      [&](const field_place& each) { return equals_without_case(text(each.name), name); }));
}

bool message_head::has_element(std::string_view name, std::string_view element) const noexcept {
  for (const field_place& each : fields_) {
    if (!equals_without_case(text(each.name), name)) continue;
    for (std::string_view list = text(each.value); !list.empty();) {
      if (equals_without_case(take_element(list), element)) return true;
    }
  }
  return false;
}

// ---------------------------------------------------------------- lines

void message_head::reset() noexcept {
  fields_.clear();
  base_ = nullptr;
  size_ = 0;
  content_length_ = 0;
  error_ = http_error::incomplete;
  state_ = parse_state::incomplete;
  framing_ = body_framing::none;
  minor_version_ = 1;
  keeps_alive_ = true;
  has_length_ = false;
  line_begin_ = 0;
  searched_ = 0;
  has_start_line_ = false;
}

parse_state message_head::fail(http_error error) noexcept {
  error_ = error;
  keeps_alive_ = false;
  return state_ = parse_state::failed;
}

template <class StartLine>
parse_state message_head::parse_lines(std::string_view bytes, StartLine start_line) {
  if (state_ != parse_state::incomplete) return state_;
  base_ = bytes.data();
  const std::size_t start_line_max = std::min(limits_.start_line_size_max, limits_.head_size_max);
  for (;;) {
    const std::size_t left = bytes.size() - searched_;
    const void* const found = left == 0 ? nullptr : std::memchr(base_ + searched_, '\n', left);
    const bool ends = found != nullptr;
    // One byte more than there are, when the line goes on: its end will need it.
    searched_ =
        ends ? static_cast<std::size_t>(static_cast<const char*>(found) - base_) + 1 : bytes.size();
    const std::size_t least = ends ? searched_ : searched_ + 1;
    // Behind empty lines the head's own limit may be the one that comes first.
    const bool is_nearer = line_begin_ + start_line_max <= limits_.head_size_max;
    if (!has_start_line_ && is_nearer && least - line_begin_ > start_line_max) {
      return fail(http_error::start_line_too_long);
    }
    if (least > limits_.head_size_max) return fail(http_error::head_too_large);
    if (!ends) return parse_state::incomplete;

    place line{static_cast<std::uint32_t>(line_begin_),
               static_cast<std::uint32_t>(searched_ - 1 - line_begin_)};
    line_begin_ = searched_;
    if (line.size != 0 && base_[line.at + line.size - 1] == '\r') {
      --line.size;
    } else if (!takes_bare_line_feed_) {
      return fail(http_error::bare_line_feed);
    }
    if (line.size == 0) {
      if (!has_start_line_) continue;  // RFC 9112 section 2.2: some clients send one too many
      size_ = searched_;
      return parse_state::complete;
    }
    if (!has_start_line_) {
      has_start_line_ = true;
      if (!start_line(line)) return state_;
    } else if (!parse_field(line)) {
      return state_;
    }
  }
}

bool message_head::parse_field(place line) {
  const char* const begin = base_ + line.at;
  const char* const end = begin + line.size;
  if (is_blank(*begin)) {
    fail(http_error::folded_field);
    return false;
  }
  const char* const colon = detail::find_not_token(begin, end);
  if (colon == begin || colon == end || *colon != ':' ||
      detail::find_control(colon + 1, end) != end) {
    fail(http_error::bad_field);
    return false;
  }
  if (fields_.size() == limits_.field_count_max) {
    fail(http_error::head_too_large);
    return false;
  }
  const std::string_view value =
      without_blanks({colon + 1, static_cast<std::size_t>(end - colon - 1)});
  fields_.push_back({{line.at, static_cast<std::uint32_t>(colon - begin)},
                     {static_cast<std::uint32_t>(value.data() - base_),
                      static_cast<std::uint32_t>(value.size())}});
  return true;
}

/// "HTTP/1.1". False without an error set: it is no version.
bool message_head::parse_version(std::string_view text) noexcept {
  constexpr std::string_view shape = "HTTP/1.1";
  if (text.size() != shape.size() || !text.starts_with("HTTP/") || !is_digit(text[5]) ||
      text[6] != '.' || !is_digit(text[7])) {
    return false;
  }
  if (text[5] != '1') {
    fail(http_error::unsupported_version);
    return false;
  }
  minor_version_ = text[7] == '0' ? 0 : 1;
  return true;
}

// ---------------------------------------------------------------- framing

bool message_head::read_length(std::string_view value) noexcept {
  std::uint64_t length = 0;
  const auto parsed = std::from_chars(value.data(), value.data() + value.size(), length);
  // from_chars takes no sign and no blank for an unsigned number. Beyond 2^63 sums would wrap.
  if (value.empty() || parsed.ec != std::errc() || parsed.ptr != value.data() + value.size() ||
      length > INT64_MAX || has_length_) {
    fail(http_error::bad_content_length);
    return false;
  }
  has_length_ = true;
  content_length_ = length;
  return true;
}

bool message_head::read_coding(std::string_view value) noexcept {
  if (framing_ == body_framing::chunked || minor_version_ == 0) {
    fail(http_error::bad_transfer_encoding);
    return false;
  }
  if (equals_without_case(value, "chunked")) {
    framing_ = body_framing::chunked;
    return true;
  }
  // "gzip, chunked" is proper and nobody's; anything else leaves the end of the body in doubt.
  std::string_view list = value;
  std::string_view last;
  bool is_proper = !value.empty();
  while (!list.empty()) {
    if (equals_without_case(last, "chunked")) is_proper = false;
    last = take_element(list);
    const char* const end = last.data() + last.size();
    if (last.empty() || detail::find_not_token(last.data(), end) != end) is_proper = false;
  }
  is_proper = is_proper && equals_without_case(last, "chunked") && value.back() != ',';
  fail(is_proper ? http_error::unsupported_transfer_encoding : http_error::bad_transfer_encoding);
  return false;
}

bool message_head::read_framing(bool ignores_length) noexcept {
  bool closes = false;
  bool keeps = false;
  for (const field_place& each : fields_) {
    // The lengths tell most names apart without looking at them.
    const std::string_view name = text(each.name);
    if (ignores_length && (name.size() == 14 || name.size() == 17)) continue;
    if (name.size() == 14 && equals_without_case(name, "Content-Length")) {
      if (!read_length(text(each.value))) return false;
    } else if (name.size() == 17 && equals_without_case(name, "Transfer-Encoding")) {
      if (!read_coding(text(each.value))) return false;
    } else if (name.size() == 10 && equals_without_case(name, "Connection")) {
      for (std::string_view list = text(each.value); !list.empty();) {
        const std::string_view element = take_element(list);
        closes = closes || equals_without_case(element, "close");
        keeps = keeps || equals_without_case(element, "keep-alive");
      }
    }
  }
  if (has_length_ && framing_ == body_framing::chunked) {
    fail(http_error::conflicting_length);
    return false;
  }
  if (has_length_) framing_ = body_framing::length;
  keeps_alive_ = !closes && (keeps || minor_version_ != 0);
  return true;
}

// ---------------------------------------------------------------- requests

void request_head::clear() noexcept {
  reset();
  method_ = target_ = path_ = query_ = authority_ = place();
  form_ = target_form::origin;
  expects_continue_ = false;
}

parse_state request_head::parse(std::string_view bytes) {
  const bool was_known = state_ != parse_state::incomplete;
  const parse_state lines =
      parse_lines(bytes, [this](place line) { return parse_start_line(line); });
  if (was_known || lines != parse_state::complete) return lines;
  return finish() ? state_ = parse_state::complete : state_;
}

std::string_view request_head::path() const noexcept {
  if (form_ == target_form::absolute && path_.size == 0) return "/";
  return text(path_);
}

std::string_view request_head::query() const noexcept { return text(query_); }

bool request_head::parse_start_line(place line) {
  const char* const begin = base_ + line.at;
  const char* const end = begin + line.size;
  const char* const method_end = detail::find_not_token(begin, end);
  if (method_end == begin || method_end == end || *method_end != ' ') {
    fail(http_error::bad_request_line);
    return false;
  }
  const char* const target_begin = method_end + 1;
  const char* const target_end = detail::find_invisible(target_begin, end);
  if (target_end == target_begin || target_end == end || *target_end != ' ') {
    fail(http_error::bad_request_line);
    return false;
  }
  method_ = {line.at, static_cast<std::uint32_t>(method_end - begin)};
  target_ = {static_cast<std::uint32_t>(target_begin - base_),
             static_cast<std::uint32_t>(target_end - target_begin)};
  if (!parse_version({target_end + 1, static_cast<std::size_t>(end - target_end - 1)})) {
    if (state_ != parse_state::failed) fail(http_error::bad_request_line);
    return false;
  }
  if (!parse_target()) {
    fail(http_error::bad_target);
    return false;
  }
  return true;
}

bool request_head::parse_target() {
  const std::string_view whole = target();
  if (whole.find('#') != whole.npos) return false;  // a fragment stays with the client
  std::size_t path_at = 0;
  if (method() == "CONNECT") {
    form_ = target_form::authority;
    authority_ = target_;
    const std::size_t colon = whole.rfind(':');
    return is_authority(whole) && colon != whole.npos && colon + 1 != whole.size() &&
           whole.back() != ']';
  }
  if (whole == "*") {
    form_ = target_form::asterisk;
    path_ = target_;
    return method() == "OPTIONS";
  }
  if (whole.front() != '/') {
    form_ = target_form::absolute;
    const std::size_t scheme = whole.find("://");
    if (scheme == whole.npos || scheme == 0 || !is_letter(whole.front())) return false;
    if (!std::all_of(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(scheme),
                     [](char c) {
                       return is_letter(c) || is_digit(c) || c == '+' || c == '-' || c == '.';
                     })) {
      return false;
    }
    const std::size_t host = scheme + 3;
    path_at = std::min(whole.find_first_of("/?", host), whole.size());
    authority_ = {static_cast<std::uint32_t>(target_.at + host),
                  static_cast<std::uint32_t>(path_at - host)};
    if (authority_.size == 0 || !is_authority(authority())) return false;
  }
  const std::size_t question = std::min(whole.find('?', path_at), whole.size());
  path_ = {static_cast<std::uint32_t>(target_.at + path_at),
           static_cast<std::uint32_t>(question - path_at)};
  const std::size_t query_at = std::min(question + 1, whole.size());
  query_ = {static_cast<std::uint32_t>(target_.at + query_at),
            static_cast<std::uint32_t>(whole.size() - query_at)};
  return true;
}

bool request_head::read_expectations(std::string_view list) noexcept {
  while (!list.empty()) {
    const std::string_view element = take_element(list);
    if (element.empty()) continue;
    if (!equals_without_case(element, "100-continue")) {
      fail(http_error::unsupported_expectation);
      return false;
    }
    expects_continue_ = true;
  }
  return true;
}

bool request_head::finish() {
  constexpr bool ignores_length = false;
  if (!read_framing(ignores_length)) return false;
  const field_place* host = nullptr;
  for (const field_place& each : fields_) {
    const std::string_view name = text(each.name);
    if (name.size() == 4 && equals_without_case(name, "Host")) {
      if (host != nullptr || !is_authority(text(each.value))) {
        fail(http_error::bad_host);
        return false;
      }
      host = &each;
    } else if (name.size() == 6 && equals_without_case(name, "Expect") && minor_version_ != 0) {
      if (!read_expectations(text(each.value))) return false;
    }
  }
  if (host == nullptr && minor_version_ != 0) {
    fail(http_error::missing_host);
    return false;
  }
  // RFC 9112 section 3.2.2: an absolute target overrides the field.
  if (host != nullptr && authority_.size == 0) authority_ = host->value;
  return true;
}

// ---------------------------------------------------------------- responses

parse_state response_head::parse(std::string_view bytes, std::string_view method) {
  const bool was_known = state_ != parse_state::incomplete;
  const parse_state lines =
      parse_lines(bytes, [this](place line) { return parse_start_line(line); });
  if (was_known || lines != parse_state::complete) return lines;
  return finish(method) ? state_ = parse_state::complete : state_;
}

bool response_head::parse_start_line(place line) {
  const std::string_view whole = text(line);
  constexpr std::size_t version_size = 8;
  constexpr std::size_t least = 12;  // "HTTP/1.1 200"; the reason may lack, and its blank too
  if (!parse_version(whole.substr(0, version_size))) {
    if (state_ != parse_state::failed) fail(http_error::bad_status_line);
    return false;
  }
  const bool has_reason = whole.size() > least;
  if (whole.size() < least || whole[version_size] != ' ' || !is_digit(whole[9]) ||
      !is_digit(whole[10]) || !is_digit(whole[11]) || whole[9] == '0' ||
      (has_reason && whole[least] != ' ') ||
      detail::find_control(whole.data() + least, whole.data() + whole.size()) !=
          whole.data() + whole.size()) {
    fail(http_error::bad_status_line);
    return false;
  }
  status_ = (whole[9] - '0') * 100 + (whole[10] - '0') * 10 + (whole[11] - '0');
  if (has_reason) {
    reason_ = {static_cast<std::uint32_t>(line.at + least + 1),
               static_cast<std::uint32_t>(line.size - least - 1)};
  } else {
    reason_ = {line.at, 0};
  }
  return true;
}

bool response_head::finish(std::string_view method) {
  // RFC 9112 section 6.3, in its order. Lengths of answers without a body say how long it would be;
  // those of an answer that opens a tunnel say nothing.
  const bool is_tunnel = method == "CONNECT" && status_ >= 200 && status_ < 300;
  if (!read_framing(is_tunnel)) return false;
  if (status_ < 200 || status_ == 204 || status_ == 304 || method == "HEAD" || is_tunnel) {
    framing_ = body_framing::none;
  } else if (framing_ == body_framing::none) {
    framing_ = body_framing::until_close;
    keeps_alive_ = false;
  }
  return true;
}

}  // namespace rill::http
