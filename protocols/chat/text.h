// Text that may be shown on somebody else's terminal: UTF-8 as RFC 3629 has it, what in it could
// move a cursor or turn a line round, and which words may be a name.
// Not here: how lines are cut out of bytes (line_codec.h). Read next: text.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace rill::chat {

/// The next character of a text.
struct character {
  char32_t value;    ///< what it is; of an invalid one nothing is known
  std::size_t size;  ///< bytes; of an invalid one those that may be skipped, at least 1
  bool is_valid;
};

/// REQUIRES: `text` is not empty. Overlong forms, surrogates and what lies beyond U+10FFFF are
/// invalid (RFC 3629 section 3). What is cut short at the end of the text is invalid too.
character first_character(std::string_view text) noexcept;

/// All of it is; "" too.
bool is_utf8(std::string_view text) noexcept;

/// True for what must not reach a terminal: C0 but the tab, DEL and C1 (ECMA-48: cursor, colours,
/// titles, queries that the terminal answers), line and paragraph separators, the marks that change
/// the direction of what follows (UAX 9), and interlinear annotations.
bool is_harmful(char32_t value) noexcept;

/// Appends `text` with what is harmful made visible: U+001B as U+241B ("symbol for escape") and
/// likewise all of C0 but the tab, which stays, and DEL; everything else and each invalid byte as
/// U+FFFD. The result is UTF-8 in one line. Cost: one pass; nothing is allocated if `to` has room.
void append_harmless(std::string& to, std::string_view text);

/// The longest name of a member or a room, in characters and in bytes.
inline constexpr std::size_t name_character_max = 32;
inline constexpr std::size_t name_size_max = 4 * name_character_max;

enum class name_fault : std::uint8_t { none, empty, too_long, not_utf8, bad_character, bad_start };

/// Whether a word can name a member or a room: UTF-8, 1 to 32 characters, nothing harmful, nothing
/// blank or invisible (two names must not look alike because of it, and a name is one word), and no
/// ':', which ends the name in a message. The first character is none of `* / - #`, with which
/// commands and lines of the server's begin.
name_fault check_name(std::string_view name) noexcept;
/// "a name has 1 to 32 characters", for people.
std::string_view describe(name_fault fault) noexcept;

}  // namespace rill::chat
