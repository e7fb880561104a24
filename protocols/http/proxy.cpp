// The rules of the proxy variables. See proxy.h.
#include <rill/protocols/http/proxy.h>

#include <charconv>
#include <cstdlib>

#include <rill/net/address.h>
#include <rill/protocols/http/text.h>
#include <rill/protocols/http/values.h>

namespace rill::http {
namespace {

/// "10.0.0.0/8" holds `host`.
bool is_in_network(std::string_view network, const address& host) {
  const std::size_t slash = network.find('/');
  if (slash == network.npos) return false;
  const auto base = address::parse(network.substr(0, slash));
  unsigned bit_count = 0;
  const char* const end = network.data() + network.size();
  const auto [rest, status] = std::from_chars(network.data() + slash + 1, end, bit_count);
  if (!base || status != std::errc() || rest != end || base->family() != host.family()) {
    return false;
  }
  const auto left = base->bytes();
  const auto right = host.bytes();
  if (bit_count > left.size() * 8) return false;
  for (std::size_t i = 0; i * 8 < bit_count; ++i) {
    const unsigned kept = bit_count - static_cast<unsigned>(i) * 8;
    const unsigned mask = kept >= 8 ? 0xffU : 0xff00U >> kept & 0xffU;
    if (((left[i] ^ right[i]) & mask) != 0) return false;
  }
  return true;
}

bool matches(std::string_view rule, const url& target) {
  if (rule == "*") return true;
  const auto host = address::parse(target.host);
  if (host && is_in_network(rule, *host)) return true;
  std::string wanted;
  for (const char c : rule) wanted += detail::lower(c);
  std::string_view name = wanted;
  if (name.ends_with(':' + std::to_string(target.port))) {
    name = name.substr(0, name.rfind(':'));
  }
  if (name.starts_with('[') && name.ends_with(']')) name = name.substr(1, name.size() - 2);
  if (name.starts_with("*.")) name.remove_prefix(1);
  if (name == target.host) return true;
  if (host || name.empty()) return false;
  const std::string suffix = name.front() == '.' ? std::string(name) : '.' + std::string(name);
  return target.host.ends_with(suffix) || target.host == std::string_view(suffix).substr(1);
}

}  // namespace

std::optional<url> proxy_settings::read(std::string_view text) {
  if (text.empty()) return std::nullopt;
  const bool has_scheme = text.find("://") != text.npos;
  auto parsed = url::parse(has_scheme ? std::string(text) : "http://" + std::string(text));
  if (!parsed || parsed->scheme != "http") return url();
  return parsed;
}

proxy_settings proxy_settings::from_environment(
    const std::function<const char*(const char*)>& variable) {
  const auto value = [&](const char* name, const char* otherwise) -> std::string {
    for (const char* const each : {name, otherwise}) {
      if (each == nullptr) continue;
      const char* const found = variable ? variable(each) : std::getenv(each);
      if (found != nullptr) return found;
    }
    return {};
  };
  proxy_settings made;
  const std::string all = value("all_proxy", "ALL_PROXY");
  const std::string http = value("http_proxy", nullptr);
  const std::string https = value("https_proxy", "HTTPS_PROXY");
  made.http_ = read(http.empty() ? all : http);
  made.https_ = read(https.empty() ? all : https);
  made.exceptions_ = value("no_proxy", "NO_PROXY");
  return made;
}

bool proxy_settings::is_exception(const url& target) const {
  std::string_view list = exceptions_;
  while (const auto each = next_element(list)) {
    if (matches(*each, target)) return true;
  }
  return false;
}

const url* proxy_settings::find(const url& target) const {
  const std::optional<url>& proxy = target.scheme == "https" ? https_ : http_;
  return proxy && !is_exception(target) ? &*proxy : nullptr;
}

}  // namespace rill::http
