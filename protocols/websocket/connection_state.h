// What of a connection depends on no stream: what has been agreed, what waits to be sent, how it
// ended. Not for users.
// Read next: connection_core.h.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <rill/protocols/websocket/decoder.h>
#include <rill/protocols/websocket/deflate.h>
#include <rill/protocols/websocket/encoder.h>
#include <rill/protocols/websocket/frame.h>
#include <rill/protocols/websocket/handshake.h>
#include <rill/protocols/websocket/options.h>
#include <rill/runtime/timeout.h>

namespace rill::websocket {

/// A message as it has come.
struct message {
  message_kind kind = message_kind::text;
  std::string_view data;

  bool is_text() const noexcept { return kind == message_kind::text; }
};

namespace detail {

class connection_state {
 public:
  connection_state(role own, const connection_options& options, negotiated agreed);
  connection_state(const connection_state&) = delete;
  connection_state& operator=(const connection_state&) = delete;

  bool is_open() const noexcept { return can_write() && !is_over_; }
  close_code code() const noexcept { return code_; }
  const std::string& reason() const noexcept { return reason_; }
  bool is_clean() const noexcept { return is_clean_; }
  const std::error_code& cause() const noexcept { return cause_; }
  const negotiated& agreed() const noexcept { return agreed_; }

 protected:
  /// Pongs of so many bytes wait for a writer that holds the stream; then the reader waits too.
  static constexpr std::size_t control_size_soft_max = 4 * 1024;

  ~connection_state();

  bool can_write() const noexcept { return !close_sent_ && !is_broken_ && !is_over_; }
  /// A head for a frame of ours; a client's has a new key.
  frame_head head_of(opcode code, bool is_final = true) const;
  /// Appends to what is sent before anything else.
  void queue_control(opcode code, std::string_view payload);
  static void append_masked(std::string& to, std::string_view part,
                            const std::array<unsigned char, 4>& key, std::uint64_t offset);
  /// Throws std::invalid_argument.
  static void check_text(std::string_view text);

  bool is_compressed(std::size_t size) const noexcept {
    return agreed_.deflate && size >= options_.deflate.size_min;
  }
  bool has_context_takeover() const noexcept;
  int window_bits() const noexcept;
  /// One of the connection's own, or borrowed until the end of the message.
  void begin_compression();
  void end_compression() noexcept;

  /// When a read has waited long enough.
  loop_clock::time_point reading_deadline() const noexcept;
  void heard() noexcept {
    last_heard_ = loop_clock::now();
    is_ping_due_ = false;
  }
  /// What waits, for whoever sends now.
  std::string take_control() noexcept {
    is_ping_taken_ = is_ping_waiting_;
    return std::exchange(control_, std::string());
  }
  /// A peer has pong_timeout from here on, not from when the ping began to wait for a long frame.
  void ping_has_left() noexcept {
    is_ping_taken_ = is_ping_waiting_ = false;
    pinged_ = loop_clock::now();
  }
  void lost(std::error_code cause) noexcept;

  connection_options options_;
  negotiated agreed_;
  message_decoder decoder_;
  std::unique_ptr<deflater> deflater_;
  std::string control_;  // frames that wait
  std::string reason_;
  std::error_code cause_;
  std::optional<message> decoded_;  // and not given out yet
  loop_clock::time_point last_heard_;
  loop_clock::time_point pinged_;
  loop_clock::time_point close_deadline_;
  close_code code_ = close_code::abnormal;
  role own_;
  bool is_ping_due_ = false;      // a ping of ours has not been answered
  bool is_ping_waiting_ = false;  // nor sent
  bool is_ping_taken_ = false;    // nor that, but it is on its way to the stream
  bool close_sent_ = false;       // or is about to be
  bool is_clean_ = false;
  bool is_over_ = false;
  bool is_broken_ = false;  // what is sent now would follow half a frame
  bool is_reading_ = false;
  bool is_dropping_ = false;  // a close() reads until the end
  bool in_parts_ = false;     // a message of several parts has begun
  utf8_validator part_text_;
};

/// True while it lives, and again false however it ends.
class flag_guard {
 public:
  explicit flag_guard(bool& flag) noexcept : flag_(&flag) { flag = true; }
  flag_guard(const flag_guard&) = delete;
  flag_guard& operator=(const flag_guard&) = delete;
  ~flag_guard() { *flag_ = false; }

 private:
  bool* flag_;
};

/// Sets `flag` unless what it stands for has been finished, however it ends.
class unfinished {
 public:
  explicit unfinished(bool& flag) noexcept : flag_(&flag) {}
  unfinished(const unfinished&) = delete;
  unfinished& operator=(const unfinished&) = delete;
  ~unfinished() {
    if (flag_ != nullptr) *flag_ = true;
  }
  void finish() noexcept { flag_ = nullptr; }

 private:
  bool* flag_;
};

}  // namespace detail
}  // namespace rill::websocket
