// Requests on TCP sockets. What they answer in which state was compared with Linux 6.18.
// See tcp_socket.h.
#include <rill/runtime/sim/tcp_socket.h>

#include <linux/tcp.h>
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

constexpr unsigned send_flags = MSG_WAITALL | MSG_DONTWAIT | MSG_NOSIGNAL | MSG_MORE;

}  // namespace

tcp_socket::tcp_socket(node& on, int socket_family)
    : internet_socket(on, socket_family, SOCK_STREAM) {}

tcp_socket::tcp_socket(tcp_socket& listener, std::shared_ptr<tcp_connection> accepted)
    : internet_socket(listener.host(), listener.family(), SOCK_STREAM),
      connection_(std::move(accepted)) {
  claim_.reuse_address = listener.claim_.reuse_address;
  claim_.reuse_port = listener.claim_.reuse_port;
  v6_only_ = listener.v6_only_;
  no_delay_ = listener.no_delay_;
  linger_ = listener.linger_;
  linger_seconds_ = listener.linger_seconds_;
  timing_ = listener.timing_;
  send_size_ = listener.send_size_;
  receive_size_ = listener.receive_size_;
  connection_->listener = nullptr;
  connection_->owner = this;
}

tcp_socket::~tcp_socket() {
  close_listener();
  if (connection_ != nullptr) connection_->release(linger_);
  give_up_port();
}

void tcp_socket::close_listener() {
  claim_.listening = false;
  for (const std::shared_ptr<tcp_connection>& each : std::exchange(ready_, {})) {
    each->listener = nullptr;
    each->abort();
  }
  for (tcp_connection* each : std::exchange(half_open_, {})) {
    each->listener = nullptr;
    each->abort();
  }
}

int tcp_socket::listen(int backlog) {
  if (connection_ != nullptr) return -EINVAL;
  if (!is_bound_) {
    if (const int status = claim_port(); status < 0) return status;
  } else if (!claim_.listening && ports().conflicts(claim_)) {
    return -EADDRINUSE;  // somebody else who may share the port listens already
  }
  claim_.listening = true;
  claim_.holder = this;
  const int most = engine_->options.backlog_max;
  backlog_ = static_cast<std::size_t>(backlog < 0 || backlog > most ? most : backlog);
  return 0;
}

int tcp_socket::shutdown(int how) {
  if (how < SHUT_RD || how > SHUT_RDWR) return -EINVAL;
  if (claim_.listening) {
    if (how == SHUT_WR) return 0;
    const std::shared_ptr<file> self = shared_from_this();
    close_listener();
    give_up_port();
    changed(true, true);
    return 0;
  }
  if (connection_ == nullptr || connection_->is_closed()) return -ENOTCONN;
  const std::shared_ptr<tcp_connection> held = connection_;
  if (held->state() == tcp_state::syn_sent) {
    held->release(false);
    held->owner = this;
    changed(true, true);
    return 0;
  }
  if (how != SHUT_WR) held->stop_reading();
  if (how != SHUT_RD) held->finish_sending();
  changed(true, true);
  return 0;
}

unsigned tcp_socket::poll_state() noexcept {
  if (claim_.listening) return ready_.empty() ? 0U : unsigned{POLLIN | POLLRDNORM};
  if (connection_ == nullptr) return POLLOUT | POLLHUP;
  const tcp_connection& of = *connection_;
  unsigned state = 0;
  const bool read_over = of.peer_finished() || of.reading_stopped() || of.is_closed();
  const bool write_over = of.finished_sending() || of.is_closed();
  if ((read_over && write_over) || of.is_closed()) state |= POLLHUP;
  if (read_over) state |= POLLIN | POLLRDNORM | POLLRDHUP;
  if (of.state() != tcp_state::syn_sent) {
    if (!of.incoming().empty()) state |= POLLIN | POLLRDNORM;
    if (write_over || of.is_writable()) state |= POLLOUT | POLLWRNORM;
  }
  if (of.has_error()) state |= POLLERR;
  return state;
}

const endpoint* tcp_socket::peer() const noexcept {
  if (connection_ == nullptr || connection_->is_closed() ||
      connection_->state() == tcp_state::syn_sent) {
    return nullptr;
  }
  return &connection_->peer();
}

const endpoint& tcp_socket::local() const noexcept {
  return connection_ == nullptr ? claim_.local : connection_->local();
}

int tcp_socket::pending_error() noexcept {
  return connection_ == nullptr ? 0 : connection_->take_error();
}

void tcp_socket::options_changed() {
  if (connection_ == nullptr) return;
  connection_->set_timing(timing_);
  connection_->set_capacities(send_size_, receive_size_);
  connection_->claim().reuse_address = claim_.reuse_address;
  connection_->claim().reuse_port = claim_.reuse_port;
}

// ---------------------------------------------------------------- listening

void tcp_socket::opened(const packet& syn) {
  // A full queue forgets the SYN; the client asks again (tcp_conn_request()).
  if (ready_.size() > backlog_ || half_open_.size() > backlog_) return;
  const auto made = std::make_shared<tcp_connection>(*node_, syn.destination, syn.source);
  half_open_.push_back(made.get());
  made->accept(syn, *this);
}

void tcp_socket::inherit(tcp_connection& opened) noexcept {
  opened.set_capacities(send_size_, receive_size_);
  opened.set_timing(timing_);
  opened.claim().reuse_address = claim_.reuse_address;
  opened.claim().reuse_port = claim_.reuse_port;
}

void tcp_socket::established(std::shared_ptr<tcp_connection> ready) {
  forget(*ready);
  ready_.push_back(std::move(ready));
  changed(true, false);
}

void tcp_socket::forget(tcp_connection& failed) noexcept { std::erase(half_open_, &failed); }

int tcp_socket::open_ready(void* name, socklen_t* size) {
  const std::shared_ptr<tcp_connection> taken = std::move(ready_.front());
  ready_.pop_front();
  if (name != nullptr) {
    unsigned length = *size;
    encode(taken->peer(), family_, name, length);
    *size = length;
  }
  return node_->open(std::make_shared<tcp_socket>(*this, taken));
}

// ---------------------------------------------------------------- connecting

bool tcp_socket::choose_port(endpoint& local, const endpoint& peer) const {
  constexpr unsigned first = port_table::ephemeral_first;
  constexpr unsigned count = port_table::ephemeral_last - first + 1U;
  const auto start = static_cast<unsigned>(node_->random.below(count));
  for (unsigned i = 0; i < count; ++i) {
    local.port = static_cast<std::uint16_t>(first + (start + i) % count);
    if (local == peer) continue;  // a connection to itself
    // Ports of listeners and bound sockets are left alone; connections may share one as long as
    // their other ends differ (__inet_hash_connect()).
    const std::vector<port_claim*>* const claims = node_->tcp_ports.find(local.port);
    if (claims != nullptr &&
        std::any_of(claims->begin(), claims->end(),
                    [](const port_claim* each) { return each->is_explicit; })) {
      continue;
    }
    if (node_->find_connection({local, peer}) == nullptr) return true;
  }
  return false;
}

int tcp_socket::start_connecting(request& tried) {
  if (claim_.listening) return -EISCONN;
  if (connection_ != nullptr && !connection_->is_closed()) {
    return connection_->state() == tcp_state::syn_sent ? -EALREADY : -EISCONN;
  }
  endpoint to;
  if (const int status = resolve(tried.memory, static_cast<unsigned>(tried.offset), to);
      status < 0) {
    return status;
  }
  endpoint from = claim_.local;
  if (from.ip.is_any() && !node_->source_for(to.ip, from.ip)) return -ENETUNREACH;
  if (from.ip.v6 != to.ip.v6) return -ENETUNREACH;
  if (from.port == 0) {
    if (!choose_port(from, to)) return -EADDRNOTAVAIL;
  } else if (from == to) {
    return refuse("a connection of a socket to itself");
  } else if (node_->find_connection({from, to}) != nullptr) {
    return -EADDRNOTAVAIL;
  }
  connection_ = std::make_shared<tcp_connection>(*node_, from, to);
  connection_->owner = this;
  options_changed();
  connection_->connect(send_size_, receive_size_);
  return 0;
}

progress tcp_socket::connect(request& tried) {
  int result = 0;
  if (!tried.started) {
    tried.started = true;
    result = start_connecting(tried);
    if (result == 0) return progress::would_block;
  } else if (connection_->state() == tcp_state::syn_sent) {
    return progress::would_block;
  } else if (const int error = connection_->take_error(); error != 0) {
    result = -error;
    connection_.reset();
  } else if (connection_->is_closed()) {
    result = -ECONNABORTED;
  }
  tried.owner->finish(tried, result);
  return progress::finished;
}

// ---------------------------------------------------------------- receiving

const byte_queue* tcp_socket::received() const noexcept {
  return connection_ == nullptr ? nullptr : &connection_->incoming();
}

int tcp_socket::receive_state() {
  if (connection_ == nullptr) return -ENOTCONN;
  tcp_connection& from = *connection_;
  if (from.peer_finished()) return 0;
  if (const int error = from.take_error(); error != 0) return -error;
  if (from.reading_stopped() || from.is_closed()) return 0;
  return wait;
}

bool tcp_socket::is_receive_over() const noexcept {
  return connection_->peer_finished() || connection_->has_error() ||
         connection_->reading_stopped() || connection_->is_closed();
}

bool tcp_socket::has_more() const noexcept {
  return connection_ != nullptr &&
         (!connection_->incoming().empty() || connection_->peer_finished());
}

// ---------------------------------------------------------------- sending

bool tcp_socket::is_send_over() const noexcept {
  return connection_ == nullptr || connection_->has_error() || connection_->is_closed() ||
         connection_->finished_sending();
}

int tcp_socket::send_failure() {
  if (!is_send_over()) return 0;
  const int error = connection_ == nullptr ? 0 : connection_->take_error();
  return error != 0 ? -error : -EPIPE;
}

void tcp_socket::lose_connection() {
  if (connection_ == nullptr || connection_->state() == tcp_state::syn_sent) return;
  connection_->abort();
  changed(true, true);
}

/// Of TCP_INFO only how much was acknowledged.
int tcp_socket::get_option(int level, int option, void* value, unsigned& size) {
  if (level != IPPROTO_TCP || option != TCP_INFO || value == nullptr) {
    return internet_socket::get_option(level, option, value, size);
  }
  tcp_info told{};
  told.tcpi_bytes_acked = connection_ == nullptr ? 0 : connection_->acknowledged_size();
  size = std::min<unsigned>(size, sizeof(told));
  std::memcpy(value, &told, size);
  return 0;
}

bool tcp_socket::keep_until_acknowledged(request& sent) {
  return connection_ != nullptr && connection_->keep_until_acknowledged(sent);
}

int tcp_socket::write_now(const std::byte* from, std::size_t size) {
  if (connection_ != nullptr && connection_->state() == tcp_state::syn_sent) return -EAGAIN;
  if (const int failure = send_failure(); failure != 0) return failure;
  const std::size_t taken = connection_->write(from, size);
  return taken == 0 ? -EAGAIN : static_cast<int>(taken);
}

progress tcp_socket::send(request& tried) {
  if ((tried.flags & ~send_flags) != 0) {
    tried.owner->finish(tried, refuse("send flags " + std::to_string(tried.flags)));
    return progress::finished;
  }
  if (connection_ != nullptr && connection_->state() == tcp_state::syn_sent) {
    return progress::would_block;
  }
  // What was sent before is told first; the error waits for the next call.
  if (tried.done != 0 && is_send_over()) {
    tried.owner->finish(tried, static_cast<int>(tried.done));
    return progress::finished;
  }
  if (const int failure = send_failure(); failure != 0) {
    tried.owner->finish(tried, failure);
    return progress::finished;
  }
  std::size_t position = 0;
  std::size_t total = 0;
  bool full = false;
  for (const iovec& piece : tried.pieces) {
    total += piece.iov_len;
    const std::size_t skipped =
        std::min(piece.iov_len, tried.done - std::min(position, tried.done));
    position += piece.iov_len;
    if (full || skipped == piece.iov_len) continue;
    const std::size_t wanted = tried.limited(tried.done + piece.iov_len - skipped) - tried.done;
    const std::size_t taken =
        connection_->write(static_cast<const std::byte*>(piece.iov_base) + skipped, wanted);
    tried.done += taken;
    full = taken != piece.iov_len - skipped;
  }
  const bool partly =
      tried.done != 0 && ((tried.flags & MSG_WAITALL) == 0 || tried.done == tried.size_limit);
  if (tried.done != total && !partly) return progress::would_block;
  tried.owner->finish(tried, static_cast<int>(tried.done));
  return progress::finished;
}

progress tcp_socket::attempt(request& tried) {
  switch (tried.opcode) {
    case IORING_OP_ACCEPT:
      if (claim_.listening) return accept_at(*this, *node_, tried);
      tried.owner->finish(tried, -EINVAL);
      return progress::finished;
    case IORING_OP_CONNECT:
      return connect(tried);
    case IORING_OP_RECV:
    case IORING_OP_RECVMSG:
    case IORING_OP_READ:
      return receive_from(*this, tried);
    case IORING_OP_SEND:
    case IORING_OP_SENDMSG:
    case IORING_OP_SEND_ZC:
    case IORING_OP_WRITE:
      return send(tried);
    default:
      tried.owner->finish(tried, -EOPNOTSUPP);
      return progress::finished;
  }
}

}  // namespace rill::sim::detail
