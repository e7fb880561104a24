// The end of a socket: withdrawing what is in flight, closing, letting the block go.
// See socket.h for the block, socket.cpp for its other operations.
#include <sys/socket.h>

#include <cerrno>
#include <new>
#include <utility>

#include <rill/net/shared_send.h>
#include <rill/net/socket.h>
#include <rill/runtime/frame_cache.h>
#include <rill/runtime/uring_abi.h>

namespace rill::detail {
namespace {

// --- close: IORING_OP_CLOSE; Linux 5.6. The descriptor is gone whatever it says ---
// IOSQE_ASYNC where close(2) waits for the peer: then a worker thread does, and not the loop.
void prepare_close(operation& slot, io_uring_sqe& sqe) noexcept {
  if (slot.descriptor < 0) {  // released
    ::io_uring_prep_nop(&sqe);
  } else {
    ::io_uring_prep_close(&sqe, slot.descriptor);
    if (socket_of(slot).lingers) sqe.flags |= IOSQE_ASYNC;
  }
}

void complete_close(operation& slot, int, unsigned) noexcept { slot.owner_loop().retire(slot); }

}  // namespace

const operation_type socket_state::close_type{
    "close",         prepare_close, complete_close,
    describe_socket, true,          [](operation& slot) noexcept { socket_of(slot).settled(); }};

void socket_state::abandon() noexcept {
  if (observer != nullptr) *observer = nullptr;
  abandoned = true;
  // A reader that was woken for what is dropped here, and has not run yet, finds this in its place.
  if (has_arrived() && failure == 0) failure = ECANCELED;
  drop_arrived();
  if (std::exchange(lined_up, false)) owner_loop().buffers().leave_line(read);
  // Whoever waits for a stream's bytes leaves at once; whoever lent memory to the kernel stays
  // until the kernel has answered.
  if (read.has_waiter() && (!read.in_flight() || read.type()->outlives_waiter)) {
    read.wake(-ECANCELED);
  }
  // A datagram that is to be sent again is not in the kernel either.
  if (write.has_waiter() && !write.in_flight()) write.wake(-ECANCELED);
  read.request_cancel();
  write.request_cancel();
  close_if_settled();
}

int socket_state::try_release() noexcept {
  const bool is_unread = arrived_first != none || unread != nullptr || private_arrived;
  if (!read.is_settled() || !write.is_settled() || lined_up || is_unread) return -1;
  const int descriptor = std::exchange(read.descriptor, -1);
  write.descriptor = -1;
  owner_loop().kernel().release(descriptor, was_nonblocking);
  finish_before_close = false;
  abandon();  // a reader that was woken and has not run yet may still look here
  return descriptor;
}

void socket_state::drop_arrived() noexcept {
  while (arrived_first != none) {
    const auto [group, id] = untag(arrived_first);
    pop_arrived();
    owner_loop().buffers().give_back(group, id);
  }
  unread.reset();
  private_arrived = false;
}

void socket_state::settled() noexcept {
  if (closing) {
    closed();
  } else if (abandoned) {
    close_if_settled();
  }
}

void socket_state::close_if_settled() noexcept {
  if (closing || !read.is_settled() || !write.is_settled()) return;
  if (finish_before_close) {
    finish_before_close = false;
    owner_loop().kernel().shutdown(read.descriptor, SHUT_WR);
  }
  closing = true;
  write.submit(close_type);
}

void socket_state::closed() noexcept {
  if (closer != nullptr) closer->wake(0);
  shared_send::forget(*this);
  this->~socket_state();
  free_frame(this, sizeof(socket_state));
}

socket_close_awaiter::~socket_close_awaiter() {
  if (state_ != nullptr) state_->closer = nullptr;
}

void socket_close_awaiter::suspend(promise_base& frame) noexcept {
  if (!socket_) {
    frame.owner_chain->yield(frame);
    return;
  }
  static constexpr operation_type type{"close", nullptr, nullptr, nullptr};
  try {
    slot_.acquire(socket_->owner_loop());
  } catch (const std::bad_alloc&) {  // closing needs no memory, only waiting for it does
    socket_.reset();
    frame.owner_chain->yield(frame);
    return;
  }
  operation& slot = *slot_;
  if (!slot.wait(frame, type)) return;
  state_ = &*socket_;
  state_->closer = &slot;
  socket_.reset();
}

}  // namespace rill::detail
