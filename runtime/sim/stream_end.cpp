// Receiving from streams and accepting. What is answered was compared with Linux 6.18.
// See stream_end.h.
#include <rill/runtime/sim/stream_end.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>

#include <rill/runtime/sim/kernel.h>
#include <rill/runtime/sim/node.h>
#include <rill/runtime/uring_abi.h>

namespace rill::sim::detail {
namespace {

constexpr unsigned receive_flags = MSG_PEEK | MSG_WAITALL | MSG_DONTWAIT | MSG_NOSIGNAL;

unsigned more_flag(bool tells, bool has) noexcept {
  return tells && has ? unsigned{IORING_CQE_F_SOCK_NONEMPTY} : 0U;
}

/// Without bytes: the end, an error, or nothing yet.
progress end_or_wait(stream_end& from, request& tried) {
  const int state = from.receive_state();
  if (state == stream_end::wait) return progress::would_block;
  tried.owner->finish(tried, state,
                      state == 0 ? more_flag(from.tells_more(), from.has_more()) : 0U);
  return progress::finished;
}

progress receive_into_buffers(stream_end& from, request& tried) {
  const bool multishot = (tried.modifiers & IORING_RECV_MULTISHOT) != 0;
  for (;;) {
    // io_recv() chooses the buffer first: an empty ring ends it even when nothing has come.
    selected_buffer chosen;
    if (!tried.owner->select_buffer(tried, chosen)) {
      tried.owner->finish(tried, -ENOBUFS);
      return progress::finished;
    }
    const byte_queue* const bytes = from.received();
    if (bytes == nullptr || bytes->empty()) return end_or_wait(from, tried);
    const std::size_t size = tried.limited(std::min(chosen.size, bytes->size()));
    std::memcpy(chosen.memory, bytes->data(), size);
    if ((tried.flags & MSG_PEEK) == 0) from.take(size);
    tried.owner->take_buffer(tried);
    const unsigned flags = chosen.flags | more_flag(from.tells_more(), from.has_more());
    const int result = static_cast<int>(size);
    const bool goes_on = multishot && tried.owner->post_more(tried, result, flags);
    if (!goes_on) tried.owner->finish(tried, result, flags);
    from.room_is_made();
    if (!goes_on) return progress::finished;
    // Who knows that nothing is left does not try again, which an empty buffer ring would end; an
    // error may stand behind the bytes.
    if (from.tells_more() && !from.has_more()) return end_or_wait(from, tried);
  }
}

progress receive_into_memory(stream_end& from, request& tried) {
  std::size_t wanted = 0;
  for (const iovec& piece : tried.pieces) wanted += piece.iov_len;
  const bool peek = (tried.flags & MSG_PEEK) != 0;
  const bool all = (tried.flags & MSG_WAITALL) != 0;
  const byte_queue* const bytes = from.received();
  const bool is_nothing = wanted == 0 && bytes != nullptr && !bytes->empty();  // and there is some
  std::size_t size = 0;
  for (;;) {
    if (peek) tried.done = 0;  // what an earlier attempt saw is there still
    const std::size_t there = bytes == nullptr ? 0 : bytes->size();
    size = tried.limited(tried.done + std::min(wanted - tried.done, there)) - tried.done;
    if (size != 0) scatter(tried.pieces, tried.done, bytes->data(), size);
    if (size != 0 && !peek) from.take(size);
    tried.done += size;
    const bool is_cut = tried.done == tried.size_limit;  // by a fault
    // The end of the stream or an error gives what there is; the error stays.
    if (!all || tried.done == 0 || tried.done == wanted || is_cut || from.is_receive_over()) break;
    if (peek || size == 0) return progress::would_block;
    // The room may bring more at once, which nobody else would tell us of: we do not wait yet.
    from.room_is_made();
    if (bytes->empty()) return progress::would_block;
  }
  int result = static_cast<int>(tried.done);
  if (result == 0 && !is_nothing) {
    result = from.receive_state();
    if (result == stream_end::wait) return progress::would_block;
  }
  if (tried.header != nullptr && result >= 0) {
    tried.header->msg_namelen = 0;
    tried.header->msg_controllen = 0;
    tried.header->msg_flags = 0;
  }
  tried.owner->finish(tried, result,
                      result >= 0 ? more_flag(from.tells_more(), from.has_more()) : 0U);
  if (size != 0 && !peek) from.room_is_made();
  return progress::finished;
}

}  // namespace

progress receive_from(stream_end& from, request& tried) {
  const std::shared_ptr<file> held = tried.target;  // the request may hold the last reference
  if ((tried.flags & ~receive_flags) != 0) {
    tried.owner->finish(tried, refuse("receive flags " + std::to_string(tried.flags)));
    return progress::finished;
  }
  const bool selects = (tried.sqe_flags & IOSQE_BUFFER_SELECT) != 0;
  return selects ? receive_into_buffers(from, tried) : receive_into_memory(from, tried);
}

progress accept_at(stream_end& listener, const node& on, request& tried) {
  const bool multishot = (tried.modifiers & IORING_ACCEPT_MULTISHOT) != 0;
  for (bool first = true; first || listener.has_ready(); first = false) {
    // io_accept() takes a descriptor before it looks for a connection.
    if (!on.has_free_descriptor()) {
      tried.owner->finish(tried, -EMFILE);
      return progress::finished;
    }
    if (!listener.has_ready()) return progress::would_block;
    const int descriptor = listener.open_ready(multishot ? nullptr : tried.memory,
                                               reinterpret_cast<socklen_t*>(tried.offset));
    const unsigned flags = more_flag(listener.tells_more(), listener.has_ready());
    if (!multishot || !tried.owner->post_more(tried, descriptor, flags)) {
      tried.owner->finish(tried, descriptor, flags);
      return progress::finished;
    }
  }
  return progress::would_block;
}

}  // namespace rill::sim::detail
