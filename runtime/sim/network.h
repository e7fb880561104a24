// The network between hosts: every packet passes transmit(), where the world's options and the
// faults that hold (fault_board.h) say what becomes of it. Not here: what hosts do with packets
// (node.h, tcp.h, udp.h). Read next: tcp.h.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include <rill/runtime/sim/engine.h>
#include <rill/runtime/sim/fault_board.h>
#include <rill/runtime/sim/packet.h>

namespace rill::sim::detail {

class node;

class network {
 public:
  explicit network(engine& of);
  ~network();

  void add_address(const address& of, node& owner);
  /// The host with this address, as seen from `from`, or nullptr.
  node* find(const address& wanted, node& from) const noexcept;

  /// A packet to be filled in and handed to transmit().
  packet& make_packet();
  void transmit(node& from, packet& sent);
  void arrived(packet& at) noexcept;

  /// The hosts are about to go, one after another: nothing is sent any more.
  void stop() noexcept { stopped_ = true; }

 private:
  /// When the last packet from one host to another arrives.
  std::int64_t& link(const node& from, const node& to);
  verdict judge(packet& sent);
  void schedule(packet& sent, const verdict& decided);
  /// What both ends of a connection get that somebody on the way has cut.
  void reset_both(packet& cut, const verdict& decided);
  void reject(node& from, packet& sent);
  void recycle(packet& used) noexcept;

  engine* engine_;
  random_source random_;
  std::map<address, node*> owners_;
  std::vector<std::vector<std::int64_t>> links_;
  std::vector<std::unique_ptr<packet>> packets_;
  std::vector<packet*> unused_;
  bool stopped_ = false;
};

}  // namespace rill::sim::detail
