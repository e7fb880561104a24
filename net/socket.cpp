// The operations on sockets: for each its opcode, flags, first kernel and what becomes of errors.
// The echo path runs through lease_awaiter::suspend, receive_completed, write_awaiter::suspend and
// complete_send. See socket.h for the block they work on.
#include <rill/net/socket.h>

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <new>

#include <rill/net/message_storage.h>
#include <rill/runtime/frame_cache.h>
#include <rill/runtime/uring_abi.h>

namespace rill::detail {
namespace {

// Full small buffers in a row after which a stream is served with large ones, and small receives
// in a row after which it goes back.
constexpr std::uint8_t full_before_large = 2;
constexpr std::uint8_t small_before_small = 32;

unsigned transfer_size(std::size_t size) noexcept {
  return static_cast<unsigned>(std::min(size, socket_state::transfer_max));
}

/// What ends a receive without saying anything about the stream.
bool is_passing(int result) noexcept {
  return result == -ECANCELED || result == -EINTR || result == -EAGAIN;
}

/// As completed_once; an error lasts, where the kernel would tell it once and then an end.
void completed_read(operation& slot, int result, unsigned flags) noexcept {
  result = socket_of(slot).unless_lost(result);
  if (result < 0 && !is_passing(result)) socket_of(slot).failure = -result;
  completed_once(slot, result, flags);
}

// --- read_lease(): IORING_OP_RECV, IORING_RECV_MULTISHOT, IOSQE_BUFFER_SELECT; Linux 6.0 ---
// Stays armed until the stream ends. 0: the peer has finished. ENOBUFS: the buffer ring was empty,
// armed anew. ECANCELED: paused or closing. EINTR, EAGAIN: armed anew. Others end the stream.
// The first one of a stream is a single shot: a large message read in sixteen small parts would
// teach TCP a receive window that costs a tenth of the throughput from then on (net/README.md).
void prepare_receive_stream(operation& slot, io_uring_sqe& sqe) noexcept {
  if (socket_of(slot).measured) {
    ::io_uring_prep_recv_multishot(&sqe, slot.descriptor, nullptr, 0, 0);
  } else {
    ::io_uring_prep_recv(&sqe, slot.descriptor, nullptr, 0, 0);
  }
  sqe.flags |= IOSQE_BUFFER_SELECT;
  sqe.buf_group = static_cast<std::uint16_t>(slot.argument);
}

void complete_receive_stream(operation& slot, int result, unsigned flags) noexcept {
  socket_of(slot).receive_completed(result, flags);
}

// --- read_lease() of large messages: IORING_OP_POLL_ADD, then a place in the line of the loop's
// buffers, then IORING_OP_RECV with MSG_DONTWAIT into the buffer used most recently ---
// EAGAIN: the bytes were gone, or no buffer was free: begun anew. Errors as above.
void prepare_receive_large(operation& slot, io_uring_sqe& sqe) noexcept {
  buffer_pool& pool = slot.owner_loop().buffers();
  const std::uint16_t id = pool.take(buffer_pool::large_group);
  slot.argument = id;
  if (id == buffer_pool::none) {
    ::io_uring_prep_nop(&sqe);
    return;
  }
  ::io_uring_prep_recv(&sqe, slot.descriptor, pool.address(buffer_pool::large_group, id),
                       pool.buffer_size(buffer_pool::large_group), MSG_DONTWAIT);
}

// --- read(buffer): IORING_OP_RECV; Linux 5.6 ---
// 0: the peer has finished. Errors are the caller's: ECONNRESET, ETIMEDOUT, EHOSTUNREACH ...
void prepare_receive(operation& slot, io_uring_sqe& sqe) noexcept {
  ::io_uring_prep_recv(&sqe, slot.descriptor, slot.buffer, transfer_size(slot.size), 0);
}

// --- read(buffers): IORING_OP_RECVMSG; Linux 5.3 ---
void prepare_receive_vector(operation& slot, io_uring_sqe& sqe) noexcept {
  ::io_uring_prep_recvmsg(&sqe, slot.descriptor, &socket_of(slot).vectors->read.header, 0);
}

// --- write(buffer), write_all(buffer): IORING_OP_SEND; Linux 5.6, retried by itself from 5.19 ---
// MSG_WAITALL: the kernel goes on after a short send instead of asking us each time.
// MSG_NOSIGNAL: a peer that is gone gives EPIPE, not a signal.
void prepare_send(operation& slot, io_uring_sqe& sqe) noexcept {
  const auto* bytes = static_cast<const std::byte*>(slot.buffer) + slot.offset;
  ::io_uring_prep_send(&sqe, slot.descriptor, bytes, transfer_size(slot.size - slot.offset),
                       MSG_NOSIGNAL | MSG_WAITALL);
}

void prepare_send_some(operation& slot, io_uring_sqe& sqe) noexcept {
  ::io_uring_prep_send(&sqe, slot.descriptor, slot.buffer, transfer_size(slot.size), MSG_NOSIGNAL);
}

/// After a part was sent: true when `slot` goes on in the kernel.
bool send_more(operation& slot, int result) noexcept {
  if (result <= 0) {
    socket_of(slot).write_ended(result);
    slot.wake(result == 0 && slot.size != 0 ? -EPIPE : slot.unless_interrupted(result));
    return false;
  }
  slot.offset += static_cast<unsigned>(result);
  if (slot.offset < slot.size) {
    if (!slot.cancel_sent()) return true;
    slot.wake(-ECANCELED);
    return false;
  }
  slot.wake(static_cast<int>(std::min<std::size_t>(slot.size, INT_MAX)));
  return false;
}

void complete_send(operation& slot, int result, unsigned) noexcept {
  if (send_more(slot, result)) {
    slot.submit(socket_state::send_type);
  } else if (socket_of(slot).abandoned) {
    socket_of(slot).settled();
  }
}

// --- write_all(buffers): IORING_OP_SENDMSG; Linux 5.3 ---
void prepare_send_vector(operation& slot, io_uring_sqe& sqe) noexcept {
  ::io_uring_prep_sendmsg(&sqe, slot.descriptor, &socket_of(slot).vectors->write.header,
                          MSG_NOSIGNAL | MSG_WAITALL);
}

void complete_send_vector(operation& slot, int result, unsigned) noexcept {
  if (send_more(slot, result)) {
    auto sent = static_cast<std::size_t>(result);
    msghdr& header = socket_of(slot).vectors->write.header;
    while (sent >= header.msg_iov->iov_len) {
      sent -= header.msg_iov->iov_len;
      ++header.msg_iov;
      --header.msg_iovlen;
    }
    header.msg_iov->iov_base = static_cast<std::byte*>(header.msg_iov->iov_base) + sent;
    header.msg_iov->iov_len -= sent;
    slot.submit(socket_state::send_vector_type);
  } else if (socket_of(slot).abandoned) {
    socket_of(slot).settled();
  }
}

// --- connect: IORING_OP_CONNECT; Linux 5.5. ECONNREFUSED, ETIMEDOUT, ENETUNREACH ... ---
void prepare_connect(operation& slot, io_uring_sqe& sqe) noexcept {
  ::io_uring_prep_connect(&sqe, slot.descriptor, static_cast<const sockaddr*>(slot.buffer),
                          static_cast<socklen_t>(slot.size));
}

// --- wait until writable or readable: IORING_OP_POLL_ADD; Linux 5.1 ---
void prepare_poll(operation& slot, io_uring_sqe& sqe) noexcept {
  ::io_uring_prep_poll_add(&sqe, slot.descriptor, slot.argument);
}

}  // namespace

void socket_settled(operation& slot) noexcept { socket_of(slot).settled(); }

void completed_once(operation& slot, int result, unsigned) noexcept {
  slot.wake(result < 0 ? slot.unless_interrupted(result) : result);
  if (socket_of(slot).abandoned) socket_of(slot).settled();
}

const operation_type socket_state::receive_stream_type{
    "read", prepare_receive_stream, complete_receive_stream, describe_socket, true, socket_settled};
const operation_type socket_state::receive_type{"read",          prepare_receive, completed_read,
                                                describe_socket, false,           socket_settled};
const operation_type socket_state::receive_vector_type{
    "read", prepare_receive_vector, completed_read, describe_socket, false, socket_settled};
const operation_type socket_state::receive_private_type{
    "read",
    prepare_receive,
    [](operation& slot, int result, unsigned) noexcept {
      socket_of(slot).private_completed(result);
    },
    describe_socket,
    true,
    socket_settled};
const operation_type socket_state::receive_ready_type{
    "read",
    prepare_poll,
    [](operation& slot, int result, unsigned) noexcept { socket_of(slot).ready_completed(result); },
    describe_socket,
    true,
    socket_settled};
const operation_type socket_state::receive_large_type{
    "read",
    [](operation& slot, io_uring_sqe& sqe) noexcept {
      socket_of(slot).lined_up = false;
      prepare_receive_large(slot, sqe);
    },
    [](operation& slot, int result, unsigned) noexcept { socket_of(slot).large_completed(result); },
    describe_socket,
    true,
    socket_settled};
const operation_type socket_state::send_type{"write",         prepare_send, complete_send,
                                             describe_socket, false,        socket_settled};
const operation_type socket_state::send_some_type{
    "write",
    prepare_send_some,
    [](operation& slot, int result, unsigned flags) noexcept {
      socket_of(slot).write_ended(result);
      completed_once(slot, result, flags);
    },
    describe_socket,
    false,
    socket_settled};
const operation_type socket_state::send_vector_type{
    "write", prepare_send_vector, complete_send_vector, describe_socket, false, socket_settled};
const operation_type socket_state::connect_type{"connect",       prepare_connect, completed_once,
                                                describe_socket, false,           socket_settled};
const operation_type socket_state::poll_type{"poll",          prepare_poll, completed_once,
                                             describe_socket, false,        socket_settled};

bool shutdown_awaiter::await_ready() noexcept {
  RILL_ASSERT(how_ == SHUT_RD || !socket_->write.has_waiter(),
              "two operations of one kind at once on one object (two writes of one stream, say)");
  status_ = socket_->owner_loop().kernel().shutdown(socket_->read.descriptor, how_);
  return socket_->owner_loop().may_continue();
}

rill::result<std::size_t> shutdown_awaiter::take_result() const noexcept {
  if (status_ < 0) return tl::unexpected(error::from_errno(-status_, "shutdown"));
  return 0;
}

void shutdown_awaiter::await_resume() const {
  if (status_ < 0) throw_error(take_result().error(), socket_->subject());
}

socket_state::socket_state(loop& on, int descriptor) noexcept : read(on, this), write(on, this) {
  read.descriptor = descriptor;
  write.descriptor = descriptor;
  on.object_opened();
}

socket_state::~socket_state() { owner_loop().object_closed(); }

socket_state* socket_state::try_make(loop& on, int descriptor) noexcept {
  try {
    return ::new (allocate_frame(sizeof(socket_state))) socket_state(on, descriptor);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

socket_state& socket_state::make(loop& on, int descriptor) {
  if (socket_state* const made = try_make(on, descriptor)) return *made;
  on.kernel().close(descriptor);
  throw std::bad_alloc();
}

// ---------------------------------------------------------------- receiving

void lease_awaiter::suspend(promise_base& frame) noexcept {
  if (socket_->has_arrived()) {  // the task has had its share of this tick
    socket_->read.set_deadline(timer_node::never);
    frame.owner_chain->yield(frame);
    return;
  }
  socket_->wait_for_stream(frame);
}

void socket_state::wait_for_stream(promise_base& frame) noexcept {
  if (read.in_flight() || lined_up) {
    read.wait(frame, *read.type());
  } else if (read.wait(frame, datagrams ? receive_datagrams_type : receive_stream_type)) {
    start_streaming();
  }
}

void socket_state::start_streaming() noexcept {
  buffer_pool& pool = owner_loop().buffers();
  if (datagrams) {  // a small buffer would truncate one
    if (pool.available(buffer_pool::large_group)) {
      read.argument = buffer_pool::large_group;
      read.submit(receive_datagrams_type);
    } else {
      start_private();
    }
  } else if (large_messages && pool.can_take(buffer_pool::large_group)) {
    read.argument = POLLIN;
    read.submit(receive_ready_type);
  } else if (pool.available(buffer_pool::small_group)) {
    read.argument = buffer_pool::small_group;
    read.submit(receive_stream_type);
  } else {
    start_private();
  }
}

void socket_state::stop_streaming() noexcept { read.request_cancel(); }

void socket_state::receive_completed(int result, unsigned flags) noexcept {
  const unsigned group = read.argument;
  if ((flags & IORING_CQE_F_BUFFER) != 0) {
    const auto id = static_cast<std::uint16_t>(flags >> IORING_CQE_BUFFER_SHIFT);
    buffer_pool& pool = owner_loop().buffers();
    pool.taken(group);
    if (result > 0 && !abandoned) {
      append(group, id, static_cast<std::size_t>(result));
    } else {
      pool.give_back(group, id);
    }
  }
  if (abandoned) {
    settled();
    return;
  }
  if (result == -ENOBUFS) {
    owner_loop().buffers().starved(group);
    result = -EAGAIN;
  }
  received(result);
  if (read.in_flight() && arrived_count > (datagrams ? datagram_arrived_max : arrived_max)) {
    stop_streaming();
  }
}

void socket_state::ready_completed(int result) noexcept {
  if (abandoned) {
    settled();
  } else if (result >= 0) {
    lined_up = true;
    read.argument = buffer_pool::none;  // until it is prepared
    owner_loop().buffers().line_up(read, receive_large_type);
  } else {
    received(result);
  }
}

void socket_state::large_completed(int result) noexcept {
  const auto id = static_cast<std::uint16_t>(read.argument);
  if (id != buffer_pool::none) {
    if (result > 0 && !abandoned) {
      append(buffer_pool::large_group, id, static_cast<std::size_t>(result));
    } else {
      owner_loop().buffers().give_back(buffer_pool::large_group, id);
    }
  }
  if (abandoned) {
    settled();
    return;
  }
  received(id == buffer_pool::none ? -EAGAIN : result);
}

/// What a receive brought has been kept: its end, or its failure, and whoever waits.
void socket_state::received(int result) noexcept {
  result = unless_lost(result);
  if (result == 0) {
    ended = true;
  } else if (result < 0 && !is_passing(result)) {
    failure = -result;
  }
  if (!read.has_waiter()) return;
  if (has_arrived()) {
    read.wake(1);
  } else if (!read.in_flight()) {
    start_streaming();
  }
}

void socket_state::write_ended(int result) noexcept {
  switch (result) {
    // Not EPIPE: the reader was told before, or the peer had finished sending, which is its end.
    case -ECONNRESET:
    case -ETIMEDOUT:
    case -EHOSTUNREACH:
    case -ENETUNREACH:
      write_loss = static_cast<std::uint8_t>(-result);
      break;
    default:
      break;
  }
}

void socket_state::append(unsigned group, std::uint16_t id, std::size_t size) noexcept {
  buffer_pool& pool = owner_loop().buffers();
  const auto tag = static_cast<std::uint16_t>(
      id | (group == buffer_pool::large_group ? large_bit : std::uint16_t{0}));
  pool.waiting(group, id) = {static_cast<std::uint32_t>(size), none};
  if (arrived_first == none) {
    arrived_first = tag;
  } else {
    const auto [last_group, last_id] = untag(arrived_last);
    pool.waiting(last_group, last_id).next = tag;
  }
  arrived_last = tag;
  ++arrived_count;
  adapt_buffer_size(group, size);
}

void socket_state::adapt_buffer_size(unsigned group, std::size_t size) noexcept {
  const bool is_large = group == buffer_pool::large_group;
  const std::size_t small_size = owner_loop().buffers().buffer_size(buffer_pool::small_group);
  if (datagrams || is_large != large_messages) return;  // or the other group was a stopgap
  const bool wrong = is_large ? size <= small_size : size == small_size;
  if (!measured) {
    measured = true;
    large_messages = wrong;
    return;
  }
  full_count = wrong ? static_cast<std::uint8_t>(full_count + 1) : std::uint8_t{0};
  if (full_count < (is_large ? small_before_small : full_before_large)) return;
  full_count = 0;
  large_messages = !large_messages;
  stop_streaming();  // armed anew, with the other group, when the task reads again
}

void socket_state::start_private() noexcept {
  buffer_pool& pool = owner_loop().buffers();
  try {
    if (datagrams) {
      datagrams->private_bytes.resize(datagram_storage::private_size_max);
      read.submit(private_datagram_type);
      return;
    }
    private_buffer = pool.allocate_private(pool.buffer_size(0));
  } catch (const std::bad_alloc&) {
    read.wake(-ENOMEM);
    return;
  }
  read.buffer = private_buffer;
  read.size = pool.buffer_size(0);
  read.submit(receive_private_type);
}

void socket_state::private_completed(int result) noexcept {
  const std::unique_ptr<std::byte[]> bytes(std::exchange(private_buffer, nullptr));
  if (abandoned) {
    settled();
    return;
  }
  if (result > 0) {
    try {
      keep_unread({bytes.get(), static_cast<std::size_t>(result)});
    } catch (const std::bad_alloc&) {
      result = -ENOMEM;  // the bytes are lost, so the stream is
    }
  }
  received(result);
}

void socket_state::pop_arrived() noexcept {
  const auto [group, id] = untag(arrived_first);
  arrived_first = owner_loop().buffers().waiting(group, id).next;
  arrived_offset = 0;
  --arrived_count;
}

lease socket_state::pop_lease() noexcept {
  buffer_pool& pool = owner_loop().buffers();
  const auto [group, id] = untag(arrived_first);
  const std::size_t offset = arrived_offset;
  const std::size_t size = pool.waiting(group, id).size - offset;
  pop_arrived();
  return pool.lend(group, id, offset, size);
}

rill::result<lease> socket_state::take_lease() {
  buffer_pool& pool = owner_loop().buffers();
  if (unread != nullptr) {
    const std::size_t size = unread_size();
    std::byte* memory = pool.allocate_private(size);
    std::memcpy(memory, unread->data(), size);
    unread.reset();
    return pool.lend_private(memory, size);
  }
  if (arrived_first != none) return pop_lease();
  if (failure != 0) return tl::unexpected(error::from_errno(failure, "read"));
  if (ended) return lease();
  return tl::unexpected(read.take_result().error());
}

// ---------------------------------------------------------------- sending and connecting

void write_awaiter::suspend(promise_base& frame) noexcept {
  operation& slot = socket_->write;
  slot.buffer = const_cast<std::byte*>(bytes_.data());
  slot.size = bytes_.size();
  slot.offset = 0;
  slot.start(frame, *type_);
}

void write_vector_awaiter::suspend(promise_base& frame) {
  operation& slot = socket_->write;
  if (socket_->vectors == nullptr) socket_->vectors = std::make_unique<vector_storage>();
  vector_storage::side& side = socket_->vectors->write;
  side.pieces.clear();
  std::size_t total = 0;
  for (const const_buffer& piece : bytes_) {
    if (piece.empty()) continue;
    side.pieces.push_back({const_cast<std::byte*>(piece.data()), piece.size()});
    total += piece.size();
  }
  RILL_ASSERT(side.pieces.size() <= socket_state::piece_max,
              "write_all takes at most 1,024 pieces at once");
  side.header = {};
  side.header.msg_iov = side.pieces.data();
  side.header.msg_iovlen = side.pieces.size();
  slot.size = total;
  slot.offset = 0;
  slot.start(frame, socket_state::send_vector_type);
}

}  // namespace rill::detail
