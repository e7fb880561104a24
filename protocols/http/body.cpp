// Framing of bodies. See body.h.
#include <rill/protocols/http/body.h>

#include <algorithm>

#include <rill/protocols/http/scan.h>
#include <rill/protocols/http/text.h>

namespace rill::http {
namespace {

using detail::hex_value;

std::string_view name_of(std::string_view line) noexcept { return line.substr(0, line.find(':')); }

/// What decides about framing, routing or who may ask must not come after the fact (RFC 9110
/// section 6.5.1).
bool is_forbidden(std::string_view name) noexcept {
  for (const std::string_view each :
       {"Transfer-Encoding", "Content-Length", "Host", "Trailer", "TE", "Connection", "Expect",
        "Authorization", "Cookie", "Set-Cookie", "Content-Encoding", "Content-Type",
        "Content-Range", "Upgrade", "Keep-Alive", "Proxy-Authorization"}) {
    if (equals_without_case(name, each)) return true;
  }
  return false;
}

}  // namespace

body_decoder::body_decoder(const message_head& head, const body_limits& limits) noexcept
    : limits_(limits) {
  switch (head.framing()) {
    case body_framing::none:
      break;
    case body_framing::length:
      left_ = head.content_length();
      if (left_ > limits_.size_max) {
        fail(http_error::body_too_large);
      } else if (left_ != 0) {
        state_ = state::length;
      }
      break;
    case body_framing::chunked:
      state_ = state::chunk_size;
      break;
    case body_framing::until_close:
      state_ = state::until_close;
      break;
  }
}

void body_decoder::fail(http_error error) noexcept {
  error_ = error;
  state_ = state::failed;
}

void body_decoder::end() noexcept {
  if (state_ == state::until_close) {
    state_ = state::complete;
  } else if (state_ != state::complete && state_ != state::failed) {
    fail(http_error::incomplete);
  }
}

body_decoder::piece body_decoder::take(std::string_view bytes, std::uint64_t size_max) noexcept {
  const std::size_t size =
      static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), size_max));
  size_ += size;
  return {bytes.substr(0, size), size};
}

body_decoder::piece body_decoder::decode(std::string_view bytes) {
  if (state_ == state::length) {
    const piece taken = take(bytes, left_);
    left_ -= taken.used;
    if (left_ == 0) state_ = state::complete;
    return taken;
  }
  if (state_ == state::until_close) {
    const piece taken = take(bytes, limits_.size_max - size_);
    if (taken.used < bytes.size()) fail(http_error::body_too_large);
    return taken;
  }
  // Chunked: framing up to the next data, and that.
  const std::size_t before = state_ == state::chunk_data ? 0 : decode_framing(bytes);
  if (state_ != state::chunk_data) return {{}, before};
  piece taken = take(bytes.substr(before), left_);
  left_ -= taken.used;
  if (left_ == 0) state_ = state::chunk_end;
  taken.used += before;
  return taken;
}

std::size_t body_decoder::decode_framing(std::string_view bytes) {
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const char c = bytes[i];
    switch (state_) {
      case state::chunk_size:
        if (hex_value(c) >= 0) {
          size_digit(c);
        } else if (digit_count_ != 0 && (c == ';' || c == '\r')) {
          state_ = c == ';' ? state::chunk_extension : state::chunk_size_end;
          extension_part_ = extension_part::before_name;
        } else {
          fail(http_error::bad_chunk);
        }
        break;
      case state::chunk_extension:
        extension_byte(c);
        break;
      case state::chunk_size_end:
        if (c != '\n') {
          fail(http_error::bad_chunk);
        } else {
          end_of_size();
        }
        break;
      case state::chunk_end:
        if (c != '\r') {
          fail(http_error::bad_chunk);
        } else {
          state_ = state::chunk_end_line_feed;
        }
        break;
      case state::chunk_end_line_feed:
        if (c != '\n') {
          fail(http_error::bad_chunk);
        } else {
          state_ = state::chunk_size;
          digit_count_ = 0;
        }
        break;
      case state::trailer:
        return i + trailer_bytes(bytes.substr(i));
      default:  // data, or an end
        return i;
    }
  }
  return bytes.size();
}

void body_decoder::size_digit(char c) noexcept {
  constexpr unsigned digit_max = 16;
  if (digit_count_ == digit_max) return fail(http_error::bad_chunk);
  if (digit_count_ == 0) left_ = 0;
  ++digit_count_;
  left_ = left_ << 4 | static_cast<unsigned>(hex_value(c));
}

void body_decoder::end_of_size() noexcept {
  if (left_ == 0) {
    state_ = state::trailer;
  } else if (left_ > limits_.size_max - size_) {
    fail(http_error::body_too_large);
  } else {
    state_ = state::chunk_data;
  }
}

void body_decoder::extension_byte(char c) noexcept {
  using enum extension_part;
  if (c == '\r') {
    const extension_part last = extension_part_;
    if (last != name && last != value && last != behind_quoted) return fail(http_error::bad_chunk);
    state_ = state::chunk_size_end;
  } else if (++extension_size_ > limits_.extension_size_max) {
    fail(http_error::chunk_extensions_too_large);
  } else if (!take_extension_byte(c)) {
    fail(http_error::bad_chunk);
  }
}

/// Nobody asks for extensions, but whoever reads them otherwise may see another end of the line.
bool body_decoder::take_extension_byte(char c) noexcept {
  using enum extension_part;
  extension_part& part = extension_part_;
  const bool blank = detail::is_blank(c);
  const bool token = detail::is_token_character(c);
  switch (part) {
    case before_name:
      if (token) part = name;
      return token || blank;
    case name:
      if (token) return true;
      [[fallthrough]];
    case behind_name:
      if (blank) part = behind_name;
      if (c == ';') part = before_name;
      if (c == '=') part = before_value;
      return blank || c == ';' || c == '=';
    case before_value:
      if (token) part = value;
      if (c == '"') part = quoted;
      return token || blank || c == '"';
    case quoted:
      if (c == '"') part = behind_quoted;
      if (c == '\\') part = escaped;
      return detail::find_control(&c, &c + 1) != &c;
    case escaped:
      part = quoted;
      return detail::find_control(&c, &c + 1) != &c;
    case value:
      if (token) return true;
      [[fallthrough]];
    case behind_quoted:
    case behind_value:
      if (blank) part = behind_value;
      if (c == ';') part = before_name;
      return blank || c == ';';
  }
  return false;
}

/// Lines until the empty one, kept in trailer_. A line is judged when it is whole.
std::size_t body_decoder::trailer_bytes(std::string_view bytes) {
  std::size_t used = 0;
  while (used < bytes.size()) {
    const std::string_view rest = bytes.substr(used);
    const std::size_t found = rest.find('\n');
    const std::size_t size = found == rest.npos ? rest.size() : found + 1;
    const std::size_t room = limits_.trailer_size_max - trailer_.size();
    // A line that goes on needs one byte more.
    if (size + (found == rest.npos ? 1 : 0) > room) {
      fail(http_error::trailer_too_large);
      return used;
    }
    trailer_.append(rest.substr(0, size));
    used += size;
    if (found == rest.npos) break;
    const std::string_view line = std::string_view(trailer_).substr(line_begin_);
    line_begin_ = trailer_.size();
    if (line == "\r\n") {
      state_ = state::complete;
      return used;
    }
    if (!trailer_line(line)) {
      fail(http_error::bad_trailer);
      return used;
    }
  }
  return used;
}

bool body_decoder::trailer_line(std::string_view line) const noexcept {
  if (!line.ends_with("\r\n")) return false;
  const char* const end = line.data() + line.size() - 2;
  const char* const colon = detail::find_not_token(line.data(), end);
  return colon != line.data() && colon != end && *colon == ':' &&
         detail::find_control(colon + 1, end) == end && !is_forbidden(name_of(line));
}

std::string_view body_decoder::find_trailer(std::string_view name) const noexcept {
  for (std::string_view rest = trailer_; !rest.empty();) {
    const std::string_view line = rest.substr(0, rest.find("\r\n"));
    if (!line.empty() && equals_without_case(name_of(line), name)) {
      return detail::without_blanks(line.substr(name.size() + 1));
    }
    rest.remove_prefix(std::min(line.size() + 2, rest.size()));
  }
  return {};
}

}  // namespace rill::http
