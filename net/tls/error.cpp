// The texts of category "tls". See error.h.
#include <rill/net/tls/error.h>

#include <string>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include <rill/net/tls/library.h>

namespace rill::tls {
namespace {

static_assert(static_cast<int>(tls_error::certificate_not_yet_valid) ==
              verify_base + X509_V_ERR_CERT_NOT_YET_VALID);
static_assert(static_cast<int>(tls_error::certificate_expired) ==
              verify_base + X509_V_ERR_CERT_HAS_EXPIRED);
static_assert(static_cast<int>(tls_error::certificate_self_signed) ==
              verify_base + X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT);
static_assert(static_cast<int>(tls_error::self_signed_in_chain) ==
              verify_base + X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN);
static_assert(static_cast<int>(tls_error::unknown_ca) ==
              verify_base + X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY);
static_assert(static_cast<int>(tls_error::certificate_revoked) ==
              verify_base + X509_V_ERR_CERT_REVOKED);
static_assert(static_cast<int>(tls_error::wrong_host) ==
              verify_base + X509_V_ERR_HOSTNAME_MISMATCH);
static_assert(static_cast<int>(tls_error::wrong_address) ==
              verify_base + X509_V_ERR_IP_ADDRESS_MISMATCH);

/// nullptr where the family has the text.
const char* text_of(tls_error error) {
  switch (error) {
    case tls_error::truncated:
      return "the connection ended without close_notify, bytes may be missing";
    case tls_error::plain_http:
      return "the peer speaks plain HTTP, not TLS";
    case tls_error::not_tls:
      return "the peer does not speak TLS";
    case tls_error::protocol_version:
      return "no version of TLS in common";
    case tls_error::no_shared_cipher:
      return "no cipher, group or signature algorithm in common";
    case tls_error::no_client_certificate:
      return "the client has sent no certificate";
    case tls_error::no_application_protocol:
      return "no application protocol in common";
    case tls_error::unknown_name:
      return "no certificate for the name that the client asks for";
    case tls_error::too_many_messages:
      return "too many messages that ask for an answer";
    case tls_error::bad_host_name:
      return "neither a host name nor an IP address";
    case tls_error::bad_certificate_file:
      return "no certificate in PEM format";
    case tls_error::bad_key_file:
      return "no private key in PEM format";
    case tls_error::key_encrypted:
      return "the private key is protected by a passphrase; store it without one";
    case tls_error::key_mismatch:
      return "the private key does not belong to the certificate";
    case tls_error::bad_options:
      return "options that OpenSSL does not accept";
    case tls_error::certificate_not_yet_valid:
      return "the certificate is not yet valid";
    case tls_error::certificate_expired:
      return "the certificate has expired";
    case tls_error::certificate_self_signed:
      return "the certificate is self-signed";
    case tls_error::self_signed_in_chain:
      return "the certificate's chain ends in a self-signed one that is not trusted";
    case tls_error::unknown_ca:
      return "the certificate is signed by an unknown authority";
    case tls_error::certificate_revoked:
      return "the certificate has been revoked";
    case tls_error::wrong_host:
      return "the certificate is for another host name";
    case tls_error::wrong_address:
      return "the certificate is not for this IP address";
    case tls_error::alert_certificate_required:  // OpenSSL 3.0 has no text for these two
      return "the peer refused: certificate required";
    case tls_error::alert_no_application_protocol:
      return "the peer refused: no application protocol in common";
    default:
      return nullptr;
  }
}

class tls_category_type final : public std::error_category {
 public:
  const char* name() const noexcept override { return "tls"; }

  std::string message(int value) const override {
    if (const char* const text = text_of(static_cast<tls_error>(value))) return text;
    if (value >= detail::library_error_min) {
      const char* const reason = ERR_reason_error_string(static_cast<unsigned long>(value));
      return reason != nullptr ? reason : "OpenSSL error " + std::to_string(value);
    }
    if (value >= alert_base) {
      return std::string("the peer refused: ") + SSL_alert_desc_string_long(value - alert_base);
    }
    if (value >= verify_base) return X509_verify_cert_error_string(value - verify_base);
    return "unknown tls error " + std::to_string(value);
  }
};

}  // namespace

const std::error_category& tls_category() noexcept {
  static const tls_category_type category;
  return category;
}

std::error_code make_error_code(tls_error error) noexcept {
  return {static_cast<int>(error), tls_category()};
}

}  // namespace rill::tls
