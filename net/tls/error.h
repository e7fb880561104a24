// Why TLS refused: the error codes of category "tls".
// A code is one of the values below, or one of three whole families: what the check of a
// certificate found (verify_base + X509_V_ERR_...), the peer's alert (alert_base + its number, RFC
// 8446 section 6), or an error of OpenSSL's as it numbers them (8,388,608 and above). All have a
// text; those that programs tell apart have a name here.
// Not here: what fails below TLS, which keeps its errno. Read next: engine.h.
#pragma once

#include <system_error>
#include <type_traits>

namespace rill::tls {

inline constexpr int verify_base = 1000;
inline constexpr int alert_base = 2000;

enum class tls_error {
  truncated = 1,            ///< the transport ended without close_notify: bytes may be missing
  plain_http,               ///< the peer speaks HTTP without TLS
  not_tls,                  ///< the peer speaks something else without TLS
  protocol_version,         ///< no version of TLS that both sides allow
  no_shared_cipher,         ///< no cipher, group or signature algorithm that both sides allow
  no_client_certificate,    ///< the client was asked for a certificate and has sent none
  no_application_protocol,  ///< none of the protocols that the client offers (ALPN)
  unknown_name,             ///< the client asked for a name without a certificate (SNI)
  too_many_messages,        ///< a peer that makes us answer and takes no answers
  bad_host_name,            ///< the name to connect to is neither a host name nor an IP address
  bad_certificate_file,     ///< no certificate in PEM
  bad_key_file,             ///< no private key in PEM
  key_encrypted,            ///< the private key is protected by a passphrase
  key_mismatch,             ///< the private key is not that of the certificate
  bad_options,              ///< options that OpenSSL does not take

  certificate_not_yet_valid = verify_base + 9,
  certificate_expired = verify_base + 10,
  certificate_self_signed = verify_base + 18,
  self_signed_in_chain = verify_base + 19,  ///< the chain ends in a root that is not trusted
  unknown_ca = verify_base + 20,            ///< signed by an authority that is not trusted
  certificate_revoked = verify_base + 23,
  wrong_host = verify_base + 62,     ///< the certificate is for other host names
  wrong_address = verify_base + 64,  ///< the certificate is not for this IP address

  alert_handshake_failure = alert_base + 40,
  alert_bad_certificate = alert_base + 42,
  alert_certificate_expired = alert_base + 45,
  alert_unknown_ca = alert_base + 48,
  alert_protocol_version = alert_base + 70,
  alert_unrecognized_name = alert_base + 112,
  alert_certificate_required = alert_base + 116,
  alert_no_application_protocol = alert_base + 120,
};

/// The category "tls"; the same object in every call.
const std::error_category& tls_category() noexcept;
std::error_code make_error_code(tls_error error) noexcept;

}  // namespace rill::tls

template <>
struct std::is_error_code_enum<rill::tls::tls_error> : std::true_type {};
