// What a message is made of: whatever text or name is given, what is written is ASCII in short
// lines that cannot be left, and a reader written a second time reads what was given.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "fuzz/input.h"
#include <rill/net/base64.h>
#include <rill/protocols/smtp/address.h>
#include <rill/protocols/smtp/encoding.h>

namespace {

using rill::fuzz::check;
namespace mail = rill::mail;

void check_lines(std::string_view text, std::size_t size_max) {
  std::size_t size = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto value = static_cast<unsigned char>(text[i]);
    if (text[i] == '\r' || text[i] == '\n') {
      check(text[i] == '\r' ? text.substr(i, 2) == "\r\n" : i != 0 && text[i - 1] == '\r',
            "lines end with CRLF");
      size = 0;
      continue;
    }
    check((value >= ' ' && value <= '~') || value == '\t', "all is visible ASCII");
    check(++size <= size_max, "lines are short");
  }
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  check(false, "hexadecimal digits are capitals");
  return 0;
}

std::string with_crlf(std::string_view text) {
  std::string made;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\r' && text[i] != '\n') {
      made += text[i];
      continue;
    }
    if (text[i] == '\r' && text.substr(i, 2) == "\r\n") ++i;
    made += "\r\n";
  }
  return made;
}

/// RFC 2045 section 6.7.
std::string from_quoted_printable(std::string_view text) {
  std::string made;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text.substr(i, 2) == "\r\n" && i != 0) {
      check(text[i - 1] != ' ' && text[i - 1] != '\t', "no blank ends a line");
    }
    if (text[i] != '=') {
      made += text[i];
      continue;
    }
    check(text.size() - i >= 3, "what is escaped is whole");
    if (text.substr(i, 3) != "=\r\n") {
      made += static_cast<char>(hex_value(text[i + 1]) * 16 + hex_value(text[i + 2]));
    }
    i += 2;
  }
  return made;
}

/// RFC 5322 section 2.2.3, and the encoded words of RFC 2047: those beside each other are one.
std::string from_field(std::string_view text) {
  std::string line;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text.substr(i, 2) == "\r\n") {
      ++i;
      check(i + 1 == text.size() || text[i + 1] == ' ', "a line goes on with a blank");
    } else {
      line += text[i];
    }
  }
  check(line.starts_with("Name: "), "a field has its name");
  std::string_view rest(line);
  rest.remove_prefix(6);
  if (!rest.starts_with("=?")) return std::string(rest);
  std::string made;
  while (!rest.empty()) {
    check(rest.starts_with("=?UTF-8?B?"), "encoded words stand alone");
    const std::size_t end = rest.find("?=");
    check(end != rest.npos && end + 2 <= 75, "an encoded word is short");
    const auto bytes = rill::detail::decode_base64(rest.substr(10, end - 10));
    check(bytes && mail::is_utf8(*bytes), "an encoded word holds whole characters");
    made += *bytes;
    rest.remove_prefix(end + 2);
    if (rest.starts_with(' ')) rest.remove_prefix(1);
  }
  return made;
}

/// RFC 2231: "; name="x"", or "; name*0*=UTF-8''x; name*1*=y".
std::string from_parameter(std::string_view text) {
  std::string made;
  for (std::size_t number = 0; !text.empty(); ++number) {
    check(text.starts_with(";\r\n name"), "each piece has a line");
    text.remove_prefix(8);
    if (text.starts_with("=\"")) {
      check(number == 0 && text.ends_with('"'), "a quoted value is the only one");
      return std::string(text.substr(2, text.size() - 3));
    }
    const std::string order = "*" + std::to_string(number);
    if (text.starts_with(order)) text.remove_prefix(order.size());
    check(text.starts_with("*="), "each piece is encoded");
    text.remove_prefix(2);
    if (number == 0) {
      check(text.starts_with("UTF-8''"), "the first has the charset");
      text.remove_prefix(7);
    }
    const std::string_view piece = text.substr(0, text.find(';'));
    text.remove_prefix(piece.size());
    for (std::size_t i = 0; i < piece.size(); ++i) {
      if (piece[i] != '%') {
        made += piece[i];
        continue;
      }
      check(piece.size() - i >= 3, "what is escaped is whole");
      made += static_cast<char>(hex_value(piece[i + 1]) * 16 + hex_value(piece[i + 2]));
      i += 2;
    }
  }
  return made;
}

/// What the setters of a message let pass.
bool is_text(std::string_view text) {
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < ' ' || c == 0x7f) return false;
  }
  return mail::is_utf8(text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t size_max = 1024;
  if (size > size_max) return -1;
  const std::string_view text(reinterpret_cast<const char*>(data), size);

  const std::string body = mail::to_quoted_printable(text);
  check_lines(body, 76);
  check(from_quoted_printable(body) == with_crlf(text), "a body is read as it was given");
  check(rill::detail::decode_base64(rill::detail::encode_base64(text)) == std::string(text),
        "base64 comes back");
  std::string lines;
  mail::append_base64_lines(lines, text);
  check_lines(lines, 76);

  if (const auto who = mail::mailbox::parse(text)) {
    check(is_text(who->name()) && mail::is_address(who->address()), "a mailbox holds no controls");
    const std::string again = mail::encode_phrase(who->name());
    if (again.find("=?") == again.npos) {
      const auto second = mail::mailbox::parse(again + " <" + who->address() + ">");
      check(second && second->name() == who->name(), "a mailbox is read as it was written");
    }
  }
  if (!is_text(text) || text.empty()) return 0;
  const std::string field = mail::fold_field("Name", mail::encode_text(text));
  // A word that is longer than a line stays whole.
  std::size_t longest = 0;
  for (std::string_view rest = text; !rest.empty();) {
    const std::size_t word = std::min(rest.find(' '), rest.size());
    longest = std::max(longest, word);
    rest.remove_prefix(std::min(word + 1, rest.size()));
  }
  check_lines(field, longest > 60 ? 998 : 78);
  check(field.ends_with("\r\n") &&
            from_field(std::string_view(field).substr(0, field.size() - 2)) == text,
        "a field is read as it was given");
  const std::string parameter = mail::encode_parameter("name", text);
  check_lines(parameter, 76);
  check(from_parameter(parameter) == text, "a parameter is read as it was given");
  return 0;
}
