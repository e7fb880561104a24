// The memory of a ring for a kernel that carries operations out itself: queues of liburing's
// layout, which the loop fills and empties as if io_uring lay below, the buffer rings that are lent
// to it, and what the ring says of an SQE before it looks at the descriptor. Not here: completions
// beyond the queue, which each kernel keeps. Read next: epoll_kernel.h, sim/kernel.h.
#pragma once

#include <poll.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include <rill/runtime/uring_abi.h>

namespace rill::detail {

// IORING_MAX_ENTRIES. Of completions twice as many.
inline constexpr unsigned ring_entry_max = 32768;
// What a poll reports whether it was asked for or not (IO_POLL_UNMASK in io_uring/poll.c).
inline constexpr unsigned always_polled = POLLERR | POLLHUP | POLLNVAL | POLLRDHUP;

/// A buffer chosen for one completion.
struct selected_buffer {
  std::byte* memory = nullptr;
  std::size_t size = 0;
  unsigned flags = 0;  ///< of the CQE
};

/// What io_recv_prep() and io_recvmsg_prep() ask of a multishot: a buffer ring, one msghdr or no
/// length, and no MSG_WAITALL.
bool is_valid_multishot(const io_uring_sqe& sqe) noexcept;

class heap_ring {
 public:
  heap_ring() = default;
  heap_ring(const heap_ring&) = delete;  // the queues point into it
  heap_ring& operator=(const heap_ring&) = delete;

  /// REQUIRES: both are powers of two.
  io_uring& open(unsigned submission_count, unsigned completion_count);

  // --- SQEs ---
  /// Published, and not taken yet.
  unsigned published_count() const noexcept { return submission_tail_ - submission_head_; }
  /// Filled, and not taken yet.
  bool has_submissions() const noexcept { return ring_.sq.sqe_tail != submission_head_; }
  /// The next one. REQUIRES: published_count() != 0. It stays as it is until the loop is told.
  const io_uring_sqe& take() noexcept {
    const unsigned index = submission_array_[submission_head_ & submission_mask_];
    ++submission_head_;
    return submissions_[index & submission_mask_];
  }

  // --- CQEs ---
  unsigned completion_count() const noexcept { return completion_tail_ - completion_head_; }
  bool is_full() const noexcept { return completion_count() >= completion_entries_; }
  /// False: the queue is full.
  bool place(std::uint64_t user_data, int result, unsigned flags) noexcept {
    if (is_full()) return false;
    io_uring_cqe& cqe = completions_[completion_tail_ & completion_mask_];
    cqe.user_data = user_data;
    cqe.res = result;
    cqe.flags = flags;
    ++completion_tail_;
    return true;
  }
  /// The one that was placed last, or some before it. REQUIRES: the loop has not taken it.
  io_uring_cqe& placed(unsigned before_last) noexcept {
    return completions_[(completion_tail_ - 1 - before_last) & completion_mask_];
  }
  /// Tells the loop whether there are completions beyond the queue.
  void tell_overflow(bool is_there) noexcept {
    submission_flags_ = is_there ? submission_flags_ | IORING_SQ_CQ_OVERFLOW
                                 : submission_flags_ & ~unsigned{IORING_SQ_CQ_OVERFLOW};
  }

  // --- provided buffers ---
  /// 0 or a negative errno, as io_uring_register_buf_ring() and its opposite give it.
  int register_buffers(void* ring, unsigned entry_count, std::uint16_t group);
  int unregister_buffers(std::uint16_t group) noexcept;
  /// The next buffer of the group, which stays there until use_buffer(). False: there is none.
  bool select_buffer(std::uint16_t group, selected_buffer& chosen) const noexcept;
  void use_buffer(std::uint16_t group) noexcept;

 private:
  struct buffer_group {
    std::uint16_t id;
    std::uint16_t head;
    unsigned entry_count;
    io_uring_buf_ring* ring;
  };

  const buffer_group* find(std::uint16_t id) const noexcept;

  io_uring ring_{};
  unsigned submission_head_ = 0;
  unsigned submission_tail_ = 0;
  unsigned submission_mask_ = 0;
  unsigned submission_entries_ = 0;
  unsigned submission_flags_ = 0;
  unsigned submission_dropped_ = 0;
  unsigned completion_head_ = 0;
  unsigned completion_tail_ = 0;
  unsigned completion_mask_ = 0;
  unsigned completion_entries_ = 0;
  unsigned completion_flags_ = 0;
  unsigned completion_overflow_ = 0;
  std::vector<io_uring_sqe> submissions_;
  std::vector<unsigned> submission_array_;
  std::vector<io_uring_cqe> completions_;
  std::vector<buffer_group> groups_;
};

}  // namespace rill::detail
