// Shared bytes: what they hold, who owns them, and when they are freed.
#include <rill/net/shared_bytes.h>

#include <atomic>
#include <cstring>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "support/streams.h"

namespace rill::test {
namespace {

TEST(shared_bytes, holds_a_copy_of_what_it_is_made_of) {
  std::string text = "hello";
  const shared_bytes bytes{const_buffer(text)};
  text = "other";
  EXPECT_EQ(bytes.text(), "hello");
  EXPECT_EQ(bytes.size(), 5U);
  EXPECT_EQ(const_buffer(bytes).text(), "hello");
  EXPECT_EQ(bytes.owner_count(), 1U);
}

TEST(shared_bytes, is_empty_at_first_and_of_nothing) {
  for (const shared_bytes& empty :
       {shared_bytes(), shared_bytes{const_buffer()}, shared_bytes::joined({}),
        shared_bytes::filled(0, [](auto) { ADD_FAILURE() << "there is nothing to fill"; })}) {
    EXPECT_TRUE(empty.empty());
    EXPECT_EQ(empty.data(), nullptr);
    EXPECT_EQ(empty.text(), "");
    EXPECT_EQ(empty.owner_count(), 0U);
  }
}

TEST(shared_bytes, shares_with_its_copies_and_not_with_what_was_moved_from) {
  shared_bytes one{const_buffer("one")};
  const shared_bytes other = one;
  EXPECT_EQ(one.data(), other.data());
  EXPECT_EQ(one.owner_count(), 2U);
  const shared_bytes moved = std::move(one);
  EXPECT_EQ(other.owner_count(), 2U);
  EXPECT_TRUE(one.empty());  // NOLINT(bugprone-use-after-move): it says so
  one = moved;
  EXPECT_EQ(other.owner_count(), 3U);
  shared_bytes& itself = one;
  one = itself;
  EXPECT_EQ(other.owner_count(), 3U);
  one = shared_bytes{const_buffer("two")};
  EXPECT_EQ(other.owner_count(), 2U);
  EXPECT_EQ(one.text(), "two");
  EXPECT_EQ(other.text(), "one");
}

TEST(shared_bytes, is_joined_of_pieces) {
  const const_buffer pieces[] = {"head ", "", "body", const_buffer(), " tail"};
  const shared_bytes all = shared_bytes::joined(pieces);
  EXPECT_EQ(all.text(), "head body tail");
}

TEST(shared_bytes, is_filled_where_it_stays) {
  const shared_bytes made = shared_bytes::filled(4, [](mutable_buffer into) {
    ASSERT_EQ(into.size(), 4U);
    std::memcpy(into.data(), "made", 4);
  });
  EXPECT_EQ(made.text(), "made");
}

TEST(shared_bytes, frees_its_memory_when_filling_it_fails) {
  EXPECT_THROW(
      shared_bytes::filled(1000, [](mutable_buffer) { throw std::runtime_error("no bytes"); }),
      std::runtime_error);  // the sanitizer's build shows a leak
}

TEST(shared_bytes, may_be_shared_by_threads) {
  const auto content = pattern(1000);
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  {
    const shared_bytes bytes{const_buffer(content)};
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([mine = bytes, &content, &wrong]() mutable {
        for (int turn = 0; turn < 1000; ++turn) {
          const shared_bytes copy = mine;
          if (std::memcmp(copy.data(), content.data(), content.size()) != 0) ++wrong;
        }
        mine = shared_bytes();
      });
    }
  }
  for (std::thread& each : threads) each.join();
  EXPECT_EQ(wrong.load(), 0);
}

}  // namespace
}  // namespace rill::test
