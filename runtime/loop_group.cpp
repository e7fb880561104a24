// The threads of a group: how they begin, tell of their end, and are let go. See loop_group.h.
#include <rill/runtime/loop_group.h>

#include <pthread.h>
#include <sched.h>

#include <mutex>
#include <thread>

namespace rill {
namespace {

/// The cores of the process as they were before the first thread was pinned.
struct core_set {
  std::mutex mutex;
  bool known = false;
  cpu_set_t cores;
};

core_set& original_cores() {
  static auto* const all = new core_set;  // never destroyed: threads may outlive main()
  return *all;
}

/// The cores that loops may be pinned to; empty: as many are not there, or it is not wanted.
std::vector<int> cores_for(unsigned count, bool wanted) {
  std::vector<int> cores;
  cpu_set_t allowed;
  if (!wanted || count < 2 || ::sched_getaffinity(0, sizeof(allowed), &allowed) != 0) return cores;
  core_set& original = original_cores();
  {
    const std::scoped_lock lock(original.mutex);
    if (!original.known) original.cores = allowed;
    original.known = true;
  }
  for (int core = 0; core < CPU_SETSIZE && cores.size() < count; ++core) {
    if (CPU_ISSET(core, &allowed)) cores.push_back(core);
  }
  if (cores.size() < count) cores.clear();
  return cores;
}

void pin_to(int core) noexcept {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(core, &one);
  ::sched_setaffinity(0, sizeof(one), &one);
}

task<void> tell_completion(task<void> main, bool& completed) {
  co_await std::move(main);
  completed = true;
}

}  // namespace

void detail::leave_core() noexcept {
  core_set& original = original_cores();
  const std::scoped_lock lock(original.mutex);
  if (original.known) ::sched_setaffinity(0, sizeof(original.cores), &original.cores);
}

loop_group::loop_group(unsigned loop_count, const loop_group_options& options)
    : home_(&loop::current()), options_(options) {
  RILL_ASSERT(loop_count != 0, "a group needs a loop");
  for (unsigned index = 1; index < loop_count; ++index) {
    loops_.push_back(std::make_unique<loop>(home_->kernel().make_sibling(), home_->options()));
  }
}

loop_group::~loop_group() {
  RILL_ASSERT(running_ == nullptr, "a group of loops was destroyed while it runs");
}

void loop_group::stop() {
  home_->post([this] {
    if (running_ != nullptr) running_->stop_all();
  });
}

void loop_group::stop_now() {
  home_->post([this] {
    if (running_ == nullptr) return;
    running_->stop_all();
    home_->hurry().set();
  });
}

/// A thread and its loop. As a message, sent to loop 0, it says that its task has ended.
struct detail::group_scope::member final : message, loop_thread {
  member(group_scope& in, unsigned number, int on_core) noexcept
      : scope(&in), home(in.group_->home_), index(number), core(on_core), farewell(in) {}

  void deliver() noexcept override { scope->member_ended(*this); }
  void run() noexcept override;
  bool turn() noexcept override;
  loop& owner_loop() noexcept override { return *owned(); }

  task<void> main() { return tell_completion(scope->begin(index), completed); }
  void tell_end() noexcept;
  void leave() noexcept;
  std::unique_ptr<loop>& owned() noexcept { return scope->group_->loops_[index - 1]; }

  struct release_message final : message {
    void deliver() noexcept override { delivered = true; }
    bool delivered = false;
  };
  /// Ends the member's task. Not by loop::stop(), which takes memory and is for a run that has
  /// begun: this one may be about to.
  struct order_message final : message {
    order_message(member& to, void (loop::*what)()) noexcept : of(&to), order(what) {}
    void deliver() noexcept override { (of->owner_loop().*order)(); }
    member* of;
    void (loop::*order)();
    bool given = false;
  };
  void give(order_message& order) noexcept {
    if (!std::exchange(order.given, true)) owner_loop().send(order);
  }
  /// The last that loop 0 hears of the thread: to wait for its end no longer takes time.
  struct farewell_message final : message {
    explicit farewell_message(group_scope& in) noexcept : scope(&in) {}
    void deliver() noexcept override { scope->member_gone(); }
    group_scope* scope;
  };

  group_scope* scope;
  loop* home;
  unsigned index;
  int core;
  std::thread thread;
  // Written by the thread before it sends itself, read by loop 0 after that.
  std::exception_ptr error;
  bool completed = false;
  bool takes_turns = false;
  bool has_begun = false;  // turn() was called
  order_message stop{*this, &loop::stop};
  order_message hurry{*this, &loop::stop_now};
  release_message release;
  farewell_message farewell;
};

void detail::group_scope::member::run() noexcept {
  if (core >= 0) pin_to(core);
  const std::string name = "rill " + std::to_string(index);
  ::pthread_setname_np(::pthread_self(), name.c_str());
  loop& mine = owner_loop();
  try {
    mine.run(main());
  } catch (...) {
    error = std::current_exception();
  }
  tell_end();
  if (!takes_turns) return;
  while (!release.delivered) mine.turn();
  leave();
}

bool detail::group_scope::member::turn() noexcept {
  loop& mine = owner_loop();
  try {
    if (!std::exchange(has_begun, true)) {
      mine.start(main());
      return true;
    }
    if (mine.turn() || takes_turns) {
      if (!release.delivered) return true;
      leave();
      return false;
    }
    mine.finish();
  } catch (...) {
    error = std::current_exception();
  }
  tell_end();
  return takes_turns;
}

void detail::group_scope::member::tell_end() noexcept {
  loop& mine = owner_loop();
  // A loop whose kernel did not start, or whose task was never made, cannot take a turn.
  const bool has_run = mine.statistics().turn_count != 0;
  takes_turns = has_run;
  // The other loops may still have messages for this one. It counts as busy meanwhile: a loop that
  // has nothing left to wait for does not sleep.
  if (has_run) mine.object_opened();
  home->send(*this);
}

void detail::group_scope::member::leave() noexcept {
  owner_loop().object_closed();
  // Here, and not by loop 0: a ring's registrations belong to the thread that entered it.
  loop::destroy_or_keep(std::move(owned()));
  home->send(farewell);
}

detail::group_scope::group_scope(loop_group& group) noexcept : group_(&group) {}

detail::group_scope::~group_scope() {
  RILL_ASSERT(members_.empty(), "a group of loops was left while it runs");
}

task<void> detail::group_scope::relay_hurry(group_scope& scope) {
  co_await scope.group_->home_->hurry().wait();
  scope.hurry_all();
}

void detail::group_scope::suspend(promise_base& awaiting) {
  // Its other loops are gone after that.
  RILL_ASSERT(!group_->has_run_ && &awaiting.owner_chain->owner_loop() == group_->home_,
              "a group of loops runs once, on the loop on which it was made");
  // What may throw comes first.
  task<void> main = begin(0);
  task<void> relay = relay_hurry(*this);
  if (!awaiting.owner_chain->suspend(awaiting, *this)) return;
  owner_ = awaiting.owner_chain;
  group_->has_run_ = true;
  group_->running_ = this;
  running_count_ = 1;
  local_.emplace(*this, *group_->home_);
  local_->start(main.release());
  if (group_->size() == 1) return;
  relay_.emplace(*this, *group_->home_);
  relay_->start(relay.release());
  start_threads();
}

void detail::group_scope::start_threads() {
  int home_core = -1;
  kernel& below = group_->home_->kernel();
  try {
    const std::vector<int> cores =
        cores_for(group_->size(), group_->options_.pin && below.has_threads());
    if (!cores.empty()) home_core = cores[0];
    members_.reserve(group_->size() - 1);
    for (unsigned index = 1; index < group_->size(); ++index) {
      members_.push_back(std::make_unique<member>(*this, index, cores.empty() ? -1 : cores[index]));
      member& made = *members_.back();
      try {
        made.thread = below.start_thread(made);
      } catch (...) {
        members_.pop_back();
        throw;
      }
      ++running_count_;
    }
  } catch (...) {
    fail(std::current_exception());
  }
  // Without another loop beside it this one may use all cores, and nobody would let it go again.
  if (home_core >= 0 && !members_.empty()) pin_to(home_core);
}

void detail::group_scope::fail(std::exception_ptr error) noexcept {
  if (!error_) error_ = std::move(error);
  stop_all();
}

void detail::group_scope::stop_all() noexcept {
  if (local_) local_->cancel();
  if (running_count_ == 0) return;  // the other loops may be gone
  for (const auto& each : members_) each->give(each->stop);
}

void detail::group_scope::hurry_all() noexcept {
  if (running_count_ == 0) return;
  for (const auto& each : members_) each->give(each->hurry);
}

void detail::group_scope::child_done(chain& child, bool completed) noexcept {
  if (relay_ && &child == &*relay_) {
    relay_.reset();
    if (running_count_ == 0) finish();
    return;
  }
  if (!completed) any_destroyed_ = true;
  std::exception_ptr error;
  if (completed) {
    const auto* const outcome = static_cast<task_promise<void>*>(child.root());
    if (outcome->has_exception()) error = outcome->exception();
  }
  local_.reset();
  if (error) fail(std::move(error));
  one_ended();
}

void detail::group_scope::member_ended(member& ended) noexcept {
  if (ended.error) {
    fail(std::exchange(ended.error, nullptr));
  } else if (!ended.completed) {
    any_destroyed_ = true;
  }
  one_ended();
}

void detail::group_scope::one_ended() noexcept {
  if (--running_count_ != 0) return;
  if (relay_) {
    relay_->cancel();  // child_done goes on
  } else {
    finish();
  }
}

void detail::group_scope::finish() noexcept {
  // Not joined here: they still take messages and destroy their loops, and others of this loop's
  // tasks have better to do than to wait for that.
  for (const auto& each : members_) {
    if (each->takes_turns) {
      each->owner_loop().send(each->release);
    } else {
      ++gone_count_;  // its thread has done all that it had to do
    }
  }
  if (gone_count_ == members_.size()) all_gone();
}

void detail::group_scope::member_gone() noexcept {
  if (++gone_count_ == members_.size()) all_gone();
}

void detail::group_scope::all_gone() noexcept {
  bool any_pinned = false;
  for (const auto& each : members_) {
    if (each->thread.joinable()) each->thread.join();
    any_pinned = any_pinned || each->core >= 0;
    // One that never took a turn. It may hold messages that are part of the member.
    each->owned().reset();
  }
  members_.clear();
  if (any_pinned) leave_core();
  settle();
}

void detail::group_scope::settle() noexcept {
  group_->running_ = nullptr;
  if (owner_->cancel_requested() && any_destroyed_ && !error_) {
    owner_->destroy_later();
  } else {
    owner_->make_ready();
  }
}

void detail::group_scope::describe(std::string& text) const {
  text += "group of " + std::to_string(group_->size()) + " loops, " +
          std::to_string(running_count_) + " running";
}

}  // namespace rill
