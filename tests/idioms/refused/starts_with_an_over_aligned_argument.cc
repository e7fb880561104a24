// refused: memory is aligned to 16 bytes
#include <memory>

#include <rill/runtime/nursery.h>

struct alignas(64) line {
  float numbers[16];
};

#ifdef ALLOWED
using argument = std::unique_ptr<line>;
#else
using argument = line;
#endif

rill::task<> child(argument) { co_return; }

rill::task<> body(rill::nursery& tasks) {
  tasks.start(child, argument());
  co_return;
}
