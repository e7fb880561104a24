// The texts of category "http". See error.h.
#include <rill/protocols/http/error.h>

#include <string>

namespace rill::http {
namespace {

class http_category_type final : public std::error_category {
 public:
  const char* name() const noexcept override { return "http"; }

  std::string message(int value) const override {
    switch (static_cast<http_error>(value)) {
      case http_error::bad_request_line:
        return "malformed request line";
      case http_error::bad_status_line:
        return "malformed status line";
      case http_error::bad_target:
        return "malformed request target";
      case http_error::unsupported_version:
        return "unsupported version of HTTP";
      case http_error::bad_field:
        return "malformed field";
      case http_error::folded_field:
        return "field folded over several lines";
      case http_error::bare_line_feed:
        return "line ends without CR";
      case http_error::start_line_too_long:
        return "first line too long";
      case http_error::head_too_large:
        return "fields too large";
      case http_error::missing_host:
        return "no Host";
      case http_error::bad_host:
        return "malformed Host";
      case http_error::bad_content_length:
        return "malformed Content-Length";
      case http_error::bad_transfer_encoding:
        return "malformed Transfer-Encoding";
      case http_error::unsupported_transfer_encoding:
        return "unsupported transfer coding";
      case http_error::conflicting_length:
        return "both Content-Length and Transfer-Encoding";
      case http_error::unsupported_expectation:
        return "unsupported expectation";
      case http_error::bad_chunk:
        return "malformed chunk";
      case http_error::chunk_extensions_too_large:
        return "chunk extensions too large";
      case http_error::bad_trailer:
        return "malformed or forbidden trailer field";
      case http_error::trailer_too_large:
        return "trailer too large";
      case http_error::body_too_large:
        return "body too large";
      case http_error::incomplete:
        return "the connection ended in the middle of a message";
    }
    return "unknown http error " + std::to_string(value);
  }
};

}  // namespace

const std::error_category& http_category() noexcept {
  static const http_category_type category;
  return category;
}

std::error_code make_error_code(http_error error) noexcept {
  return {static_cast<int>(error), http_category()};
}

int status_of(http_error error) noexcept {
  // RFC 9110 section 15.5 and 15.6, RFC 6585 section 5.
  switch (error) {
    case http_error::body_too_large:
      return 413;
    case http_error::start_line_too_long:
      return 414;
    case http_error::unsupported_expectation:
      return 417;
    case http_error::head_too_large:
    case http_error::trailer_too_large:
      return 431;
    case http_error::unsupported_transfer_encoding:
      return 501;
    case http_error::unsupported_version:
      return 505;
    default:
      return 400;
  }
}

}  // namespace rill::http
