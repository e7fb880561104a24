// What a client says on a connection and hears. See client_exchange.h.
#include <rill/protocols/http/client_exchange.h>

#include <algorithm>
#include <span>
#include <stdexcept>
#include <utility>

#include <rill/protocols/http/session.h>
#include <rill/runtime/sleep.h>

namespace rill::http::detail {
namespace {

/// A body up to this size goes out with its head, before anything is read: it fits into what two
/// kernels buffer. A larger one is sent while the response may come already.
constexpr std::size_t whole_size_max = 32 * 1024;
/// Each must be taken within the idle time-out, and progress is told after each.
constexpr std::size_t piece_size = 64 * 1024;

}  // namespace

client_exchange::client_exchange(connection_pool::slot connection, const exchange_limits& limits,
                                 std::string request)
    : connection_(std::move(connection)),
      limits_(limits),
      request_(std::move(request)),
      peer_(stream().peer()),
      head_(limits.head),
      last_activity_(loop_clock::now()) {}

loop_clock::time_point client_exchange::idle_deadline() const noexcept {
  return std::min(limits_.deadline, loop_clock::after(last_activity_, limits_.idle_timeout));
}

void client_exchange::fail(client_phase phase, std::error_code code) {
  has_failed_ = true;
  throw client_error(phase, request_, code, {}, peer_);
}

void client_exchange::fail(client_phase phase, const error& cause) {
  has_failed_ = true;
  if (cause.is_timeout()) throw client_error::timed_out(phase, request_, peer_);
  fail(phase, cause.code());
}

// ---------------------------------------------------------------- sending

task<void> client_exchange::send(const outgoing& asked, const progress_function& on_upload) {
  on_upload_ = &on_upload;
  last_activity_ = loop_clock::now();
  body_size_ = asked.body->size();
  is_chunked_ = !body_size_;
  const bool is_small = !asked.body->body_producer() && !asked.expects_continue &&
                        asked.body->bytes().size() <= whole_size_max;
  if (is_small) {
    co_await send_whole(asked);
  } else {
    co_await send_beside_reading(asked);
  }
  head_text_ = stream().buffered().text().substr(0, head_.size());
  head_.rebase(head_text_.data());
  stream().consume(head_.size());
  if (head_.status() == 101) fail(client_phase::read, client_fault::unexpected_upgrade);
  body_limits without;  // the reader has a limit of its own, for what it decodes
  without.size_max = UINT64_MAX;
  body_ = body_decoder(head_, without);
  if (body_.is_complete()) finish();
}

task<void> client_exchange::send_whole(const outgoing& asked) {
  const const_buffer pieces[2] = {const_buffer(asked.head), const_buffer(asked.body->bytes())};
  const bool is_written = co_await write_pieces(pieces);
  is_sent_ = is_written;
  if (is_written) count_sent(asked.body->bytes().size());
  // A server that does not take the request may have said why.
  if (is_written || !send_failure_->is_timeout()) co_await read_head(asked);
  if (!is_written && send_failure_->is_timeout()) throw_send_failure();
}

task<void> client_exchange::send_beside_reading(const outgoing& asked) {
  is_sending_ = true;
  co_await with_nursery([&](nursery& beside) -> task<> {
    beside.start([this, &asked, &beside] { return send_in_pieces(asked, beside); });
    co_await read_head(asked);
    // One that is refused early need not be sent to its end (RFC 9112 section 9.5).
    if (head_.status() < 300) co_await sent_.wait();
    beside.cancel();
  });
  if (producer_failure_) std::rethrow_exception(producer_failure_);
  if (send_failure_ && send_failure_->is_timeout()) throw_send_failure();
}

task<void> client_exchange::send_in_pieces(const outgoing& asked, nursery& beside) {
  const const_buffer head(asked.head);
  const bool is_written = co_await write_pieces(std::span<const const_buffer>(&head, 1));
  if (is_written && asked.expects_continue) {
    // A server that has never heard of it must not wait for ever (RFC 9110 section 10.1.1).
    try {
      co_await with_timeout(limits_.continue_timeout, go_ahead_.wait());
    } catch (const timeout_error&) {
    }
    last_activity_ = loop_clock::now();
  }
  try {
    if (is_written) co_await send_body(*asked.body);
    is_sent_ = is_written;
  } catch (const std::bad_alloc&) {
    throw;
  } catch (...) {
    if (!send_failure_) producer_failure_ = std::current_exception();
  }
  is_sending_ = false;
  sent_.set();
  // Of other failures the response may tell the reason, or its absence the news.
  if (producer_failure_ || (send_failure_ && send_failure_->is_timeout())) beside.cancel();
}

task<void> client_exchange::send_body(const request_body& body) {
  if (!body.body_producer()) {
    std::string_view rest = body.bytes();
    while (!rest.empty()) {
      const const_buffer piece(rest.substr(0, piece_size));
      const bool is_written = co_await write_pieces(std::span<const const_buffer>(&piece, 1));
      if (!is_written) throw_send_failure();
      count_sent(piece.size());
      rest.remove_prefix(piece.size());
    }
    co_return;
  }
  co_await body.body_producer()(*this);
  if (body_size_ && sent_size_ != *body_size_) fail(client_phase::send, client_fault::bad_body);
  if (!is_chunked_) co_return;
  const const_buffer end("0\r\n\r\n");
  const bool is_written = co_await write_pieces(std::span<const const_buffer>(&end, 1));
  if (!is_written) throw_send_failure();
}

task<void> client_exchange::write(const_buffer bytes) {
  if (bytes.empty()) co_return;
  if (body_size_ && bytes.size() > *body_size_ - sent_size_) {
    fail(client_phase::send, client_fault::bad_body);
  }
  char memory[20];
  const const_buffer pieces[3] = {const_buffer(chunk_head(bytes.size(), memory)), bytes,
                                  const_buffer("\r\n")};
  std::span<const const_buffer> sent(pieces);
  if (!is_chunked_) sent = sent.subspan(1, 1);
  const bool is_written = co_await write_pieces(sent);
  if (!is_written) throw_send_failure();
  count_sent(bytes.size());
}

/// The producer learns of it; the response may come whole all the same, so has_failed_ stays.
void client_exchange::throw_send_failure() const {
  if (send_failure_->is_timeout()) {
    throw client_error::timed_out(client_phase::send, request_, peer_);
  }
  throw client_error(client_phase::send, request_, send_failure_->code(), {}, peer_);
}

/// False: send_failure_ says why not.
task<bool> client_exchange::write_pieces(std::span<const const_buffer> pieces) {
  last_activity_ = loop_clock::now();
  const auto sent = co_await stream().write(pieces, idle_deadline());
  last_activity_ = loop_clock::now();
  if (!sent) send_failure_ = sent.error();
  co_return sent.has_value();
}

void client_exchange::count_sent(std::size_t size) {
  sent_size_ += size;
  if (size != 0 && *on_upload_) (*on_upload_)(sent_size_, body_size_);
}

// ---------------------------------------------------------------- reading

/// More bytes, or an error.
task<void> client_exchange::fill() {
  for (loop_clock::time_point deadline = idle_deadline();;) {
    const auto came = co_await stream().fill(deadline);
    if (came && *came != 0) {
      last_activity_ = loop_clock::now();
      received_size_ += *came;
      co_return;
    }
    if (!came && came.error().is_timeout() && loop_clock::now() < limits_.deadline) {
      // While the request's body is under way its writes have the time-outs.
      if (is_sending_) last_activity_ = loop_clock::now();
      if (idle_deadline() > deadline) {
        deadline = idle_deadline();
        continue;
      }
    }
    // What had hindered the request is the reason why there is no answer.
    if (send_failure_ && received_size_ == 0) throw_send_failure();
    if (!came) fail(client_phase::read, came.error());
    if (!body_.is_complete()) body_.end();
    if (body_.has_failed()) fail(client_phase::read, body_.error());
    co_return;
  }
}

task<void> client_exchange::read_head(const outgoing& asked) {
  for (unsigned interim_count = 0;;) {
    parse_state state = parse_state::incomplete;
    if (!stream().buffered().empty()) {
      state = head_.parse(stream().buffered().text(), asked.method);
    }
    if (state == parse_state::failed) fail(client_phase::read, head_.error());
    if (state == parse_state::incomplete) {
      const std::uint64_t before = received_size_;
      co_await fill();
      if (received_size_ == before) fail(client_phase::read, http_error::incomplete);
      continue;
    }
    if (!head_.is_interim()) co_return;
    if (head_.status() == 100) go_ahead_.set();
    if (++interim_count > limits_.interim_count_max) {
      fail(client_phase::read, client_fault::too_many_interim);
    }
    stream().consume(head_.size());
    head_.clear();
  }
}

task<std::string_view> client_exchange::read_some() {
  if (is_done_) co_return std::string_view();
  if (has_failed_ || !connection_) fail(client_phase::read, http_error::incomplete);
  last_activity_ = loop_clock::now();
  for (;;) {
    if (is_decoding_) {
      const content_decoder::piece decoded = decoder_->decode(encoded_);
      check_decoder();
      encoded_.remove_prefix(decoded.used);
      if (!decoded.data.empty()) co_return decoded.data;
      is_decoding_ = false;
    }
    stream().consume(std::exchange(taken_size_, 0));
    if (body_.is_complete()) {
      finish();
      co_return std::string_view();
    }
    if (stream().buffered().empty()) {
      co_await fill();
      continue;
    }
    const body_decoder::piece piece = body_.decode(stream().buffered().text());
    if (body_.has_failed()) fail(client_phase::read, body_.error());
    taken_size_ = piece.used;
    if (piece.data.empty()) continue;
    if (on_download_) {
      on_download_(body_.size(), head_.framing() == body_framing::length
                                     ? std::optional<std::uint64_t>(head_.content_length())
                                     : std::nullopt);
    }
    if (!decoder_) co_return piece.data;
    encoded_ = piece.data;
    is_decoding_ = true;
  }
}

void client_exchange::decode_content(const decode_limits& limits) {
  const auto value = head_.find("Content-Encoding");
  if (is_done_ || !value || equals_without_case(*value, "identity")) return;
  const auto named = find_coding(*value);
  // Several codings on top of each other are nothing that we ask for.
  if (!named || head_.count("Content-Encoding") != 1) {
    fail(client_phase::read, client_fault::unknown_content_coding);
  }
  decoder_.emplace(*named, limits);
}

void client_exchange::check_decoder() {
  if (!decoder_->has_failed()) return;
  switch (decoder_->error()) {
    case decode_error::corrupt:
      fail(client_phase::read, client_fault::corrupt_content);
    case decode_error::too_large:
      fail(client_phase::read, http_error::body_too_large);
    case decode_error::bomb:
      fail(client_phase::read, client_fault::content_bomb);
    case decode_error::incomplete:
      fail(client_phase::read, http_error::incomplete);
  }
}

/// The response is whole.
void client_exchange::finish() {
  if (decoder_ && !decoder_->end()) check_decoder();
  is_done_ = true;
  // Bytes that follow belong to no request: whoever sent them must not answer the next one.
  const bool is_clean = is_sent_ && head_.keeps_alive() &&
                        head_.framing() != body_framing::until_close && stream().buffered().empty();
  if (is_clean) {
    connection_.keep();
  } else {
    connection_.drop();
  }
}

}  // namespace rill::http::detail
