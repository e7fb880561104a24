// What the kernels over a real Linux have in common: control calls as system calls, the clocks, the
// wake descriptor, the thread pool. Not here: how operations are carried out.
// Read next: uring_kernel.cpp, epoll_kernel.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <rill/runtime/kernel.h>

namespace rill::detail {

/// A system call's result as the seam gives it.
int negative_errno(int result) noexcept;

/// Sets O_NONBLOCK, if it is not set. 0 or a negative errno.
int make_nonblocking(int descriptor) noexcept;

/// O_NONBLOCK for as long as this lives, for calls that have no flag of their own for it. The
/// descriptor blocks otherwise, as the ring wants it (an operation on an O_NONBLOCK socket fails
/// with EAGAIN instead of waiting) and as whoever else holds the file expects.
class nonblocking_scope {
 public:
  explicit nonblocking_scope(int descriptor) noexcept;
  nonblocking_scope(const nonblocking_scope&) = delete;
  nonblocking_scope& operator=(const nonblocking_scope&) = delete;
  ~nonblocking_scope();
  /// 0, or the negative errno with which it did not work.
  int status() const noexcept { return status_; }

 private:
  int descriptor_;
  int flags_;
  int status_ = 0;
};

class system_kernel : public kernel {
 public:
  ~system_kernel() override;

  int socket(int family, int type, int protocol) noexcept override;
  int socket_pair(int family, int type, int (&descriptors)[2]) noexcept override;
  int bind(int descriptor, const void* address, unsigned size) noexcept override;
  int listen(int descriptor, int backlog) noexcept override;
  int shutdown(int descriptor, int how) noexcept override;
  bool is_readable(int descriptor) noexcept override;
  int set_option(int descriptor, int level, int option, const void* value,
                 unsigned size) noexcept override;
  int get_option(int descriptor, int level, int option, void* value,
                 unsigned& size) noexcept override;
  int local_name(int descriptor, void* address, unsigned& size) noexcept override;
  int peer_name(int descriptor, void* address, unsigned& size) noexcept override;
  int pipe(int (&descriptors)[2]) noexcept override;
  std::int64_t sendfile(int socket, int file, std::int64_t& offset,
                        std::size_t size) noexcept override;
  /// Clears O_NONBLOCK, with which an operation on the ring fails with EAGAIN instead of waiting.
  bool adopt(int descriptor) noexcept override;
  void release(int descriptor, bool nonblocking) noexcept override;
  void close(int descriptor) noexcept override;
  int signals(std::span<const int> numbers) noexcept override;

  std::int64_t now() noexcept override;
  std::int64_t recent_now() noexcept override;
  std::int64_t wall_now() noexcept override;
  void random(std::span<std::byte> bytes) noexcept override;

  void wake() noexcept override;
  int wake_descriptor() const noexcept override { return wake_descriptor_; }
  void offload(offload_job& job) override;
  std::unique_ptr<kernel> make_sibling() override { return make_kernel(name()); }
  std::thread start_thread(loop_thread& started) override;

 protected:
  /// Part of open(). Throws kernel_error.
  void open_wake_descriptor();
  /// signals(), with flags for signalfd(2).
  static int open_signals(std::span<const int> numbers, int flags) noexcept;

 private:
  int wake_descriptor_ = -1;
};

}  // namespace rill::detail
