// refused: nodiscard
#include <chrono>

#include <rill/runtime/sleep.h>
#include <rill/runtime/task.h>

rill::task<> nap() {
#ifdef ALLOWED
  co_await rill::sleep_for(std::chrono::seconds(1));
#else
  rill::sleep_for(std::chrono::seconds(1));
  co_return;
#endif
}
