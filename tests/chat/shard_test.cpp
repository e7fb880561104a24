// Rooms, names and their owners, on one shard and on several.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "chat/office.h"
#include <rill/runtime/sim/random.h>
#include <rill/runtime/sim/seeds.h>

namespace rill::chat {
namespace {

using test::enter;
using test::office;
using test::witness;
using testing::ElementsAre;
using testing::IsEmpty;

/// On one shard and on three: the same must be seen.
class chat_hub : public testing::TestWithParam<unsigned> {
 protected:
  office of_{GetParam()};
  unsigned last_ = GetParam() - 1;
};
INSTANTIATE_TEST_SUITE_P(chat, chat_hub, testing::Values(1U, 3U));

TEST_P(chat_hub, everyone_hears_of_a_newcomer_and_of_one_who_leaves) {
  auto alice = enter(of_, 0, "alice");
  auto bob = enter(of_, last_, "bob");
  EXPECT_THAT(alice->told, ElementsAre("name alice", "room lobby", "alice joined the chat!",
                                       "bob joined the chat!"));
  EXPECT_THAT(bob->told, ElementsAre("name bob", "room lobby", "bob joined the chat!"));
  alice->told.clear();
  bob->leave();
  of_.settle();
  EXPECT_THAT(alice->told, ElementsAre("bob left the chat!"));
}

TEST_P(chat_hub, what_is_said_goes_to_all_others) {
  auto alice = enter(of_, 0, "alice");
  auto bob = enter(of_, last_, "bob");
  auto carol = enter(of_, 0, "carol");
  for (auto* each : {&alice, &bob, &carol}) (*each)->told.clear();
  EXPECT_TRUE(of_.at(last_).speak(*bob, event_kind::said, false, "hello"));
  EXPECT_TRUE(of_.at(last_).speak(*bob, event_kind::done, false, "waves"));
  of_.settle();
  EXPECT_THAT(alice->told, ElementsAre("bob: hello", "* bob waves"));
  EXPECT_THAT(carol->told, ElementsAre("bob: hello", "* bob waves"));
  EXPECT_THAT(bob->told, IsEmpty());
}

TEST_P(chat_hub, one_who_wants_its_own_messages_gets_them_with_their_numbers) {
  auto alice = enter(of_, 0, "alice");
  alice->wants_own_events = true;
  alice->ids.clear();
  of_.at(0).speak(*alice, event_kind::said, false, "one");
  of_.at(0).speak(*alice, event_kind::said, false, "two");
  of_.settle();
  const std::uint64_t first = 1'000'000 + 1;  // the time in microseconds, and one for joining
  EXPECT_THAT(alice->ids, ElementsAre(first + 1, first + 2));
  EXPECT_THAT(alice->times.back(), of_.now);
}

TEST_P(chat_hub, a_name_is_taken_as_long_as_its_member_is_there) {
  auto first = enter(of_, 0, "alice");
  witness second(of_.at(last_));
  of_.at(last_).claim(second, "alice");
  of_.settle();
  EXPECT_THAT(second.told, ElementsAre("no name alice"));
  EXPECT_EQ(second.name(), nullptr);
  first->leave();
  of_.settle();
  of_.at(last_).claim(second, "alice");
  of_.settle();
  EXPECT_EQ(*second.name(), "alice");
}

TEST_P(chat_hub, of_two_who_claim_a_name_at_once_one_gets_it) {
  witness first(of_.at(0));
  witness second(of_.at(last_));
  of_.at(0).claim(first, "alice");
  of_.at(last_).claim(second, "alice");
  of_.settle();
  EXPECT_EQ((first.name() != nullptr) + (second.name() != nullptr), 1);
}

TEST_P(chat_hub, a_name_that_is_granted_to_one_who_has_gone_is_free_again) {
  {
    witness gone(of_.at(0));
    of_.at(0).claim(gone, "alice");
  }
  of_.settle();
  auto alice = enter(of_, last_, "alice");
  EXPECT_NE(alice->name(), nullptr);
}

TEST_P(chat_hub, a_new_name_is_told_and_the_old_one_is_free) {
  auto alice = enter(of_, 0, "alice");
  auto bob = enter(of_, last_, "bob");
  bob->told.clear();
  of_.at(0).claim(*alice, "carol");
  of_.settle();
  of_.at(0).speak(*alice, event_kind::said, false, "hi");
  of_.settle();
  EXPECT_THAT(bob->told, ElementsAre("alice is now called carol", "carol: hi"));
  auto other = enter(of_, last_, "alice");
  EXPECT_NE(other->name(), nullptr);
}

TEST_P(chat_hub, who_asks_for_its_own_name_keeps_it) {
  auto alice = enter(of_, 0, "alice");
  auto bob = enter(of_, last_, "bob");
  alice->told.clear();
  bob->told.clear();
  of_.at(0).claim(*alice, "alice");
  of_.settle();
  EXPECT_THAT(alice->told, ElementsAre("name alice"));
  EXPECT_THAT(bob->told, IsEmpty());
  of_.at(last_).claim(*bob, "alice");
  of_.settle();
  EXPECT_THAT(bob->told, ElementsAre("no name alice"));
  of_.at(0).claim(*alice, "carol");
  of_.at(0).claim(*alice, "carol");
  of_.settle();
  EXPECT_EQ(*alice->name(), "carol");
  of_.at(last_).claim(*bob, "alice");
  of_.settle();
  EXPECT_EQ(*bob->name(), "alice");
}

TEST_P(chat_hub, rooms_are_apart) {
  auto alice = enter(of_, 0, "alice");
  auto bob = enter(of_, last_, "bob", "tea");
  alice->told.clear();
  bob->told.clear();
  of_.at(0).speak(*alice, event_kind::said, false, "lobby talk");
  of_.at(last_).speak(*bob, event_kind::said, false, "tea talk");
  of_.settle();
  EXPECT_THAT(alice->told, IsEmpty());
  EXPECT_THAT(bob->told, IsEmpty());
  of_.at(0).join(*alice, "tea");
  of_.settle();
  EXPECT_THAT(alice->told,
              ElementsAre("room tea", "before bob: tea talk\n", "alice joined the chat!"));
  EXPECT_THAT(bob->told, ElementsAre("alice joined the chat!"));
}

TEST_P(chat_hub, a_member_that_hurries_through_rooms_is_in_the_last_one_only) {
  auto alice = enter(of_, 0, "alice");
  alice->told.clear();
  for (const char* room : {"a", "b", "a", "c", "a"}) of_.at(0).join(*alice, room);
  of_.settle();
  EXPECT_EQ(**alice->room(), "a");
  auto bob = enter(of_, last_, "bob", "a");
  EXPECT_EQ(std::count(alice->told.begin(), alice->told.end(), "bob joined the chat!"), 1);
  for (const char* room : {"b", "c"}) {
    auto other = enter(of_, last_, std::string("in-") + room, room);
    of_.at(last_).ask_who(*other);
    of_.settle();
    EXPECT_EQ(other->told.back(), "who " + std::string(room) + " in-" + room + " of 1");
  }
}

TEST_P(chat_hub, newcomers_get_the_last_messages_after_the_one_they_have_seen) {
  auto alice = enter(of_, 0, "alice");
  for (int i = 0; i != 150; ++i) {
    of_.at(0).speak(*alice, event_kind::said, false, std::to_string(i));
  }
  of_.settle();
  auto bob = enter(of_, last_, "bob");
  ASSERT_EQ(bob->told.size(), 103U);
  EXPECT_EQ(bob->told[2], "before alice: 50\n");
  EXPECT_EQ(bob->told[101], "before alice: 149\n");
  bob->told.clear();
  const std::uint64_t joining = alice->ids.front();
  of_.at(last_).join(*bob, "lobby", joining + 148);
  of_.settle();
  EXPECT_THAT(bob->told, ElementsAre("room lobby", "before alice: 148\n", "before alice: 149\n",
                                     "bob joined the chat!"));
}

TEST_P(chat_hub, whispers_reach_one_member_of_any_room) {
  auto alice = enter(of_, 0, "alice");
  auto bob = enter(of_, last_, "bob", "tea");
  auto carol = enter(of_, 0, "carol");
  for (auto* each : {&alice, &bob, &carol}) (*each)->told.clear();
  of_.at(0).whisper(*alice, "bob", "psst");
  of_.at(0).whisper(*alice, "nobody", "psst");
  of_.settle();
  EXPECT_THAT(bob->told, ElementsAre("alice whispers psst"));
  EXPECT_THAT(alice->told,
              testing::UnorderedElementsAre("told bob psst", "cannot tell nobody psst"));
  EXPECT_THAT(carol->told, IsEmpty());
}

TEST_P(chat_hub, rooms_with_members_are_listed) {
  auto alice = enter(of_, 0, "alice");
  auto bob = enter(of_, last_, "bob", "tea");
  auto carol = enter(of_, last_, "carol", "empty");
  of_.at(last_).join(*carol, "tea");
  of_.settle();
  alice->told.clear();
  of_.at(0).ask_rooms(*alice);
  of_.at(0).ask_who(*alice);
  of_.settle();
  EXPECT_THAT(alice->told,
              testing::UnorderedElementsAre("room lobby 1", "room tea 2", "who lobby alice of 1"));
}

TEST_P(chat_hub, nothing_is_left_when_all_have_gone) {
  for (int round = 0; round != 100; ++round) {
    auto alice = enter(of_, 0, "alice", "a" + std::to_string(round));
    auto bob = enter(of_, last_, "bob");
  }
  of_.settle();
  for (unsigned i = 0; i != of_.size(); ++i) {
    EXPECT_EQ(of_.at(i).statistics().member_count.load(), 0U);
    EXPECT_EQ(of_.at(i).statistics().queued_size.load(), 0U);
  }
}

TEST_P(chat_hub, members_that_leave_while_the_server_ends_say_nothing) {
  auto alice = enter(of_, 0, "alice");
  auto bob = enter(of_, last_, "bob");
  alice->told.clear();
  of_.at(last_).begin_drain();
  bob->leave();
  of_.settle();
  EXPECT_THAT(alice->told, IsEmpty());
}

TEST(chat_shard, many_members_on_another_shard_cost_one_batch) {
  office of(2);
  const unsigned owner = of.at(0).owner_of("lobby");
  const unsigned other = 1 - owner;
  std::vector<std::unique_ptr<witness>> crowd;
  for (int i = 0; i != 50; ++i) {
    crowd.push_back(enter(of, other, "member" + std::to_string(i)));
  }
  auto speaker = enter(of, owner, "speaker");
  of.batch_count = 0;
  of.at(owner).speak(*speaker, event_kind::said, false, "hello");
  of.settle();
  EXPECT_EQ(of.batch_count, 1U);
  for (const auto& each : crowd) EXPECT_EQ(each->told.back(), "speaker: hello");
}

TEST(chat_shard, one_message_to_many_members_is_one_buffer) {
  office of(1);
  std::vector<std::unique_ptr<witness>> crowd;
  for (int i = 0; i != 20; ++i) crowd.push_back(enter(of, 0, "member" + std::to_string(i)));
  for (auto& each : crowd) each->was_sent(each->take());
  auto speaker = enter(of, 0, "speaker");
  for (auto& each : crowd) each->was_sent(each->take());
  of.at(0).speak(*speaker, event_kind::said, false, "hello");
  const shared_bytes first = crowd.front()->take().front();
  for (std::size_t i = 1; i != crowd.size(); ++i) EXPECT_EQ(crowd[i]->take().front(), first);
}

TEST(chat_shard, who_does_not_read_misses_messages_and_is_told_how_many_and_nobody_else_does) {
  hub_options options;
  options.queue_size_max = 1000;  // about ten messages
  office of(1, options);
  auto slow = enter(of, 0, "slow");
  auto good = enter(of, 0, "good");
  auto speaker = enter(of, 0, "speaker");
  slow->was_sent(slow->take());
  good->was_sent(good->take());
  std::string slow_text;
  std::string good_text;
  const auto drain = [](witness& of_whom, std::string& to) {
    const std::vector<shared_bytes> pieces = of_whom.take();
    for (const shared_bytes& each : pieces) to += *each;
    of_whom.was_sent(pieces);
  };
  const std::vector<shared_bytes> stuck = slow->take();
  for (int i = 0; i != 100; ++i) {
    of.at(0).speak(*speaker, event_kind::said, false, std::to_string(i));
    drain(*good, good_text);
    EXPECT_LE(slow->queue().size(), options.queue_size_max);
  }
  std::string expected;
  for (int i = 0; i != 100; ++i) expected += "speaker: " + std::to_string(i) + "\n";
  EXPECT_EQ(good_text, expected);
  const std::uint64_t missed = of.at(0).statistics().missed_count.load();
  EXPECT_GT(missed, 80U);

  drain(*slow, slow_text);  // it reads again: what waited, then the note, then what is new
  of.at(0).speak(*speaker, event_kind::said, false, "again");
  drain(*slow, slow_text);
  const auto count = 100 - static_cast<int>(missed);
  std::string whole;
  for (int i = 0; i != count; ++i) whole += "speaker: " + std::to_string(i) + "\n";
  EXPECT_EQ(slow_text, whole + "missed " + std::to_string(missed) + "speaker: again\n");
  EXPECT_EQ(slow->queue().size(), 0U);
}

TEST(chat_shard, too_many_rooms_are_refused_and_empty_ones_make_way) {
  hub_options options;
  options.room_count_max = 2;
  office of(1, options);
  auto alice = enter(of, 0, "alice", "one");
  auto bob = enter(of, 0, "bob", "two");
  auto carol = enter(of, 0, "carol", "three");
  EXPECT_EQ(carol->told.back(), "no room three");
  EXPECT_EQ(carol->room(), nullptr);
  EXPECT_FALSE(of.at(0).speak(*carol, event_kind::said, false, "hello?"));
  bob->leave();
  of.at(0).join(*carol, "three");
  EXPECT_EQ(**carol->room(), "three");
  EXPECT_EQ(of.at(0).statistics().room_count.load(), 2U);
}

TEST(chat_shard, a_room_that_fills_and_empties_for_ever_costs_nothing) {
  hub_options options;
  options.room_count_max = 2;
  office of(1, options);
  auto alice = enter(of, 0, "alice", "one");
  for (int i = 0; i != 1000; ++i) {
    of.at(0).join(*alice, "two");
    of.at(0).join(*alice, "one");
  }
  auto bob = enter(of, 0, "bob", "three");
  EXPECT_EQ(**bob->room(), "three");
}

std::size_t history_size_of(const shard& of) {
  std::size_t size = 0;
  of.for_each_kept(
      [&](const shared_text&, const shared_event& what) { size += what->text.size(); });
  return size;
}

TEST(chat_shard, a_room_keeps_so_many_bytes_of_what_was_said_and_the_oldest_go_first) {
  hub_options options;
  options.history_size_max = 10'000;
  office of(1, options);
  auto alice = enter(of, 0, "alice");
  for (int i = 0; i != 100; ++i) {
    of.at(0).speak(*alice, event_kind::said, false, std::to_string(i) + std::string(1000, 'x'));
    EXPECT_LE(history_size_of(of.at(0)), options.history_size_max);
  }
  auto bob = enter(of, 0, "bob");
  ASSERT_GT(bob->told.size(), 9U);
  EXPECT_EQ(bob->told[bob->told.size() - 2], "before alice: 99" + std::string(1000, 'x') + "\n");
  of.at(0).speak(*alice, event_kind::said, false, std::string(20'000, 'x'));
  EXPECT_EQ(history_size_of(of.at(0)), 0U);  // not even it alone
}

TEST(chat_shard, all_its_rooms_keep_so_many_bytes_and_those_that_were_left_first_go_first) {
  hub_options options;
  options.history_total_max = 50'000;
  office of(1, options);
  auto alice = enter(of, 0, "alice");
  const auto speak = [&](int count) {
    for (int i = 0; i != count; ++i) {
      of.at(0).speak(*alice, event_kind::said, false, std::string(1000, 'x'));
      EXPECT_LE(history_size_of(of.at(0)), options.history_total_max);
    }
  };
  for (int room = 0; room != 20; ++room) {
    of.at(0).join(*alice, "room" + std::to_string(room));
    speak(10);
  }
  EXPECT_GT(history_size_of(of.at(0)), 30'000U);
  EXPECT_LT(of.at(0).statistics().room_count.load(), 6U);
  speak(90);  // then its own
  EXPECT_EQ(of.at(0).statistics().room_count.load(), 1U);
  EXPECT_EQ(**alice->room(), "room19");
  // What is restored obeys as well.
  for (int room = 0; room != 100; ++room) {
    event kept;
    kept.id = 1;
    kept.who = share("alice");
    kept.text = std::string(1000, 'x');
    of.at(0).restore("old" + std::to_string(room), std::make_shared<const event>(kept));
  }
  EXPECT_LE(history_size_of(of.at(0)), options.history_total_max);
}

/// Whatever is asked in whatever order: a name has one member, and is free when it has none.
TEST(chat_shard, names_have_one_member_however_batches_travel) {
  const std::string failure = sim::run_seeds({.count = 2'000}, [](std::uint64_t seed) {
    sim::random_source random(seed, "names");
    const auto draw = [&](std::size_t most) { return random.below(most + 1); };
    office of(static_cast<unsigned>(1 + draw(3)));
    const std::vector<std::string> names = {"a", "b", "c", "d"};
    {
      std::vector<std::unique_ptr<witness>> members;
      std::vector<unsigned> where;
      for (int i = 0; i != 3; ++i) {
        where.push_back(static_cast<unsigned>(draw(of.size() - 1)));
        members.push_back(std::make_unique<witness>(of.at(where.back())));
      }
      for (int i = 0; i != 60; ++i) {
        const std::vector<office::way> ways = of.ways();
        if (!ways.empty() && draw(2) != 0) {
          of.step(ways[draw(ways.size() - 1)]);
        } else {
          const std::size_t who = draw(members.size() - 1);
          of.at(where[who]).claim(*members[who], names[draw(names.size() - 1)]);
        }
      }
      of.settle();
      witness other(of.at(0));
      for (const std::string& name : names) {
        const auto owners = std::count_if(members.begin(), members.end(), [&](const auto& each) {
          return each->name() != nullptr && *each->name() == name;
        });
        sim::require(owners <= 1, "a name has one member");
        of.at(0).claim(other, name);
        of.settle();
        const bool was_free = other.told.back() == "name " + name;
        sim::require(was_free == (owners == 0), "a name is free when it has no member");
      }
    }
    of.settle();
    witness last(of.at(0));
    for (const std::string& name : names) {
      of.at(0).claim(last, name);
      of.settle();
      sim::require(last.told.back() == "name " + name, "all names are free when all have gone");
    }
  });
  EXPECT_EQ(failure, "");
}

/// Whatever the order in which batches travel: all members of a room see one order, nobody misses
/// anything, and each sender's messages keep their order.
TEST(chat_shard, all_members_see_one_order_however_batches_travel) {
  const std::string failure = sim::run_seeds({.count = 2'000}, [](std::uint64_t seed) {
    sim::random_source random(seed, "batches");
    const auto draw = [&](std::size_t most) { return random.below(most + 1); };
    office of(static_cast<unsigned>(1 + draw(3)));
    std::vector<std::unique_ptr<witness>> members;
    std::vector<unsigned> where;
    const std::size_t member_count = 2 + draw(6);
    for (std::size_t i = 0; i != member_count; ++i) {
      where.push_back(static_cast<unsigned>(draw(of.size() - 1)));
      members.push_back(enter(of, where.back(), "m" + std::to_string(i)));
      members.back()->wants_own_events = true;
    }
    for (auto& each : members) {
      each->told.clear();
      each->ids.clear();
    }
    std::vector<int> said(member_count, 0);
    for (int i = 0; i != 200; ++i) {
      const std::vector<office::way> ways = of.ways();
      if (!ways.empty() && draw(2) != 0) {
        of.step(ways[draw(ways.size() - 1)]);
        continue;
      }
      const std::size_t who = draw(member_count - 1);
      of.at(where[who]).speak(*members[who], event_kind::said, false, std::to_string(said[who]++));
    }
    of.settle();
    for (const auto& each : members) {
      sim::require(each->told == members.front()->told, "all see one order");
      sim::require(std::is_sorted(each->ids.begin(), each->ids.end()), "numbers go up");
    }
    for (std::size_t who = 0; who != member_count; ++who) {
      int next = 0;
      const std::string prefix = "m" + std::to_string(who) + ": ";
      for (const std::string& each : members.front()->told) {
        if (!each.starts_with(prefix)) continue;
        sim::require(each == prefix + std::to_string(next++), "a sender's order is kept");
      }
      sim::require(next == said[who], "nothing is missed");
    }
  });
  EXPECT_EQ(failure, "");
}

}  // namespace
}  // namespace rill::chat
