// The frame cache: what is reused, what is counted, what is bounded.
#include <rill/runtime/frame_cache.h>

#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "support.h"
#include <rill/runtime/nursery.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/task.h>
#include <rill/runtime/timeout.h>

namespace rill {
namespace {

using namespace std::chrono_literals;
using detail::allocate_frame;
using detail::frame_size_max;
using detail::free_frame;

TEST(frame_cache, hands_out_again_what_was_freed_last) {
  void* const first = allocate_frame(100);
  void* const second = allocate_frame(100);
  free_frame(first, 100);
  free_frame(second, 100);
  EXPECT_EQ(allocate_frame(100), second);
  EXPECT_EQ(allocate_frame(97), first);  // of the same class
  free_frame(first, 97);
  free_frame(second, 100);
}

TEST(frame_cache, memory_is_aligned_and_wholly_usable_in_every_size) {
  std::vector<void*> held;
  for (std::size_t size = 1; size <= frame_size_max + 100; ++size) {
    void* const memory = allocate_frame(size);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory) % 16, 0U);
    std::memset(memory, 0x5a, size);
    held.push_back(memory);
  }
  for (std::size_t size = held.size(); size > 0; --size) free_frame(held[size - 1], size);
}

TEST(frame_cache, counts_hits_misses_and_what_lives) {
  trim_frame_cache();
  const auto before = frame_statistics();
  EXPECT_EQ(before.cached_size, 0U);
  void* const memory = allocate_frame(200);
  EXPECT_EQ(frame_statistics().miss_count, before.miss_count + 1);
  EXPECT_EQ(frame_statistics().live_count, before.live_count + 1);
  free_frame(memory, 200);
  EXPECT_EQ(frame_statistics().live_count, before.live_count);
  EXPECT_GE(frame_statistics().cached_size, 200U);
  void* const again = allocate_frame(200);
  EXPECT_EQ(frame_statistics().hit_count, before.hit_count + 1);
  EXPECT_EQ(frame_statistics().cached_size, 0U);
  free_frame(again, 200);
  trim_frame_cache();
  EXPECT_EQ(frame_statistics().cached_size, 0U);
}

TEST(frame_cache, does_not_keep_large_frames) {
  trim_frame_cache();
  const auto before = frame_statistics();
  void* const large = allocate_frame(frame_size_max + 1);
  EXPECT_EQ(frame_statistics().oversize_count, before.oversize_count + 1);
  free_frame(large, frame_size_max + 1);
  EXPECT_EQ(frame_statistics().cached_size, 0U);
  EXPECT_EQ(frame_statistics().live_count, before.live_count);
}

TEST(frame_cache, keeps_a_bounded_amount) {
  constexpr std::size_t bound = 16 * 1024 * 1024;
  std::vector<void*> held;
  for (std::size_t i = 0; i < bound / frame_size_max + 100; ++i) {
    held.push_back(allocate_frame(frame_size_max));
  }
  for (void* each : held) free_frame(each, frame_size_max);
  EXPECT_LE(frame_statistics().cached_size, bound);
  trim_frame_cache();
}

TEST(frame_cache, belongs_to_its_thread) {
  void* const here = allocate_frame(300);
  free_frame(here, 300);
  std::thread other([here] {
    EXPECT_EQ(frame_statistics().hit_count, 0U);
    void* const there = allocate_frame(300);
    EXPECT_NE(there, here);
    free_frame(there, 300);
  });
  other.join();
}

/// Owned by a thread that has had no frame yet: destroyed after its cache.
struct frame_owner {
  void* frame = nullptr;
  ~frame_owner() {
    if (frame == nullptr) return;
    free_frame(frame, 100);
    void* const last = allocate_frame(100);  // and one more, straight from operator new
    std::memset(last, 0x5a, 100);
    free_frame(last, 100);
  }
};

TEST(frame_cache, lets_objects_of_the_thread_that_outlive_it_free_their_frames) {
  std::thread other([] {
    thread_local frame_owner owner;
    owner.frame = nullptr;  // made before the cache is
    owner.frame = allocate_frame(100);
    std::memset(owner.frame, 0x5a, 100);
  });
  other.join();
}

TEST(frame_cache, serves_warm_tasks_without_a_miss) {
  test::run_loop([]() -> task<> {
    std::uint64_t misses = 0;
    for (int i = 0; i < 100; ++i) {
      if (i == 1) misses = frame_statistics().miss_count;
      co_await with_nursery([](nursery& tasks) -> task<> {
        for (int k = 0; k < 10; ++k) tasks.start(test::settle, k);
        co_await with_timeout(1h, test::settle());
        co_await sleep_for(0s);
      });
    }
    EXPECT_EQ(frame_statistics().miss_count, misses);
  });
}

}  // namespace
}  // namespace rill
