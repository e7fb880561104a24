// The descriptor's side of TCP: a fresh socket, a listener, or one end of a connection, and the
// requests on it: accept, connect, receive, send. Read next: tcp_socket.cpp.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <vector>

#include <rill/runtime/sim/socket.h>
#include <rill/runtime/sim/stream_end.h>
#include <rill/runtime/sim/tcp.h>

namespace rill::sim::detail {

class tcp_socket final : public internet_socket, private stream_end {
 public:
  tcp_socket(node& on, int socket_family);
  /// What accept() returns.
  tcp_socket(tcp_socket& listener, std::shared_ptr<tcp_connection> accepted);
  ~tcp_socket() override;

  int listen(int backlog) override;
  int shutdown(int how) override;
  unsigned poll_state() noexcept override;
  int write_now(const std::byte* from, std::size_t size) override;
  int get_option(int level, int option, void* value, unsigned& size) override;
  void lose_connection() override;
  bool keep_until_acknowledged(request& sent) override;

  // --- for connections on their way to accept() ---
  bool has_room() const noexcept { return ready_.size() <= backlog_; }
  void opened(const packet& syn);
  void established(std::shared_ptr<tcp_connection> ready);
  /// It failed before it was established.
  void forget(tcp_connection& failed) noexcept;
  void inherit(tcp_connection& opened) noexcept;

 protected:
  progress attempt(request& tried) override;
  port_table& ports() const noexcept override { return node_->tcp_ports; }
  bool may_bind() const noexcept override { return !is_bound_ && connection_ == nullptr; }
  const endpoint* peer() const noexcept override;
  const endpoint& local() const noexcept override;
  int pending_error() noexcept override;
  void options_changed() override;

 private:
  progress connect(request& tried);
  int start_connecting(request& tried);
  bool choose_port(endpoint& local, const endpoint& peer) const;
  const byte_queue* received() const noexcept override;
  void take(std::size_t size) override { connection_->consume(size); }
  void room_is_made() override {}  // the connection tells its peer when it is worth a packet
  int receive_state() override;
  bool is_receive_over() const noexcept override;
  bool tells_more() const noexcept override { return true; }
  bool has_more() const noexcept override;
  bool has_ready() const noexcept override { return !ready_.empty(); }
  int open_ready(void* name, socklen_t* size) override;
  progress send(request& tried);
  /// Why nothing can be sent; 0 if it can, or might soon.
  int send_failure();
  bool is_send_over() const noexcept;
  void close_listener();

  std::shared_ptr<tcp_connection> connection_;
  std::deque<std::shared_ptr<tcp_connection>> ready_;
  std::vector<tcp_connection*> half_open_;
  std::size_t backlog_ = 0;
};

}  // namespace rill::sim::detail
