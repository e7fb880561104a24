// A name for each request, by which its lines in several logs are found.
//   routes.use(http::request_id());   ...   asked.id()
// Read next: request_id.cpp.
#pragma once

#include <string_view>

#include <rill/protocols/http/router.h>

namespace rill::http {

/// Gives every answer the field X-Request-Id: that of the request, if it is one sane name, as a
/// proxy in front sends it, else 32 random hexadecimal digits. Handlers find it as request::id().
middleware request_id();

/// 1 to 128 letters, digits and "-_.:/+=@": nothing that would need escaping in a log or a URL
/// path.
bool is_request_id(std::string_view text) noexcept;

}  // namespace rill::http
