// TCP: streams and listeners.
// Every operation is an awaiter that points to a slot of the socket; see socket.h for how it is
// carried out. Not here: names of hosts (connect.h), serving many connections (serve.h).
// Read next: serve.h.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <rill/net/buffer.h>
#include <rill/net/endpoint.h>
#include <rill/net/shared_send.h>
#include <rill/net/socket.h>
#include <rill/net/socket_options.h>
#include <rill/net/stream.h>
#include <rill/runtime/task.h>

namespace rill {

class file;

namespace detail {
template <class Stream>
class accept_awaiter;
}

/// The operations that TCP and Unix streams share. Satisfies byte_stream (stream.h).
///
/// Concurrency: one read and one write may be in progress at once; a second read beside a first is
///   a programmer's error and ends the program with a sentence, in release builds too.
/// Cancellation: a cancelled read loses nothing; bytes that came stay in the stream. A cancelled
///   write may have sent some, all or none of its bytes: close the stream.
/// Errors: io_error with the kernel's errno and the peer's address, or, through as_result, the
///   same as a value: ECONNRESET, EPIPE, ETIMEDOUT, EHOSTUNREACH; ECANCELED when the stream was
///   closed by another task.
/// Lifetime: buffers must live until the co_await is over. The stream may be moved meanwhile.
///   Destroying it withdraws what is in flight and closes; nothing needs to be awaited.
/// Thread rule: the loop's thread that made it.
class stream_socket : public socket_base {
 public:
  /// The next bytes, at most one buffer of the loop's pool, lent without a copy. Empty: the peer
  /// has finished sending. An idle stream that reads this way owns no buffer. Linux 6.0 (multishot
  /// receive). No allocation. Example: examples/echo_server.cpp.
  [[nodiscard]] auto read_lease() noexcept { return detail::lease_awaiter(*socket_); }

  /// The next bytes, at most buffer.size() of them; 0: the peer has finished sending, or, at
  /// once, the buffer has no room. After read_lease() has been used they are copied out of the
  /// loop's buffers, otherwise the kernel writes into `into` directly.
  [[nodiscard]] auto read(mutable_buffer into) noexcept {
    return detail::read_awaiter(*socket_, into);
  }
  [[nodiscard]] auto recv(mutable_buffer into) noexcept { return read(into); }
  /// Scattered over up to 1,024 pieces, filled in order; 0 at once if they have no room together.
  /// The span must live as long as the bytes.
  [[nodiscard]] auto read(std::span<const mutable_buffer> into) noexcept {
    return detail::read_vector_awaiter(*socket_, into);
  }

  /// Fills the whole buffer. False, and nothing consumed, when the peer finishes before it is
  /// full: what came is still there for read(). Cancelled or timed out half-way: likewise.
  /// The bytes are gathered in the stream, so this costs one copy and memory of their size.
  [[nodiscard]] task<bool> read_exactly(mutable_buffer into);

  /// Sends all of it; short sends are continued by the kernel. Returns its size.
  [[nodiscard]] auto write_all(const_buffer bytes) noexcept {
    return detail::write_all_awaiter(*socket_, bytes);
  }
  /// Sends what the socket's buffer takes now, at least one byte, waiting if it is full. Returns
  /// the number of bytes taken.
  [[nodiscard]] auto write(const_buffer bytes) noexcept {
    return detail::write_awaiter(*socket_, bytes, detail::socket_state::send_some_type);
  }
  [[nodiscard]] auto send(const_buffer bytes) noexcept { return write(bytes); }
  /// Sends all of it, from zero_copy_size_min on without a copy: the kernel reads the bytes where
  /// they are, and holds on to them, beside all other owners, until the peer has acknowledged them.
  /// The same message may be on its way to any number of streams. Returns its size.
  ///
  /// Completes as write_all(const_buffer) does, when the socket's buffer has taken the bytes over;
  ///   neither this nor the end of the stream waits for an acknowledgement. Errors are the same
  ///   too: where the kernel refuses to do without a copy (Unix sockets, RLIMIT_MEMLOCK used up),
  ///   the bytes are sent with one; so they are once it has said that it copied all the same.
  /// Cancellation, and closing or destroying the stream, withdraw the operation; what the kernel
  /// has
  ///   taken by then goes on being sent, from memory that the loop keeps. A loop that is destroyed
  ///   waits a quarter of a second for peers that have not acknowledged and then leaves the bytes
  ///   to the process, for good: freed and used anew, they would be sent changed.
  /// Cost: no allocation; one block of the frame cache until the acknowledgement; two completions.
  ///   IORING_OP_SEND_ZC, Linux 6.0; whether it copies is told from Linux 6.3 on. On epoll there is
  ///   a copy always.
  [[nodiscard]] auto write_all(shared_bytes bytes) noexcept {
    return detail::write_shared_awaiter(*socket_, std::move(bytes));
  }
  /// From this size on doing without the copy is worth it, in bytes. The kernel's documentation
  /// says "around 10 KB" (networking/msg_zerocopy), users of io_uring report losses at 4 KiB and
  /// less: pages have to be pinned, and a second completion comes for each send.
  static constexpr std::size_t zero_copy_size_min = detail::socket_state::zero_copy_size_min;
  void set_zero_copy(zero_copy when) noexcept { socket_->lends_when = when; }
  zero_copy when_zero_copy() const noexcept { return socket_->lends_when; }
  /// Gathered from up to 1,024 pieces, all sent.
  [[nodiscard]] auto write_all(std::span<const const_buffer> pieces) noexcept {
    return detail::write_vector_awaiter(*socket_, pieces);
  }

  /// Sends `size` bytes of a file, from `offset` on, without a copy. Returns the number sent: less
  /// than `size` when the file ends early, even if it is cut meanwhile; nothing is ever padded.
  /// Nothing else may be written meanwhile; the file must outlive the call; closing the stream ends
  /// it with ECANCELED. Cancellation and errors leave an unknown part sent.
  /// `stall_timeout` is for each wait for a peer that does not read, not for the whole: a slow peer
  /// gets its file, one that stands still is timeout_error. Of TCP every acknowledged byte counts
  /// as reading; elsewhere only room in the socket's buffer, which Linux tells of when a third of
  /// it is free.
  /// Cost: one sendfile(2), and the two switches of O_NONBLOCK around it, per 256 KiB, no copy; one
  /// IORING_OP_POLL_ADD (Linux 5.1) each time the socket is full, so a slow peer holds no thread. A
  /// part of the file that is not in the page cache makes the whole loop wait for the disk.
  [[nodiscard]] task<std::uint64_t> send_file(
      const file& source, std::uint64_t offset, std::uint64_t size,
      std::chrono::nanoseconds stall_timeout = std::chrono::nanoseconds::max());

  /// Half-close: sends FIN after what was written; reading goes on. shutdown(2), SHUT_WR.
  [[nodiscard]] auto shutdown_write() noexcept { return detail::shutdown_awaiter(*socket_, 1); }
  /// The read side: what has arrived can still be read, then the stream ends. SHUT_RD.
  [[nodiscard]] auto shutdown_read() noexcept { return detail::shutdown_awaiter(*socket_, 0); }

  /// Waits until the socket takes bytes, or has failed, without writing. IORING_OP_POLL_ADD.
  [[nodiscard]] auto wait_writable() noexcept { return poll(4); }

  /// Unread bytes held by the stream itself (after a read_exactly that was given up).
  std::size_t unread_size() const noexcept { return socket_->unread_size(); }

  /// Nothing has begun on this connection, or something has. While idle it sees the end of its
  /// stream when serve() drains and nothing of it can be read, also when its handler takes the
  /// drain_signal and is to finish what has begun. At first it is not idle.
  void set_idle(bool idle) noexcept { socket_->is_idle = idle; }

  /// SO_LINGER. nullopt: close in the background (the default). 0 s: reset the connection (RST).
  /// More: a close waits so long for the peer's acknowledgements: on a worker thread of the ring,
  /// or on epoll in one of the 16 threads that blocking calls share. The loop goes on meanwhile.
  void set_linger(std::optional<std::chrono::seconds> time);
  std::optional<std::chrono::seconds> linger() const;

 protected:
  /// Bytes that the peer has acknowledged; 0 where nobody tells: not TCP, before Linux 4.1.
  std::uint64_t acknowledged_size() const noexcept;

  stream_socket() noexcept {}
  explicit stream_socket(detail::socket_handle&& socket) noexcept
      : socket_base(std::move(socket)) {}

  detail::write_awaiter poll(unsigned events) noexcept {
    socket_->write.argument = events;
    return detail::write_awaiter(*socket_, const_buffer(), detail::socket_state::poll_type);
  }
};

/// Keep-alive probes (tcp(7)): after `idle` without traffic, one every `interval`, and the
/// connection is given up after `probe_count` without an answer.
struct keep_alive_options {
  std::chrono::seconds idle{7200};
  std::chrono::seconds interval{75};
  int probe_count = 9;
};
static_assert(std::is_trivially_destructible_v<keep_alive_options>);

/// How a connection fares (TCP_INFO, tcp(7)): what the kernel knows at the moment of asking.
struct tcp_info {
  std::chrono::microseconds round_trip_time{0};      ///< smoothed
  std::chrono::microseconds round_trip_variance{0};  ///< mean deviation
  std::chrono::microseconds retransmit_timeout{0};
  unsigned segment_size = 0;          ///< bytes, of what is sent
  unsigned congestion_window = 0;     ///< segments that may be under way
  unsigned unacknowledged_count = 0;  ///< segments under way
  unsigned retransmit_count = 0;      ///< segments sent again since the beginning
  /// Bytes of the peer's that have come in, bytes of ours that it has acknowledged (Linux 4.1), and
  /// bytes sent, those sent again included (Linux 4.19). nullopt where the kernel is older.
  std::optional<std::uint64_t> received_size;
  std::optional<std::uint64_t> acknowledged_size;
  std::optional<std::uint64_t> sent_size;
};
static_assert(std::is_trivially_destructible_v<tcp_info>);

class tcp_stream;

/// What must be set before a connection is begun; everything else is set on the stream afterwards.
/// What is left as it is costs nothing. Errors: as those of socket_base's setters of the same
/// names.
struct connection_options {
  /// The address of this machine to connect from; its port may be 0. Unnamed: the kernel chooses.
  endpoint local{};
  /// SO_BINDTODEVICE: goes out through this interface ("eth0") only. Must outlive the call.
  std::string_view device;
  /// SO_MARK: what routing rules and firewalls know the packets by, the SYN among them. 0: none.
  unsigned mark = 0;
  /// IP_TOS, IPV6_TCLASS, for the SYN too. 0: none.
  int type_of_service = 0;
  /// SO_SNDBUF and SO_RCVBUF, in bytes: the window scale is agreed on in the handshake. 0: the
  /// kernel's, tuned by itself.
  int send_buffer_size = 0;
  int receive_buffer_size = 0;
  /// TCP_MAXSEG, in bytes: the segment size that is told to the peer. 0: that of the path.
  int segment_size_max = 0;
  /// TCP_SYNCNT: how often the SYN is repeated (after 1, 2, 4 s ...) before ETIMEDOUT, 1 to 127. 0:
  /// net.ipv4.tcp_syn_retries, 6.
  int syn_retry_count = 0;
  /// IP_TRANSPARENT, IPV6_TRANSPARENT: `local` may be an address that this machine has not, as a
  /// transparent proxy speaks for its client. EPERM without CAP_NET_ADMIN.
  bool transparent = false;
  /// Called last before the stream connects, for whatever is not named here: TCP_CONGESTION,
  /// SO_PRIORITY, TCP_FASTOPEN_CONNECT. It has no address yet: what IPv4 and IPv6 have each for
  /// itself is set by number. What it throws ends the call.
  void (*prepare)(tcp_stream& unconnected) = nullptr;
};
static_assert(std::is_trivially_destructible_v<connection_options>);

/// A TCP connection. TCP_NODELAY is on from the start: small messages go at once.
class tcp_stream : public stream_socket {
 public:
  tcp_stream() noexcept {}

  /// Connects to one address. Errors: ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, ENETUNREACH ...,
  /// "connect 127.0.0.1:1: Connection refused". For names see connect.h. IORING_OP_CONNECT, 5.5.
  static task<tcp_stream> connect(endpoint to);
  /// The same with what must be set before.
  static task<tcp_stream> connect(endpoint to, connection_options options);

  /// The peer's address, kept from accept or connect: known even after a reset. Unnamed if the
  /// peer was gone before it could be asked.
  endpoint peer() const { return socket_->has_ip_peer ? endpoint(socket_->peer) : endpoint(); }

  /// Takes over a connected TCP socket (of a parent process, of another library), sets TCP_NODELAY
  /// and asks for its peer. It is closed when this throws. REQUIRES: called by a task. Errors:
  /// "adopt descriptor 7: ...", EBADF, ENOTSOCK, EPROTOTYPE and EAFNOSUPPORT for what is no TCP
  /// socket, EINVAL for one that listens.
  /// O_NONBLOCK is switched off, also for others who share the socket by dup(2) or fork(2).
  static tcp_stream adopt(int descriptor);
  /// Gives the connection away, open, with its options, and with O_NONBLOCK if it was adopted with
  /// it; this stream is closed then. Only when
  /// nothing is in flight: not after read_lease() has been used, nor with unread_size() bytes left.
  /// Errors: EBUSY otherwise, and the stream stays as it was.
  int release();

  /// TCP_NODELAY: on, small messages go at once; off, they wait for the acknowledgement of earlier
  /// ones (Nagle's algorithm, RFC 896).
  void set_no_delay(bool on);
  bool no_delay() const;
  /// TCP_CORK: while on, only full segments are sent, or what is 200 ms old; switching it off sends
  /// the rest. For a header that a file follows.
  void set_cork(bool on);
  bool cork() const;
  void set_keep_alive(const keep_alive_options& options);
  void clear_keep_alive();
  /// nullopt: off, the default.
  std::optional<keep_alive_options> keep_alive() const;
  /// TCP_USER_TIMEOUT: how long sent data may stay unacknowledged before ETIMEDOUT. 0: the kernel's
  /// own limit, net.ipv4.tcp_retries2, about 15 minutes.
  void set_user_timeout(std::chrono::milliseconds time);
  std::chrono::milliseconds user_timeout() const;
  /// TCP_QUICKACK: acknowledge at once; the kernel switches it on and off by itself.
  void set_quick_ack(bool on);
  bool quick_ack() const;
  /// TCP_NOTSENT_LOWAT, in bytes: a writer waits while more than this lies in the send buffer that
  /// was never sent, so that what is written last need not wait behind it. Linux 3.12.
  void set_not_sent_low_water(unsigned size);
  unsigned not_sent_low_water() const;
  /// SO_RCVLOWAT, in bytes: a reader that waits is woken only when so many have come, or the end
  /// (default 1). At most half the receive buffer has an effect; read_exactly needs none of this.
  void set_receive_low_water(int size);
  int receive_low_water() const;
  /// TCP_CONGESTION: the congestion control by name, "cubic" or "bbr". ENOENT: the kernel has it
  /// not; EPERM: it is not among net.ipv4.tcp_allowed_congestion_control.
  void set_congestion_control(std::string_view name);
  std::string congestion_control() const;
  /// TCP_MAXSEG: no segment carries more bytes than this. The setting has an effect before the
  /// connection is made only; then this tells what was agreed.
  void set_segment_size_max(int size);
  int segment_size_max() const;
  /// TCP_INFO.
  tcp_info info() const;

 private:
  friend class detail::accept_awaiter<tcp_stream>;
  explicit tcp_stream(detail::socket_handle&& socket) noexcept : stream_socket(std::move(socket)) {}
  /// Not connected yet.
  static tcp_stream open(const endpoint& peer);
  void prepare(const connection_options& options);
};

static_assert(byte_stream<tcp_stream>);

/// What must be set before a socket listens. Unix listeners look at `backlog` and `join` only, and
/// the kernel refuses the latter: EOPNOTSUPP.
struct listen_options {
  /// Connections the kernel completes before they are accepted; capped by net.core.somaxconn.
  int backlog = 4096;
  /// Joins listeners of other processes on the same address, which must have been share()d before;
  /// for other loops there is tcp_listener::join.
  bool join = false;
  /// IP_FREEBIND, IPV6_FREEBIND: also an address that this machine has not, or not yet.
  bool free_bind = false;
  /// IP_TRANSPARENT, IPV6_TRANSPARENT: takes connections to foreign addresses that routing brings
  /// here, for a transparent proxy: tcp_stream::local() tells which. EPERM without CAP_NET_ADMIN.
  bool transparent = false;
  /// SO_SNDBUF and SO_RCVBUF of every connection, in bytes; see socket_base. Here, as the window
  /// scale is agreed on when a connection is made. 0: the kernel's, tuned by itself.
  int send_buffer_size = 0;
  int receive_buffer_size = 0;
  /// TCP_DEFER_ACCEPT: accepts a connection only when its first bytes have come, for protocols in
  /// which the client speaks first; rounded up to steps of the SYN-ACK's repetition (1, 3, 7 s
  /// ...), after which it is accepted all the same. 0: at once.
  std::chrono::seconds defer_accept{0};
  /// TCP_FASTOPEN (RFC 7413): connections whose first bytes came with the SYN and whose handshake
  /// is not complete, at most. The bytes may come twice. net.ipv4.tcp_fastopen must include
  /// 2. 0: off.
  int fast_open_queue = 0;
};
static_assert(std::is_trivially_destructible_v<listen_options>);

namespace detail {

/// The sockets of a listener and the connections accepted but not yet claimed (tcp.cpp).
class accept_queue;

/// Owns an accept_queue, which lives on until its sockets are closed.
class accept_queue_handle {
 public:
  accept_queue_handle() noexcept {}
  explicit accept_queue_handle(accept_queue& queue) noexcept : queue_(&queue) {}
  accept_queue_handle(accept_queue_handle&& other) noexcept
      : queue_(std::exchange(other.queue_, nullptr)) {}
  accept_queue_handle& operator=(accept_queue_handle&& other) noexcept {
    if (this != &other) {
      reset();
      queue_ = std::exchange(other.queue_, nullptr);
    }
    return *this;
  }
  ~accept_queue_handle() { reset(); }
  void reset() noexcept;
  explicit operator bool() const noexcept { return queue_ != nullptr; }
  accept_queue& operator*() const noexcept {
    RILL_ASSERT(queue_ != nullptr, "a closed or moved-from listener was used");
    return *queue_;
  }
  accept_queue* operator->() const noexcept { return &**this; }

 private:
  accept_queue* queue_ = nullptr;
};

/// accept(): the part that does not depend on the kind of stream.
class accept_awaiter_base {
 public:
  using rill_awaiter = void;
  explicit accept_awaiter_base(accept_queue& queue) noexcept : queue_(&queue) {}
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> frame) noexcept {
    return suspend(frame.promise());
  }
  void set_deadline(std::int64_t deadline) noexcept;

 protected:
  rill::result<socket_handle> take();
  [[noreturn]] void fail(const error& cause) const;

 private:
  bool suspend(promise_base& frame) noexcept;
  accept_queue* queue_;
};

template <class Stream>
class accept_awaiter : public accept_awaiter_base {
 public:
  using accept_awaiter_base::accept_awaiter_base;
  Stream await_resume() {
    rill::result<socket_handle> taken = take();
    if (!taken) [[unlikely]]
      fail(taken.error());
    return Stream(std::move(*taken));
  }
  rill::result<Stream> take_result() {
    rill::result<socket_handle> taken = take();
    if (!taken) return tl::unexpected(taken.error());
    return Stream(std::move(*taken));
  }
};

}  // namespace detail

/// A listening socket, or several that are accepted from as one: a name such as "localhost" has
/// an IPv4 and an IPv6 address. What TCP and Unix listeners share.
///
/// Cancellation: a cancelled accept() loses no connection; what the kernel had accepted waits for
///   the next call. Destroying the listener closes it, which resets what nobody has claimed;
///   serve() claims the rest first when it drains.
/// Thread rule: the loop's thread that made it.
class stream_listener {
 public:
  /// The first address; all of them.
  endpoint local() const;
  std::vector<endpoint> locals() const;
  /// Connections that the kernel has handed over and accept() has not.
  std::size_t unclaimed_count() const noexcept;
  /// Accepts no more until the next accept(): for a server that is full. What has come already
  /// stays claimable, the rest waits in the kernel's backlog.
  void pause() noexcept;
  /// accept() fails with ECANCELED from now on when nothing is left to claim; one that waits is
  /// woken. Does not wait itself: stop() does the rest.
  void begin_stop() noexcept;
  /// Stops accepting and brings in what still waits in the backlog; after that accept() gives the
  /// unclaimed connections and then fails with ECANCELED. The first half of draining.
  [[nodiscard]] task<void> stop();
  void close() noexcept { queue_.reset(); }
  bool is_open() const noexcept { return static_cast<bool>(queue_); }
  loop& owner_loop() const noexcept;
  /// The kernel's numbers of its sockets, in the order of locals(). They stay the listener's.
  std::vector<int> descriptors() const;
  /// Any option, of each of its sockets; connections inherit most. As socket_base::set_option.
  template <option_value T>
  void set_option(int level, int name, const T& value) {
    detail::set_as_bytes(value, [&](const_buffer bytes) { set_option(level, name, bytes); });
  }
  void set_option(int level, int name, const_buffer value);

 protected:
  stream_listener() noexcept {}
  stream_listener(std::span<const endpoint> to, const listen_options& options, bool is_ip);
  /// Takes the descriptors over: of TCP sockets, or of Unix ones.
  stream_listener(std::span<const int> descriptors, bool is_ip);

  detail::accept_queue_handle queue_;
};

/// A listening TCP socket.
class tcp_listener : public stream_listener {
 public:
  using stream_type = tcp_stream;

  tcp_listener() noexcept {}

  /// Binds and listens on one address; port 0 takes any free one (see local()). SO_REUSEADDR is
  /// set, so that a restarted server need not wait for old connections. REQUIRES: called by a task.
  /// Errors: EADDRINUSE, EACCES, EADDRNOTAVAIL: "bind 127.0.0.1:80: Permission denied".
  static tcp_listener bind(const endpoint& to, const listen_options& options = listen_options()) {
    return tcp_listener(std::span<const endpoint>(&to, 1), options, true);
  }
  /// Binds on each of them; if the first has port 0, all get the number it was given.
  static tcp_listener bind(std::span<const endpoint> to,
                           const listen_options& options = listen_options()) {
    return tcp_listener(to, options, true);
  }
  /// Binds on all addresses of `host`; as listen() in listen.h, which tells more.
  [[nodiscard]] static task<tcp_listener> bind(std::string host, std::uint16_t port,
                                               listen_options options = listen_options());
  /// Takes over a socket that listens already (systemd socket activation, a parent process), and
  /// closes it when this throws. Errors: "adopt descriptor 7: ...", EBADF, ENOTSOCK, EPROTOTYPE and
  /// EAFNOSUPPORT for what is no TCP socket, EINVAL for one that does not listen.
  static tcp_listener adopt(int descriptor) {
    return tcp_listener(std::span<const int>(&descriptor, 1), true);
  }
  /// The same for several, as one listener; all of them are closed when this throws.
  static tcp_listener adopt(std::span<const int> descriptors) {
    return tcp_listener(descriptors, true);
  }

  /// The next connection. Errors: EMFILE, ENFILE, ENOBUFS, ENOMEM when resources are short; the
  /// listener stays usable. What only one connection suffered (ECONNABORTED, EPROTO ...) is
  /// skipped. IORING_OP_ACCEPT, multishot, Linux 5.19; one getpeername(2) a connection.
  [[nodiscard]] auto accept() noexcept { return detail::accept_awaiter<tcp_stream>(*queue_); }

  /// From now on listeners of other loops may join() these addresses, by SO_REUSEPORT: the kernel
  /// spreads connections over them. Set after bind, so that a port which another program holds is
  /// refused all the same. Of sockets that were adopted the others take a share themselves.
  /// Errors: EMFILE. Example: examples/echo_server.cpp.
  std::vector<shared_socket> share();
  /// Another listener on addresses that a loop of this process has shared; options.join is set.
  /// Errors: as bind(), and EMFILE.
  static tcp_listener join(std::span<const shared_socket> shared,
                           listen_options options = listen_options());

 private:
  using stream_listener::stream_listener;
};

}  // namespace rill
