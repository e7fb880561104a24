// The states of a multipart body, and the header of a part. See multipart.h.
#include <rill/protocols/http/multipart.h>

#include <algorithm>
#include <stdexcept>
#include <utility>

#include <rill/protocols/http/head.h>
#include <rill/protocols/http/text.h>
#include <rill/protocols/http/url.h>
#include <rill/protocols/http/values.h>

namespace rill::http {
namespace {

using detail::has_control;
using detail::is_blank;
using detail::without_blanks;

constexpr std::string_view line_end = "\r\n";

/// bchars of RFC 2046 section 5.1.1.
bool is_boundary(std::string_view text) noexcept {
  constexpr std::size_t size_max = 70;
  constexpr std::string_view others = "'()+_,-./:=? ";
  return !text.empty() && text.size() <= size_max && text.back() != ' ' &&
         std::all_of(text.begin(), text.end(), [&](char c) {
           return detail::is_letter(c) || detail::is_digit(c) || others.find(c) != others.npos;
         });
}

/// %22, %0D and %0A, which is all that browsers encode in names: a percent sign stands for itself.
std::string without_browser_encoding(std::string_view text) {
  std::string made;
  for (; !text.empty(); text.remove_prefix(1)) {
    const std::string_view three = text.substr(0, 3);
    const bool is_quote = three == "%22";
    if (is_quote || equals_without_case(three, "%0D") || equals_without_case(three, "%0A")) {
      made += is_quote ? '"' : percent_decode(three)->front();
      text.remove_prefix(2);
    } else {
      made += text.front();
    }
  }
  return made;
}

std::string quoted(std::string_view text) {
  std::string made = "\"";
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"') {
      made += "%22";
    } else if (c == '\r') {
      made += "%0D";
    } else if (c == '\n') {
      made += "%0A";
    } else if (has_control(std::string_view(&c, 1))) {
      throw std::invalid_argument("a name in a form must not have a control character");
    } else {
      made += c;
      // Read back, two would be one, and the last one would take the quotation mark with it.
      if (c == '\\' && (i + 1 == text.size() || text[i + 1] == '\\')) made += c;
    }
  }
  return made + '"';
}

/// Takes a value off the front, quoted or not. A backslash is an escape before a quotation mark or
/// a backslash only: browsers send C:\x as it is.
std::optional<std::string> take_value(std::string_view& rest) {
  std::string made;
  if (!rest.starts_with('"')) {
    const std::size_t end = std::min(rest.find(';'), rest.size());
    made = without_blanks(rest.substr(0, end));
    rest.remove_prefix(end);
    if (made.empty() || made.find_first_of("\" \t") != made.npos) return std::nullopt;
    return made;
  }
  for (std::size_t i = 1; i < rest.size(); ++i) {
    if (rest[i] == '"') {
      rest.remove_prefix(i + 1);
      return without_browser_encoding(made);
    }
    const bool escapes =
        rest[i] == '\\' && i + 1 < rest.size() && (rest[i + 1] == '"' || rest[i + 1] == '\\');
    if (escapes) ++i;
    made += rest[i];
  }
  return std::nullopt;
}

/// "UTF-8'en'na%C3%AFve.txt" (RFC 8187 section 3.2).
std::optional<std::string> read_extended(std::string_view value) {
  constexpr std::string_view charset = "UTF-8'";
  if (!equals_without_case(value.substr(0, charset.size()), charset)) return std::nullopt;
  value.remove_prefix(charset.size());
  const std::size_t quote = value.find('\'');
  if (quote == value.npos) return std::nullopt;
  std::optional<std::string> made = percent_decode(value.substr(quote + 1));
  if (made && has_control(*made)) return std::nullopt;
  return made;
}

}  // namespace

std::string_view message_of(multipart_error error) noexcept {
  switch (error) {
    case multipart_error::bad_delimiter:
      return "a boundary of the form is malformed";
    case multipart_error::bad_header:
      return "the header of a part is malformed";
    case multipart_error::header_too_large:
      return "the header of a part is too large";
    case multipart_error::too_many_parts:
      return "the form has too many parts";
    case multipart_error::part_too_large:
      return "a part of the form is too large";
    case multipart_error::too_large:
      return "the form is too large";
    case multipart_error::incomplete:
      return "the form is incomplete";
  }
  return "the form is malformed";
}

std::optional<std::string> multipart_boundary(std::string_view content_type) {
  if (!equals_without_case(media_type(content_type), "multipart/form-data")) return std::nullopt;
  std::optional<std::string> boundary = media_parameter(content_type, "boundary");
  if (!boundary || !is_boundary(*boundary)) return std::nullopt;
  return boundary;
}

std::string write_part_head(std::string_view boundary, const part_head& part) {
  std::string made = "--" + std::string(boundary) + "\r\nContent-Disposition: form-data; name=";
  made += quoted(part.name);
  if (part.file_name) made += "; filename=" + quoted(*part.file_name);
  if (has_control(part.type)) throw std::invalid_argument("a media type has a control character");
  if (part.file_name || part.type != part_head().type) made += "\r\nContent-Type: " + part.type;
  return made + "\r\n\r\n";
}

std::string write_multipart_end(std::string_view boundary) {
  return "--" + std::string(boundary) + "--\r\n";
}

multipart_decoder::multipart_decoder(std::string_view boundary, const multipart_limits& limits)
    : limits_(limits), delimiter_("\r\n--" + std::string(boundary)) {
  begin_line();
}

multipart_decoder::step multipart_decoder::decode(std::string_view bytes) {
  // Cut at the limit, so that all below need not know it.
  const std::uint64_t room = limits_.size_max - size_;
  const bool is_cut = bytes.size() > room;
  if (is_cut) bytes = bytes.substr(0, static_cast<std::size_t>(room));
  step total;
  while (total.what == event::more && (total.used < bytes.size() || state_ >= state::full)) {
    const step one = next(bytes.substr(total.used));
    size_ += one.used;
    total = {one.what, one.content, total.used + one.used};
  }
  return is_cut && total.what == event::more ? fail(multipart_error::too_large) : total;
}

bool multipart_decoder::end() noexcept {
  const bool is_whole = state_ == state::epilogue || state_ == state::closing_blanks;
  if (!is_whole && state_ != state::failed) fail(multipart_error::incomplete);
  return is_whole;
}

multipart_decoder::step multipart_decoder::next(std::string_view bytes) {
  switch (state_) {
    case state::preamble:
    case state::content:
      return find_delimiter(bytes);
    case state::header:
      return header_bytes(bytes);
    case state::epilogue:
      return {event::more, {}, bytes.size()};
    case state::full:
      return fail(multipart_error::part_too_large);
    case state::failed:
      return {event::failed, {}, 0};
    default:
      return delimiter_byte(bytes.front());
  }
}

/// As if a line had begun: a delimiter needs no CRLF here, and if there is none, none is content.
void multipart_decoder::begin_line() noexcept { matched_ = held_ = line_end.size(); }

/// Where the delimiter no longer fits, or the bytes end.
std::size_t multipart_decoder::match(std::string_view bytes, std::size_t from) noexcept {
  while (from < bytes.size() && matched_ < delimiter_.size() &&
         bytes[from] == delimiter_[matched_]) {
    ++matched_;
    ++from;
  }
  return from;
}

/// No boundary holds a CR, so a delimiter that breaks off can begin anew only where it broke off.
multipart_decoder::step multipart_decoder::find_delimiter(std::string_view bytes) {
  if (matched_ != 0) {  // one may have begun in bytes that were given before
    const std::size_t end = match(bytes, 0);
    if (matched_ == delimiter_.size()) return delimiter_step(end);
    if (end == bytes.size()) return {event::more, {}, end};
    const std::string_view held = std::string_view(delimiter_).substr(held_, matched_ - held_);
    matched_ = held_ = 0;
    return content_step(held, end);
  }
  for (std::size_t begin = bytes.find('\r'); begin != bytes.npos;
       begin = bytes.find('\r', begin + 1)) {
    const std::size_t end = match(bytes, begin);
    if (matched_ == delimiter_.size()) {
      if (begin == 0) return delimiter_step(end);
      matched_ = 0;  // once more, when what stands before has been taken
      return content_step(bytes.substr(0, begin), begin);
    }
    if (end == bytes.size()) return content_step(bytes.substr(0, begin), end);
    matched_ = 0;
  }
  return content_step(bytes, bytes.size());
}

multipart_decoder::step multipart_decoder::content_step(std::string_view content,
                                                        std::size_t used) noexcept {
  if (state_ == state::preamble || content.empty()) return {event::more, {}, used};
  const std::uint64_t room = limits_.part_size_max - part_size_;
  if (content.size() > room) {
    if (room == 0) return fail(multipart_error::part_too_large);
    content = content.substr(0, static_cast<std::size_t>(room));
    state_ = state::full;
  }
  part_size_ += content.size();
  return {event::content, content, used};
}

multipart_decoder::step multipart_decoder::delimiter_step(std::size_t used) noexcept {
  const bool ends_part = state_ == state::content;
  state_ = state::delimiter;
  matched_ = held_ = 0;
  return {ends_part ? event::part_end : event::more, {}, used};
}

/// RFC 2046 would take anything behind a boundary as blanks are taken; then one boundary that
/// begins with another is read differently by different readers.
multipart_decoder::step multipart_decoder::delimiter_byte(char c) noexcept {
  const bool closes = state_ == state::closing_blanks;
  switch (state_) {
    case state::closing:
      if (c != '-') return fail(multipart_error::bad_delimiter);
      state_ = state::closing_blanks;
      break;
    case state::closing_line_feed:
      if (c != '\n') return fail(multipart_error::bad_delimiter);
      state_ = state::epilogue;
      break;
    case state::delimiter_line_feed:
      if (c != '\n') return fail(multipart_error::bad_delimiter);
      if (part_count_ == limits_.part_count_max) return fail(multipart_error::too_many_parts);
      ++part_count_;
      header_.clear();
      state_ = state::header;
      break;
    default:  // behind a boundary, or behind "--" or blanks that follow it
      if (c == '\r') {
        state_ = closes ? state::closing_line_feed : state::delimiter_line_feed;
      } else if (c == '-' && state_ == state::delimiter) {
        state_ = state::closing;
      } else if (!is_blank(c)) {
        return fail(multipart_error::bad_delimiter);
      } else if (!closes) {
        state_ = state::delimiter_blanks;
      }
  }
  return {event::more, {}, 1};
}

multipart_decoder::step multipart_decoder::header_bytes(std::string_view bytes) {
  std::size_t used = 0;
  while (used < bytes.size()) {
    if (header_.size() == limits_.header_size_max) return fail(multipart_error::header_too_large);
    const char c = bytes[used++];
    header_ += c;
    if (c != '\n') continue;
    if (header_ != line_end && !header_.ends_with("\r\n\r\n")) continue;
    if (!read_header()) return fail(multipart_error::bad_header);
    state_ = state::content;
    part_size_ = 0;
    begin_line();
    return {event::part, {}, used};
  }
  return {event::more, {}, used};
}

bool multipart_decoder::read_header() {
  part_ = part_head();
  bool has_disposition = false;
  bool has_type = false;
  for (std::string_view rest = header_; rest != line_end;) {
    const std::size_t end = rest.find(line_end);
    const std::string_view line = rest.substr(0, end);
    if (end == rest.npos || has_control(line)) return false;
    rest.remove_prefix(end + line_end.size());
    const std::size_t colon = line.find(':');
    const std::string_view name = line.substr(0, colon);
    if (colon == line.npos || !detail::is_token(name)) return false;
    const std::string_view value = without_blanks(line.substr(colon + 1));
    if (equals_without_case(name, "Content-Disposition")) {
      if (std::exchange(has_disposition, true) || !read_disposition(value)) return false;
    } else if (equals_without_case(name, "Content-Type")) {
      if (std::exchange(has_type, true)) return false;
      part_.type = value;
    } else if (equals_without_case(name, "Content-Transfer-Encoding")) {
      // RFC 7578 section 4.7: nobody sends it, so nobody needs to read base64 here.
      const bool is_plain = equals_without_case(value, "binary") ||
                            equals_without_case(value, "8bit") ||
                            equals_without_case(value, "7bit");
      if (!is_plain) return false;
    }
  }
  return has_disposition;
}

/// form-data; name="a"; filename="b.txt" (RFC 7578 section 4.2).
bool multipart_decoder::read_disposition(std::string_view value) {
  const std::string_view kind = without_blanks(value.substr(0, value.find(';')));
  if (!equals_without_case(kind, "form-data")) return false;
  std::optional<std::string> name;
  std::optional<std::string> plain;
  std::optional<std::string> extended;
  value.remove_prefix(std::min(value.find(';'), value.size()));
  while (!value.empty()) {
    value = without_blanks(value.substr(1));
    const std::size_t equals = value.find('=');
    if (equals == value.npos) return false;
    const std::string_view key = without_blanks(value.substr(0, equals));
    value = without_blanks(value.substr(equals + 1));
    std::optional<std::string> read = take_value(value);
    if (!read) return false;
    value = without_blanks(value);
    if (!value.empty() && value.front() != ';') return false;
    std::optional<std::string>* to = nullptr;
    if (equals_without_case(key, "name")) to = &name;
    if (equals_without_case(key, "filename")) to = &plain;
    if (equals_without_case(key, "filename*")) {
      to = &extended;
      read = read_extended(*read);
      if (!read) return false;
    }
    if (to == nullptr) continue;
    if (*to) return false;  // which of the two would be right?
    *to = std::move(read);
  }
  if (!name) return false;
  part_.name = std::move(*name);
  part_.file_name = extended ? std::move(extended) : std::move(plain);
  return true;
}

multipart_decoder::step multipart_decoder::fail(multipart_error error) noexcept {
  state_ = state::failed;
  error_ = error;
  return {event::failed, {}, 0};
}

}  // namespace rill::http
