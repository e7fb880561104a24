// Sends without a copy. See shared_send.h.
#include <rill/net/shared_send.h>

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <new>
#include <utility>

#include <rill/runtime/frame_cache.h>
#include <rill/runtime/uring_abi.h>

namespace rill::detail {
namespace {

bool lends(const socket_state& socket, std::size_t size) noexcept {
  if (socket.cannot_lend || size == 0) return false;
  if (socket.lends_when == zero_copy::when_useful) {
    return size >= socket_state::zero_copy_size_min && !socket.lending_copies;
  }
  return socket.lends_when == zero_copy::always;
}

}  // namespace

// --- write_all(shared_bytes): IORING_OP_SEND_ZC; Linux 6.0, REPORT_USAGE from 6.2 ---
// MSG_WAITALL, MSG_NOSIGNAL: as an ordinary send, and its errors are the same. IORING_CQE_F_MORE on
// the first completion, also of an error: IORING_CQE_F_NOTIF follows.
// EOPNOTSUPP: not with this kind of socket, as Unix ones. EINVAL: not with this kernel. ENOMEM:
// more than RLIMIT_MEMLOCK would be lent. ENOBUFS: no memory for the bookkeeping. Sent ordinarily
// then.
const operation_type shared_send::type{
    "write",
    [](operation& slot, io_uring_sqe& sqe) noexcept {
      ::io_uring_prep_send_zc(
          &sqe, slot.descriptor, slot.buffer, std::min(slot.size, socket_state::transfer_max),
          MSG_NOSIGNAL | MSG_WAITALL,
          slot.owner_loop().is_ring_of_6_3() ? unsigned{abi::send_zc_report_usage} : 0U);
    },
    [](operation& slot, int result, unsigned flags) noexcept {
      static_cast<shared_send*>(slot.owner)->completed(result, flags);
    },
    nullptr,
    false,
    [](operation& slot) noexcept { static_cast<shared_send*>(slot.owner)->free(); }};

shared_send::shared_send(socket_state& socket, const shared_bytes& bytes) noexcept
    : slot_(socket.owner_loop(), this),
      bytes_(bytes),
      socket_(&socket),
      next_(std::exchange(socket.shared_sends, this)) {
  if (next_ != nullptr) next_->previous_ = this;
  slot_.descriptor = socket.write.descriptor;
  slot_.buffer = const_cast<std::byte*>(bytes_.data());
  slot_.size = bytes_.size();
}

shared_send::~shared_send() {
  if (next_ != nullptr) next_->previous_ = previous_;
  if (previous_ != nullptr) {
    previous_->next_ = next_;
  } else if (socket_ != nullptr) {
    socket_->shared_sends = next_;
  }
}

void shared_send::start(socket_state& socket, const shared_bytes& bytes) noexcept {
  shared_send* made = nullptr;
  try {
    made = ::new (allocate_frame(sizeof(shared_send))) shared_send(socket, bytes);
  } catch (const std::bad_alloc&) {
    socket.write.submit(socket_state::send_type);
    return;
  }
  socket.owner_loop().lend(*made);
  socket.write.submit_by(made->slot_, type);
}

void shared_send::forget(socket_state& socket) noexcept {
  for (shared_send* each = std::exchange(socket.shared_sends, nullptr); each != nullptr;) {
    each->socket_ = nullptr;
    each->previous_ = nullptr;
    each = std::exchange(each->next_, nullptr);
  }
}

void shared_send::completed(int result, unsigned flags) noexcept {
  if ((flags & IORING_CQE_F_NOTIF) == 0) {
    handed_over(result);
  } else if (has_sent_ && socket_ != nullptr) {  // of one that failed it always says copied
    const bool is_copied = (static_cast<unsigned>(result) & abi::notification_copied) != 0;
    if (is_copied) socket_->lending_copies = true;
  }
  if (slot_.is_settled()) free();
}

/// The first completion: from here on the write slot goes its usual way, and what is left to do is
/// done by ordinary sends.
void shared_send::handed_over(int result) noexcept {
  operation& write = socket_->write;
  write.hand_back();
  has_sent_ = result > 0;
  const bool is_refused = result == -EOPNOTSUPP || result == -EINVAL;
  if (is_refused) socket_->cannot_lend = true;
  if (!is_refused && result != -ENOMEM && result != -ENOBUFS) {
    socket_state::send_type.complete(write, result, 0);
  } else if (write.cancel_sent()) {
    socket_state::send_type.complete(write, -ECANCELED, 0);
  } else {
    write.submit(socket_state::send_type);
  }
}

void shared_send::free() noexcept {
  slot_.owner_loop().give_back(*this);
  this->~shared_send();
  free_frame(this, sizeof(shared_send));
}

void shared_send::loop_ended(bool is_read) noexcept {
  if (is_read) std::move(bytes_).keep_for_ever();
  slot_.forget();
  this->~shared_send();
  free_frame(this, sizeof(shared_send));
}

void write_shared_awaiter::suspend(promise_base& frame) noexcept {
  operation& slot = socket_->write;
  slot.buffer = const_cast<std::byte*>(bytes_.data());
  slot.size = bytes_.size();
  slot.offset = 0;
  if (!slot.wait(frame, socket_state::send_type)) return;
  if (lends(*socket_, bytes_.size())) {
    shared_send::start(*socket_, bytes_);
  } else {
    slot.submit(socket_state::send_type);
  }
}

}  // namespace rill::detail
