// Headers of messages. See headers.h.
#include <rill/protocols/nats/headers.h>

#include <stdexcept>

#include <rill/runtime/error.h>

namespace rill::nats {
namespace {

constexpr std::string_view version = "NATS/1.0";

std::string_view trimmed(std::string_view text) noexcept {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

bool is_name(std::string_view text) noexcept {
  if (text.empty()) return false;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte <= ' ' || byte == 0x7f || c == ':') return false;
  }
  return true;
}

bool is_value(std::string_view text) noexcept {
  return text.find_first_of(std::string_view("\r\n\0", 3)) == text.npos;
}

}  // namespace

tl::expected<headers, nats_error> headers::parse(std::string_view block) {
  const auto wrong = tl::unexpected(nats_error::bad_headers);
  headers made;
  if (block.empty()) return made;
  const auto take_line = [&](std::string_view& line) {
    const std::size_t end = block.find("\r\n");
    if (end == block.npos) return false;
    line = block.substr(0, end);
    block.remove_prefix(end + 2);
    return is_value(line);
  };
  std::string_view line;
  if (!take_line(line) || !line.starts_with(version)) return wrong;
  line.remove_prefix(version.size());
  if (!line.empty() && line.front() != ' ' && line.front() != '\t') return wrong;
  line = trimmed(line);
  if (!line.empty()) {
    constexpr std::size_t digit_count = 3;
    if (line.size() < digit_count) return wrong;
    for (const char c : line.substr(0, digit_count)) {
      if (c < '0' || c > '9') return wrong;
      made.status_ = made.status_ * 10 + (c - '0');
    }
    const std::string_view rest = line.substr(digit_count);
    if (made.status_ < 100 || (!rest.empty() && rest.front() != ' ')) return wrong;
    made.description_ = trimmed(rest);
  }
  for (;;) {
    if (!take_line(line)) return wrong;
    if (line.empty()) break;
    const std::size_t colon = line.find(':');
    if (colon == line.npos || !is_name(line.substr(0, colon))) return wrong;
    if (made.fields_.size() == count_max) return wrong;
    made.fields_.emplace_back(line.substr(0, colon), trimmed(line.substr(colon + 1)));
  }
  if (!block.empty()) return wrong;
  return made;
}

std::string headers::to_text() const {
  if (empty()) return {};
  std::string text(version);
  if (status_ != 0) {
    text += ' ' + std::to_string(status_);
    if (!description_.empty()) text += ' ' + description_;
  }
  text += "\r\n";
  for (const auto& [name, value] : fields_) text.append(name).append(": ").append(value) += "\r\n";
  return text += "\r\n";
}

headers& headers::add(std::string_view name, std::string_view value) {
  if (!is_name(name)) throw std::invalid_argument("a header's name is malformed");
  if (!is_value(value)) throw std::invalid_argument("a header's value holds a line's end or a NUL");
  fields_.emplace_back(name, trimmed(value));
  return *this;
}

std::optional<std::string_view> headers::find(std::string_view name) const noexcept {
  for (const auto& each : fields_) {
    if (each.first == name) return each.second;
  }
  return std::nullopt;
}

void headers::set_status(int status, std::string_view description) {
  RILL_ASSERT(status >= 100 && status <= 999, "a status has three digits");
  RILL_ASSERT(is_value(description), "a description is one line");
  status_ = status;
  description_ = trimmed(description);
}

}  // namespace rill::nats
