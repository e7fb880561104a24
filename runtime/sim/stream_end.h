// What a stream socket is to the requests that receive from it or accept at it: TCP and Unix
// streams differ in what they hold and whom they tell, not in what a receive answers.
// Read next: stream_end.cpp; tcp_socket.h, unix_socket.h.
#pragma once

#include <sys/socket.h>

#include <cstddef>

#include <rill/runtime/sim/bytes.h>
#include <rill/runtime/sim/file.h>

namespace rill::sim::detail {

class node;

class stream_end {
 public:
  /// receive_state(): nothing to say yet.
  static constexpr int wait = 1;

  /// nullptr: there is no connection.
  virtual const byte_queue* received() const noexcept = 0;
  /// The first bytes have been read.
  virtual void take(std::size_t size) = 0;
  /// Follows take(), and the completion that tells of it: the peer may send more at once.
  virtual void room_is_made() = 0;
  /// What a receive gives without bytes: 0 at the end, a negative errno, or `wait`.
  virtual int receive_state() = 0;
  /// No more bytes will come to a receive that has some and wants all.
  virtual bool is_receive_over() const noexcept = 0;
  /// A completion says whether there is more to read or to accept (IORING_CQE_F_SOCK_NONEMPTY).
  virtual bool tells_more() const noexcept = 0;
  /// A FIN counts, even after the last byte (tcp_inq_hint()).
  virtual bool has_more() const noexcept = 0;

  // --- of a listener ---
  virtual bool has_ready() const noexcept = 0;
  /// Opens the connection that has waited longest, and writes its peer's name. A descriptor.
  virtual int open_ready(void* name, socklen_t* size) = 0;

 protected:
  ~stream_end() = default;
};

/// Receives into provided buffers or the request's own memory.
progress receive_from(stream_end& from, request& tried);
/// REQUIRES: it listens.
progress accept_at(stream_end& listener, const node& on, request& tried);

}  // namespace rill::sim::detail
