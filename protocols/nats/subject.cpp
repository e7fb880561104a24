// Subjects and patterns. See subject.h.
#include <rill/protocols/nats/subject.h>

#include <algorithm>

namespace rill::nats {
namespace {

bool is_well_formed(std::string_view text, bool wildcards) noexcept {
  if (text.empty() || text.size() > subject_size_max) return false;
  std::size_t begin = 0;
  for (;;) {
    const std::size_t end = std::min(text.find('.', begin), text.size());
    const std::string_view token = text.substr(begin, end - begin);
    if (token.empty()) return false;
    const bool is_wildcard = token == "*" || token == ">";
    if (is_wildcard && !wildcards) return false;
    if (token == ">" && end != text.size()) return false;
    for (const char each : token) {
      const auto byte = static_cast<unsigned char>(each);
      if (byte <= ' ' || byte == 0x7f) return false;
      if (!is_wildcard && !wildcards && (each == '*' || each == '>')) return false;
    }
    if (end == text.size()) return true;
    begin = end + 1;
  }
}

bool is_plain(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '_';
}

constexpr std::string_view digits = "0123456789ABCDEF";

}  // namespace

bool is_subject(std::string_view text) noexcept { return is_well_formed(text, false); }
bool is_pattern(std::string_view text) noexcept { return is_well_formed(text, true); }

bool matches(std::string_view pattern, std::string_view subject) noexcept {
  for (;;) {
    const std::size_t pattern_end = std::min(pattern.find('.'), pattern.size());
    const std::size_t subject_end = std::min(subject.find('.'), subject.size());
    const std::string_view wanted = pattern.substr(0, pattern_end);
    if (wanted == ">") return true;
    if (wanted != "*" && wanted != subject.substr(0, subject_end)) return false;
    const bool is_pattern_last = pattern_end == pattern.size();
    const bool is_subject_last = subject_end == subject.size();
    if (is_pattern_last || is_subject_last) return is_pattern_last && is_subject_last;
    pattern.remove_prefix(pattern_end + 1);
    subject.remove_prefix(subject_end + 1);
  }
}

std::string to_token(std::string_view text) {
  if (text.empty()) return "%";
  std::string token;
  for (const char c : text) {
    if (is_plain(c)) {
      token += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    token += '%';
    token += digits[byte >> 4];
    token += digits[byte & 15];
  }
  return token;
}

std::string from_token(std::string_view token) {
  std::string text;
  for (std::size_t i = 0; i < token.size(); ++i) {
    if (is_plain(token[i])) {
      text += token[i];
      continue;
    }
    if (token[i] != '%' || token.size() - i < 3) return {};
    const std::size_t high = digits.find(token[i + 1]);
    const std::size_t low = digits.find(token[i + 2]);
    if (high == digits.npos || low == digits.npos) return {};
    text += static_cast<char>(high << 4 | low);
    i += 2;
  }
  return text;
}

}  // namespace rill::nats
