// The way of a packet. See network.h.
#include <rill/runtime/sim/network.h>

#include <algorithm>
#include <utility>

#include <rill/runtime/sim/node.h>

namespace rill::sim::detail {
namespace {

// How long Linux asks for the owner of an address on the local network before it gives up with
// EHOSTUNREACH: three ARP requests, a second apart.
constexpr std::int64_t address_resolution_time = 3'000'000'000;

}  // namespace

network::network(engine& of) : engine_(&of), random_(of.seed, "network") {}

network::~network() {
  for (const std::unique_ptr<packet>& each : packets_) engine_->events.remove(*each);
}

void network::add_address(const address& of, node& owner) { owners_.emplace(of, &owner); }

node* network::find(const address& wanted, node& from) const noexcept {
  if (wanted.is_loopback()) return &from;
  const auto found = owners_.find(wanted);
  return found == owners_.end() ? nullptr : found->second;
}

packet& network::make_packet() {
  if (unused_.empty()) {
    packets_.push_back(std::make_unique<packet>(*this));
    unused_.reserve(packets_.size());
    return *packets_.back();
  }
  packet& reused = *unused_.back();
  unused_.pop_back();
  return reused;
}

void network::recycle(packet& used) noexcept {
  used.payload.clear();
  used.flags = 0;
  used.incarnation = 0;
  used.sequence = 0;
  used.acknowledged = 0;
  used.window = 0;
  unused_.push_back(&used);
}

std::int64_t& network::link(const node& from, const node& to) {
  if (links_.size() <= from.id) links_.resize(from.id + std::size_t{1});
  std::vector<std::int64_t>& row = links_[from.id];
  if (row.size() <= to.id) row.resize(to.id + std::size_t{1});
  return row[to.id];
}

void network::transmit(node& from, packet& sent) {
  if (stopped_) {
    recycle(sent);
    return;
  }
  sent.from = &from;
  sent.to = find(sent.destination.ip, from);
  if (sent.to == nullptr) {
    engine_->trace_packet("nowhere", from.id, sent);
    reject(from, sent);
    return;
  }
  if (from.is_down()) {
    recycle(sent);
    return;
  }
  const verdict decided = judge(sent);
  if (decided.dropped) {
    engine_->trace_packet("lost", from.id, sent);
    engine_->lossy = true;
    recycle(sent);
    return;
  }
  engine_->trace_packet("sent", from.id, sent);
  for (unsigned copy = 1; copy < decided.copy_count; ++copy) {
    packet& twin = make_packet();
    twin.source = sent.source;
    twin.destination = sent.destination;
    twin.kind = sent.kind;
    twin.flags = sent.flags;
    twin.incarnation = sent.incarnation;
    twin.sequence = sent.sequence;
    twin.acknowledged = sent.acknowledged;
    twin.window = sent.window;
    twin.payload = sent.payload;
    twin.from = sent.from;
    twin.to = sent.to;
    schedule(twin, decided);
  }
  if (decided.resets) {
    reset_both(sent, decided);
  } else {
    schedule(sent, decided);
  }
}

/// Latency, what the world's options say about datagrams, and the faults.
verdict network::judge(packet& sent) {
  const world_options& options = engine_->options;
  verdict on;
  if (sent.from == sent.to) {
    on.delay = engine_->draw(random_, options.loopback_latency);
    return on;
  }
  on.delay = engine_->draw(random_, options.latency);
  const std::int64_t longest = options.latency.most.count();
  if (sent.kind != packet_kind::tcp) {
    if (random_.chance(options.udp_loss)) on.dropped = true;
    if (random_.chance(options.udp_duplication)) ++on.copy_count;
    if (random_.chance(options.udp_reordering)) on.reorder(random_, longest);
  }
  if (!engine_->faults.empty()) engine_->faults.judge(sent, engine_->now(), longest, on);
  return on;
}

void network::reset_both(packet& cut, const verdict& decided) {
  packet& forth = make_packet();
  packet& back = make_packet();
  forth.kind = back.kind = packet_kind::tcp;
  forth.flags = back.flags = packet::rst;
  forth.incarnation = back.incarnation = cut.incarnation;
  forth.source = back.destination = cut.source;
  forth.destination = back.source = cut.destination;
  forth.from = back.to = cut.from;
  forth.to = back.from = cut.to;
  schedule(cut, decided);
  schedule(forth, decided);
  schedule(back, decided);
}

void network::schedule(packet& sent, const verdict& decided) {
  std::int64_t time = engine_->now() + std::max<std::int64_t>(decided.delay, 1);
  if (!decided.overtakes) {
    std::int64_t& last = link(*sent.from, *sent.to);
    time = std::max(time, last);
    last = time;
  }
  engine_->events.arm(sent, time);
}

void network::reject(node& from, packet& sent) {
  // The sender's own machine tells it; the packet comes back with its addresses as they were.
  sent.to = &from;
  sent.original_kind = sent.kind;
  sent.kind = packet_kind::host_unreachable;
  engine_->events.arm(sent, engine_->now() + address_resolution_time);
}

void network::arrived(packet& at) noexcept {
  if (at.to->is_down()) {
    engine_->trace_packet("lost", at.to->id, at);
    engine_->lossy = true;
    recycle(at);
    return;
  }
  engine_->trace_packet(at.kind == packet_kind::host_unreachable ? "unreachable" : "received",
                        at.to->id, at);
  at.to->receive(at);
  recycle(at);
}

}  // namespace rill::sim::detail
