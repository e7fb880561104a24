// refused: a task does nothing until it is awaited
#include <rill/runtime/task.h>

rill::task<> child() { co_return; }

rill::task<> parent() {
#ifdef ALLOWED
  co_await child();
#else
  child();
  co_return;
#endif
}
