// Bits and lengths. See frame.h.
#include <rill/protocols/websocket/frame.h>

#include <cstring>

namespace rill::websocket {
namespace {

constexpr unsigned final_bit = 0x80;
constexpr unsigned compressed_bit = 0x40;
constexpr unsigned reserved_bits = 0x30;
constexpr unsigned opcode_bits = 0x0f;
constexpr unsigned mask_bit = 0x80;
constexpr unsigned length_bits = 0x7f;
constexpr unsigned length_of_16_bits = 126;
constexpr unsigned length_of_64_bits = 127;

head_result failed(frame_fault fault) noexcept { return {0, fault}; }

bool is_reserved(unsigned code) noexcept { return (code > 2 && code < 8) || code > 10; }

/// What the first byte tells by itself.
frame_fault read_first(unsigned byte, frame_head& head) noexcept {
  if ((byte & reserved_bits) != 0) return frame_fault::reserved_bit;
  if (is_reserved(byte & opcode_bits)) return frame_fault::reserved_opcode;
  head.is_final = (byte & final_bit) != 0;
  head.is_compressed = (byte & compressed_bit) != 0;
  head.code = static_cast<opcode>(byte & opcode_bits);
  if (!is_control(head.code)) return frame_fault::none;
  if (!head.is_final) return frame_fault::fragmented_control;
  return head.is_compressed ? frame_fault::compressed_control : frame_fault::none;
}

}  // namespace

head_result read_head(std::string_view bytes, frame_head& head) noexcept {
  const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(bytes[at]); };
  if (bytes.empty()) return {};
  const frame_fault fault = read_first(byte(0), head);
  if (fault != frame_fault::none) return failed(fault);
  if (bytes.size() < 2) return {};
  head.is_masked = (byte(1) & mask_bit) != 0;
  const unsigned length = byte(1) & length_bits;
  if (is_control(head.code) && length > control_size_max) {
    return failed(frame_fault::oversized_control);
  }
  std::size_t at = 2;
  head.size = length;
  if (length >= length_of_16_bits) {
    const std::size_t count = length == length_of_64_bits ? 8 : 2;
    // The highest bit must not be set (section 5.2).
    if (count == 8 && bytes.size() > at && byte(at) >= 0x80) {
      return failed(frame_fault::unrepresentable_size);
    }
    if (bytes.size() < at + count) return {};
    head.size = 0;
    for (std::size_t i = 0; i < count; ++i) head.size = head.size << 8U | byte(at + i);
    at += count;
    if (head.size < (count == 8 ? 65536U : 126U)) return failed(frame_fault::overlong_length);
  }
  if (head.is_masked) {
    if (bytes.size() < at + head.key.size()) return {};
    std::memcpy(head.key.data(), bytes.data() + at, head.key.size());
    at += head.key.size();
  }
  return {at, frame_fault::none};
}

std::size_t write_head(const frame_head& head, char (&to)[frame_head_size_max]) noexcept {
  const auto put = [&](std::size_t at, std::uint64_t value) {
    to[at] = static_cast<char>(value & 0xffU);
  };
  put(0, (head.is_final ? final_bit : 0U) | (head.is_compressed ? compressed_bit : 0U) |
             static_cast<unsigned>(head.code));
  const unsigned masked = head.is_masked ? mask_bit : 0U;
  std::size_t at = 2;
  if (head.size < length_of_16_bits) {
    put(1, masked | head.size);
  } else {
    const std::size_t count = head.size < 65536 ? 2 : 8;
    put(1, masked | (count == 2 ? length_of_16_bits : length_of_64_bits));
    for (std::size_t i = 0; i < count; ++i) put(at + i, head.size >> (8 * (count - 1 - i)));
    at += count;
  }
  if (head.is_masked) {
    std::memcpy(to + at, head.key.data(), head.key.size());
    at += head.key.size();
  }
  return at;
}

std::string_view message_of(frame_fault fault) noexcept {
  switch (fault) {
    case frame_fault::none:
      return "";
    case frame_fault::reserved_bit:
      return "a reserved bit is set";
    case frame_fault::reserved_opcode:
      return "a reserved opcode";
    case frame_fault::fragmented_control:
      return "a control frame in fragments";
    case frame_fault::oversized_control:
      return "a control frame of more than 125 bytes";
    case frame_fault::compressed_control:
      return "a compressed control frame";
    case frame_fault::overlong_length:
      return "a length in more bytes than it needs";
    case frame_fault::unrepresentable_size:
      return "a length of 2^63 or more";
  }
  return "";
}

}  // namespace rill::websocket
