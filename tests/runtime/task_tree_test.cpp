// The live task tree: names, places, operations; and that a leak is told with it.
#include <cstdlib>
#include <memory>
#include <regex>
#include <source_location>
#include <string>

#include <gtest/gtest.h>

#include "support.h"
#include <rill/runtime/channel.h>
#include <rill/runtime/event.h>
#include <rill/runtime/loop.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/operation.h>
#include <rill/runtime/remote_channel.h>
#include <rill/runtime/semaphore.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/timeout.h>

namespace rill {
namespace {

using namespace std::chrono_literals;
using test::run_loop;
using test::settle;

constexpr unsigned inner_line = std::source_location::current().line() + 1;
task<> wait_inside(event& gate) { co_await gate.wait(); }

constexpr unsigned outer_line = std::source_location::current().line() + 1;
task<> wait_outside(event& gate) { co_await wait_inside(gate); }

std::string place(unsigned line) {
  return "(runtime/task_tree_test.cpp:" + std::to_string(line) + ")";
}

/// The tree while `child` runs in a nursery.
template <class Child>
std::string tree_with(Child&& child) {
  std::string tree;
  run_loop([&]() -> task<> {
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start(std::ref(child));
      co_await settle();
      tree = loop::current().task_tree();
      tasks.cancel();
    });
  });
  return tree;
}

#define EXPECT_HAS(tree, text) EXPECT_NE((tree).find(text), std::string::npos) << (tree)

TEST(task_tree, names_every_frame_with_its_place_and_what_it_waits_for) {
  event gate;
  const std::string tree = tree_with([&]() -> task<> { co_await wait_outside(gate); });
  EXPECT_HAS(tree, "wait_outside " + place(outer_line));
  EXPECT_HAS(tree, "> rill::");
  EXPECT_HAS(tree, "wait_inside " + place(inner_line) + ": event, ");
  EXPECT_LT(tree.find("wait_outside"), tree.find("wait_inside"));
}

TEST(task_tree, counts_tasks_and_shows_nurseries_and_the_running_task) {
  const std::string tree = tree_with([]() -> task<> { co_await sleep_for(1h); });
  EXPECT_EQ(tree.find("3 tasks\n"), 0U) << tree;
  EXPECT_HAS(tree, "nursery of 1");
  EXPECT_HAS(tree, "|- ");
  EXPECT_HAS(tree, "`- ");
  EXPECT_HAS(tree, ": running, ");
  EXPECT_HAS(tree, ": sleep, ");
}

TEST(task_tree, tells_what_each_kind_of_waiting_is) {
  semaphore none(0);
  channel<int> empty(1);
  channel<int> full(0);
  EXPECT_HAS(tree_with([&]() -> task<> { const auto permit = co_await none.acquire(); }),
             ": semaphore, ");
  EXPECT_HAS(tree_with([&]() -> task<> { co_await empty.receive(); }), "channel, to receive");
  EXPECT_HAS(tree_with([&]() -> task<> { co_await full.send(1); }), "channel, to send");
  EXPECT_HAS(tree_with([]() -> task<> { co_await with_timeout(1h, settle(1000)); }),
             "task with a deadline");
  EXPECT_HAS(tree_with([]() -> task<> {
               remote_channel<int> from_afar(1);
               co_await from_afar.receiver.receive();
             }),
             "remote channel, to receive");
  EXPECT_HAS(tree_with([]() -> task<> {
               remote_channel<int> to_afar(1);
               for (int i = 0; i < 2; ++i) co_await to_afar.sender.send(i);
             }),
             "remote channel, to send");
}

/// An operation that never completes, on a socket whose peer is known.
class raw_read {
 public:
  using rill_awaiter = void;
  explicit raw_read(detail::operation& slot) noexcept : slot_(&slot) {}
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> frame) noexcept {
    slot_->wait(frame.promise(), type);
  }
  void await_resume() const noexcept {}

 private:
  static void describe(const detail::operation& slot, std::string& text) {
    text += " 127.0.0.1:4011 (descriptor " + std::to_string(slot.descriptor) + ')';
  }
  static constexpr detail::operation_type type{"read", nullptr, nullptr, describe};
  detail::operation* slot_;
};

TEST(task_tree, shows_of_an_operation_its_name_what_it_is_about_and_how_long_it_waits) {
  run_loop([]() -> task<> {
    detail::operation slot(loop::current());
    slot.descriptor = 9;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> { co_await raw_read(slot); });
      co_await yield();
      const std::int64_t begin = loop::current().now;
      co_await sleep_for(30ms);
      const std::string tree = loop::current().task_tree();
      std::smatch found;
      const std::regex line(": read 127\\.0\\.0\\.1:4011 \\(descriptor 9\\), ([0-9.]+) (ms|s)\n");
      EXPECT_TRUE(std::regex_search(tree, found, line)) << tree;
      if (!found.empty()) {
        const double age = std::stod(found[1]) * (found[2] == "s" ? 1e9 : 1e6);
        EXPECT_NEAR(age, static_cast<double>(loop::current().now - begin), 1e8);
        EXPECT_GE(age, 30e6);
      }
      tasks.cancel();
    });
  });
}

TEST(task_tree_death_test, two_operations_of_one_kind_on_one_object_abort) {
  EXPECT_DEATH(run_loop([]() -> task<> {
                 detail::operation slot(loop::current());
                 co_await with_nursery([&](nursery& tasks) -> task<> {
                   tasks.start([&]() -> task<> { co_await raw_read(slot); });
                   tasks.start([&]() -> task<> { co_await raw_read(slot); });
                   co_return;
                 });
               }),
               "two operations of one kind at once on one object");
}

TEST(task_tree, shows_tasks_that_have_not_begun_and_that_are_being_cancelled) {
  run_loop([]() -> task<> {
    co_await with_nursery([](nursery& tasks) -> task<> {
      tasks.start(settle, 1);
      EXPECT_HAS(loop::current().task_tree(), "not begun: ready");
      tasks.cancel();
      EXPECT_HAS(loop::current().task_tree(), "being cancelled");
      co_return;
    });
  });
}

TEST(task_tree, abridges_very_long_chains) {
  struct nested {
    static task<> wait(int depth, event& gate) {
      if (depth == 0) {
        co_await gate.wait();
      } else {
        co_await wait(depth - 1, gate);
      }
    }
  };
  event gate;
  const std::string tree = tree_with([&]() -> task<> { co_await nested::wait(100'000, gate); });
  EXPECT_HAS(tree, " more\n");
  EXPECT_HAS(tree, ": event, ");
  EXPECT_LT(tree.size(), 20'000U);
}

// The place of a frame that has ended must not be read: its memory may be another's by then.
TEST(task_tree, may_be_asked_for_after_an_awaited_task_has_ended) {
  run_loop([]() -> task<> {
    co_await settle();
    EXPECT_HAS(loop::current().task_tree(), ": running, ");
    bool threw = false;
    const auto fail = []() -> task<> {
      co_await settle();
      throw std::runtime_error("no");
    };
    try {
      co_await fail();
    } catch (const std::runtime_error&) {
      threw = true;
    }
    EXPECT_TRUE(threw);
    EXPECT_HAS(loop::current().task_tree(), ": running, ");
  });
}

TEST(task_tree_death_test, a_loop_that_is_left_with_tasks_tells_them_and_aborts) {
  EXPECT_DEATH(
      {
        event gate;
        auto on = std::make_unique<loop>(make_kernel("auto"));
        on->start(wait_outside(gate));
        on->post([] {});
        on->turn();
        on.reset();
      },
      "tasks are left at the end of their loop:.*1 task.*wait_outside .*task_tree_test.cpp.*"
      "wait_inside .*event.*destroyed before its tasks had ended");
}

TEST(task_tree_death_test, an_assertion_tells_its_place) {
  EXPECT_DEATH(static_cast<void>(loop::current()), "no loop runs on this thread");
}

}  // namespace
}  // namespace rill
