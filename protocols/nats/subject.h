// Subjects: "chat.room.lobby", tokens between dots. Patterns may hold "*", which stands for one
// token, and end in ">", which stands for one or more.
// Read next: packet.h.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace rill::nats {

/// Bytes of a subject: the server's control line holds 4,096, with a reply subject and numbers.
inline constexpr std::size_t subject_size_max = 1024;

/// A subject to publish to: no wildcards, no empty tokens, no blanks or controls.
bool is_subject(std::string_view text) noexcept;
/// A subject or pattern to subscribe to.
bool is_pattern(std::string_view text) noexcept;
/// Whether messages to `subject` go to who has subscribed to `pattern`.
/// REQUIRES: is_pattern(pattern), is_subject(subject).
bool matches(std::string_view pattern, std::string_view subject) noexcept;

/// Any text as one token, so that names that users choose can stand in a subject: bytes other than
/// letters, digits, "-" and "_" become "%2E". Equal texts give equal tokens, others others. Three
/// times as long at most; the empty text is "%".
std::string to_token(std::string_view text);
/// What was given to to_token(); text that is no such token gives an empty string.
std::string from_token(std::string_view token);

}  // namespace rill::nats
