// Members, and messages between shards; see shard.h.
#include <rill/protocols/chat/shard.h>

#include <algorithm>
#include <utility>

#include <rill/runtime/error.h>

namespace rill::chat {
namespace {

member_token make_token(unsigned shard, std::uint16_t generation, std::uint32_t place) noexcept {
  return std::uint64_t{shard} << 48 | std::uint64_t{generation} << 32 | place;
}

/// FNV-1a: the same in every build, so that a room is owned by the same shard wherever it runs.
std::uint64_t stable_hash(std::string_view text) noexcept {
  std::uint64_t hash = 14695981039346656037U;
  for (const char each : text) hash = (hash ^ static_cast<unsigned char>(each)) * 1099511628211U;
  return hash ^ hash >> 32;
}

}  // namespace

// --- a member's own part ---

const shared_text* member::room() const noexcept {
  return room_ == nullptr ? nullptr : &room_->name;
}

void member::send(shared_bytes bytes) {
  shard_statistics& counters = shard_->statistics();
  const std::size_t before = queue_.size();
  if (!queue_.push(std::move(bytes), shard_->options().queue_size_max)) {
    shard_statistics::add(counters.missed_count, 1);
    return;
  }
  shard_statistics::add(counters.delivery_count, 1);
  shard_statistics::add(counters.queued_size, queue_.size() - before);
  wake();
}

void member::send(std::string bytes) {
  send(std::make_shared<const std::string>(std::move(bytes)));
}

void member::sent(const std::vector<shared_bytes>& bytes) {
  const std::size_t before = queue_.size();
  const bool has_gap =
      queue_.done(bytes, shard_ == nullptr ? SIZE_MAX : shard_->options().queue_size_max);
  if (shard_ == nullptr) return;
  shard_statistics::add(shard_->statistics().queued_size, queue_.size() - before);
  if (has_gap) send(missed_note(queue_.missed()));
}

std::vector<std::string> member::newest_forms(const std::vector<shared_event>& history,
                                              std::string (*form)(const event&)) const {
  std::vector<std::string> forms;
  std::size_t left = shard_->options().queue_size_max / 2;
  for (auto each = history.rbegin(); each != history.rend(); ++each) {
    std::string made = form(**each);
    if (made.size() > left) break;
    left -= made.size();
    forms.push_back(std::move(made));
  }
  std::reverse(forms.begin(), forms.end());
  return forms;
}

// --- members of a shard ---

shard::shard(unsigned index, unsigned count, const hub_options& options, courier& by)
    : index_(index), options_(options), courier_(&by), outbox_(count) {
  RILL_ASSERT(index < count && count <= 65536, "a hub has at most 65,536 shards");
}

shard::~shard() {
  RILL_ASSERT(statistics_.member_count.load() == 0, "a shard was destroyed that has members");
}

unsigned shard::owner_of(std::string_view name) const noexcept {
  return static_cast<unsigned>(stable_hash(name) % outbox_.size());
}

member* shard::find(member_token token) const noexcept {
  const auto at = static_cast<std::uint32_t>(token);
  if (at >= places_.size() || places_[at].of == nullptr) return nullptr;
  return places_[at].of->token_ == token ? places_[at].of : nullptr;
}

void shard::attach(member& of) {
  RILL_ASSERT(of.shard_ == nullptr, "a member was attached twice");
  if (free_places_.empty()) {
    RILL_ASSERT(places_.size() < UINT32_MAX, "a shard is full");
    places_.emplace_back();
    free_places_.reserve(places_.size());  // so that detaching needs no memory
    free_places_.push_back(static_cast<std::uint32_t>(places_.size() - 1));
  }
  const std::uint32_t at = free_places_.back();
  free_places_.pop_back();
  places_[at].of = &of;
  of.shard_ = this;
  of.token_ = make_token(index_, ++places_[at].generation, at);
  shard_statistics::add(statistics_.member_count, 1);
}

void shard::detach(member& of) noexcept {
  RILL_ASSERT(of.shard_ == this, "a member was detached from a shard that it is not on");
  leave(of);
  if (of.name_ != nullptr) send(owner_of(*of.name_), release_name{of.token_, of.name_});
  const auto at = static_cast<std::uint32_t>(of.token_);
  places_[at].of = nullptr;
  free_places_.push_back(at);
  shard_statistics::add(statistics_.queued_size, -std::uint64_t{of.queue_.size()});
  shard_statistics::add(statistics_.member_count, -std::uint64_t{1});
  of.shard_ = nullptr;
}

void shard::claim(member& of, std::string_view name) {
  send(owner_of(name), claim_name{of.token_, share(name)});
}

void shard::join(member& of, std::string_view room, std::uint64_t seen_id) {
  RILL_ASSERT(of.name_ != nullptr, "a member without a name is to join a room");
  leave(of);
  auto found = local_rooms_.find(room);
  if (found == local_rooms_.end()) {
    auto made = std::make_unique<local_room>();
    made->name = share(room);
    made->owner = owner_of(room);
    shared_text key = made->name;
    found = local_rooms_.emplace(std::move(key), std::move(made)).first;
  }
  local_room& in = *found->second;
  ++in.user_count;
  of.room_ = &in;
  ++of.visit_;
  send(in.owner, join_room{of.token_, of.visit_, in.name, of.name_, seen_id});
}

void shard::leave(member& of) noexcept {
  if (of.room_ == nullptr) return;
  local_room& in = *std::exchange(of.room_, nullptr);
  if (of.place_ != member::not_admitted) {
    in.members.back()->place_ = of.place_;
    in.members[of.place_] = in.members.back();
    in.members.pop_back();
    of.place_ = member::not_admitted;
  }
  send(in.owner, leave_room{of.token_, in.name, draining_});
  if (--in.user_count == 0) local_rooms_.erase(local_rooms_.find(in.name));
}

bool shard::speak(member& of, event_kind kind, bool is_raw, std::string text) {
  RILL_ASSERT(text.size() <= said_size_max, "what a member says is too long for a room");
  if (of.room_ == nullptr) return false;
  send(of.room_->owner, chat::speak{of.token_, of.room_->name, kind, is_raw, std::move(text)});
  return true;
}

void shard::type(member& of) {
  if (of.room_ != nullptr) send(of.room_->owner, typing{of.token_, of.room_->name});
}

void shard::whisper(member& of, std::string_view to, std::string text) {
  send(owner_of(to), chat::whisper{of.token_, of.name_, share(to),
                                   std::make_shared<const std::string>(std::move(text))});
}

void shard::ask_who(member& of) {
  if (of.room_ != nullptr) send(of.room_->owner, chat::ask_who{of.token_, of.room_->name});
}

void shard::ask_rooms(member& of) {
  for (unsigned i = 0; i != count(); ++i) send(i, chat::ask_rooms{of.token_});
}

// --- between shards ---

void shard::send(unsigned to, shard_message of) {
  if (to == index_) {
    std::visit([this](auto& each) { handle(each); }, of);
    return;
  }
  outbox_[to].push_back(std::move(of));
  if (!std::exchange(flush_scheduled_, true)) courier_->schedule_flush();
}

void shard::flush() {
  flush_scheduled_ = false;
  for (unsigned to = 0; to != count(); ++to) {
    if (!outbox_[to].empty()) courier_->carry(to, std::exchange(outbox_[to], {}));
  }
}

void shard::receive(std::vector<shard_message> of) {
  for (shard_message& each : of) std::visit([this](auto& what) { handle(what); }, each);
}

void shard::handle(name_answer& of) {
  member* const to = find(of.to);
  if (to == nullptr) {
    if (of.granted) send(owner_of(*of.name), release_name{of.to, of.name});
    return;
  }
  // One that it had when it asked is still its own, unless it has got another since: then the owner
  // is being told that this one is free.
  const bool has_it = to->name_ != nullptr && *to->name_ == *of.name;
  const bool granted = of.granted && (of.is_new || has_it);
  if (granted && !has_it && to->name_ != nullptr) {
    send(owner_of(*to->name_), release_name{of.to, to->name_});
    if (to->room_ != nullptr)
      send(to->room_->owner, rename_member{of.to, to->room_->name, of.name});
  }
  if (granted) to->name_ = of.name;
  to->name_answered(of.name, granted);
}

void shard::handle(room_answer& of) {
  member* const to = find(of.to);
  if (to == nullptr || to->visit_ != of.visit || to->room_ == nullptr) return;  // it has gone on
  local_room& in = *to->room_;
  if (of.granted) {
    to->place_ = static_cast<std::uint32_t>(in.members.size());
    in.members.push_back(to);
  } else {
    to->room_ = nullptr;
    if (--in.user_count == 0) local_rooms_.erase(local_rooms_.find(of.room));
  }
  to->room_answered(of.room, of.granted, of.history);
}

void shard::handle(room_event& of) {
  const auto found = local_rooms_.find(of.room);
  if (found == local_rooms_.end()) return;
  outgoing_event what(*of.what);
  for (member* each : found->second->members) {
    if (each->token_ == of.from && !each->wants_own()) continue;
    each->happened(of.room, what);
  }
}

void shard::handle(room_typing& of) {
  const auto found = local_rooms_.find(of.room);
  if (found == local_rooms_.end()) return;
  outgoing_typing what(*of.name);
  for (member* each : found->second->members) {
    if (each->token_ != of.from) each->someone_types(what);
  }
}

void shard::handle(chat::who_answer& of) {
  if (member* const to = find(of.to)) to->who_answered(of);
}

void shard::handle(chat::rooms_answer& of) {
  if (member* const to = find(of.to)) to->rooms_answered(std::move(of.rooms));
}

void shard::handle(whisper_delivery& of) {
  if (member* const to = find(of.to)) to->whispered(*of.sender, *of.text);
}

void shard::handle(chat::whisper_answer& of) {
  if (member* const to = find(of.to)) to->whisper_answered(*of.name, *of.text, of.delivered);
}

}  // namespace rill::chat
