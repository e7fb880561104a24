// The per-thread frame cache. See frame_cache.h.
#include <rill/runtime/frame_cache.h>

#include <array>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#define RILL_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define RILL_ASAN 1
#endif
#endif
#ifdef RILL_ASAN
#include <sanitizer/asan_interface.h>
#else
// A cached block is still allocated memory to AddressSanitizer: only marking it makes a use of a
// frame after its end visible.
#define ASAN_POISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

namespace rill {
namespace {

constexpr std::size_t class_size = 16;  // what allocators round to: nothing is lost on top of it
constexpr std::size_t class_count = detail::frame_size_max / class_size;
// A burst of 10,000 connections that ends should not keep all its frames for ever: what lies in
// the cache is bounded by bytes, about 16 MiB a thread. None are kept where valgrind is to see each
// frame come and go (tests/valgrind).
#ifdef RILL_KEEP_NO_FRAMES
constexpr std::size_t cached_size_max = 0;
#else
constexpr std::size_t cached_size_max = 16 * 1024 * 1024;
#endif

struct free_block {
  free_block* next;
};

struct cache {
  std::array<free_block*, class_count> free{};
  frame_cache_statistics statistics{};
  ~cache();
};

// Trivially destructible, so it may still be read after the cache's own destructor has run: frames
// that other thread_local objects own are then freed directly.
thread_local bool cache_ended = false;
thread_local cache this_cache;

cache::~cache() {
  trim_frame_cache();
  cache_ended = true;
}

std::size_t class_of(std::size_t size) { return (size - 1) / class_size; }

}  // namespace

void* detail::allocate_frame(std::size_t size) {
  if (size > frame_size_max || cache_ended) [[unlikely]] {
    if (!cache_ended) {
      ++this_cache.statistics.oversize_count;
      ++this_cache.statistics.live_count;
    }
    return ::operator new(size);
  }
  cache& mine = this_cache;
  const std::size_t index = class_of(size);
  free_block* block = mine.free[index];
  if (block != nullptr) [[likely]] {
    ASAN_UNPOISON_MEMORY_REGION(block, (index + 1) * class_size);
    mine.free[index] = block->next;
    ++mine.statistics.hit_count;
    ++mine.statistics.live_count;
    mine.statistics.cached_size -= (index + 1) * class_size;
    return block;
  }
  void* memory = ::operator new((index + 1) * class_size);
  ++mine.statistics.miss_count;
  ++mine.statistics.live_count;
  return memory;
}

void detail::free_frame(void* memory, std::size_t size) noexcept {
  if (cache_ended) [[unlikely]] {
    ::operator delete(memory);
    return;
  }
  cache& mine = this_cache;
  --mine.statistics.live_count;
  const std::size_t index = class_of(size);
  const std::size_t block_size = (index + 1) * class_size;
  if (size > frame_size_max || mine.statistics.cached_size + block_size > cached_size_max)
      [[unlikely]] {
    ::operator delete(memory);
    return;
  }
  auto* block = static_cast<free_block*>(memory);
  block->next = mine.free[index];
  mine.free[index] = block;
  mine.statistics.cached_size += block_size;
  ASAN_POISON_MEMORY_REGION(block, block_size);
}

frame_cache_statistics frame_statistics() noexcept { return this_cache.statistics; }

void trim_frame_cache() noexcept {
  for (free_block*& head : this_cache.free) {
    while (head != nullptr) {
      ASAN_UNPOISON_MEMORY_REGION(
          head, (static_cast<std::size_t>(&head - &this_cache.free[0]) + 1) * class_size);
      free_block* next = head->next;
      ::operator delete(head);
      head = next;
    }
  }
  this_cache.statistics.cached_size = 0;
}

}  // namespace rill
