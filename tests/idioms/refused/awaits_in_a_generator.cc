// refused: deleted .*await_transform
#include <rill/runtime/generator.h>
#include <rill/runtime/sleep.h>

rill::generator<int> numbers() {
#ifdef ALLOWED
  co_yield 1;
#else
  co_await rill::yield();
  co_yield 1;
#endif
}
