// Reading and writing of replies. See reply.h.
#include <rill/protocols/smtp/reply.h>

#include <algorithm>
#include <utility>

#include <rill/net/printable.h>

namespace rill::smtp {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// At most three digits and no leading zero (RFC 3463 section 2).
std::optional<std::uint16_t> take_number(std::string_view& text) {
  const auto size =
      static_cast<std::size_t>(std::find_if_not(text.begin(), text.end(), is_digit) - text.begin());
  if (size == 0 || size > 3 || (size > 1 && text.front() == '0')) return std::nullopt;
  std::uint16_t number = 0;
  for (const char digit : text.substr(0, size)) {
    number = static_cast<std::uint16_t>(number * 10 + (digit - '0'));
  }
  text.remove_prefix(size);
  return number;
}

bool take(std::string_view& text, char c) {
  if (!text.starts_with(c)) return false;
  text.remove_prefix(1);
  return true;
}

}  // namespace

std::string enhanced_status::to_string() const {
  return std::to_string(kind) + '.' + std::to_string(subject) + '.' + std::to_string(detail);
}

// ---------------------------------------------------------------- replies

reply::reply(int code, std::string_view text) : code_(code) {
  for (;;) {
    const std::size_t end = text.find('\n');
    std::string line(text.substr(0, end));
    std::replace_if(line.begin(), line.end(), [](char c) { return c == '\r' || c == '\0'; }, ' ');
    lines_.push_back(std::move(line));
    if (end == std::string_view::npos) return;
    text.remove_prefix(end + 1);
  }
}

std::optional<enhanced_status> reply::status() const noexcept {
  if (lines_.empty()) return std::nullopt;
  std::string_view text = lines_.front();
  const auto kind = take_number(text);
  if (!kind || *kind != code_ / 100 || !take(text, '.')) return std::nullopt;
  const auto subject = take_number(text);
  if (!subject || !take(text, '.')) return std::nullopt;
  const auto detail = take_number(text);
  if (!detail || (!text.empty() && text.front() != ' ')) return std::nullopt;
  return enhanced_status{*kind, *subject, *detail};
}

std::string reply::to_string() const {
  std::string text = std::to_string(code_);
  for (const std::string& line : lines_) {
    if (!line.empty()) text.append(" ").append(printable(line));
  }
  return text;
}

std::string reply::wire() const {
  std::string text;
  for (std::size_t i = 0; i < lines_.size(); ++i) {
    const bool is_last = i + 1 == lines_.size();
    text.append(std::to_string(code_)).append(is_last ? " " : "-").append(lines_[i]).append("\r\n");
  }
  return text;
}

// ---------------------------------------------------------------- reading

reply_parser::step reply_parser::fail(smtp_error why, std::size_t used) noexcept {
  error_ = why;
  return {used, parse_state::failed};
}

/// False: not a line of this reply.
bool reply_parser::take_line(std::string_view line) {
  if (line.size() < 3 || line.front() < '2' || line.front() > '5' || !is_digit(line[1]) ||
      !is_digit(line[2])) {
    return false;
  }
  const int code = (line[0] - '0') * 100 + (line[1] - '0') * 10 + (line[2] - '0');
  if (!reply_.lines_.empty() && code != reply_.code_) return false;
  const char separator = line.size() == 3 ? ' ' : line[3];
  if (separator != ' ' && separator != '-') return false;
  if (line.find('\0') != std::string_view::npos || line.find('\r') != std::string_view::npos) {
    return false;
  }
  reply_.code_ = code;
  reply_.lines_.emplace_back(line.substr(std::min<std::size_t>(line.size(), 4)));
  is_complete_ = separator == ' ';
  return true;
}

reply_parser::step reply_parser::parse(std::string_view bytes) {
  if (std::exchange(is_complete_, false)) reply_ = reply();
  std::size_t used = 0;
  for (;;) {
    const std::string_view rest = bytes.substr(used);
    const std::size_t end = rest.find('\n');
    // Of a line that has not ended the CR may be there already; of one that has it may lack.
    const std::string_view line = rest.substr(0, end);
    const std::size_t size = line.size() - static_cast<std::size_t>(line.ends_with('\r'));
    if (size > limits_.line_size_max) return fail(smtp_error::reply_too_long, used);
    if (end == std::string_view::npos) return {used, parse_state::incomplete};
    if (!line.ends_with('\r') || !take_line(line.substr(0, size))) {
      return fail(smtp_error::bad_reply, used);
    }
    used += end + 1;
    if (is_complete_) return {used, parse_state::complete};
    if (reply_.lines_.size() >= limits_.line_count_max) {
      return fail(smtp_error::reply_too_long, used);
    }
  }
}

}  // namespace rill::smtp
