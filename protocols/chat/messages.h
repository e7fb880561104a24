// What the shards of a hub say to each other. Plain values, which travel between threads.
// Everything between two shards arrives in the order in which it was sent; that, and one owner for
// each room, is what gives all members of a room the same order. Read next: shard.h.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <rill/protocols/chat/event.h>

namespace rill::chat {

/// A member of the hub, for as long as it is there: the shard it is on in the upper 16 bits, then
/// 16 that tell those apart that had the same place, and 32 for the place.
using member_token = std::uint64_t;
constexpr unsigned shard_of(member_token token) noexcept {
  return static_cast<unsigned>(token >> 48);
}

// To the shard that owns a name.
/// A member wants a name.
struct claim_name {
  member_token from;
  shared_text name;
};
/// A member needs a name no longer.
struct release_name {
  member_token from;
  shared_text name;
};
/// Something for one member alone.
struct whisper {
  member_token from;
  shared_text sender;
  shared_text to;
  shared_text text;
};

// To the shard that owns a room.
/// A member wants to be in a room.
struct join_room {
  member_token from;
  std::uint32_t visit;  ///< comes back with the answer, which may be about an earlier visit
  shared_text room;
  shared_text name;
  std::uint64_t seen_id;  ///< history from the event after this one on
};
/// A member has left a room.
struct leave_room {
  member_token from;
  shared_text room;
  bool quietly;  ///< the whole server ends: nobody needs to hear of each
};
/// A member in a room has a new name.
struct rename_member {
  member_token from;
  shared_text room;
  shared_text name;
};
/// A member says something in its room.
struct speak {
  member_token from;
  shared_text room;
  event_kind kind;
  bool is_raw;
  std::string text;
};
/// Somebody is writing something: told to whoever shows it, and kept nowhere.
struct typing {
  member_token from;
  shared_text room;
};
/// Who is in a room?
struct ask_who {
  member_token from;
  shared_text room;
};
/// To every shard.
struct ask_rooms {
  member_token from;
};

// To the shard that a member is on.
/// Whether a name was free.
struct name_answer {
  member_token to;
  shared_text name;
  bool granted;
  bool is_new;  ///< false: it was this member's already when it asked
};
/// Whether there is such a member.
struct whisper_answer {
  member_token to;
  shared_text name;
  shared_text text;
  bool delivered;
};
/// What somebody has said to this member alone.
struct whisper_delivery {
  member_token to;
  shared_text sender;
  shared_text text;
};
/// A member is in a room now, or cannot be.
struct room_answer {
  member_token to;
  std::uint32_t visit;
  shared_text room;
  bool granted;                       ///< false: there are too many rooms
  std::vector<shared_event> history;  ///< what was said before
};
/// Who is in a room.
struct who_answer {
  member_token to;
  shared_text room;
  std::vector<shared_text> names;  ///< the first of them in order
  std::size_t count;               ///< how many there are
};
/// A room and how many are in it.
struct room_count {
  shared_text room;
  std::size_t count;
};
/// The rooms of one shard that have members.
struct rooms_answer {
  member_token to;
  std::vector<room_count> rooms;
};

/// To every shard with members in the room.
struct room_event {
  member_token from;
  shared_text room;
  shared_event what;
};
/// The same, by name, for the members of a room on one shard.
struct room_typing {
  member_token from;
  shared_text room;
  shared_text name;
};

using shard_message =
    std::variant<claim_name, release_name, whisper, join_room, leave_room, rename_member, speak,
                 ask_who, ask_rooms, name_answer, whisper_answer, whisper_delivery, room_answer,
                 who_answer, rooms_answer, room_event, typing, room_typing>;

}  // namespace rill::chat
