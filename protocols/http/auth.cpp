// Reading and writing Authorization. See auth.h.
#include <rill/protocols/http/auth.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <utility>

#include <rill/net/base64.h>
#include <rill/protocols/http/head.h>
#include <rill/protocols/http/text.h>

namespace rill::http {
namespace {

using detail::has_control;
using rill::detail::decode_base64;
using rill::detail::encode_base64;

/// What follows the name of a scheme and blanks (RFC 9110 section 11.4).
std::optional<std::string_view> after_scheme(std::string_view authorization,
                                             std::string_view scheme) noexcept {
  const std::size_t space = authorization.find(' ');
  if (space == authorization.npos) return std::nullopt;
  if (!equals_without_case(authorization.substr(0, space), scheme)) return std::nullopt;
  return detail::without_blanks(authorization.substr(space));
}

}  // namespace

std::optional<credentials> parse_basic(std::string_view authorization) {
  const auto encoded = after_scheme(authorization, "Basic");
  if (!encoded) return std::nullopt;
  const std::optional<std::string> text = decode_base64(*encoded);
  if (!text || has_control(*text)) return std::nullopt;
  const std::size_t colon = text->find(':');
  if (colon == text->npos) return std::nullopt;
  return credentials{text->substr(0, colon), text->substr(colon + 1)};
}

std::string write_basic(const credentials& given) {
  if (given.user.find(':') != given.user.npos || has_control(given.user) ||
      has_control(given.password)) {
    throw std::invalid_argument("user or password has a character that Basic cannot carry");
  }
  return "Basic " + encode_base64(given.user + ':' + given.password);
}

std::optional<std::string_view> parse_bearer(std::string_view authorization) noexcept {
  const auto token = after_scheme(authorization, "Bearer");
  if (!token) return std::nullopt;
  std::string_view digits = *token;
  while (digits.ends_with('=')) digits.remove_suffix(1);
  constexpr std::string_view others = "-._~+/";
  const bool is_token = std::all_of(digits.begin(), digits.end(), [&](char c) {
    return detail::is_letter(c) || detail::is_digit(c) || others.find(c) != others.npos;
  });
  if (digits.empty() || !is_token) return std::nullopt;
  return token;
}

bool is_same_secret(std::string_view given, std::string_view secret) noexcept {
  // The sum is volatile, lest the compiler find out that it can stop at the first difference.
  volatile unsigned char differences = given.size() == secret.size() ? 0 : 1;
  for (std::size_t i = 0; i < given.size(); ++i) {
    const char other = secret.empty() ? '\0' : secret[i % secret.size()];
    differences = static_cast<unsigned char>(
        differences | (static_cast<unsigned char>(given[i]) ^ static_cast<unsigned char>(other)));
  }
  return differences == 0;
}

response ask_for_password(std::string_view realm) {
  std::string challenge = "Basic realm=\"";
  for (const char c : realm) {
    if (c == '"' || c == '\\') challenge += '\\';
    challenge += c;
  }
  response made(401, "A password is needed.\n", "text/plain; charset=utf-8");
  made.set("WWW-Authenticate", challenge + "\", charset=\"UTF-8\"");
  made.set("Cache-Control", "no-store");
  return made;
}

middleware basic_auth(std::string realm,
                      std::function<bool(std::string_view, std::string_view)> check) {
  ask_for_password(realm);  // throws now for what it would throw at each request
  return [realm = std::move(realm), check = std::move(check)](
             request& asked, const handler& next) -> task<response> {
    const auto given = parse_basic(asked.find("Authorization").value_or(""));
    // Two fields would be two users: who looks at the other one?
    const bool is_one = asked.head().count("Authorization") == 1;
    if (!given || !is_one || !check(given->user, given->password)) {
      co_return ask_for_password(realm);
    }
    co_return co_await next(asked);
  };
}

}  // namespace rill::http
