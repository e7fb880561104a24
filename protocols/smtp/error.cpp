// The texts of category "smtp". See error.h.
#include <rill/protocols/smtp/error.h>

#include <string>

namespace rill::smtp {
namespace {

class smtp_category_type final : public std::error_category {
 public:
  const char* name() const noexcept override { return "smtp"; }

  std::string message(int value) const override {
    switch (static_cast<smtp_error>(value)) {
      case smtp_error::bad_reply:
        return "malformed reply";
      case smtp_error::reply_too_long:
        return "reply too long";
      case smtp_error::unexpected_reply:
        return "unexpected reply";
      case smtp_error::unasked_reply:
        return "a reply that nobody has asked for";
      case smtp_error::ended:
        return "the server has closed the connection";
      case smtp_error::refused:
        return "refused";
      case smtp_error::starttls_not_offered:
        return "TLS is required, and the server does not offer STARTTLS";
      case smtp_error::bytes_before_tls:
        return "plaintext came between STARTTLS and the handshake";
      case smtp_error::auth_needs_tls:
        return "credentials are not sent without TLS";
      case smtp_error::no_mechanism:
        return "the server offers no way to authenticate that is ours";
      case smtp_error::bad_challenge:
        return "malformed challenge";
      case smtp_error::line_too_long:
        return "a line of more than 998 bytes in the message";
      case smtp_error::bad_content:
        return "a byte in the message that must not stand there";
    }
    return "unknown smtp error " + std::to_string(value);
  }
};

}  // namespace

const std::error_category& smtp_category() noexcept {
  static const smtp_category_type category;
  return category;
}

std::error_code make_error_code(smtp_error error) noexcept {
  return {static_cast<int>(error), smtp_category()};
}

}  // namespace rill::smtp
