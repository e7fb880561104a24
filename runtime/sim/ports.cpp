// Port conflicts. See ports.h.
#include <rill/runtime/sim/ports.h>

namespace rill::sim::detail {
namespace {

bool overlap(const port_claim& left, const port_claim& right) noexcept {
  const address& a = left.local.ip;
  const address& b = right.local.ip;
  if (a.v6 == b.v6) return a == b || a.is_any() || b.is_any();
  return (a.v6 && left.dual && a.is_any()) || (b.v6 && right.dual && b.is_any());
}

}  // namespace

bool covers(const port_claim& claim, const address& ip) noexcept {
  const address& own = claim.local.ip;
  if (!own.is_any()) return own == ip;
  return own.v6 == ip.v6 || (own.v6 && claim.dual);
}

bool port_table::conflicts(const port_claim& wanted) const noexcept {
  const std::vector<port_claim*>* const others = find(wanted.local.port);
  if (others == nullptr) return false;
  for (const port_claim* other : *others) {
    if (other == &wanted || !overlap(wanted, *other)) continue;
    if (wanted.reuse_port && other->reuse_port) continue;
    if (wanted.reuse_address && other->reuse_address && !(tcp_ && other->listening)) continue;
    return true;
  }
  return false;
}

void port_table::add(port_claim& claim) {
  std::vector<port_claim*>& list = claims_[claim.local.port];
  claim.position = list.size();
  list.push_back(&claim);
}

void port_table::remove(port_claim& claim) noexcept {
  const auto found = claims_.find(claim.local.port);
  std::vector<port_claim*>& list = found->second;
  list[claim.position] = list.back();
  list[claim.position]->position = claim.position;
  list.pop_back();
  if (list.empty()) claims_.erase(found);
}

const std::vector<port_claim*>* port_table::find(std::uint16_t port) const noexcept {
  const auto found = claims_.find(port);
  return found == claims_.end() ? nullptr : &found->second;
}

bool port_table::choose(port_claim& claim, random_source& random) const noexcept {
  constexpr unsigned count = ephemeral_last - ephemeral_first + 1U;
  const auto start = static_cast<unsigned>(random.below(count));
  for (unsigned i = 0; i < count; ++i) {
    claim.local.port = static_cast<std::uint16_t>(ephemeral_first + (start + i) % count);
    if (find(claim.local.port) == nullptr) return true;
  }
  // All are in use; what the options allow may be shared.
  for (unsigned i = 0; i < count; ++i) {
    claim.local.port = static_cast<std::uint16_t>(ephemeral_first + (start + i) % count);
    if (!conflicts(claim)) return true;
  }
  claim.local.port = 0;
  return false;
}

}  // namespace rill::sim::detail
