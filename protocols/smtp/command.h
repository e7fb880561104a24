// Commands of SMTP as a server reads them (RFC 5321 section 4.1): lines, verbs, paths, parameters;
// and as a client writes those that have paths. Bytes in, commands out.
// Not here: which command may come when (session.h). Read next: command.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rill::smtp {

enum class verb : std::uint8_t {
  helo,
  ehlo,
  mail,
  rcpt,
  data,
  rset,
  noop,
  quit,
  vrfy,
  expn,
  help,
  starttls,
  auth,
  unknown
};

enum class line_state : std::uint8_t {
  incomplete,
  complete,
  too_long,
  bare_break  ///< a CR or LF alone, or a NUL: what follows cannot be trusted
};

/// What take_line() has found.
struct line_step {
  line_state state;
  std::string_view line;  ///< without its end, in the bytes given
  std::size_t used;       ///< with its end
};

/// The first line of `bytes`, if that is whole. `size_max` does not count the end.
line_step take_line(std::string_view bytes, std::size_t size_max) noexcept;

/// A line of a client, taken apart.
struct command {
  verb what;
  std::string_view argument;  ///< what follows the verb, without blanks around it
};

command parse_command(std::string_view line) noexcept;

/// "SIZE=1000" is {"SIZE", "1000"}; names in capitals.
using parameter = std::pair<std::string, std::string>;

/// The argument of MAIL or RCPT.
struct path_argument {
  path_argument() {}
  explicit path_argument(std::string_view path) : address(path) {}

  std::string address;  ///< empty: "<>"
  std::vector<parameter> parameters;

  std::optional<std::string_view> find(std::string_view name) const noexcept;
};

/// "FROM:<a@example.org> SIZE=1000" with the keyword "FROM". Blanks around the colon's right side
/// are taken, as many clients send one; source routes ("@relay:") are dropped (RFC 5321 section
/// 4.1.1.3). `may_be_empty`: for MAIL. "<postmaster>" is taken as an address where it may not be.
/// nullopt: malformed.
std::optional<path_argument> parse_path(std::string_view argument, std::string_view keyword,
                                        bool may_be_empty);

/// RFC 3461 section 4: bytes of a parameter's value, "+3D" for what may not stand there.
std::string to_xtext(std::string_view text);
std::optional<std::string> from_xtext(std::string_view text);

}  // namespace rill::smtp
