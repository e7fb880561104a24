// OpenSSL's error queue and randomness. See library.h.
#define OPENSSL_SUPPRESS_DEPRECATED  // RAND_METHOD: the one hook below both of its generators
#include <rill/net/tls/library.h>

#include <cstddef>
#include <limits>
#include <mutex>
#include <new>
#include <span>

#include <openssl/err.h>
#include <openssl/rand.h>

#include <rill/net/tls/error.h>
#include <rill/runtime/loop.h>

namespace rill::tls::detail {
namespace {

/// The names that error.h has for what OpenSSL says.
std::error_code code_of(unsigned long packed) noexcept {
  const int reason = ERR_GET_REASON(packed);
  if (ERR_GET_LIB(packed) == ERR_LIB_SSL) {
    switch (reason) {
      case SSL_R_HTTP_REQUEST:
      case SSL_R_HTTPS_PROXY_REQUEST:
        return tls_error::plain_http;
      case SSL_R_UNSUPPORTED_PROTOCOL:
      case SSL_R_WRONG_SSL_VERSION:
      case SSL_R_WRONG_VERSION_NUMBER:
      case SSL_R_NO_PROTOCOLS_AVAILABLE:
      case SSL_R_VERSION_TOO_LOW:
        return tls_error::protocol_version;
      case SSL_R_NO_SHARED_CIPHER:
      case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
      case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
      case SSL_R_NO_SHARED_GROUPS:
      case SSL_R_NO_SUITABLE_KEY_SHARE:
        return tls_error::no_shared_cipher;
      case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
        return tls_error::no_client_certificate;
      case SSL_R_NO_APPLICATION_PROTOCOL:
        return tls_error::no_application_protocol;
      case SSL_R_CALLBACK_FAILED:
        return tls_error::unknown_name;
      default:
        break;
    }
    if (reason > SSL_AD_REASON_OFFSET && reason <= SSL_AD_REASON_OFFSET + 255) {
      return {alert_base + reason - SSL_AD_REASON_OFFSET, tls_category()};
    }
  }
  return {static_cast<int>(packed & std::numeric_limits<int>::max()), tls_category()};
}

int simulated_bytes(unsigned char* into, int size) {
  loop* const here = loop::current_or_null();
  if (here == nullptr || !is_simulated(here->kernel())) return RAND_OpenSSL()->bytes(into, size);
  here->kernel().random(
      std::span(reinterpret_cast<std::byte*>(into), static_cast<std::size_t>(size)));
  return 1;
}

int simulated_status() { return 1; }

}  // namespace

std::error_code take_error(std::error_code otherwise) noexcept {
  unsigned long chosen = 0;
  while (const unsigned long next = ERR_get_error()) {
    const bool is_first_of_tls =
        ERR_GET_LIB(next) == ERR_LIB_SSL && (chosen == 0 || ERR_GET_LIB(chosen) != ERR_LIB_SSL);
    if (chosen == 0 || is_first_of_tls) chosen = next;
  }
  return chosen == 0 || ERR_SYSTEM_ERROR(chosen) ? otherwise : code_of(chosen);
}

void use_simulated_randomness() {
  static std::once_flag once;
  std::call_once(once, [] {
    static const RAND_METHOD method{nullptr, &simulated_bytes, nullptr,
                                    nullptr, &simulated_bytes, &simulated_status};
    RAND_set_rand_method(&method);
  });
}

bio_ptr reader_of(std::string_view pem) {
  bio_ptr reader(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  if (!reader) throw std::bad_alloc();
  return reader;
}

}  // namespace rill::tls::detail
