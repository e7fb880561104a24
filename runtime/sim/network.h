// The network between hosts: every packet passes transmit(), where the rules say what becomes of
// it. A rule is a small object that looks at a packet and may drop, delay or double it; rules
// compose, each sees what the ones before it decided. Not here: what hosts do with packets (node.h,
// tcp.h, udp.h). Read next: tcp.h.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include <rill/runtime/sim/engine.h>
#include <rill/runtime/sim/packet.h>

namespace rill::sim::detail {

class node;

/// What becomes of one packet.
struct verdict {
  bool dropped = false;
  /// Arrives when it arrives, not behind the packets sent before it.
  bool overtakes = false;
  unsigned copy_count = 1;
  std::int64_t delay = 0;  ///< nanoseconds
};

class rule {
 public:
  virtual ~rule() = default;
  virtual void judge(const packet& sent, verdict& on) noexcept = 0;

  /// Set when the scope that imposed the rule ends; the network forgets the rule soon after.
  bool lifted = false;
};

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

  void add_rule(std::shared_ptr<rule> added) { rules_.push_back(std::move(added)); }
  void lift_all_rules() noexcept { rules_.clear(); }
  /// The hosts are about to go, one after another: nothing is sent any more.
  void stop() noexcept { stopped_ = true; }

 private:
  /// When the last packet from one host to another arrives.
  std::int64_t& link(const node& from, const node& to);
  void schedule(packet& sent, const verdict& decided);
  void reject(node& from, packet& sent);
  void recycle(packet& used) noexcept;

  engine* engine_;
  random_source random_;
  std::vector<std::shared_ptr<rule>> rules_;
  std::map<address, node*> owners_;
  std::vector<std::vector<std::int64_t>> links_;
  std::vector<std::unique_ptr<packet>> packets_;
  std::vector<packet*> unused_;
  bool stopped_ = false;
};

}  // namespace rill::sim::detail
