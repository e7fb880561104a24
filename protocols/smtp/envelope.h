// Who sends a message to whom, as SMTP has it: the envelope. What stands in the message's own
// fields may say something else (Bcc).
// Not here: the message (message.h, content.h).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace rill::smtp {

/// What is to be told about a recipient (RFC 3461 section 4.1); combine with |.
enum class notify : std::uint8_t { standard = 0, success = 1, failure = 2, delay = 4, never = 8 };
constexpr notify operator|(notify left, notify right) noexcept {
  return static_cast<notify>(static_cast<unsigned>(left) | static_cast<unsigned>(right));
}

/// One of those who are to have a message.
struct recipient {
  recipient() {}
  explicit recipient(std::string_view to, notify what = notify::standard)
      : address(to), tell(what) {}

  std::string address;
  /// Sent to servers that offer DSN, and to no others.
  notify tell = notify::standard;
};

/// One sender and any number of recipients, all of them sound addresses.
class envelope {
 public:
  /// `from`: the address that failures are reported to; empty: none (reports themselves have
  /// none). Throws std::invalid_argument for what is not an address, line ends above all.
  explicit envelope(std::string_view from);
  envelope(std::string_view from, std::string_view to) : envelope(from) { add(to); }

  /// Throws std::invalid_argument. Adding an address twice has no effect.
  envelope& add(std::string_view address, notify tell = notify::standard);
  /// Reports are to hold the whole message, or only its head (RFC 3461 section 4.3).
  envelope& report_whole_message(bool whole) {
    returned_ = whole ? "FULL" : "HDRS";
    return *this;
  }
  /// Comes back in reports (RFC 3461 section 4.4). Throws std::invalid_argument for more than 100
  /// bytes or anything but visible ASCII.
  envelope& identified_as(std::string_view id);

  const std::string& from() const noexcept { return from_; }
  const std::vector<recipient>& to() const noexcept { return to_; }
  const std::string& returned() const noexcept { return returned_; }
  const std::string& id() const noexcept { return id_; }
  /// An address has bytes beyond ASCII: needs SMTPUTF8.
  bool needs_utf8() const noexcept;

 private:
  std::string from_;
  std::vector<recipient> to_;
  std::string returned_;
  std::string id_;
};

}  // namespace rill::smtp
