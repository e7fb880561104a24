// From method and path to a handler.
//   http::router routes;
//   routes.get("/users/{id}", show_user).post("/users", add_user).use(log);
//   co_await rill::serve(listener, [&](tcp_stream peer) { return http::session(..., routes); });
// Not here: files (files.h).
// Read next: router.cpp.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rill/protocols/http/request.h>
#include <rill/protocols/http/response.h>
#include <rill/protocols/http/session.h>

namespace rill::http {

/// A function of a request that gives a response, or the task of one.
using handler = std::function<answer(request&)>;
/// Gets the request before its handler, which it calls as next(request), and sees the response
/// before the client does: by next(request).then(change), or, in a coroutine, by awaiting it.
/// `next` lives as long as the router. It never throws: what the handler, or middleware further in,
/// throws has become the response of its status, 500 or another, which is sent with what is added.
using middleware = std::function<answer(request&, const handler& next)>;

/// Set up first, then used by any number of sessions; it must outlive them.
///
/// Paths: segments between slashes. "{name}" stands for any one segment that is not empty,
///   "{name...}" at the end for all that is left, slashes included and perhaps nothing. A fixed
///   segment is preferred to "{name}", and that to "{name...}". Segments are compared after
///   percent-decoding; a path that is malformed is answered with 400.
/// Methods: a path that has handlers for other methods only is answered with 405 and Allow. HEAD
///   without a handler of its own is answered as GET, without the body. OPTIONS is answered with
///   204 and Allow. A path without any handler is answered with 404, or by fallback().
class router final : public service {
 public:
  router() noexcept {}
  router(const router&) = delete;
  router& operator=(const router&) = delete;

  /// Throws std::invalid_argument for a pattern that is malformed or there already with this
  /// method, or whose name for a segment differs from what another pattern calls it.
  router& add(std::string_view method, std::string_view pattern, handler to);
  router& get(std::string_view pattern, handler to) { return add("GET", pattern, std::move(to)); }
  router& post(std::string_view pattern, handler to) { return add("POST", pattern, std::move(to)); }
  router& put(std::string_view pattern, handler to) { return add("PUT", pattern, std::move(to)); }
  router& remove(std::string_view pattern, handler to) {
    return add("DELETE", pattern, std::move(to));
  }
  /// For requests that no pattern fits, whatever their method.
  router& fallback(handler to) {
    fallback_ = std::move(to);
    return *this;
  }
  /// Around every handler, the answers 404 and 405 included; the first one added is the outermost.
  router& use(middleware around);

  [[nodiscard]] answer handle(request& asked) override;

 private:
  struct node;
  struct node_deleter {
    void operator()(node* gone) const noexcept;
  };
  using node_pointer = std::unique_ptr<node, node_deleter>;

  struct layer {
    middleware around;
    handler next;
  };

  /// What the handler gives, or the answer that there is none.
  answer route(request& asked);
  /// The same through the middleware from `index` on.
  answer through(std::size_t index, request& asked);
  /// The same, without an exception.
  answer caught(std::size_t index, request& asked);

  node_pointer root_;
  handler fallback_;
  std::vector<layer> layers_;
};

}  // namespace rill::http
