// What a shard does as the owner of names and rooms; see shard.h.
#include <algorithm>
#include <utility>

#include <rill/protocols/chat/shard.h>

namespace rill::chat {

void shard::handle(claim_name& of) {
  const auto [place, is_new] = names_.emplace(of.name, of.from);
  const bool granted = is_new || place->second == of.from;
  send(shard_of(of.from), name_answer{of.from, of.name, granted, is_new});
}

void shard::handle(release_name& of) {
  const auto found = names_.find(of.name);
  if (found != names_.end() && found->second == of.from) names_.erase(found);
}

void shard::handle(chat::whisper& of) {
  const auto found = names_.find(of.to);
  const bool is_there = found != names_.end();
  if (is_there) {
    send(shard_of(found->second), whisper_delivery{found->second, of.sender, of.text});
  }
  send(shard_of(of.from), chat::whisper_answer{of.from, of.to, of.text, is_there});
}

void shard::handle(join_room& of) {
  room* const in = find_or_make(of.room);
  room_answer answer{of.from, of.visit, of.room, in != nullptr, {}};
  if (in != nullptr) answer.history = in->history(of.seen_id);
  // The answer goes before the event, on the same way: so the newcomer is admitted when it comes.
  send(shard_of(of.from), std::move(answer));
  if (in == nullptr || !in->add(of.from, of.name)) return;
  event happened;
  happened.kind = event_kind::joined;
  happened.who = of.name;
  announce(*in, std::move(happened), 0);
}

void shard::handle(leave_room& of) {
  const auto found = rooms_.find(of.room);
  if (found == rooms_.end()) return;
  room& in = *found->second;
  shared_text name = in.remove(of.from);
  if (name == nullptr) return;
  if (in.size() == 0) {
    list_as_empty(in);
  } else if (!of.quietly) {
    event happened;
    happened.kind = event_kind::left;
    happened.who = std::move(name);
    announce(in, std::move(happened), of.from);
  }
}

void shard::handle(rename_member& of) {
  const auto found = rooms_.find(of.room);
  if (found == rooms_.end()) return;
  shared_text before = found->second->rename(of.from, of.name);
  if (before == nullptr) return;
  event happened;
  happened.kind = event_kind::renamed;
  happened.who = std::move(before);
  happened.text = *of.name;
  announce(*found->second, std::move(happened), of.from);
}

void shard::handle(chat::speak& of) {
  const auto found = rooms_.find(of.room);
  if (found == rooms_.end()) return;
  event happened;
  happened.who = found->second->find(of.from);
  if (happened.who == nullptr) return;
  happened.kind = of.kind;
  happened.is_raw = of.is_raw;
  happened.text = std::move(of.text);
  shard_statistics::add(statistics_.message_count, 1);
  announce(*found->second, std::move(happened), of.from);
}

void shard::handle(typing& of) {
  const auto found = rooms_.find(of.room);
  if (found == rooms_.end()) return;
  room& in = *found->second;
  const shared_text name = in.find(of.from);
  if (name == nullptr) return;
  in.for_each_audience([&](unsigned to) { send(to, room_typing{of.from, in.name(), name}); });
}

void shard::handle(chat::ask_who& of) {
  chat::who_answer answer{of.from, of.room, {}, 0};
  if (const auto found = rooms_.find(of.room); found != rooms_.end()) {
    answer.names = found->second->names(options_.listed_count_max);
    answer.count = found->second->size();
  }
  send(shard_of(of.from), std::move(answer));
}

void shard::handle(chat::ask_rooms& of) {
  chat::rooms_answer answer{of.from, {}};
  for (const auto& [name, each] : rooms_) {
    if (each->size() != 0) answer.rooms.push_back({name, each->size()});
  }
  std::sort(answer.rooms.begin(), answer.rooms.end(), [](const room_count& a, const room_count& b) {
    return a.count != b.count ? a.count > b.count : *a.room < *b.room;
  });
  if (answer.rooms.size() > options_.listed_count_max) {
    answer.rooms.resize(options_.listed_count_max);
  }
  send(shard_of(of.from), std::move(answer));
}

void shard::announce(room& in, event happened, member_token from) {
  happened.time = courier_->wall_now();
  const std::size_t before = in.history_size();
  const shared_event made = in.append(std::move(happened), limits_of_history());
  history_size_ += in.history_size() - before;
  if (history_size_ > options_.history_total_max) forget_history(in);
  shard_statistics::add(statistics_.event_count, 1);
  courier_->appended(in.name(), made);
  in.for_each_audience([&](unsigned to) { send(to, room_event{from, in.name(), made}); });
}

room* shard::find_or_make(const shared_text& name) {
  const auto found = rooms_.find(name);
  if (found != rooms_.end()) return found->second.get();
  if (rooms_.size() >= options_.room_count_max && !make_room_for_one()) return nullptr;
  // Numbers begin at the time in microseconds: so they go up from run to run, and a client that has
  // seen some can ask for what came after them.
  const auto first = static_cast<std::uint64_t>(courier_->wall_now()) * 1000;
  auto made = std::make_unique<room>(name, count(), first);
  room* const kept = rooms_.emplace(name, std::move(made)).first->second.get();
  statistics_.room_count.store(rooms_.size(), std::memory_order_relaxed);
  return kept;
}

void shard::list_as_empty(room& in) {
  if (!std::exchange(in.is_listed_as_empty, true)) empty_rooms_.push_back(in.name());
}

bool shard::make_room_for_one() {
  auto each = empty_rooms_.begin();
  bool found = false;
  while (each != empty_rooms_.end() && !found) {
    const auto at = rooms_.find(*each++);
    at->second->is_listed_as_empty = false;
    found = at->second->size() == 0;
    if (!found) continue;
    history_size_ -= at->second->history_size();
    rooms_.erase(at);
  }
  empty_rooms_.erase(empty_rooms_.begin(), each);
  statistics_.room_count.store(rooms_.size(), std::memory_order_relaxed);
  return found;
}

void shard::forget_history(room& in) {
  // `in` has a member, so it stays.
  while (history_size_ > options_.history_total_max && make_room_for_one()) {
  }
  while (history_size_ > options_.history_total_max) {
    const std::size_t before = in.history_size();
    if (before == 0) return;
    in.forget_oldest();
    history_size_ -= before - in.history_size();
  }
}

void shard::restore(std::string_view name, shared_event what) {
  room* const in = find_or_make(share(name));
  if (in == nullptr) return;
  const std::size_t before = in->history_size();
  in->restore(std::move(what), limits_of_history());
  history_size_ += in->history_size() - before;
  if (in->size() == 0) list_as_empty(*in);
  while (history_size_ > options_.history_total_max && make_room_for_one()) {
  }
}

}  // namespace rill::chat
