// refused: deleted .*permit
#include <utility>

#include <rill/runtime/semaphore.h>

rill::semaphore::permit given_on(rill::semaphore::permit& inner) {
#ifdef ALLOWED
  rill::semaphore::permit other = std::move(inner);
#else
  rill::semaphore::permit other = inner;
#endif
  return other;
}
