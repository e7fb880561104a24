// Heads, redirects and patience. See client_head.h.
#include <rill/protocols/http/client_head.h>

#include <algorithm>
#include <charconv>

#include <rill/protocols/http/date.h>

namespace rill::http::detail {
namespace {

constexpr std::string_view line_end = "\r\n";

void append_field(std::string& to, std::string_view name, std::string_view value) {
  to.append(name).append(": ").append(value).append(line_end);
}

bool is_one_of(std::string_view name, std::initializer_list<std::string_view> names) noexcept {
  return std::any_of(names.begin(), names.end(),
                     [&](std::string_view each) { return equals_without_case(each, name); });
}

/// Fields about a body that is no longer sent.
bool is_about_body(std::string_view name) noexcept {
  return name.size() > 8 && equals_without_case(name.substr(0, 8), "Content-");
}

void append_body_fields(std::string& to, const client_request& asked, const request_body& body,
                        std::string_view method) {
  if (!body.is_given()) {
    // Of methods that mean a body its absence is told (RFC 9110 section 8.6).
    if (is_one_of(method, {"POST", "PUT", "PATCH"})) append_field(to, "Content-Length", "0");
    return;
  }
  if (!asked.is_decided("Content-Type") && !body.type().empty()) {
    append_field(to, "Content-Type", body.type());
  }
  if (const auto size = body.size()) {
    append_field(to, "Content-Length", std::to_string(*size));
  } else {
    append_field(to, "Transfer-Encoding", "chunked");
  }
}

}  // namespace

std::string write_head(const journey& at, const client_request& asked, const request_body& body,
                       const head_defaults& defaults) {
  std::string head = at.method + ' ';
  if (at.is_proxied()) head += "http://" + at.target.authority();
  head.append(at.target.target()).append(" HTTP/1.1\r\n");
  const auto is_set = [&](std::string_view name) { return asked.is_decided(name); };
  // The caller's Host is for the first origin.
  const std::string* const host = at.has_credentials ? asked.find("Host") : nullptr;
  append_field(head, "Host", host != nullptr ? *host : at.target.authority());
  if (!is_set("User-Agent") && !defaults.user_agent.empty()) {
    append_field(head, "User-Agent", defaults.user_agent);
  }
  if (!is_set("Accept")) append_field(head, "Accept", "*/*");
  if (!is_set("Accept-Encoding") && !defaults.accept_encoding.empty()) {
    append_field(head, "Accept-Encoding", defaults.accept_encoding);
  }
  for (const auto& [name, value] : *defaults.fields) {
    if (!is_set(name)) append_field(head, name, value);
  }
  for (const auto& [name, value] : asked.fields()) {
    if (equals_without_case(name, "Host")) continue;
    const bool is_secret = is_one_of(name, {"Authorization", "Cookie", "Proxy-Authorization"});
    if (is_secret && !at.has_credentials) continue;
    if (is_about_body(name) && !body.is_given()) continue;
    append_field(head, name, value);
  }
  if (at.has_credentials && !is_set("Authorization")) {
    const std::string credentials = basic_credentials(at.target);
    if (!credentials.empty()) append_field(head, "Authorization", credentials);
  }
  if (!defaults.cookies.empty() && !(is_set("Cookie") && at.has_credentials)) {
    append_field(head, "Cookie", defaults.cookies);
  }
  if (at.is_proxied() && !is_set("Proxy-Authorization")) {
    const std::string credentials = basic_credentials(*at.proxy);
    if (!credentials.empty()) append_field(head, "Proxy-Authorization", credentials);
  }
  append_body_fields(head, asked, body, at.method);
  if (defaults.expects_continue) append_field(head, "Expect", "100-continue");
  if (!defaults.keeps_alive) append_field(head, "Connection", "close");
  return head.append(line_end);
}

std::string without_secrets(std::string_view head) {
  std::string made;
  while (!head.empty()) {
    const std::size_t size = std::min(head.find('\n'), head.size() - 1) + 1;
    const std::string_view line = head.substr(0, size);
    const std::size_t colon = std::min(line.find(':'), line.size());
    const bool is_secret = is_one_of(
        line.substr(0, colon), {"Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie"});
    if (is_secret) {
      made.append(line.substr(0, colon)).append(": (hidden)\r\n");
    } else {
      made.append(line);
    }
    head.remove_prefix(size);
  }
  return made;
}

bool is_redirect(const response_head& head) noexcept {
  const int status = head.status();
  return (status == 301 || status == 302 || status == 303 || status == 307 || status == 308) &&
         head.find("Location").has_value();
}

std::string_view method_after(int status, std::string_view method) noexcept {
  if (status == 303) return method == "HEAD" ? method : "GET";
  if ((status == 301 || status == 302) && method == "POST") return "GET";
  return method;
}

std::optional<std::chrono::nanoseconds> retry_after(const response_head& head,
                                                    std::int64_t wall_now) {
  const auto value = head.find("Retry-After");
  if (!value) return std::nullopt;
  const char* const end = value->data() + value->size();
  constexpr std::chrono::seconds century(3'155'760'000);  // as good as what does not fit
  std::int64_t count = 0;
  const auto [rest, status] = std::from_chars(value->data(), end, count);
  if (rest == end && !value->empty() && value->front() != '-') {
    if (status != std::errc()) return century;
    return std::min(std::chrono::seconds(count), century);
  }
  const auto now = std::chrono::floor<std::chrono::seconds>(
      std::chrono::sys_time<std::chrono::nanoseconds>(std::chrono::nanoseconds(wall_now)));
  const auto date = parse_date(*value, now);
  if (!date) return std::nullopt;
  return std::clamp(*date - now, std::chrono::seconds(0), century);
}

}  // namespace rill::http::detail
