// refused: capture by reference, or give the body a name
#include <string>
#include <utility>

#include <rill/runtime/nursery.h>

rill::task<> scope(std::string text) {
#ifdef ALLOWED
  auto body = [own = std::move(text)](rill::nursery&) -> rill::task<> { co_return; };
  co_await rill::with_nursery(body);
#else
  co_await rill::with_nursery(
      [own = std::move(text)](rill::nursery&) -> rill::task<> { co_return; });
#endif
}
