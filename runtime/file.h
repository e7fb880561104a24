// Files on the ring: open, read and write at an offset, status, sync, close.
//   rill::file log = co_await rill::file::open("server.log", open_mode::write | open_mode::create);
//   co_await log.write_all_at(bytes, 0);
// Not here: sockets (net/). A file to a socket is stream_socket::send_file (net/tcp.h).
// Read next: file.cpp, where opcode, flags and minimum kernel of each operation stand together.
#pragma once

#include <chrono>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <rill/runtime/operation.h>
#include <rill/runtime/task.h>

namespace rill {

class file;

/// How a file is opened; combine with |. Without `write`, files are opened for reading.
enum class open_mode : unsigned {
  read = 1,
  write = 2,        ///< for writing only, unless `read` is given too
  create = 4,       ///< make it if it is not there
  exclusive = 8,    ///< with create: fail with EEXIST if it is there
  truncate = 16,    ///< cut it to nothing
  append = 32,      ///< every write goes to the end, whatever its offset
  directory = 64,   ///< fail with ENOTDIR if it is none
  no_follow = 128,  ///< fail with ELOOP if the last part of the path is a symbolic link
  /// The path is a directory in which a file without a name is made: gone with its last descriptor,
  /// whatever becomes of the process, unless link() has named it. With `write`. EOPNOTSUPP where
  /// the file system cannot, as NFS (O_TMPFILE, Linux 3.11).
  unnamed = 256,
  no_wait = 512  ///< wait for nobody: neither for a FIFO's other side nor for a line's carrier
};
constexpr open_mode operator|(open_mode left, open_mode right) noexcept {
  return static_cast<open_mode>(static_cast<unsigned>(left) | static_cast<unsigned>(right));
}

/// What file::open_below() makes of symbolic links, wherever on the way they are.
enum class link_policy : unsigned char {
  refused,  ///< ELOOP
  below,    ///< followed while they stay below the folder; EXDEV for others, and for absolute ones
  anywhere  ///< followed wherever they lead
};

enum class file_kind : unsigned char {
  regular,
  directory,
  symbolic_link,
  fifo,
  socket,
  character_device,
  block_device,
  other
};

/// What file::stat() tells.
struct file_status {
  std::uint64_t size = 0;  ///< bytes; of a regular file
  std::chrono::sys_time<std::chrono::nanoseconds> modified{};
  std::uint64_t inode = 0;  ///< with `device`: the same file or another one
  std::uint64_t device = 0;
  unsigned permissions = 0;  ///< the bits 07777
  file_kind kind = file_kind::other;
};
static_assert(std::is_trivially_destructible_v<file_status>);

namespace detail {

class file_state;

/// Ends the use of a state: closes its descriptor on the ring, then frees it. Does not wait.
void release(file_state* state) noexcept;

/// What the awaiters of this file have in common: a slot, filled when the operation is called and
/// submitted when it is awaited. Three words.
class file_awaiter {
 public:
  using rill_awaiter = void;

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> frame) noexcept {
    suspend(frame.promise());
  }
  void set_deadline(std::int64_t deadline) noexcept { slot_->set_deadline(deadline); }

 protected:
  file_awaiter(file_state& of, const operation_type& type);
  file_awaiter(file_awaiter&&) noexcept = default;
  file_awaiter& operator=(file_awaiter&&) = delete;
  ~file_awaiter() = default;
  void suspend(promise_base& innermost) noexcept;
  [[noreturn]] void fail(const error& cause) const;

  pooled_operation slot_;
  file_state* state_;
  const operation_type* type_;
};

/// Reading and writing: gives the number of bytes.
class transfer_awaiter final : public file_awaiter {
 public:
  transfer_awaiter(file_state& of, const operation_type& type, void* buffer, std::size_t size,
                   std::uint64_t offset);
  result<std::size_t> take_result() const noexcept { return slot_->take_result(); }
  std::size_t await_resume() const {
    const result<std::size_t> transferred = take_result();
    if (!transferred) fail(transferred.error());
    return *transferred;
  }
};

class sync_awaiter final : public file_awaiter {
 public:
  sync_awaiter(file_state& of, bool data_only);
  result<void> take_result() const noexcept;
  void await_resume() const {
    if (const result<void> done = take_result(); !done) fail(done.error());
  }
};

class stat_awaiter final : public file_awaiter {
 public:
  explicit stat_awaiter(file_state& of);
  stat_awaiter(stat_awaiter&&) noexcept = default;
  ~stat_awaiter();
  result<file_status> take_result() const noexcept;
  file_status await_resume() const {
    const result<file_status> status = take_result();
    if (!status) fail(status.error());
    return *status;
  }
};

/// Owns the file's state until the file is open.
class open_awaiter final : public file_awaiter {
 public:
  open_awaiter(file_state& made, open_mode mode, unsigned permissions);
  open_awaiter(file_state& made, const file_state& folder, link_policy links, open_mode mode,
               unsigned permissions);
  // NOLINTBEGIN(bugprone-use-after-move): only the base part has been moved
  open_awaiter(open_awaiter&& other) noexcept
      : file_awaiter(std::move(other)), refused_(other.refused_) {
    other.state_ = nullptr;
  }
  // NOLINTEND(bugprone-use-after-move)
  ~open_awaiter() {
    if (state_ != nullptr) release(state_);
  }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> frame) noexcept {
    promise_base& mine = frame.promise();
    if (refused_ != 0) {
      if (mine.owner_chain->on().may_continue()) return false;
      mine.owner_chain->yield(mine);
      return true;
    }
    suspend(mine);
    return true;
  }
  result<file> take_result() noexcept;
  file await_resume();

 private:
  int refused_ = 0;  // an errno that is known before the kernel is asked
};

/// Owns the file's state while it is being closed.
class close_file_awaiter final {
 public:
  using rill_awaiter = void;

  explicit close_file_awaiter(file_state* state) noexcept : state_(state) {}
  close_file_awaiter(close_file_awaiter&& other) noexcept
      : state_(std::exchange(other.state_, nullptr)) {}
  close_file_awaiter& operator=(close_file_awaiter&&) = delete;
  ~close_file_awaiter() {
    if (state_ != nullptr) release(state_);
  }
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> frame) noexcept {
    suspend(frame.promise());
  }
  void set_deadline(std::int64_t deadline) noexcept;
  result<void> take_result() const noexcept;
  void await_resume() const;

 private:
  void suspend(promise_base& innermost) noexcept;
  file_state* state_;
};

}  // namespace detail

/// An open file.
///
/// Errors: io_error with the operation and the path: "open /etc/shadow: Permission denied".
/// Cancellation: an operation that has not begun in the kernel is withdrawn; one that a disk is
///   working on ends when the disk has answered. A write may then have happened in part.
/// Buffers: must live until the operation has ended, which a task's own awaits guarantee.
/// Concurrency: any number of operations at once, also on the same range; the kernel orders them
///   as pread(2) and pwrite(2) of several threads.
/// Lifetime: the destructor lets the ring close the descriptor, without waiting and without an
///   error, after the last operation on it has ended; the loop ends after that. A task that uses a
///   file of another's must not begin a new operation when it is gone. close() before the last
///   operation has ended is a programmer's error and aborts.
/// Thread rule: the loop on which it was opened. Cost of an operation: no allocation on a warm
///   loop, no system call of its own; one allocation to open.
class file {
 public:
  /// Opens `path`, relative to the working directory; close-on-exec is set. `permissions` are the
  /// bits of a file that is created, less the process's umask. The path is copied. A path with a
  /// zero byte in it fails with EINVAL. The open of a FIFO may or may not wait for its other side:
  /// io_uring tries without waiting first. IORING_OP_OPENAT, Linux 5.6.
  [[nodiscard]] static detail::open_awaiter open(std::string_view path,
                                                 open_mode mode = open_mode::read,
                                                 unsigned permissions = 0666);

  /// Opens `path` below an open folder, and nothing else whatever the path says and whoever renames
  /// meanwhile: the kernel refuses with EXDEV what would leave the folder by "..", and what is
  /// absolute. Links in /proc that are no paths (ELOOP) are never followed. With
  /// link_policy::anywhere a path with ".." in it is refused at once. EAGAIN: the kernel could not
  /// see whether a ".." of a link stays below, because something was renamed; worth another try.
  /// Errors name the folder's path and this one; otherwise as open().
  /// Lifetime: the folder stays open until the operation has ended. IORING_OP_OPENAT2, Linux 5.6.
  [[nodiscard]] static detail::open_awaiter open_below(const file& folder, std::string_view path,
                                                       link_policy links = link_policy::below,
                                                       open_mode mode = open_mode::read,
                                                       unsigned permissions = 0666);

  file(file&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  file& operator=(file&& other) noexcept;
  ~file() {
    if (state_ != nullptr) detail::release(state_);
  }

  /// Reads at most buffer.size() bytes from `offset` on. 0: the end of the file, or no room in the
  /// buffer. May give fewer bytes than there are. Pipes and terminals have no offsets: it is
  /// ignored. IORING_OP_READ, Linux 5.6.
  [[nodiscard]] detail::transfer_awaiter read_at(std::span<std::byte> buffer, std::uint64_t offset);
  /// Writes bytes at `offset`, perhaps fewer than given. IORING_OP_WRITE, Linux 5.6.
  [[nodiscard]] detail::transfer_awaiter write_at(std::span<const std::byte> bytes,
                                                  std::uint64_t offset);
  /// Fills the buffer. Gives fewer bytes than asked for only at the end of the file.
  [[nodiscard]] task<std::size_t> read_all_at(std::span<std::byte> buffer, std::uint64_t offset);
  /// Writes all of it, or throws: then a part may have been written.
  [[nodiscard]] task<void> write_all_at(std::span<const std::byte> bytes, std::uint64_t offset);

  /// IORING_OP_STATX, Linux 5.6.
  [[nodiscard]] detail::stat_awaiter stat();
  /// Waits until bytes and status are on the disk. IORING_OP_FSYNC, Linux 5.1.
  [[nodiscard]] detail::sync_awaiter sync();
  /// The same for the bytes and what is needed to read them, as fdatasync(2).
  [[nodiscard]] detail::sync_awaiter sync_data();

  /// Gives the file, also one opened as open_mode::unnamed, the name `path`, which must not be
  /// taken and must lie on the same file system. Throws io_error: EEXIST, EXDEV, ENOSPC
  /// (linkat(2)). One system call, made here and now: of the folder, not of the file's bytes.
  void link(const std::string& path);

  /// Closes, and reports what a late write to the disk had to say. The object is empty from the
  /// call on, even if the awaiter is never awaited; then, and when the waiting task is cancelled
  /// or a deadline passes, the descriptor is closed all the same. IORING_OP_CLOSE, Linux 5.6.
  [[nodiscard]] detail::close_file_awaiter close() noexcept;

  bool is_open() const noexcept { return state_ != nullptr; }
  /// REQUIRES: is_open(), as all operations do.
  int descriptor() const noexcept;
  const std::string& path() const noexcept;

 private:
  friend class detail::open_awaiter;
  explicit file(detail::file_state* state) noexcept : state_(state) {}
  detail::file_state& state() const noexcept {
    RILL_ASSERT(state_ != nullptr, "the file is closed");
    return *state_;
  }

  detail::file_state* state_;
};

/// The whole of a file as text; also of files whose size is not known before, as in /proc. Throws
/// io_error: what open and read say, or EFBIG when there are more than `size_max` bytes.
[[nodiscard]] task<std::string> read_file(std::string path, std::size_t size_max);

}  // namespace rill
