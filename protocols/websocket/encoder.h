// What an end sends: frames and messages as bytes (RFC 6455 section 5).
// Not here: when they are sent (connection.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include <rill/protocols/websocket/frame.h>

namespace rill::websocket {

enum class message_kind : std::uint8_t { text, binary };

constexpr opcode opcode_of(message_kind kind) noexcept {
  return kind == message_kind::text ? opcode::text : opcode::binary;
}

/// Appends a frame whose payload is `payload`; with `head.is_masked`, masked by `head.key`. The
/// head's size is not looked at.
void append_frame(std::string& to, frame_head head, std::string_view payload);

/// The payload of a close frame: nothing for close_code::none. The reason is cut to the 123 bytes
/// that have room, at a character. REQUIRES: may_be_sent(code) or none.
std::string close_payload(close_code code, std::string_view reason);

/// A message of a server, encoded once and sent to any number of connections as it is: one memory
/// for all of them. Cheap to copy.
/// Thread rule: it never changes, so any number of loops may send it.
class shared_message {
 public:
  shared_message() noexcept {}
  /// `compressed`: also as those connections take it that have agreed on compression without
  /// context take-over and windows of 15 bits; the others are sent the plain one.
  /// Throws std::invalid_argument for text that is no UTF-8, std::bad_alloc.
  /// Cost: one copy of the payload, one more of what it compresses to.
  explicit shared_message(message_kind kind, std::string_view payload, bool compressed = false);

  explicit operator bool() const noexcept { return frames_ != nullptr; }
  /// The frame. REQUIRES: not empty.
  std::string_view frame() const noexcept { return frames_->plain; }
  /// Empty: there is none, for it would not be smaller or was not asked for.
  std::string_view compressed_frame() const noexcept { return frames_->compressed; }
  /// The message. REQUIRES: not empty.
  std::string_view payload() const noexcept {
    return std::string_view(frames_->plain).substr(frames_->head_size);
  }

 private:
  struct frames {
    std::string plain;
    std::string compressed;
    std::size_t head_size = 0;
  };
  std::shared_ptr<const frames> frames_;
};

}  // namespace rill::websocket
