// Echo by a bare io_uring loop: the fastest that the ring can do, and so the limit for rill.
//
// No coroutines, no timeouts, no fairness: a peer that never reads can take every buffer, so this
// is a yardstick and not a server to copy. Multishot accept and receive, sends submitted in one
// batch with the wait, buffers from a provided ring that may run low without harm.

#include <liburing.h>
#include <sys/mman.h>
#include <unistd.h>

#include <deque>
#include <limits>
#include <vector>

#include "server.h"

namespace {

using bench::must;

// Newer than liburing 2.3: enter without being counted as I/O wait, Linux 6.15.
constexpr unsigned feature_no_iowait = 1U << 17;
constexpr unsigned enter_no_iowait = 1U << 7;

constexpr unsigned submission_entries = 4096;
constexpr unsigned completion_entries = 32768;  // one for each of 20,000 connections and more
constexpr int buffer_group = 0;

enum class operation : std::uint8_t { accept, receive, send };

std::uint64_t pack(operation kind, int descriptor) {
  return (static_cast<std::uint64_t>(kind) << 32) | static_cast<std::uint32_t>(descriptor);
}

// Buffers that the kernel chooses from. The ring is a FIFO and the cache likes the buffer used
// last, so only `offered_max` of them stand in the ring; the others wait in a stack.
class buffer_pool {
 public:
  using id = std::uint16_t;
  static constexpr id none = std::numeric_limits<id>::max();

  buffer_pool(io_uring& ring, unsigned count, unsigned size, unsigned offered_max)
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
    if (result < 0) bench::die("io_uring_register_buf_ring", -result);
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
    if (memory == MAP_FAILED) bench::die("mmap", errno);
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

// Buffers that wait to be sent, the first of which the kernel is sending.
struct connection {
  buffer_pool::id first = buffer_pool::none;
  buffer_pool::id last = buffer_pool::none;
  bool receiving = false;
};

class uring_echo {
 public:
  uring_echo(io_uring& ring, int listener, int descriptor_max, unsigned buffer_count,
             unsigned buffer_size, unsigned offered_max)
      : ring_(ring),
        listener_(listener),
        buffers_(ring, buffer_count, buffer_size, offered_max),
        connections_(static_cast<std::size_t>(descriptor_max)) {
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
    if (result < 0 && result != -EINTR && result != -EBUSY) bench::die("io_uring_enter", -result);
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
    sqe.user_data = pack(operation::accept, listener_);
  }

  void receive(int descriptor) {
    io_uring_sqe& sqe = next_sqe();
    io_uring_prep_recv_multishot(&sqe, descriptor, nullptr, 0, 0);
    sqe.flags |= IOSQE_BUFFER_SELECT;
    sqe.buf_group = buffer_group;
    sqe.user_data = pack(operation::receive, descriptor);
    at(descriptor).receiving = true;
  }

  // No more of the starved than there are buffers for: if all of them asked at once, nearly all
  // would fail again, turn after turn, and that storm costs more than half of the throughput.
  void receive_again() {
    for (unsigned room = buffers_.offered(); room > 0 && !starved_.empty(); --room) {
      receive(starved_.front());
      starved_.pop_front();
    }
  }

  // MSG_WAITALL makes the kernel carry on after a short write, so a completion is a whole buffer.
  void send_first(int descriptor) {
    buffer_pool::id buffer = at(descriptor).first;
    io_uring_sqe& sqe = next_sqe();
    io_uring_prep_send(&sqe, descriptor, buffers_.data(buffer), buffers_.length(buffer),
                       MSG_NOSIGNAL | MSG_WAITALL);
    sqe.user_data = pack(operation::send, descriptor);
  }

  void complete(const io_uring_cqe& cqe) {
    int descriptor = static_cast<int>(cqe.user_data & 0xffffffffU);
    switch (static_cast<operation>(cqe.user_data >> 32)) {
      case operation::accept:
        if (cqe.res >= 0) receive(cqe.res);
        if ((cqe.flags & IORING_CQE_F_MORE) == 0) accept();
        break;
      case operation::receive:
        received(descriptor, cqe);
        break;
      case operation::send:
        sent(descriptor, cqe.res);
        break;
    }
  }

  void received(int descriptor, const io_uring_cqe& cqe) {
    connection& peer = at(descriptor);
    if ((cqe.flags & IORING_CQE_F_MORE) == 0) peer.receiving = false;
    if ((cqe.flags & IORING_CQE_F_BUFFER) != 0) {
      auto buffer = static_cast<buffer_pool::id>(cqe.flags >> IORING_CQE_BUFFER_SHIFT);
      buffers_.took(buffer, cqe.res > 0 ? static_cast<unsigned>(cqe.res) : 0);
      if (cqe.res > 0) {
        queue(descriptor, buffer);
      } else {
        buffers_.give_back(buffer);
      }
    }
    if (peer.receiving) return;
    if (cqe.res > 0 || cqe.res == -ENOBUFS) {
      // The pool ran dry, or the kernel ended the multishot for reasons of its own: again, once
      // the buffers of this turn are back.
      starved_.push_back(descriptor);
      peer.receiving = true;
    } else {
      close_when_done(descriptor);
    }
  }

  void queue(int descriptor, buffer_pool::id buffer) {
    connection& peer = at(descriptor);
    if (peer.first == buffer_pool::none) {
      peer.first = peer.last = buffer;
      send_first(descriptor);
    } else {
      buffers_.next(peer.last) = buffer;
      peer.last = buffer;
    }
  }

  void sent(int descriptor, int result) {
    connection& peer = at(descriptor);
    buffer_pool::id buffer = peer.first;
    bool failed = result < 0 || static_cast<unsigned>(result) < buffers_.length(buffer);
    peer.first = buffers_.next(buffer);
    buffers_.give_back(buffer);
    while (failed && peer.first != buffer_pool::none) {
      buffer = peer.first;
      peer.first = buffers_.next(buffer);
      buffers_.give_back(buffer);
    }
    if (peer.first != buffer_pool::none) return send_first(descriptor);
    close_when_done(descriptor);
  }

  // A connection ends when its receive has ended and nothing of it is in the kernel any more.
  void close_when_done(int descriptor) {
    connection& peer = at(descriptor);
    if (peer.receiving || peer.first != buffer_pool::none) return;
    peer = {};
    ::close(descriptor);
  }

  connection& at(int descriptor) { return connections_[static_cast<std::size_t>(descriptor)]; }

  io_uring& ring_;
  int listener_;
  unsigned enter_flags_ = IORING_ENTER_GETEVENTS | IORING_ENTER_REGISTERED_RING;
  buffer_pool buffers_;
  std::vector<connection> connections_;  // by descriptor
  std::deque<int> starved_;  // connections whose receive found no buffer, longest waiting first
};

}  // namespace

int main(int argc, char** argv) {
  std::uint16_t port = 0;
  unsigned buffer_size = 4096;
  unsigned buffer_count = 1024;
  unsigned offered_max = 0;
  bool large = false;
  CLI::App app{"Echo by a bare io_uring loop."};
  app.add_option("--port", port, "port on 127.0.0.1, 0 for any free one");
  app.add_option("--buffer-size", buffer_size, "bytes of a provided buffer");
  app.add_option("--buffers", buffer_count, "how many provided buffers")
      ->check(CLI::Range(1, 32768));
  app.add_option("--offered", offered_max, "how many of them stand in the ring at once");
  app.add_flag("--large", large, "64 buffers of 64 KiB: best for messages of that size");
  bench::parse_or_exit(app, argc, argv);
  if (large) {
    buffer_size = 64 * 1024;
    buffer_count = 64;
  }
  if (offered_max == 0 || offered_max > buffer_count) offered_max = buffer_count;

  int descriptor_max = bench::raise_descriptor_limit();
  int listener = bench::listen_on_loopback(port);
  io_uring ring{};
  io_uring_params params{};
  params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE |
                 IORING_SETUP_SUBMIT_ALL;
  params.cq_entries = completion_entries;
  int result = io_uring_queue_init_params(submission_entries, &ring, &params);
  if (result < 0) bench::die("io_uring_queue_init_params", -result);
  result = io_uring_register_ring_fd(&ring);
  if (result < 0) bench::die("io_uring_register_ring_fd", -result);

  uring_echo server(ring, listener, descriptor_max, buffer_count, buffer_size, offered_max);
  bench::announce_ready_socket(listener);
  server.run();
}
