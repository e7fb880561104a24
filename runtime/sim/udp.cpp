// Requests on UDP sockets. What they answer was compared with Linux 6.18. See udp.h.
#include <rill/runtime/sim/udp.h>

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <rill/runtime/sim/kernel.h>
#include <rill/runtime/uring_abi.h>

namespace rill::sim::detail {
namespace {

// 65,535 less the headers of UDP, and of IPv4 (IPv6 does not count its own).
constexpr std::size_t datagram_max_v4 = 65507;
constexpr std::size_t datagram_max_v6 = 65527;
// What a queued datagram costs beside its bytes: about Linux's sk_buff.
constexpr std::size_t datagram_overhead = 768;

constexpr unsigned send_flags = MSG_WAITALL | MSG_DONTWAIT | MSG_NOSIGNAL;

}  // namespace

udp_socket::udp_socket(node& on, int socket_family)
    : internet_socket(on, socket_family, SOCK_DGRAM) {
  claim_.holder = this;
}

int udp_socket::listen(int) { return -EOPNOTSUPP; }

int udp_socket::set_option(int level, int option, const void* value, unsigned size) {
  const bool v6 = family_ == AF_INET6;
  if (level != (v6 ? IPPROTO_IPV6 : IPPROTO_IP) || option != (v6 ? IPV6_RECVPKTINFO : IP_PKTINFO)) {
    return internet_socket::set_option(level, option, value, size);
  }
  int number = 0;
  if (value == nullptr) return -EFAULT;
  if (size < sizeof(number)) return -EINVAL;
  std::memcpy(&number, value, sizeof(number));
  tells_address_ = number != 0;
  return 0;
}

int udp_socket::shutdown(int how) {
  if (how < SHUT_RD || how > SHUT_RDWR) return -EINVAL;
  if (!connected_) return -ENOTCONN;
  if (how != SHUT_WR) read_stopped_ = true;
  if (how != SHUT_RD) write_stopped_ = true;
  changed(true, true);
  return 0;
}

unsigned udp_socket::poll_state() noexcept {
  unsigned state = POLLOUT | POLLWRNORM;
  if (!queue_.empty() || read_stopped_) state |= POLLIN | POLLRDNORM;
  if (read_stopped_) state |= POLLRDHUP;
  if (read_stopped_ && write_stopped_) state |= POLLHUP;
  if (error_ != 0) state |= POLLERR;
  return state;
}

int udp_socket::pending_error() noexcept { return std::exchange(error_, 0); }

int udp_socket::score(const packet& arrived) const noexcept {
  if (!covers(claim_, arrived.destination.ip)) return 0;
  if (connected_) {
    if (!shown_.ip.is_any() && shown_.ip != arrived.destination.ip) return 0;
    return peer_ == arrived.source ? 3 : 0;
  }
  return claim_.local.ip.is_any() ? 1 : 2;
}

void udp_socket::receive(packet& arrived) {
  const std::size_t cost = arrived.payload.size() + datagram_overhead;
  if (read_stopped_ || queued_size_ + cost > receive_size_ * 2) return;  // dropped, as in life
  queued_size_ += cost;
  queue_.push_back({arrived.source, arrived.destination.ip, std::move(arrived.payload)});
  changed(true, false);
}

void udp_socket::unreachable(const endpoint& to, int error) {
  if (!connected_ || peer_ != to) return;  // others are told only if they ask for it (IP_RECVERR)
  error_ = error;
  changed(true, true);
}

bool udp_socket::bind_if_needed(int& status) {
  if (is_bound_) return true;
  status = claim_port();
  return status == 0;
}

int udp_socket::connect(const request& tried) {
  sa_family_t given = AF_UNSPEC;
  const auto size = static_cast<unsigned>(tried.offset);
  if (size >= sizeof(given)) std::memcpy(&given, tried.memory, sizeof(given));
  if (given == AF_UNSPEC && size >= sizeof(given)) {
    connected_ = false;
    return 0;
  }
  endpoint to;
  if (const int status = resolve(tried.memory, size, to); status < 0) return status;
  endpoint from = claim_.local;
  if (from.ip.is_any() && !node_->source_for(to.ip, from.ip)) return -ENETUNREACH;
  if (from.ip.v6 != to.ip.v6) return -ENETUNREACH;
  int status = 0;
  if (!bind_if_needed(status)) return status == -EADDRINUSE ? -EAGAIN : status;
  shown_ = {from.ip, claim_.local.port};
  peer_ = to;
  connected_ = true;
  return 0;
}

/// False when the host has no way there, or not the address that was asked for.
bool udp_socket::source_of(const request& tried, const endpoint& to,
                           endpoint& from) const noexcept {
  from = connected_ ? shown_ : claim_.local;
  if (tried.has_source) {
    from.ip = tried.source;
    return node_->owns(from.ip) && from.ip.v6 == to.ip.v6;
  }
  if (from.ip.is_any() && !node_->source_for(to.ip, from.ip)) return false;
  return from.ip.v6 == to.ip.v6;
}

int udp_socket::send(request& tried) {
  if ((tried.flags & ~send_flags) != 0) return refuse("send flags " + std::to_string(tried.flags));
  if (!tried.has_destination && !connected_) return -EDESTADDRREQ;
  endpoint to = tried.has_destination ? tried.destination : peer_;
  if (!to.ip.v6 && family_ == AF_INET6 && v6_only_) return -ENETUNREACH;
  if (to.ip.is_any()) to.ip = address::loopback(to.ip.v6);
  if (to.port == 0) return -EINVAL;
  const std::size_t size = total_size(tried.pieces);
  if (size > (to.ip.v6 ? datagram_max_v6 : datagram_max_v4)) return -EMSGSIZE;
  if (to.ip.is_multicast()) return refuse("multicast");
  if (!to.ip.v6 && std::all_of(to.ip.bytes.begin(), to.ip.bytes.begin() + 4,
                               [](std::uint8_t each) { return each == 0xff; })) {
    return keeps_broadcast_ ? refuse("broadcast") : -EACCES;
  }
  if (write_stopped_) return -EPIPE;
  if (error_ != 0) return -std::exchange(error_, 0);
  endpoint from;
  if (!source_of(tried, to, from)) return tried.has_source ? -EINVAL : -ENETUNREACH;
  int status = 0;
  if (!bind_if_needed(status)) return status == -EADDRINUSE ? -EAGAIN : status;
  from.port = claim_.local.port;

  packet& made = node_->wire.make_packet();
  made.kind = packet_kind::udp;
  made.source = from;
  made.destination = to;
  made.payload.reserve(size);
  for (const iovec& piece : tried.pieces) {
    const auto* const bytes = static_cast<const std::byte*>(piece.iov_base);
    made.payload.insert(made.payload.end(), bytes, bytes + piece.iov_len);
  }
  node_->wire.transmit(*node_, made);
  return static_cast<int>(size);
}

// ---------------------------------------------------------------- receiving

void udp_socket::drop_first() {
  queued_size_ -= queue_.front().bytes.size() + datagram_overhead;
  queue_.pop_front();
}

unsigned udp_socket::write_name(void* into, unsigned room) const {
  encode(queue_.front().from, family_, into, room);
  return room;
}

/// The own address that a datagram came to, as a control message. Gives the message's size.
unsigned udp_socket::write_control(void* into, unsigned room, int& flags) const noexcept {
  if (!tells_address_) return 0;
  const datagram& taken = queue_.front();
  const auto put = [&](int level, int type, const auto& content) -> unsigned {
    if (room < CMSG_SPACE(sizeof(content))) {
      flags |= MSG_CTRUNC;
      return 0;
    }
    auto* const message = static_cast<cmsghdr*>(into);
    message->cmsg_level = level;
    message->cmsg_type = type;
    message->cmsg_len = CMSG_LEN(sizeof(content));
    std::memcpy(CMSG_DATA(message), &content, sizeof(content));
    return CMSG_SPACE(sizeof(content));
  };
  const unsigned interface = taken.to.is_loopback() ? 1 : 2;
  if (family_ == AF_INET6) {
    in6_pktinfo told{};
    sockaddr_in6 name{};
    unsigned length = sizeof(name);
    encode({taken.to, 0}, AF_INET6, &name, length);  // an IPv4 address as a mapped one
    told.ipi6_addr = name.sin6_addr;
    told.ipi6_ifindex = interface;
    return put(IPPROTO_IPV6, IPV6_PKTINFO, told);
  }
  in_pktinfo told{};
  told.ipi_ifindex = static_cast<int>(interface);
  std::memcpy(&told.ipi_addr, taken.to.bytes.data(), sizeof(told.ipi_addr));
  told.ipi_spec_dst = told.ipi_addr;
  return put(IPPROTO_IP, IP_PKTINFO, told);
}

progress udp_socket::attempt(request& tried) {
  int result = 0;
  switch (tried.opcode) {
    case IORING_OP_CONNECT:
      result = connect(tried);
      break;
    case IORING_OP_RECV:
    case IORING_OP_RECVMSG:
    case IORING_OP_READ:
      return receive_from(*this, tried);
    case IORING_OP_SEND:
    case IORING_OP_SENDMSG:
    case IORING_OP_WRITE:
      result = send(tried);
      break;
    default:
      result = -EOPNOTSUPP;
      break;
  }
  tried.owner->finish(tried, result);
  return progress::finished;
}

}  // namespace rill::sim::detail
