// Descriptors, addresses, and which socket a packet is for. See node.h.
#include <rill/runtime/sim/node.h>

#include <algorithm>
#include <cerrno>
#include <stdexcept>
#include <utility>

#include <rill/runtime/sim/signals.h>
#include <rill/runtime/sim/tcp_socket.h>
#include <rill/runtime/sim/udp.h>

namespace rill::sim::detail {
namespace {

// 0, 1 and 2 are the process's standard streams.
constexpr std::size_t descriptor_first = 3;
// 2026-01-01 00:00:00 UTC, when every world begins.
constexpr std::int64_t epoch = 1'767'225'600'000'000'000;

}  // namespace

node::node(engine& of, network& on, std::uint32_t number, std::string host_name)
    : id(number),
      name(std::move(host_name)),
      world(of),
      wire(on),
      random(of.seed, "host", number),
      storage(of.seed, number, of.options.disk_size),
      files_(descriptor_first) {}

node::~node() {
  // Files first: sockets give up their ports and connections while the tables still stand.
  std::vector<std::shared_ptr<file>> files = std::move(files_);
  files.clear();
  while (!connections_.empty()) {
    const std::shared_ptr<tcp_connection> each = connections_.begin()->second;
    connections_.erase(connections_.begin());
  }
}

// ---------------------------------------------------------------- descriptors

bool node::has_free_descriptor() const noexcept {
  return open_count_ + descriptor_first < static_cast<std::size_t>(world.options.descriptor_max);
}

int node::open(std::shared_ptr<file> opened) {
  if (!has_free_descriptor()) return -EMFILE;
  std::size_t number = lowest_free_;
  while (number < files_.size() && files_[number] != nullptr) ++number;
  if (number == files_.size()) files_.emplace_back();
  files_[number] = std::move(opened);
  lowest_free_ = number + 1;
  ++open_count_;
  return static_cast<int>(number);
}

std::shared_ptr<file> node::find_file(int descriptor) const noexcept {
  const auto number = static_cast<std::size_t>(descriptor);
  return descriptor < 0 || number >= files_.size() ? nullptr : files_[number];
}

int node::close(int descriptor) noexcept {
  if (find_file(descriptor) == nullptr) return -EBADF;
  const auto number = static_cast<std::size_t>(descriptor);
  const std::shared_ptr<file> closed = std::exchange(files_[number], nullptr);
  lowest_free_ = std::min(lowest_free_, number);
  --open_count_;
  return 0;
}

// ---------------------------------------------------------------- addresses

void node::add_address(const address& added) {
  if (added.is_any() || added.is_loopback() || added.is_multicast()) {
    throw std::invalid_argument(added.to_string() + " cannot be the address of a host");
  }
  if (added.v6 && added.bytes[0] == 0xfe && (added.bytes[1] & 0xc0) == 0x80) {
    throw std::invalid_argument("link-local addresses (" + added.to_string() +
                                ") are not modelled");
  }
  if (wire.find(added, *this) != nullptr) {
    throw std::invalid_argument(added.to_string() + " belongs to a host already");
  }
  addresses_.push_back(added);
  wire.add_address(added, *this);
}

bool node::owns(const address& asked) const noexcept {
  if (asked.is_loopback()) return true;
  return std::find(addresses_.begin(), addresses_.end(), asked) != addresses_.end();
}

bool node::source_for(const address& destination, address& source) const noexcept {
  if (owns(destination)) {
    source = destination.is_loopback() ? address::loopback(destination.v6) : destination;
    return true;
  }
  for (const address& each : addresses_) {
    if (each.v6 != destination.v6) continue;
    source = each;
    return true;
  }
  return false;
}

// ---------------------------------------------------------------- packets

void node::receive(packet& arrived) {
  switch (arrived.kind) {
    case packet_kind::tcp:
      receive_tcp(arrived);
      break;
    case packet_kind::udp:
      receive_udp(arrived);
      break;
    case packet_kind::port_unreachable:
    case packet_kind::host_unreachable:
      unreachable(arrived);
      break;
  }
}

void node::receive_tcp(packet& arrived) {
  const connection_key key{arrived.destination, arrived.source};
  if (const std::shared_ptr<tcp_connection> found = find_connection(key)) {
    const bool anew = found->state() == tcp_state::time_wait && arrived.flags == packet::syn;
    if (!anew) {
      found->receive(arrived);
      return;
    }
    found->abort();  // TIME_WAIT gives way to a new connection (tcp_timewait_state_process())
  }
  if (arrived.has(packet::rst)) return;
  if (arrived.flags == packet::syn) {
    if (tcp_socket* const listener = choose_listener(arrived)) {
      listener->opened(arrived);
      return;
    }
  }
  refuse_connection(arrived);
}

void node::refuse_connection(const packet& arrived) {
  packet& answer = wire.make_packet();
  answer.kind = packet_kind::tcp;
  answer.source = arrived.destination;
  answer.destination = arrived.source;
  answer.flags = packet::rst | packet::ack;
  answer.incarnation = arrived.incarnation;
  answer.acknowledged = arrived.sequence + 1;
  wire.transmit(*this, answer);
}

tcp_socket* node::choose_listener(const packet& arrived) const noexcept {
  const std::vector<port_claim*>* const claims = tcp_ports.find(arrived.destination.port);
  if (claims == nullptr) return nullptr;
  // An address of its own beats a wildcard, IPv6's dual one comes last; listeners that share the
  // port are chosen among by a hash of the two ends.
  const auto rank = [&](const port_claim& claim) {
    if (!claim.listening || !covers(claim, arrived.destination.ip)) return 0;
    if (!claim.local.ip.is_any()) return 3;
    return claim.local.ip.v6 == arrived.destination.ip.v6 ? 2 : 1;
  };
  int best = 0;
  std::size_t count = 0;
  for (const port_claim* each : *claims) {
    const int own = rank(*each);
    if (own > best) count = 0;
    best = std::max(best, own);
    if (own == best && own != 0) ++count;
  }
  if (count == 0) return nullptr;
  std::size_t chosen = (arrived.source.hash() ^ world.seed) % count;
  for (port_claim* each : *claims) {
    if (rank(*each) == best && chosen-- == 0) return static_cast<tcp_socket*>(each->holder);
  }
  return nullptr;
}

void node::receive_udp(packet& arrived) {
  udp_socket* chosen = nullptr;
  if (const std::vector<port_claim*>* const claims = udp_ports.find(arrived.destination.port)) {
    int best = 0;
    std::size_t shared = 0;
    for (port_claim* each : *claims) {
      auto* const candidate = static_cast<udp_socket*>(each->holder);
      const int own = candidate->score(arrived);
      if (own == 0 || own < best) continue;
      shared = own > best ? 1 : shared + 1;
      best = own;
      // Of sockets that fit equally well the newest gets it, or a share by SO_REUSEPORT.
      const bool keep = shared > 1 && candidate->shares_port() &&
                        (arrived.source.hash() ^ world.seed) % shared != 0;
      if (!keep) chosen = candidate;
    }
  }
  if (chosen != nullptr) {
    chosen->receive(arrived);
    return;
  }
  packet& answer = wire.make_packet();
  answer.kind = packet_kind::port_unreachable;
  answer.original_kind = packet_kind::udp;
  answer.source = arrived.destination;
  answer.destination = arrived.source;
  wire.transmit(*this, answer);
}

void node::unreachable(packet& returned) {
  // A port's answer comes from there; "no such host" is our own packet handed back.
  const bool own = returned.kind == packet_kind::host_unreachable;
  const endpoint local = own ? returned.source : returned.destination;
  const endpoint peer = own ? returned.destination : returned.source;
  if (returned.original_kind == packet_kind::tcp) {
    if (const auto found = find_connection({local, peer})) found->unreachable();
    return;
  }
  const std::vector<port_claim*>* const claims = udp_ports.find(local.port);
  if (claims == nullptr || returned.original_kind != packet_kind::udp) return;
  const int error = own ? EHOSTUNREACH : ECONNREFUSED;
  const std::vector<port_claim*> copy = *claims;
  for (const port_claim* each : copy) {
    static_cast<udp_socket*>(each->holder)->unreachable(peer, error);
  }
}

// ---------------------------------------------------------------- time, crashes

std::int64_t node::wall_now() const noexcept {
  const std::int64_t offset = world.faults.empty() ? 0 : world.faults.clock_offset(id);
  return epoch + world.now() + offset;
}

void node::lose_everything() {
  std::vector<std::shared_ptr<tcp_connection>> lost;
  lost.reserve(connections_.size());
  for (const auto& [key, each] : connections_) lost.push_back(each);
  for (const std::shared_ptr<tcp_connection>& each : lost) each->vanish();
  std::vector<std::shared_ptr<file>> files(descriptor_first);
  files.swap(files_);
  files.clear();
  open_count_ = 0;
  lowest_free_ = descriptor_first;
  abstract_names.clear();
  storage.crash();
}

// ---------------------------------------------------------------- connections, signals

std::shared_ptr<tcp_connection> node::find_connection(const connection_key& key) const noexcept {
  const auto found = connections_.find(key);
  return found == connections_.end() ? nullptr : found->second;
}

void node::add_connection(const connection_key& key, std::shared_ptr<tcp_connection> added) {
  connections_.emplace(key, std::move(added));
}

void node::remove_connection(const connection_key& key) noexcept { connections_.erase(key); }

void node::remove_signal_file(signal_file& gone) noexcept { std::erase(signal_files_, &gone); }

bool node::raise(int number) {
  // Every loop that has asked gets it once, however many descriptors it reads from.
  std::vector<const sim_kernel*> told;
  const std::vector<signal_file*> copy = signal_files_;
  for (signal_file* each : copy) {
    if (!each->wants(number)) continue;
    if (std::find(told.begin(), told.end(), &each->reader()) != told.end()) continue;
    told.push_back(&each->reader());
    each->add(number);
  }
  return !told.empty();
}

}  // namespace rill::sim::detail
