// A kernel over Linux, the one that RILL_KERNEL names, and the loop on it: waiting without burning
// the processor, being woken, interrupted and written to by other threads.
#include <rill/runtime/kernel.h>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/child_process.h"
#include "support.h"
#include "support/descriptors.h"
#include <rill/runtime/event.h>
#include <rill/runtime/file.h>
#include <rill/runtime/loop.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/sleep.h>

namespace rill {
namespace {

using namespace std::chrono_literals;
using test::child_process;
using test::run_loop;
using test::say;
using test::settle;

std::chrono::nanoseconds processor_time() {
  rusage used{};
  ::getrusage(RUSAGE_THREAD, &used);
  const auto of = [](const timeval& time) {
    return std::chrono::seconds(time.tv_sec) + std::chrono::microseconds(time.tv_usec);
  };
  return of(used.ru_utime) + of(used.ru_stime);
}

TEST(kernel, may_be_opened_on_one_thread_and_run_on_another) {
  loop on(make_kernel("auto"));
  int seen = 0;
  std::thread other([&] {
    seen = on.run([]() -> task<int> {
      co_await sleep_for(1ms);
      co_return 3;
    }());
  });
  other.join();
  EXPECT_EQ(seen, 3);
}

TEST(kernel, that_finds_no_descriptor_says_so_and_leaves_none_open) {
  const std::size_t before = test::open_descriptor_count();
  std::string said;
  // One more each time, until it has all that it needs.
  for (rlim_t room = 0; room < 20; ++room) {
    const test::descriptor_limit few(test::next_descriptor() + room);
    try {
      const loop on(make_kernel("auto"));
      break;
    } catch (const kernel_error& error) {
      EXPECT_EQ(error.number(), EMFILE);
      said = error.what();
      EXPECT_NE(said, "") << room;
    }
  }
  EXPECT_NE(said, "");  // the first had no room at all
  EXPECT_EQ(test::open_descriptor_count(), before);
}

TEST(kernel, an_unknown_name_is_refused_with_those_there_are) {
  try {
    make_kernel("kqueue");
    FAIL();
  } catch (const std::invalid_argument& error) {
    EXPECT_NE(std::string_view(error.what()).find("'kqueue'"), std::string_view::npos);
    EXPECT_NE(std::string_view(error.what()).find("auto, uring, epoll"), std::string_view::npos);
  }
}

TEST(kernel, enter_waits_until_its_deadline_and_no_longer) {
  const auto made = make_kernel("auto");
  made->open(queue_sizes{});
  made->start();
  const std::int64_t deadline = made->now() + 20'000'000;
  int status = 0;
  do {
    status = made->enter(0, 1, deadline);
  } while (status == -EINTR);
  EXPECT_EQ(status, -ETIME);
  EXPECT_GE(made->now(), deadline);
  EXPECT_EQ(made->enter(0, 1, made->now() - 1), -ETIME);  // one that has passed
}

TEST(kernel, a_sleeping_loop_uses_no_processor_time) {
  std::chrono::nanoseconds used{};
  std::uint64_t turns = 0;
  run_loop([&]() -> task<> {
    co_await yield();
    const auto before = processor_time();
    const std::uint64_t turns_before = loop::current().statistics().turn_count;
    co_await sleep_for(300ms);
    used = processor_time() - before;
    turns = loop::current().statistics().turn_count - turns_before;
  });
  EXPECT_LT(used, 20ms);
  EXPECT_LE(turns, 3U);
}

TEST(kernel, a_sleep_is_never_too_short) {
  run_loop([]() -> task<> {
    for (const auto duration : {0ns, 1ns, 999ns, 1'000'000ns, 3'333'333ns}) {
      const auto before = loop_clock::now();
      co_await sleep_for(duration);
      EXPECT_GE(loop_clock::now() - before, duration);
    }
  });
}

std::atomic<int> alarm_count{0};

TEST(kernel, an_interrupted_wait_goes_on) {
  struct sigaction action{};
  action.sa_handler = [](int) { ++alarm_count; };  // without SA_RESTART: enter() gets EINTR
  struct sigaction before{};
  ::sigaction(SIGALRM, &action, &before);
  itimerval every{{0, 2000}, {0, 2000}};
  ::setitimer(ITIMER_REAL, &every, nullptr);
  run_loop([]() -> task<> {
    const auto start = loop_clock::now();
    while (alarm_count < 5) {
      const auto begin = loop_clock::now();
      co_await sleep_for(10ms);
      EXPECT_GE(loop_clock::now() - begin, 10ms);
      if (loop_clock::now() - start > 30s) break;
    }
  });
  every = {};
  ::setitimer(ITIMER_REAL, &every, nullptr);
  ::sigaction(SIGALRM, &before, nullptr);
  EXPECT_GE(alarm_count, 5);
}

TEST(kernel, wake_from_another_thread_ends_a_wait) {
  run_loop([]() -> task<> {
    loop& here = loop::current();
    for (int round = 0; round < 200; ++round) {
      event came;
      std::thread other([&] { here.post([&came] { came.set(); }); });
      co_await came.wait();
      other.join();
    }
  });
}

TEST(kernel, messages_of_each_thread_arrive_in_its_order_and_none_is_lost) {
  constexpr int sender_count = 4;
  constexpr int message_count = 25'000;
  std::vector<int> next(sender_count, 0);
  int disorder = 0;
  run_loop([&]() -> task<> {
    loop& here = loop::current();
    event all;
    int left = sender_count * message_count;
    std::vector<std::thread> senders;
    for (int sender = 0; sender < sender_count; ++sender) {
      senders.emplace_back([&, sender] {
        for (int i = 0; i < message_count; ++i) {
          here.post([&, sender, i] {
            if (next[sender]++ != i) ++disorder;
            if (--left == 0) all.set();
          });
        }
      });
    }
    co_await all.wait();
    for (std::thread& each : senders) each.join();
  });
  EXPECT_EQ(disorder, 0);
  EXPECT_EQ(next, std::vector<int>(sender_count, message_count));
}

TEST(kernel, two_loops_wake_each_other_for_every_message) {
  constexpr int round_count = 5000;
  loop first(make_kernel("auto"));
  loop second(make_kernel("auto"));
  event first_done;
  event second_done;
  std::atomic<int> ready{0};
  // Each message is answered by the other loop, which mostly sleeps by then.
  struct ball {
    loop* here;
    loop* there;
    event* here_done;
    event* there_done;
    int left;
    void operator()() {
      if (left == 0) {
        here_done->set();
        there->post([done = there_done] { done->set(); });
      } else {
        there->post(ball{there, here, there_done, here_done, left - 1});
      }
    }
  };
  const auto wait_for = [&ready](event& done) -> task<> {
    ++ready;
    co_await done.wait();
  };
  std::thread other([&] { second.run(wait_for(second_done)); });
  std::thread starter([&] {
    while (ready != 2) std::this_thread::yield();
    second.post(ball{&second, &first, &second_done, &first_done, round_count});
  });
  first.run(wait_for(first_done));
  starter.join();
  other.join();
  EXPECT_GE(first.statistics().message_count, static_cast<std::uint64_t>(round_count) / 2);
}

TEST(kernel, messages_that_come_after_the_end_are_freed) {
  bool delivered = false;
  {
    loop on(make_kernel("auto"));
    on.run([]() -> task<> { co_return; }());
    on.post([&delivered, text = std::string(1000, 'x')] { delivered = !text.empty(); });
  }
  EXPECT_FALSE(delivered);
}

/// A pipe; its read end can be opened as a `file`.
class pipe_ends {
 public:
  pipe_ends() { EXPECT_EQ(::pipe2(ends_, O_CLOEXEC), 0); }
  ~pipe_ends() {
    ::close(ends_[0]);
    ::close(ends_[1]);
  }
  std::string path() const { return "/proc/self/fd/" + std::to_string(ends_[0]); }
  void write(std::size_t count) const {
    const std::string bytes(count, 'x');
    EXPECT_EQ(::write(ends_[1], bytes.data(), count), static_cast<ssize_t>(count));
  }

 private:
  int ends_[2];
};

constexpr loop_options small_queues{.queues = {.submission = 4, .completion = 8}, .buffers = {}};

task<> read_one(file& from, int& count) {
  std::byte buffer[1];
  EXPECT_EQ(co_await from.read_at(buffer, 0), 1U);
  ++count;
}

TEST(kernel, a_submission_queue_that_is_full_delays_and_loses_nothing) {
  loop on(make_kernel("auto"), small_queues);
  const pipe_ends pipe;
  int cancelled = 0;
  int read = 0;
  const auto main = [&]() -> task<> {
    file from = co_await file::open(pipe.path());
    co_await with_nursery([&](nursery& kept) -> task<> {
      co_await with_nursery([&](nursery& dropped) -> task<> {
        for (int i = 0; i < 250; ++i) {
          kept.start(read_one, std::ref(from), std::ref(read));
          dropped.start(read_one, std::ref(from), std::ref(cancelled));
        }
        co_await settle(200);
        EXPECT_GT(on.statistics().backlog_count, 400U);
        EXPECT_GT(on.statistics().submission_count, 500U);  // all 500, the open and the wake
        dropped.cancel();
      });
      pipe.write(250);
    });
  };
  on.run(main());
  EXPECT_EQ(read, 250);
  EXPECT_EQ(cancelled, 0);
}

TEST(kernel, an_operation_that_is_cancelled_in_the_backlog_never_reaches_the_kernel) {
  loop on(make_kernel("auto"), small_queues);
  const pipe_ends pipe;
  int read = 0;
  const auto main = [&]() -> task<> {
    file from = co_await file::open(pipe.path());
    const std::uint64_t before = on.statistics().submission_count;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      for (int i = 0; i < 100; ++i) tasks.start(read_one, std::ref(from), std::ref(read));
      co_await yield();  // they have all asked for their read, in this turn
      EXPECT_GE(on.statistics().backlog_count, 96U);
      tasks.cancel();
    });
    EXPECT_LE(on.statistics().submission_count - before, 10U);  // 4 reads, 4 cancel requests
  };
  on.run(main());
  EXPECT_EQ(read, 0);
}

TEST(kernel, a_completion_queue_that_overflows_loses_neither_completions_nor_messages) {
  constexpr int read_count = 100;
  loop on(make_kernel("auto"), small_queues);
  const pipe_ends pipe;
  int read = 0;
  const auto main = [&]() -> task<> {
    file from = co_await file::open(pipe.path());
    for (int round = 1; round <= 20; ++round) {
      event came;
      std::thread other;
      co_await with_nursery([&](nursery& tasks) -> task<> {
        for (int i = 0; i < read_count; ++i) {
          tasks.start(read_one, std::ref(from), std::ref(read));
        }
        co_await settle(40);
        // The wake's completion is one of those for which there is no room, which ends its poll.
        other = std::thread([&] {
          on.post([] {});
          pipe.write(read_count);
          on.post([] {});
        });
      });
      EXPECT_EQ(read, round * read_count);
      other.join();
      other = std::thread([&] { on.post([&came] { came.set(); }); });
      co_await came.wait();  // the loop sleeps, or is about to
      other.join();
    }
  };
  on.run(main());
}

/// Sends a file to a peer that is gone; what the kernel says.
std::int64_t send_to_nobody() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return 0;
  ::close(ends[1]);
  const int file = ::open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  std::int64_t offset = 0;
  const std::int64_t sent = make_kernel("auto")->sendfile(ends[0], file, offset, 1000);
  ::close(file);
  ::close(ends[0]);
  return sent;
}

bool is_blocked(int number) {
  sigset_t mask;
  ::pthread_sigmask(SIG_BLOCK, nullptr, &mask);
  return sigismember(&mask, number) == 1;
}

TEST(kernel, a_file_for_a_peer_that_is_gone_raises_no_signal_and_changes_nothing) {
  child_process child([] {
    static int caught = 0;
    ::signal(SIGPIPE, SIG_IGN);
    if (send_to_nobody() != -EPIPE) return 1;
    // What was so then is not so any more.
    ::signal(SIGPIPE, SIG_DFL);
    if (send_to_nobody() != -EPIPE) return 2;
    struct sigaction now{};
    ::sigaction(SIGPIPE, nullptr, &now);
    if (now.sa_handler != SIG_DFL || is_blocked(SIGPIPE)) return 3;
    ::signal(SIGPIPE, [](int) { ++caught; });
    if (send_to_nobody() != -EPIPE || caught != 0) return 4;
    // One that is pending already stays so.
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
    ::raise(SIGPIPE);
    if (send_to_nobody() != -EPIPE || !is_blocked(SIGPIPE)) return 5;
    ::pthread_sigmask(SIG_UNBLOCK, &pipe, nullptr);
    return caught == 1 ? 0 : 6;
  });
  child.rest();
  EXPECT_EQ(child.wait(), 0);
}

TEST(kernel, its_control_calls_do_what_their_names_say) {
  const auto made = make_kernel("auto");
  int ends[2];
  ASSERT_EQ(made->pipe(ends), 0);
  EXPECT_EQ(::write(ends[1], "x", 1), 1);
  made->close(ends[0]);
  made->close(ends[1]);
  EXPECT_EQ(made->bind(-1, nullptr, 0), -EBADF);
  std::byte first[16]{};
  std::byte second[16]{};
  made->random(first);
  made->random(second);
  EXPECT_NE(std::memcmp(first, second, sizeof(first)), 0);
  const std::int64_t earlier = made->now();
  EXPECT_LE(earlier, made->now());
  EXPECT_GT(made->wall_now(), 1'600'000'000'000'000'000);
}

}  // namespace
}  // namespace rill
