// One connection of an HTTP/1.1 server, over any byte_stream: requests in, responses out, in order.
// Pipelined requests are answered in few sends. While a connection is idle it holds a small frame
// and no buffer.
//   co_await rill::serve(listener, [&](rill::tcp_stream peer) {
//     return rill::http::session(std::move(peer), service, options);
//   });
// Read next: tests/http/session_test.cpp.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

#include <rill/net/buffered.h>
#include <rill/net/endpoint.h>
#include <rill/net/stream.h>
#include <rill/protocols/http/body.h>
#include <rill/protocols/http/head.h>
#include <rill/protocols/http/request.h>
#include <rill/protocols/http/response.h>
#include <rill/protocols/http/status.h>
#include <rill/runtime/file.h>
#include <rill/runtime/loop.h>
#include <rill/runtime/timeout.h>

namespace rill::http {

/// Answers requests.
class service {
 public:
  /// An exception becomes 500 without any detail, or 503 if it says that descriptors or memory are
  /// short, and a line for session_options::on_error. What request::read_some throws may pass: it
  /// becomes the status that belongs to it.
  [[nodiscard]] virtual task<response> handle(request& asked) = 0;

 protected:
  ~service() = default;
};

struct session_options {
  head_limits head{};
  body_limits body{};
  /// From the first byte of a request to the end of its head: 408 beyond (slow headers).
  std::chrono::nanoseconds header_timeout = std::chrono::seconds(10);
  /// Between two pieces of a body: 408 beyond.
  std::chrono::nanoseconds body_timeout = std::chrono::seconds(30);
  /// Between two requests.
  std::chrono::nanoseconds idle_timeout = std::chrono::seconds(75);
  /// For a client to take a part of its answer.
  std::chrono::nanoseconds write_timeout = std::chrono::seconds(30);
  /// A client whose request was refused may still be sending it, and reads the answer afterwards:
  /// so much is read and dropped before the connection is closed (RFC 9112 section 9.6).
  std::size_t linger_size_max = 4 * 1024 * 1024;
  std::chrono::nanoseconds linger_timeout = std::chrono::seconds(2);
  /// Told when a handler throws, on the loop's thread. nullptr: a line on stderr.
  void (*on_error)(const request& asked, const std::exception_ptr& error) = nullptr;
  /// True ends the connection after the answer that is due: a server that drains.
  const bool* is_draining = nullptr;
};
static_assert(std::is_trivially_destructible_v<session_options>);

namespace detail {

/// What is known when the head of a response is written.
struct response_framing {
  bool keeps_alive;
  bool is_chunked;
  bool has_length;
  std::uint64_t length;
};

/// Appends status line, Date, Connection, framing and fields, and the empty line.
void append_head(std::string& to, const response& of, const request_head& asked,
                 const response_framing& framing, std::int64_t wall_now);
/// The answer to a request that is none.
response refusal(http_error error);
response refusal(int status, std::string_view text);
/// Of what a handler has thrown.
int status_of_failure(const std::exception_ptr& failure) noexcept;
void report(const session_options& options, const request& asked, const std::exception_ptr& error);
/// "1f4\r\n"
std::string_view chunk_head(std::size_t size, char (&memory)[20]) noexcept;

/// One request after the other, as long as bytes of them are there.
template <byte_stream Stream>
class exchange final : public body_source, public body_writer {
 public:
  exchange(Stream& stream, buffered_reader<Stream>& reader, service& answering,
           const session_options& options, const endpoint& peer) noexcept
      : stream_(&stream),
        reader_(&reader),
        service_(&answering),
        options_(&options),
        peer_(&peer),
        head_(options.head) {}

  /// Answers what the reader holds and what belongs to it. True: the connection may carry more.
  /// All that requests need lies in this frame, which is gone while the connection is idle.
  static task<bool> run(Stream& stream, buffered_reader<Stream>& reader, service& answering,
                        const session_options& options, const endpoint& peer) {
    exchange self(stream, reader, answering, options, peer);
    loop_clock::time_point deadline = loop_clock::now() + options.header_timeout;
    for (;;) {
      const parse_state state = self.head_.parse(reader.buffered().text());
      if (state == parse_state::complete) {
        const bool goes_on = co_await self.answer();
        if (!goes_on) co_return false;
        if (reader.buffered().empty()) co_return co_await self.send();
        deadline = loop_clock::now() + options.header_timeout;
        continue;
      }
      if (state == parse_state::failed) {
        co_await self.refuse(refusal(self.head_.error()));
        co_return false;
      }
      // The client may wait for the answers to what it has sent before.
      const bool is_sent = co_await self.send();
      if (!is_sent) co_return false;
      const auto came = co_await as_result(with_deadline(deadline, reader.fill()));
      if (came && *came != 0) continue;
      if (!came && came.error().is_timeout()) {
        co_await self.refuse(refusal(408, "the head of the request took too long\n"));
      }
      co_return false;
    }
  }

  task<std::string_view> read() override {
    reader_->consume(std::exchange(taken_size_, 0));
    for (;;) {
      if (body_.is_complete()) co_return std::string_view();
      if (body_.has_failed()) throw_body_error();
      if (reader_->buffered().empty()) {
        co_await want_more();
        continue;
      }
      const body_decoder::piece piece = body_.decode(reader_->buffered().text());
      if (!piece.data.empty()) {
        taken_size_ = piece.used;
        co_return piece.data;
      }
      reader_->consume(piece.used);
    }
  }
  bool is_complete() const noexcept override { return body_.is_complete(); }

  task<void> write(const_buffer bytes) override {
    if (bytes.empty() || !sends_body_) co_return;
    char memory[20];
    if (is_chunked_) out_.append(chunk_head(bytes.size(), memory));
    if (bytes.size() < copy_size_max) {
      out_.append(bytes.text());
    } else {
      const const_buffer pieces[2] = {const_buffer(out_), bytes};
      const std::span<const const_buffer> all(pieces);
      co_await with_timeout(options_->write_timeout, stream_->write_all(all));
      out_.clear();
    }
    if (is_chunked_) out_.append("\r\n");
    if (out_.size() >= send_size) co_await flush();
  }
  task<void> flush() override {
    if (out_.empty()) co_return;
    co_await with_timeout(options_->write_timeout, stream_->write_all(const_buffer(out_)));
    out_.clear();
  }

 private:
  /// A body of at least so many bytes is sent from where it lies; so is a file of more.
  static constexpr std::size_t copy_size_max = 16 * 1024;
  /// Answers of pipelined requests are collected up to so many bytes.
  static constexpr std::size_t send_size = 32 * 1024;

  /// Files that the stream cannot take by itself are read in pieces of this size.
  static constexpr std::size_t file_piece_size = 64 * 1024;
  static constexpr bool sends_files = requires(Stream& to, const file& from) {
    to.send_file(from, std::uint64_t(), std::uint64_t(), std::chrono::nanoseconds());
  };

  [[noreturn]] void throw_body_error() {
    body_status_ = status_of(body_.error());
    throw io_error(make_error_code(body_.error()), "read", "body");
  }

  /// Sends what is due; false: the client is gone, or does not take it.
  task<bool> send() {
    if (out_.empty()) co_return true;
    const auto sent = co_await as_result(
        with_timeout(options_->write_timeout, stream_->write_all(const_buffer(out_))));
    out_.clear();
    co_return sent.has_value();
  }

  /// More of the body.
  task<void> want_more() {
    if (head_.expects_continue() && !said_continue_) {
      said_continue_ = true;
      if (head_.minor_version() != 0) out_.append("HTTP/1.1 100 Continue\r\n\r\n");
    }
    co_await flush();
    const auto came = co_await as_result(with_timeout(options_->body_timeout, reader_->fill()));
    if (!came) {
      constexpr int request_timeout = 408;
      if (came.error().is_timeout()) body_status_ = request_timeout;
      is_lost_ = !came.error().is_timeout();
      throw_error(came.error(), peer_->is_ip() ? peer_->to_string() : "the client");
    }
    if (*came == 0) body_.end();
  }

  /// The request whose head is complete. False: the connection ends.
  task<bool> answer() {
    body_ = body_decoder(head_, options_->body);
    said_continue_ = false;
    if (!body_.is_complete()) {
      // Reading on moves the bytes in which the head lies.
      head_bytes_ = reader_->buffered().text().substr(0, head_.size());
      head_.rebase(head_bytes_.data());
    }
    reader_->consume(head_.size());
    if (body_.has_failed()) {
      co_await refuse(refusal(body_.error()));
      co_return false;
    }
    request asked(head_, *peer_, *this);
    std::optional<response> made;
    std::exception_ptr failure;
    body_status_ = 0;
    try {
      made.emplace(co_await service_->handle(asked));
    } catch (...) {
      failure = std::current_exception();
    }
    if (is_lost_) co_return false;
    reader_->consume(std::exchange(taken_size_, 0));
    if (!made && body_status_ != 0) {
      made.emplace(refusal(body_status_, {}));
    } else if (!made) {
      report(*options_, asked, failure);
      made.emplace(refusal(status_of_failure(failure), {}));
    }
    const bool goes_on = co_await send_response(*made);
    head_.clear();
    co_return goes_on;
  }

  /// False: the connection ends.
  task<bool> send_response(const response& made) {
    // A body that the handler has not read is read here, if it is short and was promised.
    const bool waits = head_.expects_continue() && !said_continue_ && !body_.is_complete();
    bool keeps_alive = body_status_ == 0 && head_.keeps_alive() && !waits &&
                       (options_->is_draining == nullptr || !*options_->is_draining);
    sends_body_ = head_.method() != "HEAD" && !http::has_no_body(made.status());
    const bool is_streamed = made.body_producer() != nullptr;
    is_chunked_ = is_streamed && sends_body_ && head_.minor_version() != 0;
    if (is_streamed && sends_body_ && !is_chunked_) keeps_alive = false;
    const response_framing framing{keeps_alive, is_chunked_,
                                   !is_streamed && !http::has_no_body(made.status()),
                                   made.body_size()};
    append_head(out_, made, head_, framing, loop::current().kernel().wall_now());
    if (made.body_file() != nullptr) {
      if (sends_body_) {
        const bool whole = co_await send_file(*made.body_file());
        if (!whole) co_return false;
      }
    } else if (is_streamed) {
      if (sends_body_) {
        const bool whole = co_await produce(made);
        if (!whole) co_return false;
      }
    } else if (sends_body_ && made.body().size() < copy_size_max) {
      out_.append(made.body());
    } else if (sends_body_) {
      const bool sent = co_await send_large(made.body());
      if (!sent) co_return false;
    }
    if (!body_.is_complete()) {
      bool is_dropped = false;
      if (keeps_alive) is_dropped = co_await drop_body();
      if (!is_dropped) {
        co_await close_slowly();
        co_return false;
      }
    }
    if (!keeps_alive) {
      co_await send();
      co_return false;
    }
    if (out_.size() >= send_size) co_return co_await send();
    co_return true;
  }

  /// What is due, and a body from where it lies.
  task<bool> send_large(std::string_view body) {
    const const_buffer pieces[2] = {const_buffer(out_), const_buffer(body)};
    const std::span<const const_buffer> all(pieces);
    const auto sent =
        co_await as_result(with_timeout(options_->write_timeout, stream_->write_all(all)));
    out_.clear();
    co_return sent.has_value();
  }

  /// What is due, and a body out of a file. False: the connection ends, for the client is gone or
  /// stands still, or the file was cut; then before the end of the body.
  task<bool> send_file(file_body& body) {
    for (const file_part& part : body.parts()) {
      out_.append(part.before);
      bool is_whole = false;
      if constexpr (sends_files) {
        if (part.size > copy_size_max) {
          is_whole = co_await pass_file(body.source(), part);
        } else {
          is_whole = co_await copy_file(body.source(), part);
        }
      } else {
        is_whole = co_await copy_file(body.source(), part);
      }
      if (!is_whole) {
        co_await close_slowly();
        co_return false;
      }
    }
    out_.append(body.after());
    co_return true;
  }
  /// From the file to the socket, through no memory of ours.
  task<bool> pass_file(const file& source, const file_part& part) {
    const bool is_sent = co_await send();
    if (!is_sent) co_return false;
    bool is_whole = false;
    try {
      const std::uint64_t sent =
          co_await stream_->send_file(source, part.offset, part.size, options_->write_timeout);
      is_whole = sent == part.size;
    } catch (const io_error&) {
      // The client is gone, or the disk has failed.
    }
    co_return is_whole;
  }
  /// Through the buffer of the answer, piece by piece; the last one is left there.
  task<bool> copy_file(file& source, const file_part& part) {
    for (std::uint64_t done = 0; done != part.size;) {
      const std::size_t before = out_.size();
      out_.resize(before + std::min<std::uint64_t>(part.size - done, file_piece_size));
      const auto room = std::as_writable_bytes(std::span<char>(out_).subspan(before));
      const auto came = co_await as_result(source.read_at(room, part.offset + done));
      out_.resize(before + came.value_or(0));
      if (!came || *came == 0) co_return false;
      done += *came;
      if (done == part.size) break;
      const bool is_sent = co_await send();
      if (!is_sent) co_return false;
    }
    co_return true;
  }

  task<bool> produce(const response& made) {
    bool whole = false;
    try {
      co_await made.body_producer()(*this);
      if (is_chunked_) out_.append("0\r\n\r\n");
      whole = true;
    } catch (...) {
      // The reader sees that the body is not whole, for it lacks its end.
    }
    co_return whole;
  }

  /// What is left of a request's body; false if that is much, or does not come.
  task<bool> drop_body() {
    constexpr std::uint64_t much = 256 * 1024;
    const std::uint64_t end = body_.size() + much;
    bool done = false;
    try {
      while (!done && body_.size() < end) {
        const std::string_view piece = co_await read();
        done = piece.empty();
      }
      reader_->consume(std::exchange(taken_size_, 0));
    } catch (const std::exception&) {
      done = false;
    }
    co_return done;
  }

  /// Answers what is no request, and closes so that the answer can be read.
  task<void> refuse(response made) {
    sends_body_ = true;
    const response_framing framing{false, false, true, made.body().size()};
    append_head(out_, made, head_, framing, loop::current().kernel().wall_now());
    out_.append(made.body());
    co_await close_slowly();
  }

  /// Sends, ends our direction, and reads on for a while: closing with unread bytes would reset the
  /// connection, and the client would lose the answer that is on its way.
  task<void> close_slowly() {
    if (!co_await send()) co_return;
    const auto ended = co_await as_result(stream_->shutdown_write());
    if (!ended) co_return;
    const loop_clock::time_point deadline = loop_clock::now() + options_->linger_timeout;
    for (std::size_t size = reader_->buffered().size(); size < options_->linger_size_max;) {
      const auto came = co_await as_result(with_deadline(deadline, stream_->read_lease()));
      if (!came || came->empty()) co_return;
      size += came->size();
    }
  }

  Stream* stream_;
  buffered_reader<Stream>* reader_;
  service* service_;
  const session_options* options_;
  const endpoint* peer_;
  request_head head_;
  body_decoder body_;
  std::string head_bytes_;
  std::string out_;
  std::size_t taken_size_ = 0;  // of the reader's bytes, which a handler looks at
  int body_status_ = 0;  // with which the request is answered, once its body could not be read
  bool is_lost_ = false;
  bool said_continue_ = false;
  bool sends_body_ = true;
  bool is_chunked_ = false;
};

template <byte_stream Stream>
endpoint peer_of(const Stream& stream) {
  if constexpr (requires { stream.peer(); }) {
    return stream.peer();
  } else {
    return endpoint();
  }
}

}  // namespace detail

/// Answers the requests of one connection until either side ends it.
///
/// Errors: none. A reset, a time-out, garbage: the connection ends, after an answer that says why
///   where HTTP has one (400, 408, 413, 414, 417, 431, 501, 505).
/// Cancellation: at any time; an answer on its way may be cut.
/// Lifetime: `answering` and what `options` points to must outlive the session.
/// Cost: while idle one frame; while a request is handled another, from the cache, and a buffer for
///   the answer.
template <byte_stream Stream>
task<> session(Stream stream, service& answering, const session_options& options) {
  buffered_reader<Stream> reader(stream);
  const endpoint peer = detail::peer_of(stream);
  for (;;) {
    const auto came = co_await as_result(with_timeout(options.idle_timeout, reader.fill()));
    if (!came || *came == 0) co_return;
    const bool goes_on =
        co_await detail::exchange<Stream>::run(stream, reader, answering, options, peer);
    if (!goes_on) co_return;
  }
}

}  // namespace rill::http
