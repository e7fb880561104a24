// What every socket has, streams and datagrams alike: a descriptor, an own address, options.
// Each option is named after its constant; what has no name here is reached by number, with
// set_option() and option(). Not here: options of one protocol (tcp.h, udp.h), and those that must
// be set before a listener listens (listen_options in tcp.h). Read next: tcp.h.
#pragma once

#include <concepts>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

#include <rill/net/buffer.h>
#include <rill/net/endpoint.h>
#include <rill/net/socket.h>

namespace rill {

/// A value that setsockopt(2) and getsockopt(2) can copy: int, bool (as an int), or a struct of the
/// system's headers. Text and bytes are told apart from it, as they are copied from elsewhere.
template <class T>
concept option_value =
    std::is_trivially_copyable_v<T> && std::is_default_constructible_v<T> &&
    !std::is_pointer_v<T> && !std::is_array_v<T> && !std::is_convertible_v<const T&, const_buffer>;

namespace detail {

/// "set option 13 of level 6 127.0.0.1:80: ..."; `verb` is "set" or "get".
[[noreturn]] void throw_option_error(int status, const char* verb, int level, int name,
                                     const std::string& subject);

/// Calls `set` with the bytes of `value` as the kernel wants them.
template <option_value T, class Set>
void set_as_bytes(const T& value, Set set) {
  if constexpr (std::is_same_v<T, bool>) {
    set_as_bytes(value ? 1 : 0, set);
  } else {
    set(const_buffer(reinterpret_cast<const std::byte*>(&value), sizeof(T)));
  }
}

}  // namespace detail

/// An address that the sockets of several loops serve: what share() of the first of them gives and
/// join() of the others takes. May be read by several threads at once.
class shared_socket {
 public:
  /// `handed_over`: a socket that was adopted, of which this owns the number; else -1.
  shared_socket(const endpoint& local, int handed_over) noexcept
      : local_(local), descriptor_(handed_over) {}
  shared_socket(shared_socket&& other) noexcept
      : local_(other.local_), descriptor_(std::exchange(other.descriptor_, -1)) {}
  shared_socket& operator=(shared_socket&& other) noexcept {
    std::swap(local_, other.local_);
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  ~shared_socket();

  const endpoint& local() const noexcept { return local_; }
  /// Whoever joins takes the socket itself, by another number. Nobody else could bind beside one
  /// that systemd has bound as another user.
  bool is_handed_over() const noexcept { return descriptor_ >= 0; }
  /// REQUIRES: is_handed_over(). Errors: io_error "share 127.0.0.1:80: Too many open files".
  int duplicate() const;
  /// Gives the number away.
  int release() noexcept { return std::exchange(descriptor_, -1); }

 private:
  endpoint local_;
  int descriptor_;
};

/// The common base of sockets. Reading and setting an option is one system call, which never waits.
///
/// Errors: io_error with the option's name and the peer's or the own address: "SO_MARK
///   127.0.0.1:80: Operation not permitted". ENOPROTOOPT and EOPNOTSUPP: this kind of socket, or
///   this kernel, has no such option. EINVAL: not with this value; the simulator says so for every
///   option that it does not model.
/// Thread rule: the loop's thread that made it. REQUIRES: the socket is open.
class socket_base {
 public:
  bool is_open() const noexcept { return static_cast<bool>(socket_); }
  /// The kernel's number of this socket, for system calls of one's own. It stays the socket's.
  int descriptor() const noexcept { return socket_->read.descriptor; }
  loop& owner_loop() const noexcept { return socket_->owner_loop(); }
  /// The own address and port, or name. Unnamed when the kernel does not know it (any more).
  endpoint local() const { return detail::local_endpoint(owner_loop(), descriptor()); }

  /// Withdraws what is in flight (another task waiting here gets ECANCELED), waits until the kernel
  /// has let go, and closes. Only needed where something must follow the close. Cancellation: the
  /// close goes on without its waiter.
  [[nodiscard]] auto close() noexcept { return detail::socket_close_awaiter(std::move(socket_)); }

  /// Any option, by the numbers of <sys/socket.h> and its kind: set_option(SOL_SOCKET,
  /// SO_BUSY_POLL, 50). An error says "set option 46 of level 1 127.0.0.1:80: Operation not
  /// permitted".
  template <option_value T>
  void set_option(int level, int name, const T& value) {
    detail::set_as_bytes(value, [&](const_buffer bytes) { set_option(level, name, bytes); });
  }
  /// The same for options that take a text, or bytes of another length.
  void set_option(int level, int name, const_buffer value) {
    write_option(level, name, value, nullptr);
  }
  /// What an option is now: option<int>(SOL_SOCKET, SO_INCOMING_CPU). Bytes of T beyond what the
  /// kernel tells are zero; what T has no room for is left out.
  template <option_value T = int>
  T option(int level, int name) const {
    if constexpr (std::is_same_v<T, bool>) {
      return option<int>(level, name) != 0;
    } else {
      T value{};
      read_option(level, name, {reinterpret_cast<std::byte*>(&value), sizeof(T)}, nullptr);
      return value;
    }
  }
  /// The same for options that are texts, of at most 255 bytes.
  std::string text_option(int level, int name) const {
    return read_text_option(level, name, nullptr);
  }

  /// SO_SNDBUF and SO_RCVBUF in bytes: the kernel doubles what is set for its own accounting, tells
  /// the doubled number, keeps to net.core.wmem_max and rmem_max, and no longer tunes it by itself.
  void set_send_buffer_size(int size);
  int send_buffer_size() const;
  void set_receive_buffer_size(int size);
  int receive_buffer_size() const;

  /// SO_PRIORITY: the queueing class of what is sent, 0 (default) to 6, or more with CAP_NET_ADMIN.
  void set_priority(int priority);
  int priority() const;
  /// SO_MARK: what routing rules and firewalls know this socket's packets by. 0: none. EPERM
  /// without CAP_NET_ADMIN (or CAP_NET_RAW, Linux 5.17).
  void set_mark(unsigned mark);
  unsigned mark() const;
  /// SO_BINDTODEVICE: sends and receives through this interface ("eth0") only; empty: any. ENODEV
  /// if there is none of the name; EPERM to change it once set without CAP_NET_RAW.
  void bind_to_device(std::string_view interface);
  std::string bound_device() const;
  /// The differentiated services byte of the header: IP_TOS, or IPV6_TCLASS on an IPv6 socket. The
  /// code point (DSCP) is in the upper six bits; of a TCP socket the lower two are the kernel's.
  void set_type_of_service(int byte);
  int type_of_service() const;
  /// SO_ERROR: why an operation in the background has failed, and forgets it. No error: none has.
  /// Operations tell it by themselves; this is for those who only watch a socket.
  std::error_code pending_error();

  /// For other parts of this library.
  detail::socket_state& state() const noexcept { return *socket_; }

 protected:
  socket_base() noexcept {}
  explicit socket_base(detail::socket_handle&& socket) noexcept : socket_(std::move(socket)) {}
  socket_base(socket_base&&) noexcept = default;
  socket_base& operator=(socket_base&&) noexcept = default;
  ~socket_base() = default;

  /// `text` is the option's name in errors, a literal; nullptr: its numbers.
  void write_option(int level, int name, const_buffer value, const char* text);
  void set_number(int level, int name, int value, const char* text);
  /// Returns how many bytes the kernel told.
  std::size_t read_option(int level, int name, mutable_buffer value, const char* text) const;
  int number(int level, int name, const char* text) const;
  std::string read_text_option(int level, int name, const char* text) const;
  /// True for IPv6 sockets, false for IPv4 and Unix.
  bool is_v6() const { return local().kind() == endpoint_kind::ipv6; }
  /// The operation that connects. `to` must live until it is over.
  detail::write_awaiter connect_awaiter(const endpoint& to) noexcept {
    return detail::write_awaiter(*socket_, const_buffer(to.native().data(), to.native().size()),
                                 detail::socket_state::connect_type);
  }

  detail::socket_handle socket_;
};

}  // namespace rill
