// What a client of the TCP protocol sends, cut out of bytes: its nickname, then lines.
// Bytes in, lines out: no stream and no clock. However the bytes are cut, the same lines come out.
// Not here: what a line means (command.h). Read next: session.h, which drives both.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace rill::chat {

/// How long a line may be.
struct line_limits {
  /// Bytes of a line without its end. A longer one is refused as a whole; the client is told.
  std::size_t line_size_max = 1024;
  /// Bytes of a line that has no end at all: whoever sends more is no client of ours. At least
  /// line_size_max + 2.
  std::size_t endless_size_max = std::size_t{64} * 1024;
};

enum class line_kind : std::uint8_t {
  text,      ///< a line of UTF-8
  not_utf8,  ///< a whole line, which is dropped
  too_long,  ///< told as soon as it is certain; the rest of the line is dropped as it comes
  endless    ///< only closing is left
};

/// A line, or what is wrong with it.
struct line {
  line_kind kind;
  /// Without LF or CR LF. Valid until the next call, and while the bytes given in are.
  std::string_view text;
};

/// Cuts bytes into lines.
class line_reader {
 public:
  /// Takes bytes from the front of `input`, which is shortened, up to the end of a line. nullopt:
  /// all of it was taken and the line goes on. A line that lies within one input is not copied.
  std::optional<line> next(std::string_view& input, const line_limits& limits);

  /// Bytes held of a line that has not ended.
  std::size_t held_size() const noexcept { return held_.size(); }

 private:
  std::optional<line> judge(std::string_view text, const line_limits& limits) const noexcept;

  std::string held_;
  std::size_t dropped_size_ = 0;  // of a line that is too long, all of it; 0: it is not
  bool ended_ = false;            // held_ was given out
};

/// What answers `NICK`.
class nickname_reader {
 public:
  enum class status : std::uint8_t {
    incomplete,  ///< no end of line yet; after a while without one it is a raw client's nickname
    line,        ///< ended by a newline: a line client
    too_long     ///< more than any name with an end of line may be
  };

  /// Takes bytes from the front of `input`, up to and with the first newline.
  status take(std::string_view& input);
  /// What has come, without the end of line.
  std::string_view text() const noexcept;
  bool empty() const noexcept { return text_.empty(); }
  void clear() noexcept { text_.clear(); }

 private:
  /// What the original server's recv(1024) takes for a nickname.
  static constexpr std::size_t size_max = 1024;

  std::string text_;
};

}  // namespace rill::chat
