// See connection_state.h.
#include <rill/protocols/websocket/connection_state.h>

#include <span>
#include <stdexcept>
#include <utility>

#include <rill/protocols/websocket/mask.h>
#include <rill/runtime/loop.h>

namespace rill::websocket::detail {

connection_state::connection_state(role own, const connection_options& options, negotiated agreed)
    : options_(options),
      agreed_(std::move(agreed)),
      decoder_(own, options.limits, agreed_.deflate),
      last_heard_(loop_clock::now()),
      own_(own) {}

connection_state::~connection_state() = default;

frame_head connection_state::head_of(opcode code, bool is_final) const {
  frame_head made;
  made.code = code;
  made.is_final = is_final;
  made.is_masked = own_ == role::client;
  if (made.is_masked) {
    // One that nobody can foresee, for each frame (RFC 6455 section 5.3).
    loop::current().kernel().random(std::as_writable_bytes(std::span(made.key)));
  }
  return made;
}

void connection_state::queue_control(opcode code, std::string_view payload) {
  append_frame(control_, head_of(code), payload);
}

void connection_state::append_masked(std::string& to, std::string_view part,
                                     const std::array<unsigned char, 4>& key,
                                     std::uint64_t offset) {
  const std::size_t at = to.size();
  to.resize(at + part.size());
  mask(to.data() + at, part.data(), part.size(), key, offset);
}

void connection_state::check_text(std::string_view text) {
  if (!is_utf8(text)) throw std::invalid_argument("a text message must be UTF-8");
}

bool connection_state::has_context_takeover() const noexcept {
  return own_ == role::server ? !agreed_.deflate->server_no_context_takeover
                              : !agreed_.deflate->client_no_context_takeover;
}

int connection_state::window_bits() const noexcept {
  return own_ == role::server ? agreed_.deflate->server_window_bits
                              : agreed_.deflate->client_window_bits;
}

void connection_state::begin_compression() {
  if (deflater_ != nullptr) return;
  deflater_ = has_context_takeover()
                  ? std::make_unique<deflater>(window_bits(), options_.deflate.level)
                  : take_deflater(window_bits(), options_.deflate.level);
}

void connection_state::end_compression() noexcept {
  if (has_context_takeover()) return;
  give_deflater(std::move(deflater_), window_bits(), options_.deflate.level);
}

loop_clock::time_point connection_state::reading_deadline() const noexcept {
  if (close_sent_) return close_deadline_;
  if (options_.ping_interval.count() == 0) return loop_clock::time_point::max();
  return is_ping_due_ ? loop_clock::after(pinged_, options_.pong_timeout)
                      : loop_clock::after(last_heard_, options_.ping_interval);
}

void connection_state::lost(std::error_code cause) noexcept {
  if (is_over_) return;
  is_over_ = true;
  code_ = close_code::abnormal;
  if (!cause_) cause_ = cause;
}

}  // namespace rill::websocket::detail
