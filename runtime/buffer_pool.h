// Receive buffers that belong to the loop, not to connections: an idle connection owns none.
// The kernel takes buffers from a ring when bytes arrive; a task borrows them as a `lease` and they
// come back by themselves. The ring is kept short and topped up every turn from a reserve, most
// recently used first, so that the processor's cache holds them.
// Not here: who reads (net/socket.cpp). Read next: buffer_pool.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

struct io_uring_buf_ring;

namespace rill {

class kernel;
class buffer_pool;

namespace detail {
class operation;
struct operation_type;
}  // namespace detail

/// Buffers of one size. Memory is reserved as addresses and used only as it is touched.
struct buffer_group_options {
  unsigned buffer_size;   ///< bytes
  unsigned buffer_max;    ///< buffers in all, at most 32,767
  unsigned ring_size;     ///< entries lent to the kernel at most; a power of two
  unsigned ring_initial;  ///< entries lent at first; doubled whenever the ring has run dry
};

/// How many buffers a loop has, and of what size.
struct buffer_pool_options {
  /// For messages up to a page: 16 MiB at most.
  buffer_group_options small{4096, 4096, 1024, 128};
  /// For streams that keep filling small ones, and for datagrams: the largest UDP payload, 65,507
  /// bytes, fits behind its headers. 8 MiB at most, 2 MiB of it in the kernel's hands, so that the
  /// cache has a chance.
  buffer_group_options large{65536 + 256, 128, 64, 32};
};

/// Bytes received, lent by the loop's pool, returned when the lease is destroyed.
///
/// An empty lease (false) means the end of the stream. Moving hands the loan over; nothing is
/// copied. REQUIRES: destroyed on the loop's thread, before the loop, which asserts it. A holder
/// that wants to wait for more bytes of the same peer should copy what it has and release the lease
/// first.
class lease {
 public:
  lease() noexcept {}
  lease(lease&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)),
        id_(other.id_),
        group_(other.group_),
        pool_(std::exchange(other.pool_, nullptr)) {}
  lease& operator=(lease&& other) noexcept {
    if (this != &other) {
      release();
      data_ = std::exchange(other.data_, nullptr);
      size_ = std::exchange(other.size_, 0);
      id_ = other.id_;
      group_ = other.group_;
      pool_ = std::exchange(other.pool_, nullptr);
    }
    return *this;
  }
  ~lease() { release(); }

  const std::byte* data() const noexcept { return data_; }
  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  explicit operator bool() const noexcept { return size_ != 0; }
  operator std::span<const std::byte>() const noexcept { return {data_, size_}; }
  std::string_view text() const noexcept { return {reinterpret_cast<const char*>(data_), size_}; }
  /// Gives the bytes back before the end of the scope.
  void release() noexcept;

 private:
  friend class buffer_pool;
  lease(buffer_pool& pool, unsigned char group, std::uint16_t id, const std::byte* data,
        std::size_t size) noexcept
      : data_(data),
        size_(static_cast<std::uint32_t>(size)),
        id_(id),
        group_(group),
        pool_(&pool) {}

  const std::byte* data_ = nullptr;
  std::uint32_t size_ = 0;
  std::uint16_t id_ = 0;
  unsigned char group_ = 0;
  buffer_pool* pool_ = nullptr;
};

/// Counters of a loop's buffers.
struct buffer_statistics {
  std::uint64_t lent_count;     ///< leases alive or bytes waiting in sockets
  std::uint64_t starved_count;  ///< times the kernel found a ring empty
  std::uint64_t private_count;  ///< reads that went into a private buffer instead
  std::uint64_t touched_size;   ///< bytes of buffers ever used
};

/// The buffers of one loop, in two groups.
class buffer_pool {
 public:
  static constexpr unsigned group_count = 2;
  static constexpr unsigned small_group = 0;
  static constexpr unsigned large_group = 1;
  /// Marks a lease whose bytes were allocated for it alone.
  static constexpr unsigned char private_group = 0xff;

  buffer_pool(kernel& on, const buffer_pool_options& options);
  buffer_pool(const buffer_pool&) = delete;
  buffer_pool& operator=(const buffer_pool&) = delete;
  ~buffer_pool();

  unsigned buffer_size(unsigned group) const noexcept { return groups_[group].options.buffer_size; }
  /// True when the kernel has, or can be given, a buffer of this group. Lends it the first ones.
  bool available(unsigned group) noexcept;
  /// True when take() gives a buffer of this group.
  bool can_take(unsigned group) noexcept;
  /// Lends the kernel what it has used up. Once a turn.
  void refill() noexcept {
    for (buffer_group& each : groups_) {
      if (each.lent_to_kernel < each.target) refill(each);
    }
  }
  /// The kernel found the ring empty: more will be lent from now on.
  void starved(unsigned group) noexcept;

  /// A CQE says that buffer `id` now holds bytes.
  void taken(unsigned group) noexcept { --groups_[group].lent_to_kernel; }
  std::byte* address(unsigned group, std::uint16_t id) noexcept {
    return groups_[group].memory + std::size_t{id} * groups_[group].stride;
  }
  lease lend(unsigned group, std::uint16_t id, std::size_t offset, std::size_t size) noexcept {
    return lease(*this, static_cast<unsigned char>(group), id, address(group, id) + offset, size);
  }
  /// A lease over `memory` of new std::byte[]; it is deleted with the lease.
  lease lend_private(std::byte* memory, std::size_t size) noexcept {
    return lease(*this, private_group, 0, memory, size);
  }
  std::byte* allocate_private(std::size_t size);
  void give_back(unsigned group, std::uint16_t id) noexcept {
    groups_[group].reserve.push_back(id);
  }

  /// A buffer for one receive, the most recently used first; `none` when all are in use.
  static constexpr std::uint16_t none = UINT16_MAX;
  std::uint16_t take(unsigned group) noexcept;

  /// Large receives go through a line, two a turn, so that what is received is sent while the
  /// second-level cache (1 to 2 MiB, the kernel's copies included) still holds it. With eight a
  /// turn a Xeon of 2 MiB reached 0.73 of plain epoll at 50 connections of 64 KiB, with two 0.97.
  static constexpr unsigned large_receives_per_turn = 2;
  void line_up(detail::operation& receive, const detail::operation_type& type) noexcept;
  void leave_line(const detail::operation& receive) noexcept;
  bool has_line() const noexcept { return line_first_ != nullptr; }
  /// Submits the first few of the line. Once a turn.
  void start_lined_up() noexcept {
    if (has_line()) [[unlikely]]
      start_line();
  }

  /// The list of buffers waiting in a socket is linked through here.
  struct waiting_buffer {
    std::uint32_t size;
    std::uint16_t next;
  };
  waiting_buffer& waiting(unsigned group, std::uint16_t id) noexcept {
    return groups_[group].waiting[id];
  }

  buffer_statistics statistics() const noexcept;

 private:
  struct buffer_group {
    buffer_group_options options{};
    std::size_t stride = 0;
    std::byte* memory = nullptr;
    io_uring_buf_ring* ring = nullptr;
    std::vector<std::uint16_t> reserve;  // most recently used at the back
    std::vector<waiting_buffer> waiting;
    unsigned fresh = 0;  // buffers never used yet begin at this id
    unsigned lent_to_kernel = 0;
    unsigned target = 0;   // 0 until the kernel is lent any
    bool ready = false;    // mapped and registered
    bool refused = false;  // could not be: private buffers only
  };

  void refill(buffer_group& each) noexcept;
  void start_line() noexcept;
  bool set_up(unsigned index) noexcept;

  kernel* kernel_;
  buffer_group groups_[group_count];
  detail::operation* line_first_ = nullptr;  // linked through the operations themselves
  detail::operation* line_last_ = nullptr;
  const detail::operation_type* line_type_ = nullptr;  // of all of them
  std::uint64_t starved_count_ = 0;
  std::uint64_t private_count_ = 0;
};

inline void lease::release() noexcept {
  if (pool_ == nullptr) return;
  if (group_ == buffer_pool::private_group) [[unlikely]] {
    delete[] data_;
  } else {
    pool_->give_back(group_, id_);
  }
  pool_ = nullptr;
  data_ = nullptr;
  size_ = 0;
}

}  // namespace rill
