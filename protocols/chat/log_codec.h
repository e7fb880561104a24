// Records of the history on disk: what was said in rooms, framed so that a torn end shows.
// Bytes in, records out; no file. A record is its size, a checksum over the rest, and the rest, all
// integers little-endian. Not here: which files there are (history_log.h).
// Read next: log_codec.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <rill/protocols/chat/event.h>

namespace rill::chat {

enum class record_kind : std::uint8_t {
  header = 1,  ///< the first of a file: its generation, which goes up from file to file
  said = 2,    ///< an event of a room
  whole = 3    ///< what the file begins with, all that is kept of every room, is complete
};

/// One record; which members count, its kind says.
struct log_record {
  record_kind kind = record_kind::header;
  std::uint64_t generation = 0;
  std::string_view room;
  std::string_view who;
  event said;  ///< without `who`
};

/// Bytes of a record at most; what claims to be longer is broken.
inline constexpr std::size_t record_size_max = std::size_t{64} * 1024;

/// Appends a record: a file's first, an event of kind said or done, the end of what it begins with.
/// REQUIRES: names and text are as a shard has them (check_name(), shard::said_size_max), so that
/// the record is no longer than one may be.
void append_header(std::string& to, std::uint64_t generation);
void append_said(std::string& to, std::string_view room, const event& of);
void append_whole(std::string& to);

enum class record_status : std::uint8_t {
  good,
  incomplete,  ///< the bytes end before it does
  broken       ///< not written so: a torn write, or a damaged disk
};

/// Reads the record that `bytes` begin with. Good: `size` is how long it is; views refer to
/// `bytes`.
record_status read_record(std::string_view bytes, log_record& into, std::size_t& size);

}  // namespace rill::chat
