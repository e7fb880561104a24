// What a client, its subscriptions and its connection share: what is to be sent, who waits for what
// comes, which servers there are. Knows no stream: session.h joins it to one.
// Read next: session.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <rill/protocols/nats/client.h>
#include <rill/runtime/error.h>
#include <rill/runtime/event.h>

namespace rill::nats::detail {

inline error error_from(nats_error code, const char* operation) noexcept {
  return error(make_error_code(code), operation);
}

/// False: the deadline has passed first.
task<bool> wait_until(event& happened, loop_clock::time_point deadline);

/// 22 letters and digits, 130 bits, from the kernel.
std::string random_name();
/// 0 to 1, from the kernel.
double random_share();

/// With what it counts for in the limits.
struct waiting_message {
  waiting_message(message of, std::size_t counted) : value(std::move(of)), size(counted) {}
  message value;
  std::size_t size;
};

struct subscription_state {
  std::uint64_t number = 0;
  std::string pattern;
  std::string queue;
  subscribe_options options{};
  std::deque<waiting_message> waiting;
  std::size_t waiting_size = 0;
  std::uint64_t delivered_count = 0;
  std::uint64_t dropped_count = 0;
  bool is_slow = false;  ///< has dropped since it last took one
  bool has_failed = false;
  bool has_ended = false;
  event changed;
};

/// A request that waits for its answer, in the frame of who asked.
struct waiting_request {
  event done;
  std::optional<message> answer;
  nats_error failure = nats_error::disconnected;
};

/// The servers: those that were configured, and those that servers have told of.
class server_pool {
 public:
  explicit server_pool(const std::vector<std::string>& servers);

  std::size_t size() const noexcept { return configured_.size() + learnt_.size(); }
  /// One after the other.
  server_address next();
  void start_at(std::size_t position) noexcept { position_ = position; }
  /// The cluster's addresses, told by `from`: they replace what was learnt before.
  void learn(const std::vector<std::string>& addresses, const server_address& from);

 private:
  std::vector<server_address> configured_;
  std::vector<server_address> learnt_;
  std::size_t position_ = 0;
};

class client_core {
 public:
  explicit client_core(client_options chosen);

  // --- run() ---
  task<> supervise();
  void tell(client_event::kind what, std::error_code reason, std::string_view text);
  void close() noexcept;

  // --- for users ---
  bool is_connected() const noexcept { return connected_; }
  bool is_closed() const noexcept { return closed_; }
  std::size_t pending_size() const noexcept;
  bool has_room(std::size_t size) const noexcept;
  /// Throws for what no server would take, and once the client is closed or drains. `what` is for
  /// the error, `size` of headers and payload.
  void check_publish(const char* what, std::string_view subject, std::string_view reply,
                     std::size_t size) const;
  void check_request(const char* what, std::string_view subject, std::size_t size) const;
  void publish(std::string_view subject, std::string_view reply, std::string_view headers,
               std::string_view payload);
  /// Answers that are worth nothing on another connection, or late: dropped if there is none, or
  /// too much waits, or `subject` is none.
  void publish_now(std::string_view subject, std::string_view payload);
  /// Sends a request once there is a connection. `was_sent` tells whether it may have arrived.
  task<result<message>> ask(std::string subject, std::string headers, std::string payload,
                            loop_clock::time_point deadline, bool& was_sent);
  std::shared_ptr<subscription_state> subscribe(std::string pattern,
                                                const subscribe_options& chosen);
  void unsubscribe(subscription_state& from) noexcept;
  task<> flush(loop_clock::time_point deadline);
  task<> drain(loop_clock::time_point deadline);
  std::string new_inbox();

  // --- for a session ---
  /// CONNECT and PING.
  std::string hello(bool over_tls) const;
  void begin_handshake(const server_address& to, const server_info& of);
  void begin_session();
  void end_session() noexcept;
  /// What a server has sent. An error ends the session.
  std::optional<error> handle(const packet& read);
  /// The meaning of -ERR; nullopt: the connection goes on.
  static std::optional<nats_error> meaning_of(std::string_view reason) noexcept;
  /// Moves what is to be sent into `sending`; false: nothing.
  bool take_output(std::string& sending);
  void sent(std::size_t size) noexcept;
  void send_ping();
  bool is_lame_duck() const noexcept { return info_.is_lame_duck; }
  bool has_finished();

  client_options options;
  event work;     ///< something is to be sent
  event stop;     ///< the client is closed
  event changed;  ///< never stays set: wakes who waits for a connection, for room, for a PONG
  client_statistics counts;
  std::string last_failure;

  const server_info& info() const noexcept { return info_; }
  const server_address& server() const noexcept { return server_; }

 private:
  task<error> attempt(const server_address& to);
  std::optional<tls::client_context>& trusted();
  task<> pause(std::size_t failure_count);
  void check_sizes(const char* what, std::string_view subject, std::size_t sent_size,
                   std::size_t size) const;
  bool is_over() const noexcept { return closed_ || is_draining_; }
  void broadcast() noexcept;
  void deliver(const packet& read);
  void deliver_answer(const packet& read);
  void append_subscription(subscription_state& of);
  void fail_requests(nats_error why) noexcept;

  server_pool pool_;
  server_address server_;
  server_info info_;
  bool connected_ = false;
  bool closed_ = false;
  bool is_draining_ = false;
  bool was_connected_ = false;

  // To be sent in this order. Only pending_ outlives a connection.
  std::string control_;  ///< SUB, UNSUB, PONG, answers to flow control
  std::string once_;     ///< requests: who asked is told when the connection is lost
  std::string pending_;
  std::string tail_;  ///< PING
  std::size_t sending_size_ = 0;
  std::uint64_t ping_count_ = 0;
  std::uint64_t pong_count_ = 0;
  bool is_confirmed_ = false;  ///< nothing was handed over since the last PING

  std::string inbox_;  ///< "_INBOX.x."
  std::uint64_t next_number_ = 1;
  std::map<std::uint64_t, std::shared_ptr<subscription_state>> subscriptions_;
  std::unordered_map<std::uint64_t, waiting_request*> requests_;
};

}  // namespace rill::nats::detail
