// What UDP and Unix datagram sockets share: sending and receiving whole messages.
// Not here: binding and options of a protocol. Read next: udp.h.
#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

#include <rill/net/address.h>
#include <rill/net/buffer.h>
#include <rill/net/endpoint.h>
#include <rill/net/socket.h>
#include <rill/net/socket_options.h>
#include <rill/runtime/buffer_pool.h>

namespace rill {

/// What recv_from() tells about the datagram it has put into the caller's buffer.
class datagram_info {
 public:
  datagram_info(const endpoint& sender, const address& local, std::size_t size,
                std::size_t original_size, std::size_t segment_size) noexcept
      : peer_(sender),
        local_(local),
        size_(size),
        original_size_(original_size),
        segment_size_(segment_size) {}

  /// Who sent it; unnamed for a Unix socket without a name.
  const endpoint& peer() const noexcept { return peer_; }
  /// The own address that it came to; see datagram::local().
  const address& local() const noexcept { return local_; }
  /// Bytes in the buffer; 0 is a datagram without content, not an end.
  std::size_t size() const noexcept { return size_; }
  /// Bytes that were sent. More than size() if the buffer was too small: the rest is lost.
  std::size_t original_size() const noexcept { return original_size_; }
  bool is_truncated() const noexcept { return original_size_ > size_; }
  /// With generic receive offload: the bytes are several datagrams of one peer, each of this size
  /// but the last. 0: one datagram.
  std::size_t segment_size() const noexcept { return segment_size_; }

 private:
  endpoint peer_;
  address local_;
  std::size_t size_;
  std::size_t original_size_;
  std::size_t segment_size_;
};

/// A datagram lent by the loop's buffers. See lease for the rules of lending.
class datagram {
 public:
  datagram() noexcept {}
  datagram(lease&& buffer, std::span<const std::byte> bytes, const endpoint& sender,
           const address& local, std::size_t original_size, std::size_t segment_size) noexcept
      : buffer_(std::move(buffer)),
        bytes_(bytes),
        peer_(sender),
        local_(local),
        original_size_(original_size),
        segment_size_(segment_size) {}

  const endpoint& peer() const noexcept { return peer_; }
  /// The own address that it came to, for udp_socket::send_to(bytes, peer, from); of a link-local
  /// one the scope is the interface. For a broadcast or an IPv4 group the interface's own address,
  /// for an IPv6 group the group. 0.0.0.0 unless udp_socket::set_packet_info is on.
  const address& local() const noexcept { return local_; }
  std::span<const std::byte> bytes() const noexcept { return bytes_; }
  operator std::span<const std::byte>() const noexcept { return bytes_; }
  std::string_view text() const noexcept {
    return {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()};
  }
  std::size_t size() const noexcept { return bytes_.size(); }
  std::size_t original_size() const noexcept { return original_size_; }
  bool is_truncated() const noexcept { return original_size_ > bytes_.size(); }
  /// With generic receive offload: the bytes are several datagrams of one peer, each of this size
  /// but the last. 0: one datagram.
  std::size_t segment_size() const noexcept { return segment_size_; }

 private:
  lease buffer_;
  std::span<const std::byte> bytes_;
  endpoint peer_;
  address local_;
  std::size_t original_size_ = 0;
  std::size_t segment_size_ = 0;
};

namespace detail {

class send_datagram_awaiter : public socket_awaiter {
 public:
  send_datagram_awaiter(socket_state& socket, const_buffer bytes, const endpoint* to,
                        std::uint16_t segment_size, const address* from = nullptr) noexcept
      : socket_awaiter(socket), bytes_(bytes), to_(to), from_(from), segment_size_(segment_size) {}
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> frame) noexcept {
    suspend(frame.promise());
  }
  std::size_t await_resume() {
    if (socket_->write.result() < 0) [[unlikely]]
      fail();
    return static_cast<std::size_t>(socket_->write.result());
  }
  rill::result<std::size_t> take_result() {
    return socket_->write_result(socket_state::send_datagram_type);
  }
  void set_deadline(std::int64_t deadline) noexcept { socket_->write.set_deadline(deadline); }

 private:
  void suspend(promise_base& frame) noexcept;
  [[noreturn]] void fail() const;
  const_buffer bytes_;
  const endpoint* to_;
  const address* from_;
  std::uint16_t segment_size_;
};

class receive_into_awaiter : public socket_awaiter {
 public:
  receive_into_awaiter(socket_state& socket, mutable_buffer into) noexcept
      : socket_awaiter(socket), into_(into) {}
  bool await_ready() const noexcept {
    return socket_->has_arrived() && socket_->owner_loop().may_continue();
  }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> frame) noexcept {
    suspend(frame.promise());
  }
  datagram_info await_resume() {
    rill::result<datagram_info> taken = take_result();
    if (!taken) [[unlikely]]
      socket_->throw_read_error(taken.error());
    return *taken;
  }
  rill::result<datagram_info> take_result();
  void set_deadline(std::int64_t deadline) noexcept { socket_->read.set_deadline(deadline); }

 private:
  void suspend(promise_base& frame) noexcept;
  mutable_buffer into_;
};

class receive_datagram_awaiter : public socket_awaiter {
 public:
  using socket_awaiter::socket_awaiter;
  bool await_ready() const noexcept {
    return socket_->has_arrived() && socket_->owner_loop().may_continue();
  }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> frame) noexcept {
    suspend(frame.promise());
  }
  datagram await_resume() {
    rill::result<datagram> taken = take_result();
    if (!taken) [[unlikely]]
      socket_->throw_read_error(taken.error());
    return std::move(*taken);
  }
  rill::result<datagram> take_result();
  void set_deadline(std::int64_t deadline) noexcept { socket_->read.set_deadline(deadline); }

 private:
  void suspend(promise_base& frame) noexcept;
};

/// A socket_state fitted for datagrams. Takes over `descriptor`.
socket_state& make_datagram_state(loop& on, int descriptor, bool is_unix);
/// The same for a descriptor from outside.
socket_handle adopt_datagram_socket(int descriptor, bool is_unix);

}  // namespace detail

/// Sending and receiving whole messages.
///
/// Concurrency: one receive and one send at a time, as with streams.
/// Cancellation: a cancelled receive loses no datagram; a cancelled send has sent nothing, unless
///   it had completed.
/// Errors: EMSGSIZE for what is larger than the protocol allows; ECONNREFUSED on a connected
///   socket whose peer answered "port unreachable" (reported once, by the next call); ENOBUFS.
class datagram_socket : public socket_base {
 public:
  /// Sends one datagram. Returns its size. IORING_OP_SENDMSG, Linux 5.3.
  [[nodiscard]] auto send_to(const_buffer bytes, const endpoint& to) noexcept {
    return detail::send_datagram_awaiter(*socket_, bytes, &to, 0);
  }
  [[nodiscard]] auto sendto(const_buffer bytes, const endpoint& to) noexcept {
    return send_to(bytes, to);
  }
  /// To the connected peer.
  [[nodiscard]] auto send(const_buffer bytes) noexcept {
    return detail::send_datagram_awaiter(*socket_, bytes, nullptr, 0);
  }

  /// Receives one datagram into the caller's memory. IORING_OP_RECVMSG, Linux 5.3.
  [[nodiscard]] auto recv_from(mutable_buffer into) noexcept {
    return detail::receive_into_awaiter(*socket_, into);
  }
  [[nodiscard]] auto recvfrom(mutable_buffer into) noexcept { return recv_from(into); }
  [[nodiscard]] auto recv(mutable_buffer into) noexcept { return recv_from(into); }

  /// Receives one datagram into a buffer of the loop, without a copy: of any size over UDP, of
  /// up to 65,536 bytes through a Unix socket, where a longer one is cut (is_truncated()) and needs
  /// recv_from(), which takes what its buffer holds. For servers: the kernel goes on receiving
  /// while tasks work. Multishot IORING_OP_RECVMSG, Linux 6.0.
  [[nodiscard]] auto receive() noexcept { return detail::receive_datagram_awaiter(*socket_); }

  /// Fixes the peer: send() goes there, only its datagrams are received, and its refusals are told.
  [[nodiscard]] auto connect(const endpoint& to) noexcept { return connect_awaiter(to); }
  /// The connected peer; unnamed if there is none.
  endpoint peer() const { return detail::peer_endpoint(owner_loop(), descriptor()); }

 protected:
  datagram_socket() noexcept {}
  explicit datagram_socket(detail::socket_handle&& socket) noexcept
      : socket_base(std::move(socket)) {}
};

}  // namespace rill
