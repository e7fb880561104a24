// Addresses of the web (RFC 3986), percent-encoding, queries and forms.
// Not here: targets of requests as they come (head.h), names of files (files.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rill::http {

/// Decodes "%41". nullopt if a percent sign is not followed by two hexadecimal digits.
std::optional<std::string> percent_decode(std::string_view text);

/// Encodes all but letters, digits and "-._~", and what stands in `also_kept`.
std::string percent_encode(std::string_view text, std::string_view also_kept = {});

/// Names and values, in their order; names may come more than once.
using parameter_list = std::vector<std::pair<std::string, std::string>>;

/// Reads "a=1&b=x+y" (application/x-www-form-urlencoded, the query of a form). Never fails: a
/// percent sign that begins no encoding stands for itself, as browsers have it.
/// At most `count_max` parameters are read; nullopt beyond.
std::optional<parameter_list> parse_form(std::string_view text, std::size_t count_max = 1000);
std::string write_form(const parameter_list& parameters);

/// The path of a target with its encodings and dot segments resolved: "/a/%62/../c/" is "/a/c/".
/// nullopt if it is malformed, does not begin with "/", leaves the root, or holds a NUL, or a slash
/// or a backslash that was encoded: whoever looks at the path must see what the file system sees.
std::optional<std::string> resolve_path(std::string_view encoded);

/// A URL with a host: "https://user@example.org:8443/path?query#fragment".
struct url {
  std::string scheme;  ///< in lower case
  std::string user_information;
  std::string host;        ///< in lower case; an IPv6 address without its brackets
  std::uint16_t port = 0;  ///< as given, or that of the scheme (http 80, https 443)
  std::string path = "/";  ///< encoded
  std::string query;       ///< encoded, without "?"
  bool has_query = false;

  /// nullopt for text that is no URL of scheme http or https. Characters that a URL cannot hold are
  /// encoded in path and query, spaces too; controls are refused. A fragment is dropped.
  static std::optional<url> parse(std::string_view text);
  /// `reference` as it stands in a document at this URL, such as Location (RFC 3986 section 5.2).
  std::optional<url> resolve(std::string_view reference) const;

  /// "/path?query": the target of a request.
  std::string target() const;
  /// "example.org:8443", without the scheme's own port: the field Host.
  std::string authority() const;
  /// "https://example.org": what may share credentials and connections.
  std::string origin() const;
  /// All of it, but without the user information, which is a secret.
  std::string to_string() const;
};

}  // namespace rill::http
