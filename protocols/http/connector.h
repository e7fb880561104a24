// How a client's connections are opened: over TCP, through a proxy's tunnel, and, by another
// connector, with TLS.
// Read next: connector.cpp.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <rill/net/resolver.h>
#include <rill/net/tcp.h>
#include <rill/protocols/http/client_error.h>
#include <rill/protocols/http/client_stream.h>
#include <rill/protocols/http/url.h>
#include <rill/runtime/timeout.h>

namespace rill::http {

/// Where a connection is to lead.
struct destination {
  const url* target;
  /// nullptr: none.
  const url* proxy;
  loop_clock::time_point deadline;
};

/// Opens the connections of a client.
class connector {
 public:
  connector() = default;
  connector(const connector&) = delete;
  connector& operator=(const connector&) = delete;
  virtual ~connector() = default;

  /// A connection that is ready for requests. `phase` is kept up to date, for it is part of the
  /// error: io_error, timeout_error, or client_error where a status belongs to it.
  [[nodiscard]] virtual task<std::unique_ptr<client_stream>> open(const destination& to,
                                                                  client_phase& phase) = 0;
};

/// Looks up names, connects, and asks a proxy for a tunnel where the target is https.
class tcp_connector : public connector {
 public:
  tcp_connector() {}

  /// Connections to `host` and `port` go to `address` instead, without a look-up.
  void set_address(std::string_view host, std::uint16_t port, std::string_view address);

  /// http only: otherwise client_fault::unsupported_scheme (tls_connector.h has https).
  task<std::unique_ptr<client_stream>> open(const destination& to, client_phase& phase) override;

 protected:
  /// TCP to the target, through the proxy's tunnel if there is one and the target is https; to the
  /// proxy itself for http.
  task<tcp_stream> open_tcp(const destination& to, client_phase& phase);

 private:
  struct fixed_address {
    std::string host;
    std::uint16_t port;
    std::string address;
  };

  resolver resolver_;
  std::vector<fixed_address> fixed_;
};

}  // namespace rill::http
