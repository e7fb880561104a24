// Each test does to a frame what rill must never do. valgrind.sh expects memcheck to say so: a run
// that is silent here would be blind everywhere.
#include <gtest/gtest.h>

#include <rill/runtime/frame_cache.h>

namespace rill {
namespace {

constexpr std::size_t frame_size = 200;

TEST(canary, reads_a_frame_after_its_end) {
  auto* const frame = static_cast<volatile char*>(detail::allocate_frame(frame_size));
  frame[0] = 1;
  detail::free_frame(const_cast<char*>(frame), frame_size);
  EXPECT_GE(frame[0] + 256, 0);
}

TEST(canary, decides_by_what_was_never_written) {
  auto* const frame = static_cast<volatile char*>(detail::allocate_frame(frame_size));
  EXPECT_EQ(frame[1] == 'a' ? 1 : 2, frame[1] == 'a' ? 1 : 2);
  detail::free_frame(const_cast<char*>(frame), frame_size);
}

TEST(canary, loses_a_frame) {
  volatile char* volatile frame = static_cast<volatile char*>(detail::allocate_frame(frame_size));
  frame = nullptr;
  EXPECT_EQ(frame, nullptr);
}

}  // namespace
}  // namespace rill
