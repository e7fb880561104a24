// Unix datagrams: in order, none lost; a full receiver makes its senders wait. See unix_socket.h.
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <rill/runtime/sim/kernel.h>
#include <rill/runtime/sim/node.h>
#include <rill/runtime/sim/unix_socket.h>
#include <rill/runtime/uring_abi.h>

namespace rill::sim::detail {
namespace {

constexpr unsigned send_flags = MSG_WAITALL | MSG_DONTWAIT | MSG_NOSIGNAL;
// net.unix.max_dgram_qlen: the queue is full when there are more than this many in it.
constexpr std::size_t queue_max = 10;
// What unix_dgram_sendmsg() leaves of the send buffer for itself.
constexpr std::size_t send_overhead = 32;

}  // namespace

unix_datagram::unix_datagram(node& on) : unix_socket(on, SOCK_DGRAM) {}

unix_datagram::~unix_datagram() { wake_senders(); }

void unix_datagram::keep_waiting(unix_datagram& sender) {
  const auto weak = std::static_pointer_cast<unix_datagram>(sender.shared_from_this());
  const bool is_known =
      std::any_of(waiting_senders_.begin(), waiting_senders_.end(),
                  [&](const std::weak_ptr<unix_datagram>& each) { return each.lock() == weak; });
  if (!is_known) waiting_senders_.push_back(weak);
}

void unix_datagram::wake_senders() {
  for (const std::weak_ptr<unix_datagram>& each : std::exchange(waiting_senders_, {})) {
    if (const std::shared_ptr<unix_datagram> sender = each.lock()) sender->changed(false, true);
  }
}

void unix_datagram::make_pair(node& on, std::shared_ptr<file>& first,
                              std::shared_ptr<file>& second) {
  const auto one = std::make_shared<unix_datagram>(on);
  const auto other = std::make_shared<unix_datagram>(on);
  one->peer_ = other;
  other->peer_ = one;
  one->connected_ = other->connected_ = true;
  first = one;
  second = other;
}

int unix_datagram::listen(int) { return -EOPNOTSUPP; }

int unix_datagram::peer_name(void* name, unsigned& size) {
  if (!connected_) return -ENOTCONN;
  encode_unix(peer_name_, name, size);
  return 0;
}

int unix_datagram::shutdown(int how) {
  if (how < SHUT_RD || how > SHUT_RDWR) return -EINVAL;
  if (how != SHUT_WR) read_stopped_ = true;
  if (how != SHUT_RD) write_stopped_ = true;
  changed(true, true);
  return 0;
}

bool unix_datagram::is_full() const noexcept { return queue_.size() > queue_max; }

unsigned unix_datagram::poll_state() noexcept {
  unsigned state = 0;
  if (!queue_.empty() || read_stopped_) state |= POLLIN | POLLRDNORM;
  if (read_stopped_) state |= POLLRDHUP;
  if (read_stopped_ && write_stopped_) state |= POLLHUP;
  const std::shared_ptr<unix_datagram> peer = peer_.lock();
  if (peer == nullptr || !peer->is_full()) {
    state |= POLLOUT | POLLWRNORM;
  } else {
    peer->keep_waiting(*this);  // who hears that there is no room is told when there is
  }
  if (error_ != 0) state |= POLLERR;
  return state;
}

int unix_datagram::pending_error() noexcept { return std::exchange(error_, 0); }

int unix_datagram::connect(const request& tried) {
  std::string to;
  if (const int status = decode_unix(tried.memory, static_cast<unsigned>(tried.offset), to);
      status < 0) {
    return status;
  }
  std::shared_ptr<unix_socket> bound;
  if (const int status = find_bound(to, bound); status < 0) return status;
  const auto receiver = std::static_pointer_cast<unix_datagram>(bound);
  const std::shared_ptr<unix_datagram> other = receiver->peer_.lock();
  if (receiver->connected_ && other.get() != this) return -EPERM;
  peer_ = receiver;
  peer_name_ = to;
  connected_ = true;
  return 0;
}

// ---------------------------------------------------------------- sending

int unix_datagram::find_receiver(const request& tried, std::shared_ptr<unix_datagram>& found) {
  if (!tried.has_destination) {
    if (!connected_) return -ENOTCONN;
    found = peer_.lock();
    if (found != nullptr) return 0;
    connected_ = false;
    return -ECONNREFUSED;
  }
  std::shared_ptr<unix_socket> bound;
  if (const int status = find_bound(tried.text, bound); status < 0) return status;
  found = std::static_pointer_cast<unix_datagram>(bound);
  const std::shared_ptr<unix_datagram> other = found->peer_.lock();
  return found->connected_ && other.get() != this ? -EPERM : 0;
}

progress unix_datagram::send(request& tried) {
  int result = 0;
  std::shared_ptr<unix_datagram> to;
  const std::size_t size = total_size(tried.pieces);
  if ((tried.flags & ~send_flags) != 0) {
    result = refuse("send flags " + std::to_string(tried.flags));
  } else if (tried.control_size != 0) {
    result = refuse("control messages");
  } else if (size > send_size_ - send_overhead) {
    result = -EMSGSIZE;
  } else if (write_stopped_) {
    result = -EPIPE;
  } else {
    result = find_receiver(tried, to);
  }
  if (result == 0 && to->read_stopped_) result = -EPIPE;
  if (result < 0) {
    tried.owner->finish(tried, result);
    return progress::finished;
  }
  const auto self = std::static_pointer_cast<unix_datagram>(shared_from_this());
  if (to->is_full()) {
    to->keep_waiting(*this);
    return progress::would_block;
  }
  datagram made;
  made.sender = self;
  made.from = shown_name_;
  made.bytes.reserve(size);
  for (const iovec& piece : tried.pieces) {
    const auto* const bytes = static_cast<const std::byte*>(piece.iov_base);
    made.bytes.insert(made.bytes.end(), bytes, bytes + piece.iov_len);
  }
  to->queue_.push_back(std::move(made));
  tried.owner->finish(tried, static_cast<int>(size));
  to->changed(true, false);
  return progress::finished;
}

// ---------------------------------------------------------------- receiving

void unix_datagram::drop_first() {
  const bool was_full = is_full();
  queue_.pop_front();
  if (was_full) wake_senders();
}

/// unix_copy_addr(): what the sender is bound to now, and nothing for one without a name.
unsigned unix_datagram::write_name(void* into, unsigned room) const {
  const datagram& taken = queue_.front();
  const std::shared_ptr<unix_datagram> sender = taken.sender.lock();
  const std::string& from = sender == nullptr ? taken.from : sender->shown_name_;
  if (from.empty()) return 0;
  encode_unix(from, into, room);
  return room;
}

progress unix_datagram::attempt(request& tried) {
  switch (tried.opcode) {
    case IORING_OP_CONNECT:
      tried.owner->finish(tried, connect(tried));
      return progress::finished;
    case IORING_OP_RECV:
    case IORING_OP_RECVMSG:
    case IORING_OP_READ:
      return receive_from(*this, tried);
    case IORING_OP_SEND:
    case IORING_OP_SENDMSG:
    case IORING_OP_WRITE:
      return send(tried);
    default:
      tried.owner->finish(tried, -EOPNOTSUPP);
      return progress::finished;
  }
}

}  // namespace rill::sim::detail
