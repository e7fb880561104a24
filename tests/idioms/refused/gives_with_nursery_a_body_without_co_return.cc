// refused: a nursery's body takes a nursery& and returns task<>
#include <rill/runtime/nursery.h>

rill::task<> scope() {
#ifdef ALLOWED
  co_await rill::with_nursery([](rill::nursery&) -> rill::task<> { co_return; });
#else
  co_await rill::with_nursery([](rill::nursery&) {});
#endif
}
