// Counting connections by address; see branch.h.
#include <rill/protocols/chat/branch.h>

#include <optional>

namespace rill::chat {

address_counter::place::~place() {
  if (held_ == nullptr) return;
  const std::lock_guard lock(held_->in->mutex_);
  const auto found = held_->in->counts_.find(held_->of);
  if (--found->second == 0) held_->in->counts_.erase(found);
}

bool address_counter::place::enter(address_counter& in, const endpoint& peer) {
  const std::optional<ip_endpoint> known = peer.ip();
  if (!known) return true;  // a Unix socket's
  auto held_place = std::make_unique<held>(held{&in, known->address()});
  const std::lock_guard lock(in.mutex_);
  std::size_t& count = in.counts_[held_place->of];
  if (count >= in.count_max_) return false;
  ++count;
  held_ = std::move(held_place);
  return true;
}

}  // namespace rill::chat
