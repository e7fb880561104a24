// A whole chat: a shard for each of several loops, and the way between them.
//   auto hub = rill::chat::hub::make({&rill::loop::current()});
//   rill::chat::branch here(hub->at(0), options);
//   co_await rill::chat::serve(listener, here);
// Read next: hub.cpp, which is short.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <rill/protocols/chat/history_log.h>
#include <rill/protocols/chat/shard.h>
#include <rill/runtime/loop.h>

namespace rill::chat {

/// Of all shards together. The counts of shard_statistics.
struct hub_statistics {
  std::uint64_t member_count = 0;
  std::uint64_t room_count = 0;
  std::uint64_t message_count = 0;
  std::uint64_t event_count = 0;
  std::uint64_t delivery_count = 0;
  std::uint64_t missed_count = 0;
  std::uint64_t queued_size = 0;
  std::uint64_t cut_count = 0;
};

/// Messages between shards travel by loop::post, so much of a turn in one message; nothing else is
/// shared.
class hub : public std::enable_shared_from_this<hub> {
 public:
  /// Shard number i is for the loop number i, and is used on its thread only. The loops outlive the
  /// hub's last user; messages on their way keep the hub.
  static std::shared_ptr<hub> make(const std::vector<loop*>& loops,
                                   const hub_options& options = hub_options());
  hub(const hub&) = delete;
  hub& operator=(const hub&) = delete;
  ~hub();

  /// The shard of the loop number `index`, for that loop's thread.
  shard& at(unsigned index) noexcept;
  unsigned size() const noexcept { return static_cast<unsigned>(parts_.size()); }
  /// Has what is said in the rooms of a shard appended to `log`, of the same loop, until another is
  /// given; nullptr: none.
  void keep(unsigned index, history_log* log) noexcept;
  /// keep() for as long as it lives; the log that is given outlives it.
  class keeping {
   public:
    keeping(hub& all, unsigned index, history_log* log) noexcept : all_(&all), index_(index) {
      all.keep(index, log);
    }
    keeping(const keeping&) = delete;
    keeping& operator=(const keeping&) = delete;
    ~keeping() { all_->keep(index_, nullptr); }

   private:
    hub* all_;
    unsigned index_;
  };
  /// Before the first member, when no other loop runs.
  void restore(const std::vector<kept_event>& events);
  /// From any thread.
  hub_statistics statistics() const noexcept;

 private:
  class part;
  hub(const std::vector<loop*>& loops, const hub_options& options);

  std::vector<std::unique_ptr<part>> parts_;
};

}  // namespace rill::chat
