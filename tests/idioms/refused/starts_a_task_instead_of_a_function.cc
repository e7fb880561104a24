// refused: takes a function that returns task<>, and its arguments
#include <rill/runtime/nursery.h>

rill::task<> child(int) { co_return; }

rill::task<> body(rill::nursery& tasks) {
#ifdef ALLOWED
  tasks.start(child, 1);
#else
  tasks.start(child(1));
#endif
  co_return;
}
