// What the sources of this room share of OpenSSL: owners of its objects, its error queue as error
// codes, and its randomness under simulation.
// Read next: engine.cpp.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <system_error>

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <rill/runtime/kernel.h>

namespace rill::tls::detail {

template <auto Free>
struct freed_by {
  template <class T>
  void operator()(T* object) const noexcept {
    Free(object);
  }
};
using bio_ptr = std::unique_ptr<BIO, freed_by<BIO_free>>;
using x509_ptr = std::unique_ptr<X509, freed_by<X509_free>>;
using key_ptr = std::unique_ptr<EVP_PKEY, freed_by<EVP_PKEY_free>>;
using ssl_ptr = std::unique_ptr<SSL, freed_by<SSL_free>>;
using ssl_ctx_ptr = std::unique_ptr<SSL_CTX, freed_by<SSL_CTX_free>>;
using session_ptr = std::unique_ptr<SSL_SESSION, freed_by<SSL_SESSION_free>>;

struct free_certificates {
  void operator()(STACK_OF(X509) * all) const noexcept { sk_X509_pop_free(all, X509_free); }
};
using x509_stack_ptr = std::unique_ptr<STACK_OF(X509), free_certificates>;

/// Values of category "tls" from here on are OpenSSL's own packed codes: library << 23 | reason.
inline constexpr int library_error_min = 1 << 23;

/// Empties this thread's error queue and gives what says most, preferring TLS's own reasons to
/// those of the libraries below it; `otherwise` when the queue is empty.
std::error_code take_error(std::error_code otherwise) noexcept;

/// True when the loop's kernel is the simulator.
inline bool is_simulated(const kernel& seam) noexcept { return seam.name() == "sim"; }

/// From now on OpenSSL draws its randomness from the simulated kernel wherever a loop runs on one.
/// Other threads and loops go on with OpenSSL's own generator.
void use_simulated_randomness();

/// Seconds since 1970 by the seam's clock.
inline std::int64_t wall_seconds(kernel& seam) noexcept { return seam.wall_now() / 1'000'000'000; }

/// A BIO that reads `pem`, which must outlive it. Throws std::bad_alloc.
bio_ptr reader_of(std::string_view pem);

}  // namespace rill::tls::detail
