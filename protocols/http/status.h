// Status codes and their phrases (RFC 9110 section 15 and the registry that it founded).
#pragma once

#include <string_view>

namespace rill::http {

/// "Not Found" of 404; "Unknown" of a code that is not registered. Clients ignore the phrase.
std::string_view reason_of(int status) noexcept;

/// A response with this status has no body, whatever its fields say (RFC 9112 section 6.3).
constexpr bool has_no_body(int status) noexcept {
  return status < 200 || status == 204 || status == 304;
}

}  // namespace rill::http
