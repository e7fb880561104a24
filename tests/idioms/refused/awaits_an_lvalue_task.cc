// refused: a task has one owner and is given away: co_await std::move
#include <utility>

#include <rill/runtime/task.h>

rill::task<int> child() { co_return 1; }

rill::task<int> parent() {
  auto later = child();
#ifdef ALLOWED
  co_return co_await std::move(later);
#else
  co_return co_await later;
#endif
}
