// The grammar of addresses. See address.h.
#include <rill/protocols/smtp/address.h>

#include <algorithm>
#include <cstdint>
#include <stdexcept>

#include <rill/net/address.h>
#include <rill/net/printable.h>

namespace rill::mail {
namespace {

bool is_high(char c) { return static_cast<unsigned char>(c) >= 0x80; }
bool is_letter_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}
/// RFC 5322 section 3.2.3, and UTF-8.
bool is_atom_character(char c) {
  constexpr std::string_view others = "!#$%&'*+-/=?^_`{|}~";
  return is_letter_or_digit(c) || is_high(c) || others.find(c) != std::string_view::npos;
}
bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

bool is_dot_atom(std::string_view text) {
  bool was_dot = true;
  for (const char c : text) {
    if (c == '.' ? was_dot : !is_atom_character(c)) return false;
    was_dot = c == '.';
  }
  return !was_dot;
}

/// With its quotation marks.
bool is_quoted(std::string_view text) {
  if (text.size() < 2 || text.front() != '"' || text.back() != '"') return false;
  text = text.substr(1, text.size() - 2);
  bool is_escaped = false;
  for (const char c : text) {
    if (is_control(c) || (c == '"' && !is_escaped)) return false;
    is_escaped = c == '\\' && !is_escaped;
  }
  return !is_escaped;
}

/// RFC 5321 section 4.1.3.
bool is_literal(std::string_view text) {
  if (text.size() < 3 || text.front() != '[' || text.back() != ']') return false;
  text = text.substr(1, text.size() - 2);
  const bool is_v6 = text.starts_with("IPv6:");
  if (is_v6) text.remove_prefix(5);
  const auto parsed = address::parse(text);
  return parsed && parsed->is_v4() != is_v6 && text.find('%') == std::string_view::npos;
}

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = std::min(text.find_first_not_of(" \t"), text.size());
  text.remove_prefix(begin);
  return text.substr(0, text.find_last_not_of(" \t") + 1);
}

bool is_name(std::string_view text) {
  return is_utf8(text) && std::none_of(text.begin(), text.end(), is_control);
}

[[noreturn]] void refuse(std::string_view text) {
  constexpr std::size_t shown_max = 80;
  throw std::invalid_argument("not an address of mail: '" + printable(text.substr(0, shown_max)) +
                              "'");
}

/// Where the address begins after a name: the first '<' that no quotation marks hold.
std::size_t find_bracket(std::string_view text) {
  bool is_within = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '<' && !is_within) return i;
    if (text[i] == '"') is_within = !is_within;
    if (text[i] == '\\' && is_within) ++i;
  }
  return std::string_view::npos;
}

/// "\"Roe, Ann\"" is Roe, Ann.
std::string unquoted(std::string_view text) {
  if (!is_quoted(text)) return std::string(text);
  std::string made;
  text = text.substr(1, text.size() - 2);
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\') ++i;
    made += text[i];
  }
  return made;
}

}  // namespace

bool has_high_bytes(std::string_view text) noexcept {
  return std::any_of(text.begin(), text.end(), is_high);
}

bool is_utf8(std::string_view text) noexcept {
  const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(text[at]); };
  for (std::size_t i = 0; i < text.size();) {
    const unsigned first = byte(i);
    std::size_t size = 1;
    std::uint32_t point = first;
    if (first >= 0xf0) {
      size = 4;
      point = first & 0x07U;
    } else if (first >= 0xe0) {
      size = 3;
      point = first & 0x0fU;
    } else if (first >= 0xc0) {
      size = 2;
      point = first & 0x1fU;
    } else if (first >= 0x80) {
      return false;
    }
    if (first >= 0xf8 || text.size() - i < size) return false;
    for (std::size_t k = 1; k < size; ++k) {
      if ((byte(i + k) & 0xc0U) != 0x80U) return false;
      point = point << 6 | (byte(i + k) & 0x3fU);
    }
    constexpr std::uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (point < least[size] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)) {
      return false;
    }
    i += size;
  }
  return true;
}

bool is_domain(std::string_view text) noexcept {
  if (text.empty() || text.size() > domain_size_max || !is_utf8(text)) return false;
  if (text.front() == '[') return is_literal(text);
  std::size_t label_size = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '.') {
      if (label_size == 0 || text[i - 1] == '-') return false;
      label_size = 0;
      continue;
    }
    // An underscore is no part of a host's name, and stands in some all the same.
    const bool is_fine = is_letter_or_digit(c) || is_high(c) || c == '_' || c == '-';
    constexpr std::size_t label_size_max = 63;
    if (!is_fine || (c == '-' && label_size == 0) || label_size == label_size_max) return false;
    ++label_size;
  }
  return label_size != 0 && text.back() != '-';
}

std::string_view domain_of(std::string_view address) noexcept {
  const std::size_t at = address.rfind('@');
  return at == std::string_view::npos ? std::string_view() : address.substr(at + 1);
}

bool is_address(std::string_view text) noexcept {
  const std::size_t at = text.rfind('@');
  if (at == std::string_view::npos || at == 0 || at > local_part_size_max) return false;
  if (!is_domain(text.substr(at + 1))) return false;
  const std::string_view local = text.substr(0, at);
  return is_utf8(local) && (is_dot_atom(local) || is_quoted(local));
}

std::optional<mailbox> mailbox::parse(std::string_view text) {
  text = trimmed(text);
  mailbox made;
  if (text.ends_with('>')) {
    const std::size_t open = find_bracket(text);
    if (open == std::string_view::npos) return std::nullopt;
    const std::string_view name = trimmed(text.substr(0, open));
    // A quotation mark or bracket that is left would end or begin something in the field.
    if (!is_quoted(name) && name.find_first_of("\"<>") != std::string_view::npos) {
      return std::nullopt;
    }
    made.name_ = unquoted(name);
    text = text.substr(open + 1, text.size() - open - 2);
  }
  if (!is_address(text) || !is_name(made.name_)) return std::nullopt;
  made.address_ = text;
  return made;
}

mailbox::mailbox(std::string_view text) {
  auto parsed = parse(text);
  if (!parsed) refuse(text);
  *this = std::move(*parsed);
}

mailbox::mailbox(std::string_view name, std::string_view address) : name_(name), address_(address) {
  if (!is_address(address)) refuse(address);
  if (!is_name(name)) throw std::invalid_argument("not a name: controls or bad UTF-8");
}

}  // namespace rill::mail
