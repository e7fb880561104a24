// refused: deleted .*task
#include <chrono>
#include <utility>

#include <rill/runtime/timeout.h>

rill::task<> wait(rill::task<> inner) {
#ifdef ALLOWED
  co_await rill::with_timeout(std::chrono::seconds(1), std::move(inner));
#else
  co_await rill::with_timeout(std::chrono::seconds(1), inner);
#endif
}
