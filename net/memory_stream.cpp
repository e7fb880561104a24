// The two pipes between memory_streams: a ring of bytes each, and who waits for it. Nothing is ever
// in flight in a kernel, so whoever waits can leave at once. See memory_stream.h.
#include <rill/net/memory_stream.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <vector>

#include <rill/runtime/loop.h>

namespace rill {
namespace detail {
namespace {

void describe_memory(const operation&, std::string& text) { text += " memory stream"; }

constexpr operation_type read_type{"read", nullptr, nullptr, describe_memory, true};
constexpr operation_type write_type{"write", nullptr, nullptr, describe_memory, true};

constexpr std::uint64_t unlimited = UINT64_MAX;

/// One direction.
class memory_pipe {
 public:
  memory_pipe(loop& on, std::size_t capacity) : reader(on), writer(on), ring_(capacity) {}

  // --- the writing end ---
  /// Moves what fits. True: the write is over, with the number of bytes or a negative errno.
  bool move(std::span<const const_buffer> pieces, std::int64_t& outcome) noexcept;
  /// For a writer that waits: its pieces, which it keeps alive.
  void set_pending(std::span<const const_buffer> pieces) noexcept { pending_ = pieces; }
  void begin_write() noexcept { moved_ = 0; }
  void end_writing() noexcept;

  // --- the reading end ---
  bool can_read() const noexcept {
    return read_closed || count_ != 0 || write_ended || read_left == 0;
  }
  rill::result<std::size_t> take(mutable_buffer into) noexcept;
  /// How many bytes the next read will take at most.
  std::size_t next_size() const noexcept {
    return static_cast<std::size_t>(std::min<std::uint64_t>({count_, read_size_max, read_left}));
  }
  void end_reading() noexcept;

  void wake_reader() noexcept {
    if (reader.has_waiter() && can_read()) reader.wake(1);
  }
  void wake_writer() noexcept {
    std::int64_t outcome = 0;
    if (writer.has_waiter() && move(pending_, outcome)) {
      writer.wake(static_cast<int>(std::min<std::int64_t>(outcome, INT_MAX)));
    }
  }
  std::size_t size() const noexcept { return count_; }

  operation reader;
  operation writer;
  bool write_ended = false;   // shut down or closed: what is in the ring, then the end
  bool write_closed = false;  // closed, so that a waiting write is told ECANCELED
  bool read_closed = false;
  std::size_t read_size_max = SIZE_MAX;
  std::size_t write_size_max = SIZE_MAX;
  std::uint64_t read_left = unlimited;  // bytes until reads fail
  std::uint64_t write_left = unlimited;
  int read_failure = 0;
  int write_failure = 0;

 private:
  void put(const std::byte* bytes, std::size_t size) noexcept;

  std::vector<std::byte> ring_;
  std::size_t first_ = 0;
  std::size_t count_ = 0;
  std::span<const const_buffer> pending_;
  std::size_t moved_ = 0;  // bytes of the write in progress that are in the ring or beyond
};

void memory_pipe::put(const std::byte* bytes, std::size_t size) noexcept {
  const std::size_t at = (first_ + count_) % ring_.size();
  const std::size_t until_end = std::min(size, ring_.size() - at);
  std::memcpy(ring_.data() + at, bytes, until_end);
  if (size != until_end) std::memcpy(ring_.data(), bytes + until_end, size - until_end);
  count_ += size;
}

bool memory_pipe::move(std::span<const const_buffer> pieces, std::int64_t& outcome) noexcept {
  if (write_ended || read_closed) {
    outcome = write_closed ? -ECANCELED : -EPIPE;
    return true;
  }
  std::size_t skipped = 0;  // bytes of the pieces before the one at hand
  bool all = true;
  for (const const_buffer& piece : pieces) {
    const std::size_t done = moved_ - std::min(moved_, skipped);
    skipped += piece.size();
    if (done >= piece.size()) continue;
    const std::size_t room = std::min(ring_.size(), write_size_max);
    const auto part = static_cast<std::size_t>(
        std::min<std::uint64_t>({piece.size() - done, room - std::min(room, count_), write_left}));
    if (part != 0) put(piece.data() + done, part);
    moved_ += part;
    if (write_left != unlimited) write_left -= part;
    if (done + part < piece.size()) {
      all = false;
      break;
    }
  }
  wake_reader();
  outcome = all ? static_cast<std::int64_t>(moved_) : -write_failure;
  return all || write_left == 0;
}

rill::result<std::size_t> memory_pipe::take(mutable_buffer into) noexcept {
  if (read_closed) return tl::unexpected(error::from_errno(ECANCELED, "read"));
  if (read_left == 0) return tl::unexpected(error::from_errno(read_failure, "read"));
  if (count_ == 0) {
    if (write_ended) return 0;
    return reader.take_result();
  }
  const std::size_t size = std::min(next_size(), into.size());
  const std::size_t until_end = std::min(size, ring_.size() - first_);
  std::memcpy(into.data(), ring_.data() + first_, until_end);
  if (size != until_end) std::memcpy(into.data() + until_end, ring_.data(), size - until_end);
  first_ = (first_ + size) % ring_.size();
  count_ -= size;
  if (read_left != unlimited) read_left -= size;
  wake_writer();
  return size;
}

void memory_pipe::end_writing() noexcept {
  write_ended = true;
  wake_reader();
}

void memory_pipe::end_reading() noexcept {
  read_closed = true;
  count_ = 0;
  if (reader.has_waiter()) reader.wake(-ECANCELED);
  wake_writer();
}

}  // namespace

/// Both directions. Pipe i is read by end i and written by the other.
class memory_link {
 public:
  memory_link(loop& on, std::size_t capacity)
      : loop_(&on), pipes_{memory_pipe(on, capacity), memory_pipe(on, capacity)} {}

  memory_pipe& incoming(unsigned index) noexcept { return pipes_[index]; }
  memory_pipe& outgoing(unsigned index) noexcept { return pipes_[1 - index]; }
  loop& owner_loop() const noexcept { return *loop_; }

 private:
  loop* loop_;
  memory_pipe pipes_[2];
};

void memory_end::close() noexcept {
  if (link_ == nullptr) return;
  const std::shared_ptr<memory_link> link = std::move(link_);
  memory_pipe& out = link->outgoing(index_);
  out.write_closed = true;
  out.end_writing();
  out.wake_writer();
  link->incoming(index_).end_reading();
}

memory_end& memory_end::operator=(memory_end&& other) noexcept {
  if (this != &other) {
    close();
    link_ = std::move(other.link_);
    index_ = other.index_;
  }
  return *this;
}

// ---------------------------------------------------------------- reading

bool memory_reading::await_ready() const noexcept {
  return (wants_nothing_ || link_->incoming(index_).can_read()) &&
         link_->owner_loop().may_continue();
}

void memory_reading::suspend(promise_base& frame) noexcept {
  memory_pipe& pipe = link_->incoming(index_);
  if (wants_nothing_ || pipe.can_read()) {
    pipe.reader.set_deadline(timer_node::never);
    frame.owner_chain->yield(frame);
    return;
  }
  pipe.reader.wait(frame, read_type);
}

void memory_reading::set_deadline(std::int64_t deadline) noexcept {
  link_->incoming(index_).reader.set_deadline(deadline);
}

result<lease> memory_lease_awaiter::take_result() {
  memory_pipe& pipe = link_->incoming(index_);
  const std::size_t size = pipe.next_size();
  buffer_pool& pool = link_->owner_loop().buffers();
  lease taken;
  mutable_buffer into;
  if (size != 0) {
    std::byte* const memory = pool.allocate_private(size);
    into = mutable_buffer(memory, size);
    taken = pool.lend_private(memory, size);
  }
  const result<std::size_t> count = pipe.take(into);
  if (!count) return tl::unexpected(count.error());
  return taken;
}

lease memory_lease_awaiter::await_resume() {
  result<lease> taken = take_result();
  if (!taken) throw_error(taken.error(), "memory stream");
  return std::move(*taken);
}

result<std::size_t> memory_read_awaiter::take_result() {
  if (wants_nothing_) return 0;
  return link_->incoming(index_).take(into_);
}

std::size_t memory_read_awaiter::await_resume() {
  const result<std::size_t> taken = take_result();
  if (!taken) throw_error(taken.error(), "memory stream");
  return *taken;
}

// ---------------------------------------------------------------- writing

bool memory_write_awaiter::suspend(promise_base& frame) noexcept {
  memory_pipe& pipe = link_->outgoing(index_);
  RILL_ASSERT(!pipe.writer.has_waiter(),
              "two operations of one kind at once on one object (two writes of one stream, say)");
  chain& mine = *frame.owner_chain;
  if (mine.cancel_requested()) {
    pipe.writer.set_deadline(timer_node::never);
    mine.yield(frame);
    return true;
  }
  if (is_single_) pieces_ = std::span<const const_buffer>(&single_, 1);
  pipe.begin_write();
  if (pipe.move(pieces_, outcome_)) {
    pipe.writer.set_deadline(timer_node::never);
    if (mine.on().may_continue()) return false;
    mine.yield(frame);
    return true;
  }
  waited_ = true;
  pipe.set_pending(pieces_);
  pipe.writer.wait(frame, write_type);
  return true;
}

void memory_write_awaiter::set_deadline(std::int64_t deadline) noexcept {
  link_->outgoing(index_).writer.set_deadline(deadline);
}

result<std::size_t> memory_write_awaiter::take_result() {
  if (waited_) return link_->outgoing(index_).writer.take_result();
  if (outcome_ >= 0) return static_cast<std::size_t>(outcome_);
  return tl::unexpected(error::from_errno(static_cast<int>(-outcome_), "write"));
}

std::size_t memory_write_awaiter::await_resume() {
  const result<std::size_t> taken = take_result();
  if (!taken) throw_error(taken.error(), "memory stream");
  return *taken;
}

void memory_shutdown_awaiter::suspend(promise_base& frame) noexcept {
  memory_pipe& pipe = link_->outgoing(index_);
  RILL_ASSERT(!pipe.writer.has_waiter(),
              "two operations of one kind at once on one object (two writes of one stream, say)");
  if (!frame.owner_chain->cancel_requested()) pipe.end_writing();
  frame.owner_chain->yield(frame);
}

}  // namespace detail

// ---------------------------------------------------------------- memory_stream

void memory_stream::set_read_size_max(std::size_t size) {
  RILL_ASSERT(size > 0, "a read must be able to give something");
  end_.link()->incoming(end_.index()).read_size_max = size;
}

void memory_stream::set_write_size_max(std::size_t size) {
  RILL_ASSERT(size > 0, "a write must be able to move something");
  end_.link()->outgoing(end_.index()).write_size_max = size;
}

void memory_stream::fail_reads_after(std::uint64_t size, int number) {
  detail::memory_pipe& pipe = end_.link()->incoming(end_.index());
  pipe.read_left = size;
  pipe.read_failure = number;
  pipe.wake_reader();
}

void memory_stream::fail_writes_after(std::uint64_t size, int number) {
  detail::memory_pipe& pipe = end_.link()->outgoing(end_.index());
  pipe.write_left = size;
  pipe.write_failure = number;
  pipe.wake_writer();
}

std::size_t memory_stream::unread_size() const noexcept {
  return end_.link()->incoming(end_.index()).size();
}

std::pair<memory_stream, memory_stream> memory_stream_pair(std::size_t capacity) {
  RILL_ASSERT(capacity > 0, "a memory stream needs room for a byte");
  const auto link = std::make_shared<detail::memory_link>(loop::current(), capacity);
  return {memory_stream(link, 0), memory_stream(link, 1)};
}

}  // namespace rill
