// The driver: joins the decoder and what is sent to a stream. Not for users, who see connection.h.
// Read next: tests/websocket/connection_test.cpp.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <rill/net/any_stream.h>
#include <rill/net/buffered.h>
#include <rill/net/endpoint.h>
#include <rill/net/stream.h>
#include <rill/protocols/websocket/connection_state.h>
#include <rill/runtime/event.h>
#include <rill/runtime/semaphore.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/task.h>
#include <rill/runtime/timeout.h>

namespace rill::websocket::detail {

template <byte_stream Stream>
class connection_core final : public connection_state {
 public:
  connection_core(Stream over, role own, const connection_options& options, negotiated agreed,
                  std::string_view received)
      : connection_state(own, options, std::move(agreed)),
        stream_(std::move(over)),
        reader_(stream_) {
    reader_.put_back(received);
  }

  endpoint peer() const {
    if constexpr (requires { stream_.peer(); }) {
      return stream_.peer();
    } else {
      return endpoint();
    }
  }

  task<std::optional<message>> read() { return read_next(false); }

  task<bool> write(message_kind kind, std::string_view payload) {
    if (kind == message_kind::text) check_text(payload);
    mutex::guard sending = co_await write_lock_.lock();
    if (!can_write()) co_return false;
    RILL_ASSERT(!in_parts_, "a message was written within another that is sent in parts");
    frame_head head = head_of(opcode_of(kind));
    std::string smaller;
    if (is_compressed(payload.size())) {
      // What the deflater remembers the peer must get: cancelled here, nothing can follow.
      unfinished compressing(is_broken_);
      begin_compression();
      co_await compress(payload, smaller);
      end_compression();
      compressing.finish();
      if (!can_write()) co_return false;  // closed meanwhile: nothing will follow
      if (has_context_takeover() || smaller.size() < payload.size()) {
        head.is_compressed = true;
        payload = smaller;
      }
    }
    const bool is_sent = co_await send_frame(head, payload);
    co_return is_sent;
  }

  task<bool> write_part(message_kind kind, std::string_view part, bool is_last) {
    if (!in_parts_) part_text_.reset();
    if (kind == message_kind::text) {
      utf8_validator with_part = part_text_;  // a part that is refused was not there
      if (!with_part.add(part) || (is_last && !with_part.is_complete())) check_text("\xff");
      part_text_ = with_part;
    }
    mutex::guard sending = co_await write_lock_.lock();
    if (!can_write()) co_return false;
    frame_head head = head_of(in_parts_ ? opcode::continuation : opcode_of(kind), is_last);
    in_parts_ = !is_last;
    const bool is_sent = co_await send_frame(head, part);
    co_return is_sent;
  }

  task<bool> write_shared(std::span<const shared_message> several) {
    RILL_ASSERT(own_ == role::server, "a client's frames cannot be shared: each has its own mask");
    mutex::guard sending = co_await write_lock_.lock();
    constexpr std::size_t piece_max = 32;
    std::array<const_buffer, piece_max + 1> pieces;
    const bool compresses = agreed_.deflate && agreed_.deflate->server_no_context_takeover &&
                            agreed_.deflate->server_window_bits == 15;
    while (!several.empty()) {
      if (!can_write()) co_return false;
      RILL_ASSERT(!in_parts_, "a message was written within another that is sent in parts");
      const std::string control = take_control();
      pieces[0] = const_buffer(control);
      std::size_t count = 0;
      std::size_t size = 0;  // each round is a part, with the time of one
      while (count != several.size() && count != piece_max) {
        const std::string_view smaller = several[count].compressed_frame();
        const std::string_view frame =
            compresses && !smaller.empty() ? smaller : several[count].frame();
        if (count != 0 && size + frame.size() > part_size_max) break;
        pieces[++count] = const_buffer(frame);
        size += frame.size();
      }
      several = several.subspan(count);
      bool is_sent = false;
      if (size > part_size_max) {  // one alone
        is_sent = co_await send_plain(control, pieces[1].text());
      } else {
        is_sent = co_await transmit(std::span<const const_buffer>(pieces.data(), count + 1));
      }
      if (!is_sent) co_return false;
    }
    co_await send_control();
    co_return true;
  }

  task<bool> ping(std::string_view payload) {
    RILL_ASSERT(payload.size() <= control_size_max, "a ping has room for 125 bytes");
    if (!can_write()) co_return false;
    queue_control(opcode::ping, payload);
    const bool is_sent = co_await flush_control();
    co_return is_sent;
  }

  task<void> close(close_code code, std::string reason) {
    RILL_ASSERT(may_be_sent(code), "this close code is not for sending");
    check_text(reason);
    if (is_over_) co_return;
    const bool is_sent = co_await send_close(code, reason);
    if (!is_sent) co_await abort(std::make_error_code(std::errc::timed_out));
    if (!is_reading_ && !is_dropping_) {
      co_await drop_messages();
      co_return;
    }
    bool has_ended = true;
    try {
      co_await with_deadline(close_deadline_, ended_.wait());
    } catch (const timeout_error&) {
      has_ended = false;
    }
    if (!has_ended) co_await abort(std::make_error_code(std::errc::timed_out));
  }

 private:
  /// What is given to the stream at once, so that a slow reader of much has write_timeout for each.
  static constexpr std::size_t part_size_max = 256 * 1024;
  /// Masked, or compressed between two turns of the others.
  static constexpr std::size_t slice_size_max = 64 * 1024;
  /// Read and dropped of a peer that has broken the rules, so that it may read why.
  static constexpr std::size_t linger_size_max = 1024 * 1024;

  // Functions of their own, so that a frame holds one awaiter for each and not its parts as well.
  auto fill() { return as_result(with_deadline(reading_deadline(), reader_.fill())); }
  auto send_pieces(std::span<const const_buffer> pieces) {
    return as_result(with_timeout(options_.write_timeout, stream_.write_all(pieces)));
  }

  task<std::optional<message>> read_next(bool is_for_close) {
    // A close() that began while nobody read has the stream to itself until it is over.
    while (is_dropping_ && !is_for_close) co_await dropped_.wait();
    RILL_ASSERT(!is_reading_, "two tasks read one WebSocket connection at once");
    const flag_guard reading(is_reading_);
    heard();  // what was not read could not be heard
    while (!is_over_ && !decoded_) {
      const message_decoder::decoded got = decoder_.decode(reader_.buffered().text());
      reader_.consume(got.used);
      if (got.what == event::text || got.what == event::binary) {
        const bool is_text = got.what == event::text;
        decoded_ = message{is_text ? message_kind::text : message_kind::binary, got.data};
      }
      if (got.what == event::ping) {
        if (!close_sent_) queue_control(opcode::pong, got.data);
        if (control_.size() >= control_size_soft_max) co_await flush_control();
      } else if (got.what == event::close) {
        co_await answer_close(got.data);
      } else if (got.what == event::failed) {
        co_await refuse(got.data);
      } else if (got.what == event::nothing) {
        if (!control_.empty()) co_await flush_control();
        decoder_.release_memory();
        if (is_over_) break;
        if (close_sent_ && loop_clock::now() >= close_deadline_) {
          co_await abort(std::make_error_code(std::errc::timed_out));
          break;
        }
        const auto came = co_await fill();
        if (came && *came != 0) {
          heard();
        } else {
          co_await nothing_came(came);
        }
      }
    }
    if (decoded_) {
      // Cancelled here, the next read gives it.
      if (!control_.empty()) co_await flush_control();
      co_return std::exchange(decoded_, std::nullopt);
    }
    ended_.set();
    co_return std::nullopt;
  }
  /// What the peer sends behind a farewell of ours, until its own or its end.
  task<void> drop_messages() {
    const dropping_guard dropping(*this);
    for (;;) {
      const std::optional<message> dropped = co_await read_next(true);
      if (!dropped) co_return;
    }
  }

  // ---------------------------------------------------------------- the end

  /// The stream has ended, failed, or been silent for too long.
  task<void> nothing_came(const result<std::size_t>& came) {
    if (!came && came.error().is_timeout() && !close_sent_) {
      const loop_clock::time_point now = loop_clock::now();
      if (now < reading_deadline()) co_return;  // the ping has left since
      if (!is_ping_due_ || is_ping_waiting_) {
        // One that waits for a writer has been seen by nobody: that writer's time is running.
        const bool is_new = !is_ping_due_;
        is_ping_due_ = true;
        is_ping_waiting_ = true;
        pinged_ = now;
        if (!is_new) co_return;
        queue_control(opcode::ping, {});
        co_await flush_control();
        co_return;
      }
    }
    std::error_code cause;
    if (!came) cause = came.error().code();
    co_await abort(cause);
  }

  /// Without a farewell. Whoever reads or writes learns of it.
  task<void> abort(std::error_code cause) {
    lost(cause);
    ended_.set();
    if (stream_.is_open()) co_await stream_.close();
  }

  task<void> answer_close(std::string_view reason) {
    code_ = decoder_.code();
    reason_ = reason;
    const bool is_first = !close_sent_;
    bool is_sent = true;
    if (is_first) is_sent = co_await send_close(code_, {});
    is_clean_ = is_sent && !is_over_;
    // A server closes first (RFC 6455 section 7.1.1), so that the port that lingers is not its own.
    // With bytes behind the peer's farewell, which should not be, it could reset the connection.
    const bool waits = own_ == role::client || !reader_.buffered().empty();
    if (is_clean_ && own_ == role::server && waits) co_await end_writing();
    if (is_clean_ && waits) co_await drop_until_end();
    is_over_ = true;
    ended_.set();
    if (stream_.is_open()) co_await stream_.close();
  }

  /// The peer has broken the rules: it is told which, and may read it.
  task<void> refuse(std::string_view why) {
    code_ = decoder_.code();
    reason_ = why;
    const bool was_closing = close_sent_;
    const bool is_sent = co_await send_close(code_, reason_);
    is_over_ = true;
    ended_.set();
    if (is_sent && !was_closing) {
      co_await end_writing();
      co_await drop_until_end();
    }
    if (stream_.is_open()) co_await stream_.close();
  }

  task<void> end_writing() {
    mutex::guard sending = write_lock_.try_lock();
    if (sending && stream_.is_open()) co_await as_result(stream_.shutdown_write());
  }
  /// Closing while bytes come would reset the connection, and what we said last would be lost.
  task<void> drop_until_end() {
    reader_.consume(reader_.buffered().size());
    for (std::size_t size = 0; size < linger_size_max && stream_.is_open();) {
      const auto came = co_await as_result(with_deadline(close_deadline_, reader_.fill()));
      if (!came || *came == 0) co_return;
      reader_.consume(*came);
      size += *came;
    }
  }

  // ---------------------------------------------------------------- sending

  /// False: it could not be sent within close_timeout, or at all.
  task<bool> send_close(close_code code, std::string_view reason) {
    if (close_sent_) co_return true;
    close_sent_ = true;
    close_deadline_ = loop_clock::after(loop_clock::now(), options_.close_timeout);
    const std::string payload = close_payload(code, reason);
    bool is_sent = false;
    try {
      co_await with_deadline(close_deadline_, send_last(payload, is_sent));
    } catch (const timeout_error&) {
    }
    co_return is_sent;
  }
  task<void> send_last(std::string_view payload, bool& is_sent) {
    mutex::guard sending = co_await write_lock_.lock();
    if (is_broken_ || is_over_) co_return;
    queue_control(opcode::close, payload);
    is_sent = co_await send_control();
  }

  /// Sends what waits, unless another does: whoever holds the stream sends it with its own.
  task<bool> flush_control() {
    mutex::guard sending = write_lock_.try_lock();
    if (!sending) {
      if (control_.size() < control_size_soft_max) co_return true;
      sending = co_await write_lock_.lock();
    }
    const bool is_sent = co_await send_control();
    co_return is_sent;
  }
  /// REQUIRES: the lock is held, as all that follow.
  task<bool> send_control() {
    while (!control_.empty()) {
      const std::string control = take_control();
      const const_buffer piece(control);
      const bool is_sent = co_await transmit(std::span<const const_buffer>(&piece, 1));
      if (!is_sent) co_return false;
    }
    co_return true;
  }

  /// One frame, behind the control frames that wait; and those that came meanwhile.
  task<bool> send_frame(frame_head head, std::string_view payload) {
    head.size = payload.size();
    char memory[frame_head_size_max];
    std::string before = take_control();
    before.append(memory, write_head(head, memory));
    bool is_sent = false;
    if (head.is_masked) {
      is_sent = co_await send_masked(std::move(before), head.key, payload);
    } else {
      is_sent = co_await send_plain(before, payload);
    }
    if (is_sent) is_sent = co_await send_control();
    co_return is_sent;
  }
  task<bool> send_plain(std::string_view before, std::string_view payload) {
    std::string_view part = payload.substr(0, part_size_max);
    const const_buffer first[2] = {const_buffer(before), const_buffer(part)};
    bool is_sent = co_await transmit(std::span<const const_buffer>(first));
    for (payload.remove_prefix(part.size()); is_sent && !payload.empty();) {
      part = payload.substr(0, part_size_max);
      const const_buffer piece(part);
      is_sent = co_await transmit(std::span<const const_buffer>(&piece, 1));
      payload.remove_prefix(part.size());
    }
    co_return is_sent;
  }
  task<bool> send_masked(std::string before, std::array<unsigned char, 4> key,
                         std::string_view payload) {
    std::uint64_t offset = 0;
    do {
      const std::string_view part = payload.substr(0, slice_size_max);
      append_masked(before, part, key, offset);
      offset += part.size();
      payload.remove_prefix(part.size());
      const const_buffer piece(before);
      const bool is_sent = co_await transmit(std::span<const const_buffer>(&piece, 1));
      if (!is_sent) co_return false;
      before.clear();
    } while (!payload.empty());
    co_return true;
  }

  /// Gives bytes to the stream. One that fails, or is cancelled, is the last.
  task<bool> transmit(std::span<const const_buffer> pieces) {
    if (is_broken_ || !stream_.is_open()) co_return false;
    unfinished sending(is_broken_);
    const auto sent = co_await send_pieces(pieces);
    if (sent) {
      sending.finish();
      if (is_ping_taken_) ping_has_left();
      co_return true;
    }
    if (!cause_) cause_ = sent.error().code();
    // Whoever reads must not wait for a peer that takes nothing.
    if (is_reading_) co_await abort(sent.error().code());
    co_return false;
  }

  task<void> compress(std::string_view payload, std::string& to) {
    do {
      const std::string_view slice = payload.substr(0, slice_size_max);
      payload.remove_prefix(slice.size());
      deflater_->compress(slice, payload.empty(), to);
      if (!payload.empty()) co_await sleep_for(std::chrono::nanoseconds(0));
    } while (!payload.empty());
  }

  /// Nobody else reads while it lives, and whoever waits for that goes on when it ends.
  class dropping_guard {
   public:
    explicit dropping_guard(connection_core& of) noexcept : of_(&of) {
      of.is_dropping_ = true;
      of.dropped_.reset();
    }
    dropping_guard(const dropping_guard&) = delete;
    dropping_guard& operator=(const dropping_guard&) = delete;
    ~dropping_guard() {
      of_->is_dropping_ = false;
      of_->dropped_.set();
    }

   private:
    connection_core* of_;
  };

  Stream stream_;
  buffered_reader<Stream> reader_;
  mutex write_lock_;
  rill::event ended_;
  rill::event dropped_;
};

}  // namespace rill::websocket::detail
