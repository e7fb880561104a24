// What a line of a line client means: something said, or one of the commands that begin with '/'.
// A pure function over one line. Read next: command.cpp.
#pragma once

#include <cstdint>
#include <string_view>

namespace rill::chat {

enum class verb : std::uint8_t {
  nothing,  ///< an empty line
  say,
  me,
  nick,
  who,
  join,
  leave,
  rooms,
  msg,
  help,
  quit,
  incomplete,  ///< a known command without what it needs; `name` is the command
  unknown      ///< `name` is the command
};

/// What a line asks for, and the parts of it that say of what.
struct command {
  verb what;
  std::string_view name;  ///< of a member or a room
  std::string_view text;  ///< what is said
};

/// `//text` says "/text". Blanks around names and in front of what is said after a command do not
/// count; what is said without a command is taken as it is. The views refer to `line`.
command parse_command(std::string_view line) noexcept;

/// What /help answers, in lines.
std::string_view help_text() noexcept;

}  // namespace rill::chat
