// The part of the hub that one loop has: its members, the rooms and names that it owns, and what it
// has for the other parts.
// Every room and every name has one owner, chosen by its hash. What happens in a room is numbered
// by the owner and goes from there to each shard with members in it, once, however many they are;
// so one order holds for all, without a lock. Here is no stream, no loop and no clock: a courier
// has them, and tests have one of their own. Read next: shard.cpp, then hub.h, which puts shards on
// loops.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include <rill/protocols/chat/event.h>
#include <rill/protocols/chat/member.h>
#include <rill/protocols/chat/messages.h>
#include <rill/protocols/chat/room.h>

namespace rill::chat {

/// Sizes of a hub.
struct hub_options {
  /// Messages of each room that are kept for those who join.
  std::size_t history_count = 100;
  /// Bytes of them, with what each costs (room::entry_size): the oldest go first. A member is given
  /// as many of the last as fill half of its queue.
  std::size_t history_size_max = std::size_t{128} * 1024;
  /// Bytes of the histories of all rooms that a shard owns. Beyond it the rooms that have been
  /// empty longest go; if none is empty, the oldest messages of the room that somebody speaks in.
  std::size_t history_total_max = std::size_t{64} * 1024 * 1024;
  /// Bytes that may wait for one member, with what each message costs (send_queue.h).
  std::size_t queue_size_max = std::size_t{256} * 1024;
  /// Rooms that a shard owns at most. Beyond it the one that has been empty longest goes, with its
  /// history; if none is empty, joining a new one is refused.
  std::size_t room_count_max = 10'000;
  /// Names in one answer to /who, and rooms in one to /rooms.
  std::size_t listed_count_max = 500;
  /// Where everybody is at first.
  std::string_view lobby = "lobby";
};

/// Counters of a shard: written by its loop, read by any thread.
struct shard_statistics {
  std::atomic<std::uint64_t> member_count{0};    ///< with a name or without one
  std::atomic<std::uint64_t> room_count{0};      ///< that it owns, empty ones too
  std::atomic<std::uint64_t> message_count{0};   ///< said in the rooms that it owns
  std::atomic<std::uint64_t> event_count{0};     ///< of all kinds, in those rooms
  std::atomic<std::uint64_t> delivery_count{0};  ///< put into queues of its members
  std::atomic<std::uint64_t> missed_count{0};    ///< dropped, for members that read too slowly
  std::atomic<std::uint64_t> queued_size{0};     ///< bytes that wait for its members
  std::atomic<std::uint64_t> cut_count{0};       ///< members disconnected for not reading

  static void add(std::atomic<std::uint64_t>& counter, std::uint64_t amount) noexcept {
    // One writer, so a load and a store are enough.
    counter.store(counter.load(std::memory_order_relaxed) + amount, std::memory_order_relaxed);
  }
};

/// Carries what shards have for each other, and what needs a loop.
class courier {
 public:
  /// Something waits to be sent: call shard::flush() soon, when what is ready now has been done, so
  /// that much travels together.
  virtual void schedule_flush() = 0;
  /// Has `of` received by shard number `to`, soon, in the order of the calls.
  virtual void carry(unsigned to, std::vector<shard_message> of) = 0;
  /// Milliseconds since 1970.
  virtual std::int64_t wall_now() = 0;
  /// A room that this shard owns has a new event: for whoever keeps them. No effect by default.
  virtual void appended(const shared_text& /*room*/, const shared_event& /*what*/) {}

 protected:
  ~courier() = default;
};

/// The members of one room on one shard.
struct local_room {
  shared_text name;
  unsigned owner = 0;
  std::vector<member*> members;  ///< those who have been admitted
  std::size_t user_count = 0;    ///< and those who have asked to be
};

/// Thread rule: one loop's, but for statistics().
class shard {
 public:
  shard(unsigned index, unsigned count, const hub_options& options, courier& by);
  shard(const shard&) = delete;
  shard& operator=(const shard&) = delete;
  /// REQUIRES: every member was detached.
  ~shard();

  /// Bytes of what a member says at once.
  static constexpr std::size_t said_size_max = std::size_t{32} * 1024;

  // --- for members, of themselves ---
  /// It is called from now on, and outlives detach(). REQUIRES: it is on no shard.
  void attach(member& of);
  /// It has left: out of its room and its name is free. No call of it is made any more, and it may
  /// be destroyed. What waits in its queue stays there.
  void detach(member& of) noexcept;
  /// Asks for a name, which check_name() has found good: name_answered(). It is called by its old
  /// name until then.
  void claim(member& of, std::string_view name);
  /// Asks for a room: room_answered(). It leaves the one it is in. REQUIRES: it has a name.
  void join(member& of, std::string_view room, std::uint64_t seen_id = 0);
  /// Says something in its room, which others get in the order of saying. `text` is harmless
  /// (text.h) unless it is raw. False: it is in no room. REQUIRES: at most said_size_max bytes.
  bool speak(member& of, event_kind kind, bool is_raw, std::string text);
  /// Others in its room may show that it is writing something.
  void type(member& of);
  /// To one member alone, of whatever room: whisper_answered().
  void whisper(member& of, std::string_view to, std::string text);
  /// Who is in its room: who_answered().
  void ask_who(member& of);
  /// What each shard owns comes by itself: rooms_answered() as often as there are shards.
  void ask_rooms(member& of);

  // --- for the courier ---
  /// Has everything carried that waits for other shards.
  void flush();
  /// Does what another shard has sent.
  void receive(std::vector<shard_message> of);

  /// From now on members leave without a word to those who stay a little longer.
  void begin_drain() noexcept { draining_ = true; }
  /// Puts events of a room that it owns into its history. Before the first member, in order.
  void restore(std::string_view room, shared_event what);
  /// Calls `function(room, event)` for all that is kept of every room that it owns, in order.
  template <class Function>
  void for_each_kept(Function&& function) const {
    for (const auto& [name, each] : rooms_) {
      for (const shared_event& what : each->history(0)) function(name, what);
    }
  }
  /// The shard that owns a room or a name. Cost: a pass over the name.
  unsigned owner_of(std::string_view name) const noexcept;

  unsigned index() const noexcept { return index_; }
  unsigned count() const noexcept { return static_cast<unsigned>(outbox_.size()); }
  const hub_options& options() const noexcept { return options_; }
  shard_statistics& statistics() noexcept { return statistics_; }
  const shard_statistics& statistics() const noexcept { return statistics_; }

 private:
  struct place {
    member* of = nullptr;
    std::uint16_t generation = 0;
  };
  struct hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const noexcept {
      return std::hash<std::string_view>()(text);
    }
    std::size_t operator()(const shared_text& text) const noexcept { return (*this)(*text); }
  };
  struct equal {
    using is_transparent = void;
    static std::string_view text_of(std::string_view text) noexcept { return text; }
    static std::string_view text_of(const shared_text& text) noexcept { return *text; }
    template <class Left, class Right>
    bool operator()(const Left& left, const Right& right) const noexcept {
      return text_of(left) == text_of(right);
    }
  };
  template <class Value>
  using by_name = std::unordered_map<shared_text, Value, hash, equal>;

  member* find(member_token token) const noexcept;
  void send(unsigned to, shard_message of);
  void leave(member& of) noexcept;
  void announce(room& in, event happened, member_token from);
  room* find_or_make(const shared_text& name);
  /// Drops the room that has been empty longest. False: none is empty.
  bool make_room_for_one();
  void forget_history(room& in);
  history_limits limits_of_history() const noexcept {
    return {options_.history_count, options_.history_size_max};
  }
  void list_as_empty(room& in);

  void handle(claim_name& of);
  void handle(release_name& of);
  void handle(chat::whisper& of);
  void handle(join_room& of);
  void handle(leave_room& of);
  void handle(rename_member& of);
  void handle(chat::speak& of);
  void handle(chat::ask_who& of);
  void handle(chat::ask_rooms& of);
  void handle(name_answer& of);
  void handle(chat::whisper_answer& of);
  void handle(whisper_delivery& of);
  void handle(room_answer& of);
  void handle(chat::who_answer& of);
  void handle(chat::rooms_answer& of);
  void handle(room_event& of);
  void handle(typing& of);
  void handle(room_typing& of);

  unsigned index_;
  hub_options options_;
  courier* courier_;
  shard_statistics statistics_;
  std::vector<place> places_;
  std::vector<std::uint32_t> free_places_;
  by_name<std::unique_ptr<local_room>> local_rooms_;
  by_name<member_token> names_;           // that it owns
  by_name<std::unique_ptr<room>> rooms_;  // likewise
  std::size_t history_size_ = 0;          // of all of them
  std::vector<shared_text> empty_rooms_;  // in the order of becoming so; some are no longer
  std::vector<std::vector<shard_message>> outbox_;
  bool flush_scheduled_ = false;
  bool draining_ = false;
};

}  // namespace rill::chat
