// One connection of an HTTP/1.1 server, over any byte_stream: requests in, responses out, in order.
// Pipelined requests are answered in few sends. While a connection is idle it holds a small frame
// and no buffer.
//   co_await rill::http::serve(listener, routes);
// Read next: tests/http/session_test.cpp.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

#include <rill/net/buffered.h>
#include <rill/net/endpoint.h>
#include <rill/net/serve.h>
#include <rill/net/stream.h>
#include <rill/protocols/http/access_log.h>
#include <rill/protocols/http/body.h>
#include <rill/protocols/http/borrowed.h>
#include <rill/protocols/http/head.h>
#include <rill/protocols/http/request.h>
#include <rill/protocols/http/response.h>
#include <rill/protocols/http/status.h>
#include <rill/runtime/file.h>
#include <rill/runtime/frame_cache.h>
#include <rill/runtime/loop.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/timeout.h>

namespace rill::http {

/// Answers requests.
class service {
 public:
  /// An exception becomes 500 without any detail, or 503 if it says that descriptors or memory are
  /// short, and a line for session_options::on_error. What request::read_some throws may pass: it
  /// becomes the status that belongs to it, and so does a status_error. The same holds for the
  /// producer of a body until something of the answer has been sent; from then on its exception
  /// ends the connection. A task refers to `asked` until it has ended.
  [[nodiscard]] virtual answer handle(request& asked) = 0;

 protected:
  ~service() = default;
};

/// The limits of a session with one client.
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
  /// so much is read and dropped (RFC 9112 section 9.6). Of a client that sends more, nothing is
  /// read until the connection is closed when linger_timeout is over.
  std::size_t linger_size_max = 4 * 1024 * 1024;
  std::chrono::nanoseconds linger_timeout = std::chrono::seconds(2);
  /// Gets a line for every answer, of the same loop; must outlive the sessions. nullptr: none.
  access_log* log = nullptr;
  /// Told when a handler or the producer of a body throws, on the loop's thread. nullptr: a line on
  /// stderr.
  void (*on_error)(const request& asked, const std::exception_ptr& error) = nullptr;
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
/// Why a connection that `made` wants to upgrade stays with HTTP, as the answer; nullopt: it does
/// not.
std::optional<response> upgrade_obstacle(const response& made, const request_head& asked,
                                         bool is_draining);
/// The answer to a request that is none.
response refusal(int status, std::string_view text);
/// The text of such an answer: what is wrong.
std::string explain(http_error error);
void report(const session_options& options, const request& asked, const std::exception_ptr& error);
/// The answer to a request whose handler has thrown: the status of a status_error, or 500 or 503,
/// of which on_error is told.
response refusal(const session_options& options, const request& asked,
                 const std::exception_ptr& error);
/// `failure` with the fields that middleware has given to `planned`, a response that cannot be sent
/// any more: all but those about its content.
response in_place_of(const response& planned, response failure);
/// `head` is nullptr for what is no request.
void write_log(access_log& to, const endpoint& peer, const request_head* head, int status,
               std::uint64_t body_size);
/// "1f4\r\n"
std::string_view chunk_head(std::size_t size, char (&memory)[20]) noexcept;

using upgrade_pointer = std::shared_ptr<const upgrade_handler>;

template <byte_stream Stream>
endpoint peer_of(const Stream& stream) {
  if constexpr (requires { stream.peer(); }) {
    return stream.peer();
  } else {
    return endpoint();
  }
}

/// One request after the other, as long as bytes of them are there.
template <byte_stream Stream>
class exchange final : public request_owner, public body_writer {
 public:
  /// `out`: where answers are collected; outlives this.
  exchange(Stream& stream, buffered_reader<Stream>& reader, service& answering,
           const session_options& options, const drain_signal* drain, std::string& out,
           upgrade_pointer& upgrade)
      : stream_(&stream),
        reader_(&reader),
        service_(&answering),
        options_(&options),
        peer_(peer_of(stream)),
        drain_(drain),
        out_(&out),
        upgrade_(&upgrade),
        borrowed_(options.head),
        head_(&*borrowed_) {}

  /// Answers what the reader holds and what belongs to it. True: the connection may carry more.
  /// False with an `upgrade`: it may, but no HTTP.
  /// All that requests need is gone while the connection is idle, and all but the bytes of the
  /// answers while they are being sent: of a thousand connections that are busy at once the
  /// processor's cache then holds one set, which all use in turn.
  static task<bool> run(Stream& stream, buffered_reader<Stream>& reader, service& answering,
                        const session_options& options, const drain_signal* drain,
                        upgrade_pointer& upgrade) {
    borrowed_text text;
    std::string& out = *text;
    framed<exchange> busy;
    exchange& self = busy.emplace(stream, reader, answering, options, drain, out, upgrade);
    loop_clock::time_point deadline = loop_clock::now() + options.header_timeout;
    for (;;) {
      parse_state state = parse_state::incomplete;
      while (self.goes_on_ && out.size() < send_size) {
        state = self.head_->parse(reader.buffered().text());
        if (state != parse_state::complete) break;
        if (!self.answer_at_once()) co_await self.answer_slowly();
        deadline = loop_clock::now() + options.header_timeout;
      }
      if (state == parse_state::failed) {
        const http_error error = self.head_->error();
        co_await self.refuse(status_of(error), explain(error));
        co_return false;
      }
      const bool all_answered = self.goes_on_ && reader.buffered().empty();
      if (all_answered) busy.reset();
      // Before more is read: the client may wait for the answers to what it has sent before.
      if (!out.empty()) {
        const auto sent = co_await as_result(
            with_timeout(options.write_timeout, stream.write_all(const_buffer(out))));
        if (!sent) {
          upgrade = nullptr;
          co_return false;
        }
        out.clear();
      }
      if (all_answered) co_return true;
      self.wall_now_ = 0;
      if (!self.goes_on_) {
        if (self.lingers_) co_await self.linger();
        co_return false;
      }
      if (state == parse_state::complete) continue;
      const auto came = co_await as_result(with_deadline(deadline, reader.fill()));
      if (came && *came != 0) continue;
      if (!came && came.error().is_timeout()) {
        co_await self.refuse(408, "the head of the request took too long\n");
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
  response answer_failure(const std::exception_ptr& failure) override {
    constexpr int bad_request = 400;
    if (is_lost_) return refusal(bad_request, {});  // which nobody gets
    if (body_status_ != 0) return refusal(body_status_, {});
    return refusal(*options_, *asked_, failure);
  }

  task<void> write(const_buffer bytes) override {
    if (bytes.empty() || !sends_body_) co_return;
    sent_size_ += bytes.size();
    std::string& out = *out_;
    char memory[20];
    if (is_chunked_) out.append(chunk_head(bytes.size(), memory));
    if (bytes.size() < copy_size_max) {
      out.append(bytes.text());
    } else {
      co_await send_behind(bytes.text());
    }
    if (is_chunked_) out.append("\r\n");
    if (out.size() >= send_size) co_await flush();
  }
  task<void> flush() override {
    if (out_->empty()) co_return;
    const const_buffer due(*out_);
    co_await write_part(std::span(&due, 1));
    out_->clear();
  }

 private:
  /// A body of at least so many bytes is sent from where it lies; so is a file of more.
  static constexpr std::size_t copy_size_max = 16 * 1024;
  /// What of it is sent at once.
  static constexpr std::size_t part_size_max = 256 * 1024;
  /// Answers of pipelined requests are collected up to so many bytes.
  static constexpr std::size_t send_size = 32 * 1024;

  /// Files that the stream cannot take by itself are read in pieces of this size.
  static constexpr std::size_t file_piece_size = 64 * 1024;
  static constexpr std::size_t none = SIZE_MAX;
  static constexpr bool sends_files = requires(Stream& to, const file& from) {
    to.send_file(from, std::uint64_t(), std::uint64_t(), std::chrono::nanoseconds());
  };

  [[noreturn]] void throw_body_error() {
    body_status_ = status_of(body_.error());
    throw io_error(make_error_code(body_.error()), "read", "body");
  }

  /// Throws when the client is gone, or does not take it.
  task<void> write_part(std::span<const const_buffer> pieces) {
    head_begin_ = none;
    const auto sent =
        co_await as_result(with_timeout(options_->write_timeout, stream_->write_all(pieces)));
    if (sent) co_return;
    is_lost_ = true;
    throw_error(sent.error(), peer_name());
  }
  std::string peer_name() const { return peer_.is_ip() ? peer_.to_string() : "the client"; }

  /// Sends what is due; false: the client is gone, or does not take it.
  task<bool> send() {
    const auto sent = co_await as_result(
        with_timeout(options_->write_timeout, stream_->write_all(const_buffer(*out_))));
    out_->clear();
    co_return sent.has_value();
  }

  /// More of the body.
  task<void> want_more() {
    if (head_->expects_continue() && !said_continue_) {
      said_continue_ = true;
      if (head_->minor_version() != 0) out_->append("HTTP/1.1 100 Continue\r\n\r\n");
    }
    co_await flush();
    const auto came = co_await as_result(with_timeout(options_->body_timeout, reader_->fill()));
    if (!came) {
      constexpr int request_timeout = 408;
      if (came.error().is_timeout()) body_status_ = request_timeout;
      is_lost_ = !came.error().is_timeout();
      throw_error(came.error(), peer_name());
    }
    if (*came != 0) co_return;
    // In a drain it may be us who ended it: no answer, and the client knows that it may ask again.
    is_lost_ = is_draining();
    body_.end();
  }

  /// Calls the handler of the request whose head is complete, and appends the response if that is
  /// there at once and small: nearly always, and then no coroutine but run() is involved.
  /// False: answer_slowly() has to go on.
  bool answer_at_once() {
    request_head& head = *head_;
    said_continue_ = false;
    body_status_ = 0;
    if (head.framing() != body_framing::none) {
      body_ = body_decoder(head, options_->body);
      if (!body_.is_complete()) {
        // Reading on moves the bytes in which the head lies.
        head_bytes_ = reader_->buffered().text().substr(0, head.size());
        head.rebase(head_bytes_.data());
      }
    }
    reader_->consume(head.size());
    if (body_.has_failed()) return false;
    asked_.emplace(head, peer_, *this);
    try {
      given_.emplace(service_->handle(*asked_));
    } catch (...) {
      failure_ = std::current_exception();
      return false;
    }
    if (!given_->is_ready() || !body_.is_complete()) return false;
    if (given_->made().upgrade_to() != nullptr) replace_if_obstructed(given_->made());
    const response& made = given_->made();
    if (made.body_producer() != nullptr || made.body_file() != nullptr ||
        made.body().size() >= copy_size_max) {
      return false;
    }
    begin_response(made);
    if (sends_body_) append_body(made.body());
    end_request();
    return true;
  }

  task<void> answer_slowly() {
    if (body_.has_failed()) {
      const http_error error = body_.error();
      co_await refuse(status_of(error), explain(error));
      co_return;
    }
    std::optional<response> made;
    try {
      if (given_) {
        response got = co_await std::move(*given_);
        made.emplace(std::move(got));
      }
    } catch (...) {
      failure_ = std::current_exception();
    }
    wall_now_ = 0;
    if (is_lost_) {
      goes_on_ = false;
      co_return;
    }
    reader_->consume(std::exchange(taken_size_, 0));
    if (!made) made.emplace(answer_failure(failure_));
    if (made->upgrade_to() != nullptr) replace_if_obstructed(*made);
    co_await send_response(*made);
    end_request();
  }

  void append_body(std::string_view body) {
    out_->append(body);
    sent_size_ += body.size();
  }

  void end_request() {
    if (options_->log != nullptr) write_log(*options_->log, peer_, head_, status_, sent_size_);
    given_.reset();
    asked_.reset();
    failure_ = nullptr;
    head_->clear();
  }

  bool is_draining() const noexcept { return drain_ != nullptr && drain_->is_draining(); }

  void replace_if_obstructed(response& made) {
    std::optional<response> instead =
        upgrade_obstacle(made, *head_, is_draining() || body_status_ != 0);
    if (instead) made = std::move(*instead);
  }

  void begin_response(const response& made) {
    const request_head& head = *head_;
    status_ = made.status();
    sent_size_ = 0;
    // A body that the handler has not read is read behind the answer, if it was promised.
    const bool waits = head.expects_continue() && !said_continue_ && !body_.is_complete();
    goes_on_ = body_status_ == 0 && head.keeps_alive() && !waits && !is_draining();
    // The next request of a client that could not know that we leave may be on its way, and what
    // nobody will read may be here.
    lingers_ = !goes_on_ && (head.keeps_alive() || !reader_->buffered().empty());
    sends_body_ = head.method() != "HEAD" && !http::has_no_body(made.status());
    const bool is_streamed = made.body_producer() != nullptr;
    is_chunked_ = is_streamed && sends_body_ && head.minor_version() != 0;
    if (is_streamed && sends_body_ && !is_chunked_) goes_on_ = false;
    const response_framing framing{
        goes_on_, is_chunked_, !is_streamed && !http::has_no_body(made.status()), made.body_size()};
    if (wall_now_ == 0) wall_now_ = loop::current().kernel().wall_now();
    head_begin_ = out_->size();
    append_head(*out_, made, head, framing, wall_now_);
    if (made.upgrade_to() == nullptr) return;
    // What follows the request is no request.
    *upgrade_ = made.upgrade_to();
    goes_on_ = false;
    lingers_ = false;
  }

  task<void> send_response(const response& made) {
    begin_response(made);
    bool whole = true;
    if (!sends_body_) {
      // HEAD: the fields are the answer.
    } else if (made.body_file() != nullptr) {
      whole = co_await send_file(*made.body_file());
    } else if (made.body_producer() != nullptr) {
      whole = co_await produce(made);
    } else if (made.body().size() < copy_size_max) {
      append_body(made.body());
    } else {
      whole = co_await send_large(made.body());
    }
    if (!whole) {
      // Of a file goes out what is there of it.
      if (made.body_file() == nullptr) out_->clear();
      goes_on_ = false;
      lingers_ = true;
    }
    if (!whole || body_.is_complete()) co_return;
    bool is_dropped = false;
    if (goes_on_) is_dropped = co_await drop_body();
    if (!is_dropped) {
      goes_on_ = false;
      lingers_ = true;
    }
  }

  /// What is due, and behind it bytes from where they lie: in parts, so that a slow reader of much
  /// has write_timeout for each.
  task<void> send_behind(std::string_view bytes) {
    std::string& out = *out_;
    std::string_view part = bytes.substr(0, part_size_max);
    const const_buffer both[2] = {const_buffer(out), const_buffer(part)};
    co_await write_part(both);
    out.clear();
    for (;;) {
      bytes.remove_prefix(part.size());
      if (bytes.empty()) co_return;
      part = bytes.substr(0, part_size_max);
      const const_buffer next(part);
      co_await write_part(std::span(&next, 1));
    }
  }

  task<bool> send_large(std::string_view body) {
    sent_size_ += body.size();
    bool is_sent = false;
    try {
      co_await send_behind(body);
      is_sent = true;
    } catch (const io_error&) {
      // The client is gone, or does not take it.
    }
    co_return is_sent;
  }

  /// What is due, and a body out of a file. False: the connection ends, for the client is gone or
  /// stands still, or the file was cut; then before the end of the body.
  task<bool> send_file(file_body& body) {
    for (const file_part& part : body.parts()) {
      append_body(part.before);
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
      if (!is_whole) co_return false;
    }
    append_body(body.after());
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
      sent_size_ += sent;
      is_whole = sent == part.size;
    } catch (const io_error&) {
      // The client is gone, or the disk has failed.
    }
    co_return is_whole;
  }
  /// Through the buffer of the answer, piece by piece; the last one is left there.
  task<bool> copy_file(file& source, const file_part& part) {
    for (std::uint64_t done = 0; done != part.size;) {
      const std::size_t before = out_->size();
      out_->resize(before + std::min<std::uint64_t>(part.size - done, file_piece_size));
      const auto room = std::as_writable_bytes(std::span<char>(*out_).subspan(before));
      const auto came = co_await as_result(source.read_at(room, part.offset + done));
      out_->resize(before + came.value_or(0));
      if (!came || *came == 0) co_return false;
      done += *came;
      sent_size_ += *came;
      if (done == part.size) break;
      const bool is_sent = co_await send();
      if (!is_sent) co_return false;
    }
    co_return true;
  }

  task<bool> produce(const response& made) {
    try {
      co_await made.body_producer()(*this);
      if (is_chunked_) out_->append("0\r\n\r\n");
    } catch (...) {
      failure_ = std::current_exception();
    }
    wall_now_ = 0;
    if (failure_ == nullptr) co_return true;
    if (is_lost_) co_return false;
    if (head_begin_ == none) {
      // The reader sees that the body is not whole, for it lacks its end.
      report(*options_, *asked_, failure_);
      co_return false;
    }
    out_->resize(head_begin_);
    const response instead = in_place_of(made, answer_failure(failure_));
    begin_response(instead);
    if (sends_body_) append_body(instead.body());
    co_return true;
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
  task<void> refuse(int status, std::string text) {
    const response made = refusal(status, text);
    goes_on_ = false;
    sent_size_ = 0;
    const response_framing framing{false, false, true, made.body().size()};
    append_head(*out_, made, *head_, framing, loop::current().kernel().wall_now());
    const bool is_request = head_->size() != 0;
    if (!is_request || head_->method() != "HEAD") append_body(made.body());
    if (options_->log != nullptr) {
      write_log(*options_->log, peer_, is_request ? head_ : nullptr, made.status(), sent_size_);
    }
    const bool is_sent = co_await send();
    if (is_sent) co_await linger();
    lingers_ = false;
  }

  /// Ends our direction and reads on for a while: closing with unread bytes would reset the
  /// connection, and the client would lose the answer that is on its way.
  task<void> linger() {
    const auto ended = co_await as_result(stream_->shutdown_write());
    if (!ended) co_return;
    const loop_clock::time_point deadline = loop_clock::now() + options_->linger_timeout;
    for (std::size_t size = reader_->buffered().size(); size < options_->linger_size_max;) {
      const auto came = co_await as_result(with_deadline(deadline, stream_->read_lease()));
      if (!came || came->empty()) co_return;
      size += came->size();
    }
    // Who sends on without looking is held up by full buffers now, and looks: nginx in front of us
    // would pass a reset on as 502.
    co_await sleep_until(deadline);
  }

  Stream* stream_;
  buffered_reader<Stream>* reader_;
  service* service_;
  const session_options* options_;
  endpoint peer_;
  const drain_signal* drain_;
  std::string* out_;
  upgrade_pointer* upgrade_;
  borrowed_head borrowed_;
  request_head* head_;
  // Of the request that is being answered:
  body_decoder body_;
  std::string head_bytes_;
  std::optional<request> asked_;
  std::optional<answer> given_;
  std::exception_ptr failure_;
  std::int64_t wall_now_ = 0;    // read once between two suspensions
  std::size_t taken_size_ = 0;   // of the reader's bytes, which a handler looks at
  std::size_t head_begin_ = 0;   // of the answer in out_; none: it is on its way
  int status_ = 0;               // of the answer
  std::uint64_t sent_size_ = 0;  // of its body
  int body_status_ = 0;          // with which it is answered, once its body could not be read
  bool is_lost_ = false;         // the client
  bool said_continue_ = false;
  bool sends_body_ = true;
  bool is_chunked_ = false;
  // Of the connection, when the answers that are due have been sent:
  bool goes_on_ = true;
  bool lingers_ = false;
};

/// For streams whose server wants to know; see stream_socket::set_idle.
template <byte_stream Stream>
void set_idle(Stream& stream, bool idle) noexcept {
  if constexpr (requires { stream.set_idle(idle); }) stream.set_idle(idle);
}

/// Gives the connection away. No coroutine: what the session held for HTTP is gone when the task
/// begins, but for its frame.
template <byte_stream Stream>
task<void> hand_over(const upgrade_handler& to, Stream& stream, buffered_reader<Stream>& reader,
                     drain_signal* drain) {
  const endpoint peer = peer_of(stream);
  std::string received = reader.take_buffered();
  return to(upgraded(any_stream(std::move(stream)), std::move(received), peer, drain));
}

}  // namespace detail

/// Answers the requests of one connection until either side ends it.
///
/// Errors: none. A reset, a time-out, garbage: the connection ends, after an answer that says why
///   where HTTP has one (400, 408, 413, 414, 417, 431, 501, 505).
/// Draining, with `drain` of serve(): an idle connection ends at once; what has begun is answered
///   with "Connection: close"; an upgraded one is told by its own drain_signal.
/// Upgrades (response::upgrade): the session goes on until the task of the new protocol has ended.
/// Cancellation: at any time; an answer on its way may be cut.
/// Lifetime: `answering` and what `options` points to must outlive the session.
/// Cost: while idle one frame; while requests are answered another, from the cache, for all of them
///   together, and one for each handler that is a task.
template <byte_stream Stream>
task<> session(Stream stream, service& answering, const session_options& options,
               drain_signal* drain = nullptr) {
  buffered_reader<Stream> reader(stream);
  detail::upgrade_pointer upgrade;
  bool goes_on = true;
  while (goes_on) {
    detail::set_idle(stream, true);
    const auto came = co_await as_result(with_timeout(options.idle_timeout, reader.fill()));
    detail::set_idle(stream, false);
    if (!came || *came == 0) co_return;
    goes_on =
        co_await detail::exchange<Stream>::run(stream, reader, answering, options, drain, upgrade);
    if (upgrade != nullptr) {
      co_await detail::hand_over(*upgrade, stream, reader, drain);
      co_return;
    }
    if (drain != nullptr && drain->is_draining()) co_return;
  }
}

/// serve() with http::session: every connection of `listener`, until cancelled, with a drain that
/// answers what has begun. `limits` and `options` are copied; see serve.h and session().
template <class Listener>
task<> serve(Listener& listener, service& answering, session_options options = session_options(),
             serve_limits limits = serve_limits()) {
  const auto handle = [&](typename Listener::stream_type peer, drain_signal& drain) {
    return session(std::move(peer), answering, options, &drain);
  };
  co_await rill::serve(listener, handle, limits);
}

}  // namespace rill::http
