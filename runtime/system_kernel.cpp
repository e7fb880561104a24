// Control calls of the kernels over Linux. See system_kernel.h; kernel.h says what each promises.
#include <rill/runtime/system_kernel.h>

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <string>

#include <rill/runtime/error.h>
#include <rill/runtime/thread_pool.h>

namespace rill::detail {
namespace {

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

}  // namespace

int negative_errno(int result) noexcept { return result < 0 ? -errno : result; }

int make_nonblocking(int descriptor) noexcept {
  const int flags = ::fcntl(descriptor, F_GETFL);
  if (flags < 0) return -errno;
  if ((flags & O_NONBLOCK) != 0) return 0;
  return negative_errno(::fcntl(descriptor, F_SETFL, flags | O_NONBLOCK));
}

nonblocking_scope::nonblocking_scope(int descriptor) noexcept
    : descriptor_(descriptor), flags_(::fcntl(descriptor, F_GETFL)) {
  if (flags_ < 0 ||
      ((flags_ & O_NONBLOCK) == 0 && ::fcntl(descriptor, F_SETFL, flags_ | O_NONBLOCK) < 0)) {
    status_ = -errno;
  }
}

nonblocking_scope::~nonblocking_scope() {
  if (status_ != 0 || (flags_ & O_NONBLOCK) != 0) return;
  const int kept = errno;  // of the call for which this was made
  ::fcntl(descriptor_, F_SETFL, flags_);
  errno = kept;
}

system_kernel::~system_kernel() {
  if (wake_descriptor_ >= 0) ::close(wake_descriptor_);
}

void system_kernel::open_wake_descriptor() {
  wake_descriptor_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake_descriptor_ >= 0) return;
  throw kernel_error(
      errno, std::string("cannot make an eventfd to wake the loop: ") + std::strerror(errno));
}

int system_kernel::socket(int family, int type, int protocol) noexcept {
  return negative_errno(::socket(family, type | SOCK_CLOEXEC, protocol));
}
int system_kernel::socket_pair(int family, int type, int (&descriptors)[2]) noexcept {
  return negative_errno(::socketpair(family, type | SOCK_CLOEXEC, 0, descriptors));
}
int system_kernel::bind(int descriptor, const void* address, unsigned size) noexcept {
  return negative_errno(::bind(descriptor, static_cast<const sockaddr*>(address), size));
}
int system_kernel::listen(int descriptor, int backlog) noexcept {
  return negative_errno(::listen(descriptor, backlog));
}
int system_kernel::shutdown(int descriptor, int how) noexcept {
  return negative_errno(::shutdown(descriptor, how));
}
bool system_kernel::is_readable(int descriptor) noexcept {
  pollfd asked{descriptor, POLLIN, 0};
  return ::poll(&asked, 1, 0) > 0;
}
int system_kernel::set_option(int descriptor, int level, int option, const void* value,
                              unsigned size) noexcept {
  return negative_errno(::setsockopt(descriptor, level, option, value, size));
}
int system_kernel::get_option(int descriptor, int level, int option, void* value,
                              unsigned& size) noexcept {
  return negative_errno(::getsockopt(descriptor, level, option, value, &size));
}
int system_kernel::local_name(int descriptor, void* address, unsigned& size) noexcept {
  return negative_errno(::getsockname(descriptor, static_cast<sockaddr*>(address), &size));
}
int system_kernel::peer_name(int descriptor, void* address, unsigned& size) noexcept {
  return negative_errno(::getpeername(descriptor, static_cast<sockaddr*>(address), &size));
}
int system_kernel::pipe(int (&descriptors)[2]) noexcept {
  return negative_errno(::pipe2(descriptors, O_CLOEXEC));
}

std::int64_t system_kernel::sendfile(int socket, int file, std::int64_t& offset,
                                     std::size_t size) noexcept {
  const nonblocking_scope scope(socket);
  if (scope.status() != 0) return scope.status();
  off_t position = offset;
  ssize_t sent = 0;
  {
    const no_broken_pipe_signal guard;
    sent = ::sendfile(socket, file, &position, size);
    if (sent < 0) sent = -errno;
  }
  if (sent < 0) return sent;
  offset = position;
  return sent;
}

bool system_kernel::adopt(int descriptor) noexcept {
  const int flags = ::fcntl(descriptor, F_GETFL);
  if (flags < 0 || (flags & O_NONBLOCK) == 0) return false;
  ::fcntl(descriptor, F_SETFL, flags & ~O_NONBLOCK);
  return true;
}

void system_kernel::release(int descriptor, bool nonblocking) noexcept {
  if (nonblocking) make_nonblocking(descriptor);
}

void system_kernel::close(int descriptor) noexcept { ::close(descriptor); }

int system_kernel::open_signals(std::span<const int> numbers, int flags) noexcept {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : numbers) sigaddset(&set, number);
  if (const int status = ::pthread_sigmask(SIG_BLOCK, &set, nullptr); status != 0) return -status;
  return negative_errno(::signalfd(-1, &set, SFD_CLOEXEC | flags));
}

int system_kernel::signals(std::span<const int> numbers) noexcept {
  return open_signals(numbers, 0);
}

std::int64_t system_kernel::now() noexcept { return read_clock(CLOCK_MONOTONIC); }
// As it was at the last tick of the system, 1 to 10 ms ago: 3 ns and not 21.
std::int64_t system_kernel::recent_now() noexcept { return read_clock(CLOCK_MONOTONIC_COARSE); }
std::int64_t system_kernel::wall_now() noexcept { return read_clock(CLOCK_REALTIME); }

void system_kernel::random(std::span<std::byte> bytes) noexcept {
  while (!bytes.empty()) {
    const ssize_t filled = ::getrandom(bytes.data(), bytes.size(), 0);
    if (filled > 0) bytes = bytes.subspan(static_cast<std::size_t>(filled));
  }
}

void system_kernel::wake() noexcept {
  const std::uint64_t one = 1;
  // Can only fail when the counter is full, and then the loop is being woken anyway.
  [[maybe_unused]] const ssize_t written = ::write(wake_descriptor_, &one, sizeof(one));
}

void system_kernel::offload(offload_job& job) { thread_pool::shared().submit(job); }

std::thread system_kernel::start_thread(loop_thread& started) {
  const all_signals_blocked guard;  // signals are for the loop that reads them
  try {
    return std::thread([&started] { started.run(); });
  } catch (const std::system_error& failure) {
    throw io_error(failure.code(), "start a thread", {});
  }
}

}  // namespace rill::detail
