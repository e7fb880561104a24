// A ring on one machine, without a loop: SQEs in, CQEs out. The same test runs on Linux and in the
// simulator, so that what the simulator answers is compared with what Linux answers.
#pragma once

#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <rill/runtime/kernel.h>
#include <rill/runtime/sim/kernel.h>
#include <rill/runtime/sim/network.h>
#include <rill/runtime/sim/node.h>
#include <rill/runtime/uring_abi.h>

namespace rill::test {

struct completion {
  std::uint64_t tag;
  int result;
  unsigned flags;
  bool has(unsigned flag) const { return (flags & flag) != 0; }
  unsigned buffer() const { return flags >> IORING_CQE_BUFFER_SHIFT; }
};

class machine {
 public:
  static constexpr unsigned buffer_size = 4096;
  static constexpr unsigned buffer_count = 8;

  machine(bool simulated, const queue_sizes& sizes) {
    if (simulated) {
      engine_ = std::make_unique<sim::detail::engine>(1, sim::world_options());
      wire_ = std::make_unique<sim::detail::network>(*engine_);
      node_ = std::make_unique<sim::detail::node>(*engine_, *wire_, 0, "machine");
      kernel_ = std::make_unique<sim::detail::sim_kernel>(*engine_, *node_, 0);
    } else {
      kernel_ = make_uring_kernel();
    }
    ring_ = &kernel_->open(sizes);
    kernel_->start();
    buffer_ring_ = static_cast<io_uring_buf_ring*>(
        ::mmap(nullptr, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    ::io_uring_buf_ring_init(buffer_ring_);
    EXPECT_EQ(kernel_->register_buffer_ring(buffer_ring_, buffer_count, 0), 0);
  }
  machine(const machine&) = delete;
  machine& operator=(const machine&) = delete;
  ~machine() {
    for (const int each : opened_) kernel_->close(each);
    submit();
    kernel_->unregister_buffer_ring(0);
    kernel_.reset();
    ::munmap(buffer_ring_, page);
  }

  kernel& calls() { return *kernel_; }
  io_uring& ring() { return *ring_; }

  /// The next SQE, cleared. Its user_data is for the caller to set.
  io_uring_sqe& sqe() {
    io_uring_sqe* made = ::io_uring_get_sqe(ring_);
    EXPECT_NE(made, nullptr);
    std::memset(made, 0, sizeof(*made));
    return *made;
  }
  void submit() {
    io_uring_sq& sq = ring_->sq;
    io_uring_smp_store_release(sq.ktail, sq.sqe_tail);
    sq.sqe_head = sq.sqe_tail;
    kernel_->enter(sq.sqe_tail - io_uring_smp_load_acquire(sq.khead), 0, kernel::no_deadline);
  }
  /// Submits, and waits until `count` completions have come in all.
  std::vector<completion> wait(std::size_t count) {
    std::vector<completion> got;
    submit();
    take(got, count);
    while (got.size() < count) {
      if (engine_ != nullptr) submit();
      if (engine_ != nullptr) {
        // Entering brings in what the completion queue had no room for.
        if (completion_count() == 0 && !engine_->step(INT64_MAX - 1)) break;
      } else if (kernel_->enter(0, 1, kernel_->now() + patience) == -ETIME) {
        break;
      }
      take(got, count);
    }
    EXPECT_EQ(got.size(), count) << "completions that did not come";
    got.resize(count);
    return got;
  }
  completion wait() { return wait(1).front(); }
  /// The result of one operation that is already in `sqe()`.
  int result() { return wait().result; }

  void give_buffers(unsigned count) {
    const int mask = ::io_uring_buf_ring_mask(buffer_count);
    for (unsigned i = 0; i < count; ++i) {
      ::io_uring_buf_ring_add(buffer_ring_, buffers_[next_buffer_ % buffer_count], buffer_size,
                              static_cast<unsigned short>(next_buffer_ % buffer_count), mask,
                              static_cast<int>(i));
      ++next_buffer_;
    }
    ::io_uring_buf_ring_advance(buffer_ring_, static_cast<int>(count));
  }
  const char* buffer(unsigned number) const { return buffers_[number]; }

  int socket(int type) {
    const int made = kernel_->socket(AF_INET, type, 0);
    EXPECT_GE(made, 0);
    opened_.push_back(made);
    return made;
  }
  void forget(int descriptor) { std::erase(opened_, descriptor); }
  sockaddr_in loopback(std::uint16_t port = 0) const {
    sockaddr_in name{};
    name.sin_family = AF_INET;
    name.sin_port = htons(port);
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return name;
  }
  sockaddr_in local_name(int descriptor) {
    sockaddr_in name{};
    unsigned size = sizeof(name);
    EXPECT_EQ(kernel_->local_name(descriptor, &name, size), 0);
    return name;
  }
  sockaddr_in bind(int descriptor) {
    const sockaddr_in any = loopback();
    EXPECT_EQ(kernel_->bind(descriptor, &any, sizeof(any)), 0);
    return local_name(descriptor);
  }
  int listener(sockaddr_in& name, int backlog = 16) {
    const int made = socket(SOCK_STREAM);
    name = bind(made);
    EXPECT_EQ(kernel_->listen(made, backlog), 0);
    return made;
  }
  int connect(int descriptor, const sockaddr_in& to) {
    ::io_uring_prep_connect(&sqe(), descriptor, reinterpret_cast<const sockaddr*>(&to), sizeof(to));
    return result();
  }
  int accept(int listener_descriptor) {
    ::io_uring_prep_accept(&sqe(), listener_descriptor, nullptr, nullptr, 0);
    const int made = result();
    if (made >= 0) opened_.push_back(made);
    return made;
  }
  struct pair {
    int near_end;
    int far_end;
  };
  pair connected() {
    sockaddr_in name{};
    const int listening = listener(name);
    const int near_end = socket(SOCK_STREAM);
    EXPECT_EQ(connect(near_end, name), 0);
    const int far_end = accept(listening);
    EXPECT_EQ(close(listening), 0);
    return {near_end, far_end};
  }
  int close(int descriptor) {
    forget(descriptor);
    ::io_uring_prep_close(&sqe(), descriptor);
    return result();
  }
  int shutdown(int descriptor, int how) { return kernel_->shutdown(descriptor, how); }
  int send(int descriptor, const std::string& text, int flags = MSG_NOSIGNAL) {
    ::io_uring_prep_send(&sqe(), descriptor, text.data(), text.size(), flags);
    return result();
  }
  int receive(int descriptor, std::string& text, std::size_t size, int flags = 0) {
    text.assign(size, '.');
    ::io_uring_prep_recv(&sqe(), descriptor, text.data(), size, flags);
    const int got = result();
    text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    return got;
  }
  void start_multishot(int descriptor, std::uint64_t tag) {
    io_uring_sqe& made = sqe();
    ::io_uring_prep_recv_multishot(&made, descriptor, nullptr, 0, 0);
    made.flags |= IOSQE_BUFFER_SELECT;
    made.user_data = tag;
    submit();
  }
  void start_cancel(std::uint64_t target, std::uint64_t tag) {
    io_uring_sqe& made = sqe();
    ::io_uring_prep_cancel64(&made, target, 0);
    made.user_data = tag;
  }

 private:
  static constexpr std::size_t page = 4096;
  static constexpr std::int64_t patience = 10'000'000'000;  // nanoseconds; only a failure waits

  unsigned completion_count() const {
    return io_uring_smp_load_acquire(ring_->cq.ktail) - *ring_->cq.khead;
  }
  void take(std::vector<completion>& got, std::size_t most) {
    unsigned head = 0;
    unsigned count = 0;
    io_uring_cqe* cqe = nullptr;
    io_uring_for_each_cqe(ring_, head, cqe) {
      if (got.size() >= most) break;
      got.push_back({cqe->user_data, cqe->res, cqe->flags});
      ++count;
    }
    ::io_uring_cq_advance(ring_, count);
  }

  std::unique_ptr<sim::detail::engine> engine_;
  std::unique_ptr<sim::detail::network> wire_;
  std::unique_ptr<sim::detail::node> node_;
  std::unique_ptr<kernel> kernel_;
  io_uring* ring_ = nullptr;
  io_uring_buf_ring* buffer_ring_ = nullptr;
  char buffers_[buffer_count][buffer_size];
  unsigned next_buffer_ = 0;
  std::vector<int> opened_;
};

}  // namespace rill::test
