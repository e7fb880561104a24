// What is awaited: lambdas, members, templates, stored tasks; and what a nursery starts.
#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "idioms/support.h"

namespace idioms {
namespace {

using rill::nursery;
using rill::task;

TEST(lambdas, one_that_captures_by_reference_may_be_called_where_it_stands) {
  survives([](gate& at) -> task<> {
    counted mine("mine");
    const std::size_t size = co_await [&]() -> task<std::size_t> {
      co_await at.pass();
      co_return mine.size();
    }();
    EXPECT_EQ(size, 4u);
    co_await [&](counted given) -> task<> {
      co_await at.pass();
      mine = std::move(given);
    }(counted("given"));
    EXPECT_EQ(mine, "given");
  });
}

TEST(lambdas, one_without_captures_takes_what_it_needs_as_parameters) {
  survives([](gate& at) -> task<> {
    const counted got = co_await [](gate& on, counted value, std::string more) -> task<counted> {
      co_await on.pass();
      co_return counted(value.text() + more);
    }(at, counted("a"), long_text());
    EXPECT_EQ(got, "a" + long_text());
  });
}

TEST(lambdas, a_named_one_may_own_what_it_captures) {
  survives([](gate& at) -> task<> {
    const auto named = [&at, own = counted("own"), text = long_text()]() -> task<std::string> {
      co_await at.pass();
      co_return own.text() + text;
    };
    EXPECT_EQ(co_await named(), "own" + long_text());
    EXPECT_EQ(co_await named(), "own" + long_text());
  });
}

TEST(lambdas, a_named_mutable_one_keeps_its_state_between_calls) {
  survives([](gate& at) -> task<> {
    auto counter = [&at, count = 0, tracked = counted("state")]() mutable -> task<int> {
      co_await at.pass();
      tracked = counted("more state");
      co_return ++count;
    };
    static_cast<void>(co_await counter());
    EXPECT_EQ(co_await counter(), 2);
  });
}

TEST(lambdas, a_generic_one_and_a_template_take_any_value) {
  survives([](gate& at) -> task<> {
    const auto echo = [](gate& on, auto value) -> task<decltype(value)> {
      co_await on.pass();
      co_return std::move(value);
    };
    EXPECT_EQ(co_await echo(at, counted("generic")), "generic");
    EXPECT_EQ(co_await echo(at, long_text()), long_text());
    EXPECT_EQ(**co_await echo(at, std::optional(std::make_unique<counted>("p"))), "p");
  });
}

task<std::size_t> call(gate& at, const std::function<task<counted>(counted)>& function) {
  co_await at.pass();
  co_return (co_await function(counted("argument"))).size();
}

TEST(lambdas, a_function_object_may_be_passed_on) {
  survives([](gate& at) -> task<> {
    const std::function<task<counted>(counted)> function = [&at](counted value) -> task<counted> {
      co_await at.pass();
      co_return value;
    };
    EXPECT_EQ(co_await call(at, function), 8u);
    EXPECT_EQ(co_await call(at, [&at](counted value) { return give(at, std::move(value)); }), 8u);
    auto owning = [&at, own = counted("own")](counted value) -> task<counted> {
      co_await at.pass();
      co_return counted(own.text() + value.text());
    };
    EXPECT_EQ(co_await call(at, owning), 11u);
    EXPECT_EQ(co_await call(at, std::move(owning)), 11u);
  });
}

/// A class with a constructor, as a session or a client is.
class session {
 public:
  session(gate& at, std::string name) : at_(&at), name_(std::move(name)) {}
  task<std::string> greet(counted whom) {
    co_await at_->pass();
    co_return name_ + whom.text() + tracked_.text();
  }
  task<const std::string&> name() const& {
    co_await at_->pass();
    co_return name_;
  }
  virtual task<counted> kind() {
    co_await at_->pass();
    co_return counted("session");
  }
  virtual ~session() = default;

 protected:
  gate* at_;

 private:
  std::string name_;
  counted tracked_{"!"};
};
class special_session final : public session {
 public:
  using session::session;
  task<counted> kind() override {
    const counted base = co_await session::kind();
    co_return counted("special " + base.text());
  }
};

TEST(members, a_coroutine_may_be_a_member_of_a_named_object) {
  survives([](gate& at) -> task<> {
    session peer(at, long_text());
    EXPECT_EQ(co_await peer.greet(counted("you")), long_text() + "you!");
    EXPECT_EQ(co_await peer.name(), long_text());
    const auto owned = std::make_unique<special_session>(at, "special");
    EXPECT_EQ(co_await owned->kind(), "special session");
    session& base = *owned;
    EXPECT_EQ(co_await base.kind(), "special session");
  });
}

TEST(members, a_coroutine_may_be_a_member_of_a_temporary_with_a_constructor) {
  survives([](gate& at) -> task<> {
    EXPECT_EQ(co_await session(at, "I").greet(counted("you")), "Iyou!");
    EXPECT_EQ(co_await session(at, std::string(70, 'n')).greet(counted("")),
              std::string(70, 'n') + "!");
    EXPECT_EQ(co_await std::make_unique<special_session>(at, "s")->kind(), "special session");
  });
}

TEST(stored_tasks, a_task_may_be_kept_and_awaited_later) {
  survives([](gate& at) -> task<> {
    task<counted> later = give(at, counted("later"));
    EXPECT_EQ(counted::alive_count(), 1u);
    EXPECT_EQ(at.passed_count(), 0u);  // nothing runs before it is awaited
    EXPECT_EQ(co_await std::move(later), "later");
    task<> moved = at.pass();
    task<> again = std::move(moved);
    co_await std::move(again);
    std::optional<task<counted>> maybe = give(at, counted("maybe"));
    EXPECT_EQ(co_await *std::move(maybe), "maybe");
    maybe.reset();
    maybe.emplace(give(at, counted("once more")));
    EXPECT_EQ(co_await std::move(*maybe), "once more");
  });
}

TEST(stored_tasks, a_vector_of_tasks_may_be_awaited_one_by_one) {
  survives([](gate& at) -> task<> {
    std::vector<task<counted>> tasks;
    for (int i = 0; i < 3; ++i) tasks.push_back(give(at, counted(std::to_string(i))));
    std::string text;
    for (task<counted>& each : tasks) text += (co_await std::move(each)).text();
    EXPECT_EQ(text, "012");
  });
}

TEST(stored_tasks, a_task_that_is_never_awaited_destroys_its_arguments) {
  survives([](gate& at) -> task<> {
    {
      const task<counted> dropped = give(at, counted("dropped"));
      task<counted> replaced = give(at, counted("replaced"));
      replaced = give(at, counted("replacement"));
      EXPECT_EQ(counted::alive_count(), 2u);
    }
    EXPECT_EQ(counted::alive_count(), 0u);
    co_await at.pass();
  });
}

TEST(stored_tasks, a_task_may_be_handed_through_functions) {
  const auto pass_on = [](task<counted> inner) -> task<counted> {
    const counted local("local");
    co_return co_await std::move(inner);
  };
  survives([pass_on](gate& at) -> task<> {
    EXPECT_EQ(co_await pass_on(give(at, counted("inner"))), "inner");
    EXPECT_EQ(co_await pass_on(pass_on(give(at, counted("inner")))), "inner");
  });
}

task<> give_nothing(gate& at, counted) { co_await at.pass(); }

task<> put(gate& at, std::string& into, counted value, const std::string& more) {
  co_await at.pass();
  into += value.text();
  into += more;
}

TEST(nurseries, a_body_by_reference_starts_functions_with_arguments) {
  survives([](gate& at) -> task<> {
    std::string text;
    co_await rill::with_nursery([&](nursery& tasks) -> task<> {
      const counted local("local");
      tasks.start(put, std::ref(at), std::ref(text), counted("a"), long_text());
      tasks.start(put, std::ref(at), std::ref(text), counted("b"), std::string());
      co_await at.pass();
    });
    EXPECT_EQ(text.size(), 2 + long_text().size());
    EXPECT_EQ(counted::alive_count(), 0u);
  });
}

TEST(nurseries, a_started_lambda_keeps_what_it_captures_until_its_end) {
  survives([](gate& at) -> task<> {
    std::string text;
    co_await rill::with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&at, &text, own = counted("own"), more = long_text()]() -> task<> {
        co_await at.pass();
        text += own.text() + more;
      });
      tasks.start(
          [&](std::unique_ptr<counted> given, counted&& by_rvalue,
              const counted& by_reference) -> task<> {
            co_await at.pass();
            EXPECT_EQ(*given, "given");
            EXPECT_EQ(by_rvalue.text() + by_reference.text(), "rr");
          },
          std::make_unique<counted>("given"), counted("r"), counted("r"));
      auto named = [&at, own = std::make_unique<counted>("moved")]() -> task<> {
        co_await at.pass();
        EXPECT_EQ(*own, "moved");
      };
      tasks.start(std::move(named));
      co_return;
    });
    EXPECT_EQ(text, "own" + long_text());
  });
}

struct worker {
  gate* at;
  counted done;
  task<> work(counted with) {
    co_await at->pass();
    done = std::move(with);
  }
};

TEST(nurseries, members_are_started_with_their_object) {
  survives([](gate& at) -> task<> {
    worker one{&at, counted()};
    co_await rill::with_nursery([&](nursery& tasks) -> task<> {
      tasks.start(&worker::work, &one, counted("done"));
      tasks.start(&worker::work, std::ref(one), counted("done"));
      co_return;
    });
    EXPECT_EQ(one.done, "done");
  });
}

TEST(nurseries, a_named_body_may_own_what_it_captures) {
  survives([](gate& at) -> task<> {
    auto body = [&at, own = counted("own")](nursery& tasks) -> task<> {
      tasks.start(give_nothing, std::ref(at), counted("child"));
      co_await at.pass();
      EXPECT_EQ(own, "own");
    };
    co_await rill::with_nursery(body);
    co_await rill::with_nursery(body);
  });
}

TEST(nurseries, the_first_error_ends_the_others_and_is_rethrown) {
  survives([](gate& at) -> task<> {
    std::string caught;
    rill::event never;  // outside: the body's own locals may go before its children do
    try {
      co_await rill::with_nursery([&](nursery& tasks) -> task<> {
        tasks.start([&never, own = counted("waits")]() -> task<> { co_await never.wait(); });
        tasks.start(
            [](gate& on, counted what) -> task<> {
              co_await on.pass();
              throw std::logic_error(what.text());
            },
            std::ref(at), counted("failed"));
        const counted local("local");
        co_await never.wait();
      });
    } catch (const std::logic_error& error) {
      caught = error.what();
    }
    EXPECT_EQ(caught, "failed");
    EXPECT_EQ(counted::alive_count(), 0u);
    co_await at.pass();
  });
}

TEST(nurseries, nested_ones_end_from_the_inside_out) {
  survives([](gate& at) -> task<> {
    counted outer("outer");
    co_await rill::with_nursery([&](nursery& tasks) -> task<> {
      const counted local("local");
      tasks.start([&]() -> task<> {
        const counted mine("mine");
        co_await rill::with_nursery([&](nursery& inner) -> task<> {
          inner.start(give_nothing, std::ref(at), counted("inner"));
          co_await at.pass();
          EXPECT_EQ(mine.text() + outer.text(), "mineouter");
        });
      });
      co_await at.pass();
    });
    EXPECT_EQ(counted::alive_count(), 1u);
  });
}

TEST(nurseries, a_nursery_in_a_loop_is_made_anew_each_time) {
  survives([](gate& at) -> task<> {
    int count = 0;
    for (int round = 0; round < 2; ++round) {
      co_await rill::with_nursery([&](nursery& tasks) -> task<> {
        for (int i = 0; i < 2; ++i) {
          tasks.start(
              [&at, &count, i](counted each) -> task<> {
                co_await at.pass();
                if (each == std::to_string(i)) ++count;
              },
              counted(std::to_string(i)));
        }
        co_return;
      });
    }
    EXPECT_EQ(count, 4);
  });
}

}  // namespace
}  // namespace idioms
