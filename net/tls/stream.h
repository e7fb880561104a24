// tls_stream: a byte_stream of ciphertext becomes a byte_stream of plaintext.
//   auto plain = co_await rill::connect("example.org", 443);
//   auto secure = co_await rill::tls::connect(std::move(plain), trusted, "example.org");
// and on the other side
//   auto secure = co_await rill::tls::accept(std::move(peer), certificates);
// From there on it is used as any stream. Not here: whom to trust (context.h), TLS itself
// (engine.h). Read next: stream_core.h, where reading and writing are carried out.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <rill/net/stream.h>
#include <rill/net/tls/context.h>
#include <rill/net/tls/stream_core.h>

namespace rill {

/// A connection over TLS; satisfies byte_stream. Made by tls::connect() and tls::accept(), with the
/// handshake done.
///
/// Beside what byte_stream says:
/// * The end is the peer's close_notify. A transport that ends without one is tls_error::truncated,
///   after all that came before it.
/// * shutdown_write() sends close_notify and ends the transport's direction; reading goes on.
/// * close() sends close_notify if nobody is writing, for a second at most, and closes. Destroying
///   an open stream closes the transport without it: the peer sees a truncated stream.
/// * A write that was cancelled, timed out or failed has broken the record that was on its way:
///   later ones give the same error, or ECANCELED.
/// * What the peer or a wrong byte has broken (an alert, a bad record) is broken in both
///   directions.
/// Cost: a suspended operation is two frames from the cache; a write encrypts into memory of the
///   thread's, 64 KiB at a time; a read copies once. An idle connection holds no record buffers.
/// Thread rule: its transport's loop.
template <byte_stream Stream>
class tls_stream {
 public:
  using transport_type = Stream;

  tls_stream() noexcept {}
  /// What tls::connect() and tls::accept() have made.
  explicit tls_stream(std::shared_ptr<tls::detail::core<Stream>> made) noexcept
      : core_(std::move(made)) {}
  tls_stream(tls_stream&& other) noexcept = default;
  tls_stream& operator=(tls_stream&& other) noexcept {
    if (this != &other) {
      drop();
      core_ = std::move(other.core_);
    }
    return *this;
  }
  ~tls_stream() { drop(); }

  [[nodiscard]] auto read(mutable_buffer into) noexcept {
    return tls::detail::read_awaiter<Stream>(open_core(), into);
  }
  [[nodiscard]] auto read_lease() noexcept {
    return tls::detail::lease_awaiter<Stream>(open_core());
  }
  [[nodiscard]] auto write_all(const_buffer bytes) noexcept {
    return tls::detail::write_awaiter<Stream>(open_core(), bytes);
  }
  [[nodiscard]] auto write_all(std::span<const const_buffer> pieces) noexcept {
    return tls::detail::write_awaiter<Stream>(open_core(), pieces);
  }
  [[nodiscard]] auto shutdown_write() noexcept {
    return tls::detail::shutdown_awaiter<Stream>(open_core());
  }
  /// From the call on the stream is closed for its owner.
  [[nodiscard]] auto close() noexcept {
    return tls::detail::close_awaiter<Stream>(std::move(core_));
  }
  bool is_open() const noexcept { return core_ != nullptr; }

  /// The transport's peer, where it has one.
  auto peer() const
    requires requires(const Stream& below) { below.peer(); }
  {
    return open_core()->transport->peer();
  }
  /// See stream_socket::set_idle.
  void set_idle(bool idle) noexcept
    requires requires(Stream& below) { below.set_idle(idle); }
  {
    open_core()->transport->set_idle(idle);
  }
  /// What lies below, for its peer's address or its options. REQUIRES: open.
  const Stream& transport() const noexcept { return *open_core()->transport; }

  // What was agreed. REQUIRES: open.
  tls::version version() const noexcept { return open_core()->engine.protocol_version(); }
  /// OpenSSL's name of it, such as "TLS_AES_256_GCM_SHA384".
  std::string_view cipher() const noexcept { return open_core()->engine.cipher(); }
  /// The protocol chosen by ALPN; empty: none was.
  std::string_view protocol() const noexcept { return open_core()->engine.protocol(); }
  /// The handshake went on from an earlier session.
  bool is_resumed() const noexcept { return open_core()->engine.is_resumed(); }
  /// The name that the client has asked for (SNI); empty: none.
  std::string_view server_name() const noexcept { return open_core()->engine.server_name(); }
  /// Of the peer's certificate, by RFC 2253, such as "CN=alice,O=rill"; empty: it has shown none.
  std::string peer_subject() const { return open_core()->engine.peer_subject(); }
  std::string peer_certificate_pem() const { return open_core()->engine.peer_certificate_pem(); }
  /// Whether the Linux kernel encrypts (kTLS). It never does here: why_not_kernel_tls() says why.
  bool uses_kernel_tls() const noexcept { return false; }
  /// One sentence.
  static std::string_view why_not_kernel_tls() noexcept { return tls::detail::no_kernel_tls; }
  /// For what rill does not offer. Whoever reads or writes through it breaks this stream.
  ssl_st* native_handle() const noexcept { return open_core()->engine.native_handle(); }

 private:
  const std::shared_ptr<tls::detail::core<Stream>>& open_core() const noexcept {
    RILL_ASSERT(core_ != nullptr, "a closed or moved-from stream was used");
    return core_;
  }
  void drop() noexcept {
    if (core_ != nullptr) std::exchange(core_, nullptr)->close_now();
  }

  std::shared_ptr<tls::detail::core<Stream>> core_;
};

namespace tls {

/// What a handshake may take when nothing else is said.
inline constexpr std::chrono::seconds handshake_timeout{10};

/// Makes a TLS client of a connection that stands: shakes hands with a server that must be `host`,
/// a name or an IP address, which is also what is asked for by SNI.
///
/// Errors: "TLS handshake example.org: the certificate has expired": io_error with a code of
///   category "tls" (error.h), or what the transport said; timeout_error after `timeout`. The peer
///   is told by an alert. The transport is closed then.
/// Cancellation: closes the transport; nothing is left.
/// With client certificates under TLS 1.3 the server's refusal comes with the first read, for the
///   client's handshake ends before the server has seen its certificate (RFC 8446 section 4.4.2).
/// Cost: one or two round trips; about a millisecond of computation, a fifth of it when resumed.
template <byte_stream Stream>
task<tls_stream<Stream>> connect(Stream transport, client_context context, std::string host,
                                 std::chrono::nanoseconds timeout = handshake_timeout) {
  auto made = std::make_shared<detail::core<Stream>>(std::move(transport), context, host);
  tls_stream<Stream> secure(made);
  co_await detail::handshake_within(timeout, *made);
  co_return secure;
}

/// Makes a TLS server of a connection that was accepted. Errors, cancellation: as connect(); the
/// messages name the transport's peer where it has one.
template <byte_stream Stream>
task<tls_stream<Stream>> accept(Stream transport, server_context context,
                                std::chrono::nanoseconds timeout = handshake_timeout) {
  auto made = std::make_shared<detail::core<Stream>>(std::move(transport), context);
  tls_stream<Stream> secure(made);
  co_await detail::handshake_within(timeout, *made);
  co_return secure;
}

}  // namespace tls
}  // namespace rill
