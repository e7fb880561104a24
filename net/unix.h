// Unix domain sockets: streams, listeners and datagrams between processes of one machine.
// Streams share all operations with TCP (stream_socket in tcp.h), datagrams with UDP (datagram.h).
#pragma once

#include <cstdint>
#include <span>
#include <utility>

#include <rill/net/datagram.h>
#include <rill/net/endpoint.h>
#include <rill/net/tcp.h>
#include <rill/runtime/task.h>

namespace rill {

/// Who is at the other end of a Unix stream, as the kernel noted it when the connection was made
/// (SO_PEERCRED, unix(7)).
struct peer_credentials {
  int process;
  unsigned user;
  unsigned group;
};

/// A connection through a Unix socket. Satisfies byte_stream.
class unix_stream : public stream_socket {
 public:
  unix_stream() noexcept {}

  /// Connects to a path or an abstract name; waits while the listener's backlog is full. Errors:
  /// ENOENT, ECONNREFUSED, EACCES: "connect unix:/run/x: No such file or directory".
  static task<unix_stream> connect(endpoint to);
  /// Two streams connected with each other, for tests and for parent and child. REQUIRES: a task.
  static std::pair<unix_stream, unix_stream> pair();

  /// Takes over a connected Unix stream (of a parent process, of another library); see
  /// tcp_stream::adopt.
  static unix_stream adopt(int descriptor);

  endpoint peer() const { return detail::peer_endpoint(owner_loop(), descriptor()); }
  rill::peer_credentials peer_credentials() const;

 private:
  friend class detail::accept_awaiter<unix_stream>;
  explicit unix_stream(detail::socket_handle&& socket) noexcept
      : stream_socket(std::move(socket)) {}
};

static_assert(byte_stream<unix_stream>);

/// A listening Unix socket.
class unix_listener : public stream_listener {
 public:
  using stream_type = unix_stream;

  unix_listener() noexcept {}

  /// Binds and listens. A path must not exist yet, except that a socket file which nobody listens
  /// on any more (a server that was killed) is replaced. The file is not removed at the end: remove
  /// it before the next start, or use an abstract name, which has no file.
  static unix_listener bind(const endpoint& to, const listen_options& options = listen_options());

  /// Takes over a Unix socket that listens already (systemd socket activation, a parent process);
  /// see tcp_listener::adopt.
  static unix_listener adopt(int descriptor) {
    return unix_listener(std::span<const int>(&descriptor, 1), false);
  }
  /// The same for several, as one listener.
  static unix_listener adopt(std::span<const int> descriptors) {
    return unix_listener(descriptors, false);
  }

  /// The next connection; see tcp_listener::accept.
  [[nodiscard]] auto accept() noexcept { return detail::accept_awaiter<unix_stream>(*queue_); }

 private:
  using stream_listener::stream_listener;
};

/// Datagrams through a Unix socket: kept in order, none lost; a full receiver makes send_to wait.
/// The kernel does not tell when a receiver has room to which the sender is not connected: it is
/// asked again after 50 us, and then ever less often, up to every 3.2 ms. connect() avoids that.
class unix_datagram : public datagram_socket {
 public:
  unix_datagram() noexcept {}

  /// Receives under a path or an abstract name; the unnamed endpoint takes a free abstract name,
  /// which a client needs to be answered. Of paths the same holds as for unix_listener::bind.
  /// Errors: EADDRINUSE, EACCES, ENOENT with the name.
  static unix_datagram bind(const endpoint& to);
  /// Without a name: can send, and cannot be answered.
  static unix_datagram open();
  /// Takes over a socket that is bound already (systemd socket activation, a parent process); see
  /// udp_socket::adopt.
  static unix_datagram adopt(int descriptor);

 private:
  explicit unix_datagram(detail::socket_handle&& socket) noexcept
      : datagram_socket(std::move(socket)) {}
};

}  // namespace rill
