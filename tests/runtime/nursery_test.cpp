// What a nursery promises: nothing outlives it, no error is lost, cancellation reaches everyone.
#include <rill/runtime/nursery.h>

#include <memory>
#include <stdexcept>
#include <string>

#include <gtest/gtest.h>

#include "support.h"
#include <rill/runtime/event.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/timeout.h>

namespace rill {
namespace {

using namespace std::chrono_literals;
using test::leaves_note;
using test::record;
using test::run_loop;
using test::settle;

task<> wait_and_note(event& gate, record& to, std::string name) {
  const leaves_note at_end(to, name + " gone");
  co_await gate.wait();
  to.push_back(name + " done");
}

task<> fail_after(event& gate, std::string message) {
  co_await gate.wait();
  throw std::runtime_error(message);
}

void throw_now() { throw std::runtime_error("no task"); }

template <class Body>
std::string error_of(Body&& body) {
  try {
    run_loop(std::forward<Body>(body));
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "";
}

TEST(nursery, ends_when_body_and_children_have_ended) {
  record seen;
  event gate;
  run_loop([&]() -> task<> {
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start(wait_and_note, std::ref(gate), std::ref(seen), "first");
      tasks.start(wait_and_note, std::ref(gate), std::ref(seen), "second");
      EXPECT_EQ(tasks.size(), 2U);
      co_await settle();
      gate.set();
      seen.emplace_back("body done");
    });
    seen.emplace_back("end");
  });
  EXPECT_EQ(seen,
            (record{"body done", "first done", "first gone", "second done", "second gone", "end"}));
}

TEST(nursery, keeps_callable_and_arguments_until_the_task_and_its_parameters_are_gone) {
  record seen;
  run_loop([&]() -> task<> {
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([callable = leaves_note(seen, "callable")](
                      leaves_note, const leaves_note&) -> task<> { co_await yield(); },
                  leaves_note(seen, "parameter"), leaves_note(seen, "argument"));
      co_return;
    });
  });
  EXPECT_EQ(seen, (record{"parameter", "argument", "callable"}));
}

TEST(nursery, without_children_ends_with_its_body) {
  run_loop([]() -> task<> { co_await with_nursery([](nursery&) -> task<> { co_return; }); });
}

TEST(nursery, takes_a_body_that_is_no_coroutine_itself) {
  record seen;
  event gate;
  run_loop([&]() -> task<> {
    co_await with_nursery([&](nursery& tasks) {
      EXPECT_EQ(tasks.size(), 0U);
      tasks.start(wait_and_note, std::ref(gate), std::ref(seen), "child");
      EXPECT_EQ(tasks.size(), 1U);
      return [](nursery& here, event& open) -> task<> {
        EXPECT_EQ(here.size(), 1U);
        co_await settle();
        open.set();
      }(tasks, gate);
    });
  });
  EXPECT_EQ(seen, (record{"child done", "child gone"}));
}

TEST(nursery, ends_with_the_error_of_a_body_that_throws_before_it_is_a_task) {
  record seen;
  event never;
  for (const int child_count : {0, 2}) {
    EXPECT_EQ(error_of([&]() -> task<> {
                co_await with_nursery([&](nursery& tasks) -> task<> {
                  for (int i = 0; i < child_count; ++i) {
                    tasks.start(wait_and_note, std::ref(never), std::ref(seen), "child");
                  }
                  throw_now();
                  return settle();
                });
              }),
              "no task");
  }
  EXPECT_EQ(seen, record());
}

TEST(nursery, is_cancelled_by_a_body_that_is_no_coroutine_itself) {
  record seen;
  event never;
  run_loop([&]() -> task<> {
    co_await with_nursery([&](nursery& tasks) {
      tasks.start(wait_and_note, std::ref(never), std::ref(seen), "child");
      tasks.cancel();
      return wait_and_note(never, seen, "body");
    });
    seen.emplace_back("went on");
    co_await with_nursery([&](nursery& tasks) {
      tasks.start(wait_and_note, std::ref(never), std::ref(seen), "child");
      loop::current().cancel();
      return wait_and_note(never, seen, "body");
    });
    seen.emplace_back("never");
  });
  EXPECT_EQ(seen, (record{"went on"}));
}

TEST(nursery_death_test, awaited_twice_aborts) {
  EXPECT_DEATH(run_loop([]() -> task<> {
                 auto twice = with_nursery([](nursery&) -> task<> { co_return; });
                 co_await std::move(twice);
                 co_await std::move(twice);
               }),
               "a nursery was awaited twice");
}

TEST(nursery, begins_a_child_after_the_tasks_that_are_ready) {
  record seen;
  run_loop([&]() -> task<> {
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        seen.emplace_back("child");
        co_return;
      });
      seen.emplace_back("body");
      co_return;
    });
  });
  EXPECT_EQ(seen, (record{"body", "child"}));
}

TEST(nursery, keeps_callable_and_arguments_as_long_as_the_task) {
  event gate;
  record seen;
  run_loop([&]() -> task<> {
    co_await with_nursery([&](nursery& tasks) -> task<> {
      {
        const auto child = [owned = std::string("captured, and longer than a small string"), &gate,
                            &seen](const std::string& lent) -> task<> {
          co_await gate.wait();
          seen.push_back(owned);
          seen.push_back(lent);
        };
        tasks.start(child, std::string("an argument, and longer than a small string"));
      }
      co_await settle();
      gate.set();
    });
  });
  EXPECT_EQ(seen, (record{"captured, and longer than a small string",
                          "an argument, and longer than a small string"}));
}

TEST(nursery, hands_arguments_over_as_rvalues) {
  int got = 0;
  run_loop([&]() -> task<> {
    co_await with_nursery([&](nursery& tasks) -> task<> {
      const auto take = [](std::unique_ptr<int> owned, int& to) -> task<> {
        to = *owned;
        co_return;
      };
      tasks.start(take, std::make_unique<int>(3), std::ref(got));
      co_return;
    });
  });
  EXPECT_EQ(got, 3);
}

TEST(nursery, rethrows_the_first_error_after_all_children_have_ended) {
  record seen;
  event gate;
  event never;
  EXPECT_EQ(error_of([&]() -> task<> {
              try {
                co_await with_nursery([&](nursery& tasks) -> task<> {
                  const leaves_note at_end(seen, "body gone");
                  tasks.start(wait_and_note, std::ref(never), std::ref(seen), "first");
                  tasks.start(fail_after, std::ref(gate), "one");
                  tasks.start(fail_after, std::ref(gate), "two");
                  tasks.start(wait_and_note, std::ref(never), std::ref(seen), "last");
                  co_await settle();
                  gate.set();
                  co_await never.wait();
                });
              } catch (...) {
                seen.emplace_back("rethrown");
                throw;
              }
            }),
            "one");
  EXPECT_EQ(seen.size(), 4U);
  EXPECT_EQ(seen.back(), "rethrown");
}

TEST(nursery, rethrows_the_error_of_its_body_and_cancels_the_children) {
  record seen;
  event never;
  EXPECT_EQ(error_of([&]() -> task<> {
              co_await with_nursery([&](nursery& tasks) -> task<> {
                tasks.start(wait_and_note, std::ref(never), std::ref(seen), "child");
                co_await settle();
                throw std::runtime_error("body");
              });
            }),
            "body");
  EXPECT_EQ(seen, (record{"child gone"}));
}

TEST(nursery, passes_on_what_making_the_body_throws) {
  EXPECT_EQ(
      error_of([]() -> task<> {
        co_await with_nursery([](nursery&) -> task<> { throw std::runtime_error("at once"); });
      }),
      "at once");
  const auto not_even_a_task = [](nursery&) -> task<> {
    struct refused {
      static task<> make() { throw std::runtime_error("no coroutine"); }
    };
    return refused::make();
  };
  EXPECT_EQ(error_of([&]() -> task<> { co_await with_nursery(not_even_a_task); }), "no coroutine");
}

TEST(nursery, passes_what_making_a_child_throws_to_who_starts_it) {
  run_loop([]() -> task<> {
    co_await with_nursery([](nursery& tasks) -> task<> {
      const auto refused = []() -> task<> {
        if (loop::current_or_null() != nullptr) throw std::runtime_error("no child");
        return settle();
      };
      EXPECT_THROW(tasks.start(refused), std::runtime_error);
      EXPECT_EQ(tasks.size(), 0U);
      co_return;
    });
  });
}

TEST(nursery, cancel_ends_body_and_children_and_returns_normally) {
  record seen;
  event never;
  run_loop([&]() -> task<> {
    co_await with_nursery([&](nursery& tasks) -> task<> {
      const leaves_note at_end(seen, "body gone");
      tasks.start(wait_and_note, std::ref(never), std::ref(seen), "child");
      co_await settle();
      tasks.cancel();
      EXPECT_TRUE(tasks.cancel_requested());
      co_await never.wait();
    });
    seen.emplace_back("end");
  });
  EXPECT_EQ(seen, (record{"child gone", "body gone", "end"}));
}

TEST(nursery, can_be_cancelled_by_a_child) {
  record seen;
  event never;
  run_loop([&]() -> task<> {
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start(wait_and_note, std::ref(never), std::ref(seen), "sibling");
      tasks.start([&]() -> task<> {
        co_await settle();
        tasks.cancel();
      });
      co_await never.wait();
    });
  });
  EXPECT_EQ(seen, (record{"sibling gone"}));
}

TEST(nursery, a_task_started_while_it_is_ending_never_begins) {
  record seen;
  event never;
  run_loop([&]() -> task<> {
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.cancel();
      tasks.start(wait_and_note, std::ref(never), std::ref(seen), "late");
      co_return;
    });
    EXPECT_THROW(co_await with_nursery([&](nursery& tasks) -> task<> {
                   struct starts_late {
                     nursery& in;
                     event& gate;
                     record& to;
                     ~starts_late() {
                       in.start(wait_and_note, std::ref(gate), std::ref(to), "late");
                     }
                   } const at_end{tasks, never, seen};
                   tasks.start([]() -> task<> {
                     throw std::runtime_error("child");
                     co_return;
                   });
                   co_await never.wait();
                 }),
                 std::runtime_error);
  });
  EXPECT_EQ(seen, record());
}

TEST(nursery, a_task_started_while_the_owner_is_being_cancelled_never_begins) {
  record seen;
  event gate;
  event never;
  run_loop([&]() -> task<> {
    const auto owner = [&]() -> task<> {
      co_await with_nursery([&](nursery& tasks) -> task<> {
        // Ready when it is cancelled, so it goes on once more, and starts something.
        co_await gate.wait();
        tasks.start(wait_and_note, std::ref(never), std::ref(seen), "late");
        seen.emplace_back("started");
      });
      seen.emplace_back("owner went on");
      co_await never.wait();
    };
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start(owner);
      co_await settle();
      gate.set();
      tasks.cancel();
    });
  });
  EXPECT_EQ(seen, (record{"started"}));
}

TEST(nursery, a_task_whose_making_cancels_the_nursery_never_begins) {
  record seen;
  run_loop([&]() -> task<> {
    co_await with_nursery([&](nursery& tasks) -> task<> {
      const auto child = [](record& to) -> task<> {
        to.emplace_back("began");
        co_return;
      };
      const auto make = [&]() -> task<> {
        tasks.cancel();
        return child(seen);
      };
      tasks.start(make);
      co_return;
    });
  });
  EXPECT_EQ(seen, record());
}

TEST(nursery, cancelled_with_its_owner_destroys_children_before_the_owner) {
  record seen;
  event never;
  run_loop([&]() -> task<> {
    const auto owner = [&]() -> task<> {
      const leaves_note at_end(seen, "owner gone");
      co_await with_nursery([&](nursery& tasks) -> task<> {
        tasks.start(wait_and_note, std::ref(never), std::ref(seen), "child");
        co_await never.wait();
      });
      seen.emplace_back("never");
    };
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start(owner);
      co_await settle();
      tasks.cancel();
    });
    seen.emplace_back("end");
  });
  EXPECT_EQ(seen, (record{"child gone", "owner gone", "end"}));
}

TEST(nursery, whose_tasks_all_complete_while_the_owner_is_cancelled_lets_it_go_on) {
  record seen;
  event gate;
  run_loop([&]() -> task<> {
    const auto owner = [&]() -> task<> {
      co_await with_nursery([&](nursery&) -> task<> { co_await gate.wait(); });
      seen.emplace_back("completion won");
      co_await yield();
      seen.emplace_back("never");
    };
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start(owner);
      co_await settle();
      gate.set();
      tasks.cancel();
    });
  });
  EXPECT_EQ(seen, (record{"completion won"}));
}

TEST(nursery, delivers_an_error_even_to_an_owner_that_is_being_cancelled) {
  record seen;
  event gate;
  event never;
  run_loop([&]() -> task<> {
    const auto owner = [&]() -> task<> {
      try {
        co_await with_nursery([&](nursery& tasks) -> task<> {
          tasks.start(fail_after, std::ref(gate), "late");
          co_await never.wait();
        });
      } catch (const std::runtime_error& error) {
        seen.emplace_back(error.what());
      }
    };
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start(owner);
      co_await settle();
      gate.set();
      tasks.cancel();
    });
  });
  EXPECT_EQ(seen, (record{"late"}));
}

TEST(nursery, nests) {
  int leaves = 0;
  run_loop([&]() -> task<> {
    const auto leaf = [&]() -> task<> {
      co_await settle(2);
      ++leaves;
    };
    const auto branch = [&]() -> task<> {
      co_await with_nursery([&](nursery& tasks) -> task<> {
        for (int i = 0; i < 10; ++i) tasks.start(leaf);
        co_return;
      });
    };
    co_await with_nursery([&](nursery& tasks) -> task<> {
      for (int i = 0; i < 10; ++i) tasks.start(branch);
      co_return;
    });
  });
  EXPECT_EQ(leaves, 100);
}

TEST(nursery, cancels_a_thousand_children_at_once) {
  int gone = 0;
  run_loop([&]() -> task<> {
    struct counted {
      explicit counted(int& of) : count(of) {}
      ~counted() { ++count; }
      int& count;
    };
    const auto child = [](int& count) -> task<> {
      const counted at_end(count);
      co_await sleep_for(1h);
    };
    co_await with_nursery([&](nursery& tasks) -> task<> {
      for (int i = 0; i < 1000; ++i) tasks.start(child, std::ref(gone));
      co_await settle();
      tasks.cancel();
    });
  });
  EXPECT_EQ(gone, 1000);
}

}  // namespace
}  // namespace rill
