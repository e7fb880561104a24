// A resolver for tests that knows a hosts file of theirs, and nothing of the machine.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "support/files.h"
#include <rill/net/endpoint.h>
#include <rill/net/resolver.h>

namespace rill::test {

class known_hosts {
 public:
  /// `text` is the hosts file; other names are asked of `server`, if there is one.
  explicit known_hosts(const std::string& text, std::optional<ip_endpoint> server = std::nullopt) {
    resolver_options options;
    options.hosts_path = folder_.made("hosts", text);
    options.resolv_conf_path.clear();
    if (server) options.config.emplace().name_servers = {*server};
    with = std::make_unique<resolver>(std::move(options));
  }

  std::unique_ptr<resolver> with;

 private:
  temporary_folder folder_;
};

}  // namespace rill::test
