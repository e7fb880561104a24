// A forked copy of the test that runs one function: for exit codes, signals, and a machine that
// refuses system calls. What it writes to stderr comes back in the pieces in which it was written.
#pragma once

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <string>
#include <string_view>

namespace rill::test {

/// Nothing of it is made: what is asked for cannot be.
inline bool is_ring_blocked() {
  return ::syscall(SYS_io_uring_setup, 0, nullptr) < 0 && (errno == EPERM || errno == ENOSYS);
}

class child_process {
 public:
  /// Runs `body`, which returns the exit code, in a child.
  template <class Body>
  explicit child_process(Body&& body) {
    int ends[2];
    // Keeps the borders between writes, unlike a pipe.
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) std::abort();
    std::fflush(nullptr);
    process_ = ::fork();
    if (process_ == 0) {
      ::dup2(ends[1], STDERR_FILENO);
      ::close(ends[0]);
      ::close(ends[1]);
      // Where the tests themselves may not use io_uring a program says that it runs on epoll,
      // unless that was asked for.
      if (is_ring_blocked()) ::setenv("RILL_KERNEL", "epoll", 0);
      std::exit(body());
    }
    ::close(ends[1]);
    stderr_ = ends[0];
  }
  child_process(const child_process&) = delete;
  child_process& operator=(const child_process&) = delete;
  ~child_process() {
    if (process_ > 0) {
      ::kill(process_, SIGKILL);
      ::waitpid(process_, nullptr, 0);
    }
    ::close(stderr_);
  }

  /// The next piece that the child writes to stderr; empty when it has ended.
  std::string next_write() {
    pollfd ready{stderr_, POLLIN, 0};
    if (::poll(&ready, 1, 60'000) <= 0) return "nothing was written for a minute";
    std::string text(256 * 1024, '\0');
    const ssize_t size = ::recv(stderr_, text.data(), text.size(), 0);
    text.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
    return text;
  }
  /// Everything that is still to come.
  std::string rest() {
    std::string all;
    for (std::string text = next_write(); !text.empty(); text = next_write()) all += text;
    return all;
  }
  void signal(int number) const { ::kill(process_, number); }

  /// Waits for the end: the exit code, or minus the number of the signal that killed it.
  int wait() {
    int status = 0;
    ::waitpid(process_, &status, 0);
    process_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

 private:
  pid_t process_ = 0;
  int stderr_ = -1;
};

/// In one write to stderr; for use in the child.
inline void say(std::string_view text) {
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
}

/// From now on the system call fails with `error` in this process, for ever (seccomp(2)).
inline bool refuse_system_call(long number, int error) {
  const sock_filter program[] = {
      {BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(seccomp_data, nr)},
      {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, static_cast<unsigned>(number)},
      {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | static_cast<unsigned>(error)},
      {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW},
  };
  const sock_fprog all{static_cast<unsigned short>(std::size(program)),
                       const_cast<sock_filter*>(program)};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &all) == 0;
}

}  // namespace rill::test
