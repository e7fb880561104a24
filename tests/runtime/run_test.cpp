// run(): exit codes, the error line, what the signals do, and what is restored. Each in a child.
#include <rill/runtime/run.h>

#include <sys/syscall.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>

#include <gtest/gtest.h>

#include "runtime/child_process.h"
#include "support/descriptors.h"
#include <rill/runtime/blocking.h>
#include <rill/runtime/file.h>
#include <rill/runtime/loop_group.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/timeout.h>

namespace rill {
namespace {

using namespace std::chrono_literals;
using test::child_process;
using test::say;

std::string line(const std::string& what) {
  return std::string(::program_invocation_short_name) + ": " + what + "\n";
}

struct says_at_end {
  explicit says_at_end(std::string_view what) : text(what) {}
  ~says_at_end() { say(text); }
  std::string_view text;
};

task<> wait_for_ever() {
  const says_at_end end("cleaned up");
  say("ready");
  co_await sleep_for(24h);
}

/// Drains until it is hurried: what a server's last part does.
task<> drain() {
  say("ready");
  co_await loop::current().hurry().wait();
  say("hurried");
}
task<> serve_and_drain() { co_await shielded(drain()); }

TEST(run, a_task_without_result_gives_0) {
  child_process child([] { return run([]() -> task<> { co_await yield(); }); });
  EXPECT_EQ(child.wait(), 0);
  EXPECT_EQ(child.rest(), "");
}

TEST(run, the_int_of_the_task_is_the_exit_code) {
  child_process child([] { return run([]() -> task<int> { co_return 42; }); });
  EXPECT_EQ(child.wait(), 42);
}

TEST(run, arguments_are_moved_and_references_passed_by_ref) {
  child_process child([] {
    int seen = 0;
    const int code = run(
        [](std::unique_ptr<int> owned, int& out) -> task<int> {
          co_await yield();
          out = *owned;
          co_return 3;
        },
        std::make_unique<int>(7), std::ref(seen));
    return code * 10 + seen;
  });
  EXPECT_EQ(child.wait(), 37);
}

TEST(run, an_exception_is_one_line_on_stderr_and_gives_1) {
  child_process child([] {
    return run([]() -> task<int> {
      co_await yield();
      throw std::runtime_error("the disk\nis on fire");
    });
  });
  EXPECT_EQ(child.next_write(), line("the disk is on fire"));
  EXPECT_EQ(child.wait(), 1);
}

TEST(run, an_exception_of_unknown_type_is_told_too) {
  child_process child([] {
    return run([]() -> task<> {
      co_await yield();
      throw 7;
    });
  });
  EXPECT_EQ(child.next_write(), line("an exception of unknown type ended the program"));
  EXPECT_EQ(child.wait(), 1);
}

TEST(run, an_exception_thrown_before_the_task_exists_is_told_too) {
  child_process child([] { return run([]() -> task<> { throw std::runtime_error("no task"); }); });
  EXPECT_EQ(child.next_write(), line("no task"));
  EXPECT_EQ(child.wait(), 1);
}

TEST(run, a_blocked_io_uring_is_one_line_that_names_cause_and_remedy) {
  child_process child([] {
    if (!test::refuse_system_call(SYS_io_uring_setup, EPERM)) return 99;
    return run(run_options{.kernel = "uring"}, wait_for_ever);
  });
  const std::string text = child.rest();
  EXPECT_TRUE(
      text.starts_with(line("").substr(0, line("").size() - 1) + "io_uring is blocked (EPERM)"))
      << text;
  EXPECT_EQ(text.find('\n'), text.size() - 1);
  EXPECT_EQ(child.wait(), 1);
}

TEST(run, the_environment_names_the_kernel_when_the_option_is_auto) {
  child_process child([] {
    ::setenv("RILL_KERNEL", "no-such", 1);
    if (run(run_options{.kernel = "epoll"}, []() -> task<> { co_return; }) != 0) return 99;
    return run([]() -> task<> { co_return; });
  });
  EXPECT_NE(child.rest().find("no kernel is called 'no-such'"), std::string::npos);
  EXPECT_EQ(child.wait(), 1);
}

TEST(run, the_first_sigterm_or_sigint_cancels_the_task_and_gives_0) {
  for (const int number : {SIGTERM, SIGINT}) {
    child_process child([] { return run(wait_for_ever); });
    EXPECT_EQ(child.next_write(), "ready");
    child.signal(number);
    EXPECT_EQ(child.next_write(), "cleaned up");
    EXPECT_EQ(child.wait(), 0);
  }
}

TEST(run, an_int_task_that_is_cancelled_gives_0) {
  child_process child([] {
    return run([]() -> task<int> {
      co_await wait_for_ever();
      co_return 5;
    });
  });
  EXPECT_EQ(child.next_write(), "ready");
  child.signal(SIGTERM);
  EXPECT_EQ(child.rest(), "cleaned up");
  EXPECT_EQ(child.wait(), 0);
}

TEST(run, the_second_signal_ends_draining) {
  child_process child([] { return run(serve_and_drain); });
  EXPECT_EQ(child.next_write(), "ready");
  child.signal(SIGTERM);
  std::string tree;
  do {  // until the first signal has been seen
    child.signal(SIGUSR1);
    tree = child.next_write();
  } while (tree.find("being cancelled") == std::string::npos);
  EXPECT_NE(tree.find("event"), std::string::npos);
  child.signal(SIGINT);
  EXPECT_EQ(child.next_write(), "hurried");
  EXPECT_EQ(child.wait(), 0);
}

TEST(run, stop_and_stop_now_do_the_same_from_another_thread) {
  child_process child([] {
    return run([]() -> task<> {
      loop& on = loop::current();
      std::thread other([&on] {
        on.stop();
        on.stop_now();
      });
      co_await shielded(drain());
      other.join();
      say("joined");
      co_await sleep_for(24h);
    });
  });
  EXPECT_EQ(child.next_write(), "ready");
  EXPECT_EQ(child.next_write(), "hurried");
  EXPECT_EQ(child.wait(), 0);
}

TEST(run, sigusr1_writes_the_task_tree_in_one_write_and_goes_on) {
  child_process child([] {
    return run([]() -> task<> {
      co_await with_nursery([](nursery& tasks) -> task<> {
        for (int i = 0; i < 50; ++i) {
          tasks.start([]() -> task<> { co_await sleep_for(24h); });
        }
        co_await yield();
        say("ready");
        co_await sleep_for(24h);
      });
    });
  });
  EXPECT_EQ(child.next_write(), "ready");
  for (int i = 0; i < 2; ++i) {
    child.signal(SIGUSR1);
    const std::string tree = child.next_write();
    EXPECT_TRUE(tree.starts_with(std::string(::program_invocation_short_name) + ", loop of"));
    EXPECT_NE(tree.find("52 tasks"), std::string::npos) << tree;
    EXPECT_EQ(std::count(tree.begin(), tree.end(), '\n'), 53);
  }
  child.signal(SIGTERM);
  EXPECT_EQ(child.wait(), 0);
}

TEST(run, sigusr1_writes_the_trees_of_all_loops_and_names_a_busy_one) {
  child_process child([] {
    return run([]() -> task<> {
      std::atomic<bool> busy{true};
      std::atomic<int> begun{0};
      loop_group group(3);
      co_await group.run([&](unsigned index) -> task<> {
        ++begun;
        if (index == 1) {
          while (begun != 3) std::this_thread::yield();
          say("ready");
          while (busy.load()) std::this_thread::yield();  // never does a loop a favour
        }
        if (index == 0) {
          const says_at_end end("0 ended");
          co_await loop::current().hurry().wait();
          busy = false;
        }
        co_await sleep_for(24h);
      });
    });
  });
  EXPECT_EQ(child.next_write(), "ready");
  child.signal(SIGUSR1);
  const std::string tree = child.next_write();
  EXPECT_NE(tree.find("busy, no answer within a second"), std::string::npos) << tree;
  EXPECT_NE(tree.find("group of 3 loops, 3 running"), std::string::npos) << tree;
  EXPECT_NE(tree.find("sleep"), std::string::npos) << tree;
}

TEST(run, what_it_changes_in_the_process_is_restored) {
  child_process child([] {
    ::signal(SIGPIPE, SIG_DFL);
    const std::size_t before = test::open_descriptor_count();
    const int code = run([&]() -> task<> {
      ::raise(SIGPIPE);  // ignored
      sigset_t mask;
      ::pthread_sigmask(SIG_BLOCK, nullptr, &mask);
      if (sigismember(&mask, SIGTERM) == 1 && sigismember(&mask, SIGUSR1) == 1) say("blocked");
      co_return;
    });
    sigset_t mask;
    ::pthread_sigmask(SIG_BLOCK, nullptr, &mask);
    struct sigaction on_pipe{};
    ::sigaction(SIGPIPE, nullptr, &on_pipe);
    if (sigismember(&mask, SIGTERM) != 0 || on_pipe.sa_handler != SIG_DFL) return 98;
    return test::open_descriptor_count() == before ? code : 99;
  });
  EXPECT_EQ(child.next_write(), "blocked");
  EXPECT_EQ(child.wait(), 0);
}

TEST(run, signals_that_come_too_late_do_not_kill) {
  child_process child([] {
    struct raises_at_end {
      raises_at_end() noexcept {}
      ~raises_at_end() {
        ::kill(::getpid(), SIGTERM);
        ::kill(::getpid(), SIGUSR1);
      }
    };
    return run([]() -> task<> {
      const raises_at_end late;
      say("ready");
      co_await sleep_for(24h);
    });
  });
  EXPECT_EQ(child.next_write(), "ready");
  child.signal(SIGTERM);
  EXPECT_EQ(child.wait(), 0);
}

task<file> open_passwd() { co_return co_await file::open("/etc/passwd"); }

TEST(run, a_parameter_of_the_task_that_owns_a_file_ends_with_the_task) {
  loop on(make_kernel("auto"));
  struct holder {
    std::optional<file> held;
  };
  on.run([](std::shared_ptr<holder> owned) -> task<> {
    owned->held.emplace(co_await open_passwd());
  }(std::make_shared<holder>()));
}

TEST(run, an_object_that_outlives_the_task_is_named_and_sigterm_ends_the_program) {
  child_process child([] {
    static std::optional<file> kept;
    return run([]() -> task<> { kept.emplace(co_await open_passwd()); });
  });
  const std::string sentence = child.next_write();
  EXPECT_NE(sentence.find("waits for what is left of 1 objects: file /etc/passwd (descriptor "),
            std::string::npos)
      << sentence;
  EXPECT_EQ(sentence.find('\n'), sentence.size() - 1);
  child.signal(SIGUSR1);
  const std::string tree = child.next_write();
  EXPECT_NE(tree.find("0 tasks\n"), std::string::npos) << tree;
  EXPECT_NE(tree.find("though the loop's task has ended:\n- file /etc/passwd"), std::string::npos)
      << tree;
  child.signal(SIGTERM);
  const std::string leak = child.rest();
  EXPECT_NE(leak.find("objects are left at the end of their loop:\n0 tasks"), std::string::npos)
      << leak;
  EXPECT_NE(leak.find("- file /etc/passwd"), std::string::npos) << leak;
  EXPECT_EQ(child.wait(), 0);
}

TEST(run, stop_now_ends_a_loop_whose_result_is_an_object) {
  loop on(make_kernel("auto"));
  std::optional<file> opened;
  std::thread other;
  opened.emplace(on.run([](std::thread& stopper) -> task<file> {
    loop& here = loop::current();
    stopper = std::thread([&here] {
      enum { unanswered, running, ended };
      int state = running;
      while (state == running) {  // asked on the loop's own thread
        std::atomic<int> answer{unanswered};
        here.post([&] { answer = here.main_ended() ? ended : running; });
        while ((state = answer) == unanswered) std::this_thread::yield();
      }
      here.stop_now();
    });
    co_return co_await open_passwd();
  }(other)));
  other.join();
  EXPECT_TRUE(opened->is_open());
  opened.reset();  // the loop's destructor lets the ring close it
}

TEST(run_death_test, a_loop_that_is_left_with_objects_names_them_and_aborts) {
  EXPECT_DEATH(
      {
        std::optional<file> opened;
        loop on(make_kernel("auto"));
        on.run([](std::optional<file>& out) -> task<> {
          out.emplace(co_await open_passwd());
          loop::current().stop_now();
        }(opened));
      },
      "objects are left at the end of their loop:.*0 tasks.*- file /etc/passwd.*destroyed before "
      "its sockets and files");
}

TEST(run, a_stop_that_comes_after_the_end_does_not_end_the_next_run) {
  loop on(make_kernel("auto"));
  on.stop();  // nothing runs yet
  bool reached = false;
  const auto pass = [](bool& out) -> task<> {
    co_await sleep_for(0s);
    out = true;
  };
  on.run(pass(reached));
  EXPECT_TRUE(reached);
  on.stop();
  on.stop_now();
  reached = false;
  on.run(pass(reached));
  EXPECT_TRUE(reached);
}

TEST(run, the_second_signal_ends_a_program_whose_blocking_call_never_returns) {
  child_process child([] {
    return run([]() -> task<> {
      co_await run_blocking([] {
        say("ready");
        for (;;) ::pause();
      });
    });
  });
  EXPECT_EQ(child.next_write(), "ready");
  child.signal(SIGTERM);
  std::string text;
  do {  // until the first signal has been seen
    child.signal(SIGUSR1);
    text = child.next_write();
  } while (text.find("- blocking call") == std::string::npos);
  child.signal(SIGINT);
  EXPECT_EQ(child.wait(), 0);
}

TEST(run, signals_are_left_alone_when_asked) {
  child_process child([] { return run(run_options{.handle_signals = false}, wait_for_ever); });
  EXPECT_EQ(child.next_write(), "ready");
  child.signal(SIGTERM);
  EXPECT_EQ(child.wait(), -SIGTERM);
}

}  // namespace
}  // namespace rill
