// See encoder.h.
#include <rill/protocols/websocket/encoder.h>

#include <stdexcept>
#include <utility>

#include <rill/protocols/websocket/deflate.h>
#include <rill/protocols/websocket/mask.h>
#include <rill/protocols/websocket/utf8.h>

namespace rill::websocket {

void append_frame(std::string& to, frame_head head, std::string_view payload) {
  char memory[frame_head_size_max];
  head.size = payload.size();
  to.append(memory, write_head(head, memory));
  const std::size_t before = to.size();
  to.append(payload);
  if (!head.is_masked) return;
  detail::mask(to.data() + before, to.data() + before, payload.size(), head.key, 0);
}

std::string close_payload(close_code code, std::string_view reason) {
  if (code == close_code::none) return {};
  constexpr std::size_t reason_size_max = control_size_max - 2;
  if (reason.size() > reason_size_max) {
    std::size_t size = reason_size_max;
    // Continuation bytes belong to the character before.
    while (size != 0 && (static_cast<unsigned char>(reason[size]) & 0xc0U) == 0x80U) --size;
    reason = reason.substr(0, size);
  }
  const auto number = static_cast<unsigned>(code);
  std::string made{static_cast<char>(number >> 8U), static_cast<char>(number & 0xffU)};
  return made.append(reason);
}

shared_message::shared_message(message_kind kind, std::string_view payload, bool compressed) {
  if (kind == message_kind::text && !is_utf8(payload)) {
    throw std::invalid_argument("a text message must be UTF-8");
  }
  auto made = std::make_shared<frames>();
  frame_head head;
  head.code = opcode_of(kind);
  append_frame(made->plain, head, payload);
  made->head_size = made->plain.size() - payload.size();
  if (compressed) {
    const deflate_options defaults;
    constexpr int window_bits = 15;
    std::unique_ptr<deflater> with = detail::take_deflater(window_bits, defaults.level);
    std::string smaller;
    with->compress(payload, true, smaller);
    detail::give_deflater(std::move(with), window_bits, defaults.level);
    head.is_compressed = true;
    if (smaller.size() < payload.size()) append_frame(made->compressed, head, smaller);
  }
  frames_ = std::move(made);
}

}  // namespace rill::websocket
