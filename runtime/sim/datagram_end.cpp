// Receiving datagrams. What is answered was compared with Linux 6.18. See datagram_end.h.
#include <rill/runtime/sim/datagram_end.h>

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>

#include <rill/runtime/sim/kernel.h>
#include <rill/runtime/uring_abi.h>

namespace rill::sim::detail {
namespace {

constexpr unsigned receive_flags = MSG_PEEK | MSG_WAITALL | MSG_DONTWAIT | MSG_NOSIGNAL | MSG_TRUNC;

void receive_one(datagram_end& from, request& tried) {
  const std::vector<std::byte>& bytes = *from.first();
  const std::size_t copied = std::min(total_size(tried.pieces), bytes.size());
  scatter(tried.pieces, 0, bytes.data(), copied);
  if (msghdr* const header = tried.header; header != nullptr) {
    if (header->msg_name != nullptr) {
      header->msg_namelen = from.write_name(header->msg_name, tried.name_size);
    }
    int flags = copied < bytes.size() ? MSG_TRUNC : 0;
    header->msg_controllen = from.write_control(header->msg_control, tried.control_size, flags);
    header->msg_flags = flags;
  }
  const bool whole = (tried.flags & MSG_TRUNC) != 0;
  const int result = static_cast<int>(whole ? bytes.size() : copied);
  const bool peek = (tried.flags & MSG_PEEK) != 0;
  tried.owner->finish(tried, result);
  if (!peek) from.drop_first();
}

/// The layout of io_recvmsg_multishot(): header, room for the name, room for control, payload.
int fill_message(const datagram_end& from, const request& tried, std::byte* into,
                 std::size_t room) {
  const std::vector<std::byte>& bytes = *from.first();
  io_uring_recvmsg_out head{};
  const std::size_t before = sizeof(head) + tried.name_size + tried.control_size;
  if (room < before) return -EFAULT;
  if (tried.name_size != 0) head.namelen = from.write_name(into + sizeof(head), tried.name_size);
  const std::size_t copied = std::min(room - before, bytes.size());
  const bool whole = (tried.flags & MSG_TRUNC) != 0;
  head.payloadlen = static_cast<__u32>(whole ? bytes.size() : copied);
  int flags = copied < bytes.size() ? MSG_TRUNC : 0;
  head.controllen =
      from.write_control(into + sizeof(head) + tried.name_size, tried.control_size, flags);
  head.flags = static_cast<__u32>(flags);
  std::memcpy(into, &head, sizeof(head));
  if (copied != 0) std::memcpy(into + before, bytes.data(), copied);
  return static_cast<int>(before + copied);
}

progress receive_into_buffers(datagram_end& from, request& tried) {
  const bool multishot = (tried.modifiers & IORING_RECV_MULTISHOT) != 0;
  const bool with_header = tried.opcode == IORING_OP_RECVMSG;
  if (!with_header && !from.knows_plain_buffers()) {
    tried.owner->finish(tried, refuse("receiving Unix datagrams without their header"));
    return progress::finished;
  }
  for (;;) {
    selected_buffer chosen;
    if (!tried.owner->select_buffer(tried, chosen)) {
      tried.owner->finish(tried, -ENOBUFS);
      return progress::finished;
    }
    const std::vector<std::byte>* const bytes = from.first();
    if (bytes == nullptr) {
      if (!from.is_read_stopped()) return progress::would_block;
      tried.owner->finish(tried, 0);
      return progress::finished;
    }
    const bool is_empty = bytes->empty();
    int result = 0;
    if (with_header) {
      result = fill_message(from, tried, chosen.memory, chosen.size);
    } else {
      const std::size_t copied = std::min(chosen.size, bytes->size());
      if (copied != 0) std::memcpy(chosen.memory, bytes->data(), copied);
      result = static_cast<int>(copied);
    }
    if (result < 0) {
      tried.owner->finish(tried, result);
      return progress::finished;
    }
    // Without a header nothing was written, so the buffer stays in the ring. An empty datagram
    // looks like the end of a stream to Linux and ends a multishot.
    const bool keeps_buffer = !with_header && is_empty;
    if (!keeps_buffer) tried.owner->take_buffer(tried);
    const unsigned flags = keeps_buffer ? 0U : chosen.flags;
    const bool goes_on = multishot && !is_empty && tried.owner->post_more(tried, result, flags);
    if (!goes_on) tried.owner->finish(tried, result, flags);
    from.drop_first();
    if (!goes_on) return progress::finished;
  }
}

}  // namespace

std::size_t total_size(const std::vector<iovec>& pieces) noexcept {
  std::size_t total = 0;
  for (const iovec& piece : pieces) total += piece.iov_len;
  return total;
}

progress receive_from(datagram_end& from, request& tried) {
  const std::shared_ptr<file> held = tried.target;  // the request may hold the last reference
  if ((tried.flags & ~receive_flags) != 0) {
    tried.owner->finish(tried, refuse("receive flags " + std::to_string(tried.flags)));
    return progress::finished;
  }
  if (const int error = from.take_receive_error(); error != 0) {
    tried.owner->finish(tried, error);
    return progress::finished;
  }
  if ((tried.sqe_flags & IOSQE_BUFFER_SELECT) != 0) return receive_into_buffers(from, tried);
  if (from.first() == nullptr) {
    if (!from.is_read_stopped()) return progress::would_block;
    tried.owner->finish(tried, 0);
    return progress::finished;
  }
  receive_one(from, tried);
  return progress::finished;
}

}  // namespace rill::sim::detail
