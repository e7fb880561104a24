// Replies of SMTP (RFC 5321 section 4.2) with enhanced status codes (RFC 2034, 3463): read by
// clients, written by servers. Bytes in, replies out.
// Not here: what they mean for a message (delivery.h). Read next: reply.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <rill/protocols/smtp/error.h>

namespace rill::smtp {

/// "4.7.1": kind, subject, detail.
struct enhanced_status {
  std::uint16_t kind = 0;
  std::uint16_t subject = 0;
  std::uint16_t detail = 0;

  std::string to_string() const;
  friend bool operator==(const enhanced_status&, const enhanced_status&) = default;
};

/// What a server says to a command.
class reply {
 public:
  /// Code 0: nothing was said.
  reply() {}
  /// One line; or several, with LF between them. What would break the protocol, CR and NUL, becomes
  /// a blank. An enhanced status is the beginning of the text.
  explicit reply(int code, std::string_view text = {});

  int code() const noexcept { return code_; }
  bool is_positive() const noexcept { return code_ / 100 == 2; }
  bool is_intermediate() const noexcept { return code_ / 100 == 3; }
  /// The same later may succeed.
  bool is_temporary() const noexcept { return code_ / 100 == 4; }
  bool is_permanent() const noexcept { return code_ / 100 == 5; }
  /// The text of each line, enhanced status included.
  const std::vector<std::string>& lines() const noexcept { return lines_; }
  /// That of the first line, if it has one that fits the code.
  std::optional<enhanced_status> status() const noexcept;
  /// "550 5.1.1 No such user", lines joined by blanks, printable(): for people.
  std::string to_string() const;
  /// "250-a\r\n250 b\r\n".
  std::string wire() const;

 private:
  friend class reply_parser;
  int code_ = 0;
  std::vector<std::string> lines_;
};

/// What a reply may have; beyond it is smtp_error::reply_too_long.
struct reply_limits {
  /// Bytes of a line without its end. RFC 5321 section 4.5.3.1.5 says 510; servers quote URLs.
  std::size_t line_size_max = 2000;
  /// Lines of one reply. The longest EHLO has some twenty.
  std::size_t line_count_max = 100;
};

enum class parse_state : std::uint8_t { incomplete, complete, failed };

/// Reads replies one after the other. Stricter than some servers deserve: lines end with CRLF only,
/// and no CR, LF or NUL stands elsewhere, for what two readers could read differently hides
/// replies.
class reply_parser {
 public:
  explicit reply_parser(reply_limits limits = reply_limits()) noexcept : limits_(limits) {}

  /// What parse() has done.
  struct step {
    std::size_t used;  ///< bytes that are done with
    parse_state state;
  };
  /// Goes on with what has come. After `complete` the next call begins a new reply; after `failed`
  /// there is none.
  step parse(std::string_view bytes);

  /// REQUIRES: the last step was `complete`.
  const reply& value() const noexcept { return reply_; }
  /// REQUIRES: the last step was `failed`.
  smtp_error error() const noexcept { return error_; }

 private:
  bool take_line(std::string_view line);
  step fail(smtp_error why, std::size_t used) noexcept;

  reply_limits limits_;
  reply reply_;
  smtp_error error_ = smtp_error::bad_reply;
  bool is_complete_ = false;
};

}  // namespace rill::smtp
