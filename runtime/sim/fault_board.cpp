// Which faults hit what. See fault_board.h.
#include <rill/runtime/sim/fault_board.h>

#include <algorithm>
#include <stdexcept>

#include <rill/runtime/sim/errnos.h>
#include <rill/runtime/sim/node.h>
#include <rill/runtime/sim/packet.h>

namespace rill::sim::detail {
namespace {

// What a packet carries beside its payload: Ethernet, IPv4, TCP with time stamps.
constexpr std::uint64_t header_size = 66;
constexpr std::int64_t second = 1'000'000'000;

bool is_of_network(fault_kind what) noexcept { return what <= fault_kind::reset; }

}  // namespace

void fault_board::check(const fault_rule& rule) {
  const auto refuse_if = [](bool is_senseless, const char* why) {
    if (is_senseless) throw std::invalid_argument(why);
  };
  const bool of_network = is_of_network(rule.what);
  refuse_if(of_network && !rule.operation.empty(), "a fault of the network is of no operation");
  refuse_if(!of_network && rule.to != any_host, "a fault of a host is on() it, not to() another");
  refuse_if(rule.one_host && rule.to != any_host, "packets are on() one host, or from() and to()");
  const bool is_a_state = rule.what == fault_kind::pause || rule.what == fault_kind::jump_clock;
  refuse_if(is_a_state && !rule.operation.empty(), "a pause or a clock is of no operation");
  refuse_if(is_a_state && (rule.first != 1 || rule.last != UINT64_MAX || rule.probability < 1),
            "a pause or a clock that jumps holds as long as its guard: there are no matches");
}

std::shared_ptr<active_fault> fault_board::add(const fault_rule& rule) {
  check(rule);
  forget_lifted();
  active_.push_back(std::make_shared<active_fault>(rule, seed_, next_number_++));
  return active_.back();
}

void fault_board::forget_lifted() {
  std::erase_if(active_, [](const std::shared_ptr<active_fault>& each) { return each->lifted; });
}

bool fault_board::happens(active_fault& fault) {
  const std::uint64_t match = ++fault.match_count;
  if (match < fault.rule.first || match > fault.rule.last) return false;
  return fault.rule.probability >= 1 || fault.random.chance(fault.rule.probability);
}

// ---------------------------------------------------------------- packets

bool fault_board::covers(const fault_rule& rule, const packet& sent) noexcept {
  const std::uint32_t from = sent.from->id;
  const std::uint32_t to = sent.to->id;
  if (from == to) return false;  // loopback is no network
  if (rule.one_host) return rule.from == from || rule.from == to;
  const auto fits = [](std::uint32_t wanted, std::uint32_t host) {
    return wanted == any_host || wanted == host;
  };
  if (fits(rule.from, from) && fits(rule.to, to)) return true;
  return rule.both_ways && rule.from == to && rule.to == from;
}

void fault_board::judge(packet& sent, std::int64_t now, std::int64_t longest_latency, verdict& on) {
  forget_lifted();
  for (const std::shared_ptr<active_fault>& each : active_) {
    if (!is_of_network(each->rule.what) || !covers(each->rule, sent)) continue;
    apply(*each, sent, now, longest_latency, on);
  }
}

void fault_board::apply(active_fault& fault, packet& sent, std::int64_t now,
                        std::int64_t longest_latency, verdict& on) {
  const bool is_tcp = sent.kind == packet_kind::tcp;
  switch (fault.rule.what) {
    case fault_kind::drop:
      if (happens(fault)) on.dropped = true;
      break;
    case fault_kind::duplicate:
      if (!is_tcp && happens(fault)) ++on.copy_count;
      break;
    case fault_kind::reorder:
      if (!is_tcp && happens(fault)) on.reorder(fault.random, longest_latency);
      break;
    case fault_kind::delay:
      if (happens(fault)) on.delay += fault.random.between(fault.rule.least, fault.rule.most);
      break;
    case fault_kind::bandwidth: {
      if (!happens(fault)) break;
      std::int64_t& free_at = fault.free_at[{sent.from->id, sent.to->id}];
      const std::uint64_t bits_of_time =
          (sent.payload.size() + header_size) * std::uint64_t{second} / fault.rule.amount;
      free_at = std::max(free_at, now) + static_cast<std::int64_t>(bits_of_time);
      on.delay += free_at - now;
      break;
    }
    case fault_kind::reset: {
      // Sequence numbers count bytes from 1 on.
      if (!is_tcp || sent.payload.empty()) break;
      const std::uint64_t begin = sent.sequence - 1;
      const std::uint64_t end = begin + sent.payload.size();
      if (end < fault.rule.amount || !happens(fault)) break;
      const std::uint64_t kept = fault.rule.amount > begin ? fault.rule.amount - begin : 0;
      if (kept < sent.payload.size()) sent.flags &= static_cast<std::uint8_t>(~packet::fin);
      sent.payload.resize(
          static_cast<std::size_t>(std::min<std::uint64_t>(kept, sent.payload.size())));
      on.resets = true;
      break;
    }
    default:
      break;
  }
}

// ---------------------------------------------------------------- calls

bool fault_board::covers(const fault_rule& rule, std::uint32_t host,
                         std::string_view operation) noexcept {
  if (rule.from != any_host && rule.from != host) return false;
  if (rule.operation.empty() || rule.operation == operation) return true;
  constexpr std::string_view suffix = "_multishot";
  return operation.ends_with(suffix) &&
         operation.substr(0, operation.size() - suffix.size()) == rule.operation;
}

int fault_board::error_for(std::uint32_t host, std::string_view operation) {
  forget_lifted();
  for (const std::shared_ptr<active_fault>& each : active_) {
    const fault_rule& rule = each->rule;
    if (rule.what != fault_kind::fail || !covers(rule, host, operation)) continue;
    if (rule.operation.empty() && !may_give(operation, rule.error_number)) continue;
    if (happens(*each)) return rule.error_number;
  }
  return 0;
}

bool fault_board::hits(fault_kind what, std::uint32_t host, std::string_view operation) {
  bool any = false;
  for (const std::shared_ptr<active_fault>& each : active_) {
    if (each->lifted || each->rule.what != what || !covers(each->rule, host, operation)) continue;
    if (happens(*each)) any = true;
  }
  return any;
}

std::int64_t fault_board::delay_of(fault_kind what, std::uint32_t host,
                                   std::string_view operation) {
  std::int64_t delay = 0;
  for (const std::shared_ptr<active_fault>& each : active_) {
    if (each->lifted || each->rule.what != what || !covers(each->rule, host, operation)) continue;
    if (happens(*each)) delay += each->random.between(each->rule.least, each->rule.most);
  }
  return delay;
}

std::size_t fault_board::shortened(std::uint32_t host, std::string_view operation,
                                   std::size_t size) {
  if (size < 2) return size;
  for (const std::shared_ptr<active_fault>& each : active_) {
    const fault_rule& rule = each->rule;
    if (each->lifted || rule.what != fault_kind::shorten || !covers(rule, host, operation)) {
      continue;
    }
    if (happens(*each)) size = 1 + static_cast<std::size_t>(each->random.below(size - 1));
    if (size < 2) break;
  }
  return size;
}

bool fault_board::holds(fault_kind what, std::uint32_t host) const noexcept {
  return std::any_of(active_.begin(), active_.end(), [&](const auto& each) {
    return !each->lifted && each->rule.what == what && covers(each->rule, host, {});
  });
}

std::int64_t fault_board::clock_offset(std::uint32_t host) const noexcept {
  std::int64_t sum = 0;
  for (const std::shared_ptr<active_fault>& each : active_) {
    if (each->lifted || each->rule.what != fault_kind::jump_clock) continue;
    if (covers(each->rule, host, {})) sum += each->rule.least;
  }
  return sum;
}

}  // namespace rill::sim::detail
