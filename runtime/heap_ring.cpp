// Queues and buffer rings in ordinary memory. See heap_ring.h.
#include <rill/runtime/heap_ring.h>

#include <sys/socket.h>

#include <atomic>
#include <bit>
#include <cerrno>
#include <numeric>

namespace rill::detail {

bool is_valid_multishot(const io_uring_sqe& sqe) noexcept {
  const unsigned length = sqe.opcode == IORING_OP_RECVMSG ? 1 : 0;
  return (sqe.flags & IOSQE_BUFFER_SELECT) != 0 && sqe.len == length &&
         (sqe.msg_flags & unsigned{MSG_WAITALL}) == 0;
}

io_uring& heap_ring::open(unsigned submission_count, unsigned completion_count) {
  submissions_.resize(submission_count);
  submission_array_.resize(submission_count);
  std::iota(submission_array_.begin(), submission_array_.end(), 0U);
  completions_.resize(completion_count);
  submission_entries_ = submission_count;
  submission_mask_ = submission_count - 1;
  completion_entries_ = completion_count;
  completion_mask_ = completion_count - 1;

  io_uring_sq& sq = ring_.sq;
  sq.khead = &submission_head_;
  sq.ktail = &submission_tail_;
  sq.kring_mask = &submission_mask_;
  sq.kring_entries = &submission_entries_;
  sq.kflags = &submission_flags_;
  sq.kdropped = &submission_dropped_;
  sq.array = submission_array_.data();
  sq.sqes = submissions_.data();
  sq.ring_mask = submission_mask_;
  sq.ring_entries = submission_entries_;
  io_uring_cq& cq = ring_.cq;
  cq.khead = &completion_head_;
  cq.ktail = &completion_tail_;
  cq.kring_mask = &completion_mask_;
  cq.kring_entries = &completion_entries_;
  cq.kflags = &completion_flags_;
  cq.koverflow = &completion_overflow_;
  cq.cqes = completions_.data();
  cq.ring_mask = completion_mask_;
  cq.ring_entries = completion_entries_;
  ring_.features = abi::feature_reg_reg_ring;
  ring_.ring_fd = -1;  // nobody may pass it to the real ring
  ring_.enter_ring_fd = -1;
  return ring_;
}

int heap_ring::register_buffers(void* ring, unsigned entry_count, std::uint16_t group) {
  constexpr std::uintptr_t page_mask = 4095;
  if (ring == nullptr) return -EFAULT;
  if ((reinterpret_cast<std::uintptr_t>(ring) & page_mask) != 0) return -EINVAL;
  if (!std::has_single_bit(entry_count) || entry_count > ring_entry_max) return -EINVAL;
  if (find(group) != nullptr) return -EEXIST;
  groups_.push_back({group, 0, entry_count, static_cast<io_uring_buf_ring*>(ring)});
  return 0;
}

int heap_ring::unregister_buffers(std::uint16_t group) noexcept {
  const auto gone =
      std::erase_if(groups_, [group](const buffer_group& each) { return each.id == group; });
  return gone == 0 ? -EINVAL : 0;
}

const heap_ring::buffer_group* heap_ring::find(std::uint16_t id) const noexcept {
  for (const buffer_group& each : groups_) {
    if (each.id == id) return &each;
  }
  return nullptr;
}

bool heap_ring::select_buffer(std::uint16_t group, selected_buffer& chosen) const noexcept {
  const buffer_group* const from = find(group);
  if (from == nullptr) return false;
  const std::uint16_t tail =
      std::atomic_ref<__u16>(from->ring->tail).load(std::memory_order_acquire);
  if (tail == from->head) return false;
  // The first entry lies where the ring begins; its last two bytes are the tail.
  const auto* const entries = reinterpret_cast<const io_uring_buf*>(from->ring);
  const io_uring_buf& entry = entries[from->head & (from->entry_count - 1)];
  chosen.memory = reinterpret_cast<std::byte*>(entry.addr);
  chosen.size = entry.len;
  chosen.flags = IORING_CQE_F_BUFFER | (unsigned{entry.bid} << IORING_CQE_BUFFER_SHIFT);
  return true;
}

void heap_ring::use_buffer(std::uint16_t group) noexcept {
  ++const_cast<buffer_group*>(find(group))->head;
}

}  // namespace rill::detail
