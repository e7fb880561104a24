// refused: takes a function that returns task<>, and its arguments
#include <rill/runtime/nursery.h>

#ifdef ALLOWED
rill::task<> child() { co_return; }
#else
rill::task<int> child() { co_return 1; }
#endif

rill::task<> body(rill::nursery& tasks) {
  tasks.start(child);
  co_return;
}
