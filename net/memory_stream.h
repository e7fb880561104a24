// memory_stream: two connected byte_streams in memory, on one loop.
// For tests of protocols and for parts of one program that talk as if over a network: no sockets,
// no system calls, and the same semantics, back-pressure included. Limits and failures can be set
// so that every split point and every error of a protocol can be met on purpose. Not for threads.
// Read next: memory_stream.cpp.
#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <utility>

#include <rill/net/buffer.h>
#include <rill/net/stream.h>
#include <rill/runtime/buffer_pool.h>
#include <rill/runtime/operation.h>
#include <rill/runtime/sleep.h>

namespace rill {

namespace detail {

class memory_link;

/// One end of a link. Copies of the pointer in awaiters keep the link alive until they are resumed.
class memory_end {
 public:
  memory_end() noexcept {}
  memory_end(std::shared_ptr<memory_link> link, unsigned index) noexcept
      : link_(std::move(link)), index_(index) {}
  memory_end(memory_end&& other) noexcept = default;
  memory_end& operator=(memory_end&& other) noexcept;
  ~memory_end() { close(); }

  void close() noexcept;
  bool is_open() const noexcept { return link_ != nullptr; }
  const std::shared_ptr<memory_link>& link() const noexcept {
    RILL_ASSERT(link_ != nullptr, "a closed or moved-from stream was used");
    return link_;
  }
  unsigned index() const noexcept { return index_; }

 private:
  std::shared_ptr<memory_link> link_;
  unsigned index_ = 0;
};

class memory_awaiter {
 public:
  using rill_awaiter = void;
  explicit memory_awaiter(const memory_end& end) noexcept
      : link_(end.link()), index_(end.index()) {}

 protected:
  std::shared_ptr<memory_link> link_;
  unsigned index_;
};

/// What read() and read_lease() share: waiting until something can be taken.
class memory_reading : public memory_awaiter {
 public:
  using memory_awaiter::memory_awaiter;
  bool await_ready() const noexcept;
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> frame) noexcept {
    suspend(frame.promise());
  }
  void set_deadline(std::int64_t deadline) noexcept;

 protected:
  bool wants_nothing_ = false;  // room for no byte: completes at once

 private:
  void suspend(promise_base& frame) noexcept;
};

class memory_lease_awaiter : public memory_reading {
 public:
  using memory_reading::memory_reading;
  lease await_resume();
  result<lease> take_result();
};

class memory_read_awaiter : public memory_reading {
 public:
  memory_read_awaiter(const memory_end& end, mutable_buffer into) noexcept
      : memory_reading(end), into_(into) {
    wants_nothing_ = into.empty();
  }
  std::size_t await_resume();
  result<std::size_t> take_result();

 private:
  mutable_buffer into_;
};

/// write_all of one buffer or of several.
class memory_write_awaiter : public memory_awaiter {
 public:
  memory_write_awaiter(const memory_end& end, const_buffer bytes) noexcept
      : memory_awaiter(end), single_(bytes) {}
  memory_write_awaiter(const memory_end& end, std::span<const const_buffer> pieces) noexcept
      : memory_awaiter(end), pieces_(pieces), is_single_(false) {}

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> frame) noexcept {
    return suspend(frame.promise());
  }
  std::size_t await_resume();
  result<std::size_t> take_result();
  void set_deadline(std::int64_t deadline) noexcept;

 private:
  bool suspend(promise_base& frame) noexcept;
  const_buffer single_;
  std::span<const const_buffer> pieces_;
  bool is_single_ = true;
  bool waited_ = false;  // the slot has the outcome, otherwise outcome_
  std::int64_t outcome_ = 0;
};

class memory_shutdown_awaiter : public memory_awaiter {
 public:
  using memory_awaiter::memory_awaiter;
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> frame) noexcept {
    suspend(frame.promise());
  }
  void await_resume() const noexcept {}
  result<std::size_t> take_result() const noexcept { return 0; }
  void set_deadline(std::int64_t) noexcept {}

 private:
  void suspend(promise_base& frame) noexcept;
};

}  // namespace detail

/// One of two connected streams; satisfies byte_stream. Made by memory_stream_pair().
///
/// Differences from TCP: nothing is ever reset (closing with unread bytes ends the peer's reading
///   like any close), the news of a close arrives at once, a write that fits does not suspend.
/// Cost: read_lease() allocates and copies; the others copy twice and allocate nothing.
/// Thread rule: the loop on which the pair was made, which must outlive it.
class memory_stream {
 public:
  memory_stream() noexcept {}

  [[nodiscard]] auto read(mutable_buffer into) noexcept {
    return detail::memory_read_awaiter(end_, into);
  }
  [[nodiscard]] auto read_lease() noexcept { return detail::memory_lease_awaiter(end_); }
  [[nodiscard]] auto write_all(const_buffer bytes) noexcept {
    return detail::memory_write_awaiter(end_, bytes);
  }
  [[nodiscard]] auto write_all(std::span<const const_buffer> pieces) noexcept {
    return detail::memory_write_awaiter(end_, pieces);
  }
  [[nodiscard]] auto shutdown_write() noexcept { return detail::memory_shutdown_awaiter(end_); }
  /// Closes at once, when called; awaiting it lets those who were waiting here find out.
  [[nodiscard]] auto close() noexcept {
    end_.close();
    return yield();
  }
  bool is_open() const noexcept { return end_.is_open(); }

  /// Every read gives at most this many bytes from now on. REQUIRES: > 0.
  void set_read_size_max(std::size_t size);
  /// At most this many bytes lie between a write here and the peer's reads, so that a larger write
  /// is carried out in steps. REQUIRES: > 0; capacity stays a limit too.
  void set_write_size_max(std::size_t size);
  /// After `size` more bytes reads fail with `number`, an errno, whatever still comes. 0: at once,
  /// also one that is waiting.
  void fail_reads_after(std::uint64_t size, int number);
  /// After `size` more bytes writes fail with `number`; those bytes reach the peer.
  void fail_writes_after(std::uint64_t size, int number);
  /// Bytes that the peer has written and this end has not read.
  std::size_t unread_size() const noexcept;

 private:
  friend std::pair<memory_stream, memory_stream> memory_stream_pair(std::size_t capacity);
  memory_stream(std::shared_ptr<detail::memory_link> link, unsigned index) noexcept
      : end_(std::move(link), index) {}

  detail::memory_end end_;
};

/// Two streams connected with each other. `capacity` bytes may lie in each direction before a
/// writer waits. REQUIRES: called by a task; capacity > 0. One allocation a direction.
std::pair<memory_stream, memory_stream> memory_stream_pair(std::size_t capacity = 65536);

static_assert(byte_stream<memory_stream>);

}  // namespace rill
