// The handshake of https. See tls_connector.h.
#include <rill/protocols/http/tls_connector.h>

#include <string>

#include <rill/net/tls/stream.h>

namespace rill::http {

task<std::unique_ptr<client_stream>> tls_connector::open(const destination& to,
                                                         client_phase& phase) {
  tcp_stream plain = co_await open_tcp(to, phase);
  std::string peer = plain.peer().to_string();
  if (to.target->scheme != "https") {
    co_return std::make_unique<client_stream_over<tcp_stream>>(std::move(plain), std::move(peer));
  }
  phase = client_phase::tls;
  if (!context_) {
    if (options_.protocols.empty()) options_.protocols.emplace_back("http/1.1");
    context_.emplace(options_);
  }
  auto secure = co_await tls::connect(std::move(plain), *context_, to.target->host,
                                      to.deadline - loop_clock::now());
  using stream_type = client_stream_over<tls_stream<tcp_stream>>;
  co_return std::make_unique<stream_type>(std::move(secure), std::move(peer));
}

}  // namespace rill::http
