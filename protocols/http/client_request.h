// What a client sends: method, URL, fields and a body, put together by name.
//   http::client_request ask("POST", "http://localhost:8080/upload");
//   ask.header("X-Trace", "7").query("page", "2").file("photo", "cat.jpg", bytes, "image/jpeg");
//   const auto got = co_await client.send(ask);
// g++ 12 wants such an object to have a name: not inside the co_await expression.
// Read next: client.h.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rill/protocols/http/response.h>
#include <rill/protocols/http/url.h>
#include <rill/runtime/task.h>

namespace rill::http {

/// The body of a request: none, bytes, or what a function writes.
class request_body {
 public:
  /// Writes the body and returns. An exception ends the request and reaches the caller.
  using producer = std::function<task<void>(body_writer&)>;

  request_body() {}
  explicit request_body(std::string bytes, std::string type = "application/octet-stream")
      : bytes_(std::move(bytes)), type_(std::move(type)), is_given_(true) {}
  static request_body text(std::string bytes) {
    return request_body(std::move(bytes), "text/plain; charset=utf-8");
  }
  /// `bytes` are JSON already.
  static request_body json(std::string bytes) {
    return request_body(std::move(bytes), "application/json");
  }
  /// application/x-www-form-urlencoded.
  static request_body form(const parameter_list& parameters) {
    return request_body(write_form(parameters), "application/x-www-form-urlencoded");
  }
  /// Of `size` bytes, or, without a size, sent in chunks. It is produced once, so such a request is
  /// neither retried nor sent to where a 307 or 308 points, unless it is `repeatable`: then
  /// `produce` may be called again, and writes the same from the beginning.
  static request_body stream(producer produce, std::optional<std::uint64_t> size,
                             std::string type = "application/octet-stream",
                             bool repeatable = false);

  /// False: no body, which differs from an empty one.
  bool is_given() const noexcept { return is_given_; }
  bool is_repeatable() const noexcept { return is_repeatable_; }
  const std::string& bytes() const noexcept { return bytes_; }
  const std::string& type() const noexcept { return type_; }
  const producer& body_producer() const noexcept { return producer_; }
  /// nullopt: unknown.
  std::optional<std::uint64_t> size() const noexcept;

 private:
  std::string bytes_;
  std::string type_;
  producer producer_;
  std::optional<std::uint64_t> size_;
  bool is_given_ = false;
  bool is_repeatable_ = true;
};

/// Limits of time. All of them end a request with client_error::is_timeout().
struct client_timeouts {
  /// From the look-up of the name to the end of the TLS handshake.
  std::chrono::nanoseconds connect = std::chrono::seconds(10);
  /// Without a byte sent or received, which is also how long a server may think.
  std::chrono::nanoseconds idle = std::chrono::seconds(30);
  /// All of it: waiting for a connection, redirects, retries, the last byte of the body, also of
  /// one that is read piece by piece. Against peers that send a byte now and then.
  std::chrono::nanoseconds total = std::chrono::minutes(5);
};

/// How much of a body has gone or come, in bytes as they are on the wire; and of how many, if that
/// is known.
using progress_function = std::function<void(std::uint64_t, std::optional<std::uint64_t>)>;

/// A request to be sent: method, URL, fields, body, and limits of its own.
class client_request {
 public:
  using field_list = std::vector<std::pair<std::string, std::string>>;

  /// A part of a form: a file, if it has a file name.
  class part {
   public:
    part(std::string part_name, std::string bytes)
        : name(std::move(part_name)), content(std::move(bytes)) {}
    std::string name;
    std::string content;
    std::string file_name;
    std::string type;
    bool is_file = false;
  };

  /// Throws std::invalid_argument for a method that is no token. The URL is judged when it is sent.
  client_request(std::string method, std::string url);

  /// Sets a field, in place of the client's own (Host, User-Agent, Accept, Accept-Encoding) or of
  /// one set before. Throws std::invalid_argument for a name that is no token and a value with a
  /// control character, and std::logic_error for those that belong to the client: Content-Length,
  /// Transfer-Encoding, Connection, TE, Trailer, Upgrade, Expect.
  /// A client that is given Accept-Encoding hands out the body as it comes.
  client_request& header(std::string_view name, std::string_view value);
  /// Leaves out a field that the client would send by itself: User-Agent, Accept, Accept-Encoding,
  /// Content-Type, those of client_options. header() for the same name takes it back.
  client_request& without(std::string_view name);
  /// Adds to the query of the URL.
  client_request& query(std::string_view name, std::string_view value);
  /// Throws std::invalid_argument for a colon in the user and for controls.
  client_request& basic_auth(std::string_view user, std::string_view password);
  client_request& bearer_auth(std::string_view token);

  client_request& body(request_body content);
  client_request& text(std::string content) { return body(request_body::text(std::move(content))); }
  client_request& json(std::string content) { return body(request_body::json(std::move(content))); }
  /// A field of a form: application/x-www-form-urlencoded, or multipart/form-data (RFC 7578) once
  /// the form has a file.
  client_request& form(std::string name, std::string value);
  /// The form is multipart/form-data without a file too.
  client_request& multipart() noexcept {
    is_multipart_ = true;
    return *this;
  }
  client_request& file(std::string name, std::string file_name, std::string content,
                       std::string type = "application/octet-stream");

  client_request& timeouts(const client_timeouts& limits);
  /// 0: a redirect is a response like others.
  client_request& redirect_max(unsigned count);
  client_request& on_upload(progress_function call);
  client_request& on_download(progress_function call);

  const std::string& method() const noexcept { return method_; }
  const std::string& url_text() const noexcept { return url_; }
  const field_list& fields() const noexcept { return fields_; }
  /// The value of a field that was set.
  const std::string* find(std::string_view name) const noexcept;
  /// It was set, or is left out: the client's own is not sent.
  bool is_decided(std::string_view name) const noexcept;
  bool is_multipart() const noexcept { return is_multipart_; }
  /// "a=1&b=2", encoded.
  const std::string& query_text() const noexcept { return query_; }
  const request_body& content() const noexcept { return body_; }
  const std::vector<part>& parts() const noexcept { return parts_; }
  const std::optional<client_timeouts>& own_timeouts() const noexcept { return timeouts_; }
  const std::optional<unsigned>& own_redirect_max() const noexcept { return redirect_max_; }
  const progress_function& upload_progress() const noexcept { return on_upload_; }
  const progress_function& download_progress() const noexcept { return on_download_; }

 private:
  std::string method_;
  std::string url_;
  std::string query_;
  field_list fields_;
  request_body body_;
  std::vector<part> parts_;
  std::vector<std::string> left_out_;
  bool is_multipart_ = false;
  std::optional<client_timeouts> timeouts_;
  std::optional<unsigned> redirect_max_;
  progress_function on_upload_;
  progress_function on_download_;
};

/// multipart/form-data (RFC 7578). `boundary` must not occur in any part; 16 random bytes in
/// hexadecimal do not.
request_body write_multipart(const std::vector<client_request::part>& parts,
                             std::string_view boundary);

/// "Basic dXNlcjpwYXNz" of "http://user:pass@host" (RFC 7617); empty without. Throws as
/// basic_auth().
std::string basic_credentials(const url& of);

/// GET, HEAD, PUT, DELETE, OPTIONS, TRACE: sending it twice is as good as once (RFC 9110 section
/// 9.2.2).
bool is_idempotent(std::string_view method) noexcept;

}  // namespace rill::http
