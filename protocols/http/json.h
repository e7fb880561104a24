// JSON in and out by nlohmann's library, which whoever includes this header must have:
// nlohmann-json3-dev. Nothing else of rill needs it.
//   const nlohmann::json read = co_await http::read_json(asked);
//   co_return http::json_response({{"message", "Hello"}});
// Read next: status_error.h.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <nlohmann/json.hpp>

#include <rill/protocols/http/head.h>
#include <rill/protocols/http/request.h>
#include <rill/protocols/http/response.h>
#include <rill/protocols/http/status_error.h>
#include <rill/protocols/http/values.h>
#include <rill/runtime/task.h>

namespace rill::http {

/// What JSON in a request may be like.
struct json_limits {
  /// Bytes of the body: 413 beyond.
  std::size_t size_max = 1024 * 1024;
  /// Arrays and objects within each other: 400 beyond. Deeper ones overflow the stacks of programs
  /// that walk them by recursion.
  std::size_t depth_max = 64;
};
static_assert(std::is_trivially_destructible_v<json_limits>);

namespace detail {

/// How deep arrays and objects lie within each other, at least if it is JSON.
inline std::size_t json_depth(std::string_view text) noexcept {
  std::size_t depth = 0;
  std::size_t most = 0;
  bool is_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (is_string && c == '\\') {
      ++i;
    } else if (c == '"') {
      is_string = !is_string;
    } else if (!is_string && (c == '[' || c == '{')) {
      most = depth + 1 > most ? depth + 1 : most;
      ++depth;
    } else if (!is_string && (c == ']' || c == '}') && depth != 0) {
      --depth;
    }
  }
  return most;
}

inline bool is_json(std::string_view content_type) noexcept {
  constexpr std::string_view suffix = "+json";
  const std::string_view type = media_type(content_type);
  return equals_without_case(type, "application/json") ||
         (type.size() > suffix.size() &&
          equals_without_case(type.substr(type.size() - suffix.size()), suffix));
}

}  // namespace detail

/// 200, or another status, with the value as application/json. Text in it that is not UTF-8 is
/// written with U+FFFD in place of the wrong bytes.
inline response json_response(const nlohmann::json& value, int status = 200) {
  constexpr auto on_wrong_text = nlohmann::json::error_handler_t::replace;
  return response(status, value.dump(-1, ' ', false, on_wrong_text), "application/json");
}

/// Reads the body of a request.
/// Errors: status_error 415 if it is not application/json nor of a type that ends in "+json", 413
/// if
///   it is too large, 400 if it is no JSON or too deep; what request::read_some throws. All may
///   pass.
[[nodiscard]] inline task<nlohmann::json> read_json(request& asked,
                                                    json_limits limits = json_limits()) {
  constexpr int bad_request = 400;
  constexpr int content_too_large = 413;
  constexpr int unsupported_media_type = 415;
  if (!detail::is_json(asked.find("Content-Type").value_or(""))) {
    throw status_error(unsupported_media_type, "a body of type application/json is wanted\n");
  }
  std::string text;
  for (;;) {
    const std::string_view piece = co_await asked.read_some();
    if (piece.empty()) break;
    if (piece.size() > limits.size_max - text.size()) {
      throw status_error(content_too_large, "the JSON text is too large\n");
    }
    text += piece;
  }
  if (detail::json_depth(text) > limits.depth_max) {
    throw status_error(bad_request, "the JSON text is too deep\n");
  }
  nlohmann::json value = nlohmann::json::parse(text, nullptr, false);
  if (value.is_discarded()) throw status_error(bad_request, "the body is no JSON\n");
  co_return value;
}

}  // namespace rill::http
