// Reading into the caller's own memory: what has arrived is copied, and otherwise received in
// place. Lending buffers, which a server's hot loop does, is in socket.cpp. See socket.h.
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include <rill/net/message_storage.h>
#include <rill/net/socket.h>

namespace rill::detail {

rill::result<std::size_t> socket_state::take_bytes(std::span<std::byte> into) {
  buffer_pool& pool = owner_loop().buffers();
  std::size_t taken = 0;
  if (unread != nullptr) {
    taken = std::min(into.size(), unread->size());
    std::memcpy(into.data(), unread->data(), taken);
    unread->begin += taken;
    if (unread->size() == 0) unread.reset();
  }
  while (taken < into.size() && arrived_first != none) {
    const auto [group, id] = untag(arrived_first);
    const std::size_t left = pool.waiting(group, id).size - arrived_offset;
    const std::size_t part = std::min(left, into.size() - taken);
    std::memcpy(into.data() + taken, pool.address(group, id) + arrived_offset, part);
    taken += part;
    arrived_offset += static_cast<std::uint32_t>(part);
    if (part == left) {
      pop_arrived();
      pool.give_back(group, id);
    }
  }
  if (taken != 0 || into.empty()) return taken;
  if (failure != 0) return tl::unexpected(error::from_errno(failure, "read"));
  if (ended) return 0;
  return read.take_result();
}

std::size_t socket_state::unread_size() const noexcept {
  return unread == nullptr ? 0 : unread->size();
}

void socket_state::keep_unread(std::span<const std::byte> bytes) {
  if (unread == nullptr) {  // with its bytes or not at all: an empty one reads as the stream's end
    unread = std::make_unique<unread_bytes>(std::vector(bytes.begin(), bytes.end()));
    return;
  }
  std::vector<std::byte>& all = unread->all;
  // What was read is dropped when it is the larger part, so that each byte is moved once or twice.
  if (unread->begin > unread->size()) {
    all.erase(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(unread->begin));
    unread->begin = 0;
  }
  all.insert(all.end(), bytes.begin(), bytes.end());
}

bool socket_state::gather(std::size_t size) {
  buffer_pool& pool = owner_loop().buffers();
  while (arrived_first != none && unread_size() < size) {
    const auto [group, id] = untag(arrived_first);
    const std::byte* const bytes = pool.address(group, id);
    keep_unread({bytes + arrived_offset, pool.waiting(group, id).size - arrived_offset});
    pop_arrived();
    pool.give_back(group, id);
  }
  return unread_size() >= size;
}

void gather_awaiter::suspend(promise_base& frame) noexcept {
  if (socket_->arrived_first != socket_state::none || socket_->ended || socket_->failure != 0) {
    frame.owner_chain->yield(frame);
    return;
  }
  socket_->wait_for_stream(frame);
}

void read_awaiter::suspend(promise_base& frame) noexcept {
  operation& slot = socket_->read;
  if (socket_->has_arrived() || into_.empty()) {
    slot.set_deadline(timer_node::never);
    frame.owner_chain->yield(frame);
  } else if (slot.in_flight() || socket_->lined_up) {  // a stream: copy from what it brings
    slot.wait(frame, *slot.type());
  } else {
    slot.buffer = into_.data();
    slot.size = into_.size();
    slot.start(frame, socket_state::receive_type);
  }
}

rill::result<std::size_t> read_awaiter::take_result() {
  if (into_.empty()) return 0;
  if (socket_->has_arrived()) return socket_->take_bytes(into_);
  return socket_->read.take_result();
}

bool read_vector_awaiter::has_room() const noexcept {
  return std::any_of(into_.begin(), into_.end(),
                     [](const mutable_buffer& piece) { return !piece.empty(); });
}

void read_vector_awaiter::suspend(promise_base& frame) {
  operation& slot = socket_->read;
  if (socket_->has_arrived() || !has_room()) {
    slot.set_deadline(timer_node::never);
    frame.owner_chain->yield(frame);
  } else if (slot.in_flight() || socket_->lined_up) {
    slot.wait(frame, *slot.type());
  } else {
    if (socket_->vectors == nullptr) socket_->vectors = std::make_unique<vector_storage>();
    vector_storage::side& side = socket_->vectors->read;
    side.pieces.clear();
    for (const mutable_buffer& piece :
         into_.first(std::min(into_.size(), socket_state::piece_max))) {
      side.pieces.push_back({piece.data(), piece.size()});
    }
    side.header = {};
    side.header.msg_iov = side.pieces.data();
    side.header.msg_iovlen = side.pieces.size();
    slot.start(frame, socket_state::receive_vector_type);
  }
}

rill::result<std::size_t> read_vector_awaiter::take_result() {
  if (!has_room()) return 0;
  if (!socket_->has_arrived()) return socket_->read.take_result();
  std::size_t taken = 0;
  for (const mutable_buffer& piece : into_) {
    if (piece.empty()) continue;
    if (taken != 0 && socket_->arrived_first == socket_state::none && !socket_->unread) break;
    const rill::result<std::size_t> part = socket_->take_bytes(piece);
    if (!part) return part;
    taken += *part;
    if (*part < piece.size()) break;
  }
  return taken;
}

}  // namespace rill::detail
