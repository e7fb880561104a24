// From method and path to a handler.
//   http::router routes;
//   routes.get("/users/{id}", show_user).post("/users", add_user).use(log);
//   co_await rill::serve(listener, [&](tcp_stream peer) { return http::session(..., routes); });
// Not here: files (files.h).
// Read next: router.cpp.
#pragma once

#include <concepts>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <rill/protocols/http/request.h>
#include <rill/protocols/http/response.h>
#include <rill/protocols/http/session.h>

namespace rill::http {

using handler = std::function<task<response>(request&)>;
/// Gets the request before its handler, which it calls as next(request), and sees the response
/// before the client does.
using middleware = std::function<task<response>(request&, const handler& next)>;

/// What add() and its kin take: a function of a request that gives a response, or a task of one.
template <class Function>
concept handler_function = std::is_invocable_r_v<task<response>, Function&, request&> ||
                           (std::is_invocable_v<Function&, request&> &&
                            std::same_as<std::invoke_result_t<Function&, request&>, response>);

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
  template <handler_function Function>
  router& add(std::string_view method, std::string_view pattern, Function&& answer) {
    add_handler(method, pattern, wrapped(std::forward<Function>(answer)));
    return *this;
  }
  template <handler_function Function>
  router& get(std::string_view pattern, Function&& answer) {
    return add("GET", pattern, std::forward<Function>(answer));
  }
  template <handler_function Function>
  router& post(std::string_view pattern, Function&& answer) {
    return add("POST", pattern, std::forward<Function>(answer));
  }
  template <handler_function Function>
  router& put(std::string_view pattern, Function&& answer) {
    return add("PUT", pattern, std::forward<Function>(answer));
  }
  template <handler_function Function>
  router& remove(std::string_view pattern, Function&& answer) {
    return add("DELETE", pattern, std::forward<Function>(answer));
  }
  /// For requests that no pattern fits, whatever their method.
  template <handler_function Function>
  router& fallback(Function&& answer) {
    fallback_ = wrapped(std::forward<Function>(answer));
    return *this;
  }
  /// Around every handler, the answers 404 and 405 included; the first one added is the outermost.
  router& use(middleware around);

  [[nodiscard]] task<response> handle(request& asked) override;

 private:
  struct node;
  struct node_deleter {
    void operator()(node* gone) const noexcept;
  };
  using node_pointer = std::unique_ptr<node, node_deleter>;

  template <class Function>
  static handler wrapped(Function&& answer) {
    if constexpr (std::is_invocable_r_v<task<response>, Function&, request&>) {
      return handler(std::forward<Function>(answer));
    } else {
      return [plain = std::forward<Function>(answer)](request& asked) mutable {
        return ready(plain(asked));
      };
    }
  }
  static task<response> ready(response made);

  void add_handler(std::string_view method, std::string_view pattern, handler answer);
  /// The handler's task, or the answer that there is none.
  task<response> route(request& asked);
  /// The middleware from `index` on, and the handler.
  task<response> around(std::size_t index, request& asked);

  node_pointer root_;
  handler fallback_;
  std::vector<middleware> around_;
};

}  // namespace rill::http
