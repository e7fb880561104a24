// co_await in conditions, loops, initialisers, operators, try and catch, and co_return.
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "idioms/support.h"

namespace idioms {
namespace {

using rill::task;

task<std::optional<counted>> next_of(gate& at, int& left) {
  const counted local("local");
  co_await at.pass();
  if (left-- == 0) co_return std::nullopt;
  co_return counted("next");
}

TEST(control_flow, an_if_may_await_its_condition_and_its_initialiser) {
  survives([](gate& at) -> task<> {
    int taken = 0;
    if (co_await is_true(at, true)) ++taken;
    if (!co_await is_true(at, false)) ++taken;
    if ((co_await give(at, counted("equal"))) == "equal") ++taken;
    if (const auto value = co_await give(at, std::optional(counted("some")))) {
      taken += *value == "some" ? 1 : 0;
      co_await at.pass();
    } else {
      ADD_FAILURE();
    }
    if (const counted value = co_await give(at, counted("init")); value == "init") {
      co_await at.pass();
      ++taken;
    }
    if (co_await size_of(at, counted("12")) > co_await size_of(at, std::string(1, 'x'))) ++taken;
    EXPECT_EQ(taken, 6);
  });
}

TEST(control_flow, a_while_may_await_its_condition) {
  survives([](gate& at) -> task<> {
    int left = 3;
    int turns = 0;
    while (auto value = co_await next_of(at, left)) {
      EXPECT_EQ(*value, "next");
      ++turns;
    }
    int more = 2;
    while ((co_await next_of(at, more)).has_value()) ++turns;
    do {
      const counted each("each");
      ++turns;
    } while (co_await is_true(at, turns < 7));
    EXPECT_EQ(turns, 7);
  });
}

TEST(control_flow, a_for_may_await_in_each_of_its_parts) {
  survives([](gate& at) -> task<> {
    int turns = 0;
    for (int i = co_await number(at, 0); co_await is_true(at, i < 2); i += co_await number(at, 1)) {
      const counted each = co_await give(at, counted("each"));
      turns += each == "each" ? 1 : 0;
    }
    for (auto value = co_await give(at, counted("go")); value == "go";
         value = co_await give(at, counted("stop"))) {
      ++turns;
    }
    EXPECT_EQ(turns, 3);
  });
}

TEST(control_flow, a_range_for_may_await_its_range_and_in_its_body) {
  survives([](gate& at) -> task<> {
    std::string text;
    for (const counted& each : co_await give(at, std::vector<counted>(2, counted("r")))) {
      text += each.text();
      text += (co_await give(at, counted("b"))).text();
    }
    std::vector<std::string> names;
    names.push_back(long_text());
    for (std::string& each : names) each = co_await give(at, std::move(each));
    EXPECT_EQ(text, "rbrb");
    EXPECT_EQ(names[0], long_text());
  });
}

TEST(control_flow, auto_in_a_loop_is_made_and_destroyed_each_time) {
  survives([](gate& at) -> task<> {
    for (int i = 0; i < 3; ++i) {
      auto value = co_await give(at, counted("loop"));
      auto owner = co_await give(at, std::make_unique<counted>("loop"));
      if (i == 1) continue;
      EXPECT_EQ(value, owner->text());
      EXPECT_EQ(counted::alive_count(), 2u);
    }
    for (;;) {
      auto value = co_await give(at, counted("once"));
      if (value == "once") break;
    }
    EXPECT_EQ(counted::alive_count(), 0u);
  });
}

// Only here: elsewhere g++ 12 awaits the right side whatever the left one says (README.md).
TEST(control_flow, and_and_or_in_an_if_or_an_initialiser_await_only_what_they_need) {
  survives([](gate& at) -> task<> {
    const std::size_t before = at.passed_count();
    const bool both = co_await is_true(at, false) && co_await is_true(at, true);
    const bool either = co_await is_true(at, true) || co_await is_true(at, false);
    EXPECT_TRUE(!both && either);
    EXPECT_EQ(at.passed_count(), before + 2);
    if (co_await is_true(at, false) && co_await is_true(at, true)) ADD_FAILURE();
    if ((co_await give(at, counted("a"))) == "b" && (co_await give(at, counted("b"))) == "b") {
      ADD_FAILURE();
    }
    if ((co_await size_of(at, counted("12"))) == 2 || (co_await size_of(at, long_text())) == 1) {
      co_await at.pass();
    }
    EXPECT_EQ(at.passed_count(), before + 6);
  });
}

TEST(control_flow, an_exception_of_an_awaited_task_is_caught_around_it) {
  survives([](gate& at) -> task<> {
    const auto fail = [](gate& on, counted what) -> task<counted> {
      const counted local("local");
      co_await on.pass();
      throw std::logic_error(what.text());
    };
    std::string caught;
    try {
      const counted outer("outer");
      const counted never = co_await fail(at, counted("broken"));
      ADD_FAILURE() << never.text();
    } catch (const std::logic_error& error) {
      caught = error.what();
    }
    // An await cannot stand in the handler; it stands after it.
    if (caught == "broken") co_await at.pass();
    EXPECT_EQ(caught, "broken");
  });
}

TEST(control_flow, a_retry_loop_goes_on_after_a_catch) {
  survives([](gate& at) -> task<> {
    const auto attempt = [](gate& on, int count) -> task<counted> {
      co_await on.pass();
      if (count < 3) throw std::logic_error("not yet");
      co_return counted("at last");
    };
    std::optional<counted> got;
    int count = 0;
    while (!got) {
      try {
        got = co_await attempt(at, ++count);
      } catch (const std::logic_error&) {
        // goes on
      }
      co_await at.pass();
    }
    EXPECT_EQ(count, 3);
    EXPECT_EQ(*got, "at last");
  });
}

TEST(control_flow, an_exception_passes_through_several_awaits_and_destroys_their_locals) {
  const auto deep = [](auto&& self, gate& at, int level) -> task<std::size_t> {
    const counted local("local");
    if (level == 0) {
      co_await at.pass();
      throw std::logic_error("from below");
    }
    co_return co_await size_of(at, counted("1")) + co_await self(self, at, level - 1);
  };
  survives([deep](gate& at) -> task<> {
    bool caught = false;
    try {
      static_cast<void>(co_await deep(deep, at, 3));
    } catch (const std::logic_error&) {
      caught = true;
      EXPECT_EQ(counted::alive_count(), 0u);
    }
    EXPECT_TRUE(caught);
  });
}

task<std::unique_ptr<counted>> move_only(gate& at) {
  auto local = std::make_unique<counted>("move only");
  co_await at.pass();
  co_return local;
}
task<std::unique_ptr<counted>> forward_move_only(gate& at) { co_return co_await move_only(at); }

TEST(control_flow, move_only_results_are_returned_and_passed_on) {
  survives([](gate& at) -> task<> {
    EXPECT_EQ(*co_await forward_move_only(at), "move only");
    const std::unique_ptr<counted> kept = co_await forward_move_only(at);
    EXPECT_EQ(*kept, "move only");
    std::unique_ptr<counted> assigned;
    assigned = co_await forward_move_only(at);
    EXPECT_EQ(*assigned, "move only");
    static_cast<void>(co_await forward_move_only(at));  // dropped
    EXPECT_EQ(counted::alive_count(), 2u);
  });
}

TEST(control_flow, results_by_reference_name_the_same_object) {
  survives([](gate& at) -> task<> {
    const auto same = [](gate& on, counted& value) -> task<counted&> {
      co_await on.pass();
      co_return value;
    };
    counted mine("mine");
    counted& back = co_await same(at, mine);
    EXPECT_EQ(&back, &mine);
    (co_await same(at, mine)) = counted("changed");
    EXPECT_EQ(mine, "changed");
    const counted copy = co_await same(at, mine);
    EXPECT_EQ(copy, "changed");
    const counted& constant = co_await look(at, mine);
    EXPECT_EQ(&constant, &mine);
  });
}

TEST(control_flow, pairs_and_tuples_may_be_taken_apart) {
  survives([](gate& at) -> task<> {
    for (int i = 0; i < 2; ++i) {
      auto [first, second] = co_await give(at, std::pair(counted("first"), long_text()));
      EXPECT_EQ(first, "first");
      EXPECT_EQ(second, long_text());
      const auto& [a, b] = co_await give(at, std::tuple(counted("a"), counted("b")));
      EXPECT_EQ(a.text() + b.text(), "ab");
    }
  });
}

/// An aggregate is a good result: it is taken apart, or kept; it is not built around an await.
struct answer {
  counted body;
  int status = 0;
};
task<answer> ask(gate& at) {
  answer made;
  made.body = co_await give(at, counted("body"));
  made.status = co_await number(at, 200);
  co_return made;
}

TEST(control_flow, an_aggregate_may_be_a_result) {
  survives([](gate& at) -> task<> {
    const answer kept = co_await ask(at);
    EXPECT_EQ(kept.body, "body");
    EXPECT_EQ((co_await ask(at)).status, 200);
    EXPECT_EQ((co_await ask(at)).body, "body");
  });
}

task<int> sum_to(gate& at, int count, counted argument) {
  const counted local(argument.text());
  if (count == 0) {
    co_await at.pass();
    co_return 0;
  }
  co_return count + co_await sum_to(at, count - 1, counted(local.text()));
}

TEST(control_flow, recursion_holds_each_level_until_its_end) {
  survives([](gate& at) -> task<> { EXPECT_EQ(co_await sum_to(at, 20, counted("deep")), 210); });
}

TEST(control_flow, each_branch_of_a_switch_on_a_named_value_may_await) {
  survives([](gate& at) -> task<> {
    std::string text;
    for (int i = 0; i < 3; ++i) {
      const int choice = co_await number(at, i);
      switch (choice) {
        case 0: {
          const counted local = co_await give(at, counted("zero "));
          text += local.text();
          break;
        }
        case 1:
          text += (co_await give(at, counted("one "))).text();
          continue;
        default:
          text += co_await give(at, std::string("many"));
      }
    }
    EXPECT_EQ(text, "zero one many");
  });
}

TEST(control_flow, a_choice_of_numbers_may_stand_in_an_argument) {
  survives([](gate& at) -> task<> {
    bool yes = co_await is_true(at, true);
    EXPECT_EQ(co_await number(at, yes ? 1 : 2), 1);
    std::string text;
    if (yes) {
      text = co_await give(at, long_text());
    } else {
      text = "no";
    }
    EXPECT_EQ(text, long_text());
  });
}

TEST(control_flow, locals_of_nested_scopes_are_destroyed_where_they_end) {
  survives([](gate& at) -> task<> {
    const counted outer("outer");
    {
      const counted inner = co_await give(at, counted("inner"));
      EXPECT_EQ(counted::alive_count(), 2u);
    }
    co_await at.pass();
    EXPECT_EQ(counted::alive_count(), 1u);
    const auto early = [](gate& on, bool stop) -> task<counted> {
      const counted local("local");
      if (stop) co_return counted("early");
      co_await on.pass();
      co_return local;
    };
    EXPECT_EQ(co_await early(at, true), "early");
    EXPECT_EQ(co_await early(at, false), "local");
  });
}

}  // namespace
}  // namespace idioms
