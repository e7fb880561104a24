// Order and history of a room; see room.h.
#include <rill/protocols/chat/room.h>

#include <algorithm>

namespace rill::chat {

bool room::add(member_token who, shared_text name) {
  if (!residents_.emplace(who, std::move(name)).second) return false;
  ++audience_[shard_of(who)];
  return true;
}

shared_text room::remove(member_token who) noexcept {
  const auto found = residents_.find(who);
  if (found == residents_.end()) return nullptr;
  shared_text name = std::move(found->second);
  residents_.erase(found);
  --audience_[shard_of(who)];
  return name;
}

shared_text room::rename(member_token who, shared_text name) noexcept {
  const auto found = residents_.find(who);
  if (found == residents_.end()) return nullptr;
  return std::exchange(found->second, std::move(name));
}

shared_text room::find(member_token who) const noexcept {
  const auto found = residents_.find(who);
  return found == residents_.end() ? nullptr : found->second;
}

std::vector<shared_text> room::names(std::size_t count_max) const {
  std::vector<shared_text> all;
  all.reserve(residents_.size());
  for (const auto& [token, name] : residents_) all.push_back(name);
  // The table's own order is nobody's business.
  const auto end = all.begin() + static_cast<std::ptrdiff_t>(std::min(count_max, all.size()));
  std::partial_sort(all.begin(), end, all.end(),
                    [](const shared_text& a, const shared_text& b) { return *a < *b; });
  all.erase(end, all.end());
  return all;
}

shared_event room::append(event happened, const history_limits& limits) {
  happened.id = ++last_id_;
  auto made = std::make_shared<const event>(std::move(happened));
  keep(made, limits);
  return made;
}

void room::restore(shared_event happened, const history_limits& limits) {
  if (!history_.empty() && happened->id <= history_.back()->id) return;
  last_id_ = std::max(last_id_, happened->id);
  keep(std::move(happened), limits);
}

void room::forget_oldest() noexcept {
  history_size_ -= cost(*history_.front());
  history_.pop_front();
}

void room::keep(shared_event happened, const history_limits& limits) {
  if (happened->kind != event_kind::said && happened->kind != event_kind::done) return;
  history_size_ += cost(*happened);
  history_.push_back(std::move(happened));
  while (!history_.empty() &&
         (history_.size() > limits.count_max || history_size_ > limits.size_max)) {
    forget_oldest();
  }
}

std::vector<shared_event> room::history(std::uint64_t seen_id) const {
  const auto first = std::find_if(history_.begin(), history_.end(),
                                  [&](const shared_event& each) { return each->id > seen_id; });
  return {first, history_.end()};
}

}  // namespace rill::chat
