// refused: memory is aligned to 16 bytes
#include <memory>
#include <utility>
#include <vector>

#include <rill/runtime/combine.h>

struct alignas(64) line {
  float numbers[16];
};

#ifdef ALLOWED
using result = std::unique_ptr<line>;
#else
using result = line;
#endif

rill::task<> body(std::vector<rill::task<result>> tasks) {
  auto all = co_await rill::all_of(std::move(tasks));
}
