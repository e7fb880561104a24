// The rules of a client that need no connection: the heads of its requests, where a redirect leads,
// how much patience a server asks for. Private.
// Read next: client.cpp, which obeys them.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <rill/protocols/http/client_request.h>
#include <rill/protocols/http/head.h>
#include <rill/protocols/http/url.h>

namespace rill::http::detail {

/// A request as it stands after the redirects so far.
struct journey {
  std::string method;
  url target;
  const url* proxy = nullptr;
  bool has_body = false;
  /// Still at the origin that the caller's credentials are for.
  bool has_credentials = true;

  /// "GET http://host/path"
  std::string name() const { return method + ' ' + target.to_string(); }
  /// A request that goes through the proxy, not through a tunnel.
  bool is_proxied() const noexcept { return proxy != nullptr && target.scheme == "http"; }
};

/// What of a head does not come from the request.
struct head_defaults {
  std::string_view user_agent;
  const client_request::field_list* fields;
  std::string_view accept_encoding;  ///< empty: none
  std::string_view cookies;          ///< empty: none
  bool keeps_alive;
  bool expects_continue;
};

/// The whole head. `body` is what will be sent.
std::string write_head(const journey& at, const client_request& asked, const request_body& body,
                       const head_defaults& defaults);
/// The same without secrets, for people to see.
std::string without_secrets(std::string_view head);

/// 301, 302, 303, 307 or 308 with a Location.
bool is_redirect(const response_head& head) noexcept;
/// The method for the next request (RFC 9110 section 15.4).
std::string_view method_after(int status, std::string_view method) noexcept;

/// Retry-After (RFC 9110 section 10.2.3); nullopt without one that can be read.
std::optional<std::chrono::nanoseconds> retry_after(const response_head& head,
                                                    std::int64_t wall_now);

}  // namespace rill::http::detail
