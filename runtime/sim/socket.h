// What sockets answer to control calls, and what those of TCP and UDP have in common: options and
// the local name. Read next: tcp_socket.h, udp.h; unix_socket.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include <rill/runtime/sim/file.h>
#include <rill/runtime/sim/node.h>
#include <rill/runtime/sim/ports.h>
#include <rill/runtime/sim/tcp.h>

namespace rill::sim::detail {

/// What the system calls on sockets ask of each kind. 0 or a negative errno.
class socket : public file {
 public:
  bool is_socket() const noexcept override { return true; }
  virtual int family() const noexcept = 0;

  virtual int bind(const void* name, unsigned size) = 0;
  virtual int listen(int backlog) = 0;
  virtual int set_option(int level, int option, const void* value, unsigned size) = 0;
  virtual int get_option(int level, int option, void* value, unsigned& size) = 0;
  virtual int local_name(void* name, unsigned& size) = 0;
  virtual int peer_name(void* name, unsigned& size) = 0;
  virtual int shutdown(int how) = 0;
  /// Sends what fits at once, for sendfile: the number of bytes, or a negative errno.
  virtual int write_now(const std::byte* from, std::size_t size);
};

/// A socket of TCP or UDP.
class internet_socket : public socket {
 public:
  internet_socket(node& on, int socket_family, int socket_type);

  node& host() const noexcept { return *node_; }
  int family() const noexcept override { return family_; }

  int bind(const void* name, unsigned size) override;
  int set_option(int level, int option, const void* value, unsigned size) override;
  int get_option(int level, int option, void* value, unsigned& size) override;
  int local_name(void* name, unsigned& size) override;
  int peer_name(void* name, unsigned& size) override;

 protected:
  /// The table in which this socket claims its port.
  virtual port_table& ports() const noexcept = 0;
  virtual bool may_bind() const noexcept { return !is_bound_; }
  virtual const endpoint* peer() const noexcept = 0;
  virtual const endpoint& local() const noexcept { return claim_.local; }
  virtual int pending_error() noexcept = 0;
  /// Something in timing_, send_size_ or receive_size_ has changed.
  virtual void options_changed() {}

  /// Claims claim_.local, choosing a port if it has none. 0 or a negative errno.
  int claim_port();
  void give_up_port() noexcept;
  /// Reads a destination: 0.0.0.0 becomes the host itself, as on Linux.
  int resolve(const void* name, unsigned size, endpoint& to) const noexcept;

  node* node_;
  engine* engine_;
  int family_;
  int type_;
  port_claim claim_;
  bool is_bound_ = false;
  bool v6_only_ = false;
  bool keeps_broadcast_ = false;
  bool no_delay_ = false;
  bool linger_ = false;
  int linger_seconds_ = 0;
  tcp_timing timing_;
  std::size_t send_size_;
  std::size_t receive_size_;

 private:
  int set_socket_option(int option, int value, const void* raw, unsigned size);
  int set_tcp_option(int option, int value);
  int option_value(int level, int option, int& value);
};

}  // namespace rill::sim::detail
