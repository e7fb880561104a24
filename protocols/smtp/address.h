// Addresses of mail: what may stand in a command of SMTP (RFC 5321 section 4.1.2, RFC 6531), and
// with a name in a field of a message (RFC 5322 section 3.4).
// Not here: whether anybody has the address. Read next: address.cpp.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rill::mail {

/// RFC 5321 section 4.5.3.1, in bytes.
inline constexpr std::size_t local_part_size_max = 64;
inline constexpr std::size_t domain_size_max = 255;

/// "local@domain": a dot-atom or a quoted string, then a domain or an address in brackets. UTF-8
/// is taken in both (RFC 6531); no blanks but those within quotation marks, no controls at all.
bool is_address(std::string_view text) noexcept;
/// "example.org", "[127.0.0.1]", "[IPv6:::1]".
bool is_domain(std::string_view text) noexcept;
/// There is a byte beyond ASCII in it.
bool has_high_bytes(std::string_view text) noexcept;
/// Sound UTF-8, without overlong forms, surrogates and what lies beyond U+10FFFF.
bool is_utf8(std::string_view text) noexcept;

/// The part behind the last "@"; empty if there is none.
std::string_view domain_of(std::string_view address) noexcept;

/// A person or a list: an address, and perhaps a name in any language.
class mailbox {
 public:
  /// "ann@example.org", "Ann <ann@example.org>", "\"Roe, Ann\" <ann@example.org>". Throws
  /// std::invalid_argument for what is none: line ends, NUL and bad UTF-8 above all.
  mailbox(std::string_view text);
  mailbox(const char* text) : mailbox(std::string_view(text)) {}
  mailbox(const std::string& text) : mailbox(std::string_view(text)) {}
  /// Throws std::invalid_argument.
  mailbox(std::string_view name, std::string_view address);

  /// nullopt where the constructor throws.
  static std::optional<mailbox> parse(std::string_view text);

  const std::string& name() const noexcept { return name_; }
  const std::string& address() const noexcept { return address_; }

 private:
  mailbox() {}
  std::string name_;
  std::string address_;
};

}  // namespace rill::mail
