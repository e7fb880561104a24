// How text and names that are not ASCII stand in a message: encoded words (RFC 2047), parameters
// (RFC 2231), quoted-printable and base64 bodies (RFC 2045 section 6), folding (RFC 5322 section
// 2.2.3). Text in, lines out. Private. Read next: message.cpp.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace rill::mail {

/// Bytes of a line that is folded (RFC 5322 section 2.1.1), and of base64 (RFC 2045 section 6.8).
inline constexpr std::size_t fold_size_max = 76;

/// Text of a field: as it is, or, with anything but visible ASCII and blanks in it or with what
/// looks like an encoded word, in encoded words of whole characters.
std::string encode_text(std::string_view text);
/// The name before an address: an atom, a quoted string, or encoded words.
std::string encode_phrase(std::string_view name);
/// "; filename=\"a.txt\"", or by RFC 2231 with one piece a line where it must be.
std::string encode_parameter(std::string_view name, std::string_view value);
/// "Name: value\r\n", folded at blanks where lines would get long.
std::string fold_field(std::string_view name, std::string_view value);

/// Lines of CRLF, none longer than 76, ASCII without controls; any line end of `text` is one. The
/// last has none if `text` has none there.
std::string to_quoted_printable(std::string_view text);
/// Appends whole lines of 76 characters; the last may be shorter.
void append_base64_lines(std::string& out, std::string_view bytes);

}  // namespace rill::mail
