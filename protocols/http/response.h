// What a handler gives back: status, fields and a body, whole or produced piece by piece.
//   co_return http::response::text("Hello");
//   co_return http::response(404).set("Cache-Control", "no-store");
// Fields that decide about framing (Content-Length, Transfer-Encoding, Connection) and Date belong
// to the session, which knows them.
// Read next: session.h.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include <rill/net/buffer.h>
#include <rill/runtime/task.h>

namespace rill::http {

/// Where the producer of a body writes.
class body_writer {
 public:
  /// Completes when the bytes are on their way: a slow reader makes the producer wait. The bytes
  /// must live until then. Errors: io_error of the connection.
  [[nodiscard]] virtual task<void> write(const_buffer bytes) = 0;
  /// Sends what write() may have held back, for a reader that is to see it now.
  [[nodiscard]] virtual task<void> flush() = 0;

 protected:
  ~body_writer() = default;
};

class response {
 public:
  /// Writes the body and returns. An exception, or cancellation, closes the connection in the
  /// middle of the body, so that the reader sees that it is not whole.
  using producer = std::function<task<void>(body_writer&)>;

  /// Without a body.
  explicit response(int status = 200) : status_(status) {}
  response(int status, std::string body, std::string_view type) : status_(status) {
    set_body(std::move(body), type);
  }
  static response text(std::string body) {
    return response(200, std::move(body), "text/plain; charset=utf-8");
  }
  static response html(std::string body) {
    return response(200, std::move(body), "text/html; charset=utf-8");
  }
  /// A body that lives as long as the server: it is not copied.
  static response fixed(std::string_view body, std::string_view type);
  /// To be fetched elsewhere: 301, 302, 303, 307 or 308.
  static response redirect(std::string_view location, int status = 302);
  /// Of unknown length: sent in chunks, to a client of HTTP/1.0 until the connection closes.
  static response stream(producer body, std::string_view type);

  int status() const noexcept { return status_; }
  /// Adds a field, or replaces those of this name. Throws std::invalid_argument for a name that is
  /// no token and for a value with CR, LF, NUL or another control, so that text of strangers cannot
  /// become a field of its own (response splitting), and std::logic_error for the fields that
  /// belong to the session.
  response& set(std::string_view name, std::string_view value) &;
  response&& set(std::string_view name, std::string_view value) && {
    return std::move(set(name, value));
  }
  /// Adds a field beside others of this name, such as Set-Cookie. Throws as set().
  response& add(std::string_view name, std::string_view value) &;
  response&& add(std::string_view name, std::string_view value) && {
    return std::move(add(name, value));
  }
  /// The first value of a field; empty without it.
  std::string_view find(std::string_view name) const noexcept;
  void set_body(std::string body, std::string_view type);
  /// Replaces the body by one that is produced; the fields stay.
  void set_producer(producer body) {
    body_.clear();
    is_fixed_ = false;
    producer_ = std::move(body);
  }

  /// "Name: value" with CRLF, one after the other.
  std::string_view fields() const noexcept { return fields_; }
  std::string_view body() const noexcept { return is_fixed_ ? fixed_ : std::string_view(body_); }
  const producer& body_producer() const noexcept { return producer_; }

 private:
  void append(std::string_view name, std::string_view value);

  int status_;
  bool is_fixed_ = false;
  std::string_view fixed_;
  std::string fields_;
  std::string body_;
  producer producer_;
};

}  // namespace rill::http
