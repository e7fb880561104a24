// Synchronous generators: order, references, moves, errors, ending early.
#include <rill/runtime/generator.h>

#include <algorithm>
#include <iterator>
#include <memory>
#include <ranges>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "support.h"
#include <rill/runtime/frame_cache.h>
#include <rill/runtime/task.h>

namespace rill {
namespace {

using test::leaves_note;
using test::record;

static_assert(std::ranges::input_range<generator<int>>);
static_assert(std::is_same_v<std::ranges::range_reference_t<generator<int>>, int&&>);
static_assert(std::is_same_v<std::ranges::range_reference_t<generator<const int&>>, const int&>);
static_assert(std::is_same_v<std::ranges::range_value_t<generator<const int&>>, int>);
static_assert(!std::is_copy_constructible_v<generator<int>>);
static_assert(std::is_nothrow_move_constructible_v<generator<int>>);

// The body is synchronous: co_await is refused at compile time.
template <class Promise>
concept can_await_task =
    requires(Promise promise, task<> inner) { promise.await_transform(std::move(inner)); };
static_assert(!can_await_task<generator<int>::promise_type>);
static_assert(can_await_task<task<int>::promise_type>);

generator<int> count(int from, int to) {
  for (int i = from; i < to; ++i) co_yield i;
}

TEST(generator, gives_what_its_body_yields_in_order) {
  std::vector<int> got;
  for (const int value : count(0, 5)) got.push_back(value);
  EXPECT_EQ(got, (std::vector<int>{0, 1, 2, 3, 4}));
}

TEST(generator, may_be_empty) {
  for ([[maybe_unused]] const int value : count(0, 0)) ADD_FAILURE();
}

TEST(generator, runs_nothing_until_it_is_iterated_and_only_as_far_as_it_is) {
  record seen;
  const auto body = [](record& to) -> generator<int> {
    to.emplace_back("begun");
    co_yield 1;
    to.emplace_back("resumed");
    co_yield 2;
  };
  generator<int> numbers = body(seen);
  EXPECT_EQ(seen, record());
  auto at = numbers.begin();
  EXPECT_EQ(*at, 1);
  EXPECT_EQ(seen, (record{"begun"}));
  ++at;
  EXPECT_EQ(*at, 2);
  EXPECT_EQ(seen, (record{"begun", "resumed"}));
  ++at;
  EXPECT_TRUE(at == numbers.end());
}

TEST(generator, destroyed_early_destroys_its_locals) {
  record seen;
  const auto body = [](record& to) -> generator<int> {
    const leaves_note at_end(to, "gone");
    for (;;) co_yield 1;
  };
  for ([[maybe_unused]] const int value : body(seen)) break;
  EXPECT_EQ(seen, (record{"gone"}));
  {
    [[maybe_unused]] const auto never = body(seen);
  }
  EXPECT_EQ(seen, (record{"gone"}));
}

TEST(generator, rethrows_from_the_step_that_threw) {
  const auto body = [](int good) -> generator<int> {
    for (int i = 0; i < good; ++i) co_yield i;
    throw std::runtime_error("no more");
  };
  auto at_once = body(0);
  EXPECT_THROW(at_once.begin(), std::runtime_error);
  auto later = body(1);
  auto at = later.begin();
  EXPECT_EQ(*at, 0);
  EXPECT_THROW(++at, std::runtime_error);
  EXPECT_TRUE(at == later.end());
}

TEST(generator, yields_references_without_copying) {
  std::vector<std::string> words{"a", "b"};
  const auto each = [](std::vector<std::string>& from) -> generator<std::string&> {
    for (std::string& word : from) co_yield word;
  };
  for (std::string& word : each(words)) word += "!";
  EXPECT_EQ(words, (std::vector<std::string>{"a!", "b!"}));

  const auto look = [](const std::string& at) -> generator<const std::string&> {
    co_yield at;
    co_yield std::string("a temporary that is longer than a small string");
    co_yield "converted, and also longer than a small string";
  };
  std::vector<const std::string*> places;
  std::vector<std::string> copies;
  for (const std::string& word : look(words[0])) {
    places.push_back(&word);
    copies.push_back(word);
  }
  EXPECT_EQ(places[0], &words[0]);
  EXPECT_EQ(copies[1], "a temporary that is longer than a small string");
  EXPECT_EQ(copies[2], "converted, and also longer than a small string");
}

TEST(generator, yields_what_can_only_be_moved) {
  const auto make = []() -> generator<std::unique_ptr<int>> {
    co_yield std::make_unique<int>(1);
    auto named = std::make_unique<int>(2);
    co_yield named;
    EXPECT_EQ(named, nullptr);  // the consumer took it
  };
  std::vector<std::unique_ptr<int>> got;
  for (auto&& owned : make()) got.push_back(std::move(owned));
  EXPECT_EQ(*got[0], 1);
  EXPECT_EQ(*got[1], 2);
}

TEST(generator, lends_a_copy_of_a_constant) {
  const std::string constant = "constant, and longer than a small string";
  const auto body = [&]() -> generator<std::string> { co_yield constant; };
  auto numbers = body();
  for (std::string&& word : numbers) {
    const std::string taken = std::move(word);
    EXPECT_EQ(taken, constant);
  }
  EXPECT_EQ(constant, "constant, and longer than a small string");
}

TEST(generator, yields_named_aggregates) {
  struct entry {
    std::string name;
    int size;
  };
  const auto body = []() -> generator<entry> {
    entry each{"a name that is longer than a small string", 1};
    co_yield each;
    co_yield std::as_const(each);
  };
  int seen = 0;
  for (const entry& each : body()) {
    EXPECT_EQ(each.name, "a name that is longer than a small string");
    seen += each.size;
  }
  EXPECT_EQ(seen, 2);
}

TEST(generator, can_be_moved_and_assigned) {
  generator<int> first = count(0, 3);
  generator<int> second = std::move(first);
  second = count(5, 7);
  std::vector<int> got;
  for (const int value : second) got.push_back(value);
  EXPECT_EQ(got, (std::vector<int>{5, 6}));
}

TEST(generator, works_with_ranges) {
  const auto big = [](int value) { return value > 2; };
  std::vector<int> got;
  for (const int value : count(0, 100) | std::views::filter(big) | std::views::take(2)) {
    got.push_back(value);
  }
  EXPECT_EQ(got, (std::vector<int>{3, 4}));
}

TEST(generator, takes_its_frames_from_the_cache) {
  // Twice the same code: clang may put a frame on the stack in one place and not in another.
  const auto walk = [] {
    for (int i = 0; i < 100; ++i) {
      for (const int value : count(0, 1)) EXPECT_EQ(value, 0);
    }
  };
  walk();
  const auto before = frame_statistics();
  walk();
  const auto after = frame_statistics();
  EXPECT_EQ(after.miss_count, before.miss_count);
  EXPECT_EQ(after.live_count, before.live_count);
}

TEST(generator, may_be_iterated_by_a_task_that_waits_between_steps) {
  EXPECT_EQ(test::run_loop([]() -> task<int> {
              int sum = 0;
              for (const int value : count(0, 10)) {
                sum += value;
                co_await test::settle(1);
              }
              co_return sum;
            }),
            45);
}

TEST(generator_death_test, is_iterated_once) {
  EXPECT_DEATH(
      {
        auto numbers = count(0, 2);
        static_cast<void>(numbers.begin());
        static_cast<void>(numbers.begin());
      },
      "iterated once");
}

}  // namespace
}  // namespace rill
