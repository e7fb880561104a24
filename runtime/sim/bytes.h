// A queue of bytes: what waits to be sent, or to be read. Contiguous, so that a segment is one
// copy.
#pragma once

#include <cstddef>
#include <cstring>
#include <vector>

namespace rill::sim::detail {

class byte_queue {
 public:
  std::size_t size() const noexcept { return bytes_.size() - begin_; }
  bool empty() const noexcept { return size() == 0; }
  const std::byte* data() const noexcept { return bytes_.data() + begin_; }

  void append(const std::byte* from, std::size_t size) {
    bytes_.insert(bytes_.end(), from, from + size);
  }
  void consume(std::size_t size) noexcept {
    begin_ += size;
    if (begin_ == bytes_.size()) {
      clear();
    } else if (begin_ > bytes_.size() / 2) {
      // At most as many bytes are moved as were consumed before: constant work a byte.
      std::memmove(bytes_.data(), data(), bytes_.size() - begin_);
      bytes_.resize(bytes_.size() - begin_);
      begin_ = 0;
    }
  }
  void clear() noexcept {
    bytes_.clear();
    begin_ = 0;
  }

 private:
  std::vector<std::byte> bytes_;
  std::size_t begin_ = 0;
};

}  // namespace rill::sim::detail
