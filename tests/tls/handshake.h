// One handshake between a client and a server, and what each of them makes of it.
#pragma once

#include <string>
#include <system_error>
#include <utility>

#include "support.h"
#include "support/certificates.h"
#include <rill/net/memory_stream.h>
#include <rill/net/tls/stream.h>
#include <rill/runtime/combine.h>

namespace rill::test {

/// One side's view: an error, or what was agreed.
struct tls_side {
  std::error_code code;
  std::string text;  // what() of the error
  tls::version version{};
  std::string protocol;
  std::string server_name;
  std::string peer_subject;
  bool is_resumed = false;

  template <class Stream>
  void note(const tls_stream<Stream>& secure) {
    version = secure.version();
    protocol = secure.protocol();
    server_name = secure.server_name();
    peer_subject = secure.peer_subject();
    is_resumed = secure.is_resumed();
  }
  void note(const io_error& error) {
    code = error.code();
    text = error.what();
  }
};

struct tls_meeting {
  tls_side client;
  tls_side server;
};

/// Shakes hands, reads until the end, closes.
template <byte_stream Stream>
task<> meet_server(Stream below, tls::client_context with, std::string host, tls_side& seen) {
  try {
    auto secure = co_await tls::connect(std::move(below), with, host);
    seen.note(secure);
    while (lease bytes = co_await secure.read_lease()) seen.text += bytes.text();
    co_await secure.close();
  } catch (const io_error& error) {
    seen.note(error);
  }
}

/// Shakes hands, says "hello", closes.
template <byte_stream Stream>
task<> meet_client(Stream below, tls::server_context with, tls_side& seen) {
  try {
    auto secure = co_await tls::accept(std::move(below), with);
    seen.note(secure);
    co_await secure.write_all("hello");
    co_await secure.close();
  } catch (const io_error& error) {
    seen.note(error);
  }
}

inline task<> meet(tls::client_context client, tls::server_context server, std::string host,
                   tls_meeting& seen) {
  auto [left, right] = memory_stream_pair();
  co_await all_of(meet_server(std::move(left), client, host, seen.client),
                  meet_client(std::move(right), server, seen.server));
}

/// The same on a loop of its own.
inline tls_meeting met(const tls::client_context& client, const tls::server_context& server,
                       const std::string& host = "server.test") {
  tls_meeting seen;
  run_loop([&] { return meet(client, server, host, seen); });
  return seen;
}

inline tls::server_context serving(const tls::server_options& options = tls::server_options()) {
  return tls::server_context(test_certificate().loaded(), options);
}

}  // namespace rill::test
