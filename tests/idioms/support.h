// What the idiom tests share: `counted`, which notices a double destruction and a leak without a
// sanitizer, and `survives`, which takes one form of co_await through everything that can befall
// it: complete at once, suspend, throw, be cancelled, be cancelled before it begins, time out.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <rill/runtime/event.h>
#include <rill/runtime/loop.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/task.h>
#include <rill/runtime/timeout.h>

namespace idioms {

/// A value that knows where it stands. Every construction and destruction is entered in a list, so
/// that an object that was copied bit by bit, or destroyed twice, counts as a fault instead of
/// ending the program; and it holds a string on the heap, as everyday values do.
class counted {
 public:
  counted() : counted("a value too long for the small string") {}
  explicit counted(std::string text) : text_(std::move(text)) { enter(); }
  counted(const counted& other) : text_(other.text()) { enter(); }
  counted(counted&& other) noexcept : text_(std::move(other.checked().text_)) { enter(); }
  counted& operator=(const counted& other) {
    checked().text_ = other.text();
    return *this;
  }
  counted& operator=(counted&& other) noexcept {
    checked().text_ = std::move(other.checked().text_);
    return *this;
  }
  ~counted() {
    if (alive_.erase(this) == 0 || self_ != this) {
      ++fault_count_;  // and the string stays as it is: it belongs to another
    } else {
      text_.~basic_string();
    }
  }

  const std::string& text() const {
    if (!alive_.contains(this) || self_ != this) {
      ++fault_count_;
      return nothing_;
    }
    return text_;
  }
  std::size_t size() const { return text().size(); }
  friend bool operator==(const counted& left, std::string_view right) {
    return left.text() == right;
  }

  static std::size_t alive_count() { return alive_.size(); }
  static std::size_t fault_count() { return fault_count_; }
  static void forget() {
    alive_.clear();
    fault_count_ = 0;
  }

 private:
  counted& checked() {
    static_cast<void>(text());
    return *this;
  }
  void enter() {
    if (!alive_.insert(this).second) ++fault_count_;  // the last one here was never destroyed
  }

  static inline std::unordered_set<const counted*> alive_;
  static inline std::size_t fault_count_ = 0;
  static inline const std::string nothing_ = "not an object";

  counted* self_ = this;
  union {
    std::string text_;
  };
};

/// A text that does not fit into a small string.
inline std::string long_text(std::string_view start = "x") {
  return std::string(start) + std::string(64, '.');
}

/// What a gate throws.
struct refused_at_gate : std::runtime_error {
  refused_at_gate() : std::runtime_error("refused at the gate") {}
};

enum class fate { completes, suspends, throws, cancelled, cancelled_before, times_out };

/// Where forms suspend. All calls complete, or suspend and complete, but for the one whose turn it
/// is to meet the fate.
class gate {
 public:
  gate(fate what, std::size_t turn) noexcept : fate_(what), turn_(turn) {}

  rill::task<> pass() {
    const bool mine = ++passed_count_ == turn_;
    if (mine && fate_ == fate::cancelled_before) {
      met_ = true;
      children_->cancel();  // this call returns a task that will be destroyed unstarted
    }
    return enter(mine);
  }

  std::size_t passed_count() const noexcept { return passed_count_; }
  bool met() const noexcept { return met_; }

 private:
  template <class Form>
  friend rill::task<> meet(Form& form, gate& at, bool& ended);

  rill::task<> enter(bool mine) {
    if (fate_ == fate::completes) co_return;
    if (fate_ == fate::suspends) {
      co_await rill::yield();
      co_await rill::sleep_for(std::chrono::nanoseconds(1));
      co_return;
    }
    if (!mine) co_return;
    met_ = true;
    if (fate_ == fate::throws) {
      co_await rill::yield();
      throw refused_at_gate();
    }
    arrived_.set();
    co_await never_.wait();
  }

  fate fate_;
  std::size_t turn_;
  std::size_t passed_count_ = 0;
  bool met_ = false;
  rill::event arrived_;
  rill::event never_;
  rill::nursery* children_ = nullptr;
};

/// Runs a task on a loop of its own and returns its result.
template <class T>
T run(rill::task<T> main) {
  rill::loop on(rill::make_kernel("auto"));
  return on.run(std::move(main));
}

template <class Form>
rill::task<> follow(Form& form, gate& at, bool& ended) {
  co_await form(at);
  ended = true;
}

template <class Form>
rill::task<> meet(Form& form, gate& at, bool& ended) {
  const bool times_out = at.fate_ == fate::times_out;
  auto body = [&](rill::nursery& tasks) -> rill::task<> {
    at.children_ = &tasks;
    tasks.start(follow<Form>, std::ref(form), std::ref(at), std::ref(ended));
    if (at.fate_ == fate::cancelled) {
      co_await at.arrived_.wait();
      tasks.cancel();
    }
  };
  try {
    if (times_out) {
      // The limit passes while the form waits at the gate, for it never opens.
      co_await rill::with_timeout(std::chrono::microseconds(1), follow<Form>(form, at, ended));
    } else {
      co_await rill::with_nursery(body);
    }
  } catch (const refused_at_gate&) {
    EXPECT_TRUE(at.fate_ == fate::throws);
  } catch (const rill::timeout_error&) {
    EXPECT_TRUE(times_out);
  }
}

inline void expect_nothing_left(std::string_view where, std::size_t turn) {
  EXPECT_EQ(counted::fault_count(), 0u) << where << " at gate " << turn;
  EXPECT_EQ(counted::alive_count(), 0u) << where << " at gate " << turn;
  counted::forget();
}

/// Runs `form(gate&)`, which returns task<>, once to its end without suspending and once with;
/// then for each of its gates to every other fate there. Afterwards nothing may be left, nothing
/// may have been destroyed twice, and what was cancelled must not have gone on.
template <class Form>
void survives(Form form) {
  const auto once = [&](fate what, std::string_view name, std::size_t turn) {
    bool ended = false;
    gate at(what, turn);
    run(meet(form, at, ended));
    const bool may_end = what == fate::completes || what == fate::suspends || what == fate::throws;
    EXPECT_TRUE(at.met() || turn == 0) << name << " at gate " << turn;
    EXPECT_TRUE(!ended || may_end) << name << " at gate " << turn << " went on";
    EXPECT_TRUE(ended || turn != 0) << name;
    expect_nothing_left(name, turn);
    return at.passed_count();
  };
  const std::size_t gate_count = once(fate::completes, "completes", 0);
  EXPECT_NE(gate_count, 0u) << "a form must pass a gate";
  EXPECT_EQ(once(fate::suspends, "suspends", 0), gate_count);
  for (std::size_t turn = 1; turn <= gate_count; ++turn) {
    once(fate::throws, "throws", turn);
    once(fate::cancelled, "is cancelled", turn);
    once(fate::cancelled_before, "is cancelled before it begins", turn);
    once(fate::times_out, "times out", turn);
  }
}

/// Takes its argument by value, passes the gate and gives it back.
template <class T>
rill::task<T> give(gate& at, T value) {
  co_await at.pass();
  co_return std::move(value);
}

/// Takes its argument by reference, passes the gate and reads it then.
template <class T>
rill::task<std::size_t> size_of(gate& at, const T& value) {
  co_await at.pass();
  co_return value.size();
}

/// Gives back the reference that it was given.
template <class T>
rill::task<const T&> look(gate& at, const T& value) {
  co_await at.pass();
  co_return value;
}

inline rill::task<bool> is_true(gate& at, bool value) {
  co_await at.pass();
  co_return value;
}

inline rill::task<int> number(gate& at, int value) {
  co_await at.pass();
  co_return value;
}

}  // namespace idioms
