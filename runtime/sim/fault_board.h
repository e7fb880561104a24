// The faults that hold now, and what they say to a packet, a call, a completion.
// Asked at the few places that everything passes (network::transmit, sim_kernel). Costs one
// comparison where no fault is injected. Read next: faults.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include <rill/runtime/sim/faults.h>
#include <rill/runtime/sim/random.h>

namespace rill::sim::detail {

class packet;

/// What becomes of one packet.
struct verdict {
  bool dropped = false;
  /// Arrives when it arrives, not behind the packets sent before it.
  bool overtakes = false;
  /// Both ends are told that the connection was reset, behind this packet.
  bool resets = false;
  unsigned copy_count = 1;
  std::int64_t delay = 0;  ///< nanoseconds

  /// A datagram arrives when it will, up to ten longest latencies late.
  void reorder(random_source& random, std::int64_t longest_latency) {
    constexpr std::int64_t latencies = 10;
    overtakes = true;
    delay += random.between(0, longest_latency * latencies);
  }
};

/// A fault while it holds. Its guard lifts it; the board forgets it soon after.
struct active_fault {
  active_fault(const fault_rule& imposed, std::uint64_t seed, std::uint64_t number)
      : rule(imposed), random(seed, "fault", number) {}

  fault_rule rule;
  random_source random;
  std::uint64_t match_count = 0;
  bool lifted = false;
  /// bandwidth: when each direction is free again.
  std::map<std::pair<std::uint32_t, std::uint32_t>, std::int64_t> free_at;
};

class fault_board {
 public:
  explicit fault_board(std::uint64_t seed) noexcept : seed_(seed) {}

  std::shared_ptr<active_fault> add(const fault_rule& rule);
  void lift_all() noexcept { active_.clear(); }
  bool empty() const noexcept { return active_.empty(); }
  /// Throws std::invalid_argument for a rule whose place or time means nothing to its fault.
  static void check(const fault_rule& rule);

  /// May cut the packet's payload. `longest_latency` is the world's, for reordering.
  void judge(packet& sent, std::int64_t now, std::int64_t longest_latency, verdict& on);

  /// A positive errno that this operation of `host` ends with, or 0.
  int error_for(std::uint32_t host, std::string_view operation);
  /// True when some fault of this kind hits this operation of `host` now.
  bool hits(fault_kind what, std::uint32_t host, std::string_view operation);
  /// The same for faults that take time: nanoseconds, 0 when none hits.
  std::int64_t delay_of(fault_kind what, std::uint32_t host, std::string_view operation);
  /// 1 to size - 1, or `size` when nothing cuts the transfer.
  std::size_t shortened(std::uint32_t host, std::string_view operation, std::size_t size);
  /// Holds, without counting as a match: pauses.
  bool holds(fault_kind what, std::uint32_t host) const noexcept;
  std::int64_t clock_offset(std::uint32_t host) const noexcept;

 private:
  void forget_lifted();
  static bool covers(const fault_rule& rule, const packet& sent) noexcept;
  static bool covers(const fault_rule& rule, std::uint32_t host,
                     std::string_view operation) noexcept;
  static bool happens(active_fault& fault);
  static void apply(active_fault& fault, packet& sent, std::int64_t now,
                    std::int64_t longest_latency, verdict& on);

  std::uint64_t seed_;
  std::uint64_t next_number_ = 0;
  std::vector<std::shared_ptr<active_fault>> active_;
};

}  // namespace rill::sim::detail
