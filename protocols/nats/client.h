// The client: one connection to a cluster of servers, which it keeps up.
//   nats::client bus(options);                       // options.servers = {"nats://localhost:4222"}
//   co_await with_nursery([&](nursery& tasks) -> task<> {
//     tasks.start([&] { return bus.run(); });        // connects, and again whenever it is lost
//     auto news = bus.subscribe("chat.*");
//     co_await bus.publish("chat.lobby", "hello");
//     while (auto each = co_await news.next()) { ... }
//   });
// Messages of NATS itself are sent at most once: what was on its way when the connection went is
// lost. What must arrive goes through JetStream.
// Read next: jetstream.h; README.md in this folder.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <rill/net/resolver.h>
#include <rill/net/tls/context.h>
#include <rill/protocols/nats/message.h>
#include <rill/protocols/nats/packet.h>
#include <rill/protocols/nats/server.h>
#include <rill/runtime/task.h>
#include <rill/runtime/timeout.h>

namespace rill::nats {

namespace detail {
class client_core;
struct subscription_state;
}  // namespace detail

/// What has happened to a client, for logs and for people. Holds no secrets.
class client_event {
 public:
  enum class kind : unsigned char {
    connected,
    disconnected,   ///< a connection that stood was lost; `reason` says why
    unreachable,    ///< an attempt has failed; the next server follows
    server_error,   ///< -ERR that does not end the connection: a permission, too many subscriptions
    slow_consumer,  ///< a subscription has begun to drop messages
    closed,         ///< by close() or drain(); who cancels run() knows it
  };

  client_event(kind of, std::string where, std::error_code why, std::string words)
      : what(of), server(std::move(where)), reason(why), text(std::move(words)) {}

  kind what;
  std::string server;  ///< "host:port"
  std::error_code reason;
  std::string text;  ///< one line, printable()
};

/// Where to, as whom, and how patiently.
class client_options {
 public:
  client_options() {}

  /// As server_address::parse() reads them, at least one. The other addresses of their cluster are
  /// learnt from the servers themselves.
  std::vector<std::string> servers;
  /// Used with every server whose address has none of its own.
  nats::credentials credentials;
  /// Shown in the server's monitoring.
  std::string name = "rill";
  /// Whom to trust with TLS; without, the system's authorities. TLS is spoken where the server
  /// requires it, the address says tls://, or `require_tls` is set; always after the server's INFO,
  /// as nats-server does it unless told otherwise ("handshake first" is not offered).
  std::optional<tls::client_context> tls;
  bool require_tls = false;
  /// Whether the own messages come back to the own subscriptions.
  bool echo = true;

  /// Of one server: look-up, connecting, TLS and handshake.
  std::chrono::nanoseconds connect_timeout = std::chrono::seconds(5);
  /// Of 64 KiB at most: a server that takes nothing for so long is given up.
  std::chrono::nanoseconds write_timeout = std::chrono::seconds(10);
  /// Without a byte from the server for so long it is asked for a sign of life, and given up if
  /// none comes within ping_timeout.
  std::chrono::nanoseconds ping_interval = std::chrono::seconds(20);
  std::chrono::nanoseconds ping_timeout = std::chrono::seconds(10);
  /// When every server was tried in vain; doubled with each round. What is waited is drawn from the
  /// upper half, so that many clients do not come back at once.
  std::chrono::nanoseconds reconnect_delay = std::chrono::milliseconds(100);
  std::chrono::nanoseconds reconnect_delay_max = std::chrono::seconds(5);
  /// How long a server that is about to stop (lame duck mode) may still be used: to finish
  /// requests, and until it says that it has taken what was sent.
  std::chrono::nanoseconds lame_duck_wait = std::chrono::seconds(2);

  /// Bytes that wait to be sent, connected or not. publish() waits beyond, try_publish() refuses.
  std::size_t pending_size_max = std::size_t{8} * 1024 * 1024;
  codec_limits limits;
  /// Who looks up names; must outlive the client. nullptr: as resolve_options::with.
  resolver* with = nullptr;
  /// Called by run(), between its steps: must not throw, and returns soon.
  std::function<void(const client_event&)> on_event;
};

/// What becomes of messages that come faster than they are taken.
enum class slow_policy : unsigned char {
  drop,  ///< the newest are dropped, dropped_count() tells how many
  fail,  ///< next() gives what is there, then throws slow_consumer
};

/// Of one subscription.
struct subscribe_options {
  /// Messages and bytes that may wait to be taken, as they lie in memory.
  std::size_t waiting_count_max = std::size_t{64} * 1024;
  std::size_t waiting_size_max = std::size_t{16} * 1024 * 1024;
  slow_policy when_slow = slow_policy::drop;
  /// Members of one queue group share the messages. The text must live during the call.
  std::string_view queue;
  /// Ends after so many messages; 0: never.
  std::uint64_t count_max = 0;
};
static_assert(std::is_trivially_destructible_v<subscribe_options>);

/// Messages of one subject or pattern. Lives through reconnections. Destroying it unsubscribes; it
/// may outlive the client, whose end is then its own.
class subscription {
 public:
  subscription() noexcept {}
  subscription(std::shared_ptr<detail::client_core> of,
               std::shared_ptr<detail::subscription_state> state) noexcept;
  subscription(subscription&&) noexcept;
  subscription& operator=(subscription&&) noexcept;
  ~subscription();

  /// The next message; nullopt when the subscription has ended: by close(), by its count_max, by
  /// the client's drain() or end, each after what was there. Errors: slow_consumer (slow_policy).
  /// Cancellation: loses nothing. Concurrency: one at a time.
  [[nodiscard]] task<std::optional<message>> next();
  /// The same until `deadline`: nullopt then too, and has_ended() tells which.
  [[nodiscard]] task<std::optional<message>> next_until(loop_clock::time_point deadline);
  /// Without waiting.
  std::optional<message> try_next();

  /// Unsubscribes. What has come may still be taken.
  void close() noexcept;
  bool has_ended() const noexcept;
  /// Messages that were dropped because they were not taken in time.
  std::uint64_t dropped_count() const noexcept;
  std::size_t waiting_count() const noexcept;

 private:
  void leave() noexcept;

  std::shared_ptr<detail::client_core> core_;
  std::shared_ptr<detail::subscription_state> state_;
};

/// What a client has done since it was made.
struct client_statistics {
  std::uint64_t connection_count = 0;
  std::uint64_t sent_size = 0;  ///< bytes
  std::uint64_t received_count = 0;
  std::size_t pending_size = 0;  ///< bytes that wait now
};

/// A connection to a cluster that is kept up, and what goes over it.
/// Thread rule: one loop's thread. The client outlives the calls of its members.
class client {
 public:
  /// Throws std::invalid_argument if there is no server or an address is malformed.
  explicit client(client_options options);
  client(const client&) = delete;
  client& operator=(const client&) = delete;
  ~client();

  /// Keeps the connection: to be run beside what uses the client, once.
  /// Completes after close() or drain().
  /// Errors: authorization, when no connection has ever stood and every server has refused the
  ///   credentials. Everything else is tried again, for ever; options.on_event hears of it.
  /// Cancellation: as close().
  [[nodiscard]] task<> run();

  /// Until a connection stands. Errors: closed; timeout_error, which names the latest failure.
  [[nodiscard]] task<> wait_connected(std::chrono::nanoseconds timeout);
  bool is_connected() const noexcept;
  /// How often a connection was made: another number, another connection.
  std::uint64_t connection_number() const noexcept;
  /// Waits until connection_number() or is_connected() changes, or the client ends.
  [[nodiscard]] task<> wait_change();
  /// "host:port" of the server; empty if there is none now.
  std::string server() const;
  /// What it has said.
  const server_info& info() const noexcept;
  client_statistics statistics() const noexcept;

  /// Hands a message over to be sent; while there is no connection it waits here. Completes at once
  /// as long as pending_size_max is not reached, and otherwise when there is room (back-pressure).
  /// Errors: bad_subject, also of `reply`; payload_too_large; closed, from the beginning of drain()
  ///   on. Cancellation: nothing is sent.
  [[nodiscard]] task<> publish(std::string subject, std::string payload, headers with = headers(),
                               std::string reply = {});
  /// False, and nothing is sent, where publish() would wait. Throws as it does.
  bool try_publish(std::string_view subject, std::string_view payload,
                   const headers& with = headers(), std::string_view reply = {});

  /// Throws io_error: bad_subject, closed.
  [[nodiscard]] subscription subscribe(std::string pattern,
                                       const subscribe_options& options = subscribe_options());

  /// Sends a message and waits for one answer. All requests of a client share one subscription.
  /// Errors: no_responders: nobody listens, at once; timeout_error; disconnected: it may have been
  ///   carried out or not; those of publish().
  /// Cancellation: it may have been carried out.
  [[nodiscard]] task<message> request(std::string subject, std::string payload,
                                      std::chrono::nanoseconds timeout, headers with = headers());

  /// Until the server has taken all that was published before. Errors: disconnected: some of it may
  /// be lost; timeout_error; closed.
  [[nodiscard]] task<> flush(std::chrono::nanoseconds timeout);
  /// Unsubscribes from all, sends what waits, and closes; subscriptions end after what they hold.
  /// Nothing new is taken from then on: closed.
  /// Errors: as flush(); the client is closed in any case.
  [[nodiscard]] task<> drain(std::chrono::nanoseconds timeout);
  /// Ends at once. What waits is dropped.
  void close() noexcept;
  bool is_closed() const noexcept;

  /// A new subject for answers, "_INBOX.x.y", that nobody else can guess.
  std::string new_inbox();

  /// For jetstream.h.
  detail::client_core& core() const noexcept { return *core_; }

 private:
  std::shared_ptr<detail::client_core> core_;
};

}  // namespace rill::nats
