// Bytes that any number of owners share and nobody changes: a message that goes to many
// connections, and what a send without a copy lends to the kernel until the peer has it.
// Not here: views of bytes that somebody else owns (buffer.h). Read next: shared_send.h.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

#include <rill/net/buffer.h>

namespace rill {

/// When stream_socket::write_all(shared_bytes) lends its bytes to the kernel and does not copy.
enum class zero_copy : std::uint8_t {
  never,
  /// From zero_copy_size_min on, until the kernel has said of a send of this stream that it copied
  /// all the same, as it does over loopback. The default.
  when_useful,
  /// Whatever the size, and whatever the kernel said; for tests and measurements.
  always,
};

/// Owns bytes together with its copies; the last one frees them. Empty when default-constructed.
///
/// Cost: one allocation, of the bytes and 16 more; a copy is one pointer and an atomic addition.
/// Lifetime: the bytes stay where they are and as they are as long as a copy lives.
/// Thread rule: copies may live in, and be destroyed by, any threads, as those of
///   std::shared_ptr<const T>; one object belongs to one thread at a time.
class shared_bytes {
 public:
  shared_bytes() noexcept {}
  /// A copy of `bytes`. Throws std::bad_alloc.
  explicit shared_bytes(const_buffer bytes);
  /// A copy of them, one after the other.
  static shared_bytes joined(std::span<const const_buffer> pieces);
  /// `size` bytes that `fill` writes where they will stay: it is called once, with a mutable_buffer
  /// of uninitialized memory, and may throw.
  template <class Fill>
  static shared_bytes filled(std::size_t size, Fill fill) {
    shared_bytes made(size);
    if (size != 0) fill(mutable_buffer(made.block_->bytes(), size));
    return made;
  }

  shared_bytes(const shared_bytes& other) noexcept : block_(other.block_) {
    if (block_ != nullptr) block_->owner_count.fetch_add(1, std::memory_order_relaxed);
  }
  shared_bytes(shared_bytes&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  shared_bytes& operator=(shared_bytes other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~shared_bytes() {
    if (block_ != nullptr && block_->owner_count.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      free();
    }
  }

  const std::byte* data() const noexcept { return block_ == nullptr ? nullptr : block_->bytes(); }
  std::size_t size() const noexcept { return block_ == nullptr ? 0 : block_->size; }
  bool empty() const noexcept { return size() == 0; }
  std::string_view text() const noexcept { return const_buffer(data(), size()).text(); }
  operator std::span<const std::byte>() const noexcept { return {data(), size()}; }
  /// Copies that share the bytes, this one and those of the kernel included; 0: empty. Out of date
  /// at once where other threads have some.
  std::size_t owner_count() const noexcept {
    return block_ == nullptr ? 0 : block_->owner_count.load(std::memory_order_relaxed);
  }

  /// Never frees the bytes: the kernel may read them for as long as the process lives.
  void keep_for_ever() && noexcept;

 private:
  /// What lies before the bytes.
  struct block {
    explicit block(std::size_t byte_count) noexcept : size(byte_count) {}
    std::byte* bytes() noexcept { return reinterpret_cast<std::byte*>(this + 1); }

    std::atomic<std::size_t> owner_count{1};
    const std::size_t size;
  };

  /// Of uninitialized memory; empty without any.
  explicit shared_bytes(std::size_t size);
  void free() noexcept;

  block* block_ = nullptr;
};

}  // namespace rill
