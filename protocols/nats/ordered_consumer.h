// A consumer that sees the messages of a stream in their order, each once, whatever happens to
// connections, servers and leaders.
// The server's side is ephemeral: it is made again, behind the last message that was seen, after a
// gap, a silence or another connection.
// Read next: ordered_consumer.cpp.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include <rill/protocols/nats/jetstream.h>

namespace rill::nats {

/// Which messages, and how soon a silence is noticed.
class consume_options {
 public:
  consume_options() {}

  /// Only messages whose subject matches; empty: all of the stream.
  std::string pattern;
  /// The first sequence number that is wanted; 1: from the first that is left. Without: what is
  /// published from now on, where "now" is the first next().
  std::optional<std::uint64_t> from = 1;
  /// The server says so often that it is there while nothing happens. After two and a half of these
  /// without a word the consumer is made again.
  std::chrono::nanoseconds heartbeat = std::chrono::seconds(5);
  /// The server forgets a consumer that nobody listens to after so long.
  std::chrono::nanoseconds inactive_threshold = std::chrono::minutes(1);
  /// Messages and bytes that may wait here; the server's flow control keeps far below.
  std::size_t waiting_count_max = std::size_t{64} * 1024;
  std::size_t waiting_size_max = std::size_t{64} * 1024 * 1024;
};

/// Messages of a stream in their order. The client of its jetstream outlives it.
class ordered_consumer {
 public:
  ordered_consumer(jetstream over, std::string stream, consume_options options);
  ordered_consumer(ordered_consumer&&) noexcept;
  ordered_consumer& operator=(ordered_consumer&&) noexcept;
  /// Tells the server, if there is one, that the consumer is not wanted any more. So does being
  /// assigned to.
  ~ordered_consumer();

  /// The next message. Sequence numbers grow; one that is missing between two messages of the
  /// pattern was deleted, or had left the stream by its limits before it could be seen. Waits for
  /// ever: also while there is no connection, or no leader.
  /// Errors: api_error: not_found, when the stream is gone (its server is silent first, for two and
  ///   a half heartbeats), and other refusals; bad_answer; closed. Refusals of 500 and above are
  ///   asked again for ever, at most once in jetstream_options::retry_delay_max.
  /// Cancellation: loses nothing.
  [[nodiscard]] task<stream_message> next();

  /// Of the last message that was given out; 0: none.
  std::uint64_t last_sequence() const noexcept { return last_sequence_; }
  /// How often the server's side was made, from 1 on.
  std::uint64_t made_count() const noexcept { return made_count_; }
  /// Nothing was left to be seen, when the server last said so.
  bool has_caught_up() const noexcept { return has_caught_up_; }

 private:
  task<> make();
  task<> pause();
  void drop() noexcept;
  std::optional<stream_message> take(message&& came);
  void handle_status(const message& came);

  jetstream over_;
  std::string stream_;
  consume_options options_;
  subscription messages_;
  std::string name_;  ///< the server's; empty: there is none
  std::uint64_t connection_ = 0;
  std::uint64_t made_count_ = 0;
  std::uint64_t last_sequence_ = 0;           ///< of the stream
  std::uint64_t last_consumer_sequence_ = 0;  ///< of this incarnation: each message counts
  std::optional<retry_schedule> retries_;     ///< since the last message that was given out
  bool is_broken_ = false;
  bool has_caught_up_ = false;
};

}  // namespace rill::nats
