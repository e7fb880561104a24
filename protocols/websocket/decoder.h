// What a peer sends, as messages: frames put together, unmasked, decompressed, checked (RFC 6455
// section 5, RFC 7692). The same bytes give the same events however they are cut, and what is wrong
// is told as soon as its first byte is there.
//   while (true) {
//     const auto [what, used, data] = decoder.decode(bytes);
//     bytes.remove_prefix(used);
//     if (what == event::nothing) break;  // more bytes are needed
//   }
// Not here: answering (connection.h).
// Read next: decoder.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <rill/protocols/websocket/deflate.h>
#include <rill/protocols/websocket/frame.h>
#include <rill/protocols/websocket/utf8.h>

namespace rill::websocket {

/// How much one message may cost its reader.
struct decoder_limits {
  /// Bytes of a message, and of what a compressed one becomes: 1009 beyond, without reading them.
  std::size_t message_size_max = 1024 * 1024;
  /// Frames without a byte in one message: 1008 beyond. They cost the sender next to nothing.
  std::size_t empty_frame_max = 256;
};

enum class event : std::uint8_t {
  nothing,  ///< more bytes are needed
  text,     ///< a message: its bytes are UTF-8
  binary,   ///< a message
  ping,
  pong,
  close,  ///< code() and the reason; nothing that follows is looked at
  failed  ///< what came is not allowed: code() and the reason to answer with
};

/// Reads what one peer sends, from the first byte behind the handshake to its farewell.
class message_decoder {
 public:
  explicit message_decoder(role own, const decoder_limits& limits = decoder_limits(),
                           const std::optional<deflate_parameters>& agreed = std::nullopt) noexcept;
  message_decoder(message_decoder&& other) noexcept;
  message_decoder& operator=(message_decoder&&) = delete;
  ~message_decoder();

  /// One step of decode().
  struct decoded {
    event what = event::nothing;
    std::size_t used = 0;   ///< bytes that are done with
    std::string_view data;  ///< of the event, unmasked; valid until the next call
  };
  /// The next event of `bytes`, which begin where the last call has stopped. To be called again
  /// with the rest, or with nothing, until it gives `nothing`. After `close` and `failed` the event
  /// stays, and whatever comes is used up.
  /// Memory: it grows with the bytes that have come, not with what a head announces. Throws
  ///   std::bad_alloc.
  decoded decode(std::string_view bytes);

  /// After `close` and `failed`. close_code::none: the peer gave none.
  close_code code() const noexcept { return code_; }
  /// A message, or a frame, has begun and its end has not come.
  bool is_within_message() const noexcept { return in_message_ || in_frame_; }
  /// Gives memory back, for a connection that waits. What decode() gave is no longer valid.
  void release_memory() noexcept;

 private:
  decoded fail(close_code code, std::string_view why, std::size_t used) noexcept;
  /// nullopt: the frame is welcome.
  std::optional<decoded> check_head(std::size_t used);
  std::optional<decoded> begin_frame(std::string_view bytes, std::size_t& used, bool& is_short);
  decoded take_control(std::string_view bytes, std::size_t used);
  std::optional<decoded> take_payload(std::string_view bytes, std::size_t& used);
  std::optional<decoded> add_compressed(std::string_view masked, std::uint64_t offset, bool is_last,
                                        std::size_t used);
  std::optional<decoded> check_text(std::size_t from, std::size_t used);
  decoded end_message(std::size_t used) noexcept;
  decoded read_close(std::size_t used) noexcept;
  bool is_compressed_without_context() const noexcept;

  decoder_limits limits_;
  frame_head head_;
  std::uint64_t taken_size_ = 0;   // of the frame's payload
  std::uint64_t frames_size_ = 0;  // of the message's frames, this one included
  std::string message_;
  std::string control_;
  std::unique_ptr<inflater> inflater_;
  std::size_t empty_count_ = 0;
  std::string_view reason_;  // of a failure: a literal
  close_code code_ = close_code::none;
  utf8_validator text_;
  role own_;
  bool has_deflate_;
  bool has_context_takeover_ = false;
  std::uint8_t window_bits_ = 15;
  bool in_frame_ = false;
  bool in_message_ = false;
  bool is_given_ = false;  // the message has been given out, and is to be forgotten
  event end_ = event::nothing;
  opcode kind_ = opcode::text;  // of the message
  bool is_compressed_ = false;  // the message
};

}  // namespace rill::websocket
