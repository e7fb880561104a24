// Faults: what can go wrong in a world, as small rules that hold as long as their guard lives.
//   const auto cut = world.inject(sim::partition().between(server, client));
//   const auto noise = world.inject(sim::loss(0.05).from(client).to(server));
//   const auto third = world.inject(sim::failure("accept", EMFILE).on(server).only(3));
// A rule says what happens; where and when are added to it, in any order. Rules add up. What the
// rules draw comes from the world's seed, from a stream for each rule, so a further one leaves the
// others as they were. Not here: hosts that crash and clocks that stop (host::crash, world.h).
// Read next: README.md in this folder, "Faults".
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace rill::sim {

class host;

namespace detail {

enum class fault_kind : std::uint8_t {
  drop,
  duplicate,
  reorder,
  delay,
  bandwidth,
  reset,
  fail,
  shorten,
  end_multishot,
  delay_completion,
  delay_notification,
  swap_completions,
  submission_full,
  completion_full,
  slow_disk,
  full_disk,
  jump_clock,
  pause
};

inline constexpr std::uint32_t any_host = UINT32_MAX;

/// What a fault says, as values.
struct fault_rule {
  fault_kind what = fault_kind::drop;
  std::uint32_t from = any_host;  ///< the sender; of a call: the host
  std::uint32_t to = any_host;
  bool both_ways = false;
  bool one_host = false;  ///< packets that `from` sends or gets
  double probability = 1;
  std::uint64_t first = 1;  ///< matches before this one are left alone
  std::uint64_t last = UINT64_MAX;
  std::int64_t least = 0;  ///< nanoseconds
  std::int64_t most = 0;
  std::uint64_t amount = 0;  ///< bytes, or bytes a second
  int error_number = 0;
  std::string operation;  ///< empty: every one
};

}  // namespace detail

/// A rule for world::inject. A value: may be kept and injected again.
class fault {
 public:
  explicit fault(detail::fault_kind what) { rule_.what = what; }

  // Where. A rule without a place holds everywhere.

  /// Packets between two hosts, both ways.
  fault between(const host& one, const host& other) const;
  /// Packets that this host sends; with to() one direction of one pair of hosts.
  fault from(const host& sender) const;
  /// Packets that are sent to this host.
  fault to(const host& receiver) const;
  /// What the programs of this host ask of their kernel; of a network fault the packets that it
  /// sends or gets.
  fault on(const host& where) const;
  /// This operation or system call alone, as the trace names it: "send", "accept", "openat" ...
  /// "recv_multishot" and the like are the multishot ones alone.
  fault of(std::string_view operation) const;

  // When. A rule without a time holds always.

  /// At each match with this probability.
  fault sometimes(double probability) const;
  /// At the n-th match alone, counted from 1 at the injection.
  fault only(std::uint64_t nth) const;
  /// From the n-th match on.
  fault beginning_with(std::uint64_t nth) const;

  const detail::fault_rule& rule() const noexcept { return rule_; }

 private:
  friend fault delayed(detail::fault_kind, std::chrono::nanoseconds, std::chrono::nanoseconds);
  friend fault bandwidth(std::uint64_t bytes_per_second);
  friend fault reset_after(std::uint64_t byte_count);
  friend fault failure(std::string_view operation, int error_number);
  friend fault clock_jump(std::chrono::nanoseconds by);

  detail::fault_rule rule_;
};

// ---------------------------------------------------------------- the network

/// Every packet is lost. TCP goes on where it was when it ends, if nobody gave up before.
/// from(a).to(b) makes it a one-way partition.
fault partition();
/// Packets are lost, TCP's segments too.
fault loss(double probability);
/// Datagrams arrive twice. (TCP would not notice.)
fault duplication(double probability);
/// Datagrams arrive late, by up to ten longest latencies, and do not wait for each other.
fault reordering(double probability);
/// Packets take this much longer, drawn for each; their order stays.
fault latency(std::chrono::nanoseconds least, std::chrono::nanoseconds most);
fault latency(std::chrono::nanoseconds exactly);
/// A direction between two hosts carries so many bytes a second, headers of 66 bytes included;
/// what is more waits its turn without limit.
fault bandwidth(std::uint64_t bytes_per_second);
/// Connections are reset once this many bytes have passed in one direction: those bytes arrive,
/// then both ends see ECONNRESET.
fault reset_after(std::uint64_t byte_count);

// ---------------------------------------------------------------- the kernel

/// An operation or system call has no effect but this errno; closing happens all the same, and an
/// error that means that a TCP connection is lost (ECONNRESET, EPIPE ...) ends it for the peer too.
/// "enter" is the entry into the kernel with something to submit (EAGAIN, EBUSY), "wait" the one
/// without (EINTR).
fault failure(std::string_view operation, int error_number);
/// EMFILE from everything that makes a descriptor.
fault no_descriptors();
/// ENOMEM from everything that may say so. Entering the kernel says EAGAIN instead, which is left
/// to failure("enter", EAGAIN).sometimes(...): always, and nothing moves any more.
fault no_memory();
/// ENOBUFS from sending, and from receiving into provided buffers.
fault no_buffers();
/// EINTR from every operation that a signal can interrupt, and from waiting in the kernel.
fault interruption();
/// Operations transfer fewer bytes than they could, one at least.
fault short_transfers();
/// A multishot operation ends with the completion at hand, although it could go on.
fault early_end();
/// Completions are shown later than they happened. A cancel request in between finds nothing left
/// to cancel (ENOENT), and the completion comes after all. Those of one operation keep their order.
fault late_completions(std::chrono::nanoseconds most);
/// Notifications of sends without a copy (stream_socket::write_all of shared_bytes) come so much
/// later than the peer's acknowledgement, as behind a slow network card or a capture of packets.
fault late_notifications(std::chrono::nanoseconds most);
/// A completion overtakes the one before it, of another operation.
fault disordered_completions();
/// Entering the kernel takes only some of the operations that were submitted, so the submission
/// queue stays full longer.
fault slow_submission();
/// A completion finds the queue full and goes into the kernel's overflow list.
fault completion_overflow();

// ---------------------------------------------------------------- disk and time

/// Operations on files take this much longer.
fault slow_disk(std::chrono::nanoseconds least, std::chrono::nanoseconds most);
/// ENOSPC for every byte and every new file.
fault full_disk();
/// The calendar (kernel::wall_now) is wrong by this much; the loop's clock never steps.
fault clock_jump(std::chrono::nanoseconds by);
/// The programs of a host stand still, as on an overloaded or a suspended machine. Its kernel goes
/// on: packets are acknowledged, connections come into the backlog.
fault pause();

}  // namespace rill::sim
