// Memory for coroutine frames, and for what lives as long as one: slots, records of children and
// connections, states of sockets and files. A per-thread cache of freed blocks by size class, with
// counters: what was freed on this thread is handed out again without a call to the allocator, so a
// warm server allocates nothing per request. Not a general allocator, and not for users.
// Read next: task.h, whose promise calls it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace rill {

/// What the calling thread's cache has done since the thread began.
struct frame_cache_statistics {
  std::uint64_t hit_count;       ///< requests served from the cache
  std::uint64_t miss_count;      ///< requests that went to operator new
  std::uint64_t live_count;      ///< frames handed out and not yet returned on this thread
  std::uint64_t cached_size;     ///< bytes lying in the cache
  std::uint64_t oversize_count;  ///< requests above frame_size_max, never cached
};

namespace detail {

/// Frames above this many bytes go straight to operator new: they are rare, and keeping them would
/// pin memory. An echo session needs about 300.
inline constexpr std::size_t frame_size_max = 4096;

/// What allocate_frame, like operator new, aligns to.
inline constexpr std::size_t frame_alignment = 16;

/// Returns memory aligned to 16 bytes. Throws std::bad_alloc.
void* allocate_frame(std::size_t size);
/// Takes back memory of allocate_frame; `size` is the size that was asked for.
void free_frame(void* memory, std::size_t size) noexcept;

}  // namespace detail

frame_cache_statistics frame_statistics() noexcept;

/// Gives all cached blocks of the calling thread back to the allocator.
void trim_frame_cache() noexcept;

}  // namespace rill
