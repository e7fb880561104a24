// refused: only awaitables of rill can be awaited in a rill coroutine
#include <coroutine>

#include <rill/runtime/sleep.h>
#include <rill/runtime/task.h>

rill::task<> wait() {
#ifdef ALLOWED
  co_await rill::yield();
#else
  co_await std::suspend_always();
#endif
}
