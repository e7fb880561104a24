// refused: takes a function that returns task<>, and its arguments
#include <rill/runtime/nursery.h>

#ifdef ALLOWED
rill::task<> child(int) { co_return; }
#else
void child(int) {}
#endif

rill::task<> body(rill::nursery& tasks) {
  tasks.start(child, 1);
  co_return;
}
