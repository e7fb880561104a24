// A connection of SMTP, whatever carries it, behind virtual calls, so that client and server are
// compiled once; and which may turn into one over TLS half-way.
// Machinery: users give their streams to client::over and session(). Not here: what is said
// (conversation.h, session.cpp).
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <utility>

#include <rill/net/buffered.h>
#include <rill/net/stream.h>
#include <rill/net/tls/stream.h>
#include <rill/runtime/timeout.h>

namespace rill::smtp::detail {

class transport {
 public:
  transport() = default;
  transport(const transport&) = delete;
  transport& operator=(const transport&) = delete;
  virtual ~transport() = default;

  /// As those of buffered_reader.
  [[nodiscard]] virtual task<result<std::size_t>> fill(loop_clock::time_point deadline) = 0;
  virtual const_buffer buffered() const noexcept = 0;
  virtual void consume(std::size_t size) noexcept = 0;
  [[nodiscard]] virtual task<result<std::size_t>> write(const_buffer bytes,
                                                        loop_clock::time_point deadline) = 0;
  /// The same connection over TLS, with the handshake done. This object is of no use afterwards.
  /// REQUIRES: nothing is buffered, is_secure() is false. Errors: as tls::connect and tls::accept.
  [[nodiscard]] virtual task<std::unique_ptr<transport>> connect_tls(
      tls::client_context trusted, std::string host, std::chrono::nanoseconds timeout) = 0;
  [[nodiscard]] virtual task<std::unique_ptr<transport>> accept_tls(
      tls::server_context mine, std::chrono::nanoseconds timeout) = 0;
  [[nodiscard]] virtual task<result<std::size_t>> end_writing(loop_clock::time_point deadline) = 0;
  /// Closes, over TLS with close_notify.
  [[nodiscard]] virtual task<> close() = 0;
  virtual bool is_secure() const noexcept = 0;
};

template <byte_stream Stream>
inline constexpr bool is_tls_stream = false;
template <byte_stream Stream>
inline constexpr bool is_tls_stream<tls_stream<Stream>> = true;

template <byte_stream Stream>
class transport_over final : public transport {
 public:
  explicit transport_over(Stream stream) noexcept : stream_(std::move(stream)), reader_(stream_) {}

  task<result<std::size_t>> fill(loop_clock::time_point deadline) override {
    co_return co_await as_result(with_deadline(deadline, reader_.fill()));
  }
  const_buffer buffered() const noexcept override { return reader_.buffered(); }
  void consume(std::size_t size) noexcept override { reader_.consume(size); }
  task<result<std::size_t>> write(const_buffer bytes, loop_clock::time_point deadline) override {
    co_return co_await as_result(with_deadline(deadline, stream_.write_all(bytes)));
  }
  task<std::unique_ptr<transport>> connect_tls(tls::client_context trusted, std::string host,
                                               std::chrono::nanoseconds timeout) override {
    if constexpr (is_tls_stream<Stream>) {
      assertion_failed("connect_tls", "TLS within TLS", __FILE__, __LINE__);
      co_return nullptr;
    } else {
      auto secure =
          co_await tls::connect(std::move(stream_), std::move(trusted), std::move(host), timeout);
      co_return std::make_unique<transport_over<tls_stream<Stream>>>(std::move(secure));
    }
  }
  task<std::unique_ptr<transport>> accept_tls(tls::server_context mine,
                                              std::chrono::nanoseconds timeout) override {
    if constexpr (is_tls_stream<Stream>) {
      assertion_failed("accept_tls", "TLS within TLS", __FILE__, __LINE__);
      co_return nullptr;
    } else {
      auto secure = co_await tls::accept(std::move(stream_), std::move(mine), timeout);
      co_return std::make_unique<transport_over<tls_stream<Stream>>>(std::move(secure));
    }
  }
  task<result<std::size_t>> end_writing(loop_clock::time_point deadline) override {
    co_return co_await as_result(with_deadline(deadline, stream_.shutdown_write()));
  }
  task<> close() override { co_await stream_.close(); }
  bool is_secure() const noexcept override { return is_tls_stream<Stream>; }

 private:
  Stream stream_;
  buffered_reader<Stream> reader_;
};

}  // namespace rill::smtp::detail
