// AUTH (RFC 4954): what a client answers to a server's challenges, and how a server checks it.
// PLAIN (RFC 4616), LOGIN, CRAM-MD5 (RFC 2195), XOAUTH2. Bytes in, bytes out.
// Not here: when credentials may be sent at all (client.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace rill::smtp {

enum class auth_mechanism : std::uint8_t { plain, login, cram_md5, xoauth2 };

/// "CRAM-MD5".
std::string_view name_of(auth_mechanism mechanism) noexcept;
/// By its name, in capitals or not.
std::optional<auth_mechanism> find_mechanism(std::string_view name) noexcept;

/// Who a client is, and what proves it.
class credentials {
 public:
  /// Whichever way the server offers: PLAIN, LOGIN, CRAM-MD5, the first of them. Throws
  /// std::invalid_argument for a NUL in either (RFC 4616).
  credentials(std::string user, std::string password);
  /// XOAUTH2, with a token instead of a password. Throws std::invalid_argument for controls.
  static credentials bearer(std::string user, std::string token);
  /// This way, or none.
  credentials& only(auth_mechanism mechanism) noexcept {
    mechanism_ = mechanism;
    return *this;
  }

  const std::string& user() const noexcept { return user_; }
  const std::string& secret() const noexcept { return secret_; }
  std::optional<auth_mechanism> mechanism() const noexcept { return mechanism_; }

 private:
  std::string user_;
  std::string secret_;
  std::optional<auth_mechanism> mechanism_;
};

/// The client's side of one exchange. Everything in base64 but for nothing, which is "".
class auth_exchange {
 public:
  auth_exchange(auth_mechanism mechanism, const credentials& who) noexcept
      : mechanism_(mechanism), who_(&who) {}

  /// What stands behind the mechanism in the AUTH command; nullopt: the server speaks first.
  std::optional<std::string> initial() const;
  /// The answer to the text of a reply 334; nullopt: the challenge makes no sense.
  std::optional<std::string> answer(std::string_view challenge);

 private:
  auth_mechanism mechanism_;
  const credentials* who_;
  unsigned step_ = 0;
};

/// The hexadecimal HMAC-MD5 of `text` (RFC 2104).
std::string hmac_md5(std::string_view key, std::string_view text);

}  // namespace rill::smtp
