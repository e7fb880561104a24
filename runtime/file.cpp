// File operations: what each asks of the ring, and the life of an open file. See file.h.
#include <rill/runtime/file.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cerrno>
#include <new>

#include <rill/runtime/frame_cache.h>
#include <rill/runtime/loop.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/uring_abi.h>

namespace rill {
namespace detail {

/// A file's descriptor, its path for errors, and the slot of its close. Stays where it is while
/// the `file` moves, and lives on until the ring has closed the descriptor.
class file_state final : public loop_object {
 public:
  file_state(loop& on, std::string_view of) : path(of), close_slot(on, this) {}
  void describe(std::string& text) const override {
    text += "file " + path + " (descriptor " + std::to_string(descriptor) + ')';
  }

  static void* operator new(std::size_t size) { return allocate_frame(size); }
  static void operator delete(void* memory, std::size_t size) noexcept { free_frame(memory, size); }

  std::string path;
  operation close_slot;
  open_how how{};  // of open_below, which the kernel reads when it takes the SQE
  int descriptor = -1;
  unsigned in_flight = 0;  // operations other than close
  bool released = false;   // nobody holds it: close it after its last operation, then free it
};

namespace {

// The most that one read or write transfers, MAX_RW_COUNT of the kernel (read(2), Notes); the
// SQE's length would hold little more.
constexpr std::size_t transfer_size_max = 0x7ffff000;

file_state& state_of(const operation& slot) noexcept {
  return *static_cast<file_state*>(slot.owner);
}

void close_released(file_state& state) noexcept;

void complete(operation& slot, int result, unsigned) noexcept {
  file_state& state = state_of(slot);
  if (--state.in_flight == 0 && state.released) close_released(state);
  slot.wake(slot.unless_interrupted(result));
}

void describe(const operation& slot, std::string& text) {
  const file_state& state = state_of(slot);
  text += ' ' + state.path;
  if (state.descriptor >= 0) text += " (descriptor " + std::to_string(state.descriptor) + ')';
}

// Each operation: opcode, flags, least kernel; errors are passed on as they are.

// IORING_OP_OPENAT, Linux 5.6. ENOENT, EACCES, EMFILE ... (open(2)).
void prepare_open(operation& slot, io_uring_sqe& sqe) noexcept {
  ::io_uring_prep_openat(&sqe, AT_FDCWD, static_cast<const char*>(slot.buffer),
                         static_cast<int>(slot.argument), static_cast<mode_t>(slot.size));
}
void complete_open(operation& slot, int result, unsigned flags) noexcept {
  if (result >= 0) {
    state_of(slot).descriptor = result;
    slot.owner_loop().object_opened(state_of(slot));
    // Only the open was not to wait: where a file system cannot read without waiting, the ring
    // would answer every read of such a descriptor with EAGAIN.
    if ((slot.argument & O_NONBLOCK) != 0) slot.owner_loop().kernel().adopt(result);
  }
  complete(slot, result, flags);
}
constexpr operation_type open_type{"open", prepare_open, complete_open, describe};

// IORING_OP_OPENAT2, Linux 5.6. EXDEV, ELOOP, EAGAIN (openat2(2)), and those of open.
void prepare_open_below(operation& slot, io_uring_sqe& sqe) noexcept {
  ::io_uring_prep_openat2(&sqe, slot.descriptor, static_cast<const char*>(slot.buffer),
                          &state_of(slot).how);
}
constexpr operation_type open_below_type{"open", prepare_open_below, complete_open, describe};

// IORING_OP_READ, Linux 5.6. EISDIR, EIO (pread(2)).
void prepare_read(operation& slot, io_uring_sqe& sqe) noexcept {
  ::io_uring_prep_read(&sqe, slot.descriptor, slot.buffer, static_cast<unsigned>(slot.size),
                       slot.offset);
}
constexpr operation_type read_type{"read", prepare_read, complete, describe};

// IORING_OP_WRITE, Linux 5.6. ENOSPC, EDQUOT, EFBIG, EIO (pwrite(2)).
void prepare_write(operation& slot, io_uring_sqe& sqe) noexcept {
  ::io_uring_prep_write(&sqe, slot.descriptor, slot.buffer, static_cast<unsigned>(slot.size),
                        slot.offset);
}
constexpr operation_type write_type{"write", prepare_write, complete, describe};

// IORING_OP_FSYNC, Linux 5.1, IORING_FSYNC_DATASYNC in `argument`. EIO, ENOSPC; EINVAL for what
// has no disk below it (fsync(2)).
void prepare_sync(operation& slot, io_uring_sqe& sqe) noexcept {
  ::io_uring_prep_fsync(&sqe, slot.descriptor, slot.argument);
}
constexpr operation_type sync_type{"sync", prepare_sync, complete, describe};

// IORING_OP_STATX, Linux 5.6, of the descriptor itself: AT_EMPTY_PATH (statx(2)).
void prepare_stat(operation& slot, io_uring_sqe& sqe) noexcept {
  ::io_uring_prep_statx(&sqe, slot.descriptor, "", AT_EMPTY_PATH, STATX_BASIC_STATS,
                        static_cast<struct statx*>(slot.buffer));
}
constexpr operation_type stat_type{"stat", prepare_stat, complete, describe};

// IORING_OP_CLOSE, Linux 5.6. EIO, ENOSPC, EDQUOT of a network's disk; the descriptor is gone in
// any case (close(2)). Never cancelled: a waiter that leaves does not keep the descriptor open.
void prepare_close(operation& slot, io_uring_sqe& sqe) noexcept {
  ::io_uring_prep_close(&sqe, state_of(slot).descriptor);
}
void complete_close(operation& slot, int result, unsigned) noexcept {
  file_state& state = state_of(slot);
  state.descriptor = -1;
  slot.owner_loop().object_closed(state);
  slot.wake(result);
  if (state.released) delete &state;
}
constexpr operation_type close_type{"close", prepare_close, complete_close, describe, true};

/// A file was destroyed before the operations on it had been withdrawn, as happens when a nursery
/// is cancelled whose body owns the file: this was the last. The state stays until the ring has
/// closed, so whoever is resumed in this turn still finds the path.
void close_released(file_state& state) noexcept { state.close_slot.submit(close_type); }

file_kind kind_of(unsigned mode) noexcept {
  switch (mode & S_IFMT) {
    case S_IFREG:
      return file_kind::regular;
    case S_IFDIR:
      return file_kind::directory;
    case S_IFLNK:
      return file_kind::symbolic_link;
    case S_IFIFO:
      return file_kind::fifo;
    case S_IFSOCK:
      return file_kind::socket;
    case S_IFCHR:
      return file_kind::character_device;
    case S_IFBLK:
      return file_kind::block_device;
    default:
      return file_kind::other;
  }
}

unsigned open_flags(open_mode mode) noexcept {
  const auto has = [mode](open_mode bit) {
    return (static_cast<unsigned>(mode) & static_cast<unsigned>(bit)) != 0;
  };
  int flags = O_CLOEXEC | O_NOCTTY;
  if (has(open_mode::write) || has(open_mode::append)) {
    flags |= has(open_mode::read) ? O_RDWR : O_WRONLY;
  }
  if (has(open_mode::create)) flags |= O_CREAT;
  if (has(open_mode::exclusive)) flags |= O_EXCL;
  if (has(open_mode::truncate)) flags |= O_TRUNC;
  if (has(open_mode::append)) flags |= O_APPEND;
  if (has(open_mode::directory)) flags |= O_DIRECTORY;
  if (has(open_mode::no_follow)) flags |= O_NOFOLLOW;
  if (has(open_mode::unnamed)) flags |= O_TMPFILE;
  if (has(open_mode::no_wait)) flags |= O_NONBLOCK;
  return static_cast<unsigned>(flags);
}

std::uint64_t resolve_flags(link_policy links) noexcept {
  // Of itself RESOLVE_BENEATH need not refuse magic links for ever (openat2(2)).
  constexpr std::uint64_t beneath = RESOLVE_NO_MAGICLINKS | RESOLVE_BENEATH;
  switch (links) {
    case link_policy::refused:
      return beneath | RESOLVE_NO_SYMLINKS;
    case link_policy::below:
      return beneath;
    default:
      return RESOLVE_NO_MAGICLINKS;
  }
}

/// Absolute, or with a ".." on the way.
bool may_leave(std::string_view path) noexcept {
  if (path.starts_with('/')) return true;
  for (std::size_t at = path.find(".."); at != path.npos; at = path.find("..", at + 1)) {
    const bool begins = at == 0 || path[at - 1] == '/';
    if (begins && (at + 2 == path.size() || path[at + 2] == '/')) return true;
  }
  return false;
}

result<void> without_value(const result<std::size_t>& outcome) noexcept {
  if (!outcome) return tl::unexpected(outcome.error());
  return {};
}

}  // namespace

void release(file_state* state) noexcept {
  state->released = true;
  if (state->in_flight != 0 || state->close_slot.in_flight()) return;
  if (state->descriptor < 0) {
    delete state;
  } else {
    close_released(*state);
  }
}

file_awaiter::file_awaiter(file_state& of, const operation_type& type) : state_(&of), type_(&type) {
  operation& slot = slot_.acquire(of.close_slot.owner_loop(), &of);
  slot.descriptor = of.descriptor;
}

void file_awaiter::suspend(promise_base& innermost) noexcept {
  RILL_ASSERT(&innermost.owner_chain->owner_loop() == &slot_->owner_loop(),
              "a file was used on another loop than its own");
  if (!slot_->wait(innermost, *type_)) return;
  ++state_->in_flight;
  slot_->submit(*type_);
}

void file_awaiter::fail(const error& cause) const { throw_error(cause, state_->path); }

transfer_awaiter::transfer_awaiter(file_state& of, const operation_type& type, void* buffer,
                                   std::size_t size, std::uint64_t offset)
    : file_awaiter(of, type) {
  slot_->buffer = buffer;
  slot_->size = std::min(size, transfer_size_max);
  slot_->offset = offset;
}

sync_awaiter::sync_awaiter(file_state& of, bool data_only) : file_awaiter(of, sync_type) {
  slot_->argument = data_only ? IORING_FSYNC_DATASYNC : 0;
}

result<void> sync_awaiter::take_result() const noexcept {
  return without_value(slot_->take_result());
}

stat_awaiter::stat_awaiter(file_state& of) : file_awaiter(of, stat_type) {
  slot_->buffer = allocate_frame(sizeof(struct statx));
}

stat_awaiter::~stat_awaiter() {
  if (slot_) free_frame(slot_->buffer, sizeof(struct statx));
}

result<file_status> stat_awaiter::take_result() const noexcept {
  if (const result<std::size_t> outcome = slot_->take_result(); !outcome) {
    return tl::unexpected(outcome.error());
  }
  const auto& from = *static_cast<const struct statx*>(slot_->buffer);
  file_status status;
  status.size = from.stx_size;
  status.modified = std::chrono::sys_time<std::chrono::nanoseconds>(
      std::chrono::seconds(from.stx_mtime.tv_sec) +
      std::chrono::nanoseconds(from.stx_mtime.tv_nsec));
  status.inode = from.stx_ino;
  status.device = makedev(from.stx_dev_major, from.stx_dev_minor);
  status.permissions = from.stx_mode & 07777U;
  status.kind = kind_of(from.stx_mode);
  return status;
}

open_awaiter::open_awaiter(file_state& made, open_mode mode, unsigned permissions)
    : file_awaiter(made, open_type) {
  slot_->buffer = made.path.data();
  slot_->argument = open_flags(mode);
  slot_->size = permissions;
  if (made.path.find('\0') != std::string::npos) refused_ = EINVAL;
}

open_awaiter::open_awaiter(file_state& made, const file_state& folder, link_policy links,
                           open_mode mode, unsigned permissions)
    : file_awaiter(made, open_below_type) {
  char* const name = made.path.data() + folder.path.size() + 1;
  made.how.flags = open_flags(mode);
  if ((made.how.flags & O_CREAT) != 0) made.how.mode = permissions;  // EINVAL without
  made.how.resolve = resolve_flags(links);
  slot_->descriptor = folder.descriptor;
  slot_->buffer = name;
  slot_->argument = static_cast<unsigned>(made.how.flags);
  if (made.path.find('\0') != std::string::npos) refused_ = EINVAL;
  if (links == link_policy::anywhere && may_leave(name)) refused_ = EXDEV;
}

result<file> open_awaiter::take_result() noexcept {
  if (refused_ != 0) return tl::unexpected(error::from_errno(refused_, open_type.name));
  if (const result<std::size_t> outcome = slot_->take_result(); !outcome) {
    return tl::unexpected(outcome.error());
  }
  return file(std::exchange(state_, nullptr));
}

file open_awaiter::await_resume() {
  result<file> opened = take_result();
  if (!opened) fail(opened.error());
  return std::move(*opened);
}

void close_file_awaiter::suspend(promise_base& innermost) noexcept {
  state_->close_slot.start(innermost, close_type);
}

void close_file_awaiter::set_deadline(std::int64_t deadline) noexcept {
  state_->close_slot.set_deadline(deadline);
}

result<void> close_file_awaiter::take_result() const noexcept {
  return without_value(state_->close_slot.take_result());
}

void close_file_awaiter::await_resume() const {
  if (const result<void> done = take_result(); !done) throw_error(done.error(), state_->path);
}

}  // namespace detail

detail::open_awaiter file::open(std::string_view path, open_mode mode, unsigned permissions) {
  auto* const made = new detail::file_state(loop::current(), path);
  try {
    return detail::open_awaiter(*made, mode, permissions);
  } catch (...) {
    delete made;
    throw;
  }
}

detail::open_awaiter file::open_below(const file& folder, std::string_view path, link_policy links,
                                      open_mode mode, unsigned permissions) {
  const detail::file_state& below = folder.state();
  std::string whole = below.path;
  whole.append("/").append(path);
  auto* const made = new detail::file_state(loop::current(), whole);
  try {
    return detail::open_awaiter(*made, below, links, mode, permissions);
  } catch (...) {
    delete made;
    throw;
  }
}

file& file::operator=(file&& other) noexcept {
  if (this != &other) {
    if (state_ != nullptr) detail::release(state_);
    state_ = std::exchange(other.state_, nullptr);
  }
  return *this;
}

detail::transfer_awaiter file::read_at(std::span<std::byte> buffer, std::uint64_t offset) {
  return detail::transfer_awaiter(state(), detail::read_type, buffer.data(), buffer.size(), offset);
}

detail::transfer_awaiter file::write_at(std::span<const std::byte> bytes, std::uint64_t offset) {
  return detail::transfer_awaiter(state(), detail::write_type, const_cast<std::byte*>(bytes.data()),
                                  bytes.size(), offset);
}

task<std::size_t> file::read_all_at(std::span<std::byte> buffer, std::uint64_t offset) {
  std::size_t done = 0;
  while (done < buffer.size()) {
    const std::size_t count = co_await read_at(buffer.subspan(done), offset + done);
    if (count == 0) break;
    done += count;
  }
  co_return done;
}

task<void> file::write_all_at(std::span<const std::byte> bytes, std::uint64_t offset) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const std::size_t count = co_await write_at(bytes.subspan(done), offset + done);
    // A disk that takes nothing and says nothing would keep us here for ever.
    if (count == 0) throw io_error(std::make_error_code(std::errc::io_error), "write", path());
    done += count;
  }
}

detail::stat_awaiter file::stat() { return detail::stat_awaiter(state()); }
detail::sync_awaiter file::sync() { return detail::sync_awaiter(state(), false); }
detail::sync_awaiter file::sync_data() { return detail::sync_awaiter(state(), true); }

void file::link(const std::string& path) {
  int outcome = -EINVAL;
  if (path.find('\0') == path.npos) {
    outcome = loop::current().kernel().link_file(descriptor(), path.c_str());
  }
  if (outcome < 0) throw_error(error::from_errno(-outcome, "link"), path);
}

detail::close_file_awaiter file::close() noexcept {
  detail::file_state& closing = state();
  RILL_ASSERT(closing.in_flight == 0, "a file was closed while an operation uses it");
  state_ = nullptr;
  return detail::close_file_awaiter(&closing);
}

int file::descriptor() const noexcept { return state().descriptor; }
const std::string& file::path() const noexcept { return state().path; }

task<std::string> read_file(std::string path, std::size_t size_max) {
  file source = co_await file::open(path);
  std::string text;
  for (;;) {
    const std::size_t have = text.size();
    // One byte more than allowed, in which a file that is too long shows itself.
    const std::size_t left = size_max - have + (size_max != SIZE_MAX ? 1 : 0);
    text.resize(have + std::min(std::max(have, std::size_t{4096}), left));
    const auto room = std::as_writable_bytes(std::span<char>(text).subspan(have));
    const std::size_t count = co_await source.read_at(room, have);
    text.resize(have + count);
    if (text.size() > size_max) {
      throw io_error(std::make_error_code(std::errc::file_too_large), "read", path);
    }
    if (count == 0) co_return text;
  }
}

}  // namespace rill
