// The heap of deadlines against a plain model: random operations, fixed seeds.
#include <rill/runtime/timer.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace rill::detail {
namespace {

class note_timer final : public timer_node {
 public:
  void expired() noexcept override {
    EXPECT_FALSE(is_armed());
    log->push_back(name);
    if (again_after != 0) queue->arm(*this, now + std::exchange(again_after, 0));
  }

  std::vector<int>* log = nullptr;
  timer_queue* queue = nullptr;
  int name = 0;
  std::int64_t again_after = 0;
  std::int64_t now = 0;
};

/// What the queue must do, in the plainest way: look at all timers every time.
class model {
 public:
  explicit model(std::size_t count) : timers_(count) {}
  void arm(std::size_t index, std::int64_t deadline) { timers_[index] = {deadline, order_++}; }
  void disarm(std::size_t index) { timers_[index].first = timer_node::never; }
  std::int64_t next_deadline() const { return timers_[next()].first; }
  std::vector<int> expire(std::int64_t now) {
    std::vector<int> names;
    while (next_deadline() <= now) {
      names.push_back(static_cast<int>(next()));
      disarm(next());
    }
    return names;
  }

 private:
  std::size_t next() const {
    return static_cast<std::size_t>(std::min_element(timers_.begin(), timers_.end()) -
                                    timers_.begin());
  }
  std::vector<std::pair<std::int64_t, std::uint64_t>> timers_{};
  std::uint64_t order_ = 0;
};

void compare_with_model(std::uint32_t seed, std::size_t timer_count, std::uint32_t span) {
  std::mt19937 random(seed);
  timer_queue queue;
  std::vector<int> log;
  std::vector<note_timer> timers(timer_count);
  model expected(timer_count);
  for (std::size_t i = 0; i < timer_count; ++i) {
    timers[i].log = &log;
    timers[i].name = static_cast<int>(i);
    expected.disarm(i);
  }
  std::int64_t now = 0;
  for (int step = 0; step < 5000; ++step) {
    const std::size_t index = random() % timer_count;
    switch (random() % 8) {
      case 0:
      case 1:
      case 2:
      case 3: {
        const std::int64_t deadline = now + random() % span;
        queue.arm(timers[index], deadline);
        expected.arm(index, deadline);
        break;
      }
      case 4:
        timers[index].disarm();
        expected.disarm(index);
        break;
      case 5:
        queue.remove(timers[index]);
        expected.disarm(index);
        break;
      case 6:
        ASSERT_EQ(queue.next_deadline(), expected.next_deadline()) << "step " << step;
        break;
      default:
        now += random() % span / 4;
        log.clear();
        queue.expire(now);
        ASSERT_EQ(log, expected.expire(now)) << "step " << step;
    }
  }
  for (note_timer& each : timers) queue.remove(each);
  EXPECT_EQ(queue.size(), 0U);
  EXPECT_EQ(queue.next_deadline(), timer_node::never);
}

TEST(timer_queue, agrees_with_a_model_when_deadlines_are_often_equal) {
  for (std::uint32_t seed = 1; seed <= 10; ++seed) compare_with_model(seed, 20, 16);
}

TEST(timer_queue, agrees_with_a_model_when_deadlines_are_spread) {
  for (std::uint32_t seed = 11; seed <= 20; ++seed) compare_with_model(seed, 200, 100'000);
}

TEST(timer_queue, agrees_with_a_model_for_a_single_timer) { compare_with_model(21, 1, 10); }

TEST(timer_queue, expires_equal_deadlines_in_the_order_of_arming) {
  timer_queue queue;
  std::vector<int> log;
  std::vector<note_timer> timers(5);
  for (int i = 0; i < 5; ++i) {
    timers[static_cast<std::size_t>(i)].log = &log;
    timers[static_cast<std::size_t>(i)].name = i;
    queue.arm(timers[static_cast<std::size_t>(i)], 10);
  }
  queue.arm(timers[0], 10);  // armed anew: last now
  queue.expire(9);
  EXPECT_TRUE(log.empty());
  queue.expire(10);
  EXPECT_EQ(log, (std::vector<int>{1, 2, 3, 4, 0}));
  EXPECT_EQ(queue.size(), 0U);
}

TEST(timer_queue, arming_later_and_disarming_leave_the_heap_alone) {
  timer_queue queue;
  std::vector<int> log;
  note_timer timer;
  timer.log = &log;
  for (int i = 0; i < 1000; ++i) {
    queue.arm(timer, 1000 + i);
    EXPECT_EQ(queue.size(), 1U);
    timer.disarm();
  }
  queue.expire(5000);
  EXPECT_TRUE(log.empty());
  EXPECT_EQ(queue.next_deadline(), timer_node::never);
  EXPECT_EQ(queue.size(), 0U);
}

TEST(timer_queue, a_loop_is_woken_for_a_stale_entry_only_where_it_stands_far_away) {
  constexpr std::int64_t second = 1'000'000'000;
  timer_queue queue;
  std::vector<int> log;
  note_timer timer;
  timer.log = &log;
  queue.arm(timer, 30 * second);
  timer.disarm();
  EXPECT_EQ(queue.wake_deadline(0), 30 * second);
  EXPECT_EQ(queue.wake_deadline(29 * second), timer_node::never);
  EXPECT_EQ(queue.size(), 0U);

  queue.arm(timer, 30 * second);
  queue.arm(timer, 40 * second);
  EXPECT_EQ(queue.wake_deadline(0), 30 * second);
  EXPECT_EQ(queue.wake_deadline(29 * second), 40 * second);
  queue.expire(40 * second);
  EXPECT_EQ(log.size(), 1U);
  EXPECT_EQ(queue.wake_deadline(40 * second), timer_node::never);
}

TEST(timer_queue, a_timer_may_arm_itself_again_when_it_expires) {
  timer_queue queue;
  std::vector<int> log;
  note_timer timer;
  timer.log = &log;
  timer.queue = &queue;
  timer.now = 10;
  timer.again_after = 5;
  queue.arm(timer, 10);
  queue.expire(10);
  EXPECT_EQ(log.size(), 1U);
  EXPECT_EQ(queue.next_deadline(), 15);
  queue.expire(15);
  EXPECT_EQ(log.size(), 2U);
  queue.remove(timer);
}

TEST(deadline_after, ends_at_the_end_of_the_clock) {
  EXPECT_EQ(deadline_after(5, 7), 12);
  EXPECT_EQ(deadline_after(5, -7), -2);
  EXPECT_EQ(deadline_after(5, INT64_MAX), timer_node::never);
  EXPECT_EQ(deadline_after(5, INT64_MIN), INT64_MIN + 5);
}

}  // namespace
}  // namespace rill::detail
