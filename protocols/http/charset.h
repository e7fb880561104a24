// Text of the web in UTF-8, whatever it was sent in.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace rill::http {

/// `bytes` as valid UTF-8. `charset` is a label of Content-Type, without regard to case: UTF-8, of
/// which a byte order mark is dropped and what is malformed becomes U+FFFD; US-ASCII, ISO-8859-1
/// and windows-1252, which are all read as the last, as browsers do (WHATWG, Encoding). nullopt
/// for other charsets. An empty label is UTF-8.
std::optional<std::string> to_utf8(std::string_view bytes, std::string_view charset);

}  // namespace rill::http
