// What a handler gives back: status, fields and a body, whole or produced piece by piece.
//   return http::response::text("Hello");
//   co_return http::response(404).set("Cache-Control", "no-store");
// Fields that decide about framing (Content-Length, Transfer-Encoding, Connection) and Date belong
// to the session, which knows them.
// Read next: session.h.
#pragma once

#include <algorithm>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <rill/net/any_stream.h>
#include <rill/net/buffer.h>
#include <rill/protocols/http/request.h>
#include <rill/runtime/file.h>
#include <rill/runtime/task.h>

namespace rill {
class drain_signal;
}

namespace rill::http {

/// Where the producer of a body writes.
class body_writer {
 public:
  /// Completes when the bytes are on their way: a slow reader makes the producer wait. The bytes
  /// must live until then. Errors: io_error of the connection.
  [[nodiscard]] virtual task<void> write(const_buffer bytes) = 0;
  /// Sends what write() may have held back, for a reader that is to see it now.
  [[nodiscard]] virtual task<void> flush() = 0;

 protected:
  ~body_writer() = default;
};

namespace detail {

/// Lines of fields. Few lie in the object itself, for nearly every response has few and a response
/// without an allocation is worth having.
class field_lines {
 public:
  field_lines() noexcept {}
  field_lines(const field_lines& other) : size_(other.size_), many_(other.many_) {
    std::copy_n(other.few_, size_, few_);
  }
  field_lines(field_lines&& other) noexcept : size_(other.size_), many_(std::move(other.many_)) {
    std::copy_n(other.few_, size_, few_);
  }
  field_lines& operator=(field_lines other) noexcept {
    size_ = other.size_;
    many_ = std::move(other.many_);
    std::copy_n(other.few_, size_, few_);
    return *this;
  }

  std::string_view text() const noexcept {
    return many_.empty() ? std::string_view(few_, size_) : std::string_view(many_);
  }
  void append(std::string_view line) { append({line, "\r\n"}); }
  void append(std::string_view name, std::string_view value) {
    append({name, ": ", value, "\r\n"});
  }

 private:
  void append(std::initializer_list<std::string_view> pieces);

  static constexpr std::size_t few_max = 120;

  std::size_t size_ = 0;  // of few_; 0 when the lines lie in many_
  char few_[few_max];
  std::string many_;
};

}  // namespace detail

/// Bytes of a file, and a text that goes before them.
struct file_part {
  file_part(std::uint64_t at, std::uint64_t bytes, std::string text = {})
      : offset(at), size(bytes), before(std::move(text)) {}

  std::uint64_t offset;
  std::uint64_t size;
  std::string before;
};

/// A body out of an open file, which is read while it is sent: what the file has become by then
/// goes out, never more bytes than were announced. When it was cut meanwhile the connection ends
/// before the end of the body, so that the reader can tell; nothing is ever padded.
class file_body {
 public:
  file_body(file source, std::vector<file_part> parts, std::string after = {})
      : source_(std::move(source)), parts_(std::move(parts)), after_(std::move(after)) {}

  file& source() noexcept { return source_; }
  const std::vector<file_part>& parts() const noexcept { return parts_; }
  const std::string& after() const noexcept { return after_; }
  /// Of all of it.
  std::uint64_t size() const noexcept;

 private:
  file source_;
  std::vector<file_part> parts_;
  std::string after_;
};

/// A connection that speaks another protocol from now on.
class upgraded {
 public:
  upgraded(any_stream of, std::string already, const endpoint& client,
           drain_signal* draining) noexcept
      : stream(std::move(of)), received(std::move(already)), peer(client), drain(draining) {}

  any_stream stream;
  /// What had come behind the request already: the first bytes of the new protocol.
  std::string received;
  endpoint peer;
  /// Of the server that the connection belongs to, and outlives it; nullptr: it has none. The
  /// server waits for drain_timeout until the connection has ended, then cuts it.
  drain_signal* drain;
};

/// Goes on with the connection; when the task has ended the connection is closed. The request is
/// gone by then: what is needed of it is captured.
using upgrade_handler = std::function<task<void>(upgraded)>;

/// An answer: status, fields, and a body that is there, on disk, or made while it is sent.
class response {
 public:
  /// Writes the body and returns. An exception, or cancellation, closes the connection in the
  /// middle of the body, so that the reader sees that it is not whole.
  using producer = std::function<task<void>(body_writer&)>;

  /// Without a body.
  explicit response(int status = 200) : status_(status) {}
  response(int status, std::string body, std::string_view type) : status_(status) {
    set_body(std::move(body), type);
  }
  static response text(std::string body) {
    return response(200, std::move(body), "text/plain; charset=utf-8");
  }
  static response html(std::string body) {
    return response(200, std::move(body), "text/html; charset=utf-8");
  }
  /// A body that lives as long as the server: it is not copied.
  static response fixed(std::string_view body, std::string_view type);
  /// `size` bytes of a file from `offset` on. The file belongs to the loop that opened it.
  static response from_file(file source, std::uint64_t offset, std::uint64_t size,
                            std::string_view type);
  /// To be fetched elsewhere: 301, 302, 303, 307 or 308.
  static response redirect(std::string_view location, int status = 302);
  /// Of unknown length: sent in chunks, to a client of HTTP/1.0 until the connection closes.
  static response stream(producer body, std::string_view type);

  /// 101: the connection speaks `protocol` from now on, and belongs to `then` (RFC 9110 section
  /// 7.8). The session answers otherwise where it cannot be: 426 to a request that does not ask for
  /// it, or comes by HTTP/1.0; 400 to one with a body, of which the new protocol could be a part;
  /// 503 while the server drains.
  /// What `then` throws goes where the connection's server reports, as serve_limits::on_error.
  static response upgrade(std::string_view protocol, upgrade_handler then);

  int status() const noexcept { return status_; }
  /// Adds a field, or replaces those of this name. Throws std::invalid_argument for a name that is
  /// no token and for a value with CR, LF, NUL or another control, so that text of strangers cannot
  /// become a field of its own (response splitting), and std::logic_error for the fields that
  /// belong to the session.
  response& set(std::string_view name, std::string_view value) &;
  response&& set(std::string_view name, std::string_view value) && {
    return std::move(set(name, value));
  }
  /// Adds a field beside others of this name, such as Set-Cookie. Throws as set().
  response& add(std::string_view name, std::string_view value) &;
  response&& add(std::string_view name, std::string_view value) && {
    return std::move(add(name, value));
  }
  /// The first value of a field; empty without it.
  std::string_view find(std::string_view name) const noexcept;
  void set_body(std::string body, std::string_view type);
  /// Replaces the body by one that is produced; the fields stay.
  void set_producer(producer body) {
    body_.clear();
    is_fixed_ = false;
    file_ = nullptr;
    producer_ = std::move(body);
  }
  void set_body(file_body body, std::string_view type);

  /// "Name: value" with CRLF, one after the other.
  std::string_view fields() const noexcept { return fields_.text(); }
  std::string_view body() const noexcept { return is_fixed_ ? fixed_ : std::string_view(body_); }
  const producer& body_producer() const noexcept { return producer_; }
  /// nullptr: the connection goes on with HTTP.
  const std::shared_ptr<const upgrade_handler>& upgrade_to() const noexcept { return upgrade_; }
  /// nullptr: the body is no file.
  file_body* body_file() const noexcept { return file_.get(); }
  /// What Content-Length says of a body that is not produced.
  std::uint64_t body_size() const noexcept { return file_ ? file_->size() : body().size(); }

 private:
  int status_;
  bool is_fixed_ = false;
  std::string_view fixed_;
  detail::field_lines fields_;
  std::string body_;
  producer producer_;
  std::shared_ptr<file_body> file_;
  std::shared_ptr<const upgrade_handler> upgrade_;
};

/// Text that stands in a page as it is: with character references for what HTML would read.
std::string escape_html(std::string_view text);

/// What handlers and middleware give: a response, or the task of one, which may take its time. From
/// either it is made without a word. To be awaited for the response.
/// Cost: a response that is there at once is answered without any coroutine frame.
class answer {
 public:
  using rill_awaiter = void;

  answer(response made) noexcept : given_(std::in_place_index<0>, std::move(made)) {}
  answer(task<response> later) noexcept : given_(std::in_place_index<1>, std::move(later)) {}

  bool is_ready() const noexcept { return given_.index() == 0; }
  /// REQUIRES: is_ready().
  response& made() noexcept { return *std::get_if<0>(&given_); }

  /// The same answer after `change(response&)`, for middleware; now or when the task has ended.
  template <class Function>
  answer then(Function change) && {
    if (!is_ready()) return changed(std::move(*this), std::move(change));
    change(made());
    return std::move(*this);
  }

  // co_await std::move(answer), or of what a call gives.
  bool await_ready() const noexcept { return is_ready(); }
  template <class Promise>
  auto await_suspend(std::coroutine_handle<Promise> frame) noexcept {
    running_.emplace(&std::get_if<1>(&given_)->release());
    return running_->await_suspend(frame);
  }
  response await_resume() {
    if (!running_) return std::move(made());
    if (owner_ == nullptr) return running_->await_resume();
    try {
      return running_->await_resume();
    } catch (...) {
      return owner_->answer_failure(std::current_exception());
    }
  }

  /// For routers: what the task throws becomes a response here, and is not thrown.
  void set_owner(detail::request_owner& owner) noexcept { owner_ = &owner; }

  answer(answer&& other) noexcept : given_(std::move(other.given_)), owner_(other.owner_) {}
  answer& operator=(answer&& other) noexcept {
    given_ = std::move(other.given_);
    owner_ = other.owner_;
    return *this;
  }

 private:
  template <class Function>
  static task<response> changed(answer later, Function change) {
    response made = co_await std::move(later);
    change(made);
    co_return made;
  }

  std::variant<response, task<response>> given_;
  std::optional<rill::detail::task_awaiter<response>> running_;
  detail::request_owner* owner_ = nullptr;
};

}  // namespace rill::http
