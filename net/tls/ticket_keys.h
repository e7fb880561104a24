// The keys of a server's session tickets. Whoever gets hold of one can read the sessions that were
// resumed with it, so none is used for long: a new one is drawn after each interval, and the one
// before it opens tickets for one more.
// Shared by all loops that use one context. Not here: the ticket's contents, which are OpenSSL's.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>

#include <rill/net/tls/library.h>

namespace rill::tls::detail {

class ticket_keys {
 public:
  /// Nothing is drawn before the first use.
  explicit ticket_keys(std::chrono::nanoseconds interval);
  ticket_keys(const ticket_keys&) = delete;
  ticket_keys& operator=(const ticket_keys&) = delete;

  /// What OpenSSL's SSL_CTX_set_tlsext_ticket_key_evp_cb(3) asks for. `now` is nanoseconds of a
  /// clock that only goes forward.
  /// 1: goes on with the key of now. -1: without randomness or memory, the handshake fails.
  int seal(unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac,
           std::int64_t now) noexcept;
  /// 1: the key of now. 2: the one before; the client is to get a new ticket. 0: neither, and the
  /// handshake is a full one.
  int open(const unsigned char* name, const unsigned char* iv, EVP_CIPHER_CTX* cipher,
           EVP_MAC_CTX* mac, std::int64_t now) noexcept;

 private:
  struct key {
    std::array<unsigned char, 16> name{};
    std::array<unsigned char, 32> cipher_key{};
    std::array<unsigned char, 32> mac_key{};
    bool is_drawn = false;

    bool draw() noexcept;
    bool is_named(const unsigned char* other) const noexcept;
    void forget() noexcept;
    ~key() { forget(); }
  };

  /// Draws what is due. False: there is no key of now.
  bool advance(std::int64_t now) noexcept;
  bool set_up(const key& with, const unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac,
              bool seals) const noexcept;

  const std::int64_t interval_;
  /// Found once, for finding it costs more than a ticket.
  const std::unique_ptr<EVP_CIPHER, freed_by<EVP_CIPHER_free>> algorithm_;
  std::mutex lock_;
  std::int64_t begin_ = 0;  // of current_
  key current_;
  key previous_;
};

}  // namespace rill::tls::detail
