// Drawing keys and handing them to OpenSSL. See ticket_keys.h.
#include <rill/net/tls/ticket_keys.h>

#include <cstring>
#include <new>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/params.h>
#include <openssl/rand.h>

namespace rill::tls::detail {

bool ticket_keys::key::draw() noexcept {
  is_drawn = RAND_bytes(name.data(), static_cast<int>(name.size())) == 1 &&
             RAND_priv_bytes(cipher_key.data(), static_cast<int>(cipher_key.size())) == 1 &&
             RAND_priv_bytes(mac_key.data(), static_cast<int>(mac_key.size())) == 1;
  return is_drawn;
}

bool ticket_keys::key::is_named(const unsigned char* other) const noexcept {
  return is_drawn && std::memcmp(name.data(), other, name.size()) == 0;
}

void ticket_keys::key::forget() noexcept {
  OPENSSL_cleanse(cipher_key.data(), cipher_key.size());
  OPENSSL_cleanse(mac_key.data(), mac_key.size());
  is_drawn = false;
}

ticket_keys::ticket_keys(std::chrono::nanoseconds interval)
    : interval_(interval.count()), algorithm_(EVP_CIPHER_fetch(nullptr, "AES-256-CBC", nullptr)) {
  if (!algorithm_) throw std::bad_alloc();
}

bool ticket_keys::advance(std::int64_t now) noexcept {
  const std::int64_t age = now - begin_;
  if (current_.is_drawn && age >= 0 && age < interval_) return true;
  // Nobody came for more than an interval, or the clock is another one: both keys are too old.
  const bool is_next = current_.is_drawn && age >= interval_ && age - interval_ < interval_;
  if (is_next) {
    previous_ = current_;
    begin_ += interval_;
  } else {
    previous_.forget();
    begin_ = now;
  }
  return current_.draw();
}

bool ticket_keys::set_up(const key& with, const unsigned char* iv, EVP_CIPHER_CTX* cipher,
                         EVP_MAC_CTX* mac, bool seals) const noexcept {
  char digest[] = "SHA256";
  const OSSL_PARAM chosen[] = {
      OSSL_PARAM_construct_octet_string(
          OSSL_MAC_PARAM_KEY, const_cast<unsigned char*>(with.mac_key.data()), with.mac_key.size()),
      OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
      OSSL_PARAM_construct_end()};
  return EVP_CipherInit_ex(cipher, algorithm_.get(), nullptr, with.cipher_key.data(), iv,
                           seals ? 1 : 0) == 1 &&
         EVP_MAC_CTX_set_params(mac, chosen) == 1;
}

int ticket_keys::seal(unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher,
                      EVP_MAC_CTX* mac, std::int64_t now) noexcept {
  constexpr int iv_size = 16;  // a block of AES
  const std::lock_guard held(lock_);
  if (!advance(now) || RAND_bytes(iv, iv_size) != 1) return -1;
  std::memcpy(name, current_.name.data(), current_.name.size());
  return set_up(current_, iv, cipher, mac, true) ? 1 : -1;
}

int ticket_keys::open(const unsigned char* name, const unsigned char* iv, EVP_CIPHER_CTX* cipher,
                      EVP_MAC_CTX* mac, std::int64_t now) noexcept {
  const std::lock_guard held(lock_);
  if (!advance(now)) return -1;
  const bool is_current = current_.is_named(name);
  if (!is_current && !previous_.is_named(name)) return 0;
  if (!set_up(is_current ? current_ : previous_, iv, cipher, mac, false)) return -1;
  return is_current ? 1 : 2;
}

}  // namespace rill::tls::detail
