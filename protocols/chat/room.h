// A room where it is owned: who is in it, the order of what happens, and the last of what was said.
// Not here: the members themselves, who may be on any loop (shard.h). Read next: room.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <rill/protocols/chat/event.h>
#include <rill/protocols/chat/messages.h>

namespace rill::chat {

/// How much of what was said is kept.
struct history_limits {
  std::size_t count_max;
  std::size_t size_max;  ///< bytes, with what each message costs
};

/// A room's members, numbers and history, on the shard that owns it.
class room {
 public:
  /// What an event costs that is kept, beside its bytes.
  static constexpr std::size_t entry_size = 96;

  /// `last_id` is the number before its first event's.
  room(shared_text name, unsigned shard_count, std::uint64_t last_id)
      : name_(std::move(name)), last_id_(last_id), audience_(shard_count) {}

  const shared_text& name() const noexcept { return name_; }
  std::size_t size() const noexcept { return residents_.size(); }

  /// False: it is there already.
  bool add(member_token who, shared_text name);
  /// Its name; nullptr if it is not there.
  shared_text remove(member_token who) noexcept;
  /// Its name before; nullptr if it is not there.
  shared_text rename(member_token who, shared_text name) noexcept;
  /// nullptr if it is not there.
  shared_text find(member_token who) const noexcept;
  /// At most `count_max` names, in order.
  std::vector<shared_text> names(std::size_t count_max) const;

  /// Gives what happened its number, and keeps it if it was said.
  shared_event append(event happened, const history_limits& limits);
  /// What was said after the event `seen_id`.
  std::vector<shared_event> history(std::uint64_t seen_id) const;
  /// Puts in what was read from the disk, in order.
  void restore(shared_event happened, const history_limits& limits);
  /// Bytes of what is kept, with what each event costs.
  std::size_t history_size() const noexcept { return history_size_; }
  /// REQUIRES: something is kept.
  void forget_oldest() noexcept;
  std::uint64_t last_id() const noexcept { return last_id_; }

  /// In its shard's list of empty rooms; it may have members again.
  bool is_listed_as_empty = false;

  /// Calls `function(shard)` for each shard with members here.
  template <class Function>
  void for_each_audience(Function&& function) const {
    for (std::size_t i = 0; i != audience_.size(); ++i) {
      if (audience_[i] != 0) function(static_cast<unsigned>(i));
    }
  }

 private:
  static std::size_t cost(const event& of) noexcept {
    return of.text.size() + of.who->size() + entry_size;
  }
  void keep(shared_event happened, const history_limits& limits);

  shared_text name_;
  std::uint64_t last_id_;
  std::deque<shared_event> history_;
  std::size_t history_size_ = 0;
  std::unordered_map<member_token, shared_text> residents_;
  std::vector<std::uint32_t> audience_;  // members a shard
};

}  // namespace rill::chat
