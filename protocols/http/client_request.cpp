// How requests are put together. See client_request.h.
#include <rill/protocols/http/client_request.h>

#include <algorithm>
#include <stdexcept>

#include <rill/protocols/http/auth.h>
#include <rill/protocols/http/head.h>
#include <rill/protocols/http/scan.h>

namespace rill::http {
namespace {

bool is_token(std::string_view text) noexcept {
  const char* const end = text.data() + text.size();
  return !text.empty() && detail::find_not_token(text.data(), end) == end;
}

void check_value(std::string_view name, std::string_view value) {
  const char* const end = value.data() + value.size();
  if (detail::find_control(value.data(), end) != end) {
    throw std::invalid_argument("the HTTP field " + std::string(name) +
                                " must not have a control character in its value");
  }
}

/// Names in Content-Disposition as browsers write them: the quote and line ends percent-encoded
/// (HTML, "multipart form data").
void append_quoted(std::string& to, std::string_view text) {
  to += '"';
  for (const char c : text) {
    if (c == '"') {
      to += "%22";
    } else if (c == '\r') {
      to += "%0D";
    } else if (c == '\n') {
      to += "%0A";
    } else {
      to += c;
    }
  }
  to += '"';
}

}  // namespace

request_body request_body::stream(producer produce, std::optional<std::uint64_t> size,
                                  std::string type, bool repeatable) {
  request_body made({}, std::move(type));
  made.producer_ = std::move(produce);
  made.size_ = size;
  made.is_repeatable_ = repeatable;
  return made;
}

std::optional<std::uint64_t> request_body::size() const noexcept {
  return producer_ ? size_ : std::optional<std::uint64_t>(bytes_.size());
}

client_request::client_request(std::string method, std::string url)
    : method_(std::move(method)), url_(std::move(url)) {
  if (!is_token(method_)) throw std::invalid_argument("the HTTP method is not a token");
}

client_request& client_request::header(std::string_view name, std::string_view value) {
  if (!is_token(name)) throw std::invalid_argument("the name of an HTTP field is not a token");
  check_value(name, value);
  for (const std::string_view each : {"Content-Length", "Transfer-Encoding", "Connection", "TE",
                                      "Trailer", "Upgrade", "Expect", "Keep-Alive"}) {
    if (equals_without_case(name, each)) {
      throw std::logic_error("the HTTP field " + std::string(name) + " belongs to the client");
    }
  }
  std::erase_if(fields_, [&](const auto& each) { return equals_without_case(each.first, name); });
  std::erase_if(left_out_, [&](const auto& each) { return equals_without_case(each, name); });
  fields_.emplace_back(name, value);
  return *this;
}

const std::string* client_request::find(std::string_view name) const noexcept {
  for (const auto& [each, value] : fields_) {
    if (equals_without_case(each, name)) return &value;
  }
  return nullptr;
}

client_request& client_request::without(std::string_view name) {
  std::erase_if(fields_, [&](const auto& each) { return equals_without_case(each.first, name); });
  left_out_.emplace_back(name);
  return *this;
}

bool client_request::is_decided(std::string_view name) const noexcept {
  return find(name) != nullptr ||
         std::any_of(left_out_.begin(), left_out_.end(),
                     [&](const std::string& each) { return equals_without_case(each, name); });
}

client_request& client_request::query(std::string_view name, std::string_view value) {
  if (!query_.empty()) query_ += '&';
  query_ += write_form({{std::string(name), std::string(value)}});
  return *this;
}

client_request& client_request::basic_auth(std::string_view user, std::string_view password) {
  const credentials given{std::string(user), std::string(password)};
  return header("Authorization", write_basic(given));
}

client_request& client_request::bearer_auth(std::string_view token) {
  return header("Authorization", "Bearer " + std::string(token));
}

client_request& client_request::body(request_body content) {
  body_ = std::move(content);
  return *this;
}

client_request& client_request::form(std::string name, std::string value) {
  parts_.emplace_back(std::move(name), std::move(value));
  return *this;
}

client_request& client_request::file(std::string name, std::string file_name, std::string content,
                                     std::string type) {
  check_value("Content-Type", type);
  part& added = parts_.emplace_back(std::move(name), std::move(content));
  added.file_name = std::move(file_name);
  added.type = std::move(type);
  added.is_file = true;
  return *this;
}

client_request& client_request::timeouts(const client_timeouts& limits) {
  timeouts_ = limits;
  return *this;
}

client_request& client_request::redirect_max(unsigned count) {
  redirect_max_ = count;
  return *this;
}

client_request& client_request::on_upload(progress_function call) {
  on_upload_ = std::move(call);
  return *this;
}

client_request& client_request::on_download(progress_function call) {
  on_download_ = std::move(call);
  return *this;
}

request_body write_multipart(const std::vector<client_request::part>& parts,
                             std::string_view boundary) {
  std::string all;
  for (const client_request::part& each : parts) {
    all.append("--").append(boundary).append("\r\nContent-Disposition: form-data; name=");
    append_quoted(all, each.name);
    if (each.is_file) {
      all += "; filename=";
      append_quoted(all, each.file_name);
      all.append("\r\nContent-Type: ").append(each.type);
    }
    all.append("\r\n\r\n").append(each.content).append("\r\n");
  }
  all.append("--").append(boundary).append("--\r\n");
  return request_body(std::move(all), "multipart/form-data; boundary=" + std::string(boundary));
}

std::string basic_credentials(const url& of) {
  const std::string& information = of.user_information;
  if (information.empty()) return {};
  const std::size_t colon = std::min(information.find(':'), information.size());
  const std::string user = information.substr(0, colon);
  const std::string password = information.substr(std::min(colon + 1, information.size()));
  const credentials given{percent_decode(user).value_or(user),
                          percent_decode(password).value_or(password)};
  return write_basic(given);
}

bool is_idempotent(std::string_view method) noexcept {
  for (const std::string_view each : {"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"}) {
    if (method == each) return true;
  }
  return false;
}

}  // namespace rill::http
