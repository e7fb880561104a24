// Seeds and signatures, by OpenSSL's Ed25519. See nkey.h.
#include <rill/protocols/nats/nkey.h>

#include <cstddef>
#include <cstdint>
#include <memory>

#include <openssl/evp.h>

namespace rill::nats {
namespace {

// https://github.com/nats-io/nkeys is the source: two bytes of prefix, 32 of the seed, a CRC of 16
// bits, in base32 (RFC 4648 section 6) without padding.
constexpr std::string_view base32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
constexpr std::size_t key_size = 32;
constexpr unsigned prefix_seed = 18U << 3U;
constexpr unsigned prefix_user = 20U << 3U;

/// CRC-16/XMODEM.
std::uint16_t checksum(std::string_view bytes) noexcept {
  std::uint32_t sum = 0;
  for (const char each : bytes) {
    sum ^= std::uint32_t{static_cast<unsigned char>(each)} << 8U;
    for (int bit = 0; bit < 8; ++bit) {
      sum = (sum & 0x8000U) != 0 ? (sum << 1U ^ 0x1021U) : sum << 1U;
    }
    sum &= 0xffffU;
  }
  return static_cast<std::uint16_t>(sum);
}

std::string encode_base32(std::string_view bytes) {
  std::string text;
  std::uint32_t bits = 0;
  unsigned count = 0;
  for (const char each : bytes) {
    bits = (bits << 8U | static_cast<unsigned char>(each)) & 0xffffU;
    for (count += 8; count >= 5; count -= 5) text += base32[bits >> (count - 5) & 31U];
  }
  if (count != 0) text += base32[bits << (5 - count) & 31U];
  return text;
}

std::optional<std::string> decode_base32(std::string_view text) {
  std::string bytes;
  std::uint32_t bits = 0;
  unsigned count = 0;
  for (const char each : text) {
    const std::size_t value = base32.find(each);
    if (value == base32.npos) return std::nullopt;
    bits = (bits << 5U | static_cast<std::uint32_t>(value)) & 0xffffU;
    count += 5;
    if (count < 8) continue;
    count -= 8;
    bytes += static_cast<char>(bits >> count & 0xffU);
  }
  return bytes;
}

std::string with_checksum(std::string bytes) {
  const std::uint16_t sum = checksum(bytes);
  bytes += static_cast<char>(sum & 0xffU);
  bytes += static_cast<char>(sum >> 8U);
  return encode_base32(bytes);
}

struct free_key {
  void operator()(EVP_PKEY* key) const noexcept { EVP_PKEY_free(key); }
};
struct free_context {
  void operator()(EVP_MD_CTX* context) const noexcept { EVP_MD_CTX_free(context); }
};
using key_pointer = std::unique_ptr<EVP_PKEY, free_key>;

const unsigned char* bytes_of(std::string_view text) noexcept {
  return reinterpret_cast<const unsigned char*>(text.data());
}

/// nullptr if it is no seed of a user.
key_pointer key_of(std::string_view seed) {
  std::optional<std::string> bytes = decode_base32(seed);
  constexpr std::size_t sum_size = 2;
  if (!bytes || bytes->size() != 2 + key_size + sum_size ||
      with_checksum(bytes->substr(0, 2 + key_size)) != seed) {
    return nullptr;
  }
  const unsigned first = static_cast<unsigned char>((*bytes)[0]);
  const unsigned second = static_cast<unsigned char>((*bytes)[1]);
  const bool is_seed = (first & 0xf8U) == prefix_seed;
  const bool is_user = ((first & 7U) << 5U | (second & 0xf8U) >> 3U) == prefix_user;
  if (!is_seed || !is_user) return nullptr;
  key_pointer made(
      EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, bytes_of(*bytes) + 2, key_size));
  bytes->assign(bytes->size(), '\0');
  return made;
}

std::string base64url(const unsigned char* bytes, std::size_t size) {
  std::string text(4 * ((size + 2) / 3) + 1, '\0');
  const int length =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()), bytes, static_cast<int>(size));
  text.resize(static_cast<std::size_t>(length));
  while (text.ends_with('=')) text.pop_back();
  for (char& each : text) {
    if (each == '+') each = '-';
    if (each == '/') each = '_';
  }
  return text;
}

/// The line between "-----BEGIN name-----" and the next line of dashes.
std::string_view section(std::string_view text, std::string_view name) {
  const std::string begin = "-----BEGIN " + std::string(name) + "-----";
  const std::size_t found = text.find(begin);
  if (found == text.npos) return {};
  text.remove_prefix(found + begin.size());
  text = text.substr(0, text.find("---"));
  constexpr std::string_view blanks = " \t\r\n";
  const std::size_t first = text.find_first_not_of(blanks);
  if (first == text.npos) return {};
  text.remove_prefix(first);
  return text.substr(0, text.find_first_of(blanks));
}

}  // namespace

std::optional<std::string> public_key(std::string_view seed) {
  const key_pointer key = key_of(seed);
  unsigned char bytes[key_size];
  std::size_t size = sizeof(bytes);
  if (key == nullptr || EVP_PKEY_get_raw_public_key(key.get(), bytes, &size) != 1) {
    return std::nullopt;
  }
  std::string text(1, static_cast<char>(prefix_user));
  text.append(reinterpret_cast<const char*>(bytes), size);
  return with_checksum(std::move(text));
}

std::optional<std::string> sign(std::string_view seed, std::string_view nonce) {
  const key_pointer key = key_of(seed);
  if (key == nullptr) return std::nullopt;
  const std::unique_ptr<EVP_MD_CTX, free_context> context(EVP_MD_CTX_new());
  unsigned char signature[2 * key_size];
  std::size_t size = sizeof(signature);
  if (context == nullptr ||
      EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key.get()) != 1 ||
      EVP_DigestSign(context.get(), signature, &size, bytes_of(nonce), nonce.size()) != 1) {
    return std::nullopt;
  }
  return base64url(signature, size);
}

std::optional<credentials> credentials_from_text(std::string_view text) {
  credentials made;
  made.jwt = section(text, "NATS USER JWT");
  made.seed = section(text, "USER NKEY SEED");
  if (made.jwt.empty() || key_of(made.seed) == nullptr) return std::nullopt;
  return made;
}

}  // namespace rill::nats
