// An outbox: messages that are to stand in a stream in the order in which they were said, each
// once, however long JetStream cannot be reached.
//   nats::outbox said(js, "CHAT");
//   tasks.start([&] { return said.run(); });
//   if (!said.push("chat.lobby", "hello")) ...   // it holds as much as it may
// Read next: outbox.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>

#include <rill/protocols/nats/jetstream.h>
#include <rill/runtime/event.h>

namespace rill::nats {

/// What an outbox holds at most.
struct outbox_limits {
  std::size_t count_max = 10'000;
  /// Bytes of subjects and payloads.
  std::size_t size_max = std::size_t{4} * 1024 * 1024;
};
static_assert(std::is_trivially_destructible_v<outbox_limits>);

/// Sends one message at a time: one round trip each. The client of its jetstream outlives it.
/// Thread rule: the loop's thread.
class outbox {
 public:
  outbox(jetstream over, std::string stream, const outbox_limits& limits = outbox_limits());
  outbox(const outbox&) = delete;
  outbox& operator=(const outbox&) = delete;

  /// False, and nothing is kept, if the outbox is full or closed. An empty `message_id` is made up.
  /// Throws std::invalid_argument for one that no header can hold as it is: with CR, LF or NUL, or
  /// with blanks at its ends.
  bool push(std::string subject, std::string payload, std::string message_id = {});
  /// Sends what is pushed. Completes after close(), when all was sent. Once.
  /// A message that JetStream refuses for good is dropped and told to on_refused; so is one of
  /// which it is not known whether it stands, when JetStream refuses to tell: the stream is gone,
  /// for instance. Errors: closed, when the client is. Cancellation: what waits stays; the first of
  /// it may stand.
  [[nodiscard]] task<> run();
  /// Takes no more; run() ends when it is empty.
  void close() noexcept;

  std::size_t waiting_count() const noexcept { return waiting_.size(); }
  std::size_t waiting_size() const noexcept { return waiting_size_; }
  std::uint64_t sent_count() const noexcept { return sent_count_; }

  /// Called by run() for a message that was dropped: its subject, and why. Must not throw.
  std::function<void(const std::string&, std::error_code)> on_refused;

 private:
  struct held {
    held(std::string where, std::string what, std::string id)
        : subject(std::move(where)), payload(std::move(what)), message_id(std::move(id)) {}
    std::string subject;
    std::string payload;
    std::string message_id;
  };

  task<> send_first();
  task<bool> stands(std::string subject, std::string message_id, std::error_code& refused);

  jetstream over_;
  std::string stream_;
  outbox_limits limits_;
  std::deque<held> waiting_;
  std::size_t waiting_size_ = 0;
  std::uint64_t sent_count_ = 0;
  std::optional<std::uint64_t> last_;  ///< no message of this outbox that waits stands up to here
  bool closed_ = false;
  event changed_;
};

}  // namespace rill::nats
