// Datagrams: the operations and their headers. See datagram.h.
#include <rill/net/datagram.h>

#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

#include <rill/net/message_storage.h>
#include <rill/runtime/uring_abi.h>

namespace rill::detail {
namespace {

void set_up_receive(datagram_storage::side& side, void* bytes, std::size_t size) noexcept {
  side.piece = {bytes, size};
  side.header = {};
  side.header.msg_name = side.name;
  side.header.msg_namelen = sizeof(side.name);
  side.header.msg_iov = &side.piece;
  side.header.msg_iovlen = size == 0 && bytes == nullptr ? 0 : 1;
  side.header.msg_control = side.control;
  side.header.msg_controllen = sizeof(side.control);
}

// --- receive(): IORING_OP_RECVMSG, IORING_RECV_MULTISHOT, IOSQE_BUFFER_SELECT; Linux 6.0 ---
// The buffer begins with io_uring_recvmsg_out, then room for name and control messages.
void prepare_receive_datagrams(operation& slot, io_uring_sqe& sqe) noexcept {
  datagram_storage::side& side = socket_of(slot).datagrams->read;
  set_up_receive(side, nullptr, 0);
  // MSG_TRUNC: the header tells the datagram's own length even when the buffer was too short.
  ::io_uring_prep_recvmsg_multishot(&sqe, slot.descriptor, &side.header, MSG_TRUNC);
  sqe.flags |= IOSQE_BUFFER_SELECT;
  sqe.buf_group = static_cast<std::uint16_t>(slot.argument);
}

// --- recv_from(buffer): IORING_OP_RECVMSG; Linux 5.3 ---
void prepare_receive_datagram(operation& slot, io_uring_sqe& sqe) noexcept {
  datagram_storage::side& side = socket_of(slot).datagrams->read;
  set_up_receive(side, slot.buffer, slot.size);
  ::io_uring_prep_recvmsg(&sqe, slot.descriptor, &side.header, MSG_TRUNC);
}

// --- receive() while the pool is empty: one datagram into memory of the socket's own ---
void prepare_private_datagram(operation& slot, io_uring_sqe& sqe) noexcept {
  datagram_storage& storage = *socket_of(slot).datagrams;
  set_up_receive(storage.read, storage.private_bytes.data(), storage.private_bytes.size());
  ::io_uring_prep_recvmsg(&sqe, slot.descriptor, &storage.read.header, MSG_TRUNC);
}

void complete_private_datagram(operation& slot, int result, unsigned) noexcept {
  socket_state& socket = socket_of(slot);
  if (socket.abandoned) {
    socket.settled();
    return;
  }
  if (result >= 0) {
    socket.private_arrived = true;
    socket.datagrams->private_size = static_cast<std::size_t>(result);
  } else if (result != -ECANCELED && result != -EINTR && result != -EAGAIN) {
    socket.failure = -result;
  }
  if (!slot.has_waiter()) return;
  if (socket.has_arrived()) {
    slot.wake(0);
  } else {
    socket.start_streaming();
  }
}

// --- send_to, send: IORING_OP_SENDMSG; Linux 5.3 ---
// Unix: with MSG_DONTWAIT. EAGAIN: the receiver is full, and the waiting is done here. The ring's
// own would hold a worker thread and in the end send an empty datagram, as unix_dgram_sendmsg()
// takes the bytes out of the message before it finds no room (Linux 6.18).
void prepare_send_datagram(operation& slot, io_uring_sqe& sqe) noexcept {
  datagram_storage& storage = *socket_of(slot).datagrams;
  const unsigned flags = storage.is_unix ? MSG_NOSIGNAL | MSG_DONTWAIT : MSG_NOSIGNAL;
  ::io_uring_prep_sendmsg(&sqe, slot.descriptor, &storage.write.header, flags);
}

// --- a connected Unix socket whose peer is full: IORING_OP_POLL_ADD; Linux 5.1 ---
const operation_type wait_for_room_type{"send",
                                        [](operation& slot, io_uring_sqe& sqe) noexcept {
                                          ::io_uring_prep_poll_add(&sqe, slot.descriptor, POLLOUT);
                                        },
                                        [](operation& slot, int result, unsigned flags) noexcept {
                                          if (result >= 0 && !slot.cancel_sent()) {
                                            slot.submit(socket_state::send_datagram_type);
                                          } else {
                                            completed_once(slot, result >= 0 ? -ECANCELED : result,
                                                           flags);
                                          }
                                        },
                                        describe_socket,
                                        false,
                                        socket_settled};

void complete_send_datagram(operation& slot, int result, unsigned flags) noexcept {
  socket_state& socket = socket_of(slot);
  datagram_storage& storage = *socket.datagrams;
  if (result == -EAGAIN && storage.is_unix) {
    if (slot.cancel_sent()) {
      result = -ECANCELED;
    } else if (storage.write.header.msg_name == nullptr) {
      slot.submit(wait_for_room_type);
      return;
    } else {
      try {
        storage.retry.arm(socket);
        return;
      } catch (const std::bad_alloc&) {
        result = -ENOMEM;
      }
    }
  }
  completed_once(slot, result, flags);
}

endpoint name_of(const void* name, std::size_t size) {
  return endpoint::from_native({static_cast<const std::byte*>(name), size}).value_or(endpoint());
}

/// What the control messages of a received datagram tell.
class control_messages {
 public:
  explicit control_messages(msghdr& header) noexcept {
    for (cmsghdr* each = CMSG_FIRSTHDR(&header); each; each = CMSG_NXTHDR(&header, each)) {
      if (each->cmsg_level == SOL_UDP && each->cmsg_type == UDP_GRO) {
        segment_size = static_cast<std::size_t>(content<int>(*each));
      } else if (each->cmsg_level == IPPROTO_IP && each->cmsg_type == IP_PKTINFO) {
        local = own_address(content<in_pktinfo>(*each));
      } else if (each->cmsg_level == IPPROTO_IPV6 && each->cmsg_type == IPV6_PKTINFO) {
        local = own_address(content<in6_pktinfo>(*each));
      }
    }
  }

  std::size_t segment_size = 0;
  address local;

 private:
  template <class T>
  static T content(const cmsghdr& message) noexcept {
    T value{};
    std::memcpy(&value, CMSG_DATA(&message), sizeof(value));
    return value;
  }
  // ipi_spec_dst is what an answer may come from; ipi_addr may be a broadcast or a group (ip(7)).
  static address own_address(const in_pktinfo& told) noexcept {
    address::v4_bytes bytes{};
    std::memcpy(bytes.data(), &told.ipi_spec_dst, bytes.size());
    return address::v4(bytes);
  }
  static address own_address(const in6_pktinfo& told) noexcept {
    address::v6_bytes bytes{};
    std::memcpy(bytes.data(), &told.ipi6_addr, bytes.size());
    const address plain = address::v6(bytes);
    const bool is_scoped = plain.is_link_local() || plain.is_multicast();
    return is_scoped ? address::v6(bytes, told.ipi6_ifindex) : plain;
  }
};

/// Adds one to the datagram that is to be sent. The room is enough for all that there are.
template <class T>
void add_control(datagram_storage::side& side, int level, int type, const T& value) noexcept {
  static_assert(CMSG_SPACE(sizeof(std::uint16_t)) + CMSG_SPACE(sizeof(in6_pktinfo)) <=
                datagram_storage::control_size);
  side.header.msg_control = side.control;
  auto* const message = reinterpret_cast<cmsghdr*>(side.control + side.header.msg_controllen);
  message->cmsg_level = level;
  message->cmsg_type = type;
  message->cmsg_len = CMSG_LEN(sizeof(T));
  std::memcpy(CMSG_DATA(message), &value, sizeof(T));
  side.header.msg_controllen += CMSG_SPACE(sizeof(T));
}

void add_source(datagram_storage::side& side, const address& from, const endpoint& to) noexcept {
  // From neither of them anything can come; what is left is the interface.
  const bool is_own = !from.is_any() && !from.is_multicast();
  if (!is_own && from.scope_id() == 0) return;
  RILL_ASSERT(from.is_v4() == (to.kind() == endpoint_kind::ipv4),
              "a datagram's two addresses are of different families");
  if (from.is_v4()) {
    in_pktinfo source{};
    std::memcpy(&source.ipi_spec_dst, from.bytes().data(), sizeof(source.ipi_spec_dst));
    add_control(side, IPPROTO_IP, IP_PKTINFO, source);
  } else {
    in6_pktinfo source{};
    if (is_own) std::memcpy(&source.ipi6_addr, from.bytes().data(), sizeof(source.ipi6_addr));
    source.ipi6_ifindex = from.scope_id();
    add_control(side, IPPROTO_IPV6, IPV6_PKTINFO, source);
  }
}

/// Takes apart the buffer of a multishot receive.
rill::result<datagram> open_datagram(lease&& buffer) {
  // The kernel was given the same sizes when the receive was armed.
  msghdr armed{};
  armed.msg_namelen = sizeof(sockaddr_storage);
  armed.msg_controllen = datagram_storage::control_size;
  void* const begin = const_cast<std::byte*>(buffer.data());
  io_uring_recvmsg_out* const out =
      ::io_uring_recvmsg_validate(begin, static_cast<int>(buffer.size()), &armed);
  if (out == nullptr) return tl::unexpected(error::from_errno(EMSGSIZE, "recv"));
  const endpoint sender = name_of(::io_uring_recvmsg_name(out), out->namelen);
  msghdr control{};
  control.msg_control = static_cast<std::byte*>(::io_uring_recvmsg_name(out)) + armed.msg_namelen;
  control.msg_controllen = out->controllen;
  const std::span<const std::byte> bytes(
      static_cast<const std::byte*>(::io_uring_recvmsg_payload(out, &armed)),
      ::io_uring_recvmsg_payload_length(out, static_cast<int>(buffer.size()), &armed));
  const std::size_t original = std::max<std::size_t>(out->payloadlen, bytes.size());
  const control_messages told(control);
  return datagram(std::move(buffer), bytes, sender, told.local, original, told.segment_size);
}

}  // namespace

const operation_type socket_state::receive_datagrams_type{
    "recv",
    prepare_receive_datagrams,
    [](operation& slot, int result, unsigned flags) noexcept {
      socket_of(slot).receive_completed(result, flags);
    },
    describe_socket,
    true,
    socket_settled};
const operation_type socket_state::receive_datagram_type{
    "recv", prepare_receive_datagram, completed_once, describe_socket, false, socket_settled};
const operation_type socket_state::private_datagram_type{
    "recv",        prepare_private_datagram, complete_private_datagram, describe_socket, true,
    socket_settled};
const operation_type socket_state::send_datagram_type{
    "send", prepare_send_datagram, complete_send_datagram, describe_socket, false, socket_settled};

void send_retry::arm(socket_state& socket) {
  loop_->timers().arm(*this, deadline_after(loop_->now, pause_));
  socket_ = &socket;
  pause_ = std::min(2 * pause_, pause_max);
}

void send_retry::expired() noexcept {
  operation& slot = socket_->write;
  // Whoever waited may have given up, and something else may be in flight.
  if (slot.has_waiter() && !slot.in_flight()) slot.submit(socket_state::send_datagram_type);
}

socket_state& make_datagram_state(loop& on, int descriptor, bool is_unix) {
  auto storage = [&] {
    try {
      return std::make_unique<datagram_storage>(on, is_unix);
    } catch (...) {
      on.kernel().close(descriptor);
      throw;
    }
  }();
  socket_state& socket = socket_state::make(on, descriptor);
  socket.datagrams = std::move(storage);
  socket.large_messages = true;
  return socket;
}

socket_handle adopt_datagram_socket(int descriptor, bool is_unix) {
  loop& on = loop::current();
  check_or_close(on, descriptor, adopted_kind::datagrams, !is_unix);
  socket_handle taken(make_datagram_state(on, descriptor, is_unix));
  taken->is_adopted = true;
  on.kernel().adopt(descriptor);
  return taken;
}

void send_datagram_awaiter::suspend(promise_base& frame) noexcept {
  operation& slot = socket_->write;
  // Looked at before the headers are changed: another send may own them.
  RILL_ASSERT(!slot.has_waiter(), "two sends at once on one socket");
  datagram_storage::side& side = socket_->datagrams->write;
  socket_->datagrams->retry.reset();
  side.piece = {const_cast<std::byte*>(bytes_.data()), bytes_.size()};
  side.header = {};
  side.header.msg_iov = &side.piece;
  side.header.msg_iovlen = 1;
  if (to_ != nullptr) {
    const std::span<const std::byte> name = to_->native();
    std::memcpy(side.name, name.data(), name.size());
    side.header.msg_name = side.name;
    side.header.msg_namelen = static_cast<socklen_t>(name.size());
  }
  if (segment_size_ != 0) add_control(side, SOL_UDP, UDP_SEGMENT, segment_size_);
  if (from_ != nullptr && to_ != nullptr) add_source(side, *from_, *to_);
  slot.start(frame, socket_state::send_datagram_type);
}

void send_datagram_awaiter::fail() const {
  throw_error(socket_->write_error(socket_state::send_datagram_type),
              to_ != nullptr ? to_->to_string() : socket_->subject());
}

void receive_into_awaiter::suspend(promise_base& frame) noexcept {
  operation& slot = socket_->read;
  if (socket_->has_arrived()) {
    slot.set_deadline(timer_node::never);
    frame.owner_chain->yield(frame);
  } else if (slot.in_flight()) {
    slot.wait(frame, *slot.type());
  } else {
    slot.buffer = into_.data();
    slot.size = into_.size();
    slot.start(frame, socket_state::receive_datagram_type);
  }
}

rill::result<datagram_info> receive_into_awaiter::take_result() {
  if (socket_->has_arrived()) {
    rill::result<datagram> arrived = receive_datagram_awaiter(*socket_).take_result();
    if (!arrived) return tl::unexpected(arrived.error());
    const std::size_t size = std::min(into_.size(), arrived->size());
    if (size != 0) std::memcpy(into_.data(), arrived->bytes().data(), size);
    return datagram_info(arrived->peer(), arrived->local(), size, arrived->original_size(),
                         arrived->segment_size());
  }
  const rill::result<std::size_t> received = socket_->read.take_result();
  if (!received) return tl::unexpected(received.error());
  datagram_storage::side& side = socket_->datagrams->read;
  const control_messages told(side.header);
  return datagram_info(name_of(side.name, side.header.msg_namelen), told.local,
                       std::min(*received, into_.size()), *received, told.segment_size);
}

void receive_datagram_awaiter::suspend(promise_base& frame) noexcept {
  if (socket_->has_arrived()) {
    socket_->read.set_deadline(timer_node::never);
    frame.owner_chain->yield(frame);
    return;
  }
  socket_->wait_for_stream(frame);
}

rill::result<datagram> receive_datagram_awaiter::take_result() {
  socket_state& socket = *socket_;
  if (socket.arrived_first != socket_state::none) return open_datagram(socket.pop_lease());
  if (socket.private_arrived) {
    socket.private_arrived = false;
    datagram_storage& storage = *socket.datagrams;
    const std::size_t size = std::min(storage.private_size, storage.private_bytes.size());
    buffer_pool& pool = socket.owner_loop().buffers();
    std::byte* memory = pool.allocate_private(std::max<std::size_t>(size, 1));
    std::memcpy(memory, storage.private_bytes.data(), size);
    const control_messages told(storage.read.header);
    return datagram(pool.lend_private(memory, size), {memory, size},
                    name_of(storage.read.name, storage.read.header.msg_namelen), told.local,
                    storage.private_size, told.segment_size);
  }
  if (socket.failure != 0) {  // told once: a refusal is no end
    return tl::unexpected(error::from_errno(std::exchange(socket.failure, 0), "recv"));
  }
  return tl::unexpected(socket.read.take_result().error());
}

}  // namespace rill::detail
