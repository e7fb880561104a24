// What waits to be sent to one member: shared bytes, counted, with a bound.
// A member that reads too slowly loses messages, and is told how many; it costs the others nothing.
// A value without a stream or a clock. Read next: member.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <rill/protocols/chat/event.h>

namespace rill::chat {

/// The policy: what does not fit is dropped and counted. From the first that was dropped on
/// everything is, until half of the queue has been sent; then one note stands where the gap is. A
/// member that takes nothing at all is disconnected by the time-out of its write.
class send_queue {
 public:
  /// What an entry costs beside its bytes: its place here, and its part of the shared block.
  static constexpr std::size_t entry_size = 64;

  /// False: it was dropped and counted. `size_max` is in bytes, of all entries with what they cost;
  /// an empty queue takes anything.
  bool push(shared_bytes bytes, std::size_t size_max) {
    if (missed_count_ != 0 || (size_ != 0 && size_ + cost(bytes) > size_max)) {
      ++missed_count_;
      return false;
    }
    add(std::move(bytes));
    return true;
  }
  /// Takes all that waits. It counts until it is done().
  std::vector<shared_bytes> take() noexcept { return std::exchange(waiting_, {}); }
  /// These bytes, which were taken, have been sent. True: there was a gap and there is room again;
  /// then call missed() and push a note.
  bool done(const std::vector<shared_bytes>& sent, std::size_t size_max) noexcept {
    for (const shared_bytes& each : sent) size_ -= static_cast<std::uint32_t>(cost(each));
    return missed_count_ != 0 && size_ <= size_max / 2;
  }
  /// How many were dropped since this was last asked; messages fit again from now on.
  std::uint32_t missed() noexcept { return std::exchange(missed_count_, 0); }

  bool empty() const noexcept { return waiting_.empty(); }
  /// Of what waits and what was taken, with what entries cost.
  std::size_t size() const noexcept { return size_; }
  std::uint32_t missed_count() const noexcept { return missed_count_; }

 private:
  static std::size_t cost(const shared_bytes& bytes) noexcept { return bytes->size() + entry_size; }
  void add(shared_bytes bytes) {
    const std::size_t added = cost(bytes);
    waiting_.push_back(std::move(bytes));
    size_ += static_cast<std::uint32_t>(added);
  }

  std::vector<shared_bytes> waiting_;
  std::uint32_t size_ = 0;
  std::uint32_t missed_count_ = 0;
};

}  // namespace rill::chat
