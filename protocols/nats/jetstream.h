// JetStream: messages that the servers keep, in streams with sequence numbers.
//   nats::jetstream js(bus);
//   co_await js.create_or_update_stream(config);             // subjects {"chat.>"}
//   const auto kept = co_await js.publish("chat.lobby", "hello");   // kept.sequence
//   auto all = js.consume("CHAT", from_the_beginning);
//   const nats::stream_message first = co_await all.next();
// A message that publish() has confirmed stands in the stream exactly once, whatever was lost on
// the way. Read next: ordered_consumer.h.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <rill/net/retry.h>
#include <rill/protocols/nats/client.h>
#include <rill/protocols/nats/message.h>
#include <rill/runtime/error.h>
#include <rill/runtime/task.h>

namespace rill::nats {

/// JetStream has refused: "create stream CHAT (insufficient resources): refused by JetStream". The
/// code is refused_by_api, not_found or wrong_last_sequence.
class api_error : public io_error {
 public:
  api_error(nats_error code, std::string_view operation, std::string_view subject, int status,
            std::uint64_t number, const std::string& description);

  /// As of HTTP: 400, 404, 503 ...
  int status() const noexcept { return status_; }
  /// The server's own number for it (err_code), such as 10059: no such stream.
  std::uint64_t number() const noexcept { return number_; }

 private:
  int status_;
  std::uint64_t number_;
};

/// Where the servers keep a stream.
enum class storage_type : unsigned char { file, memory };

/// What a stream keeps. 0 means no limit, but for the window.
class stream_config {
 public:
  stream_config() {}

  std::string name;  ///< letters, digits, "-" and "_"
  std::vector<std::string> subjects;
  storage_type storage = storage_type::file;
  /// Copies on so many servers of a cluster: 1, 3 or 5.
  unsigned replica_count = 1;
  std::uint64_t message_count_max = 0;
  std::uint64_t subject_message_count_max = 0;  ///< of each subject
  std::uint64_t size_max = 0;                   ///< bytes
  std::chrono::nanoseconds age_max{0};
  /// How long a Nats-Msg-Id is remembered: a message that is published again within it does not
  /// stand twice.
  std::chrono::nanoseconds duplicate_window = std::chrono::minutes(2);
};

/// What a stream holds now.
class stream_info {
 public:
  stream_info() {}

  std::string name;
  std::uint64_t message_count = 0;
  std::uint64_t first_sequence = 0;
  std::uint64_t last_sequence = 0;  ///< 0: nothing was ever published
  /// When it was made, as the server writes it. A stream that was deleted and made again has
  /// another, and begins with 1 again.
  std::string created;
  std::string leader;  ///< of a cluster; empty if there is none now
  std::chrono::nanoseconds duplicate_window{0};
};

/// A message as it stands in a stream.
class stream_message {
 public:
  stream_message() noexcept {}

  std::string subject;
  nats::headers headers;
  std::string payload;
  std::uint64_t sequence = 0;       ///< in the stream, from 1 on
  std::int64_t stored_at = 0;       ///< nanoseconds since 1970, by the server's clock
  std::uint64_t pending_count = 0;  ///< that follow it now, for a consumer; 0: it has caught up
  bool has_bad_headers = false;     ///< as of message
};

/// How jetstream::publish() puts a message into a stream.
class publish_options {
 public:
  publish_options() {}

  /// Nats-Msg-Id, by which a message that is sent again is recognised; empty: one is made up. Of
  /// one with blanks at its ends these are not sent.
  std::string message_id;
  /// The message is taken only if the stream's last sequence is this one; 0: if it is empty.
  /// REQUIRES: within the duplicate window, as all of this.
  std::optional<std::uint64_t> expected_last_sequence;
  /// The same for the last message of its subject.
  std::optional<std::uint64_t> expected_last_subject_sequence;
  /// The stream that must take it; empty: whichever has the subject.
  std::string expected_stream;
  nats::headers headers;
  /// Of everything, with all its attempts: while there is no connection, no leader, no answer.
  std::chrono::nanoseconds timeout = std::chrono::seconds(30);
  /// Of one attempt.
  std::chrono::nanoseconds attempt_timeout = std::chrono::seconds(3);
  /// A message that may have been taken is sent again for so long only. Less than the stream's
  /// duplicate window, with room for what lingers in the network.
  std::chrono::nanoseconds resend_for = std::chrono::seconds(60);
};

/// Where a message stands now.
class publish_ack {
 public:
  publish_ack() {}

  std::string stream;
  std::uint64_t sequence = 0;
  /// An earlier attempt, or somebody else with this id, had published it already.
  bool is_duplicate = false;
};

class consume_options;
class ordered_consumer;

/// How JetStream is asked.
class jetstream_options {
 public:
  jetstream_options() {}

  /// "$JS.API", or that of a domain or an import.
  std::string prefix = "$JS.API";
  /// Of one question with all its attempts; JetStream has no leader for some seconds after a
  /// server of its cluster has died.
  std::chrono::nanoseconds timeout = std::chrono::seconds(30);
  std::chrono::nanoseconds attempt_timeout = std::chrono::seconds(3);
  /// Between two attempts; doubled up to the maximum. What is waited is drawn from the upper half.
  std::chrono::nanoseconds retry_delay = std::chrono::milliseconds(50);
  std::chrono::nanoseconds retry_delay_max = std::chrono::seconds(1);
};

/// JetStream over a client, which outlives it. Cheap to copy.
///
/// Errors of all: api_error; bad_answer; closed; timeout_error or no_responders when no answer has
///   come in time, the latter if the last attempt has met nobody (no JetStream there, or no
///   leader).
class jetstream {
 public:
  explicit jetstream(client& over, jetstream_options options = jetstream_options());

  /// Makes the stream, or gives the one that there is the limits of `config`.
  [[nodiscard]] task<stream_info> create_or_update_stream(stream_config config);
  /// Errors: api_error with not_found.
  [[nodiscard]] task<stream_info> stream(std::string name);
  [[nodiscard]] task<> delete_stream(std::string name);

  /// Puts a message into the stream that has its subject, exactly once.
  ///
  /// Completes when the stream has it, on most of its replicas. An attempt that failed, or of which
  ///   nothing was heard, is made again with the same Nats-Msg-Id.
  /// Errors: wrong_last_sequence; api_error; outcome_unknown: the time is over, or the client was
  ///   closed, and the message may stand in the stream or not (find_id() tells, and publishing it
  ///   with the same id again is safe within the duplicate window); timeout_error, no_responders,
  ///   closed: it does not stand there; bad_answer: what has answered is not JetStream, at least
  ///   not alone.
  /// Cancellation: as outcome_unknown.
  [[nodiscard]] task<publish_ack> publish(std::string subject, std::string payload,
                                          publish_options options = publish_options());

  /// The message with this sequence number; nullopt: there is none (any more).
  [[nodiscard]] task<std::optional<stream_message>> get(std::string stream, std::uint64_t sequence);
  /// The first message from `sequence` on whose subject matches `pattern`; nullopt: none now.
  [[nodiscard]] task<std::optional<stream_message>> next(std::string stream, std::string pattern,
                                                         std::uint64_t sequence);
  /// The last message of a subject.
  [[nodiscard]] task<std::optional<stream_message>> last(std::string stream, std::string subject);
  /// Up to `count` messages from `sequence` on, in order: history. One question a message; for long
  /// ones consume().
  [[nodiscard]] task<std::vector<stream_message>> fetch(std::string stream, std::string pattern,
                                                        std::uint64_t sequence, std::size_t count);
  /// The sequence number of the message with this Nats-Msg-Id from `sequence` on; nullopt: there is
  /// none. One question for each message of the subject from there on.
  [[nodiscard]] task<std::optional<std::uint64_t>> find_id(std::string stream, std::string subject,
                                                           std::string message_id,
                                                           std::uint64_t sequence);

  /// All messages of a stream, in order. See ordered_consumer.h, which has to be included.
  [[nodiscard]] ordered_consumer consume(std::string stream, const consume_options& options);

  client& over() const noexcept { return *client_; }
  const jetstream_options& options() const noexcept { return options_; }

 private:
  friend class ordered_consumer;
  /// The answer to a question of the API, as JSON text without an error in it.
  task<std::string> ask(const char* operation, std::string endpoint, std::string about,
                        std::string body);
  task<std::optional<stream_message>> get_by(std::string stream, std::string body);
  retry_schedule schedule_until(loop_clock::time_point deadline) const;

  client* client_;
  jetstream_options options_;
};

}  // namespace rill::nats
