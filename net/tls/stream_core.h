// How a tls_stream reads, writes and closes: the state that outlives the handle, the tasks that
// move bytes between the engine and the transport, and the awaiters that run them.
// An operation that cannot complete at once runs its task. Cancelling it drops the task and nothing
// else, and its deadline is that of the transport's: ciphertext that has come is in the engine.
// Machinery: users meet it through stream.h. Read next: engine.h.
#pragma once

#include <cerrno>
#include <chrono>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <rill/net/buffer.h>
#include <rill/net/stream.h>
#include <rill/net/tls/engine.h>
#include <rill/runtime/buffer_pool.h>
#include <rill/runtime/loop.h>
#include <rill/runtime/operation.h>
#include <rill/runtime/task.h>
#include <rill/runtime/timeout.h>

namespace rill::tls::detail {

using rill::detail::promise_base;
using rill::detail::transfer_result;

inline constexpr std::string_view no_kernel_tls =
    "the ring owns the socket, and OpenSSL sets kTLS up only on sockets that it owns itself";

/// What a peer that has stopped reading may cost a close, and one that was refused its handshake.
inline constexpr std::chrono::seconds farewell_timeout{1};
/// What a refused peer may have sent meanwhile; more is cut off.
inline constexpr std::size_t farewell_size_max = 64 * 1024;

inline constexpr loop_clock::time_point endless = loop_clock::time_point::max();

/// The part of a connection that does not depend on its transport.
class core_base {
 public:
  core_base(const client_context& context, std::string_view host)
      : on(&loop::current()), engine(context, host, on->kernel()) {}
  explicit core_base(const server_context& context)
      : on(&loop::current()), engine(context, on->kernel()) {}

  /// A read completes at once.
  bool can_read() noexcept;
  /// What the transport's read has brought. False: nothing, within a deadline that may pass.
  bool received(result<lease> came, bool may_time_out) noexcept;
  result<std::size_t> read(mutable_buffer into);
  result<lease> read_lease();

  /// Why nothing can be written any more.
  std::optional<error> write_obstacle() const noexcept;
  /// A write was withdrawn half-way, or the transport has refused it.
  void break_writing(const error& why) noexcept {
    if (!write_failure) write_failure = why;
  }

  loop* on;
  tls::detail::engine engine;
  lease input;  // what the engine works on
  std::optional<error> read_failure;
  std::optional<error> write_failure;
  bool is_reading = false;
  bool is_writing = false;
  bool is_closed = false;
  bool has_shut_down = false;  // close_notify was sent

 private:
  error failure(const char* operation) const noexcept;
};

template <class Stream>
class core final : public core_base {
 public:
  core(Stream&& below, const client_context& context, const std::string& host)
      : core_base(context, host), transport(std::move(below)) {}
  core(Stream&& below, const server_context& context)
      : core_base(context), transport(std::move(below)) {}

  void close_now() noexcept {
    is_closed = true;
    transport.reset();
  }
  /// Whom errors are about.
  std::string name() const {
    if (!engine.given_host().empty()) return std::string(engine.given_host());
    if constexpr (requires { transport->peer().to_string(); }) {
      if (transport && transport->is_open()) return transport->peer().to_string();
    }
    return {};
  }

  std::optional<Stream> transport;
};

// ---------------------------------------------------------------- tasks

/// A read that is under way.
class reading_mark {
 public:
  explicit reading_mark(core_base& of) noexcept : of_(&of) { of.is_reading = true; }
  reading_mark(const reading_mark&) = delete;
  reading_mark& operator=(const reading_mark&) = delete;
  ~reading_mark() { of_->is_reading = false; }

 private:
  core_base* of_;
};

/// A write that is under way. One that is given up half-way has broken the stream.
class writing_mark {
 public:
  explicit writing_mark(core_base& of) noexcept : of_(&of) { of.is_writing = true; }
  writing_mark(const writing_mark&) = delete;
  writing_mark& operator=(const writing_mark&) = delete;
  ~writing_mark() {
    of_->is_writing = false;
    if (!is_done_) of_->break_writing(error::from_errno(ECANCELED, "write"));
  }
  void done() noexcept { is_done_ = true; }

 private:
  core_base* of_;
  bool is_done_ = false;
};

inline loop_clock::time_point farewell_end() noexcept {
  return loop_clock::after(loop_clock::now(), farewell_timeout);
}

/// Sends what the engine has made; what goes wrong is in write_failure.
template <class Stream>
task<> flush(core<Stream>& of, loop_clock::time_point deadline = endless) {
  std::vector<std::byte> ciphertext = std::exchange(of.engine.output(), {});
  if (ciphertext.empty()) co_return;
  const const_buffer bytes(ciphertext);
  const auto sent = co_await as_result(with_deadline(deadline, of.transport->write_all(bytes)));
  if (!sent) of.break_writing(error(sent.error().code(), "write", sent.error().is_timeout()));
  engine::keep_memory(std::move(ciphertext));
}

/// Made here, for what is made in a coroutine stays in its frame, each step of it, and an idle
/// connection holds that of fill().
template <class Stream>
auto next_ciphertext(core<Stream>& of, loop_clock::time_point deadline) {
  return as_result(with_deadline(deadline, of.transport->read_lease()));
}

/// Until a read completes at once, or has met its deadline.
template <class Stream>
task<> fill(core<Stream>& of, loop_clock::time_point deadline) {
  const reading_mark mark(of);
  while (!of.can_read()) {
    if (!of.received(co_await next_ciphertext(of, deadline), deadline != endless)) co_return;
  }
  // What has broken the connection is told the peer, unless a writer is in the middle of a record.
  if (!of.engine.failure() || of.is_writing || of.is_closed || of.write_failure) co_return;
  co_await flush(of, std::min(deadline, farewell_end()));
}

template <class Stream>
task<> send_pieces(core<Stream>& of, std::span<const const_buffer> pieces,
                   loop_clock::time_point deadline) {
  writing_mark mark(of);
  piece_cursor from(pieces);
  while (!of.write_obstacle()) {
    of.engine.encrypt(from);
    if (of.engine.output().empty()) break;
    co_await flush(of, deadline);
  }
  mark.done();
}

template <class Stream>
task<> shut_down(core<Stream>& of, loop_clock::time_point deadline) {
  writing_mark mark(of);
  if (!of.write_obstacle()) {
    of.engine.close_notify();
    of.has_shut_down = true;
    co_await flush(of, deadline);
    if (!of.is_closed && !of.write_failure) {
      const auto shut = co_await as_result(with_deadline(deadline, of.transport->shutdown_write()));
      if (!shut) of.break_writing(shut.error());
    }
  }
  mark.done();
}

template <class Stream>
task<> close_core(core<Stream>& of) {
  if (!of.is_writing && !of.write_failure) {
    if (!of.has_shut_down) of.engine.close_notify();
    co_await flush(of, farewell_end());  // or the alert of a read that did not have to wait
  }
  of.is_closed = true;
  co_await of.transport->close();
  of.transport.reset();
}

/// A peer that was refused may still be sending, and a connection that is closed over unread bytes
/// is reset, which can overtake the alert: reads on until the peer has seen it.
template <class Stream>
task<> linger(core<Stream>& of) {
  const auto until = farewell_end();
  const auto shut = co_await as_result(of.transport->shutdown_write());
  std::size_t size = 0;
  while (shut && size < farewell_size_max) {
    const auto came = co_await as_result(with_deadline(until, of.transport->read_lease()));
    if (!came || came->empty()) break;
    size += came->size();
  }
}

template <class Stream>
task<> shake_hands(core<Stream>& of) {
  constexpr const char* operation = "TLS handshake";
  for (;;) {
    of.on->submit_now();  // a step may take a millisecond, for which nobody else's bytes need wait
    const engine::progress now = of.engine.handshake();
    const bool has_alert = now == engine::progress::failed && !of.engine.output().empty();
    if (!of.engine.may_answer_later()) co_await flush(of);
    if (now == engine::progress::failed) {
      if (has_alert && !of.write_failure) co_await linger(of);
      throw io_error(of.engine.failure(), operation, of.name());
    }
    if (now == engine::progress::done && !of.write_failure) co_return;
    // A peer that takes no more may have said why before: the alert is worth more than EPIPE.
    const auto limit = of.write_failure ? farewell_end() : endless;
    result<lease> came = co_await as_result(with_deadline(limit, of.transport->read_lease()));
    if (!came || came->empty()) {
      std::error_code why =
          came ? make_error_code(stream_error::unexpected_end) : came.error().code();
      if (of.write_failure) why = of.write_failure->code();
      throw io_error(why, operation, of.name());
    }
    of.received(std::move(came), false);
  }
}

template <class Stream>
task<> handshake_within(std::chrono::nanoseconds limit, core<Stream>& of) {
  try {
    co_await with_timeout(limit, shake_hands(of));
  } catch (const timeout_error&) {
    if (of.engine.failure()) throw io_error(of.engine.failure(), "TLS handshake", of.name());
    throw timeout_error("TLS handshake", of.name());
  }
}

// ---------------------------------------------------------------- awaiters

/// Runs one of the tasks above as a part of the chain that awaits it. Small, for the frames of idle
/// connections hold several of these, one in each awaiter around it.
template <class Stream>
class core_awaiter {
 public:
  using rill_awaiter = void;

  explicit core_awaiter(std::shared_ptr<core<Stream>> of) noexcept : core_(std::move(of)) {}
  /// Before it is awaited only.
  core_awaiter(core_awaiter&& other) noexcept
      : core_(std::move(other.core_)), deadline_(other.deadline_) {}

  void set_deadline(std::int64_t deadline) noexcept {
    deadline_ = loop_clock::time_point(std::chrono::nanoseconds(deadline));
  }

 protected:
  ~core_awaiter() = default;
  template <class Promise>
  transfer_result run(std::coroutine_handle<Promise> awaiting, task<> inner) noexcept {
    return running_.emplace(&inner.release()).await_suspend(awaiting);
  }
  /// Rethrows what the task has thrown.
  void finish() {
    if (running_) running_->await_resume();
  }

  std::shared_ptr<core<Stream>> core_;
  loop_clock::time_point deadline_ = endless;

 private:
  std::optional<rill::detail::task_awaiter<void>> running_;
};

/// What read() and read_lease() share.
template <class Stream>
class reading_awaiter : public core_awaiter<Stream> {
 public:
  explicit reading_awaiter(const std::shared_ptr<core<Stream>>& of, bool wants_nothing) noexcept
      : core_awaiter<Stream>(of), wants_nothing_(wants_nothing) {}

  bool await_ready() noexcept { return can_end() && this->core_->on->may_continue(); }
  template <class Promise>
  transfer_result await_suspend(std::coroutine_handle<Promise> frame) {
    if (!can_end()) return this->run(frame, fill(*this->core_, this->deadline_));
    promise_base& awaiting = frame.promise();
    awaiting.owner_chain->yield(awaiting);
    return rill::detail::transfer_to_loop();
  }

 protected:
  reading_awaiter(reading_awaiter&&) noexcept = default;
  ~reading_awaiter() = default;
  /// False: the deadline has passed. Rethrows what the task has thrown.
  bool has_completed() {
    this->finish();
    return can_end();
  }

 private:
  bool can_end() noexcept {
    RILL_ASSERT(!this->core_->is_reading,
                "two operations of one kind at once on one object (two reads of one stream, say)");
    return wants_nothing_ || this->core_->can_read();
  }

  bool wants_nothing_;
};

template <class Stream>
class read_awaiter final : public reading_awaiter<Stream> {
 public:
  read_awaiter(const std::shared_ptr<core<Stream>>& of, mutable_buffer into) noexcept
      : reading_awaiter<Stream>(of, into.empty()), into_(into) {}

  result<std::size_t> take_result() {
    if (!this->has_completed()) return tl::unexpected(error::timed_out("read"));
    return this->core_->read(into_);
  }
  std::size_t await_resume() {
    const result<std::size_t> taken = take_result();
    if (!taken) throw_error(taken.error(), this->core_->name());
    return *taken;
  }

 private:
  mutable_buffer into_;
};

template <class Stream>
class lease_awaiter final : public reading_awaiter<Stream> {
 public:
  explicit lease_awaiter(const std::shared_ptr<core<Stream>>& of) noexcept
      : reading_awaiter<Stream>(of, false) {}

  result<lease> take_result() {
    if (!this->has_completed()) return tl::unexpected(error::timed_out("read"));
    return this->core_->read_lease();
  }
  lease await_resume() {
    result<lease> taken = take_result();
    if (!taken) throw_error(taken.error(), this->core_->name());
    return std::move(*taken);
  }
};

/// What write_all() and shutdown_write() share.
template <class Stream>
class writing_awaiter : public core_awaiter<Stream> {
 public:
  explicit writing_awaiter(const std::shared_ptr<core<Stream>>& of) noexcept
      : core_awaiter<Stream>(of) {}

  bool await_ready() const noexcept {
    RILL_ASSERT(!this->core_->is_writing,
                "two operations of one kind at once on one object (two writes of one stream, say)");
    return false;
  }

 protected:
  writing_awaiter(writing_awaiter&&) noexcept = default;
  ~writing_awaiter() = default;
};

template <class Stream>
class write_awaiter final : public writing_awaiter<Stream> {
 public:
  write_awaiter(const std::shared_ptr<core<Stream>>& of, const_buffer bytes) noexcept
      : writing_awaiter<Stream>(of), single_(bytes), is_single_(true) {}
  write_awaiter(const std::shared_ptr<core<Stream>>& of,
                std::span<const const_buffer> pieces) noexcept
      : writing_awaiter<Stream>(of), pieces_(pieces) {}

  template <class Promise>
  transfer_result await_suspend(std::coroutine_handle<Promise> frame) {
    if (is_single_) pieces_ = std::span<const const_buffer>(&single_, 1);
    return this->run(frame, send_pieces(*this->core_, pieces_, this->deadline_));
  }
  result<std::size_t> take_result() {
    this->finish();
    if (const std::optional<error> why = this->core_->write_obstacle()) {
      return tl::unexpected(*why);
    }
    std::size_t size = 0;
    for (const const_buffer& piece : pieces_) size += piece.size();
    return size;
  }
  std::size_t await_resume() {
    const result<std::size_t> sent = take_result();
    if (!sent) throw_error(sent.error(), this->core_->name());
    return *sent;
  }

 private:
  const_buffer single_;
  std::span<const const_buffer> pieces_;
  bool is_single_ = false;
};

template <class Stream>
class shutdown_awaiter final : public writing_awaiter<Stream> {
 public:
  explicit shutdown_awaiter(const std::shared_ptr<core<Stream>>& of) noexcept
      : writing_awaiter<Stream>(of) {}

  template <class Promise>
  transfer_result await_suspend(std::coroutine_handle<Promise> frame) {
    return this->run(frame, shut_down(*this->core_, this->deadline_));
  }
  result<std::size_t> take_result() {
    this->finish();
    const std::optional<error> why = this->core_->write_obstacle();
    if (why && why->code() != std::errc::broken_pipe) return tl::unexpected(*why);
    return 0;
  }
  void await_resume() {
    const result<std::size_t> done = take_result();
    if (!done) throw_error(done.error(), this->core_->name());
  }
};

template <class Stream>
class close_awaiter final : public core_awaiter<Stream> {
 public:
  explicit close_awaiter(std::shared_ptr<core<Stream>>&& of) noexcept
      : core_awaiter<Stream>(std::move(of)) {}
  close_awaiter(close_awaiter&&) noexcept = default;
  ~close_awaiter() {
    if (this->core_ != nullptr) this->core_->close_now();
  }

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  transfer_result await_suspend(std::coroutine_handle<Promise> frame) {
    if (this->core_ != nullptr) return this->run(frame, close_core(*this->core_));
    promise_base& awaiting = frame.promise();
    awaiting.owner_chain->yield(awaiting);
    return rill::detail::transfer_to_loop();
  }
  void await_resume() { this->finish(); }
};

}  // namespace rill::tls::detail
