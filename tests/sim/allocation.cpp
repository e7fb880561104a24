// The allocation functions of this program: every allocation of a simulated program may be made to
// fail (rill/runtime/sim/exhaustive.h).
#include <cstdlib>
#include <new>

#include <rill/runtime/sim/exhaustive.h>

void* operator new(std::size_t size) {
  if (rill::sim::allocation_fails()) throw std::bad_alloc();
  if (void* const memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
