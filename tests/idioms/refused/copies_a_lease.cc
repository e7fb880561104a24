// refused: deleted .*lease
#include <utility>

#include <rill/runtime/buffer_pool.h>

rill::lease given_on(rill::lease& inner) {
#ifdef ALLOWED
  rill::lease other = std::move(inner);
#else
  rill::lease other = inner;
#endif
  return other;
}
