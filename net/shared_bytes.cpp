// Making and freeing shared bytes. See shared_bytes.h.
#include <rill/net/shared_bytes.h>

#include <cstring>
#include <mutex>
#include <new>
#include <vector>

namespace rill {

shared_bytes::shared_bytes(std::size_t size) {
  if (size == 0) return;
  if (size > SIZE_MAX - sizeof(block)) throw std::bad_alloc();
  block_ = ::new (::operator new(sizeof(block) + size)) block(size);
}

shared_bytes::shared_bytes(const_buffer bytes) : shared_bytes(bytes.size()) {
  if (!bytes.empty()) std::memcpy(block_->bytes(), bytes.data(), bytes.size());
}

shared_bytes shared_bytes::joined(std::span<const const_buffer> pieces) {
  std::size_t size = 0;
  for (const const_buffer& each : pieces) size += each.size();
  shared_bytes made(size);
  std::size_t done = 0;
  for (const const_buffer& each : pieces) {
    if (each.empty()) continue;
    std::memcpy(made.block_->bytes() + done, each.data(), each.size());
    done += each.size();
  }
  return made;
}

void shared_bytes::free() noexcept {
  block_->~block();
  ::operator delete(block_);
}

void shared_bytes::keep_for_ever() && noexcept {
  // A list that nobody reads: what is still pointed to is no leak.
  static std::mutex mutex;
  static auto* const kept = new (std::nothrow) std::vector<block*>;
  block* const mine = std::exchange(block_, nullptr);
  if (mine == nullptr || kept == nullptr) return;
  const std::scoped_lock lock(mutex);
  try {
    kept->push_back(mine);
  } catch (const std::bad_alloc&) {  // kept all the same
  }
}

}  // namespace rill
