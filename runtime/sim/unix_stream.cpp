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

constexpr unsigned receive_flags = MSG_PEEK | MSG_WAITALL | MSG_DONTWAIT | MSG_NOSIGNAL;
constexpr unsigned send_flags = MSG_WAITALL | MSG_DONTWAIT | MSG_NOSIGNAL | MSG_MORE;
// receive_state(), connect(): nothing to say yet.
constexpr int wait = 1;

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
  wake_clients();
  return 0;
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

progress unix_stream::accept(request& tried) {
  const bool multishot = (tried.modifiers & IORING_ACCEPT_MULTISHOT) != 0;
  if (!listening_ || read_stopped_) {
    tried.owner->finish(tried, -EINVAL);
    return progress::finished;
  }
  for (bool first = true; first || !ready_.empty(); first = false) {
    if (!node_->has_free_descriptor()) {
      tried.owner->finish(tried, -EMFILE);
      return progress::finished;
    }
    if (ready_.empty()) return progress::would_block;
    const std::shared_ptr<unix_stream> taken = std::move(ready_.front());
    ready_.pop_front();
    wake_clients();
    const int descriptor = node_->open(taken);
    if (tried.memory != nullptr && !multishot) {
      auto& size = *reinterpret_cast<socklen_t*>(tried.offset);
      unsigned length = size;
      encode_unix(taken->peer_name_, tried.memory, length);
      size = length;
    }
    if (!multishot || !tried.owner->post_more(tried, descriptor, 0)) {
      tried.owner->finish(tried, descriptor);
      return progress::finished;
    }
  }
  return progress::would_block;
}

// ---------------------------------------------------------------- receiving

bool unix_stream::receive_is_over() const noexcept {
  return peer_finished_ || read_stopped_ || error_ != 0 || !connected_;
}

int unix_stream::receive_state() {
  if (!connected_) return -EINVAL;
  if (error_ != 0) return -std::exchange(error_, 0);
  return peer_finished_ || read_stopped_ ? 0 : wait;
}

progress unix_stream::receive_into_buffers(request& tried) {
  const bool multishot = (tried.modifiers & IORING_RECV_MULTISHOT) != 0;
  for (;;) {
    selected_buffer chosen;
    if (!tried.owner->select_buffer(tried, chosen)) {
      tried.owner->finish(tried, -ENOBUFS);
      return progress::finished;
    }
    if (incoming_.empty()) {
      const int state = receive_state();
      if (state == wait) return progress::would_block;
      tried.owner->finish(tried, state);
      return progress::finished;
    }
    const std::size_t size = tried.limited(std::min(chosen.size, incoming_.size()));
    std::memcpy(chosen.memory, incoming_.data(), size);
    if ((tried.flags & MSG_PEEK) == 0) incoming_.consume(size);
    tried.owner->take_buffer(tried);
    const int result = static_cast<int>(size);
    const bool goes_on = multishot && tried.owner->post_more(tried, result, chosen.flags);
    if (!goes_on) tried.owner->finish(tried, result, chosen.flags);
    if (const std::shared_ptr<unix_stream> peer = peer_.lock()) peer->changed(false, true);
    if (!goes_on) return progress::finished;
  }
}

progress unix_stream::receive(request& tried) {
  if ((tried.flags & ~receive_flags) != 0) {
    tried.owner->finish(tried, refuse("receive flags " + std::to_string(tried.flags)));
    return progress::finished;
  }
  if ((tried.sqe_flags & IOSQE_BUFFER_SELECT) != 0) return receive_into_buffers(tried);
  std::size_t wanted = 0;
  for (const iovec& piece : tried.pieces) wanted += piece.iov_len;
  const bool peek = (tried.flags & MSG_PEEK) != 0;
  const bool all = (tried.flags & MSG_WAITALL) != 0 && !peek;
  const bool is_nothing = wanted == 0 && !incoming_.empty();  // asked for, and there is some
  std::size_t size = 0;
  int result = 0;
  for (;;) {
    size = tried.limited(tried.done + std::min(wanted - tried.done, incoming_.size())) - tried.done;
    scatter(tried.pieces, tried.done, incoming_.data(), size);
    result = static_cast<int>(tried.done + size);
    if (!peek) {
      incoming_.consume(size);
      tried.done += size;
    }
    const bool is_cut = tried.done == tried.size_limit;  // by a fault
    if (!all || result == 0 || tried.done == wanted || is_cut || receive_is_over()) break;
    // The room may bring more at once, which nobody else would tell us of: we do not wait yet.
    if (const std::shared_ptr<unix_stream> peer = peer_.lock(); peer != nullptr && size != 0) {
      peer->changed(false, true);
    }
    if (incoming_.empty()) return progress::would_block;
  }
  if (result == 0 && !is_nothing) {
    result = receive_state();
    if (result == wait) return progress::would_block;
  }
  if (tried.header != nullptr && result >= 0) {
    tried.header->msg_namelen = 0;
    tried.header->msg_controllen = 0;
    tried.header->msg_flags = 0;
  }
  const std::shared_ptr<unix_stream> peer = peer_.lock();
  tried.owner->finish(tried, result);
  if (peer != nullptr && size != 0) peer->changed(false, true);
  return progress::finished;
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
      return accept(tried);
    case IORING_OP_CONNECT:
      if (const int status = connect(tried); status != wait) {
        tried.owner->finish(tried, status);
        return progress::finished;
      }
      return progress::would_block;
    case IORING_OP_RECV:
    case IORING_OP_RECVMSG:
    case IORING_OP_READ:
      return receive(tried);
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
