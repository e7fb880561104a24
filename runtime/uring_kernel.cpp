// The real kernel: io_uring for operations, ordinary system calls (system_kernel.h) for control.
// Set-up asks for what is good for a network server and no newer than Linux 6.1, the floor, so
// there is nothing to step down from; what is newer is used where the ring's features announce it.
// See kernel.h for what each call promises.
#include <sys/utsname.h>

#include <atomic>
#include <bit>
#include <cerrno>
#include <cstring>
#include <string>

#include <rill/runtime/system_kernel.h>
#include <rill/runtime/uring_abi.h>

namespace rill {
namespace {

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

// liburing maps and unmaps by system calls of its own, which ThreadSanitizer does not see. From
// here it learns that what another thread's ring wrote lies before this ring, at the same address.
std::atomic<unsigned> rings_ended{0};

class uring_kernel final : public detail::system_kernel {
 public:
  ~uring_kernel() override {
    rings_ended.fetch_add(1, std::memory_order_release);
    if (opened_) ::io_uring_queue_exit(&ring_);
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
    static_cast<void>(rings_ended.load(std::memory_order_acquire));
    if (ring_.sq.array != nullptr) {
      for (unsigned i = 0; i < ring_.sq.ring_entries; ++i) ring_.sq.array[i] = i;
    }
    if ((ring_.features & abi::feature_no_iowait) != 0) enter_flags_ |= abi::enter_no_iowait;
    open_wake_descriptor();
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

  int ring_descriptor() const noexcept override { return ring_.ring_fd; }
  bool reads_after_end() const noexcept override { return true; }

 private:
  io_uring ring_{};
  bool opened_ = false;
  unsigned enter_flags_ = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG;
};

}  // namespace

std::unique_ptr<kernel> make_uring_kernel() { return std::make_unique<uring_kernel>(); }

std::string uring_obstacle() {
  // The queues are the smallest there are. All three system calls of io_uring are tried: a seccomp
  // profile may forbid any of them.
  try {
    uring_kernel tried;
    tried.open({.submission = 1, .completion = 2});
    tried.start();
    const int status = tried.enter(0, 0, kernel::no_deadline);
    return status < 0 && status != -EINTR ? explain_setup_failure(-status) : std::string();
  } catch (const kernel_error& error) {
    // What is short now is no reason to do without the ring for ever: open() tells of it.
    const bool is_short = error.number() == ENOMEM || error.number() == EMFILE ||
                          error.number() == ENFILE || error.number() == EAGAIN;
    return is_short ? std::string() : error.what();
  }
}

}  // namespace rill
