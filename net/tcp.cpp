// TCP streams and listeners: connecting, listening, accepting. See tcp.h.
// Not here: options of a stream (tcp_options.cpp).
#include <rill/net/tcp.h>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <deque>
#include <new>

#include <rill/runtime/file.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/timeout.h>
#include <rill/runtime/uring_abi.h>

namespace rill {

static_assert(SHUT_RD == 0 && SHUT_WR == 1 && POLLOUT == 4, "stream_socket names them by number");

// ---------------------------------------------------------------- stream_socket

task<bool> stream_socket::read_exactly(mutable_buffer into) {
  detail::socket_state& socket = *socket_;
  while (!socket.gather(into.size())) {
    if (socket.failure != 0) {
      socket.throw_read_error(error::from_errno(socket.failure, "read"));
    }
    if (socket.ended) co_return false;
    co_await detail::gather_awaiter(socket);
    if (socket.read.result() < 0 && !socket.has_arrived()) {
      socket.throw_read_error(socket.read.take_result().error());
    }
  }
  if (!into.empty()) socket.take_bytes(into);
  co_return true;
}

namespace {

// A part as large as a default send buffer's ceiling, after which others have their turn.
constexpr std::uint64_t send_chunk_size = std::uint64_t{256} * 1024;

}  // namespace

// The file goes out by sendfile(2), which is no operation of the ring: whenever this task gives way
// the stream may be closed by another one, and its descriptor be somebody else's.
task<std::uint64_t> stream_socket::send_file(const file& source, std::uint64_t offset,
                                             std::uint64_t size,
                                             std::chrono::nanoseconds stall_timeout) {
  detail::socket_state& socket = *socket_;
  loop& on = socket.owner_loop();
  std::uint64_t sent = 0;
  while (sent < size) {
    if (socket.abandoned) {
      throw_error(error::from_errno(ECANCELED, "send file"), socket.subject());
    }
    RILL_ASSERT(!socket.write.has_waiter(), "a file and something else are written at once");
    auto position = static_cast<std::int64_t>(offset + sent);
    const auto chunk = static_cast<std::size_t>(std::min(size - sent, send_chunk_size));
    const std::int64_t count =
        on.kernel().sendfile(socket.write.descriptor, source.descriptor(), position, chunk);
    if (count == 0) break;  // the file ends here
    if (count > 0) {
      sent += static_cast<std::uint64_t>(count);
      co_await yield();
    } else if (count == -EAGAIN) {
      std::uint64_t taken = acknowledged_size();
      for (;;) {
        const auto room = co_await as_result(with_timeout(stall_timeout, wait_writable()));
        if (room) break;
        const std::uint64_t before = taken;
        if (room.error().is_timeout()) taken = acknowledged_size();
        if (taken == before) throw_error(room.error(), socket.subject());
      }
    } else if (count != -EINTR) {
      socket.write_ended(static_cast<int>(count));
      throw_error(error::from_errno(static_cast<int>(-count), "send file"), socket.subject());
    }
  }
  co_return sent;
}

// ---------------------------------------------------------------- tcp_stream

tcp_stream tcp_stream::open(const endpoint& peer) {
  detail::check_family(peer, true, "connect");
  loop& on = loop::current();
  const int descriptor = detail::open_socket(on, peer, SOCK_STREAM);
  tcp_stream stream{detail::socket_handle(detail::socket_state::make(on, descriptor))};
  if (const auto ip = peer.ip()) {
    stream.socket_->peer = *ip;
    stream.socket_->has_ip_peer = true;
  }
  stream.set_no_delay(true);
  return stream;
}

task<tcp_stream> tcp_stream::connect(endpoint to) {
  tcp_stream stream = open(to);
  co_await stream.connect_awaiter(to);
  co_return stream;
}

task<tcp_stream> tcp_stream::connect(endpoint to, connection_options options) {
  tcp_stream stream = open(to);
  stream.prepare(options);
  if (options.prepare != nullptr) options.prepare(stream);
  co_await stream.connect_awaiter(to);
  co_return stream;
}

/// Not yet bound or connected, so socket_base's setters could not tell IPv6 by the own address.
void tcp_stream::prepare(const connection_options& options) {
  const bool v6 = peer().kind() == endpoint_kind::ipv6;
  const int level = v6 ? IPPROTO_IPV6 : IPPROTO_IP;
  const auto set_if = [this](int value, int of, int option, const char* name) {
    if (value != 0) set_number(of, option, value, name);
  };
  if (!options.device.empty()) bind_to_device(options.device);
  if (options.mark != 0) set_mark(options.mark);
  set_if(options.type_of_service, level, v6 ? IPV6_TCLASS : IP_TOS, v6 ? "IPV6_TCLASS" : "IP_TOS");
  set_if(options.send_buffer_size, SOL_SOCKET, SO_SNDBUF, "SO_SNDBUF");
  set_if(options.receive_buffer_size, SOL_SOCKET, SO_RCVBUF, "SO_RCVBUF");
  set_if(options.segment_size_max, IPPROTO_TCP, TCP_MAXSEG, "TCP_MAXSEG");
  set_if(options.syn_retry_count, IPPROTO_TCP, TCP_SYNCNT, "TCP_SYNCNT");
  if (options.transparent) {
    set_number(level, v6 ? IPV6_TRANSPARENT : IP_TRANSPARENT, 1, "IP_TRANSPARENT");
  }
  if (options.local.kind() == endpoint_kind::unnamed) return;
  detail::check_family(options.local, true, "bind");
  kernel& calls = owner_loop().kernel();
  if (options.local.port() == 0) {
    // The port is chosen at connect, when the peer is known too: far more of them are free then.
    // Linux 4.2; without it the kernel only runs out of ports earlier.
    const int enabled = 1;
    calls.set_option(descriptor(), IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &enabled, sizeof(enabled));
  } else {
    // Connections that have ended may still hold the port, in TIME_WAIT.
    set_number(SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR");
  }
  const std::span<const std::byte> own = options.local.native();
  detail::checked(calls.bind(descriptor(), own.data(), static_cast<unsigned>(own.size())), "bind",
                  options.local.to_string());
}

tcp_stream tcp_stream::adopt(int descriptor) {
  loop& on = loop::current();
  detail::check_or_close(on, descriptor, detail::adopted_kind::connection, true);
  tcp_stream stream{detail::socket_handle(detail::socket_state::make(on, descriptor))};
  stream.socket_->was_nonblocking = on.kernel().adopt(descriptor);
  stream.set_no_delay(true);
  stream.socket_->lingers = detail::has_linger(on, descriptor);
  if (const auto ip = detail::peer_endpoint(on, descriptor).ip()) {
    stream.socket_->peer = *ip;
    stream.socket_->has_ip_peer = true;
  }
  return stream;
}

int tcp_stream::release() {
  const std::string subject = socket_->subject();
  const int descriptor = socket_.try_release();
  return detail::checked(descriptor < 0 ? -EBUSY : descriptor, "release", subject);
}

// ---------------------------------------------------------------- accepting

namespace detail {

/// One listening socket of a listener.
struct listening {
  listening(loop& on, accept_queue& queue, int descriptor_number) noexcept : accept(on, &queue) {
    accept.descriptor = descriptor_number;
  }
  operation accept;
  bool closing = false;
};

class accept_queue {
 public:
  explicit accept_queue(loop& on) : claim(on, this), on_(&on) { on.object_opened(); }

  loop& owner_loop() const noexcept { return *on_; }
  /// Takes the descriptor.
  void add(int descriptor) {
    try {
      sockets.emplace_back(*on_, *this, descriptor);
    } catch (...) {
      on_->kernel().close(descriptor);
      throw;
    }
  }
  void arm() noexcept;
  void accepted(int result) noexcept;
  void abandon() noexcept;
  void close_if_settled() noexcept;
  std::string subject() const;

  static const operation_type accept_type;
  static const operation_type claim_type;
  static const operation_type close_type;
  /// Connections that may wait here for accept(): beyond it they stay in the kernel's backlog.
  static constexpr std::size_t unclaimed_max = 64;

  operation claim;                // where the task that accepts waits; never in flight itself
  std::deque<listening> sockets;  // addresses stay valid: operations are in flight
  std::deque<int> unclaimed;
  int failure = 0;  // errno that the next accept() is told, once
  bool stopped = false;
  bool is_adopted = false;  // bound by somebody else
  bool abandoned = false;
  bool lingers = false;  // as socket_state has it: connections inherit SO_LINGER
  unsigned closed_count = 0;

 private:
  loop* on_;
};

namespace {

accept_queue& queue_of(const operation& slot) noexcept {
  return *static_cast<accept_queue*>(slot.owner);
}

// --- accept(): IORING_OP_ACCEPT, IORING_ACCEPT_MULTISHOT; Linux 5.19 ---
// Stays armed. ECANCELED: paused. What concerns one connection that is gone already (accept(2)):
// armed anew. Others are told to the caller: EMFILE, ENFILE, ENOBUFS, ENOMEM, who waits before the
// next call; EINVAL, EBADF, ENOTSOCK, EOPNOTSUPP: this socket will never accept.
void prepare_accept(operation& slot, io_uring_sqe& sqe) noexcept {
  ::io_uring_prep_multishot_accept(&sqe, slot.descriptor, nullptr, nullptr, SOCK_CLOEXEC);
}

void complete_accept(operation& slot, int result, unsigned) noexcept {
  queue_of(slot).accepted(result);
}

/// accept(2): network errors of a connection that ended before it was taken, and pauses.
bool is_passing_accept(int number) noexcept {
  switch (number) {
    case ECANCELED:
    case EINTR:
    case EAGAIN:
    case ECONNABORTED:
    case EPROTO:
    case ENOPROTOOPT:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENONET:
    case EPERM:  // a firewall's rule
      return true;
    default:
      return false;
  }
}

void describe_queue(const operation& slot, std::string& text) {
  const accept_queue& queue = queue_of(slot);
  const char* before = " ";
  for (const listening& each : queue.sockets) {
    text += before + local_endpoint(queue.owner_loop(), each.accept.descriptor).to_string() +
            " (descriptor " + std::to_string(each.accept.descriptor) + ')';
    before = ", ";
  }
}

void prepare_close_listening(operation& slot, io_uring_sqe& sqe) noexcept {
  ::io_uring_prep_close(&sqe, slot.descriptor);
}

}  // namespace

const operation_type accept_queue::accept_type{
    "accept", prepare_accept, complete_accept, describe_queue, true, [](operation& slot) noexcept {
      queue_of(slot).close_if_settled();
    }};
const operation_type accept_queue::claim_type{"accept", nullptr, nullptr, describe_queue, true};
const operation_type accept_queue::close_type{"close",
                                              prepare_close_listening,
                                              [](operation& slot, int, unsigned) noexcept {
                                                accept_queue& queue = queue_of(slot);
                                                if (++queue.closed_count == queue.sockets.size())
                                                  slot.owner_loop().retire(slot);
                                              },
                                              describe_queue,
                                              true,
                                              [](operation& slot) noexcept {
                                                accept_queue& queue = queue_of(slot);
                                                queue.owner_loop().object_closed();
                                                delete &queue;
                                              }};

void accept_queue::arm() noexcept {
  if (stopped) return;
  for (listening& each : sockets) {
    if (!each.accept.in_flight()) each.accept.submit(accept_type);
  }
}

void accept_queue::accepted(int result) noexcept {
  if (abandoned) {
    if (result >= 0) on_->kernel().close(result);
    close_if_settled();
    return;
  }
  if (result >= 0) {
    try {
      unclaimed.push_back(result);
    } catch (const std::bad_alloc&) {
      on_->kernel().close(result);
      failure = ENOMEM;
      if (claim.has_waiter()) claim.wake(-ENOMEM);
      return;
    }
    if (claim.has_waiter()) {
      claim.wake(0);
    } else if (unclaimed.size() >= unclaimed_max && !stopped) {
      for (listening& each : sockets) each.accept.request_cancel();
    }
    return;
  }
  if (!is_passing_accept(-result)) {
    failure = -result;
    if (claim.has_waiter()) claim.wake(result);
  } else if (claim.has_waiter()) {
    arm();
  }
}

void accept_queue::abandon() noexcept {
  abandoned = true;
  stopped = true;
  if (claim.has_waiter()) claim.wake(-ECANCELED);
  for (const int descriptor : unclaimed) on_->kernel().close(descriptor);
  unclaimed.clear();
  for (listening& each : sockets) each.accept.request_cancel();
  close_if_settled();
}

void accept_queue::close_if_settled() noexcept {
  if (!abandoned) return;
  if (sockets.empty()) {  // bind has failed
    on_->object_closed();
    delete this;
    return;
  }
  for (listening& each : sockets) {
    if (each.closing || !each.accept.is_settled()) continue;
    each.closing = true;
    each.accept.submit(close_type);
  }
}

std::string accept_queue::subject() const {
  return sockets.empty() ? std::string()
                         : local_endpoint(*on_, sockets.front().accept.descriptor).to_string();
}

void accept_queue_handle::reset() noexcept {
  if (queue_ != nullptr) std::exchange(queue_, nullptr)->abandon();
}

bool accept_awaiter_base::suspend(promise_base& frame) noexcept {
  accept_queue& queue = *queue_;
  if (!queue.unclaimed.empty() || queue.failure != 0 || queue.stopped) {
    queue.claim.set_deadline(timer_node::never);
    if (frame.owner_chain->on().may_continue()) return false;
    frame.owner_chain->yield(frame);
    return true;
  }
  if (queue.claim.wait(frame, accept_queue::claim_type)) queue.arm();
  return true;
}

void accept_awaiter_base::set_deadline(std::int64_t deadline) noexcept {
  queue_->claim.set_deadline(deadline);
}

rill::result<socket_handle> accept_awaiter_base::take() {
  accept_queue& queue = *queue_;
  if (queue.unclaimed.empty()) {
    if (queue.failure != 0) {
      return tl::unexpected(error::from_errno(std::exchange(queue.failure, 0), "accept"));
    }
    if (queue.stopped) return tl::unexpected(error::from_errno(ECANCELED, "accept"));
    return tl::unexpected(queue.claim.take_result().error());
  }
  const int descriptor = queue.unclaimed.front();
  socket_state* const made = socket_state::try_make(queue.owner_loop(), descriptor);
  if (made == nullptr) return tl::unexpected(error::from_errno(ENOMEM, "accept"));
  queue.unclaimed.pop_front();
  socket_state& socket = *made;
  socket.lingers = queue.lingers;
  if (const auto ip = peer_endpoint(queue.owner_loop(), descriptor).ip()) {
    socket.peer = *ip;
    socket.has_ip_peer = true;
  }
  return socket_handle(socket);
}

void accept_awaiter_base::fail(const error& cause) const { throw_error(cause, queue_->subject()); }

}  // namespace detail

// ---------------------------------------------------------------- stream_listener

namespace {

/// The options of a new socket; errors name the address that it is to listen on.
void prepare_listening(loop& on, int descriptor, const endpoint& to,
                       const listen_options& options) {
  const auto set = [&](int level, int option, int value, const char* name) {
    detail::checked(on.kernel().set_option(descriptor, level, option, &value, sizeof(value)), name,
                    to.to_string());
  };
  if (options.join) set(SOL_SOCKET, SO_REUSEPORT, 1, "SO_REUSEPORT");
  if (!to.is_ip()) return;
  const bool v6 = to.kind() == endpoint_kind::ipv6;
  const int level = v6 ? IPPROTO_IPV6 : IPPROTO_IP;
  set(SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR");
  // Accepted sockets inherit it, which saves a system call for each of them.
  set(IPPROTO_TCP, TCP_NODELAY, 1, "TCP_NODELAY");
  // IPv4 has sockets of its own; one that takes both would hide which address was meant.
  if (v6) set(level, IPV6_V6ONLY, 1, "IPV6_V6ONLY");
  if (options.free_bind) set(level, v6 ? IPV6_FREEBIND : IP_FREEBIND, 1, "IP_FREEBIND");
  if (options.transparent) set(level, v6 ? IPV6_TRANSPARENT : IP_TRANSPARENT, 1, "IP_TRANSPARENT");
  if (options.send_buffer_size != 0) {
    set(SOL_SOCKET, SO_SNDBUF, options.send_buffer_size, "SO_SNDBUF");
  }
  if (options.receive_buffer_size != 0) {
    set(SOL_SOCKET, SO_RCVBUF, options.receive_buffer_size, "SO_RCVBUF");
  }
  if (options.defer_accept.count() != 0) {
    set(IPPROTO_TCP, TCP_DEFER_ACCEPT, static_cast<int>(options.defer_accept.count()),
        "TCP_DEFER_ACCEPT");
  }
  if (options.fast_open_queue != 0) {
    set(IPPROTO_TCP, TCP_FASTOPEN, options.fast_open_queue, "TCP_FASTOPEN");
  }
}

int listen_on(loop& on, const endpoint& to, const listen_options& options) {
  const int descriptor = detail::open_socket(on, to, SOCK_STREAM);
  try {
    const std::string subject = to.to_string();
    prepare_listening(on, descriptor, to, options);
    const std::span<const std::byte> name = to.native();
    detail::checked(on.kernel().bind(descriptor, name.data(), static_cast<unsigned>(name.size())),
                    "bind", subject);
    detail::checked(on.kernel().listen(descriptor, options.backlog), "listen", subject);
  } catch (...) {
    on.kernel().close(descriptor);
    throw;
  }
  return descriptor;
}

}  // namespace

stream_listener::stream_listener(std::span<const endpoint> to, const listen_options& options,
                                 bool is_ip) {
  loop& on = loop::current();
  for (const endpoint& each : to) detail::check_family(each, is_ip, "bind");
  queue_ = detail::accept_queue_handle(*new detail::accept_queue(on));
  std::uint16_t port = 0;
  for (const endpoint& each : to) {
    const auto ip = each.ip();
    const bool numbered = ip && each.port() == 0 && port != 0;
    const endpoint target = numbered ? endpoint(ip->address(), port) : each;
    const int descriptor = listen_on(on, target, options);
    queue_->add(descriptor);
    if (port == 0) port = detail::local_endpoint(on, descriptor).port();
  }
}

stream_listener::stream_listener(std::span<const int> descriptors, bool is_ip) {
  loop& on = loop::current();
  std::size_t taken_count = 0;  // those that the queue closes
  try {
    for (const int each : descriptors) {
      detail::check_adopted(on, each, detail::adopted_kind::listener, is_ip);
    }
    queue_ = detail::accept_queue_handle(*new detail::accept_queue(on));
    for (const int each : descriptors) {
      ++taken_count;
      queue_->add(each);
      queue_->is_adopted = true;
      on.kernel().adopt(each);
      if (detail::has_linger(on, each)) queue_->lingers = true;
      if (is_ip) detail::set_option(on, each, IPPROTO_TCP, TCP_NODELAY, 1, "TCP_NODELAY");
    }
  } catch (...) {
    for (const int each : descriptors.subspan(taken_count)) on.kernel().close(each);
    throw;
  }
}

endpoint stream_listener::local() const {
  return detail::local_endpoint(queue_->owner_loop(), queue_->sockets.front().accept.descriptor);
}

std::vector<endpoint> stream_listener::locals() const {
  std::vector<endpoint> all;
  for (const detail::listening& each : queue_->sockets) {
    all.push_back(detail::local_endpoint(queue_->owner_loop(), each.accept.descriptor));
  }
  return all;
}

std::vector<int> stream_listener::descriptors() const {
  std::vector<int> all;
  for (const detail::listening& each : queue_->sockets) all.push_back(each.accept.descriptor);
  return all;
}

void stream_listener::set_option(int level, int name, const_buffer value) {
  for (const int each : descriptors()) {
    const int status = owner_loop().kernel().set_option(each, level, name, value.data(),
                                                        static_cast<unsigned>(value.size()));
    if (status < 0) {
      detail::throw_option_error(status, "set", level, name,
                                 detail::name_of_socket(owner_loop(), each));
    }
    if (level == SOL_SOCKET && name == SO_LINGER) {
      queue_->lingers = detail::has_linger(owner_loop(), each);
    }
  }
}

std::size_t stream_listener::unclaimed_count() const noexcept { return queue_->unclaimed.size(); }

loop& stream_listener::owner_loop() const noexcept { return queue_->owner_loop(); }

std::vector<shared_socket> tcp_listener::share() {
  loop& on = queue_->owner_loop();
  std::vector<shared_socket> shared;
  shared.reserve(queue_->sockets.size());
  for (const detail::listening& each : queue_->sockets) {
    const int descriptor = each.accept.descriptor;
    const endpoint local = detail::local_endpoint(on, descriptor);
    if (queue_->is_adopted) {
      shared.emplace_back(local, detail::duplicate(descriptor, local));
    } else {
      detail::set_option(on, descriptor, SOL_SOCKET, SO_REUSEPORT, 1, "SO_REUSEPORT");
      shared.emplace_back(local, -1);
    }
  }
  return shared;
}

tcp_listener tcp_listener::join(std::span<const shared_socket> shared, listen_options options) {
  std::vector<endpoint> endpoints;
  std::vector<shared_socket> taken;  // closed, unless all of them can be had
  endpoints.reserve(shared.size());
  taken.reserve(shared.size());
  for (const shared_socket& each : shared) {
    endpoints.push_back(each.local());
    if (each.is_handed_over()) taken.emplace_back(each.local(), each.duplicate());
  }
  if (taken.empty()) {
    options.join = true;
    return bind(endpoints, options);
  }
  std::vector<int> descriptors;
  descriptors.reserve(taken.size());
  for (shared_socket& each : taken) descriptors.push_back(each.release());
  return adopt(descriptors);
}

void stream_listener::pause() noexcept {
  for (detail::listening& each : queue_->sockets) each.accept.request_cancel();
}

void stream_listener::begin_stop() noexcept {
  queue_->stopped = true;
  if (queue_->claim.has_waiter()) queue_->claim.wake(-ECANCELED);
}

task<void> stream_listener::stop() {
  detail::accept_queue& queue = *queue_;
  const auto next_turn = [] { return sleep_for(std::chrono::nanoseconds(0)); };
  begin_stop();
  for (detail::listening& each : queue.sockets) {
    // Closing resets what is in the backlog, and a paused accept may have left some there.
    while (each.accept.in_flight() && each.accept.cancel_sent()) co_await next_turn();
    if (!each.accept.in_flight()) each.accept.submit(detail::accept_queue::accept_type);
  }
  std::size_t before = 0;
  do {
    before = queue.unclaimed.size();
    co_await next_turn();
    co_await next_turn();
  } while (queue.unclaimed.size() != before);
  for (detail::listening& each : queue.sockets) each.accept.request_cancel();
  for (detail::listening& each : queue.sockets) {
    while (!each.accept.is_settled()) co_await next_turn();
  }
}

}  // namespace rill
