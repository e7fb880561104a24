// Addresses and INFO. See server.h.
#include <rill/protocols/nats/server.h>

#include <charconv>
#include <optional>
#include <system_error>
#include <utility>

#include <rill/net/address.h>
#include <rill/protocols/nats/json.h>

namespace rill::nats {
namespace {

std::optional<std::uint16_t> parse_port(std::string_view text) noexcept {
  std::uint16_t port = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, status] = std::from_chars(text.data(), end, port);
  if (status != std::errc() || rest != end || port == 0) return std::nullopt;
  return port;
}

bool is_host(std::string_view text) noexcept {
  if (text.empty()) return false;
  for (const char c : text) {
    if (static_cast<unsigned char>(c) <= ' ' || c == 0x7f || c == '/' || c == '@') return false;
  }
  return true;
}

int hex_digit(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/// "p%40ss" is "p@ss"; nullopt where two hexadecimal digits lack.
std::optional<std::string> decode_percent(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      plain += text[i];
      continue;
    }
    if (text.size() - i < 3) return std::nullopt;
    const int high = hex_digit(text[i + 1]);
    const int low = hex_digit(text[i + 2]);
    if (high < 0 || low < 0) return std::nullopt;
    plain += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return plain;
}

}  // namespace

tl::expected<server_address, nats_error> server_address::parse(std::string_view text) {
  const auto wrong = tl::unexpected(nats_error::bad_server_address);
  server_address made;
  if (const std::size_t scheme = text.find("://"); scheme != text.npos) {
    const std::string_view name = text.substr(0, scheme);
    if (name != "nats" && name != "tls") return wrong;
    made.wants_tls = name == "tls";
    text.remove_prefix(scheme + 3);
  }
  if (text.ends_with('/')) text.remove_suffix(1);
  if (const std::size_t at = text.rfind('@'); at != text.npos) {
    const std::string_view who = text.substr(0, at);
    const std::size_t colon = who.find(':');
    auto first = decode_percent(who.substr(0, colon));
    auto second = decode_percent(colon == who.npos ? std::string_view() : who.substr(colon + 1));
    if (!first || !second) return wrong;
    (colon == who.npos ? made.own.token : made.own.user) = std::move(*first);
    made.own.password = std::move(*second);
    text.remove_prefix(at + 1);
  }
  std::string_view rest;
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    if (end == text.npos) return wrong;
    made.host = text.substr(1, end - 1);
    const auto literal = address::parse(made.host);
    if (!literal || !literal->is_v6()) return wrong;
    rest = text.substr(end + 1);
  } else {
    const std::size_t colon = text.find(':');
    made.host = text.substr(0, colon);
    if (colon != text.npos) rest = text.substr(colon);
  }
  if (!is_host(made.host)) return wrong;
  if (rest.empty()) return made;
  const auto port = rest.front() == ':' ? parse_port(rest.substr(1)) : std::nullopt;
  if (!port) return wrong;
  made.port = *port;
  return made;
}

std::string server_address::to_string() const {
  const bool is_ipv6 = host.find(':') != host.npos;
  return (is_ipv6 ? '[' + host + ']' : host) + ':' + std::to_string(port);
}

tl::expected<server_info, nats_error> server_info::parse(std::string_view json) {
  const nlohmann::json read = detail::read_object(json);
  if (read.is_discarded()) return tl::unexpected(nats_error::bad_info);
  server_info made;
  made.id = detail::text_of(read, "server_id");
  made.name = detail::text_of(read, "server_name");
  made.version = detail::text_of(read, "version");
  made.nonce = detail::text_of(read, "nonce");
  made.payload_size_max = detail::number_of(read, "max_payload", made.payload_size_max);
  made.has_headers = detail::flag_of(read, "headers");
  made.has_jetstream = detail::flag_of(read, "jetstream");
  made.requires_tls = detail::flag_of(read, "tls_required");
  made.offers_tls = made.requires_tls || detail::flag_of(read, "tls_available");
  made.requires_credentials = detail::flag_of(read, "auth_required");
  made.is_lame_duck = detail::flag_of(read, "ldm");
  if (made.payload_size_max == 0) return tl::unexpected(nats_error::bad_info);
  const auto addresses = read.find("connect_urls");
  if (addresses == read.end() || !addresses->is_array()) return made;
  for (const nlohmann::json& each : *addresses) {
    if (!each.is_string() || made.addresses.size() == address_count_max) continue;
    const auto& text = each.get_ref<const std::string&>();
    if (server_address::parse(text)) made.addresses.push_back(text);
  }
  return made;
}

}  // namespace rill::nats
