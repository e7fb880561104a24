// https for clients: TCP, through a proxy's tunnel if there is one, and TLS over it.
// Read next: net/tls/context.h, for whom a client trusts.
#pragma once

#include <memory>
#include <optional>
#include <utility>

#include <rill/net/tls/context.h>
#include <rill/protocols/http/connector.h>

namespace rill::http {

/// What a client uses by itself: http as tcp_connector has it, and https.
///
/// Errors: io_error with a code of category "tls", "TLS handshake example.org: the certificate has
///   expired", in phase tls; those of tcp_connector.
/// The authorities are read at the first https connection, which OpenSSL does by itself, and
/// sessions are kept for resumption from then on.
class tls_connector : public tcp_connector {
 public:
  explicit tls_connector(tls::client_options options = tls::client_options())
      : options_(std::move(options)) {}
  /// Over a context that others use too, with a certificate of the client's own, for instance.
  explicit tls_connector(tls::client_context context) : context_(std::move(context)) {}

  task<std::unique_ptr<client_stream>> open(const destination& to, client_phase& phase) override;

 private:
  tls::client_options options_;
  std::optional<tls::client_context> context_;
};

}  // namespace rill::http
