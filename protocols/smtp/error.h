// What is wrong with a conversation of SMTP: the error codes of category "smtp".
// Not here: what a server says of a message (reply.h), what fails below (runtime/error.h).
#pragma once

#include <system_error>
#include <type_traits>

namespace rill::smtp {

enum class smtp_error {
  bad_reply = 1,         ///< a line that is no reply, or codes that differ within one
  reply_too_long,        ///< more than reply_limits allow
  unexpected_reply,      ///< a code that means nothing at this point
  unasked_reply,         ///< bytes of the server's for which nothing was sent
  ended,                 ///< the server has closed the connection
  refused,               ///< the server has said so: see the reply
  starttls_not_offered,  ///< TLS is required, and the server's EHLO does not list it
  bytes_before_tls,      ///< plaintext behind the reply to STARTTLS (CVE-2011-0411)
  auth_needs_tls,        ///< credentials, and no TLS
  no_mechanism,          ///< none of the server's ways to authenticate is one of ours
  bad_challenge,         ///< of AUTH: not base64
  line_too_long,         ///< content with a line of more than 998 bytes (RFC 5322 section 2.1.1)
  bad_content,           ///< content with a NUL, or with other bytes than it was said to have
};

/// The category "smtp"; the same object in every call.
const std::error_category& smtp_category() noexcept;
std::error_code make_error_code(smtp_error error) noexcept;

}  // namespace rill::smtp

template <>
struct std::is_error_code_enum<rill::smtp::smtp_error> : std::true_type {};
