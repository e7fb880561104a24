// Temporaries as arguments of awaited tasks: they must live until the end of the full expression
// and be destroyed once, whatever happens meanwhile.
#include <array>
#include <map>
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

TEST(arguments, a_temporary_passed_by_value_reaches_the_task) {
  survives([](gate& at) -> task<> {
    EXPECT_EQ((co_await give(at, counted("by value"))).text(), "by value");
    const counted kept = co_await give(at, counted(long_text()));
    EXPECT_EQ(kept, long_text());
  });
}

TEST(arguments, a_temporary_passed_by_reference_lives_until_the_task_has_ended) {
  survives([](gate& at) -> task<> {
    EXPECT_EQ(co_await size_of(at, counted("12345")), 5u);
    EXPECT_EQ(co_await size_of(at, std::string(64, 'x')), 64u);
  });
}

TEST(arguments, standard_values_may_be_temporaries) {
  survives([](gate& at) -> task<> {
    EXPECT_EQ(co_await give(at, long_text()), long_text());
    EXPECT_EQ(*co_await give(at, std::make_unique<counted>("owned")), "owned");
    EXPECT_EQ(*co_await give(at, std::make_shared<counted>("shared")), "shared");
    EXPECT_EQ((co_await give(at, std::optional(counted("optional")))).value(), "optional");
    EXPECT_EQ((co_await give(at, std::pair(counted("one"), counted("two")))).second, "two");
    EXPECT_EQ(std::get<1>(co_await give(at, std::tuple(1, counted("tuple"), long_text()))),
              "tuple");
    EXPECT_EQ((co_await give(at, std::vector<counted>(3))).size(), 3u);
    EXPECT_EQ((co_await give(at, std::map<int, counted>())).size(), 0u);
  });
}

TEST(arguments, standard_values_may_be_temporaries_by_reference) {
  survives([](gate& at) -> task<> {
    EXPECT_EQ(co_await size_of(at, std::vector<counted>(5)), 5u);
    EXPECT_EQ(co_await size_of(at, std::vector<std::string>(2, long_text())), 2u);
    EXPECT_EQ((co_await look(at, std::make_unique<counted>("ref")))->text(), "ref");
    EXPECT_EQ((co_await look(at, std::pair(counted("a"), counted("b")))).first, "a");
    EXPECT_EQ(std::string(co_await look(at, std::string(80, 'y'))), std::string(80, 'y'));
  });
}

TEST(arguments, several_temporaries_of_one_call_are_each_destroyed_once) {
  survives([](gate& at) -> task<> {
    const auto join = [](gate& on, counted first, const counted& second,
                         std::unique_ptr<counted> third) -> task<std::string> {
      co_await on.pass();
      co_return first.text() + second.text() + third->text();
    };
    EXPECT_EQ(co_await join(at, counted("a"), counted("b"), std::make_unique<counted>("c")), "abc");
  });
}

TEST(arguments, an_await_may_stand_in_an_argument) {
  survives([](gate& at) -> task<> {
    EXPECT_EQ(co_await give(at, co_await give(at, counted("inner"))), "inner");
    EXPECT_EQ(co_await size_of(at, co_await give(at, co_await give(at, counted("deeper")))), 6u);
    EXPECT_EQ(
        co_await size_of(at, std::string("prefix ") + (co_await give(at, counted("tail"))).text()),
        11u);
  });
}

TEST(arguments, two_awaits_may_stand_in_one_call) {
  survives([](gate& at) -> task<> {
    const auto both = [](gate& on, counted left, const counted& right) -> task<std::size_t> {
      co_await on.pass();
      co_return left.size() + right.size();
    };
    EXPECT_EQ(co_await both(at, co_await give(at, counted("123")), co_await give(at, counted("4"))),
              4u);
    const auto plain = [](const counted& left, const counted& right) {
      return left.size() + right.size();
    };
    EXPECT_EQ(plain(co_await give(at, counted("12")), co_await give(at, counted("345"))), 5u);
    EXPECT_EQ((co_await number(at, 1)) + (co_await number(at, 2)) * (co_await number(at, 3)), 7);
  });
}

TEST(arguments, a_temporary_beside_the_await_lives_across_it) {
  survives([](gate& at) -> task<> {
    const std::string joined = counted("before ").text() + co_await give(at, long_text("after"));
    EXPECT_EQ(joined, "before " + long_text("after"));
    std::vector<counted> all;
    all.push_back(co_await give(at, counted("pushed")));
    all.emplace_back(co_await give(at, long_text()));
    EXPECT_EQ(all[0], "pushed");
    EXPECT_EQ(all[1], long_text());
  });
}

task<counted> with_default(gate& at, counted value = counted("default"),
                           const std::string& more = std::string(64, 'd')) {
  co_await at.pass();
  co_return counted(value.text() + more);
}

TEST(arguments, default_arguments_live_as_long_as_others) {
  survives([](gate& at) -> task<> {
    EXPECT_EQ((co_await with_default(at)).text(), "default" + std::string(64, 'd'));
    EXPECT_EQ((co_await with_default(at, counted("given"))).size(), 69u);
  });
}

/// Options as rill has them: an aggregate of trivially destructible members.
struct options {
  int limit = 3;
  std::string_view name = "none";
};
static_assert(std::is_trivially_destructible_v<options>);

task<std::string> with_options(gate& at, options of, counted value) {
  co_await at.pass();
  co_return std::string(of.name) + std::to_string(of.limit) + value.text();
}
task<std::string> with_options_by_reference(gate& at, const options& of) {
  co_await at.pass();
  co_return std::string(of.name) + std::to_string(of.limit);
}

TEST(arguments, trivial_options_may_be_written_in_braces) {
  survives([](gate& at) -> task<> {
    EXPECT_EQ(co_await with_options(at, {.limit = 7, .name = "seven"}, counted("!")), "seven7!");
    EXPECT_EQ(co_await with_options(at, {}, counted("?")), "none3?");
    EXPECT_EQ(co_await with_options(at, options{.limit = 1}, counted("?")), "none1?");
    EXPECT_EQ(co_await with_options_by_reference(at, {.limit = 2}), "none2");
  });
}

/// Options that own something have a constructor.
class owning_options {
 public:
  explicit owning_options(std::string name) : name_(std::move(name)) {}
  owning_options& limit(int to) {
    limit_ = to;
    return *this;
  }
  std::size_t size() const { return name_.size() + static_cast<std::size_t>(limit_); }

 private:
  std::string name_;
  counted tracked_;
  int limit_ = 0;
};

TEST(arguments, owning_options_with_a_constructor_may_be_temporaries) {
  survives([](gate& at) -> task<> {
    EXPECT_EQ(co_await size_of(at, owning_options(std::string(40, 'n'))), 40u);
    EXPECT_EQ(co_await size_of(at, owning_options(std::string(40, 'n')).limit(2)), 42u);
    EXPECT_EQ((co_await give(at, owning_options(long_text()))).size(), long_text().size());
  });
}

TEST(arguments, an_argument_given_away_is_moved_once_and_kept_by_the_task) {
  survives([](gate& at) -> task<> {
    counted mine("mine");
    const counted back = co_await give(at, std::move(mine));
    EXPECT_EQ(back, "mine");
    auto owned = std::make_unique<counted>("owned");
    const counted* const address = owned.get();
    owned = co_await give(at, std::move(owned));
    EXPECT_EQ(owned.get(), address);
  });
}

TEST(arguments, an_argument_by_reference_may_be_changed_by_the_task) {
  survives([](gate& at) -> task<> {
    const auto fill = [](gate& on, counted& into) -> task<> {
      into = counted("half");
      co_await on.pass();
      into = counted("filled");
    };
    counted value;
    co_await fill(at, value);
    EXPECT_EQ(value, "filled");
  });
}

TEST(arguments, arguments_are_destroyed_in_the_reverse_order_of_their_making) {
  static std::string order;
  struct noisy {
    explicit noisy(char of) : name(of) {}
    noisy(const noisy&) = delete;
    noisy& operator=(const noisy&) = delete;
    ~noisy() { order += name; }
    char name;
  };
  order.clear();
  run([]() -> task<> {
    const auto pass = [](const noisy& first, const noisy& second) -> task<noisy*> {
      const noisy local('l');
      co_await rill::yield();
      order += second.name == 'b' && first.name == 'a' ? '!' : '?';
      co_return nullptr;
    };
    const noisy outer('o');
    static_cast<void>(co_await pass(noisy('a'), noisy('b')));
    order += ';';
  }());
  EXPECT_EQ(order.substr(0, 2), "!l");
  EXPECT_EQ(order.substr(4), ";o");
  EXPECT_NE(order.substr(2, 2).find('a'), std::string::npos);
  EXPECT_NE(order.substr(2, 2).find('b'), std::string::npos);
}

}  // namespace
}  // namespace idioms
