// Connected pairs of TLS streams over every kind of transport.
#pragma once

#include <utility>

#include "net/stream_makers.h"
#include "support/certificates.h"
#include <rill/net/tls/stream.h>
#include <rill/runtime/combine.h>

namespace rill::test {

/// Client and server, the handshake done.
template <byte_stream Stream>
task<std::pair<tls_stream<Stream>, tls_stream<Stream>>> secured(std::pair<Stream, Stream> below,
                                                                tls::client_context client,
                                                                tls::server_context server) {
  auto [left, right] = co_await all_of(
      tls::connect(std::move(below.first), std::move(client), std::string("server.test")),
      tls::accept(std::move(below.second), std::move(server)));
  co_return std::pair<tls_stream<Stream>, tls_stream<Stream>>(std::move(left), std::move(right));
}

template <class Below, tls::version Version = tls::version::tls1_3>
struct over_tls : Below {
  using stream = tls_stream<typename Below::stream>;
  static constexpr bool tells_a_cut = true;

  static task<std::pair<stream, stream>> make() {
    std::pair<typename Below::stream, typename Below::stream> below = co_await Below::make();
    tls::client_options options = trusting_options();
    options.version_max = Version;
    std::pair<stream, stream> made =
        co_await secured(std::move(below), tls::client_context(options),
                         tls::server_context(test_certificate().loaded()));
    co_return made;
  }
};

}  // namespace rill::test
