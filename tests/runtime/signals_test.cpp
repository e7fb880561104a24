// signals: what arrives is kept, every object gets it, on every loop.
#include <rill/runtime/signals.h>

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <stdexcept>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/child_process.h"
#include "support.h"
#include "support/descriptors.h"
#include <rill/runtime/loop_group.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/run.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/timeout.h>

namespace rill {
namespace {

using namespace std::chrono_literals;
using test::child_process;
using test::run_loop;
using test::say;

void send(int number) { ::kill(::getpid(), number); }

TEST(signals, next_waits_for_one_of_the_set) {
  run_loop([]() -> task<> {
    signals two({SIGHUP, SIGUSR2});
    for (const int number : {SIGUSR2, SIGHUP, SIGHUP}) {
      co_await with_nursery([&](nursery& tasks) -> task<> {
        tasks.start([&]() -> task<> { EXPECT_EQ(co_await two.next(), number); });
        co_await test::settle();
        send(number);
      });
    }
  });
}

TEST(signals, what_arrives_while_nobody_waits_is_kept_once) {
  run_loop([]() -> task<> {
    signals two({SIGHUP, SIGUSR2});
    signals beside({SIGHUP, SIGUSR2});
    // `beside` shows that a signal has arrived, so that the next one is another.
    for (const int number : {SIGUSR2, SIGUSR2, SIGHUP}) {
      send(number);
      EXPECT_EQ(co_await beside.next(), number);
    }
    EXPECT_EQ(co_await two.next(), SIGHUP);
    EXPECT_EQ(co_await two.next(), SIGUSR2);
    send(SIGHUP);
    EXPECT_EQ(co_await two.next(), SIGHUP);  // and not the second SIGUSR2
  });
}

TEST(signals, a_cancelled_next_loses_nothing) {
  run_loop([]() -> task<> {
    signals hangup({SIGHUP});
    bool timed_out = false;
    try {
      co_await with_timeout(1ms, hangup.next());
    } catch (const timeout_error&) {
      timed_out = true;
    }
    EXPECT_TRUE(timed_out);
    send(SIGHUP);
    EXPECT_EQ(co_await hangup.next(), SIGHUP);
  });
}

TEST(signals, every_object_that_names_a_signal_gets_it) {
  run_loop([]() -> task<> {
    signals first({SIGHUP});
    signals second({SIGHUP, SIGUSR2});
    for (int i = 0; i < 20; ++i) {
      send(SIGHUP);
      EXPECT_EQ(co_await first.next(), SIGHUP);
      EXPECT_EQ(co_await second.next(), SIGHUP);
    }
  });
}

TEST(signals, one_of_several_waiting_tasks_gets_it) {
  run_loop([]() -> task<> {
    signals hangup({SIGHUP});
    int count = 0;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      for (int i = 0; i < 3; ++i) {
        tasks.start([&]() -> task<> {
          co_await hangup.next();
          ++count;
          tasks.cancel();
        });
      }
      co_await test::settle();
      send(SIGHUP);
      co_await sleep_for(24h);
    });
    EXPECT_EQ(count, 1);
  });
}

TEST(signals, objects_on_all_loops_of_a_group_get_it) {
  run_loop([]() -> task<> {
    std::atomic<unsigned> ready{0};
    std::atomic<unsigned> seen{0};
    loop_group group(3);
    co_await group.run([&](unsigned) -> task<> {
      signals hangup({SIGHUP});
      if (++ready == 3) send(SIGHUP);
      co_await hangup.next();
      ++seen;
    });
    EXPECT_EQ(seen, 3U);
  });
}

TEST(signals, an_object_can_be_moved_and_closes_its_descriptor) {
  run_loop([&]() -> task<> {
    const std::size_t before = test::open_descriptor_count();
    {
      signals first({SIGHUP});
      signals second(std::move(first));
      signals third({SIGUSR2});
      third = std::move(second);
      send(SIGHUP);
      EXPECT_EQ(co_await third.next(), SIGHUP);
    }
    while (test::open_descriptor_count() != before)
      co_await yield();  // the kernel answers a little later
  });
}

TEST(signals, numbers_that_cannot_be_waited_for_are_refused) {
  run_loop([]() -> task<> {
    EXPECT_THROW(signals({SIGKILL}), std::invalid_argument);
    EXPECT_THROW(signals({SIGSTOP}), std::invalid_argument);
    EXPECT_THROW(signals({0}), std::invalid_argument);
    EXPECT_THROW(signals({65}), std::invalid_argument);
    co_return;
  });
}

TEST(signals, a_full_descriptor_table_is_an_error) {
  run_loop([]() -> task<> {
    std::error_code code;
    {
      const test::descriptor_limit none(3);
      try {
        const signals refused({SIGHUP});
      } catch (const io_error& error) {
        code = error.code();
      }
    }
    EXPECT_EQ(code, std::errc::too_many_files_open);
    co_return;
  });
}

TEST(signals, beside_run_both_see_a_sigterm) {
  child_process child([] {
    return run([]() -> task<> {
      signals terminate({SIGTERM, SIGHUP});
      co_await shielded([](signals& all) -> task<> {
        say("ready");
        co_await all.next();
        say("seen");
      }(terminate));
      co_await sleep_for(24h);
    });
  });
  EXPECT_EQ(child.next_write(), "ready");
  child.signal(SIGTERM);
  EXPECT_EQ(child.next_write(), "seen");
  EXPECT_EQ(child.wait(), 0);
}

TEST(signals, a_signal_that_run_does_not_know_has_no_default_effect_any_more) {
  child_process child([] {
    return run([]() -> task<> {
      {
        const signals once({SIGHUP});
      }
      say("ready");
      co_await sleep_for(24h);
    });
  });
  EXPECT_EQ(child.next_write(), "ready");
  child.signal(SIGHUP);
  child.signal(SIGTERM);
  EXPECT_EQ(child.wait(), 0);
}

}  // namespace
}  // namespace rill
