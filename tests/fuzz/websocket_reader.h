// A reader of WebSocket frames written a second time, as plainly as can be: of bytes that are all
// there, without compression. What the decoder must give, and where it must stop.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace rill::fuzz {

struct read_frames {
  std::vector<std::string> events;  ///< "text:..." "ping:..." "close 1000:..." "failed 1002"
  std::size_t used = 0;             ///< bytes until the event that is the last
  bool has_ended = false;
};

/// 0: no UTF-8 can begin so; 1: some can; 2: it is.
inline int judge_utf8(std::string_view text) {
  std::size_t at = 0;
  const auto byte = [&](std::size_t index) -> unsigned {
    return static_cast<unsigned char>(text[index]);
  };
  while (at < text.size()) {
    const unsigned c = byte(at);
    std::size_t length = 1;
    unsigned low = 0x80;
    unsigned high = 0xbf;
    if (c >= 0x80) {
      if (c < 0xc2 || c > 0xf4) return 0;
      length = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
      if (c == 0xe0) low = 0xa0;
      if (c == 0xed) high = 0x9f;
      if (c == 0xf0) low = 0x90;
      if (c == 0xf4) high = 0x8f;
    }
    for (std::size_t i = 1; i < length; ++i) {
      if (at + i == text.size()) return 1;
      if (byte(at + i) < low || byte(at + i) > high) return 0;
      low = 0x80;
      high = 0xbf;
    }
    at += length;
  }
  return 2;
}

/// What an end reads whose peer masks (a server) or does not.
inline read_frames read_plainly(std::string_view bytes, bool wants_mask, std::size_t message_max,
                                std::size_t empty_max) {
  read_frames made;
  std::size_t at = 0;
  std::string message;
  unsigned kind = 0;  // 0: none has begun
  std::size_t empty_count = 0;
  const auto end = [&](const std::string& event, std::size_t used) {
    made.events.push_back(event);
    made.used = used;
    made.has_ended = true;
    return made;
  };
  const auto byte = [&](std::size_t index) -> unsigned {
    return static_cast<unsigned char>(bytes[index]);
  };
  while (at < bytes.size()) {
    const std::size_t left = bytes.size() - at;
    const unsigned first = byte(at);
    const unsigned code = first & 15U;
    const bool is_final = (first & 0x80U) != 0;
    const std::string wrong = "failed 1002";
    if ((first & 0x70U) != 0 || (code > 2 && code < 8) || code > 10) return end(wrong, at + 1);
    if (code >= 8 && !is_final) return end(wrong, at + 1);
    if (code < 8 && (code == 0) != (kind != 0)) return end(wrong, at + 1);
    if (left < 2) break;
    const unsigned second = byte(at + 1);
    std::uint64_t size = second & 0x7fU;
    if (code >= 8 && size > 125) return end(wrong, at + 2);
    if (((second & 0x80U) != 0) != wants_mask) return end(wrong, at + 2);
    std::size_t head = 2;
    if (size >= 126) {
      const std::size_t count = size == 126 ? 2 : 8;
      if (count == 8 && left > 2 && byte(at + 2) >= 0x80) return end(wrong, at + 3);
      if (left < 2 + count) break;
      size = 0;
      for (std::size_t i = 0; i < count; ++i) size = size * 256 + byte(at + 2 + i);
      head += count;
      if (size < (count == 2 ? 126U : 65536U)) return end(wrong, at + head);
    }
    if (left < head + (wants_mask ? 4 : 0)) break;
    std::string key(4, '\0');
    if (wants_mask) key = bytes.substr(at + head, 4);
    if (wants_mask) head += 4;
    if (code < 8) {
      if (kind == 0) {
        message.clear();
        empty_count = 0;
      }
      if (size > message_max || message.size() > message_max - size) {
        return end("failed 1009", at + head);
      }
      if (size == 0 && !is_final && ++empty_count > empty_max) return end("failed 1008", at + head);
    }
    const auto here = static_cast<std::size_t>(size < left - head ? size : left - head);
    const bool is_whole = here == size;
    std::string payload(bytes.substr(at + head, here));
    for (std::size_t i = 0; i < payload.size(); ++i) {
      payload[i] = static_cast<char>(payload[i] ^ key[i % 4]);
    }
    if (code >= 8) {
      if (!is_whole) break;
      at += head + here;
      if (code != 8) {
        made.events.push_back((code == 9 ? "ping:" : "pong:") + payload);
        continue;
      }
      if (payload.empty()) return end("close 1005:", at);
      if (payload.size() == 1) return end(wrong, at);
      const unsigned number =
          static_cast<unsigned char>(payload[0]) * 256U + static_cast<unsigned char>(payload[1]);
      const bool is_good = (number >= 1000 && number < 1015 && (number < 1004 || number > 1006)) ||
                           (number >= 3000 && number < 5000);
      if (!is_good) return end(wrong, at);
      if (judge_utf8(payload.substr(2)) != 2) return end("failed 1007", at);
      return end("close " + std::to_string(number) + ':' + payload.substr(2), at);
    }
    if (kind == 0) kind = code;
    message += payload;
    const int judgement = kind == 1 ? judge_utf8(message) : 2;
    if (judgement == 0) return end("failed 1007", at + head + here);
    if (!is_whole) break;
    at += head + here;
    if (!is_final) continue;
    if (judgement != 2) return end("failed 1007", at);
    made.events.push_back((kind == 1 ? "text:" : "binary:") + message);
    kind = 0;
  }
  made.used = bytes.size();
  return made;
}

}  // namespace rill::fuzz
