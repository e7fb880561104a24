// What happens in a room, in the order that its owner has given it, and the forms in which members
// get it. An event is made once and shared, by all members and all loops.
// Not here: who gets it (shard.h). Read next: event.cpp, which holds every word that members read.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace rill::chat {

/// Bytes that many queues hold at once. Never changed after it was made.
using shared_bytes = std::shared_ptr<const std::string>;
/// A name of a member or a room.
using shared_text = std::shared_ptr<const std::string>;

inline shared_text share(std::string_view text) {
  return std::make_shared<const std::string>(text);
}

enum class event_kind : std::uint8_t {
  said,
  done,  ///< "/me waves"
  joined,
  left,
  renamed  ///< `text` is the new name
};

/// Something that has happened in a room.
struct event {
  /// In its room; each event's is one more than that of the event before.
  std::uint64_t id = 0;
  std::int64_t time = 0;  ///< milliseconds since 1970
  event_kind kind = event_kind::said;
  /// A chunk of a raw client: any bytes. What others say is harmless text (text.h) in one line.
  bool is_raw = false;
  shared_text who;
  std::string text;
};
using shared_event = std::shared_ptr<const event>;

/// How a member is spoken to.
enum class member_form : std::uint8_t {
  raw,     ///< as the original server speaks: chunks without an end
  line,    ///< harmless lines
  browser  ///< JSON
};

/// An event as raw clients get it: what other raw clients have sent, as it is; what others have
/// said as "NAME: TEXT"; "NAME joined the chat!".
std::string raw_form(const event& of);
/// The same in lines that end with LF. Each line of what was said begins with "NAME: ", and holds
/// nothing that a terminal would obey; so nobody can write another's line.
std::string line_form(const event& of);

/// An event on its way to the members of one loop: each form is made when the first member needs
/// it, and shared from then on.
class outgoing_event {
 public:
  explicit outgoing_event(const event& of) noexcept : of_(&of) {}
  const event& what() const noexcept { return *of_; }
  /// Makes the form by `make(event)` unless it is there.
  template <class Make>
  const shared_bytes& form(member_form asked, Make&& make) {
    shared_bytes& kept = forms_[static_cast<std::size_t>(asked)];
    if (kept == nullptr) kept = std::make_shared<const std::string>(make(*of_));
    return kept;
  }

 private:
  const event* of_;
  std::array<shared_bytes, 3> forms_;
};

/// "NAME is writing", on its way to the members of one loop: made once, when the first needs it.
class outgoing_typing {
 public:
  explicit outgoing_typing(const std::string& name) noexcept : name_(&name) {}
  template <class Make>
  const shared_bytes& form(Make&& make) {
    if (form_ == nullptr) form_ = std::make_shared<const std::string>(make(*name_));
    return form_;
  }

 private:
  const std::string* name_;
  shared_bytes form_;
};

}  // namespace rill::chat
