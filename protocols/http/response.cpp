// Fields and bodies of responses. See response.h.
#include <rill/protocols/http/response.h>

#include <algorithm>
#include <stdexcept>

#include <rill/protocols/http/head.h>
#include <rill/protocols/http/scan.h>

namespace rill::http {
namespace {

constexpr std::string_view line_end = "\r\n";

/// The first line of `lines` and what follows it.
std::string_view take_line(std::string_view& lines) noexcept {
  const std::string_view line = lines.substr(0, lines.find(line_end));
  lines.remove_prefix(std::min(line.size() + line_end.size(), lines.size()));
  return line;
}

bool has_name(std::string_view line, std::string_view name) noexcept {
  return line.size() > name.size() && line[name.size()] == ':' &&
         equals_without_case(line.substr(0, name.size()), name);
}

/// The first line with this name; empty without one.
std::string_view find_line(std::string_view lines, std::string_view name) noexcept {
  while (!lines.empty()) {
    const std::string_view line = take_line(lines);
    if (has_name(line, name)) return line;
  }
  return {};
}

void check(std::string_view name, std::string_view value) {
  const char* const name_end = name.data() + name.size();
  if (name.empty() || detail::find_not_token(name.data(), name_end) != name_end) {
    throw std::invalid_argument("the name of an HTTP field is not a token");
  }
  const char* const value_end = value.data() + value.size();
  if (detail::find_control(value.data(), value_end) != value_end) {
    throw std::invalid_argument("the HTTP field " + std::string(name) +
                                " must not have a control character in its value");
  }
  static constexpr std::string_view owned[] = {"Content-Length", "Transfer-Encoding", "Connection",
                                               "Date", "Keep-Alive"};
  for (const std::string_view each : owned) {
    if (equals_without_case(name, each)) {
      throw std::logic_error("the HTTP field " + std::string(name) + " belongs to the session");
    }
  }
}

}  // namespace

std::uint64_t file_body::size() const noexcept {
  std::uint64_t sum = after_.size();
  for (const file_part& each : parts_) sum += each.before.size() + each.size;
  return sum;
}

response response::fixed(std::string_view body, std::string_view type) {
  response made;
  made.fields_.append("Content-Type", type);
  made.fixed_ = body;
  made.is_fixed_ = true;
  return made;
}

response response::from_file(file source, std::uint64_t offset, std::uint64_t size,
                             std::string_view type) {
  response made;
  std::vector<file_part> parts;
  parts.emplace_back(offset, size);
  made.set_body(file_body(std::move(source), std::move(parts)), type);
  return made;
}

response response::redirect(std::string_view location, int status) {
  response made(status);
  made.set("Location", location);
  return made;
}

response response::stream(producer body, std::string_view type) {
  response made;
  made.fields_.append("Content-Type", type);
  made.producer_ = std::move(body);
  return made;
}

void response::set_body(std::string body, std::string_view type) {
  set("Content-Type", type);
  body_ = std::move(body);
  is_fixed_ = false;
  producer_ = nullptr;
  file_ = nullptr;
}

void response::set_body(file_body body, std::string_view type) {
  set_body(std::string(), type);
  file_ = std::make_shared<file_body>(std::move(body));
}

response response::upgrade(std::string_view protocol, upgrade_handler then) {
  constexpr int switching_protocols = 101;
  response made(switching_protocols);
  made.set("Upgrade", protocol);
  made.upgrade_ = std::make_shared<const upgrade_handler>(std::move(then));
  return made;
}

response& response::set(std::string_view name, std::string_view value) & {
  check(name, value);
  if (find_line(fields(), name).empty()) {
    fields_.append(name, value);
    return *this;
  }
  detail::field_lines replaced;
  for (std::string_view rest = fields(); !rest.empty();) {
    const std::string_view line = take_line(rest);
    if (!has_name(line, name)) replaced.append(line);
  }
  replaced.append(name, value);  // which may lie in what is given up now
  fields_ = std::move(replaced);
  return *this;
}

response& response::add(std::string_view name, std::string_view value) & {
  check(name, value);
  fields_.append(name, value);
  return *this;
}

std::string_view response::find(std::string_view name) const noexcept {
  const std::string_view line = find_line(fields(), name);
  return line.empty() ? line : line.substr(name.size() + 2);
}

std::string escape_html(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

void detail::field_lines::append(std::initializer_list<std::string_view> pieces) {
  std::size_t added = 0;
  for (const std::string_view each : pieces) added += each.size();
  if (!many_.empty() || added > few_max - size_) {
    if (many_.empty()) many_.assign(few_, size_);
    for (const std::string_view each : pieces) many_.append(each);
    size_ = 0;
    return;
  }
  for (const std::string_view each : pieces) size_ += each.copy(few_ + size_, each.size());
}

}  // namespace rill::http
