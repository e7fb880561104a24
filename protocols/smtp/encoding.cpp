// See encoding.h.
#include <rill/protocols/smtp/encoding.h>

#include <algorithm>

#include <rill/net/base64.h>
#include <rill/protocols/smtp/address.h>

namespace rill::mail {
namespace {

constexpr std::string_view hex = "0123456789ABCDEF";

bool is_visible(char c) { return c > ' ' && c <= '~'; }
bool is_letter_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/// The longest beginning of at most `size_max` bytes that ends between two characters.
std::string_view whole_characters(std::string_view text, std::size_t size_max) {
  if (text.size() <= size_max) return text;
  std::size_t size = size_max;
  while (size != 0 && (static_cast<unsigned char>(text[size]) & 0xc0U) == 0x80U) --size;
  return text.substr(0, size);
}

std::string encoded_words(std::string_view text) {
  // "=?UTF-8?B?" and "?=" are 12 characters of the 75 that a word may have (RFC 2047 section 2):
  // 63, so 45 bytes. With 39 the first fits behind "Reply-To: " too; behind longer names it gets a
  // line of its own.
  constexpr std::size_t word_size_max = 39;
  std::string words;
  while (!text.empty()) {
    const std::string_view part = whole_characters(text, word_size_max);
    if (!words.empty()) words += ' ';
    words.append("=?UTF-8?B?").append(rill::detail::encode_base64(part)).append("?=");
    text.remove_prefix(part.size());
  }
  return words;
}

/// A word that makes a line which no server takes (RFC 5322 section 2.1.1: 998 bytes). Shorter ones
/// stay as they are, on a line of their own: they are message ids and URLs, in fields that know no
/// encoded words.
bool has_long_word(std::string_view text) {
  constexpr std::size_t size_max = 900;
  std::size_t size = 0;
  for (const char c : text) {
    size = c == ' ' ? 0 : size + 1;
    if (size > size_max) return true;
  }
  return false;
}

bool needs_encoding(std::string_view text) {
  const bool is_plain =
      std::all_of(text.begin(), text.end(), [](char c) { return is_visible(c) || c == ' '; });
  // Blanks at the ends and in runs would be lost in folding.
  return !is_plain || text.find("=?") != std::string_view::npos || text.starts_with(' ') ||
         text.ends_with(' ') || text.find("  ") != std::string_view::npos || has_long_word(text);
}

void append_percent(std::string& out, char c) {
  const auto value = static_cast<unsigned char>(c);
  out += '%';
  out += hex[value >> 4];
  out += hex[value & 0xfU];
}

}  // namespace

std::string encode_text(std::string_view text) {
  return needs_encoding(text) ? encoded_words(text) : std::string(text);
}

std::string encode_phrase(std::string_view name) {
  if (needs_encoding(name)) return encoded_words(name);
  const bool is_atoms = std::all_of(name.begin(), name.end(), [](char c) {
    return is_letter_or_digit(c) || c == ' ' || c == '-' || c == '_';
  });
  if (is_atoms) return std::string(name);
  std::string quoted = "\"";
  for (const char c : name) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + '"';
}

std::string encode_parameter(std::string_view name, std::string_view value) {
  constexpr std::size_t plain_size_max = 50;
  const bool is_plain =
      value.size() <= plain_size_max && std::all_of(value.begin(), value.end(), [](char c) {
        return (is_visible(c) || c == ' ') && c != '"' && c != '\\' && c != '%' && c != '=';
      });
  std::string made;
  if (is_plain) return made.append(";\r\n ").append(name).append("=\"").append(value).append("\"");
  std::string encoded;
  for (const char c : value) {
    if (is_letter_or_digit(c) || c == '.' || c == '-' || c == '_') {
      encoded += c;
    } else {
      append_percent(encoded, c);
    }
  }
  // "*0*=UTF-8''" and the name: pieces of 48 fit, and a cut never divides a "%41".
  constexpr std::size_t piece_size_max = 48;
  for (std::size_t number = 0; number == 0 || !encoded.empty(); ++number) {
    std::size_t size = std::min(encoded.size(), piece_size_max);
    if (size < encoded.size()) {
      if (encoded[size - 1] == '%') size -= 1;
      if (encoded[size - 2] == '%') size -= 2;
    }
    const bool is_only = number == 0 && size == encoded.size();
    made.append(";\r\n ").append(name);
    if (!is_only) made.append("*").append(std::to_string(number));
    made.append("*=");
    if (number == 0) made.append("UTF-8''");
    made.append(encoded, 0, size);
    encoded.erase(0, size);
  }
  return made;
}

std::string fold_field(std::string_view name, std::string_view value) {
  std::string made(name);
  made += ':';
  std::size_t line_size = made.size();
  while (!value.empty()) {
    const std::size_t size = std::min(value.find(' '), value.size());
    const std::string_view word = value.substr(0, size);
    const bool is_first = made.size() == name.size() + 1;
    // A name alone on its line is unusual: only where that makes the word fit.
    const bool is_break_of_use = !is_first || 1 + word.size() <= fold_size_max;
    if (line_size + 1 + word.size() > fold_size_max && is_break_of_use) {
      made += "\r\n";
      line_size = 0;
    }
    made.append(" ").append(word);
    line_size += 1 + word.size();
    value.remove_prefix(std::min(size + 1, value.size()));
  }
  return made + "\r\n";
}

std::string to_quoted_printable(std::string_view text) {
  std::string out;
  std::size_t line_size = 0;
  const auto put = [&](std::string_view part) {
    // One place is kept for the "=" of a soft break.
    if (line_size + part.size() > fold_size_max - 1) {
      out += "=\r\n";
      line_size = 0;
    }
    out += part;
    line_size += part.size();
  };
  const auto is_break = [&](std::size_t at) {
    return at == text.size() || text[at] == '\r' || text[at] == '\n';
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\r' || c == '\n') {
      if (c == '\r' && i + 1 < text.size() && text[i + 1] == '\n') ++i;
      out += "\r\n";
      line_size = 0;
      continue;
    }
    const bool is_blank = c == ' ' || c == '\t';
    // A blank at the end of a line is lost on the way, "From " at its beginning is escaped in
    // mailboxes, and a dot there is doubled: none of them stands there, behind soft breaks neither.
    const bool begins_line = line_size == 0 || line_size + 1 > fold_size_max - 1;
    const bool is_first = begins_line && (c == '.' || c == 'F');
    if ((is_visible(c) && c != '=' && !is_first) || (is_blank && !is_break(i + 1))) {
      put(std::string_view(&c, 1));
      continue;
    }
    const auto value = static_cast<unsigned char>(c);
    const char escaped[3] = {'=', hex[value >> 4], hex[value & 0xfU]};
    put(std::string_view(escaped, 3));
  }
  return out;
}

void append_base64_lines(std::string& out, std::string_view bytes) {
  constexpr std::size_t bytes_of_line = fold_size_max / 4 * 3;
  for (std::size_t at = 0; at < bytes.size(); at += bytes_of_line) {
    out.append(rill::detail::encode_base64(bytes.substr(at, bytes_of_line))).append("\r\n");
  }
}

}  // namespace rill::mail
