// A member as the hub sees it: what it is told, and the queue of what waits to be sent to it.
// A TCP session and a browser's are members of different kinds in the same rooms.
// Not here: the rooms (shard.h). Read next: text_member.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <rill/protocols/chat/event.h>
#include <rill/protocols/chat/messages.h>
#include <rill/protocols/chat/send_queue.h>

namespace rill::chat {

class shard;
struct local_room;

/// Lives on one loop, which is the only one to touch it. A shard refers to it from attach() to
/// detach(). The calls below come from the shard; none of them may attach, detach or speak. They
/// may ask for a room and for who is there; a member of the owner's own shard has the answer at
/// once, before the newcomer is one of them, and others after.
class member {
 public:
  member(const member&) = delete;
  member& operator=(const member&) = delete;

  /// Whether the name that was claimed is its own now.
  virtual void name_answered(const shared_text& name, bool granted) = 0;
  /// It is in the room that it has asked for; `history` is what was said there before. Not granted:
  /// it is in no room.
  virtual void room_answered(const shared_text& room, bool granted,
                             const std::vector<shared_event>& history) = 0;
  /// Something happened in its room. Of what it said itself only if wants_own().
  virtual void happened(const shared_text& room, outgoing_event& what) = 0;
  /// Who is in the room that it has asked about.
  virtual void who_answered(const who_answer& answer) = 0;
  /// The rooms of one shard, the fullest first.
  virtual void rooms_answered(std::vector<room_count> rooms) = 0;
  /// Somebody in its room is writing something.
  virtual void someone_types(outgoing_typing& /*what*/) {}
  /// Somebody has said something to it alone.
  virtual void whispered(const std::string& sender, const std::string& text) = 0;
  /// What has become of what it said to one member.
  virtual void whisper_answered(const std::string& to, const std::string& text, bool delivered) = 0;
  /// Whether it is told of what it says itself.
  virtual bool wants_own() const noexcept { return false; }

  const shared_text& name() const noexcept { return name_; }  ///< nullptr until one was granted
  /// nullptr until it has asked for one.
  const shared_text* room() const noexcept;
  const send_queue& queue() const noexcept { return queue_; }

 protected:
  member() = default;
  ~member() = default;

  /// Puts bytes into the queue, or drops and counts them; see send_queue.
  void send(shared_bytes bytes);
  void send(std::string bytes);
  /// There is something in the queue: see to it that it is sent, later.
  virtual void wake() noexcept = 0;
  /// "you missed 3 messages", as this member reads it.
  virtual std::string missed_note(std::uint32_t count) const = 0;

  /// For whoever sends: takes what waits, and tells that it has been sent.
  std::vector<shared_bytes> take_queue() noexcept { return queue_.take(); }
  void sent(const std::vector<shared_bytes>& bytes);
  shard* home() const noexcept { return shard_; }
  /// The forms of the last of `history`, in order: as many as fill half a queue, so that what
  /// happens next has room behind them.
  std::vector<std::string> newest_forms(const std::vector<shared_event>& history,
                                        std::string (*form)(const event&)) const;

 private:
  friend class shard;
  static constexpr std::uint32_t not_admitted = UINT32_MAX;

  shard* shard_ = nullptr;
  member_token token_ = 0;
  shared_text name_;
  local_room* room_ = nullptr;
  std::uint32_t place_ = not_admitted;  // in the room's list
  std::uint32_t visit_ = 0;             // counts the rooms it has asked for
  send_queue queue_;
};

}  // namespace rill::chat
