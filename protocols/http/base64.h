// Bytes as letters (RFC 4648 section 4), for credentials and keys. Private: no public header shows
// it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace rill::http::detail {

/// nullopt unless it is the one form of each text: with padding, and nothing in the bits left over.
std::optional<std::string> decode_base64(std::string_view text);
std::string encode_base64(std::string_view text);

}  // namespace rill::http::detail
