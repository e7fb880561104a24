// Where io_uring is blocked for real: a seccomp filter, as containers have it, and the sysctl that
// forbids it to the whole machine. "auto" then runs on epoll, and says so in one line.
#include <sys/syscall.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <string>

#include <gtest/gtest.h>

#include "runtime/child_process.h"
#include "support.h"
#include <rill/net/serve.h>
#include <rill/net/tcp.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/run.h>

namespace rill {
namespace {

using test::child_process;

task<> echo(tcp_stream peer) {
  while (auto bytes = co_await peer.read_lease()) {
    co_await peer.write_all(bytes);
  }
}

/// Eight clients of an echo server, all in one loop. 0: each got back what it had sent.
task<int> echo_with_clients() {
  int failure_count = loop::current().kernel().name() == "epoll" ? 0 : 100;
  auto listener = tcp_listener::bind(endpoint(address::loopback_v4(), 0));
  const endpoint local = listener.local();
  co_await with_nursery([&](nursery& all) -> task<> {
    all.start([&]() -> task<> { co_await serve(listener, echo); });
    co_await with_nursery([&](nursery& clients) -> task<> {
      for (int i = 0; i < 8; ++i) {
        clients.start([&]() -> task<> {
          tcp_stream stream = co_await tcp_stream::connect(local);
          for (const std::size_t size : {1U, 100U, 100'000U}) {
            const std::string sent(size, 'x');
            co_await stream.write_all(sent);
            std::string got(size, '.');
            co_await stream.read_exactly(got);
            if (got != sent) ++failure_count;
          }
        });
      }
      co_return;
    });
    all.cancel();
  });
  co_return failure_count;
}

/// What the program of a user says on a machine that refuses the system call; then its exit code.
std::string lines_of_a_server(long number, int error) {
  child_process child([=] {
    ::unsetenv("RILL_KERNEL");
    if (!test::refuse_system_call(number, error)) return 99;
    const int first = run(echo_with_clients);
    return first != 0 ? first : run(echo_with_clients);
  });
  const std::string text = child.rest();
  return text + "exit code " + std::to_string(child.wait());
}

void expect_one_line(const std::string& said, const char* why) {
  EXPECT_NE(said.find(": running on epoll, for "), std::string::npos) << said;
  EXPECT_NE(said.find(why), std::string::npos) << said;
  EXPECT_NE(said.find("\nexit code 0"), std::string::npos) << said;
  EXPECT_EQ(said.find('\n'), said.rfind('\n')) << said;
}

TEST(fallback, a_blocked_ring_is_replaced_by_epoll_with_one_line) {
  expect_one_line(lines_of_a_server(SYS_io_uring_setup, EPERM), "io_uring is blocked (EPERM)");
  expect_one_line(lines_of_a_server(SYS_io_uring_setup, ENOSYS), "(ENOSYS)");
  expect_one_line(lines_of_a_server(SYS_io_uring_setup, EINVAL), "is too old");
  expect_one_line(lines_of_a_server(SYS_io_uring_register, EPERM), "io_uring is blocked (EPERM)");
  expect_one_line(lines_of_a_server(SYS_io_uring_enter, EPERM), "io_uring is blocked (EPERM)");
}

TEST(fallback, who_asks_for_the_ring_gets_no_substitute) {
  child_process child([] {
    if (!test::refuse_system_call(SYS_io_uring_setup, EPERM)) return 99;
    return run(run_options{.kernel = "uring"}, echo_with_clients);
  });
  EXPECT_NE(child.rest().find("io_uring is blocked (EPERM)"), std::string::npos);
  EXPECT_EQ(child.wait(), 1);
}

TEST(fallback, who_asks_for_epoll_reads_no_line) {
  child_process child([] { return run(run_options{.kernel = "epoll"}, echo_with_clients); });
  EXPECT_EQ(child.rest(), "");
  EXPECT_EQ(child.wait(), 0);
}

TEST(fallback, an_old_kernel_that_waits_in_milliseconds_sleeps_long_enough) {
  for (const int error : {ENOSYS, EPERM}) {
    child_process child([error] {
      if (!test::refuse_system_call(SYS_epoll_pwait2, error)) return 99;
      return run(run_options{.kernel = "epoll"}, []() -> task<int> {
        for (const int count : {1, 999'999, 3'000'001}) {
          const std::chrono::nanoseconds pause(count);
          const auto before = loop_clock::now();
          co_await sleep_for(pause);
          if (loop_clock::now() - before < pause) co_return 98;
        }
        co_return 0;
      });
    });
    EXPECT_EQ(child.rest(), "");
    EXPECT_EQ(child.wait(), 0);
  }
}

/// Sets kernel.io_uring_disabled, and back at the end.
class disabled_ring {
 public:
  disabled_ring() {
    std::ifstream(path) >> before_;
    std::ofstream(path) << 2 << std::flush;
    int now = 0;
    std::ifstream(path) >> now;
    done_ = now == 2;
  }
  disabled_ring(const disabled_ring&) = delete;
  disabled_ring& operator=(const disabled_ring&) = delete;
  ~disabled_ring() {
    if (done_) std::ofstream(path) << before_;
  }
  bool is_done() const { return done_; }

 private:
  static constexpr const char* path = "/proc/sys/kernel/io_uring_disabled";
  int before_ = 0;
  bool done_ = false;
};

TEST(fallback, a_machine_without_the_ring_runs_on_epoll) {
  // It concerns every program of the machine, so it is asked for by name only.
  if (std::getenv("RILL_TEST_IO_URING_DISABLED") == nullptr) {
    GTEST_SKIP() << "set RILL_TEST_IO_URING_DISABLED on a machine of your own to run this";
  }
  const disabled_ring disabled;
  if (!disabled.is_done()) GTEST_SKIP() << "kernel.io_uring_disabled may not be set here";
  child_process child([] {
    ::unsetenv("RILL_KERNEL");
    return run(echo_with_clients);
  });
  const std::string said = child.rest();
  expect_one_line(said + "exit code " + std::to_string(child.wait()), "kernel.io_uring_disabled");
}

}  // namespace
}  // namespace rill
