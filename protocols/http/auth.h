// Who asks: the schemes Basic (RFC 7617) and Bearer (RFC 6750) of Authorization, and a middleware
// that lets in who has a password. Over plain HTTP everybody on the way can read both.
//   routes.use(http::basic_auth("staff", [](std::string_view user, std::string_view password) {
//     return user == "ann" && http::is_same_secret(password, secret);
//   }));
// Not here: passwords at rest; keep them hashed by a function that is slow on purpose.
// Read next: auth.cpp.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include <rill/protocols/http/response.h>
#include <rill/protocols/http/router.h>

namespace rill::http {

/// Who somebody says to be.
struct credentials {
  std::string user;
  std::string password;
};

/// Of "Basic dXNlcjpwYXNz"; nullopt for other schemes, what is no base64 with its padding, and text
/// without a colon or with controls (RFC 7617 section 2).
std::optional<credentials> parse_basic(std::string_view authorization);
/// The field that a client sends. Throws std::invalid_argument for a colon in the user and for
/// controls.
std::string write_basic(const credentials& given);

/// The token of "Bearer abc"; nullopt for other schemes and for what is no token of RFC 6750
/// section 2.1.
std::optional<std::string_view> parse_bearer(std::string_view authorization) noexcept;

/// Takes as long for any `given` of one length, so that nobody can guess byte by byte.
bool is_same_secret(std::string_view given, std::string_view secret) noexcept;

/// 401 with WWW-Authenticate: the browser asks for user and password. Throws std::invalid_argument
/// for controls in `realm`.
response ask_for_password(std::string_view realm);

/// Requests without credentials, or whose `check` says no, are answered 401. `check` runs on the
/// loop: it must not block, and should compare by is_same_secret.
middleware basic_auth(std::string realm,
                      std::function<bool(std::string_view user, std::string_view password)> check);

}  // namespace rill::http
