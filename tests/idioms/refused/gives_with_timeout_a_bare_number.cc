// refused: no matching
#include <chrono>

#include <rill/runtime/sleep.h>
#include <rill/runtime/timeout.h>

rill::task<> wait() {
#ifdef ALLOWED
  co_await rill::with_timeout(std::chrono::seconds(1), rill::yield());
#else
  co_await rill::with_timeout(1, rill::yield());
#endif
}
