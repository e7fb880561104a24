// What is wrong with an HTTP message: the error codes of category "http", and the status with
// which a server answers a request that has it.
// Not here: what fails below HTTP (runtime/error.h), answers that are errors (status.h).
#pragma once

#include <system_error>
#include <type_traits>

namespace rill::http {

enum class http_error {
  bad_request_line = 1,   ///< not "METHOD TARGET HTTP/1.1" (RFC 9112 section 3)
  bad_status_line,        ///< not "HTTP/1.1 200 OK" (RFC 9112 section 4)
  bad_target,             ///< none of the four forms of RFC 9112 section 3.2
  unsupported_version,    ///< HTTP of another major version
  bad_field,              ///< a field line without a proper name and colon, or with a control in it
  folded_field,           ///< a field that goes on in the next line (RFC 9112 section 5.2)
  bare_line_feed,         ///< a line that ends without CR
  start_line_too_long,    ///< more than head_limits::start_line_size_max
  head_too_large,         ///< more than head_limits::head_size_max or field_count_max
  missing_host,           ///< HTTP/1.1 without Host (RFC 9112 section 3.2)
  bad_host,               ///< more than one Host, or one that is no host and port
  bad_content_length,     ///< not a number, or several
  bad_transfer_encoding,  ///< not "chunked" at the end, twice, or with HTTP/1.0
  unsupported_transfer_encoding,  ///< a coding beside chunked
  conflicting_length,             ///< Content-Length and Transfer-Encoding (request smuggling)
  unsupported_expectation,        ///< Expect with something else than 100-continue
  bad_chunk,                      ///< a chunk without a proper size line or end
  chunk_extensions_too_large,     ///< more than body_limits::extension_size_max
  bad_trailer,                    ///< a trailer field that is malformed or must not stand there
  trailer_too_large,              ///< more than body_limits::trailer_size_max
  body_too_large,                 ///< more than body_limits::size_max
  incomplete,                     ///< the stream ended in the middle of a message
};

/// The category "http"; the same object in every call.
const std::error_category& http_category() noexcept;
std::error_code make_error_code(http_error error) noexcept;

/// 400, 413, 414, 417, 431, 501 or 505: how a request with this error is answered, before the
/// connection is closed, for what follows on it means nothing.
int status_of(http_error error) noexcept;

}  // namespace rill::http

template <>
struct std::is_error_code_enum<rill::http::http_error> : std::true_type {};
