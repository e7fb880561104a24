// What a server or a client of NATS sends, and where it is cut: the packets are the same for every
// cut, what was read can be written and is read again, limits hold; headers, INFO and subjects.
// The first byte chooses the side, the next four the cuts.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fuzz/input.h"
#include <rill/protocols/nats/headers.h>
#include <rill/protocols/nats/nkey.h>
#include <rill/protocols/nats/packet.h>
#include <rill/protocols/nats/server.h>
#include <rill/protocols/nats/subject.h>

namespace {

using namespace rill::nats;
using rill::fuzz::check;

codec_limits small_limits() {
  codec_limits limits;
  limits.control_line_size_max = 100;
  limits.message_line_size_max = 150;
  limits.info_size_max = 200;
  limits.header_size_max = 100;
  limits.payload_size_max = 300;
  return limits;
}

/// Writes a packet again.
void write(std::string& to, const packet& of) {
  switch (of.type) {
    case packet_type::info:
      return append_info(to, of.text);
    case packet_type::connect:
      return append_connect(to, of.text);
    case packet_type::publish:
      return append_publish(to, of.subject, of.reply, of.headers, of.payload);
    case packet_type::subscribe:
      return append_subscribe(to, of.subject, of.queue, of.sid);
    case packet_type::unsubscribe:
      return append_unsubscribe(to, of.sid, of.max_count);
    case packet_type::message:
      return append_message(to, of.subject, of.sid, of.reply, of.headers, of.payload);
    case packet_type::ping:
      return append_ping(to);
    case packet_type::pong:
      return append_pong(to);
    case packet_type::ok:
      to += "+OK\r\n";
      return;
    case packet_type::error:
      return append_error(to, of.text);
  }
}

struct outcome {
  std::string written;
  bool failed = false;
  nats_error why = nats_error::bad_line;
  friend bool operator==(const outcome&, const outcome&) = default;
};

outcome read_all(std::string_view bytes, packet_reader::sender from,
                 const std::array<std::size_t, 4>& steps, const codec_limits& limits) {
  packet_reader reader(from, limits);
  outcome made;
  for (std::size_t turn = 0; !bytes.empty(); ++turn) {
    const std::size_t size = std::min(bytes.size(), 1 + steps[turn % steps.size()]);
    reader.append(bytes.substr(0, size));
    bytes.remove_prefix(size);
    packet read;
    packet_state state = reader.next(read);
    for (; state == packet_state::complete; state = reader.next(read)) {
      check(read.headers.size() <= limits.header_size_max &&
                read.headers.size() + read.payload.size() <= limits.payload_size_max &&
                read.text.size() <= limits.info_size_max,
            "limits hold");
      const bool is_opaque = read.type == packet_type::message;
      check(is_opaque ? read.subject.find_first_of(" \t\r\n") == read.subject.npos
                      : read.subject.empty() || is_pattern(read.subject),
            "a subject is one, or one word in a message");
      write(made.written, read);
    }
    if (state == packet_state::failed) {
      made.failed = true;
      made.why = reader.error();
      break;
    }
    check(reader.buffered_size() <= limits.info_size_max + limits.payload_size_max + 8,
          "no more is held than one packet");
  }
  return made;
}

void read_rest(std::string_view text) {
  const auto fields = headers::parse(text);
  if (fields) {
    const auto again = headers::parse(fields->to_text());
    check(again && again->fields() == fields->fields() && again->status() == fields->status() &&
              again->description() == fields->description(),
          "headers are read as they were written");
  }
  const auto where = server_address::parse(text);
  if (where) {
    const auto again = server_address::parse(where->to_string());
    check(again && again->host == where->host && again->port == where->port,
          "an address is read as it was written");
  }
  const auto info = server_info::parse(text);
  check(!info || info->addresses.size() <= server_info::address_count_max, "INFO keeps its limit");
  const std::string token = to_token(text);
  check(from_token(token) == text, "a token is read as it was written");
  check(token.size() > subject_size_max || is_subject(token), "a token is a subject");
  credentials_from_text(text);
  public_key(text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t size_max = 2048;
  if (size > size_max) return -1;
  rill::fuzz::input from(data, size);
  const std::size_t kind = from.number(2);
  std::array<std::size_t, 4> steps{};
  for (std::size_t& each : steps) each = from.number(40);
  const std::string bytes(from.rest());
  if (kind == 2) {
    read_rest(bytes);
    return 0;
  }
  const auto side = kind == 0 ? packet_reader::sender::server : packet_reader::sender::client;
  const codec_limits limits = small_limits();
  constexpr std::array<std::size_t, 4> whole{size_max, size_max, size_max, size_max};
  const outcome once = read_all(bytes, side, whole, limits);
  check(once == read_all(bytes, side, steps, limits), "cuts do not matter");
  const outcome again = read_all(once.written, side, steps, codec_limits());
  check(!again.failed && again.written == once.written, "packets are read as they were written");
  return 0;
}
