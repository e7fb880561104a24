// Bodies of HTTP/1 messages: bytes in, pieces of the body out, without copying.
//   rill::http::body_decoder body(head);
//   while (!body.is_complete()) { const auto piece = body.decode(bytes); consume(piece.used); ... }
// Not here: where the bytes come from (server.h, client.h), content codings.
// Read next: body.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <rill/protocols/http/head.h>

namespace rill::http {

/// What a body may take.
struct body_limits {
  /// Bytes of the body: 413 beyond.
  std::uint64_t size_max = 16 * 1024 * 1024;
  /// Bytes of all chunk extensions together. Nobody uses them but to keep servers busy.
  std::size_t extension_size_max = 16 * 1024;
  /// Bytes of the trailer section: 431 beyond.
  std::size_t trailer_size_max = 8 * 1024;
};

/// Finds the content in the bytes that follow a head, by the framing which that announces.
class body_decoder {
 public:
  /// No body.
  body_decoder() noexcept = default;
  /// The body that follows `head`. One that is known to be too large has failed already.
  explicit body_decoder(const message_head& head,
                        const body_limits& limits = body_limits()) noexcept;

  /// One step of decode().
  struct piece {
    std::string_view data;  ///< of the body; within the bytes given
    std::size_t used = 0;   ///< bytes that are done with: drop them before the next call
  };
  /// The next piece. Fewer bytes than given are used when the body ends, or when framing stands
  /// behind the piece; with none given nothing happens. Not to be called after complete or failed.
  piece decode(std::string_view bytes);
  /// The stream has ended: completes a body that lasts until then, and fails any other.
  void end() noexcept;

  bool is_complete() const noexcept { return state_ == state::complete; }
  bool has_failed() const noexcept { return state_ == state::failed; }
  http_error error() const noexcept { return error_; }
  /// Bytes of the body so far.
  std::uint64_t size() const noexcept { return size_; }
  /// The value of a trailer field; empty without it. Kept apart from the fields of the head, as
  /// RFC 9110 section 6.5.1 has it.
  std::string_view find_trailer(std::string_view name) const noexcept;

 private:
  enum class state : std::uint8_t {
    length,
    until_close,
    chunk_size,
    chunk_extension,
    chunk_size_end,  // LF
    chunk_data,
    chunk_end,  // CR
    chunk_end_line_feed,
    trailer,
    complete,
    failed
  };
  /// Where in ";name=value" (RFC 9112 section 7.1.1). Blanks may stand around ";" and "=".
  enum class extension_part : std::uint8_t {
    before_name,
    name,
    behind_name,  // a blank has come
    before_value,
    value,
    quoted,
    escaped,  // behind a backslash
    behind_quoted,
    behind_value  // a blank has come
  };

  void fail(http_error error) noexcept;
  piece take(std::string_view bytes, std::uint64_t size_max) noexcept;
  /// Framing only: gives how many bytes it has used.
  std::size_t decode_framing(std::string_view bytes);
  void size_digit(char c) noexcept;
  void end_of_size() noexcept;
  void extension_byte(char c) noexcept;
  bool take_extension_byte(char c) noexcept;
  std::size_t trailer_bytes(std::string_view bytes);
  bool trailer_line(std::string_view line) const noexcept;

  body_limits limits_;
  state state_ = state::complete;
  extension_part extension_part_ = extension_part::before_name;
  http_error error_ = http_error::incomplete;
  unsigned digit_count_ = 0;
  std::uint64_t left_ = 0;  // of the body, or of the chunk
  std::uint64_t size_ = 0;
  std::size_t extension_size_ = 0;
  std::size_t line_begin_ = 0;
  std::string trailer_;
};

}  // namespace rill::http
