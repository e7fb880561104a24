// Unix streams: what unix(7) and net/unix/af_unix.c answer. See unix_socket.h.
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

constexpr unsigned send_flags = MSG_WAITALL | MSG_DONTWAIT | MSG_NOSIGNAL | MSG_MORE;

}  // namespace

unix_stream::unix_stream(node& on) : unix_socket(on, SOCK_STREAM) {}

unix_stream::~unix_stream() {
  wake_clients();
  for (const std::shared_ptr<unix_stream>& each : std::exchange(ready_, {})) {
    // Never accepted: its destructor tells the client, as for any unread connection.
    each->error_ = ECONNRESET;
  }
  const std::shared_ptr<unix_stream> peer = peer_.lock();
  if (peer == nullptr) return;
  // unix_release_sock(): bytes that nobody will read any more are a reset.
  if (!incoming_.empty() || error_ == ECONNRESET) peer->error_ = ECONNRESET;
  peer->peer_finished_ = true;
  peer->peer_.reset();
  peer->changed(true, true);
}

void unix_stream::join(const std::shared_ptr<unix_stream>& one,
                       const std::shared_ptr<unix_stream>& other) {
  one->peer_ = other;
  other->peer_ = one;
  one->connected_ = other->connected_ = true;
  one->peer_name_ = other->shown_name_;
  other->peer_name_ = one->shown_name_;
}

void unix_stream::make_pair(node& on, std::shared_ptr<file>& first, std::shared_ptr<file>& second) {
  const auto one = std::make_shared<unix_stream>(on);
  const auto other = std::make_shared<unix_stream>(on);
  join(one, other);
  first = one;
  second = other;
}

int unix_stream::listen(int backlog) {
  if (connected_ || name_.empty()) return -EINVAL;
  const int most = node_->world.options.backlog_max;
  backlog_ = static_cast<std::size_t>(backlog < 0 || backlog > most ? most : backlog);
  listening_ = true;
  return 0;
}

int unix_stream::peer_name(void* name, unsigned& size) {
  if (!connected_ || peer_is_gone()) return -ENOTCONN;
  encode_unix(peer_name_, name, size);
  return 0;
}

int unix_stream::shutdown(int how) {
  if (how < SHUT_RD || how > SHUT_RDWR) return -EINVAL;
  const bool reads = how != SHUT_WR;
  const bool writes = how != SHUT_RD;
  if (reads) read_stopped_ = true;
  if (writes) write_stopped_ = true;
  if (const std::shared_ptr<unix_stream> peer = peer_.lock()) {
    if (writes) peer->peer_finished_ = true;
    if (reads) peer->write_stopped_ = true;
    peer->changed(true, true);
  }
  changed(true, true);
  return 0;  // who waits to connect here goes on waiting: unix_shutdown() wakes nobody
}

unsigned unix_stream::poll_state() noexcept {
  if (listening_) return ready_.empty() ? 0U : unsigned{POLLIN | POLLRDNORM};
  unsigned state = 0;
  const bool read_over = read_stopped_ || peer_finished_;
  if (!connected_ || peer_is_gone() || (read_over && write_stopped_)) state |= POLLHUP;
  if (read_over) state |= POLLIN | POLLRDNORM | POLLRDHUP;
  if (!incoming_.empty()) state |= POLLIN | POLLRDNORM;
  const std::shared_ptr<unix_stream> peer = peer_.lock();
  // unix_writable(): a quarter of the buffer at most is under way.
  if (peer == nullptr || peer->incoming_.size() * 4 <= send_size_) state |= POLLOUT | POLLWRNORM;
  if (error_ != 0) state |= POLLERR;
  return state;
}

int unix_stream::pending_error() noexcept { return std::exchange(error_, 0); }

// ---------------------------------------------------------------- connecting

/// 0, a negative errno, or `wait` while the listener's queue is full.
int unix_stream::connect(const request& tried) {
  std::string to;
  if (const int status = decode_unix(tried.memory, static_cast<unsigned>(tried.offset), to);
      status < 0) {
    return status;
  }
  std::shared_ptr<unix_socket> bound;
  if (const int status = find_bound(to, bound); status < 0) return status;
  const auto listener = std::static_pointer_cast<unix_stream>(bound);
  if (!listener->listening_ || listener->read_stopped_) return -ECONNREFUSED;
  if (listening_) return -EINVAL;
  if (connected_) return -EISCONN;
  const auto self = std::static_pointer_cast<unix_stream>(shared_from_this());
  if (listener->ready_.size() > listener->backlog_) {
    listener->waiting_clients_.push_back(self);
    return wait;
  }
  const auto made = std::make_shared<unix_stream>(*node_);
  made->shown_name_ = listener->name_;
  join(self, made);
  listener->ready_.push_back(made);
  listener->changed(true, false);
  return 0;
}

/// There is room in the queue, or there never will be.
void unix_stream::wake_clients() {
  for (const std::weak_ptr<unix_stream>& each : std::exchange(waiting_clients_, {})) {
    if (const std::shared_ptr<unix_stream> client = each.lock()) client->changed(false, true);
  }
}

int unix_stream::open_ready(void* name, socklen_t* size) {
  const std::shared_ptr<unix_stream> taken = std::move(ready_.front());
  ready_.pop_front();
  wake_clients();
  if (name != nullptr) {
    unsigned length = *size;
    encode_unix(taken->peer_name_, name, length);
    *size = length;
  }
  return node_->open(taken);
}

// ---------------------------------------------------------------- receiving

bool unix_stream::is_receive_over() const noexcept {
  return peer_finished_ || read_stopped_ || error_ != 0 || !connected_;
}

int unix_stream::receive_state() {
  if (!connected_) return -EINVAL;
  if (error_ != 0) return -std::exchange(error_, 0);
  return peer_finished_ || read_stopped_ ? 0 : wait;
}

void unix_stream::room_is_made() {
  if (const std::shared_ptr<unix_stream> peer = peer_.lock()) peer->changed(false, true);
}

// ---------------------------------------------------------------- sending

int unix_stream::send_failure() {
  if (!connected_) return -ENOTCONN;
  if (write_stopped_ || peer_is_gone()) {
    return error_ != 0 ? -std::exchange(error_, 0) : -EPIPE;
  }
  return 0;
}

std::size_t unix_stream::write(const std::byte* from, std::size_t size) {
  const std::shared_ptr<unix_stream> peer = peer_.lock();
  const std::size_t used = peer->incoming_.size();
  const std::size_t taken = used < send_size_ ? std::min(size, send_size_ - used) : 0;
  if (taken == 0) return 0;
  peer->incoming_.append(from, taken);
  return taken;
}

int unix_stream::write_now(const std::byte* from, std::size_t size) {
  if (const int failure = send_failure(); failure != 0) return failure;
  const std::size_t taken = write(from, size);
  if (taken == 0) return -EAGAIN;
  wake_peer();
  return static_cast<int>(taken);
}

/// Writes from the first piece that is not done. False: no room.
bool unix_stream::send_piece(request& tried) {
  std::size_t position = 0;
  for (const iovec& piece : tried.pieces) {
    position += piece.iov_len;
    if (position <= tried.done) continue;
    const std::size_t left = position - tried.done;
    const auto* const from = static_cast<const std::byte*>(piece.iov_base) + (piece.iov_len - left);
    const std::size_t taken = write(from, tried.limited(position) - tried.done);
    tried.done += taken;
    return taken != 0;
  }
  return false;
}

progress unix_stream::send(request& tried) {
  if ((tried.flags & ~send_flags) != 0) {
    tried.owner->finish(tried, refuse("send flags " + std::to_string(tried.flags)));
    return progress::finished;
  }
  if (tried.has_destination) {
    tried.owner->finish(tried, connected_ ? -EISCONN : -EOPNOTSUPP);
    return progress::finished;
  }
  if (const int failure = send_failure(); failure != 0) {
    tried.owner->finish(tried, tried.done != 0 ? static_cast<int>(tried.done) : failure);
    return progress::finished;
  }
  std::size_t total = 0;
  for (const iovec& piece : tried.pieces) total += piece.iov_len;
  std::size_t before = 0;
  do {
    before = tried.done;
    while (tried.done != tried.limited(total) && send_piece(tried)) {
    }
    if (tried.done == tried.limited(total)) break;
    if (tried.done != before) wake_peer();  // which may make room at once
  } while (tried.done != before && !peer_is_gone());
  const bool partly =
      tried.done != 0 && ((tried.flags & MSG_WAITALL) == 0 || tried.done == tried.size_limit);
  if (tried.done != total && !partly) return progress::would_block;
  // The sender's completion comes first, as on Linux.
  tried.owner->finish(tried, static_cast<int>(tried.done));
  wake_peer();
  return progress::finished;
}

void unix_stream::wake_peer() {
  if (const std::shared_ptr<unix_stream> peer = peer_.lock()) peer->changed(true, false);
}

progress unix_stream::attempt(request& tried) {
  switch (tried.opcode) {
    case IORING_OP_ACCEPT:
      if (listening_ && !read_stopped_) return accept_at(*this, *node_, tried);
      tried.owner->finish(tried, -EINVAL);
      return progress::finished;
    case IORING_OP_CONNECT:
      if (const int status = connect(tried); status != wait) {
        tried.owner->finish(tried, status);
        return progress::finished;
      }
      return progress::would_block;
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
