// Frames written by hand, and what the decoder makes of bytes however they are cut.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include <rill/protocols/websocket/decoder.h>
#include <rill/protocols/websocket/encoder.h>

namespace rill::websocket::test {

inline constexpr std::array<unsigned char, 4> test_key{0x37, 0xfa, 0x21, 0x3d};

/// A frame as a client sends it, or, without mask, a server.
inline std::string frame(opcode code, std::string_view payload, bool is_final = true,
                         bool is_masked = true, bool is_compressed = false) {
  frame_head head;
  head.code = code;
  head.is_final = is_final;
  head.is_compressed = is_compressed;
  head.is_masked = is_masked;
  head.key = test_key;
  std::string made;
  append_frame(made, head, payload);
  return made;
}

/// "text:Hello" "close 1000:reason" "failed 1002:why", one after the other.
using record = std::vector<std::string>;

inline std::string described(const message_decoder::decoded& got, close_code code) {
  const std::string data(got.data);
  switch (got.what) {
    case event::nothing:
      return "nothing";
    case event::text:
      return "text:" + data;
    case event::binary:
      return "binary:" + data;
    case event::ping:
      return "ping:" + data;
    case event::pong:
      return "pong:" + data;
    case event::close:
      return "close " + std::to_string(static_cast<int>(code)) + ':' + data;
    case event::failed:
      return "failed " + std::to_string(static_cast<int>(code)) + ':' + data;
  }
  return "?";
}

/// A decoder that is given bytes piece by piece, as a connection does.
class fed_decoder {
 public:
  explicit fed_decoder(role own, const decoder_limits& limits = decoder_limits(),
                       const std::optional<deflate_parameters>& agreed = std::nullopt)
      : decoder_(own, limits, agreed) {}

  void feed(std::string_view bytes) {
    left_ += bytes;
    fed_size_ += bytes.size();
    while (!has_ended()) {
      const auto got = decoder_.decode(left_);
      if (got.what == event::nothing) {
        left_.erase(0, got.used);
        break;
      }
      events.push_back(described(got, decoder_.code()));
      ends_.push_back(fed_size_);
      has_ended_ = got.what == event::close || got.what == event::failed;
      left_.erase(0, got.used);
    }
    decoder_.release_memory();
  }
  bool has_ended() const { return has_ended_; }
  /// How many bytes had been given when the last event came.
  std::size_t last_event_at() const { return ends_.empty() ? 0 : ends_.back(); }
  /// What the decoder has not used: the beginning of a head.
  std::size_t left_size() const { return left_.size(); }

  record events;

 private:
  message_decoder decoder_;
  std::string left_;
  std::size_t fed_size_ = 0;
  std::vector<std::size_t> ends_;
  bool has_ended_ = false;
};

/// What comes out, which must be the same cut at every byte, and byte by byte.
inline record events_of(std::string_view bytes, role own = role::server,
                        const decoder_limits& limits = decoder_limits(),
                        const std::optional<deflate_parameters>& agreed = std::nullopt) {
  fed_decoder whole(own, limits, agreed);
  whole.feed(bytes);
  fed_decoder single(own, limits, agreed);
  for (const char each : bytes) single.feed(std::string_view(&each, 1));
  EXPECT_EQ(single.events, whole.events) << "byte by byte";
  const std::size_t step = bytes.size() < 2000 ? 1 : bytes.size() / 500;
  for (std::size_t cut = 1; cut < bytes.size(); cut += step) {
    fed_decoder both(own, limits, agreed);
    both.feed(bytes.substr(0, cut));
    both.feed(bytes.substr(cut));
    EXPECT_EQ(both.events, whole.events) << "cut at " << cut;
    if (both.events != whole.events) break;
  }
  return whole.events;
}

}  // namespace rill::websocket::test
