// What follows DATA: the message with its dots doubled and its end marked (RFC 5321 section 4.5.2).
// The writer puts nothing but CRLF on the wire at the end of lines, whatever it is given; the
// reader takes nothing else. So no two servers on the way see different ends (SMTP smuggling,
// CVE-2023-51764). Bytes in, bytes out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <rill/protocols/smtp/error.h>

namespace rill::smtp {

/// Bytes of a line without its end (RFC 5322 section 2.1.1).
inline constexpr std::size_t line_size_max = 998;

/// A message to what is sent. CRLF, LF and CR each end a line. After an error nothing more is
/// written: line_too_long, or bad_content for a NUL.
class data_encoder {
 public:
  /// Appends to `out`. Of a CR at the end of `text` the line's end is written, and an LF that
  /// follows in the next call belongs to it.
  void encode(std::string_view text, std::string& out);
  /// Ends the last line, if that has not ended, and the message.
  void finish(std::string& out);

  std::optional<smtp_error> error() const noexcept { return error_; }
  /// A byte beyond ASCII was written: needs 8BITMIME.
  bool has_high_bytes() const noexcept { return has_high_bytes_; }

 private:
  void end_line(std::string& out);

  std::size_t line_size_ = 0;
  bool after_return_ = false;
  bool has_high_bytes_ = false;
  std::optional<smtp_error> error_;
};

/// What was sent to a message.
class data_decoder {
 public:
  enum class state : std::uint8_t {
    more,       ///< all was used, and more must come
    complete,   ///< the end was there
    bare_break  ///< a CR or LF alone: nothing that follows can be trusted
  };
  /// What decode() has done.
  struct step {
    std::size_t used;
    state what;
  };

  /// Of the message itself; what is beyond is counted and dropped.
  explicit data_decoder(std::uint64_t size_max) noexcept : size_max_(size_max) {}

  /// Appends to `content`, with CRLF at the end of each line. Bytes behind the end are not used.
  step decode(std::string_view bytes, std::string& content);
  /// Bytes of the message, dropped ones included.
  std::uint64_t size() const noexcept { return size_; }
  bool is_too_large() const noexcept { return size_ > size_max_; }

 private:
  enum class place : std::uint8_t { line_start, line, after_return, after_dot, after_dot_return };
  void append(std::string_view bytes, std::string& content);

  std::uint64_t size_max_;
  std::uint64_t size_ = 0;
  place place_ = place::line_start;
};

}  // namespace rill::smtp
