// Certificates made for one test: authorities, and what they sign. Keys are new in every run.
// Valid from 2020 to 2049 unless told otherwise, so also on the simulator's calendar.
#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <rill/net/tls/context.h>

namespace rill::test {

/// What a certificate says.
struct certificate_text {
  std::string common_name = "rill test";
  /// As OpenSSL has them: "DNS:example.org,DNS:*.example.org,IP:127.0.0.1". Empty: none.
  std::string names;
  std::string not_before = "20200101000000Z";
  std::string not_after = "20491231235959Z";
  bool is_authority = false;
  bool is_rsa = false;
};

class signed_certificate {
 public:
  /// Signed by `issuer`, or by itself.
  explicit signed_certificate(const certificate_text& text,
                              const signed_certificate* issuer = nullptr)
      : key_(text.is_rsa ? EVP_RSA_gen(2048) : new_curve_key(), EVP_PKEY_free),
        own_(X509_new(), X509_free) {
    X509* const own = own_.get();
    X509_set_version(own, X509_VERSION_3);
    std::uint32_t serial = 0;
    RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof(serial));
    ASN1_INTEGER_set_uint64(X509_get_serialNumber(own), serial + std::uint64_t{1});
    ASN1_TIME_set_string(X509_getm_notBefore(own), text.not_before.c_str());
    ASN1_TIME_set_string(X509_getm_notAfter(own), text.not_after.c_str());
    X509_NAME_add_entry_by_txt(X509_get_subject_name(own), "CN", MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(text.common_name.c_str()), -1,
                               -1, 0);
    const signed_certificate& signer = issuer != nullptr ? *issuer : *this;
    X509_set_issuer_name(own, X509_get_subject_name(signer.own_.get()));
    X509_set_pubkey(own, key_.get());
    add(signer, NID_basic_constraints, text.is_authority ? "critical,CA:TRUE" : "CA:FALSE");
    add(signer, NID_subject_key_identifier, "hash");
    if (!text.names.empty()) add(signer, NID_subject_alt_name, text.names.c_str());
    if (X509_sign(own, signer.key_.get(), EVP_sha256()) == 0) {
      throw std::runtime_error("a certificate could not be signed");
    }
  }

  std::string pem() const {
    return text([&](BIO* to) { return PEM_write_bio_X509(to, own_.get()); });
  }
  std::string key_pem(const char* passphrase = nullptr) const {
    return text([&](BIO* to) {
      return PEM_write_bio_PKCS8PrivateKey(
          to, key_.get(), passphrase != nullptr ? EVP_aes_128_cbc() : nullptr, passphrase,
          passphrase != nullptr ? 4 : 0, nullptr, nullptr);
    });
  }
  tls::certificate loaded() const { return tls::certificate::parse(pem(), key_pem()); }

 private:
  static EVP_PKEY* new_curve_key() {
    char curve[] = "P-256";
    return EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", curve);
  }
  void add(const signed_certificate& signer, int extension, const char* value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, signer.own_.get(), own_.get(), nullptr, nullptr, 0);
    X509_EXTENSION* const made = X509V3_EXT_conf_nid(nullptr, &context, extension, value);
    if (made == nullptr) throw std::runtime_error(value);
    X509_add_ext(own_.get(), made, -1);
    X509_EXTENSION_free(made);
  }
  template <class Write>
  static std::string text(Write write) {
    const std::unique_ptr<BIO, decltype(&BIO_free)> to(BIO_new(BIO_s_mem()), BIO_free);
    if (write(to.get()) != 1) throw std::runtime_error("PEM could not be written");
    char* data = nullptr;
    const long size = BIO_get_mem_data(to.get(), &data);
    return {data, static_cast<std::size_t>(size)};
  }

  std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key_;
  std::unique_ptr<X509, decltype(&X509_free)> own_;
};

inline certificate_text named(std::string names) {
  certificate_text text;
  text.names = std::move(names);
  return text;
}

/// The authority of this run's tests.
inline const signed_certificate& test_authority() {
  static const signed_certificate made([] {
    certificate_text text;
    text.common_name = "rill test authority";
    text.is_authority = true;
    return text;
  }());
  return made;
}

/// For "server.test", "*.wild.test" and 127.0.0.1, signed by it.
inline const signed_certificate& test_certificate() {
  static const signed_certificate made(named("DNS:server.test,DNS:*.wild.test,IP:127.0.0.1"),
                                       &test_authority());
  return made;
}

/// Trusts the authority of the tests and nobody else.
inline tls::client_options trusting_options() {
  tls::client_options options;
  options.system_authorities = false;
  options.authorities_pem = test_authority().pem();
  return options;
}
inline tls::client_context trusting() { return tls::client_context(trusting_options()); }

}  // namespace rill::test
