// refused by clang: nodiscard
#include <rill/runtime/semaphore.h>
#include <rill/runtime/task.h>

rill::task<> enter(rill::mutex& one) {
#ifdef ALLOWED
  const auto guard = co_await one.lock();
#else
  co_await one.lock();
#endif
}
