// The mechanisms. See auth.h.
#include <rill/protocols/smtp/auth.h>

#include <stdexcept>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <rill/net/base64.h>

namespace rill::smtp {
namespace {

constexpr std::pair<std::string_view, auth_mechanism> mechanisms[] = {
    {"PLAIN", auth_mechanism::plain},
    {"LOGIN", auth_mechanism::login},
    {"CRAM-MD5", auth_mechanism::cram_md5},
    {"XOAUTH2", auth_mechanism::xoauth2}};

bool equals_without_case(std::string_view left, std::string_view capitals) {
  if (left.size() != capitals.size()) return false;
  for (std::size_t i = 0; i < left.size(); ++i) {
    const char c =
        left[i] >= 'a' && left[i] <= 'z' ? static_cast<char>(left[i] - 'a' + 'A') : left[i];
    if (c != capitals[i]) return false;
  }
  return true;
}

void refuse(bool is_bad) {
  if (is_bad) throw std::invalid_argument("a byte in the credentials that must not stand there");
}

bool has_control(std::string_view text) {
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < ' ') return true;
  }
  return false;
}

}  // namespace

std::string_view name_of(auth_mechanism mechanism) noexcept {
  return mechanisms[static_cast<std::size_t>(mechanism)].first;
}

std::optional<auth_mechanism> find_mechanism(std::string_view name) noexcept {
  for (const auto& [text, mechanism] : mechanisms) {
    if (equals_without_case(name, text)) return mechanism;
  }
  return std::nullopt;
}

credentials::credentials(std::string user, std::string password)
    : user_(std::move(user)), secret_(std::move(password)) {
  refuse((user_ + secret_).find('\0') != std::string::npos);
}

credentials credentials::bearer(std::string user, std::string token) {
  refuse(has_control(user) || has_control(token));
  credentials made(std::move(user), std::move(token));
  made.only(auth_mechanism::xoauth2);
  return made;
}

std::optional<std::string> auth_exchange::initial() const {
  using namespace std::string_literals;
  if (mechanism_ == auth_mechanism::plain) {
    return rill::detail::encode_base64("\0"s + who_->user() + "\0"s + who_->secret());
  }
  if (mechanism_ == auth_mechanism::xoauth2) {
    return rill::detail::encode_base64("user=" + who_->user() + "\1auth=Bearer " + who_->secret() +
                                       "\1\1");
  }
  return std::nullopt;
}

std::optional<std::string> auth_exchange::answer(std::string_view challenge) {
  ++step_;
  switch (mechanism_) {
    case auth_mechanism::plain:
      return step_ == 1 ? initial() : std::nullopt;
    case auth_mechanism::xoauth2:
      // The first is an invitation. Any other holds an error, and the refusal follows an empty
      // line.
      return step_ == 1 && challenge.empty() ? initial() : std::string();
    case auth_mechanism::login:
      // The words of the challenges differ from server to server, their order does not.
      if (step_ > 2) return std::nullopt;
      return rill::detail::encode_base64(step_ == 1 ? who_->user() : who_->secret());
    case auth_mechanism::cram_md5: {
      const auto text = rill::detail::decode_base64(challenge);
      if (step_ != 1 || !text || text->empty()) return std::nullopt;
      return rill::detail::encode_base64(who_->user() + ' ' + hmac_md5(who_->secret(), *text));
    }
  }
  return std::nullopt;
}

std::string hmac_md5(std::string_view key, std::string_view text) {
  constexpr std::string_view digits = "0123456789abcdef";
  unsigned char sum[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  if (HMAC(EVP_md5(), key.data(), static_cast<int>(key.size()),
           reinterpret_cast<const unsigned char*>(text.data()), text.size(), sum,
           &size) == nullptr) {
    throw std::runtime_error("OpenSSL has no HMAC-MD5");
  }
  std::string made;
  for (unsigned i = 0; i < size; ++i) {
    made += digits[sum[i] >> 4];
    made += digits[sum[i] & 0xfU];
  }
  return made;
}

}  // namespace rill::smtp
