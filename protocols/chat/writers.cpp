// Tasks that write queues, some a turn; see writers.h.
#include <rill/protocols/chat/writers.h>

#include <cstddef>
#include <deque>
#include <utility>

#include <rill/runtime/event.h>
#include <rill/runtime/loop.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/timeout.h>

namespace rill::chat {

struct writers::state : std::enable_shared_from_this<writers::state> {
  /// Tasks that begin in one turn: enough to fill a submission queue, few enough to stay in the
  /// cache.
  static constexpr std::size_t turn_count_max = 256;

  void post() {
    if (tasks == nullptr || waiting.empty() || std::exchange(posted, true)) return;
    loop::current().post([self = shared_from_this()] {
      self->posted = false;
      self->begin_some();
    });
  }
  void begin_some() {
    for (std::size_t i = 0; i != turn_count_max && tasks != nullptr && !waiting.empty(); ++i) {
      std::shared_ptr<sender> next = std::move(waiting.front());
      waiting.pop_front();
      tasks->start(
          [](std::shared_ptr<sender> of) {
            sender& to = *of;
            return to.write_queue(std::move(of));
          },
          std::move(next));
    }
    post();
  }

  std::deque<std::shared_ptr<sender>> waiting;
  nursery* tasks = nullptr;
  event ended;
  bool posted = false;
};

writers::writers() : state_(std::make_shared<state>()) {}

writers::~writers() {
  RILL_ASSERT(state_->tasks == nullptr, "writers were destroyed while they run");
  state_->waiting.clear();
}

task<> writers::run_tasks() {
  co_await with_nursery([this](nursery& tasks) -> task<> {
    state_->tasks = &tasks;
    state_->post();
    co_await state_->ended.wait();
    state_->tasks = nullptr;
    state_->waiting.clear();
    tasks.cancel();
  });
}

task<> writers::run() { co_await shielded(run_tasks()); }

void writers::end() noexcept { state_->ended.set(); }

void writers::add(std::shared_ptr<sender> added) {
  state_->waiting.push_back(std::move(added));
  state_->post();
}

}  // namespace rill::chat
