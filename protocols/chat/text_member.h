// A member of the TCP protocol: what it sends is told to the hub, and what the hub tells it becomes
// text. A raw client gets what the original server would send it, a line client lines.
// Not here: the stream, its time-outs and its writing (session.h). Read next: text_member.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <rill/protocols/chat/command.h>
#include <rill/protocols/chat/line_codec.h>
#include <rill/protocols/chat/member.h>
#include <rill/protocols/chat/pace.h>

namespace rill::chat {

/// What a member's nickname has come to.
enum class claim_state : std::uint8_t { none, asked, granted, refused };

/// A member that speaks chunks or lines, whatever carries them.
class text_member : public member {
 public:
  /// Bytes of a raw client that are one message at most; what TCP brings at once may be more.
  static constexpr std::size_t chunk_size_max = 4096;

  void name_answered(const shared_text& name, bool granted) override;
  void room_answered(const shared_text& room, bool granted,
                     const std::vector<shared_event>& history) override;
  void happened(const shared_text& room, outgoing_event& what) override;
  void who_answered(const who_answer& answer) override;
  void rooms_answered(std::vector<room_count> rooms) override;
  void whispered(const std::string& sender, const std::string& text) override;
  void whisper_answered(const std::string& to, const std::string& text, bool delivered) override;

  /// Asks the hub for a nickname; changed() is set when the answer has come.
  void ask_for_name(std::string_view name);
  claim_state claim() const noexcept { return claim_; }

  /// Does what `input` says, as far as `pace` allows at `now`, and takes it from the front. What is
  /// left may be taken when next_time() has come.
  void take(std::string_view& input, std::int64_t now, const line_limits& lines,
            const pace_limits& limits);
  std::int64_t next_time(const pace_limits& limits) const noexcept { return pace_.next(limits); }
  /// It has said /quit, or sends no lines at all: only closing is left.
  bool is_done() const noexcept { return done_; }

  member_form form() const noexcept { return form_; }
  void set_form(member_form form) noexcept { form_ = form; }
  /// A line of the server's own: "-- TEXT". Members cannot begin a line so.
  void note(std::string_view text);

 protected:
  text_member() = default;
  ~text_member() = default;
  std::string missed_note(std::uint32_t count) const override;
  /// The answer to ask_for_name() is there.
  virtual void claim_changed() noexcept = 0;

 private:
  /// What it costs, in messages.
  unsigned take_line(const line& of);
  void carry_out(const command& of);
  void say(event_kind kind, std::string_view text);
  void enter(std::string_view room);
  /// "-- TEXT", and a newline for line clients.
  std::string note_form(std::string_view text) const;

  line_reader reader_;
  pace pace_;
  member_form form_ = member_form::raw;
  claim_state claim_ = claim_state::none;
  bool done_ = false;
};

}  // namespace rill::chat
