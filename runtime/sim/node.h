// A host of the simulated world: its addresses, its table of descriptors, its TCP and UDP, its
// disk. Read next: tcp.h.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <rill/runtime/sim/disk.h>
#include <rill/runtime/sim/engine.h>
#include <rill/runtime/sim/file.h>
#include <rill/runtime/sim/network.h>
#include <rill/runtime/sim/ports.h>

namespace rill::sim::detail {

class signal_file;
class tcp_connection;
class tcp_socket;
class udp_socket;
class unix_socket;

/// Both ends of a connection, as one host sees them.
struct connection_key {
  endpoint local;
  endpoint peer;
  friend bool operator==(const connection_key&, const connection_key&) = default;
};
/// For look-ups. A host that crashes or is destroyed walks the table, which then is emptied without
/// a packet, an event or a trace that could tell in which order.
struct connection_key_hash {
  std::size_t operator()(const connection_key& key) const noexcept {
    return key.local.hash() ^ (key.peer.hash() >> 3);
  }
};

class node {
 public:
  node(engine& of, network& on, std::uint32_t number, std::string host_name);
  ~node();

  // --- descriptors: always the lowest free number, as POSIX has it ---
  /// A descriptor, or -EMFILE.
  int open(std::shared_ptr<file> opened);
  bool has_free_descriptor() const noexcept;
  /// nullptr: EBADF.
  std::shared_ptr<file> find_file(int descriptor) const noexcept;
  int close(int descriptor) noexcept;
  std::size_t open_count() const noexcept { return open_count_; }

  // --- addresses ---
  void add_address(const address& added);
  bool owns(const address& asked) const noexcept;
  const std::vector<address>& addresses() const noexcept { return addresses_; }
  /// What a packet to `destination` leaves with; false: no address of that family (ENETUNREACH).
  bool source_for(const address& destination, address& source) const noexcept;

  // --- packets ---
  void receive(packet& arrived);

  // --- TCP ---
  std::shared_ptr<tcp_connection> find_connection(const connection_key& key) const noexcept;
  void add_connection(const connection_key& key, std::shared_ptr<tcp_connection> added);
  void remove_connection(const connection_key& key) noexcept;

  // --- signals ---
  void add_signal_file(signal_file& added) { signal_files_.push_back(&added); }
  void remove_signal_file(signal_file& gone) noexcept;
  /// False: nobody has asked for this signal, so it would end the process.
  bool raise(int number);

  // --- loops ---
  /// 0 for the first since the host is up, and so on.
  std::uint32_t next_loop_number() noexcept { return loop_count_++; }

  // --- time, crashes ---
  /// Nanoseconds since 1970, as this host's calendar has it.
  std::int64_t wall_now() const noexcept;
  bool is_down() const noexcept { return down_; }
  /// From now on nothing leaves this host, and nothing comes in.
  void go_down() noexcept { down_ = true; }
  /// What a crash takes: connections without a farewell, descriptors, what was not synced.
  /// REQUIRES: is_down(), and no program of the host uses its kernel any more.
  void lose_everything();
  void come_up() noexcept {
    down_ = false;
    loop_count_ = 0;
  }

  const std::uint32_t id;
  const std::string name;
  engine& world;
  network& wire;
  port_table tcp_ports{true};
  port_table udp_ports{false};
  random_source random;
  disk storage;
  /// By the type of the socket: streams and datagrams have name spaces of their own.
  std::map<std::pair<int, std::string>, std::weak_ptr<unix_socket>> abstract_names;
  unsigned next_autobind = 0;

 private:
  void receive_tcp(packet& arrived);
  void receive_udp(packet& arrived);
  void unreachable(packet& returned);
  void refuse_connection(const packet& arrived);
  tcp_socket* choose_listener(const packet& arrived) const noexcept;

  std::vector<std::shared_ptr<file>> files_;
  std::size_t open_count_ = 0;
  std::size_t lowest_free_ = 3;  ///< no lower descriptor is free
  std::vector<address> addresses_;
  std::unordered_map<connection_key, std::shared_ptr<tcp_connection>, connection_key_hash>
      connections_;
  std::vector<signal_file*> signal_files_;
  std::uint32_t loop_count_ = 0;
  bool down_ = false;
};

}  // namespace rill::sim::detail
