// Frames into messages. See decoder.h.
#include <rill/protocols/websocket/decoder.h>

#include <algorithm>
#include <array>
#include <utility>

#include <rill/protocols/websocket/mask.h>
#include <rill/protocols/websocket/spare.h>

namespace rill::websocket {

message_decoder::message_decoder(role own, const decoder_limits& limits,
                                 const std::optional<deflate_parameters>& agreed) noexcept
    : limits_(limits), own_(own), has_deflate_(agreed.has_value()) {
  if (!agreed) return;
  // What the peer sends is compressed by the other side's rules.
  has_context_takeover_ = own == role::server ? !agreed->client_no_context_takeover
                                              : !agreed->server_no_context_takeover;
  window_bits_ = own == role::server ? agreed->client_window_bits : agreed->server_window_bits;
}

message_decoder::message_decoder(message_decoder&& other) noexcept = default;
message_decoder::~message_decoder() { detail::give_spare_string(message_); }

void message_decoder::release_memory() noexcept {
  if (is_given_) {
    message_.clear();
    is_given_ = false;
  }
  if (!in_message_ && message_.empty()) detail::give_spare_string(message_);
  if (!in_frame_ || !is_control(head_.code)) control_ = std::string();
}

message_decoder::decoded message_decoder::decode(std::string_view bytes) {
  if (end_ != event::nothing) {
    return {end_, bytes.size(), end_ == event::failed ? reason_ : std::string_view(control_)};
  }
  if (std::exchange(is_given_, false)) message_.clear();
  std::size_t used = 0;
  for (;;) {
    if (!in_frame_) {
      bool is_short = false;
      const std::optional<decoded> refused = begin_frame(bytes, used, is_short);
      if (refused) return *refused;
      if (is_short) return {event::nothing, used, {}};
    }
    if (is_control(head_.code)) {
      // At most 125 bytes: taken when they are all there.
      if (bytes.size() - used < head_.size) return {event::nothing, used, {}};
      return take_control(bytes, used);
    }
    const std::optional<decoded> refused = take_payload(bytes, used);
    if (refused) return *refused;
    if (taken_size_ != head_.size) return {event::nothing, used, {}};
    in_frame_ = false;
    if (head_.is_final) return end_message(used);
  }
}

message_decoder::decoded message_decoder::fail(close_code code, std::string_view why,
                                               std::size_t used) noexcept {
  end_ = event::failed;
  code_ = code;
  reason_ = why;
  in_frame_ = in_message_ = false;
  return {event::failed, used, reason_};
}

std::optional<message_decoder::decoded> message_decoder::begin_frame(std::string_view bytes,
                                                                     std::size_t& used,
                                                                     bool& is_short) {
  frame_head head;
  const std::string_view rest = bytes.substr(used);
  const head_result read = read_head(rest, head);
  if (read.fault != frame_fault::none) {
    return fail(close_code::protocol_error, message_of(read.fault), used);
  }
  head_ = head;
  // Of a head that is not whole the first two bytes can be wrong already.
  if (!rest.empty()) {
    const bool knows_mask = rest.size() > 1;
    if (knows_mask && head.is_masked != (own_ == role::server)) {
      return fail(close_code::protocol_error,
                  own_ == role::server ? "a frame of a client is not masked"
                                       : "a frame of a server is masked",
                  used);
    }
    if (head.is_compressed && (!has_deflate_ || head.code == opcode::continuation)) {
      return fail(close_code::protocol_error, "a reserved bit is set", used);
    }
    if (!is_control(head.code) && in_message_ != (head.code == opcode::continuation)) {
      return fail(close_code::protocol_error,
                  in_message_ ? "a message within another" : "the continuation of no message",
                  used);
    }
  }
  is_short = read.size == 0;
  if (is_short) return std::nullopt;
  if (std::optional<decoded> refused = check_head(used)) return refused;
  used += read.size;
  in_frame_ = true;
  taken_size_ = 0;
  if (is_control(head.code)) return std::nullopt;
  frames_size_ += head.size;
  if (in_message_) return std::nullopt;
  in_message_ = true;
  kind_ = head.code;
  is_compressed_ = head.is_compressed;
  if (message_.capacity() <= sizeof(std::string)) message_ = detail::take_spare_string();
  if (is_compressed_ && inflater_ == nullptr) {
    inflater_ =
        has_context_takeover_ ? std::make_unique<inflater>(window_bits_) : detail::take_inflater();
  }
  return std::nullopt;
}

/// The limits.
std::optional<message_decoder::decoded> message_decoder::check_head(std::size_t used) {
  if (is_control(head_.code)) return std::nullopt;
  if (!in_message_) {
    frames_size_ = 0;
    empty_count_ = 0;
    text_.reset();
  }
  if (head_.size > limits_.message_size_max ||
      frames_size_ > limits_.message_size_max - head_.size) {
    return fail(close_code::too_big, "the message is too large", used);
  }
  if (head_.size == 0 && !head_.is_final && ++empty_count_ > limits_.empty_frame_max) {
    return fail(close_code::policy_violation, "too many empty frames", used);
  }
  return std::nullopt;
}

message_decoder::decoded message_decoder::take_control(std::string_view bytes, std::size_t used) {
  const auto size = static_cast<std::size_t>(head_.size);
  control_.assign(bytes.substr(used, size));
  if (head_.is_masked) detail::mask(control_.data(), control_.data(), size, head_.key, 0);
  used += size;
  in_frame_ = false;
  if (head_.code == opcode::ping) return {event::ping, used, control_};
  if (head_.code == opcode::pong) return {event::pong, used, control_};
  return read_close(used);
}

message_decoder::decoded message_decoder::read_close(std::size_t used) noexcept {
  if (control_.size() == 1) {
    return fail(close_code::protocol_error, "a close frame of one byte", used);
  }
  if (!control_.empty()) {
    const auto byte = [&](std::size_t at) {
      return static_cast<unsigned>(static_cast<unsigned char>(control_[at]));
    };
    const auto code = static_cast<close_code>(byte(0) << 8U | byte(1));
    if (!may_be_sent(code)) {
      return fail(close_code::protocol_error, "a close code that is not for sending", used);
    }
    control_.erase(0, 2);
    if (!is_utf8(control_)) {
      return fail(close_code::invalid_data, "the reason for closing is not UTF-8", used);
    }
    code_ = code;
  }
  end_ = event::close;
  return {event::close, used, control_};
}

std::optional<message_decoder::decoded> message_decoder::take_payload(std::string_view bytes,
                                                                      std::size_t& used) {
  const std::uint64_t missing = head_.size - taken_size_;
  const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(missing, bytes.size() - used));
  const std::string_view piece = bytes.substr(used, size);
  const std::uint64_t offset = std::exchange(taken_size_, taken_size_ + size);
  used += size;
  if (is_compressed_) {
    const bool is_last = head_.is_final && taken_size_ == head_.size;
    return add_compressed(piece, offset, is_last, used);
  }
  const std::size_t before = message_.size();
  if (head_.is_masked) {
    message_.resize(before + size);
    detail::mask(message_.data() + before, piece.data(), size, head_.key, offset);
  } else {
    message_.append(piece);
  }
  return check_text(before, used);
}

std::optional<message_decoder::decoded> message_decoder::add_compressed(std::string_view masked,
                                                                        std::uint64_t offset,
                                                                        bool is_last,
                                                                        std::size_t used) {
  const std::size_t before = message_.size();
  std::array<char, 4096> plain;
  do {
    std::string_view piece = masked.substr(0, plain.size());
    masked.remove_prefix(piece.size());
    if (head_.is_masked) {
      detail::mask(plain.data(), piece.data(), piece.size(), head_.key, offset);
      offset += piece.size();
      piece = std::string_view(plain.data(), piece.size());
    }
    const inflate_outcome outcome =
        inflater_->decompress(piece, is_last && masked.empty(), message_, limits_.message_size_max);
    // What had come out by then is judged first, as it is when it comes in pieces.
    if (outcome != inflate_outcome::good && kind_ == opcode::text &&
        !text_.add(std::string_view(message_).substr(before))) {
      return fail(close_code::invalid_data, "the text is not UTF-8", used);
    }
    if (outcome == inflate_outcome::too_large) {
      return fail(close_code::too_big, "the message is too large", used);
    }
    if (outcome == inflate_outcome::corrupt) {
      return fail(close_code::invalid_data, "the message does not decompress", used);
    }
  } while (!masked.empty());
  return check_text(before, used);
}

/// What has been added to the message since `from`, and whether it may end here.
std::optional<message_decoder::decoded> message_decoder::check_text(std::size_t from,
                                                                    std::size_t used) {
  if (kind_ != opcode::text) return std::nullopt;
  const bool is_last = head_.is_final && taken_size_ == head_.size;
  if (text_.add(std::string_view(message_).substr(from)) && (!is_last || text_.is_complete())) {
    return std::nullopt;
  }
  return fail(close_code::invalid_data, "the text is not UTF-8", used);
}

message_decoder::decoded message_decoder::end_message(std::size_t used) noexcept {
  in_message_ = false;
  is_given_ = true;
  if (is_compressed_ && !has_context_takeover_) detail::give_inflater(std::move(inflater_));
  return {kind_ == opcode::text ? event::text : event::binary, used, message_};
}

}  // namespace rill::websocket
