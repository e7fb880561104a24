// Which proxy a client uses for which URL, and what the environment says about it.
// Not here: talking to a proxy (connector.h, client.h).
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include <rill/protocols/http/url.h>

namespace rill::http {

/// Which requests go through which proxy.
class proxy_settings {
 public:
  /// None.
  proxy_settings() {}
  /// `url` for everything: "http://user:password@proxy:3128"; without a scheme http is meant.
  explicit proxy_settings(std::string_view url) : http_(read(url)), https_(http_) {}

  /// http_proxy, https_proxy, all_proxy and no_proxy, which are also read in capitals, but for
  /// HTTP_PROXY: where a web server runs programs, strangers set that one (CVE-2016-5385).
  /// `variable` gives nullptr for one that is not set; it is getenv(3) by default.
  static proxy_settings from_environment(
      const std::function<const char*(const char*)>& variable = {});

  /// Hosts to be reached directly: "example.org" means its sub-domains too, as ".example.org"
  /// does; "10.0.0.0/8" a network, "*" all; each may name a port.
  proxy_settings& except(std::string_view no_proxy) {
    exceptions_ = no_proxy;
    return *this;
  }

  /// nullptr: directly. A proxy with an empty host is one that could not be read: such a request
  /// must fail, for going directly is what its owner did not want.
  const url* find(const url& target) const;

 private:
  static std::optional<url> read(std::string_view text);
  bool is_exception(const url& target) const;

  std::optional<url> http_;
  std::optional<url> https_;
  std::string exceptions_;
};

}  // namespace rill::http
