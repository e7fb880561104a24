// A bare io_uring loop for servers of this bench: multishot accept and receive into provided
// buffers, sends submitted in one batch with the wait. What is done with the bytes is the server's.
//
// No coroutines, no timeouts, no fairness: a peer that never reads can take every buffer, so this
// is a yardstick and not a server to copy.
#pragma once

#include <liburing.h>
#include <sys/mman.h>
#include <unistd.h>

#include <deque>
#include <limits>
#include <vector>

#include "server.h"

namespace bench {

// Newer than liburing 2.3: enter without being counted as I/O wait, Linux 6.15.
inline constexpr unsigned feature_no_iowait = 1U << 17;
inline constexpr unsigned enter_no_iowait = 1U << 7;

inline constexpr unsigned submission_entries = 4096;
inline constexpr unsigned completion_entries =
    32768;  // one for each of 20,000 connections and more
inline constexpr int buffer_group = 0;

enum class uring_operation : std::uint8_t { accept, receive, send };

inline std::uint64_t pack(uring_operation kind, int descriptor) {
  return (static_cast<std::uint64_t>(kind) << 32) | static_cast<std::uint32_t>(descriptor);
}

// Buffers that the kernel chooses from. The ring is a FIFO and the cache likes the buffer used
// last, so only `offered_max` of them stand in the ring; the others wait in a stack.
class uring_buffer_pool {
 public:
  using id = std::uint16_t;
  static constexpr id none = std::numeric_limits<id>::max();

  uring_buffer_pool(io_uring& ring, unsigned count, unsigned size, unsigned offered_max)
      : size_(size), offered_max_(offered_max), next_(count, none), length_(count) {
    unsigned entries = 1;
    while (entries < offered_max) entries *= 2;
    mask_ = io_uring_buf_ring_mask(entries);
    queue_ = static_cast<io_uring_buf_ring*>(map(entries * sizeof(io_uring_buf)));
    data_ = static_cast<char*>(map(std::size_t{count} * size));
    io_uring_buf_ring_init(queue_);
    io_uring_buf_reg registration{};
    registration.ring_addr = reinterpret_cast<std::uintptr_t>(queue_);
    registration.ring_entries = entries;
    registration.bgid = buffer_group;
    int result = io_uring_register_buf_ring(&ring, &registration, 0);
    if (result < 0) die("io_uring_register_buf_ring", -result);
    for (unsigned i = 0; i < count; ++i) spare_.push_back(static_cast<id>(count - 1 - i));
    offer();
  }

  // Once a turn: publishing buffers one by one costs a store-release for each.
  void offer() {
    int added = 0;
    while (offered_ < offered_max_ && !spare_.empty()) {
      id buffer = spare_.back();
      spare_.pop_back();
      io_uring_buf_ring_add(queue_, data(buffer), size_, buffer, mask_, added++);
      ++offered_;
    }
    if (added > 0) io_uring_buf_ring_advance(queue_, added);
  }

  void took(id buffer, unsigned length) {
    --offered_;
    next_[buffer] = none;
    length_[buffer] = length;
  }
  unsigned offered() const { return offered_; }
  void give_back(id buffer) { spare_.push_back(buffer); }

  char* data(id buffer) { return data_ + std::size_t{buffer} * size_; }
  unsigned length(id buffer) const { return length_[buffer]; }
  id& next(id buffer) { return next_[buffer]; }

 private:
  static void* map(std::size_t size) {
    void* memory =
        ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) die("mmap", errno);
    return memory;
  }

  unsigned size_;
  unsigned offered_max_;
  unsigned offered_ = 0;
  int mask_ = 0;
  io_uring_buf_ring* queue_ = nullptr;
  char* data_ = nullptr;
  std::vector<id> spare_;
  std::vector<id> next_;  // the queue of a connection runs through this
  std::vector<unsigned> length_;
};

// Server is given what happens: received_bytes(descriptor, buffer), of which it gives the buffer
// back sooner or later; sent(descriptor, result); may_close(descriptor); closed(descriptor).
template <class Server>
class uring_loop {
 public:
  uring_loop(io_uring& ring, int listener, int descriptor_max, unsigned buffer_count,
             unsigned buffer_size, unsigned offered_max)
      : ring_(ring),
        listener_(listener),
        buffers_(ring, buffer_count, buffer_size, offered_max),
        receiving_(static_cast<std::size_t>(descriptor_max)) {
    if ((ring_.features & feature_no_iowait) != 0) enter_flags_ |= enter_no_iowait;
    // The queue of indices stays the identity, so publishing is one store (see publish()).
    for (unsigned i = 0; i < submission_entries; ++i) ring_.sq.array[i] = i;
    accept();
  }

  [[noreturn]] void run() {
    for (;;) {
      enter(1);
      unsigned head = 0;
      unsigned count = 0;
      io_uring_cqe* cqe = nullptr;
      io_uring_for_each_cqe(&ring_, head, cqe) {
        ++count;
        complete(*cqe);
      }
      io_uring_cq_advance(&ring_, count);
      buffers_.offer();
      receive_again();
    }
  }

 protected:
  ~uring_loop() = default;

  // MSG_WAITALL makes the kernel carry on after a short write, so a completion is all of it.
  void send(int descriptor, const char* data, std::size_t size) {
    io_uring_sqe& sqe = next_sqe();
    io_uring_prep_send(&sqe, descriptor, data, size, MSG_NOSIGNAL | MSG_WAITALL);
    sqe.user_data = pack(uring_operation::send, descriptor);
  }

  // A connection ends when its receive has ended and nothing of it is in the kernel any more.
  void close_when_done(int descriptor) {
    if (receiving(descriptor) || !server().may_close(descriptor)) return;
    server().closed(descriptor);
    ::close(descriptor);
  }

  uring_buffer_pool& buffers() { return buffers_; }

 private:
  // liburing 2.3 cannot pass NO_IOWAIT, so the entries are published and entered here.
  unsigned publish() {
    unsigned published = *ring_.sq.ktail;
    __atomic_store_n(ring_.sq.ktail, ring_.sq.sqe_tail, __ATOMIC_RELEASE);
    ring_.sq.sqe_head = ring_.sq.sqe_tail;
    return ring_.sq.sqe_tail - published;
  }

  void enter(unsigned wait_count) {
    unsigned submitted = publish();
    int result = io_uring_enter2(static_cast<unsigned>(ring_.enter_ring_fd), submitted, wait_count,
                                 enter_flags_, nullptr, 0);
    if (result < 0 && result != -EINTR && result != -EBUSY) die("io_uring_enter", -result);
  }

  io_uring_sqe& next_sqe() {
    io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
    while (sqe == nullptr) {
      enter(0);
      sqe = io_uring_get_sqe(&ring_);
    }
    return *sqe;
  }

  void accept() {
    io_uring_sqe& sqe = next_sqe();
    io_uring_prep_multishot_accept(&sqe, listener_, nullptr, nullptr, SOCK_CLOEXEC);
    sqe.user_data = pack(uring_operation::accept, listener_);
  }

  void receive(int descriptor) {
    io_uring_sqe& sqe = next_sqe();
    io_uring_prep_recv_multishot(&sqe, descriptor, nullptr, 0, 0);
    sqe.flags |= IOSQE_BUFFER_SELECT;
    sqe.buf_group = buffer_group;
    sqe.user_data = pack(uring_operation::receive, descriptor);
    receiving(descriptor) = 1;
  }

  // No more of the starved than there are buffers for: if all of them asked at once, nearly all
  // would fail again, turn after turn, and that storm costs more than half of the throughput.
  void receive_again() {
    for (unsigned room = buffers_.offered(); room > 0 && !starved_.empty(); --room) {
      receive(starved_.front());
      starved_.pop_front();
    }
  }

  void complete(const io_uring_cqe& cqe) {
    int descriptor = static_cast<int>(cqe.user_data & 0xffffffffU);
    switch (static_cast<uring_operation>(cqe.user_data >> 32)) {
      case uring_operation::accept:
        if (cqe.res >= 0) receive(cqe.res);
        if ((cqe.flags & IORING_CQE_F_MORE) == 0) accept();
        break;
      case uring_operation::receive:
        received(descriptor, cqe);
        break;
      case uring_operation::send:
        server().sent(descriptor, cqe.res);
        break;
    }
  }

  void received(int descriptor, const io_uring_cqe& cqe) {
    if ((cqe.flags & IORING_CQE_F_MORE) == 0) receiving(descriptor) = 0;
    if ((cqe.flags & IORING_CQE_F_BUFFER) != 0) {
      auto buffer = static_cast<uring_buffer_pool::id>(cqe.flags >> IORING_CQE_BUFFER_SHIFT);
      buffers_.took(buffer, cqe.res > 0 ? static_cast<unsigned>(cqe.res) : 0);
      if (cqe.res > 0) {
        server().received_bytes(descriptor, buffer);
      } else {
        buffers_.give_back(buffer);
      }
    }
    if (receiving(descriptor) != 0) return;
    if (cqe.res > 0 || cqe.res == -ENOBUFS) {
      // The pool ran dry, or the kernel ended the multishot for reasons of its own: again, once
      // the buffers of this turn are back.
      starved_.push_back(descriptor);
      receiving(descriptor) = 1;
    } else {
      close_when_done(descriptor);
    }
  }

  Server& server() { return static_cast<Server&>(*this); }
  char& receiving(int descriptor) { return receiving_[static_cast<std::size_t>(descriptor)]; }

  io_uring& ring_;
  int listener_;
  unsigned enter_flags_ = IORING_ENTER_GETEVENTS | IORING_ENTER_REGISTERED_RING;
  uring_buffer_pool buffers_;
  std::vector<char> receiving_;  // by descriptor
  std::deque<int> starved_;      // connections whose receive found no buffer, longest waiting first
};

inline void open_ring(io_uring& ring) {
  io_uring_params params{};
  params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE |
                 IORING_SETUP_SUBMIT_ALL;
  params.cq_entries = completion_entries;
  int result = io_uring_queue_init_params(submission_entries, &ring, &params);
  if (result < 0) die("io_uring_queue_init_params", -result);
  result = io_uring_register_ring_fd(&ring);
  if (result < 0) die("io_uring_register_ring_fd", -result);
}

}  // namespace bench
