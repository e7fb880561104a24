// Framing of the history; see log_codec.h.
#include <rill/protocols/chat/log_codec.h>

#include <zlib.h>

namespace rill::chat {
namespace {

constexpr std::size_t frame_size = 8;  // size and checksum

template <class Integer>
void put(std::string& to, Integer value) {
  for (std::size_t i = 0; i != sizeof(Integer); ++i) {
    to.push_back(static_cast<char>(static_cast<std::uint64_t>(value) >> (8 * i)));
  }
}

/// Takes an integer from the front; false: there are too few bytes.
template <class Integer>
bool take(std::string_view& from, Integer& value) {
  if (from.size() < sizeof(Integer)) return false;
  std::uint64_t all = 0;
  for (std::size_t i = 0; i != sizeof(Integer); ++i) {
    all |= std::uint64_t{static_cast<unsigned char>(from[i])} << (8 * i);
  }
  value = static_cast<Integer>(all);
  from.remove_prefix(sizeof(Integer));
  return true;
}

bool take_text(std::string_view& from, std::string_view& text) {
  std::uint16_t size = 0;
  if (!take(from, size) || from.size() < size) return false;
  text = from.substr(0, size);
  from.remove_prefix(size);
  return true;
}

void put_text(std::string& to, std::string_view text) {
  put(to, static_cast<std::uint16_t>(text.size()));
  to += text;
}

std::uint32_t checksum(std::string_view of) {
  return static_cast<std::uint32_t>(
      ::crc32_z(0, reinterpret_cast<const Bytef*>(of.data()), of.size()));
}

/// Puts the frame in front of what was appended after `begin`.
void close_record(std::string& to, std::size_t begin) {
  const std::string_view body = std::string_view(to).substr(begin + frame_size);
  std::string frame;
  put(frame, static_cast<std::uint32_t>(body.size()));
  put(frame, checksum(body));
  to.replace(begin, frame_size, frame);
}

std::size_t open_record(std::string& to, record_kind kind) {
  const std::size_t begin = to.size();
  to.append(frame_size, '\0');
  put(to, static_cast<std::uint8_t>(kind));
  return begin;
}

bool read_body(std::string_view body, log_record& into) {
  std::uint8_t kind = 0;
  if (!take(body, kind)) return false;
  into = log_record();
  into.kind = static_cast<record_kind>(kind);
  switch (into.kind) {
    case record_kind::header:
      return take(body, into.generation) && body.empty();
    case record_kind::whole:
      return body.empty();
    case record_kind::said: {
      std::uint8_t event_number = 0;
      std::uint8_t is_raw = 0;
      const bool is_read = take(body, into.said.id) && take(body, into.said.time) &&
                           take(body, event_number) && take(body, is_raw) &&
                           take_text(body, into.room) && take_text(body, into.who);
      into.said.kind = static_cast<event_kind>(event_number);
      into.said.is_raw = is_raw != 0;
      into.said.text = body;
      const bool is_known =
          into.said.kind == event_kind::said || into.said.kind == event_kind::done;
      return is_read && is_known && into.said.id != 0;
    }
  }
  return false;
}

}  // namespace

void append_header(std::string& to, std::uint64_t generation) {
  const std::size_t begin = open_record(to, record_kind::header);
  put(to, generation);
  close_record(to, begin);
}

void append_said(std::string& to, std::string_view room, const event& of) {
  const std::size_t begin = open_record(to, record_kind::said);
  put(to, of.id);
  put(to, of.time);
  put(to, static_cast<std::uint8_t>(of.kind));
  put(to, static_cast<std::uint8_t>(of.is_raw));
  put_text(to, room);
  put_text(to, *of.who);
  to += of.text;
  close_record(to, begin);
}

void append_whole(std::string& to) { close_record(to, open_record(to, record_kind::whole)); }

record_status read_record(std::string_view bytes, log_record& into, std::size_t& size) {
  std::string_view rest = bytes;
  std::uint32_t body_size = 0;
  std::uint32_t sum = 0;
  if (!take(rest, body_size)) return record_status::incomplete;
  if (body_size == 0 || body_size > record_size_max) return record_status::broken;
  if (!take(rest, sum) || rest.size() < body_size) return record_status::incomplete;
  const std::string_view body = rest.substr(0, body_size);
  if (checksum(body) != sum || !read_body(body, into)) return record_status::broken;
  size = frame_size + body_size;
  return record_status::good;
}

}  // namespace rill::chat
