// The head of a frame (RFC 6455 section 5.2) and the codes with which a connection ends (section
// 7.4): read, written, and refused at the first byte that is wrong.
// Not here: messages (decoder.h, encoder.h).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace rill::websocket {

/// Which end of the connection this one is. A client masks what it sends.
enum class role : std::uint8_t { client, server };

enum class opcode : std::uint8_t {
  continuation = 0,
  text = 1,
  binary = 2,
  close = 8,
  ping = 9,
  pong = 10
};
constexpr bool is_control(opcode code) noexcept { return code >= opcode::close; }

/// Why a connection ends. Any number may be cast to it.
enum class close_code : std::uint16_t {
  normal = 1000,
  going_away = 1001,  ///< the server ends, the page is left
  protocol_error = 1002,
  unsupported_data = 1003,  ///< binary where text is wanted, for instance
  none = 1005,              ///< the peer gave no code. Never sent
  abnormal = 1006,          ///< it ended without a close frame. Never sent
  invalid_data = 1007,      ///< text that is no UTF-8, content that does not decompress
  policy_violation = 1008,
  too_big = 1009,
  missing_extension = 1010,
  internal_error = 1011,
  restart = 1012,
  try_again_later = 1013,
};

/// True if a close frame may hold it: those of RFC 6455 section 7.4.1 and its registry that are not
/// for programs only, and 3000 to 4999, which belong to libraries and applications.
constexpr bool may_be_sent(close_code code) noexcept {
  const auto number = static_cast<std::uint16_t>(code);
  return (number >= 1000 && number <= 1014 && number != 1004 && number != 1005 && number != 1006) ||
         (number >= 3000 && number <= 4999);
}

/// What stands before the payload of a frame.
struct frame_head {
  bool is_final = true;
  bool is_compressed = false;  ///< RSV1 (RFC 7692)
  opcode code = opcode::text;
  bool is_masked = false;
  std::array<unsigned char, 4> key{};  ///< of the mask
  std::uint64_t size = 0;              ///< of the payload
};

/// Of two bytes, of lengths, of the mask's key.
inline constexpr std::size_t frame_head_size_max = 14;
/// Payload of close, ping and pong (RFC 6455 section 5.5).
inline constexpr std::size_t control_size_max = 125;

/// What is wrong with a head; `none`: nothing.
enum class frame_fault : std::uint8_t {
  none,
  reserved_bit,         ///< RSV2 or RSV3
  reserved_opcode,      ///< 3 to 7, 11 to 15
  fragmented_control,   ///< close, ping or pong without FIN
  oversized_control,    ///< with more than 125 bytes
  compressed_control,   ///< with RSV1
  overlong_length,      ///< written in more bytes than it needs
  unrepresentable_size  ///< 2^63 or more
};
/// "a control frame in fragments"
std::string_view message_of(frame_fault fault) noexcept;

/// What read_head() has found out.
struct head_result {
  std::size_t size = 0;  ///< of the head; 0: more bytes are needed, or it has failed
  frame_fault fault = frame_fault::none;
};

/// Reads the head with which `bytes` begin. What cannot become one is told at once, though more
/// bytes of it may be missing.
head_result read_head(std::string_view bytes, frame_head& head) noexcept;
/// Gives how many bytes of `to` it has taken. REQUIRES: size < 2^63.
std::size_t write_head(const frame_head& head, char (&to)[frame_head_size_max]) noexcept;

}  // namespace rill::websocket
