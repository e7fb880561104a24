// Base64 (RFC 4648 section 4), in one piece: for AUTH and encoded words. Private alphabets and
// streams of it: not here (message.cpp has the lines of attachments).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace rill::mail {

/// Without line ends.
std::string to_base64(std::string_view bytes);
/// Strict: padding where it belongs, nothing else between. nullopt: not base64.
std::optional<std::string> from_base64(std::string_view text);

}  // namespace rill::mail
