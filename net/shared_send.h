// write_all(shared_bytes): sends whose bytes the kernel reads where they are. The kernel answers
// twice, first that it has taken the bytes over, which is what the task waits for, then that it
// needs their memory no more, which may be as late as the peer's acknowledgement. In between, and
// after the stream itself is gone, a block of its own holds a reference to the bytes.
// This is machinery; users meet tcp.h. Read next: shared_send.cpp.
#pragma once

#include <coroutine>
#include <cstddef>

#include <rill/net/shared_bytes.h>
#include <rill/net/socket.h>
#include <rill/runtime/loop.h>
#include <rill/runtime/operation.h>

namespace rill::detail {

/// One send without a copy: what the kernel's completions name. Lives until the last of them,
/// whoever lets go first: the task, the stream, or, at its end, the loop.
class shared_send final : public lent_memory {
 public:
  /// Sends `bytes` for the socket's write slot, on which a task waits. Without memory for the
  /// block: by an ordinary send.
  static void start(socket_state& socket, const shared_bytes& bytes) noexcept;
  /// The socket is gone: those that it has started have nobody to tell.
  static void forget(socket_state& socket) noexcept;

  void loop_ended(bool is_read) noexcept override;

 private:
  static const operation_type type;

  shared_send(socket_state& socket, const shared_bytes& bytes) noexcept;
  ~shared_send();
  void completed(int result, unsigned flags) noexcept;
  void handed_over(int result) noexcept;
  void free() noexcept;

  operation slot_;
  shared_bytes bytes_;
  socket_state* socket_;  // nullptr when it is gone
  shared_send* previous_ = nullptr;
  shared_send* next_ = nullptr;
  bool has_sent_ = false;
};

/// write_all(shared_bytes): holds a reference too, for ordinary sends and what they go on with.
class write_shared_awaiter : public socket_awaiter {
 public:
  write_shared_awaiter(socket_state& socket, shared_bytes&& bytes) noexcept
      : socket_awaiter(socket), bytes_(std::move(bytes)) {}
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> frame) noexcept {
    suspend(frame.promise());
  }
  std::size_t await_resume() {
    if (socket_->write.result() < 0) [[unlikely]]
      socket_->throw_write_error(socket_state::send_type);
    return bytes_.size();
  }
  rill::result<std::size_t> take_result() {
    rill::result<std::size_t> written = socket_->write_result(socket_state::send_type);
    if (written) *written = bytes_.size();
    return written;
  }
  void set_deadline(std::int64_t deadline) noexcept { socket_->write.set_deadline(deadline); }

 private:
  void suspend(promise_base& frame) noexcept;
  shared_bytes bytes_;
};

}  // namespace rill::detail
