// What a socket of datagrams is to the requests that receive from it: UDP and Unix datagrams differ
// in how they write down who sent them, not in what a receive answers.
// Read next: datagram_end.cpp; udp.h, unix_socket.h.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <vector>

#include <rill/runtime/sim/file.h>

namespace rill::sim::detail {

class datagram_end {
 public:
  /// The bytes of the first datagram; nullptr: there is none.
  virtual const std::vector<std::byte>* first() const noexcept = 0;
  /// Writes the name of its sender into at most `room` bytes. Gives its full length.
  virtual unsigned write_name(void* into, unsigned room) const = 0;
  /// Writes its control messages. Gives their length; MSG_CTRUNC in `flags` when they do not fit.
  virtual unsigned write_control(void* into, unsigned room, int& flags) const noexcept = 0;
  virtual void drop_first() = 0;
  virtual bool is_read_stopped() const noexcept = 0;
  /// A negative errno that is to be told before any datagram, cleared by asking; 0: none.
  virtual int take_receive_error() noexcept = 0;
  /// Whether a receive into provided buffers may do without name and header.
  virtual bool knows_plain_buffers() const noexcept = 0;

 protected:
  ~datagram_end() = default;
};

std::size_t total_size(const std::vector<iovec>& pieces) noexcept;
/// Receives one datagram, or into provided buffers one after the other.
progress receive_from(datagram_end& from, request& tried);

}  // namespace rill::sim::detail
