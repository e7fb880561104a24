// What a handler is given: the head of a request, who sent it, and its body.
//   const std::string text = co_await asked.read_body();
// Read next: response.h.
#pragma once

#include <cstddef>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rill/net/endpoint.h>
#include <rill/protocols/http/head.h>
#include <rill/runtime/task.h>

namespace rill::http {

class response;

namespace detail {
/// What the session of a request does for it.
class request_owner {
 public:
  /// The next piece of the body.
  virtual task<std::string_view> read() = 0;
  virtual bool is_complete() const noexcept = 0;
  /// The answer to what a handler has thrown: the status that belongs to it, without any detail.
  virtual response answer_failure(const std::exception_ptr& failure) = 0;

 protected:
  ~request_owner() = default;
};
}  // namespace detail

/// Lives as long as the handler's task; so do its views.
class request {
 public:
  request(const request_head& head, const endpoint& peer, detail::request_owner& owner) noexcept
      : head_(&head), peer_(&peer), owner_(&owner) {}
  request(const request&) = delete;
  request& operator=(const request&) = delete;

  const request_head& head() const noexcept { return *head_; }
  std::string_view method() const noexcept { return head_->method(); }
  /// Path and query as they were sent, encoded: http::resolve_path and http::parse_form read them.
  std::string_view path() const noexcept { return head_->path(); }
  std::string_view query() const noexcept { return head_->query(); }
  /// The first field of this name, compared without case.
  std::optional<std::string_view> find(std::string_view name) const noexcept {
    return head_->find(name);
  }
  /// Who sent it; unnamed when the connection is no socket.
  const endpoint& peer() const noexcept { return *peer_; }

  /// What stands in the path in place of "{name}", decoded; empty without it (router.h).
  std::string_view parameter(std::string_view name) const noexcept;

  /// The next piece of the body; empty at its end. Valid until the next call. If the client waits
  /// for it, "100 Continue" is sent first.
  /// Errors: io_error of the connection; with a code of category "http" when the body is malformed,
  ///   too large or ends too early. The session then answers for the handler that lets it pass.
  [[nodiscard]] task<std::string_view> read_some() { return owner_->read(); }
  /// All of the body, or what is left of it.
  [[nodiscard]] task<std::string> read_body();

  // For routers.
  detail::request_owner& owner() const noexcept { return *owner_; }
  using parameters = std::vector<std::pair<std::string_view, std::string>>;
  void set_parameters(parameters found) noexcept { parameters_ = std::move(found); }
  /// What request_id() has called it (request_id.h).
  const std::string& id() const noexcept { return id_; }
  void set_id(std::string id) noexcept { id_ = std::move(id); }

 private:
  const request_head* head_;
  const endpoint* peer_;
  detail::request_owner* owner_;
  parameters parameters_;
  std::string id_;
};

}  // namespace rill::http
