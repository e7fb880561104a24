// A WebSocket over any byte_stream, once hands are shaken: messages in, messages out.
//   while (auto message = co_await peer.read()) {  // nothing: it has ended
//     co_await peer.write(*message);
//   }
// It answers pings and close frames, asks a silent peer for a sign of life, and ends connections
// whose peer breaks the rules. Not here: how one is opened (server.h, client.h), frames (frame.h).
// Read next: connection_core.h.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <rill/net/any_stream.h>
#include <rill/net/buffer.h>
#include <rill/net/endpoint.h>
#include <rill/net/stream.h>
#include <rill/protocols/websocket/connection_core.h>
#include <rill/protocols/websocket/encoder.h>
#include <rill/protocols/websocket/frame.h>
#include <rill/protocols/websocket/handshake.h>
#include <rill/protocols/websocket/options.h>
#include <rill/runtime/task.h>

namespace rill::websocket {

/// One end of a connection. Moved freely while no call is under way.
///
/// Concurrency: one task that reads and one that writes; anybody may close() and ping() beside
///   them, while they wait here or are about something else. Reading is what answers pings, notices
///   a peer that is gone and completes a close: a connection that nobody reads does none of it.
/// Ends as values: what a peer does wrong or stops doing makes read() give nothing and the writes
///   false; code(), reason() and cause() say why.
/// Cancellation: of a read at any time, and no message is lost. A write that is cancelled may have
///   sent a part of its frame: nothing more can be sent then, and only the end is left. So it is
///   with a read that is cancelled while it answers a ping of a peer that takes nothing.
/// Lifetime: what write() is given must live until the co_await is over; the connection outlives
///   all calls. Destroying it closes the stream without a word: the peer sees an abnormal end.
/// Cost: 592 bytes beside any_stream, and frames of the cache; while it waits no buffer. A message
///   that comes is copied once, by the unmasking; one that a server sends is not copied.
template <byte_stream Stream>
class basic_connection {
 public:
  /// Of a connection whose handshake is done. `received`: what came behind the handshake.
  explicit basic_connection(Stream over, role own,
                            const connection_options& options = connection_options(),
                            negotiated agreed = negotiated(), std::string_view received = {})
      : core_(std::make_unique<detail::connection_core<Stream>>(std::move(over), own, options,
                                                                std::move(agreed), received)) {}

  /// The next message; nothing when the connection has ended. Its bytes are valid until the next
  /// call of read() or close().
  [[nodiscard]] task<std::optional<message>> read() { return core_->read(); }

  /// Sends a message in one frame. False: the connection is ending or has ended, and the peer may
  /// not get it. True: it is on its way; whether the peer reads it, only an answer can say.
  /// Throws std::invalid_argument for text that is no UTF-8.
  /// Compressed if that was agreed on and is worth it.
  task<bool> write(message_kind kind, const_buffer payload) {
    return core_->write(kind, payload.text());
  }
  /// Sends a message on as it came.
  task<bool> write(const message& of) { return core_->write(of.kind, of.data); }
  task<bool> write_text(std::string_view text) { return core_->write(message_kind::text, text); }
  task<bool> write_binary(const_buffer bytes) {
    return core_->write(message_kind::binary, bytes.text());
  }
  /// The frame as it is. REQUIRES: a server's connection.
  task<bool> write(const shared_message& of) {
    return core_->write_shared(std::span<const shared_message>(&of, 1));
  }
  /// Several, in as few sends as possible.
  task<bool> write(std::span<const shared_message> several) { return core_->write_shared(several); }
  /// A part of a message whose size need not be known: a frame of its own, uncompressed. `kind` is
  /// that of the first part. Between the parts no other message may be written. Text that is
  /// refused was no part; the message goes on without it.
  task<bool> write_part(message_kind kind, const_buffer part, bool is_last) {
    return core_->write_part(kind, part.text(), is_last);
  }
  /// At most 125 bytes, which the peer sends back in a pong.
  task<bool> ping(std::string_view payload = {}) { return core_->ping(payload); }

  /// Says farewell and waits for the peer's, for options.close_timeout at most. What it still sends
  /// goes to whoever is reading when this begins, or is dropped; a read() that begins meanwhile
  /// waits for the end. The reason is cut to 123 bytes. Throws std::invalid_argument for one that
  /// is no UTF-8. REQUIRES: may_be_sent(code).
  task<void> close(close_code code = close_code::normal, std::string_view reason = {}) {
    return core_->close(code, std::string(reason));
  }

  /// Neither end has said farewell, and the stream works.
  bool is_open() const noexcept { return core_->is_open(); }
  // When read() has given nothing:
  /// The peer's code, or `none` if it gave none; what we closed with because it had broken the
  /// rules; `abnormal`: the stream ended without a farewell.
  close_code code() const noexcept { return core_->code(); }
  /// The peer's, or what it had done wrong.
  const std::string& reason() const noexcept { return core_->reason(); }
  /// Both have said farewell.
  bool is_clean() const noexcept { return core_->is_clean(); }
  /// What the stream has said, or ETIMEDOUT for a peer that stopped answering; 0: nothing.
  const std::error_code& cause() const noexcept { return core_->cause(); }

  /// What was agreed on when hands were shaken; empty: none.
  const std::string& subprotocol() const noexcept { return core_->agreed().subprotocol; }
  /// Likewise; nullopt: nothing is compressed.
  const std::optional<deflate_parameters>& compression() const noexcept {
    return core_->agreed().deflate;
  }
  /// Unnamed when it is no socket. REQUIRES: the stream is open.
  endpoint peer() const { return core_->peer(); }

 private:
  std::unique_ptr<detail::connection_core<Stream>> core_;
};

/// What servers and clients of this room give: over whatever carries it.
using connection = basic_connection<any_stream>;

extern template class detail::connection_core<any_stream>;

}  // namespace rill::websocket
