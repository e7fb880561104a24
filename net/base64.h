// Bytes as letters (RFC 4648 section 4), for credentials, keys and mail. Private: no public header
// shows it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace rill::detail {

/// nullopt unless it is the one form of each text: with padding, and nothing in the bits left over.
std::optional<std::string> decode_base64(std::string_view text);
/// Without line ends.
std::string encode_base64(std::string_view text);

}  // namespace rill::detail
