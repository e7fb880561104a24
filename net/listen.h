// Listening by host name: TCP listeners and UDP sockets on all addresses of a host, and sockets
// that systemd hands over. Not here: one address (tcp.h, udp.h), serving connections (serve.h).
// Read next: listen.cpp.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <rill/net/endpoint.h>
#include <rill/net/resolver.h>
#include <rill/net/tcp.h>
#include <rill/net/udp.h>
#include <rill/runtime/task.h>

namespace rill {

/// Listens on every address of `host`: a name, an address, or "" for all of this machine's
/// (`[::]` and `0.0.0.0`). "localhost" is both `[::1]` and `127.0.0.1`.
///
/// Families that the machine has not (EAFNOSUPPORT; EADDRNOTAVAIL for `::1`) and addresses that are
///   not its own (unless options.free_bind is set) are left out as long as one remains. With port 0
///   all addresses get the same free number.
/// Socket activation: listening TCP sockets handed over by systemd that have this port, or any if
///   `to` is 0, are taken instead, whatever their address: the administrator has chosen it, and
///   nobody else could bind there. Others wait for their own call; see activated_listeners().
/// Errors: as tcp_listener::bind, of the first address that fails, and as resolver::resolve.
/// Cancellation: at any time; what was bound is closed.
/// Example: examples/echo_server.cpp.
[[nodiscard]] task<tcp_listener> listen(std::string host, service to,
                                        listen_options options = listen_options(),
                                        resolver* with = nullptr);

/// The same for UDP: one socket per address, all with one port.
[[nodiscard]] task<std::vector<udp_socket>> bind_udp(std::string host, service to,
                                                     udp_options options = udp_options(),
                                                     resolver* with = nullptr);

/// A socket that systemd, or whoever follows sd_listen_fds(3), has opened for this program. Owns
/// its descriptor until it is given away.
class activated_socket {
 public:
  enum class kind : std::uint8_t { tcp_listener, unix_listener, udp, unix_datagram };

  activated_socket(int descriptor, kind type, std::string name, const endpoint& local)
      : descriptor_(descriptor), kind_(type), name_(std::move(name)), local_(local) {}
  activated_socket(activated_socket&& other) noexcept
      : descriptor_(std::exchange(other.descriptor_, -1)),
        kind_(other.kind_),
        name_(std::move(other.name_)),
        local_(other.local_) {}
  activated_socket& operator=(activated_socket&& other) noexcept;
  ~activated_socket();

  kind type() const noexcept { return kind_; }
  /// FileDescriptorName= of the unit; "unknown" without one.
  const std::string& name() const noexcept { return name_; }
  const endpoint& local() const noexcept { return local_; }
  int descriptor() const noexcept { return descriptor_; }

  /// Gives the descriptor away, to the adopt() of tcp_listener, unix_listener, udp_socket or
  /// unix_datagram, as type() says.
  int release() noexcept { return std::exchange(descriptor_, -1); }

 private:
  int descriptor_;
  kind kind_;
  std::string name_;
  endpoint local_;
};

/// The sockets handed over (LISTEN_FDS, LISTEN_PID, LISTEN_FDNAMES) that nobody has taken yet; they
/// are the caller's now. For programs that choose by name; listen() and bind_udp() choose by port.
///
/// The first call of any of the three reads the variables, unsets them and sets close-on-exec, so
///   that no child believes they are meant for it. It must not run beside a getenv() or setenv() of
///   another thread; the calls themselves may come from any loop.
/// Errors: io_error "activate LISTEN_FDS=...: Invalid argument" for malformed variables, "activate
///   descriptor 4: ..." for a descriptor that is not open or neither listens nor takes datagrams;
///   then none of them is used. REQUIRES: called by a task.
std::vector<activated_socket> activated_listeners();

}  // namespace rill
