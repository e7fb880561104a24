// The real kernel: io_uring for operations, ordinary system calls for control.
// Set-up asks for what is good for a network server and no newer than Linux 6.1, the floor, so
// there is nothing to step down from; what is newer is used where the ring's features announce it.
// See kernel.h for what each call promises.
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include <rill/runtime/kernel.h>
#include <rill/runtime/thread_pool.h>
#include <rill/runtime/uring_abi.h>

namespace rill {
namespace {

int negative_errno(int result) noexcept { return result < 0 ? -errno : result; }

std::int64_t read_clock(clockid_t clock) noexcept {
  timespec time{};
  ::clock_gettime(clock, &time);
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

/// sendfile(2) has no MSG_NOSIGNAL: a peer that is gone would end a program that has said nothing
/// about SIGPIPE. So while this object lives the signal is held back in this thread, and what has
/// come is taken away at the end. What the process does with SIGPIPE is none of our business.
class no_broken_pipe_signal {
 public:
  no_broken_pipe_signal() noexcept {
    struct sigaction now{};
    ::sigaction(SIGPIPE, nullptr, &now);
    if (now.sa_handler == SIG_IGN) return;  // as under run(): one system call and not four
    sigset_t pending;
    ::sigpending(&pending);
    if (sigismember(&pending, SIGPIPE) == 1) return;  // blocked and waiting: one more is no news
    const sigset_t pipe = pipe_only();
    active_ = ::pthread_sigmask(SIG_BLOCK, &pipe, &before_) == 0;
  }
  no_broken_pipe_signal(const no_broken_pipe_signal&) = delete;
  no_broken_pipe_signal& operator=(const no_broken_pipe_signal&) = delete;
  ~no_broken_pipe_signal() {
    if (!active_) return;
    const sigset_t pipe = pipe_only();
    const timespec no_wait{};
    while (::sigtimedwait(&pipe, nullptr, &no_wait) == -1 && errno == EINTR) {
    }
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

 private:
  static sigset_t pipe_only() noexcept {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    return set;
  }

  sigset_t before_;
  bool active_ = false;
};

/// One sentence for whoever starts a program on a machine where io_uring cannot be used.
std::string explain_setup_failure(int number) {
  switch (number) {
    case EPERM:
      return "io_uring is blocked (EPERM): either the sysctl kernel.io_uring_disabled is set "
             "(allow it with: sysctl -w kernel.io_uring_disabled=0) or a container's seccomp "
             "profile forbids io_uring_setup (allow io_uring_setup, io_uring_enter and "
             "io_uring_register in it)";
    case ENOSYS:
      return "io_uring is missing from this kernel (ENOSYS): rill needs Linux 6.1 or newer, "
             "built with CONFIG_IO_URING=y";
    case ENOMEM:
      return "io_uring could not lock memory for its queues (ENOMEM): raise the limit for locked "
             "memory (ulimit -l, or LimitMEMLOCK= in a systemd unit)";
    case EMFILE:
    case ENFILE:
      return "io_uring could not open its ring: the table of descriptors is full (raise ulimit -n)";
    case EINVAL: {
      utsname system{};
      ::uname(&system);
      return std::string("this kernel (Linux ") + system.release +
             ") is too old for rill's use of io_uring: Linux 6.1 or newer is needed "
             "(IORING_SETUP_SINGLE_ISSUER and IORING_SETUP_DEFER_TASKRUN)";
    }
    default:
      return std::string("io_uring could not be set up: ") + std::strerror(number);
  }
}

class uring_kernel final : public kernel {
 public:
  ~uring_kernel() override {
    if (opened_) ::io_uring_queue_exit(&ring_);
    if (wake_descriptor_ >= 0) ::close(wake_descriptor_);
  }

  std::string_view name() const noexcept override { return "uring"; }

  io_uring& open(const queue_sizes& sizes) override {
    // The kernel would say EINVAL, as it does to what it is too old for.
    if (!std::has_single_bit(sizes.submission) || !std::has_single_bit(sizes.completion) ||
        sizes.completion < sizes.submission) {
      throw kernel_error(EINVAL, "queue_sizes of " + std::to_string(sizes.submission) + " and " +
                                     std::to_string(sizes.completion) +
                                     " entries: both must be powers of two, and the completion "
                                     "queue at least as long as the submission queue");
    }
    // R_DISABLED: the loop may be made on one thread and run on another; the thread that enables
    // the ring becomes its single issuer. DEFER_TASKRUN: completions are made in enter(), by the
    // thread that wants them, in batches; worth a quarter of the throughput at 8,000 connections.
    const unsigned flags = IORING_SETUP_R_DISABLED | IORING_SETUP_SINGLE_ISSUER |
                           IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
    // NO_SQARRAY (Linux 6.6) is not asked for: liburing 2.3 fills the index array even where there
    // is none, and so overwrites the head of the ring. From 2.6 on liburing asks for it by itself
    // where the kernel has it; then there is no array to fill.
    io_uring_params params{};
    params.flags = flags;
    params.cq_entries = sizes.completion;
    const int status = ::io_uring_queue_init_params(sizes.submission, &ring_, &params);
    if (status != 0) throw kernel_error(-status, explain_setup_failure(-status));
    opened_ = true;
    if (ring_.sq.array != nullptr) {
      for (unsigned i = 0; i < ring_.sq.ring_entries; ++i) ring_.sq.array[i] = i;
    }
    if ((ring_.features & abi::feature_no_iowait) != 0) enter_flags_ |= abi::enter_no_iowait;
    wake_descriptor_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wake_descriptor_ < 0) {
      throw kernel_error(
          errno, std::string("cannot make an eventfd to wake the loop: ") + std::strerror(errno));
    }
    return ring_;
  }

  void start() override {
    const int status = ::io_uring_register(static_cast<unsigned>(ring_.ring_fd),
                                           IORING_REGISTER_ENABLE_RINGS, nullptr, 0);
    if (status != 0) throw kernel_error(-status, explain_setup_failure(-status));
    // A registered ring descriptor saves two atomic operations an enter; without it all works.
    if (::io_uring_register_ring_fd(&ring_) == 1) enter_flags_ |= IORING_ENTER_REGISTERED_RING;
  }

  int enter(unsigned to_submit, unsigned min_complete, std::int64_t deadline) noexcept override {
    __kernel_timespec timeout{};
    io_uring_getevents_arg argument{};
    if (min_complete != 0 && deadline != no_deadline) {
      std::int64_t remaining = deadline - now();
      if (remaining < 0) remaining = 0;
      timeout.tv_sec = remaining / 1'000'000'000;
      timeout.tv_nsec = remaining % 1'000'000'000;
      argument.ts = reinterpret_cast<std::uint64_t>(&timeout);
    }
    return ::io_uring_enter2(static_cast<unsigned>(ring_.enter_ring_fd), to_submit, min_complete,
                             enter_flags_, reinterpret_cast<sigset_t*>(&argument),
                             sizeof(argument));
  }

  int register_buffer_ring(void* ring, unsigned entry_count,
                           std::uint16_t group) noexcept override {
    io_uring_buf_reg registration{};
    registration.ring_addr = reinterpret_cast<std::uint64_t>(ring);
    registration.ring_entries = entry_count;
    registration.bgid = group;
    return ::io_uring_register_buf_ring(&ring_, &registration, 0);
  }
  int unregister_buffer_ring(std::uint16_t group) noexcept override {
    return ::io_uring_unregister_buf_ring(&ring_, group);
  }

  int socket(int family, int type, int protocol) noexcept override {
    return negative_errno(::socket(family, type | SOCK_CLOEXEC, protocol));
  }
  int socket_pair(int family, int type, int (&descriptors)[2]) noexcept override {
    return negative_errno(::socketpair(family, type | SOCK_CLOEXEC, 0, descriptors));
  }
  int bind(int descriptor, const void* address, unsigned size) noexcept override {
    return negative_errno(::bind(descriptor, static_cast<const sockaddr*>(address), size));
  }
  int listen(int descriptor, int backlog) noexcept override {
    return negative_errno(::listen(descriptor, backlog));
  }
  int set_option(int descriptor, int level, int option, const void* value,
                 unsigned size) noexcept override {
    return negative_errno(::setsockopt(descriptor, level, option, value, size));
  }
  int get_option(int descriptor, int level, int option, void* value,
                 unsigned& size) noexcept override {
    return negative_errno(::getsockopt(descriptor, level, option, value, &size));
  }
  int local_name(int descriptor, void* address, unsigned& size) noexcept override {
    return negative_errno(::getsockname(descriptor, static_cast<sockaddr*>(address), &size));
  }
  int peer_name(int descriptor, void* address, unsigned& size) noexcept override {
    return negative_errno(::getpeername(descriptor, static_cast<sockaddr*>(address), &size));
  }
  int pipe(int (&descriptors)[2]) noexcept override {
    return negative_errno(::pipe2(descriptors, O_CLOEXEC));
  }
  std::int64_t sendfile(int socket, int file, std::int64_t& offset,
                        std::size_t size) noexcept override {
    // The socket itself blocks, as the ring wants it (an operation on an O_NONBLOCK socket fails
    // with EAGAIN instead of waiting), and sendfile(2) has no flag of its own: so for this call
    // only.
    const int flags = ::fcntl(socket, F_GETFL);
    if (flags < 0 || ::fcntl(socket, F_SETFL, flags | O_NONBLOCK) < 0) return -errno;
    off_t position = offset;
    ssize_t sent = 0;
    int failure = 0;
    {
      const no_broken_pipe_signal guard;
      sent = ::sendfile(socket, file, &position, size);
      failure = errno;
    }
    ::fcntl(socket, F_SETFL, flags);
    if (sent < 0) return -failure;
    offset = position;
    return sent;
  }
  void close(int descriptor) noexcept override { ::close(descriptor); }

  int signals(std::span<const int> numbers) noexcept override {
    sigset_t set;
    sigemptyset(&set);
    for (const int number : numbers) sigaddset(&set, number);
    if (const int status = ::pthread_sigmask(SIG_BLOCK, &set, nullptr); status != 0) return -status;
    return negative_errno(::signalfd(-1, &set, SFD_CLOEXEC));
  }

  std::int64_t now() noexcept override { return read_clock(CLOCK_MONOTONIC); }
  // As it was at the last tick of the system, 1 to 10 ms ago: 3 ns and not 21.
  std::int64_t recent_now() noexcept override { return read_clock(CLOCK_MONOTONIC_COARSE); }
  std::int64_t wall_now() noexcept override { return read_clock(CLOCK_REALTIME); }
  void random(std::span<std::byte> bytes) noexcept override {
    while (!bytes.empty()) {
      const ssize_t filled = ::getrandom(bytes.data(), bytes.size(), 0);
      if (filled > 0) bytes = bytes.subspan(static_cast<std::size_t>(filled));
    }
  }

  void wake() noexcept override {
    const std::uint64_t one = 1;
    // Can only fail when the counter is full, and then the loop is being woken anyway.
    [[maybe_unused]] const ssize_t written = ::write(wake_descriptor_, &one, sizeof(one));
  }
  int wake_descriptor() const noexcept override { return wake_descriptor_; }
  int ring_descriptor() const noexcept override { return ring_.ring_fd; }
  void offload(offload_job& job) override { detail::thread_pool::shared().submit(job); }

 private:
  io_uring ring_{};
  bool opened_ = false;
  unsigned enter_flags_ = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG;
  int wake_descriptor_ = -1;
};

}  // namespace

std::unique_ptr<kernel> make_uring_kernel() { return std::make_unique<uring_kernel>(); }

std::unique_ptr<kernel> make_kernel(std::string_view name) {
  if (name == "uring" || name == "auto" || name.empty()) return make_uring_kernel();
  throw std::invalid_argument("no kernel is called '" + std::string(name) +
                              "'; there are: auto, uring");
}

}  // namespace rill
