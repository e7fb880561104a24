// What every socket of this library owns: a pooled block with a read slot and a write slot, and the
// awaiters that point into it. This is machinery; users meet tcp.h, unix.h and udp.h.
// Not here: options and addresses of a protocol. Read next: socket.cpp, where the operations
// themselves stand (opcode, kernel version, errors), then runtime/loop.cpp.
#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <rill/net/buffer.h>
#include <rill/net/endpoint.h>
#include <rill/net/shared_bytes.h>
#include <rill/runtime/buffer_pool.h>
#include <rill/runtime/loop.h>
#include <rill/runtime/operation.h>

namespace rill::detail {

class vector_storage;
class datagram_storage;
class shared_send;

/// Bytes that were received and moved out of the loop's buffers.
struct unread_bytes {
  std::vector<std::byte> all;
  std::size_t begin = 0;  ///< what lies before has been read
  const std::byte* data() const noexcept { return all.data() + begin; }
  std::size_t size() const noexcept { return all.size() - begin; }
};

/// The block. Lives from the socket's birth until its last completion, whoever lets go first.
class socket_state {
 public:
  /// Takes over `descriptor`, which is closed if there is no memory (std::bad_alloc).
  static socket_state& make(loop& on, int descriptor);
  /// The same; without memory nullptr, and the descriptor stays the caller's.
  static socket_state* try_make(loop& on, int descriptor) noexcept;
  /// The socket object is gone: withdraws what is in flight, closes, frees. Enters no kernel.
  void abandon() noexcept;
  /// As abandon(), but gives the descriptor and does not close it. -1, and nothing done, while the
  /// kernel holds an operation or bytes have come that nobody has read.
  int try_release() noexcept;

  socket_state(const socket_state&) = delete;
  socket_state& operator=(const socket_state&) = delete;

  loop& owner_loop() const noexcept { return read.owner_loop(); }

  // --- receiving into the loop's buffers ---
  /// Bytes, the end or an error have arrived and were not yet handed out.
  bool has_arrived() const noexcept {
    return arrived_first != none || unread != nullptr || ended || failure != 0 || private_arrived;
  }
  /// Suspends the frame until something arrives; arms the receive if none is in flight.
  void wait_for_stream(promise_base& frame) noexcept;
  void start_streaming() noexcept;
  void stop_streaming() noexcept;
  rill::result<lease> take_lease();
  rill::result<std::size_t> take_bytes(std::span<std::byte> into);
  /// Moves what has arrived into `unread` until that holds at least `size` bytes. False: not yet.
  bool gather(std::size_t size);
  std::size_t unread_size() const noexcept;

  /// "127.0.0.1:40112" of the peer, or else the own address, or else "descriptor 7": whatever the
  /// kernel still knows.
  std::string subject() const;
  [[noreturn]] void throw_read_error(const error& cause) const;
  /// Of what ran in the write slot as `type`: by now the slot may be the one that closes.
  [[noreturn]] void throw_write_error(const operation_type& type) const;
  error write_error(const operation_type& type) const noexcept;
  rill::result<std::size_t> write_result(const operation_type& type) const noexcept {
    if (write.result() < 0) [[unlikely]]
      return tl::unexpected(write_error(type));
    return static_cast<std::size_t>(write.result());
  }

  void receive_completed(int result, unsigned flags) noexcept;
  void private_completed(int result) noexcept;
  void ready_completed(int result) noexcept;
  void large_completed(int result) noexcept;
  /// A write has ended with `result`.
  void write_ended(int result) noexcept;
  /// What a receive says whose `result` is this.
  int unless_lost(int result) const noexcept {
    return result == 0 && write_loss != 0 && !ended ? -write_loss : result;
  }
  /// The oldest buffer that has arrived, as a lease. REQUIRES: there is one.
  lease pop_lease() noexcept;
  void settled() noexcept;

  static const operation_type receive_stream_type;
  static const operation_type receive_type;
  static const operation_type receive_vector_type;
  static const operation_type receive_private_type;
  static const operation_type receive_ready_type;
  static const operation_type receive_large_type;
  static const operation_type send_type;
  static const operation_type send_some_type;
  static const operation_type send_vector_type;
  static const operation_type connect_type;
  static const operation_type close_type;
  static const operation_type poll_type;
  static const operation_type receive_datagrams_type;
  static const operation_type receive_datagram_type;
  static const operation_type private_datagram_type;
  static const operation_type send_datagram_type;

  static constexpr std::uint16_t none = UINT16_MAX;
  static constexpr std::uint16_t large_bit = 0x8000;
  /// A buffer of the pool, by its tag in the list of those that wait.
  struct tagged_buffer {
    unsigned group;
    std::uint16_t id;
  };
  static tagged_buffer untag(std::uint16_t tag) noexcept {
    const bool is_large = (tag & large_bit) != 0;
    return {is_large ? buffer_pool::large_group : buffer_pool::small_group,
            static_cast<std::uint16_t>(tag & ~large_bit)};
  }
  /// The kernel's limit of pieces in one call (UIO_MAXIOV).
  static constexpr std::size_t piece_max = 1024;
  /// One operation moves at most this many bytes; the kernel's own limit is 2 GiB less a page.
  static constexpr std::size_t transfer_max = std::size_t{1} << 30;
  /// See stream_socket::zero_copy_size_min.
  static constexpr std::size_t zero_copy_size_min = 16 * 1024;
  /// A peer that sends faster than its task reads: beyond this many buffers waiting, receiving
  /// pauses until the task has caught up, so that one peer cannot drain the loop's buffers.
  static constexpr unsigned arrived_max = 4;
  /// The same for datagrams, which come one to a buffer.
  static constexpr unsigned datagram_arrived_max = 64;

  operation read;
  operation write;
  ip_endpoint peer;  ///< kept from accept or connect
  bool has_ip_peer = false;
  bool abandoned = false;
  bool closing = false;
  /// Send FIN before closing, so that a peer whose bytes come too late sees the end of the stream
  /// and not a reset (closing with unread bytes resets). Set while a server drains.
  bool finish_before_close : 1 = false;
  bool lingers : 1 = false;  ///< SO_LINGER with a time: the close may take as long
  bool is_adopted : 1 = false;
  bool was_nonblocking : 1 = false;  ///< adopted so, and released so
  /// Of sends without a copy: when they are wanted; that the kernel refuses them here; that it has
  /// copied all the same.
  zero_copy lends_when : 2 = zero_copy::when_useful;
  bool cannot_lend : 1 = false;
  bool lending_copies : 1 = false;
  bool ended = false;            ///< the peer has finished sending
  bool large_messages = false;   ///< which group of buffers to receive into
  bool measured = false;         ///< the first receive has shown which
  bool lined_up = false;         ///< for a large receive: neither armed nor idle
  bool private_arrived = false;  ///< a datagram came while the pool was empty
  std::uint8_t full_count = 0;   ///< full, or small, receives in a row
  /// errno with which a write was told that the connection is lost, or 0. Linux tells that once, to
  /// whoever asks first, and then a read that the stream has ended.
  std::uint8_t write_loss = 0;
  /// Buffers waiting: a list through the pool, each an id with the group in the top bit.
  std::uint16_t arrived_first = none;
  std::uint16_t arrived_last = none;
  std::uint16_t arrived_count = 0;
  std::uint32_t arrived_offset = 0;     ///< bytes of the first one already handed out
  int failure = 0;                      ///< errno that ended the stream, or 0
  socket_state** observer = nullptr;    ///< set to nullptr when the socket is let go
  bool is_idle = false;                 ///< see stream_socket::set_idle
  operation* closer = nullptr;          ///< whoever waits for the end of close()
  std::byte* private_buffer = nullptr;  ///< of a receive while the pool was empty
  std::unique_ptr<unread_bytes> unread;
  shared_send* shared_sends = nullptr;  ///< whose last completion has not come
  std::unique_ptr<vector_storage> vectors;
  std::unique_ptr<datagram_storage> datagrams;  ///< of datagram sockets only

 private:
  socket_state(loop& on, int descriptor) noexcept;
  ~socket_state();
  void append(unsigned group, std::uint16_t id, std::size_t size) noexcept;
  void pop_arrived() noexcept;
  void adapt_buffer_size(unsigned group, std::size_t size) noexcept;
  void start_private() noexcept;
  void received(int result) noexcept;
  void keep_unread(std::span<const std::byte> bytes);
  void drop_arrived() noexcept;
  void close_if_settled() noexcept;
  void closed() noexcept;
};

// What the operation_types of socket.cpp and datagram.cpp share.
inline socket_state& socket_of(const operation& slot) noexcept {
  return *static_cast<socket_state*>(slot.owner);
}
void describe_socket(const operation& slot, std::string& text);
void socket_settled(operation& slot) noexcept;
/// The end of a single-shot operation: the waiter gets whatever the kernel said, see
/// operation::unless_interrupted.
void completed_once(operation& slot, int result, unsigned flags) noexcept;

/// Owns a socket_state. Movable; the state stays where it is.
class socket_handle {
 public:
  socket_handle() noexcept {}
  explicit socket_handle(socket_state& state) noexcept : state_(&state) {}
  socket_handle(socket_handle&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  socket_handle& operator=(socket_handle&& other) noexcept {
    if (this != &other) {
      reset();
      state_ = std::exchange(other.state_, nullptr);
    }
    return *this;
  }
  ~socket_handle() { reset(); }

  void reset() noexcept {
    if (state_ != nullptr) std::exchange(state_, nullptr)->abandon();
  }
  /// See socket_state::try_release.
  int try_release() noexcept {
    const int descriptor = (**this).try_release();
    if (descriptor >= 0) state_ = nullptr;
    return descriptor;
  }
  explicit operator bool() const noexcept { return state_ != nullptr; }
  socket_state& operator*() const noexcept {
    RILL_ASSERT(state_ != nullptr, "a closed or moved-from socket was used");
    return *state_;
  }
  socket_state* operator->() const noexcept { return &**this; }

 private:
  socket_state* state_ = nullptr;
};

/// The common part of awaiters on a socket's slot.
class socket_awaiter {
 public:
  using rill_awaiter = void;
  explicit socket_awaiter(socket_state& socket) noexcept : socket_(&socket) {}

 protected:
  socket_state* socket_;
};

/// read_lease(): the next bytes, lent.
class lease_awaiter : public socket_awaiter {
 public:
  using socket_awaiter::socket_awaiter;
  bool await_ready() const noexcept {
    return socket_->has_arrived() && socket_->owner_loop().may_continue();
  }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> frame) noexcept {
    suspend(frame.promise());
  }
  lease await_resume() {
    rill::result<lease> taken = socket_->take_lease();
    if (!taken) [[unlikely]]
      socket_->throw_read_error(taken.error());
    return std::move(*taken);
  }
  rill::result<lease> take_result() { return socket_->take_lease(); }
  void set_deadline(std::int64_t deadline) noexcept { socket_->read.set_deadline(deadline); }

 private:
  void suspend(promise_base& frame) noexcept;
};

/// read(buffer): the next bytes, in the caller's memory.
class read_awaiter : public socket_awaiter {
 public:
  read_awaiter(socket_state& socket, mutable_buffer into) noexcept
      : socket_awaiter(socket), into_(into) {}
  bool await_ready() const noexcept {
    return (into_.empty() || socket_->has_arrived()) && socket_->owner_loop().may_continue();
  }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> frame) noexcept {
    suspend(frame.promise());
  }
  std::size_t await_resume() {
    const rill::result<std::size_t> taken = take_result();
    if (!taken) [[unlikely]]
      socket_->throw_read_error(taken.error());
    return *taken;
  }
  rill::result<std::size_t> take_result();
  void set_deadline(std::int64_t deadline) noexcept { socket_->read.set_deadline(deadline); }

 private:
  void suspend(promise_base& frame) noexcept;
  mutable_buffer into_;
};

/// Waits until something new has arrived, for gather: what read_exactly and peek are made of.
class gather_awaiter : public socket_awaiter {
 public:
  using socket_awaiter::socket_awaiter;
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> frame) noexcept {
    suspend(frame.promise());
  }
  void await_resume() const noexcept {}

 private:
  void suspend(promise_base& frame) noexcept;
};

/// read(buffers): the next bytes, spread over several pieces of memory.
class read_vector_awaiter : public socket_awaiter {
 public:
  read_vector_awaiter(socket_state& socket, std::span<const mutable_buffer> into) noexcept
      : socket_awaiter(socket), into_(into) {}
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> frame) {
    suspend(frame.promise());
  }
  std::size_t await_resume() {
    const rill::result<std::size_t> taken = take_result();
    if (!taken) [[unlikely]]
      socket_->throw_read_error(taken.error());
    return *taken;
  }
  rill::result<std::size_t> take_result();
  void set_deadline(std::int64_t deadline) noexcept { socket_->read.set_deadline(deadline); }

 private:
  void suspend(promise_base& frame);
  bool has_room() const noexcept;
  std::span<const mutable_buffer> into_;
};

/// write_all(buffers): gathered from several pieces of memory.
class write_vector_awaiter : public socket_awaiter {
 public:
  write_vector_awaiter(socket_state& socket, std::span<const const_buffer> bytes) noexcept
      : socket_awaiter(socket), bytes_(bytes) {}
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> frame) {
    suspend(frame.promise());
  }
  void await_resume() {
    if (socket_->write.result() < 0) [[unlikely]]
      socket_->throw_write_error(socket_state::send_vector_type);
  }
  rill::result<std::size_t> take_result() {
    rill::result<std::size_t> written = socket_->write_result(socket_state::send_vector_type);
    if (written) *written = socket_->write.size;
    return written;
  }
  void set_deadline(std::int64_t deadline) noexcept { socket_->write.set_deadline(deadline); }

 private:
  void suspend(promise_base& frame);
  std::span<const const_buffer> bytes_;
};

/// write_all(buffer), write(buffer), connect: what runs in the write slot.
class write_awaiter : public socket_awaiter {
 public:
  write_awaiter(socket_state& socket, const_buffer bytes, const operation_type& type) noexcept
      : socket_awaiter(socket), bytes_(bytes), type_(&type) {}
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> frame) noexcept {
    suspend(frame.promise());
  }
  std::size_t await_resume() {
    if (socket_->write.result() < 0) [[unlikely]]
      socket_->throw_write_error(*type_);
    return static_cast<std::size_t>(socket_->write.result());
  }
  rill::result<std::size_t> take_result() { return socket_->write_result(*type_); }
  void set_deadline(std::int64_t deadline) noexcept { socket_->write.set_deadline(deadline); }

 protected:
  const_buffer bytes_;

 private:
  void suspend(promise_base& frame) noexcept;
  const operation_type* type_;
};

/// shutdown_write, shutdown_read: shutdown(2), which never waits. ENOTCONN after a reset.
class shutdown_awaiter {
 public:
  using rill_awaiter = void;
  shutdown_awaiter(socket_state& socket, int how) noexcept : socket_(&socket), how_(how) {}
  bool await_ready() noexcept;
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> frame) const noexcept {
    frame.promise().owner_chain->yield(frame.promise());  // it is done; the others' turn
  }
  void await_resume() const;
  rill::result<std::size_t> take_result() const noexcept;
  void set_deadline(std::int64_t) noexcept {}

 private:
  socket_state* socket_;
  int how_;
  int status_ = 0;
};

/// write_all(buffer): all or nothing, so that the size is known, even where no result has room.
class write_all_awaiter : public write_awaiter {
 public:
  write_all_awaiter(socket_state& socket, const_buffer bytes) noexcept
      : write_awaiter(socket, bytes, socket_state::send_type) {}
  std::size_t await_resume() {
    write_awaiter::await_resume();
    return bytes_.size();
  }
  rill::result<std::size_t> take_result() {
    rill::result<std::size_t> written = write_awaiter::take_result();
    if (written) *written = bytes_.size();
    return written;
  }
};

/// close(): withdraws, waits until the kernel has let go, and closes. What close(2) says is not
/// told.
class socket_close_awaiter {
 public:
  using rill_awaiter = void;
  explicit socket_close_awaiter(socket_handle&& socket) noexcept : socket_(std::move(socket)) {}
  ~socket_close_awaiter();
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> frame) noexcept {
    suspend(frame.promise());
  }
  void await_resume() noexcept { state_ = nullptr; }

 private:
  void suspend(promise_base& frame) noexcept;
  socket_handle socket_;
  socket_state* state_ = nullptr;  // being closed; gone when this awaiter resumes
  pooled_operation slot_;
};

/// Descriptors, memory or buffers are short: that is about this machine, not about a peer.
bool is_shortage(const std::error_code& code) noexcept;

/// A failed control call as an exception.
[[noreturn]] void throw_call_error(int negative_errno, const char* operation,
                                   const std::string& subject);
inline int checked(int status, const char* operation, const std::string& subject) {
  if (status < 0) [[unlikely]]
    throw_call_error(status, operation, subject);
  return status;
}

/// A new socket for the family of `of`; SOCK_STREAM and the like in `type`.
int open_socket(loop& on, const endpoint& of, int type);
/// Throws EAFNOSUPPORT unless `to` is an IP address, or the name of a Unix socket or none.
void check_family(const endpoint& to, bool is_ip, const char* operation);
/// What is taken over from outside must be.
enum class adopted_kind { listener, connection, datagrams };
/// Throws "adopt descriptor 7: ..." otherwise: EBADF, ENOTSOCK, EPROTOTYPE (of another type),
/// EAFNOSUPPORT (of another family: `is_ip` means IPv4 and IPv6, else Unix), EINVAL (a connection
/// that listens, a listener that does not).
void check_adopted(loop& on, int descriptor, adopted_kind kind, bool is_ip);
/// The same, and closes it before that. For what is taken over alone.
void check_or_close(loop& on, int descriptor, adopted_kind kind, bool is_ip);
/// Another number for the same socket, which is another's: close-on-exec.
int duplicate(int descriptor, const endpoint& local);
/// True if closing waits for the peer: SO_LINGER with a time.
bool has_linger(loop& on, int descriptor) noexcept;
/// The peer's address, or the own one, or "descriptor 7".
std::string name_of_socket(loop& on, int descriptor);
/// Failures name the socket as above.
void set_option(loop& on, int descriptor, int level, int option, int value, const char* operation);
int get_option(loop& on, int descriptor, int level, int option, const char* operation);
/// Unnamed when the kernel does not know it, or no longer.
endpoint local_endpoint(loop& on, int descriptor);
endpoint peer_endpoint(loop& on, int descriptor);

}  // namespace rill::detail
