// Unix domain sockets of one simulated host: streams, listeners and datagrams, by path, by abstract
// name and in pairs. Bytes are at the other end at once; what waits there is what the socket
// buffers of Linux would hold. Not here: descriptors sent along (SCM_RIGHTS is refused).
// Read next: unix_stream.cpp, unix_datagram.cpp.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include <rill/runtime/sim/bytes.h>
#include <rill/runtime/sim/datagram_end.h>
#include <rill/runtime/sim/disk.h>
#include <rill/runtime/sim/socket.h>
#include <rill/runtime/sim/stream_end.h>

namespace rill::sim::detail {

// A name is what stands in sun_path: a path without its NUL, an abstract name with its leading NUL,
// nothing for a socket without one.

/// Reads a sockaddr_un. 0 or a negative errno.
int decode_unix(const void* from, unsigned size, std::string& name) noexcept;
/// Writes one: at most `size` bytes. `size` becomes the full length.
void encode_unix(const std::string& name, void* to, unsigned& size) noexcept;

class unix_socket : public socket {
 public:
  unix_socket(node& on, int socket_type);
  ~unix_socket() override;

  int family() const noexcept override;
  int type() const noexcept { return type_; }
  int bind(const void* name, unsigned size) override;
  int set_option(int level, int option, const void* value, unsigned size) override;
  int get_option(int level, int option, void* value, unsigned& size) override;
  int local_name(void* name, unsigned& size) override;

 protected:
  virtual int pending_error() noexcept { return 0; }
  virtual bool is_listening() const noexcept { return false; }
  virtual bool has_peer() const noexcept = 0;
  /// Who is bound to this name; a negative errno if nobody is, or somebody of another kind.
  int find_bound(const std::string& name, std::shared_ptr<unix_socket>& found) const;

  node* node_;
  int type_;
  std::string name_;        ///< what it is bound to itself
  std::string shown_name_;  ///< of an accepted stream its listener's
  std::size_t send_size_;

 private:
  int autobind();

  std::shared_ptr<inode> inode_;  ///< of a path
};

class unix_stream final : public unix_socket, private stream_end {
 public:
  explicit unix_stream(node& on);
  ~unix_stream() override;
  static void make_pair(node& on, std::shared_ptr<file>& first, std::shared_ptr<file>& second);

  int listen(int backlog) override;
  int peer_name(void* name, unsigned& size) override;
  int shutdown(int how) override;
  unsigned poll_state() noexcept override;
  int write_now(const std::byte* from, std::size_t size) override;

 protected:
  progress attempt(request& tried) override;
  int pending_error() noexcept override;
  bool is_listening() const noexcept override { return listening_; }
  bool has_peer() const noexcept override { return connected_; }

 private:
  static void join(const std::shared_ptr<unix_stream>& one,
                   const std::shared_ptr<unix_stream>& other);
  int connect(const request& tried);
  const byte_queue* received() const noexcept override { return &incoming_; }
  void take(std::size_t size) override { incoming_.consume(size); }
  void room_is_made() override;
  int receive_state() override;
  bool is_receive_over() const noexcept override;
  bool tells_more() const noexcept override { return false; }
  bool has_more() const noexcept override { return false; }
  bool has_ready() const noexcept override { return !ready_.empty(); }
  int open_ready(void* name, socklen_t* size) override;
  progress send(request& tried);
  bool send_piece(request& tried);
  void wake_peer();
  void wake_clients();
  std::size_t write(const std::byte* from, std::size_t size);
  int send_failure();
  bool peer_is_gone() const noexcept { return connected_ && peer_.expired(); }

  std::weak_ptr<unix_stream> peer_;
  std::string peer_name_;
  byte_queue incoming_;
  std::deque<std::shared_ptr<unix_stream>> ready_;  ///< of a listener
  /// Those that found the queue full, in the order of their coming.
  std::vector<std::weak_ptr<unix_stream>> waiting_clients_;
  std::size_t backlog_ = 0;
  bool listening_ = false;
  bool connected_ = false;
  bool peer_finished_ = false;
  bool read_stopped_ = false;
  bool write_stopped_ = false;
  int error_ = 0;
};

class unix_datagram final : public unix_socket, private datagram_end {
 public:
  explicit unix_datagram(node& on);
  ~unix_datagram() override;
  static void make_pair(node& on, std::shared_ptr<file>& first, std::shared_ptr<file>& second);

  int listen(int) override;
  int peer_name(void* name, unsigned& size) override;
  int shutdown(int how) override;
  unsigned poll_state() noexcept override;

 protected:
  progress attempt(request& tried) override;
  int pending_error() noexcept override;
  bool has_peer() const noexcept override { return connected_; }
  bool keeps_order() const noexcept override { return false; }

 private:
  struct datagram {
    std::weak_ptr<unix_datagram> sender;
    std::string from;  ///< what its name was
    std::vector<std::byte> bytes;
  };

  int connect(const request& tried);
  progress send(request& tried);
  int find_receiver(const request& tried, std::shared_ptr<unix_datagram>& found);
  const std::vector<std::byte>* first() const noexcept override {
    return queue_.empty() ? nullptr : &queue_.front().bytes;
  }
  unsigned write_name(void* into, unsigned room) const override;
  unsigned write_control(void*, unsigned, int&) const noexcept override { return 0; }
  void drop_first() override;
  bool is_read_stopped() const noexcept override { return read_stopped_; }
  int take_receive_error() noexcept override { return 0; }
  bool knows_plain_buffers() const noexcept override { return false; }
  bool is_full() const noexcept;
  void keep_waiting(unix_datagram& sender);
  void wake_senders();

  std::deque<datagram> queue_;
  std::weak_ptr<unix_datagram> peer_;
  /// Senders and pollers that found the queue full, in the order of their coming.
  std::vector<std::weak_ptr<unix_datagram>> waiting_senders_;
  std::string peer_name_;
  bool connected_ = false;
  bool read_stopped_ = false;
  bool write_stopped_ = false;
  int error_ = 0;
};

}  // namespace rill::sim::detail
