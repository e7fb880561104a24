// Reading and writing of URLs. See url.h.
#include <rill/protocols/http/url.h>

#include <algorithm>
#include <charconv>

#include <rill/protocols/http/text.h>

namespace rill::http {
namespace {

using detail::hex_value;
using detail::in_lower_case;
using detail::is_digit;
using detail::is_letter;

constexpr std::string_view hex_digits = "0123456789ABCDEF";

bool is_unreserved(char c) noexcept {
  return is_letter(c) || is_digit(c) || c == '-' || c == '.' || c == '_' || c == '~';
}

/// The byte that text[at], a percent sign, begins; -1 if none.
int encoded_byte(std::string_view text, std::size_t at) noexcept {
  if (text.size() - at < 3) return -1;
  const int high = hex_value(text[at + 1]);
  const int low = hex_value(text[at + 2]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

void append_encoded(std::string& to, char c) {
  const auto byte = static_cast<unsigned char>(c);
  to += '%';
  to += hex_digits[byte >> 4];
  to += hex_digits[byte & 15U];
}

/// "+" is a space, and what is no encoding stands for itself.
std::string decode_form(std::string_view text) {
  std::string made;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const int byte = text[i] == '%' ? encoded_byte(text, i) : -1;
    if (byte >= 0) {
      made += static_cast<char>(byte);
      i += 2;
    } else {
      made += text[i] == '+' ? ' ' : text[i];
    }
  }
  return made;
}

std::string encode_form(std::string_view text) {
  std::string made = percent_encode(text, " ");
  std::replace(made.begin(), made.end(), ' ', '+');
  return made;
}

/// Encodes what a path or query cannot hold, and leaves encodings alone.
std::string tidy(std::string_view text) {
  constexpr std::string_view kept = "%!$&'()*+,;=:@/?[]|";
  return percent_encode(text, kept);
}

bool has_control(std::string_view text) noexcept {
  return std::any_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

/// RFC 3986 section 5.2.4, of a path that begins with "/".
std::string without_dots(std::string_view path) {
  std::string made;
  while (!path.empty()) {
    const std::size_t next = std::min(path.find('/', 1), path.size());
    const std::string_view segment = path.substr(0, next);
    const bool is_last = next == path.size();
    if (segment == "/..") {
      made.erase(std::min(made.rfind('/'), made.size()));
      if (is_last) made += '/';
    } else if (segment == "/.") {
      if (is_last) made += '/';
    } else {
      made += segment;
    }
    path.remove_prefix(next);
  }
  return made.empty() ? "/" : made;
}

std::uint16_t port_of(std::string_view scheme) noexcept { return scheme == "https" ? 443 : 80; }

bool is_host(std::string_view host) noexcept {
  constexpr std::size_t longest = 255;  // of a name: RFC 1035 section 2.3.4
  return !host.empty() && host.size() <= longest &&
         std::all_of(host.begin(), host.end(), is_unreserved);
}

/// "user@host:port" into its parts.
bool read_authority(std::string_view text, url& to) {
  const std::size_t at = text.rfind('@');
  if (at != text.npos) {
    to.user_information = text.substr(0, at);
    text.remove_prefix(at + 1);
  }
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    if (end == text.npos || end == 1) return false;
    const std::string_view literal = text.substr(1, end - 1);
    if (!detail::is_ipv6_literal(literal)) return false;
    to.host = in_lower_case(literal);
    text.remove_prefix(end + 1);
  } else {
    const std::size_t colon = std::min(text.find(':'), text.size());
    if (!is_host(text.substr(0, colon))) return false;
    to.host = in_lower_case(text.substr(0, colon));
    text.remove_prefix(colon);
  }
  to.port = port_of(to.scheme);
  if (text.empty()) return true;
  if (text.front() != ':') return false;
  text.remove_prefix(1);
  if (text.empty()) return true;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), to.port);
  return parsed.ec == std::errc() && parsed.ptr == text.data() + text.size();
}

/// "/path?query#fragment" into its parts. The path may be empty.
void read_path(std::string_view text, url& to) {
  text = text.substr(0, text.find('#'));
  const std::size_t question = text.find('?');
  to.has_query = question != text.npos;
  to.query = to.has_query ? tidy(text.substr(question + 1)) : std::string();
  to.path = without_dots(tidy(text.substr(0, question)));
}

}  // namespace

std::optional<std::string> percent_decode(std::string_view text) {
  std::string made;
  made.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      made += text[i];
      continue;
    }
    const int byte = encoded_byte(text, i);
    if (byte < 0) return std::nullopt;
    made += static_cast<char>(byte);
    i += 2;
  }
  return made;
}

std::string percent_encode(std::string_view text, std::string_view also_kept) {
  std::string made;
  made.reserve(text.size());
  for (const char c : text) {
    if (is_unreserved(c) || also_kept.find(c) != also_kept.npos) {
      made += c;
    } else {
      append_encoded(made, c);
    }
  }
  return made;
}

std::optional<parameter_list> parse_form(std::string_view text, std::size_t count_max) {
  parameter_list all;
  while (!text.empty()) {
    const std::string_view pair = text.substr(0, text.find('&'));
    text.remove_prefix(std::min(pair.size() + 1, text.size()));
    if (pair.empty()) continue;
    if (all.size() == count_max) return std::nullopt;
    const std::size_t equals = std::min(pair.find('='), pair.size());
    const std::string_view value = pair.substr(std::min(equals + 1, pair.size()));
    all.emplace_back(decode_form(pair.substr(0, equals)), decode_form(value));
  }
  return all;
}

std::string write_form(const parameter_list& parameters) {
  std::string made;
  for (const auto& [name, value] : parameters) {
    if (!made.empty()) made += '&';
    made += encode_form(name) + '=' + encode_form(value);
  }
  return made;
}

std::optional<std::string> resolve_path(std::string_view encoded) {
  if (!encoded.starts_with('/')) return std::nullopt;
  std::string resolved;  // without a slash at its end
  bool is_folder = true;
  while (!encoded.empty()) {
    encoded.remove_prefix(1);
    const std::size_t next = std::min(encoded.find('/'), encoded.size());
    const std::optional<std::string> segment = percent_decode(encoded.substr(0, next));
    if (!segment || segment->find_first_of(std::string_view("\0/\\", 3)) != std::string::npos) {
      return std::nullopt;
    }
    encoded.remove_prefix(next);
    is_folder = segment->empty() || *segment == "." || *segment == "..";
    if (*segment == "..") {
      if (resolved.empty()) return std::nullopt;
      resolved.erase(resolved.rfind('/'));
    } else if (!is_folder) {
      resolved += '/' + *segment;
    }
  }
  if (is_folder) resolved += '/';
  return resolved;
}

std::optional<url> url::parse(std::string_view text) {
  url made;
  if (has_control(text)) return std::nullopt;
  const std::size_t colon = text.find("://");
  if (colon == text.npos) return std::nullopt;
  made.scheme = in_lower_case(text.substr(0, colon));
  if (made.scheme != "http" && made.scheme != "https") return std::nullopt;
  text.remove_prefix(colon + 3);
  const std::size_t path_at = std::min(text.find_first_of("/?#"), text.size());
  if (!read_authority(text.substr(0, path_at), made)) return std::nullopt;
  read_path(text.substr(path_at), made);
  return made;
}

std::optional<url> url::resolve(std::string_view reference) const {
  if (has_control(reference)) return std::nullopt;
  // A scheme ends with the first colon, if that stands before any slash, "?" and "#".
  const std::size_t mark = reference.find_first_of(":/?#");
  if (mark != reference.npos && reference[mark] == ':') return parse(reference);
  if (reference.starts_with("//")) return parse(scheme + ':' + std::string(reference));
  url made = *this;
  if (reference.starts_with('/')) {
    read_path(reference, made);
  } else if (reference.starts_with('?')) {
    read_path(path + std::string(reference), made);
  } else if (!reference.empty() && !reference.starts_with('#')) {
    read_path(path.substr(0, path.rfind('/') + 1) + std::string(reference), made);
  }
  return made;
}

std::string url::target() const { return has_query ? path + '?' + query : path; }

std::string url::authority() const {
  std::string made = host.find(':') == host.npos ? host : '[' + host + ']';
  if (port != port_of(scheme)) made += ':' + std::to_string(port);
  return made;
}

std::string url::origin() const { return scheme + "://" + authority(); }

std::string url::to_string() const { return origin() + target(); }

}  // namespace rill::http
