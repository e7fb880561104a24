// What a client gets: status, fields and a body, whole or piece by piece.
//   got.raise_for_status();
//   std::puts(got.text().c_str());
// Read next: client.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rill/protocols/http/head.h>
#include <rill/protocols/http/url.h>
#include <rill/runtime/task.h>

namespace rill::http {

namespace detail {
class client_exchange;
}

/// A response with its whole body (client::send, get ...), or one whose body is still to be read
/// (client::open). Its views live as long as it does; it may be moved, and outlive the client.
class client_response {
 public:
  /// A response on the way to this one.
  struct hop {
    int status;
    std::string url;
    std::string head_text;  // as the server sent it
  };

  client_response(client_response&& other) noexcept;
  client_response& operator=(client_response&& other) noexcept;
  /// Closes the connection if the body was not read to its end.
  ~client_response();

  int status() const noexcept { return head().status(); }
  std::string_view reason() const noexcept { return head().reason(); }
  /// Less than 400.
  bool is_ok() const noexcept { return status() < 400; }
  /// Throws client_error, "GET http://host/path: 404 Not Found", for 400 and more.
  void raise_for_status() const;

  const response_head& head() const noexcept;
  /// As the server sent it, status line and fields.
  std::string_view head_text() const noexcept;
  /// The first field of this name, compared without case.
  std::optional<std::string_view> find(std::string_view name) const noexcept {
    return head().find(name);
  }
  /// A field of the trailer, once the body has been read; empty without it.
  std::string_view find_trailer(std::string_view name) const noexcept;

  /// Of the last request, after redirects.
  const http::url& url() const noexcept { return url_; }
  const std::vector<hop>& history() const noexcept { return history_; }
  /// "10.0.0.7:8080"; of the proxy, if there was one.
  const std::string& peer() const noexcept;

  /// What was read by client::send or read_body(). Decoded, if it was compressed.
  const std::string& body() const noexcept { return body_; }
  /// The body as UTF-8, by the charset of Content-Type (charset.h). Throws client_error with
  /// client_fault::unknown_charset for one that is not decoded here: body() has the bytes.
  std::string text() const;

  /// The next piece of the body, decoded; empty at its end. Valid until the next call. For what
  /// client::open gave.
  /// Errors: client_error of phase read: also when the body ends too early.
  /// Cancellation and time-outs around it lose nothing. One call at a time.
  [[nodiscard]] task<std::string_view> read_some();
  /// All of it, or what is left, also in body() afterwards. More than `size_max` bytes are
  /// http_error::body_too_large.
  [[nodiscard]] task<const std::string&> read_body(std::size_t size_max);

  // For the client.
  client_response(std::unique_ptr<detail::client_exchange> of, http::url from) noexcept;
  void set_history(std::vector<hop> history) noexcept { history_ = std::move(history); }
  detail::client_exchange& inner() noexcept { return *exchange_; }

 private:
  std::unique_ptr<detail::client_exchange> exchange_;
  http::url url_;
  std::vector<hop> history_;
  std::string body_;
};

}  // namespace rill::http
