// A client's connection, whatever carries it: a byte_stream behind virtual calls, so that the pool
// and the exchange are written, and compiled, once.
// Not here: how a connection is opened (connector.h), what is said on it (client_exchange.h).
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <utility>

#include <rill/net/any_stream.h>
#include <rill/net/buffered.h>
#include <rill/net/stream.h>
#include <rill/runtime/timeout.h>

namespace rill::http {

/// One read and one write at once, as of any byte_stream. Destroying it closes.
/// Cost: a frame from the cache for each operation.
class client_stream {
 public:
  client_stream() = default;
  client_stream(const client_stream&) = delete;
  client_stream& operator=(const client_stream&) = delete;
  virtual ~client_stream() = default;

  /// As those of buffered_reader.
  [[nodiscard]] virtual task<result<std::size_t>> fill(loop_clock::time_point deadline) = 0;
  virtual const_buffer buffered() const noexcept = 0;
  virtual void consume(std::size_t size) noexcept = 0;
  /// All of the pieces. Their memory must live until the co_await is over.
  [[nodiscard]] virtual task<result<std::size_t>> write(std::span<const const_buffer> pieces,
                                                        loop_clock::time_point deadline) = 0;
  /// "10.0.0.7:8080", for errors.
  virtual const std::string& peer() const noexcept = 0;
  /// The stream itself, for another protocol; what is buffered is not in it any more. Closed: it is
  /// not given away. Nothing else may be called afterwards.
  virtual any_stream take_stream() { return any_stream(); }
};

/// A client_stream over any byte_stream.
template <byte_stream Stream>
class client_stream_over final : public client_stream {
 public:
  client_stream_over(Stream stream, std::string peer) noexcept
      : stream_(std::move(stream)), reader_(stream_), peer_(std::move(peer)) {}

  task<result<std::size_t>> fill(loop_clock::time_point deadline) override {
    co_return co_await as_result(with_deadline(deadline, reader_.fill()));
  }
  const_buffer buffered() const noexcept override { return reader_.buffered(); }
  void consume(std::size_t size) noexcept override { reader_.consume(size); }
  task<result<std::size_t>> write(std::span<const const_buffer> pieces,
                                  loop_clock::time_point deadline) override {
    co_return co_await as_result(with_deadline(deadline, stream_.write_all(pieces)));
  }
  const std::string& peer() const noexcept override { return peer_; }
  any_stream take_stream() override { return any_stream(std::move(stream_)); }

 private:
  Stream stream_;
  buffered_reader<Stream> reader_;
  std::string peer_;
};

}  // namespace rill::http
