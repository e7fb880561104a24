// refused: deleted .*task
#include <utility>

#include <rill/runtime/task.h>

rill::task<int> given_on(rill::task<int> inner) {
#ifdef ALLOWED
  rill::task<int> other = std::move(inner);
#else
  rill::task<int> other = inner;
#endif
  co_return co_await std::move(other);
}
