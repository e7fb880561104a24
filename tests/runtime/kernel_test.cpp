// A kernel over Linux, the one that RILL_KERNEL names, and the loop on it: waiting without burning
// the processor, being woken, interrupted and written to by other threads.
#include <rill/runtime/kernel.h>

#include <sys/resource.h>
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

#include "support.h"
#include <rill/runtime/event.h>
#include <rill/runtime/loop.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/sleep.h>

namespace rill {
namespace {

using namespace std::chrono_literals;
using test::run_loop;

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

TEST(kernel, a_submission_queue_that_is_full_delays_and_loses_nothing) {
  loop_options small;
  small.queues = queue_sizes{.submission = 4, .completion = 8};
  loop on(make_kernel("auto"), small);
  int ended = 0;
  on.run([](int& count) -> task<> {
    co_await with_nursery([&](nursery& tasks) -> task<> {
      for (int i = 0; i < 500; ++i) {
        tasks.start([&]() -> task<> {
          co_await sleep_for(1ms);
          ++count;
        });
      }
      co_return;
    });
  }(ended));
  EXPECT_EQ(ended, 500);
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
