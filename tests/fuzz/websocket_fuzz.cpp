// Frames of a WebSocket and compressed messages: read alike however they are cut, as a reader reads
// them that was written a second time, within the limits; and what was encoded comes back. The
// first bytes choose the end, the compression, the limits and the cuts.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fuzz/input.h"
#include "fuzz/websocket_reader.h"
#include <rill/protocols/websocket/decoder.h>
#include <rill/protocols/websocket/encoder.h>

namespace {

using rill::fuzz::check;
using namespace rill::websocket;

struct way {
  role own;
  decoder_limits limits;
  std::optional<deflate_parameters> agreed;
};

/// The events, of which a failure shows its code only.
std::vector<std::string> events_of(std::string_view bytes, std::size_t step, const way& how) {
  message_decoder decoder(how.own, how.limits, how.agreed);
  std::vector<std::string> all;
  std::string left;
  bool has_ended = false;
  while (!bytes.empty() && !has_ended) {
    left += bytes.substr(0, step);
    bytes.remove_prefix(std::min(step, bytes.size()));
    for (;;) {
      const std::string piece = left;  // memory of its own: a look beyond its end is noticed
      const message_decoder::decoded got = decoder.decode(piece);
      check(got.used <= left.size(), "no more is used than was given");
      left.erase(0, got.used);
      if (got.what == event::nothing) break;
      const std::string code = std::to_string(static_cast<int>(decoder.code()));
      const std::string data(got.data);
      constexpr const char* names[] = {"", "text:", "binary:", "ping:", "pong:"};
      has_ended = got.what == event::close || got.what == event::failed;
      if (got.what == event::close) {
        all.push_back("close " + code + ':' + data);
      } else if (got.what == event::failed) {
        all.push_back("failed " + code);
      } else {
        check(data.size() <= how.limits.message_size_max || got.what > event::binary,
              "the limit of size holds");
        all.push_back(names[static_cast<std::size_t>(got.what)] + data);
      }
      if (has_ended) break;
    }
    check(left.size() < 14 + 125 || has_ended, "no more is left than a small frame");
    decoder.release_memory();
  }
  return all;
}

/// The same bytes as the payloads of messages, compressed by one end and read by the other.
void check_what_comes_back(std::string_view bytes, std::size_t step, const way& how) {
  const bool takeover = how.own == role::server ? !how.agreed->client_no_context_takeover
                                                : !how.agreed->server_no_context_takeover;
  const int bits =
      how.own == role::server ? how.agreed->client_window_bits : how.agreed->server_window_bits;
  deflater compressing(bits, 1 + static_cast<int>(step % 9));
  std::string wire;
  std::vector<std::string> expected;
  for (std::size_t at = 0; at < bytes.size(); at += step) {
    const std::string_view message = bytes.substr(at, step);
    std::string smaller;
    compressing.compress(message.substr(0, step / 2), false, smaller);
    compressing.compress(message.substr(std::min(step / 2, message.size())), true, smaller);
    if (!takeover) compressing.reset();
    frame_head head;
    head.code = opcode::binary;
    head.is_compressed = true;
    head.is_masked = how.own == role::server;
    head.key = {1, 2, 3, static_cast<unsigned char>(step)};
    append_frame(wire, head, smaller);
    expected.push_back("binary:" + std::string(message));
  }
  way generous = how;
  generous.limits = decoder_limits();
  check(events_of(wire, step, generous) == expected, "what was compressed comes back");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t size_max = 4096;
  if (size > size_max) return -1;
  rill::fuzz::input from(data, size);
  const std::size_t kind = from.number(5);
  const std::size_t step = 1 + from.number(20);
  way how{kind % 2 == 0 ? role::server : role::client, decoder_limits{300, 3}, std::nullopt};
  if (kind >= 2) {
    how.agreed.emplace();
    how.agreed->server_no_context_takeover = how.agreed->client_no_context_takeover = kind < 4;
    how.agreed->server_window_bits = how.agreed->client_window_bits =
        static_cast<std::uint8_t>(9 + step % 7);
  }
  const std::string_view bytes = from.rest();
  const std::vector<std::string> whole = events_of(bytes, size_max, how);
  check(whole == events_of(bytes, step, how), "frames are read alike however they are cut");
  if (!how.agreed) {
    const auto plainly = rill::fuzz::read_plainly(
        bytes, how.own == role::server, how.limits.message_size_max, how.limits.empty_frame_max);
    check(whole == plainly.events, "frames are read as RFC 6455 has it");
  } else {
    check_what_comes_back(bytes, step, how);
  }
  return 0;
}
