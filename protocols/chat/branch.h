// What one loop has of a chat: its shard of the hub, the writers of its members, and the settings.
// Read next: session.h.
#pragma once

#include <chrono>
#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <type_traits>

#include <rill/net/address.h>
#include <rill/net/endpoint.h>
#include <rill/protocols/chat/line_codec.h>
#include <rill/protocols/chat/pace.h>
#include <rill/protocols/chat/shard.h>
#include <rill/protocols/chat/writers.h>

namespace rill::chat {

/// Limits and time-outs of one loop's sessions.
struct session_options {
  line_limits lines{};
  pace_limits pace{};
  /// From the connection to the first byte of a nickname, and to each further attempt; a browser's
  /// from the connection to its name.
  std::chrono::nanoseconds nickname_timeout = std::chrono::seconds(30);
  /// A nickname that has no newline so long after its first byte is a raw client's.
  std::chrono::nanoseconds raw_pause = std::chrono::milliseconds(200);
  /// Nicknames that may be refused before the connection is closed.
  unsigned nickname_attempt_max = 5;
  /// How long a member may say nothing. For ever, as one may listen for hours.
  std::chrono::nanoseconds idle_timeout = std::chrono::nanoseconds::max();
  /// How long a member may take nothing of what waits for it before it is disconnected, or less
  /// than 16 KiB of it. A browser has the write_timeout of its WebSocket.
  std::chrono::nanoseconds write_timeout = std::chrono::seconds(10);
};
static_assert(std::is_trivially_destructible_v<session_options>);

/// Connections by address, of all loops. One short lock at the beginning and the end of each
/// connection, and none where there is no cap.
class address_counter {
 public:
  explicit address_counter(std::size_t count_max) noexcept : count_max_(count_max) {}

  /// The place of one connection.
  class place {
   public:
    place() noexcept {}
    place(const place&) = delete;
    place& operator=(const place&) = delete;
    ~place();
    /// False: there are so many of this address already.
    bool enter(address_counter& in, const endpoint& peer);

   private:
    struct held {
      address_counter* in;
      address of;
    };
    std::unique_ptr<held> held_;  // nullptr where there is no cap
  };

 private:
  std::size_t count_max_;
  std::mutex mutex_;
  std::map<address, std::size_t> counts_;
};

/// Must outlive the sessions.
struct branch {
  branch(shard& of, const session_options& how) : part(of), options(how) {}

  shard& part;
  session_options options;
  /// nullptr: any number of connections from one address.
  address_counter* addresses = nullptr;
  writers outgoing;
};

}  // namespace rill::chat
