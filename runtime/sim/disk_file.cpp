// Requests on files and pipes. See disk_file.h.
#include <rill/runtime/sim/disk_file.h>

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>

#include <rill/runtime/sim/kernel.h>
#include <rill/runtime/sim/node.h>
#include <rill/runtime/uring_abi.h>

namespace rill::sim::detail {
namespace {

// What a pipe holds by default (pipe(7)), and what is written into one as a whole (PIPE_BUF).
constexpr std::size_t pipe_size = 65536;
constexpr std::size_t pipe_atomic_size = 4096;
constexpr std::uint64_t file_size_max = std::numeric_limits<std::int64_t>::max();

}  // namespace

disk_file::disk_file(node& on, std::shared_ptr<inode> opened, int flags)
    : node_(&on), inode_(std::move(opened)), flags_(flags) {}

unsigned disk_file::poll_state() noexcept { return POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM; }

int disk_file::may_send() const noexcept {
  if ((flags_ & O_ACCMODE) == O_WRONLY) return -EBADF;
  return inode_->what == inode::kind::regular ? 0 : -EINVAL;
}

progress disk_file::attempt(request& tried) {
  // What takes its time on the disk does not come here (sim_kernel::start_on_disk).
  tried.owner->finish(tried, -EOPNOTSUPP);
  return progress::finished;
}

int disk_file::carry_out(request& asked) {
  switch (asked.opcode) {
    case IORING_OP_READ:
      return read(asked);
    case IORING_OP_WRITE:
      return write(asked);
    case IORING_OP_FSYNC:
      disk::sync(*inode_);
      return 0;
    case IORING_OP_STATX:
      return status(reinterpret_cast<void*>(asked.offset));
    default:
      return -EINVAL;
  }
}

int disk_file::read(request& asked) const {
  if ((flags_ & O_ACCMODE) == O_WRONLY) return -EBADF;
  if (inode_->what == inode::kind::directory) return -EISDIR;
  if (asked.offset > file_size_max) return refuse("reading at the position of the descriptor");
  const std::vector<std::byte>& bytes = inode_->bytes;
  if (asked.offset >= bytes.size()) return 0;
  const auto from = static_cast<std::size_t>(asked.offset);
  const std::size_t size = asked.limited(std::min<std::size_t>(asked.size, bytes.size() - from));
  std::memcpy(asked.memory, bytes.data() + from, size);
  return static_cast<int>(size);
}

int disk_file::write(request& asked) {
  if ((flags_ & O_ACCMODE) == O_RDONLY) return -EBADF;
  if (asked.offset > file_size_max) return refuse("writing at the position of the descriptor");
  if (asked.size == 0) return 0;
  const std::uint64_t offset = (flags_ & O_APPEND) != 0 ? inode_->bytes.size() : asked.offset;
  const std::size_t size =
      node_->storage.grow(*inode_, offset, asked.limited(std::size_t{asked.size}));
  if (size == 0) return -ENOSPC;
  std::memcpy(inode_->bytes.data() + offset, asked.memory, size);
  inode_->modified = node_->wall_now();
  return static_cast<int>(size);
}

int disk_file::status(void* into) const noexcept {
  constexpr std::int64_t second = 1'000'000'000;
  struct statx told{};
  told.stx_mask = STATX_BASIC_STATS;
  told.stx_blksize = 4096;
  told.stx_nlink = 1;
  told.stx_size = inode_->bytes.size();
  told.stx_ino = inode_->number;
  told.stx_dev_major = 8;
  told.stx_dev_minor = static_cast<__u32>(node_->id);
  const unsigned kind = inode_->what == inode::kind::directory ? S_IFDIR : S_IFREG;
  told.stx_mode = static_cast<__u16>(kind | inode_->permissions);
  told.stx_mtime.tv_sec = inode_->modified / second;
  told.stx_mtime.tv_nsec = static_cast<__u32>(inode_->modified % second);
  std::memcpy(into, &told, sizeof(told));
  return 0;
}

// ---------------------------------------------------------------- pipes

void pipe_end::make(std::shared_ptr<file>& reader, std::shared_ptr<file>& writer) {
  auto reads = std::make_shared<pipe_end>(false);
  auto writes = std::make_shared<pipe_end>(true);
  reads->bytes_ = writes->bytes_ = std::make_shared<byte_queue>();
  reads->other_ = writes;
  writes->other_ = reads;
  reader = std::move(reads);
  writer = std::move(writes);
}

pipe_end::~pipe_end() {
  if (const std::shared_ptr<pipe_end> left = other_.lock()) left->changed(true, true);
}

unsigned pipe_end::poll_state() noexcept {
  const bool alone = other_.expired();
  if (writes_) {
    const bool room = bytes_->size() + pipe_atomic_size <= pipe_size;
    return (room ? unsigned{POLLOUT | POLLWRNORM} : 0U) | (alone ? unsigned{POLLERR} : 0U);
  }
  return (bytes_->empty() ? 0U : unsigned{POLLIN | POLLRDNORM}) | (alone ? unsigned{POLLHUP} : 0U);
}

progress pipe_end::attempt(request& tried) {
  if (tried.opcode == (writes_ ? IORING_OP_WRITE : IORING_OP_READ)) {
    return writes_ ? write(tried) : read(tried);
  }
  const bool other_way = tried.opcode == IORING_OP_WRITE || tried.opcode == IORING_OP_READ;
  tried.owner->finish(tried, other_way ? -EBADF : -EINVAL);
  return progress::finished;
}

progress pipe_end::read(request& tried) {
  if (bytes_->empty() && tried.size != 0) {
    if (!other_.expired()) return progress::would_block;
    tried.owner->finish(tried, 0);
    return progress::finished;
  }
  const std::size_t size = tried.limited(std::min<std::size_t>(tried.size, bytes_->size()));
  if (size != 0) std::memcpy(tried.memory, bytes_->data(), size);
  bytes_->consume(size);
  tried.owner->finish(tried, static_cast<int>(size));
  if (const std::shared_ptr<pipe_end> writer = other_.lock()) writer->changed(false, true);
  return progress::finished;
}

progress pipe_end::write(request& tried) {
  const std::shared_ptr<pipe_end> reader = other_.lock();
  if (reader == nullptr) {
    tried.owner->finish(tried, -EPIPE);
    return progress::finished;
  }
  const std::size_t room = pipe_size - std::min(pipe_size, bytes_->size());
  const std::size_t size = tried.limited(std::min<std::size_t>(tried.size, room));
  const bool whole = tried.size > pipe_atomic_size || room >= tried.size;
  if (tried.size != 0 && (size == 0 || !whole)) return progress::would_block;
  bytes_->append(static_cast<const std::byte*>(tried.memory), size);
  tried.owner->finish(tried, static_cast<int>(size));
  reader->changed(true, false);
  return progress::finished;
}

}  // namespace rill::sim::detail
