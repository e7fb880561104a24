// Dots and ends of lines. See data.h.
#include <rill/protocols/smtp/data.h>

#include <algorithm>

namespace rill::smtp {

// ---------------------------------------------------------------- writing

void data_encoder::end_line(std::string& out) {
  out += "\r\n";
  line_size_ = 0;
}

void data_encoder::encode(std::string_view text, std::string& out) {
  while (!text.empty() && !error_) {
    const char c = text.front();
    if (after_return_) {
      after_return_ = false;
      if (c == '\n') {  // of a CRLF that has ended its line already
        text.remove_prefix(1);
        continue;
      }
    }
    if (c == '\r' || c == '\n') {
      after_return_ = c == '\r';
      end_line(out);
      text.remove_prefix(1);
      continue;
    }
    const std::size_t size = std::min(text.find_first_of("\r\n"), text.size());
    const std::string_view part = text.substr(0, size);
    if (line_size_ == 0 && c == '.') out += '.';
    line_size_ += size;
    if (line_size_ > line_size_max) error_ = smtp_error::line_too_long;
    if (part.find('\0') != std::string_view::npos) error_ = smtp_error::bad_content;
    if (error_) return;
    has_high_bytes_ = has_high_bytes_ || std::any_of(part.begin(), part.end(), [](char each) {
                        return static_cast<unsigned char>(each) >= 0x80;
                      });
    out += part;
    text.remove_prefix(size);
  }
}

void data_encoder::finish(std::string& out) {
  if (line_size_ != 0) end_line(out);
  out += ".\r\n";
}

// ---------------------------------------------------------------- reading

void data_decoder::append(std::string_view bytes, std::string& content) {
  const std::uint64_t room = size_max_ - std::min(size_, size_max_);
  content += bytes.substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(room, bytes.size())));
  size_ += bytes.size();
}

data_decoder::step data_decoder::decode(std::string_view bytes, std::string& content) {
  std::size_t at = 0;
  while (at < bytes.size()) {
    const char c = bytes[at];
    switch (place_) {
      case place::line_start:
        if (c == '.') {
          place_ = place::after_dot;
          ++at;
          continue;
        }
        place_ = place::line;
        [[fallthrough]];
      case place::line: {
        const std::string_view rest = bytes.substr(at);
        const std::size_t size = std::min(rest.find_first_of("\r\n"), rest.size());
        append(rest.substr(0, size), content);
        at += size;
        if (size == rest.size()) continue;
        if (bytes[at] == '\n') return {at, state::bare_break};
        place_ = place::after_return;
        break;
      }
      case place::after_return:
        if (c != '\n') return {at, state::bare_break};
        append("\r\n", content);
        place_ = place::line_start;
        break;
      case place::after_dot:
        if (c == '\n') return {at, state::bare_break};
        if (c != '\r') {  // the dot was one of two
          place_ = place::line;
          continue;
        }
        place_ = place::after_dot_return;
        break;
      case place::after_dot_return:
        if (c != '\n') return {at, state::bare_break};
        place_ = place::line_start;
        return {at + 1, state::complete};
    }
    ++at;
  }
  return {at, state::more};
}

}  // namespace rill::smtp
