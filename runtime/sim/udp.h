// UDP sockets: datagrams, truncation, errors from unreachable ports. See udp.cpp.
#pragma once

#include <cstddef>
#include <deque>
#include <vector>

#include <rill/runtime/sim/datagram_end.h>
#include <rill/runtime/sim/socket.h>

namespace rill::sim::detail {

class udp_socket final : public internet_socket, private datagram_end {
 public:
  udp_socket(node& on, int socket_family);
  ~udp_socket() override { give_up_port(); }

  int listen(int) override;
  int set_option(int level, int option, const void* value, unsigned size) override;
  int shutdown(int how) override;
  unsigned poll_state() noexcept override;

  /// How well this socket fits a datagram: 0 not at all; a connected one fits best.
  int score(const packet& arrived) const noexcept;
  bool shares_port() const noexcept { return claim_.reuse_port; }
  void receive(packet& arrived);
  /// What this socket sent to `to` came back as unreachable.
  void unreachable(const endpoint& to, int error);

 protected:
  progress attempt(request& tried) override;
  port_table& ports() const noexcept override { return node_->udp_ports; }
  const endpoint* peer() const noexcept override { return connected_ ? &peer_ : nullptr; }
  const endpoint& local() const noexcept override { return connected_ ? shown_ : claim_.local; }
  int pending_error() noexcept override;

 private:
  struct datagram {
    endpoint from;
    address to;
    std::vector<std::byte> bytes;
  };

  int connect(const request& tried);
  int send(request& tried);
  bool bind_if_needed(int& status);
  bool source_of(const request& tried, const endpoint& to, endpoint& from) const noexcept;

  const std::vector<std::byte>* first() const noexcept override {
    return queue_.empty() ? nullptr : &queue_.front().bytes;
  }
  unsigned write_name(void* into, unsigned room) const override;
  unsigned write_control(void* into, unsigned room, int& flags) const noexcept override;
  void drop_first() override;
  bool is_read_stopped() const noexcept override { return read_stopped_; }
  int take_receive_error() noexcept override { return -pending_error(); }
  bool knows_plain_buffers() const noexcept override { return true; }

  std::deque<datagram> queue_;
  std::size_t queued_size_ = 0;
  endpoint peer_;
  endpoint shown_;  ///< what getsockname tells once connect() has chosen the address
  bool connected_ = false;
  bool tells_address_ = false;  ///< IP_PKTINFO
  bool read_stopped_ = false;
  bool write_stopped_ = false;
  int error_ = 0;
};

}  // namespace rill::sim::detail
