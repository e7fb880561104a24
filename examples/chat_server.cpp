// A chat server that could be deployed: rooms over TCP, TLS and in browsers, several threads,
// limits, statistics.
//
//   build/release/bin/chat_server                       ready: chat [::1]:12345
//                                                       ready: chat 127.0.0.1:12345
//                                                       ready: http [::1]:8081
//                                                       ready: http 127.0.0.1:8081
//   nc localhost 12345                                  a name, then lines; /help
//   build/release/bin/chat_client localhost 12345       the same with a line to edit
//   a browser at http://localhost:8081/                 the page, in the same rooms
//   curl localhost:8081/stats                           who is there, in numbers
//   Ctrl-C                                              tells everybody and ends with 0
//
// Read next: protocols/chat/README.md.
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "chat_page.h"
#include "program.h"
#include <rill/net/listen.h>
#include <rill/net/tls/stream.h>
#include <rill/protocols/chat/browser.h>
#include <rill/protocols/chat/history_log.h>
#include <rill/protocols/chat/hub.h>
#include <rill/protocols/chat/session.h>
#include <rill/protocols/http/json.h>
#include <rill/protocols/http/router.h>
#include <rill/protocols/http/session.h>
#include <rill/protocols/websocket/server.h>
#include <rill/runtime/event.h>
#include <rill/runtime/loop_group.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/run.h>
#include <rill/runtime/timeout.h>

namespace {

struct options {
  std::string host = "localhost";
  std::uint16_t port = 12345;
  std::uint16_t http_port = 8081;
  std::string tls_certificate;
  std::string tls_key;
  std::string log;
  std::vector<std::string> origins;
  unsigned threads = 1;
  std::size_t connection_max = 0;
  std::size_t page_max = 0;  // connections of the other port
  std::size_t per_address_max = 0;
  rill::chat::hub_options hub;
  rill::chat::session_options session;
  std::chrono::milliseconds idle_timeout = std::chrono::milliseconds(0);
  std::chrono::milliseconds drain_timeout = std::chrono::seconds(5);
  std::string kernel = "auto";
};

/// The listeners of one address family or two, bound once and joined by every loop.
struct port {
  port(rill::tcp_listener bound, unsigned threads)
      : first(std::move(bound)), locals(first.locals()) {
    if (threads > 1) shared = first.share();
  }
  rill::tcp_listener listener(unsigned index) {
    return index == 0 ? std::move(first) : rill::tcp_listener::join(shared);
  }

  rill::tcp_listener first;
  std::vector<rill::endpoint> locals;
  std::vector<rill::shared_socket> shared;
};

/// The numbers of GET /stats; the rate is over the time since it was asked last.
class statistics_page {
 public:
  statistics_page(const rill::chat::hub& of, const std::atomic<std::size_t>& connection_count)
      : hub_(&of), connection_count_(&connection_count) {}

  rill::http::response answer() {
    const rill::chat::hub_statistics seen = hub_->statistics();
    const auto now = rill::loop_clock::now();
    const double seconds = std::max(std::chrono::duration<double>(now - asked_).count(), 1e-3);
    const double rate = static_cast<double>(seen.message_count - message_count_) / seconds;
    if (now - asked_ >= std::chrono::seconds(1)) {
      rate_ = rate;
      asked_ = now;
      message_count_ = seen.message_count;
    }
    return rill::http::json_response(nlohmann::json{
        {"connections", connection_count_->load()},
        {"members", seen.member_count},
        {"rooms", seen.room_count},
        {"messages", seen.message_count},
        {"messages_per_second", rate_},
        {"events", seen.event_count},
        {"deliveries", seen.delivery_count},
        {"missed", seen.missed_count},
        {"queued_bytes", seen.queued_size},
        {"disconnected_for_not_reading", seen.cut_count},
    });
  }

 private:
  const rill::chat::hub* hub_;
  const std::atomic<std::size_t>* connection_count_;
  rill::loop_clock::time_point asked_ = rill::loop_clock::now();
  std::uint64_t message_count_ = 0;
  double rate_ = 0;
};

/// What all loops share.
struct shared_parts {
  explicit shared_parts(std::size_t per_address_max) : addresses(per_address_max) {}

  std::atomic<std::size_t> connection_count = 0;
  std::atomic<std::size_t> http_count = 0;  // browsers, and who asks for numbers
  std::atomic<unsigned> listening_count = 0;
  rill::chat::address_counter addresses;
  std::optional<rill::tls::server_context> tls;
  std::shared_ptr<rill::chat::hub> hub;
  std::optional<rill::chat::log_folder> folder;
  using log_list = std::vector<rill::chat::history_log*>;
  std::shared_ptr<log_list> logs;           // of each loop, for its thread
  std::atomic<unsigned> serving_count = 0;  // loops that have begun to
};

/// A room's members may be on any loop: so the logs end when the last of the loops has drained that
/// have begun to serve. Stands in the frame that awaits a server, before anything there may fail;
/// that is destroyed when the server has drained.
class logs_ending {
 public:
  logs_ending(shared_parts& all, rill::loop_group& loops) : all_(&all), loops_(&loops) {
    ++all.serving_count;
  }
  logs_ending(const logs_ending&) = delete;
  logs_ending& operator=(const logs_ending&) = delete;
  ~logs_ending() {
    if (--all_->serving_count != 0) return;
    for (unsigned i = 0; i != loops_->size(); ++i) {
      // A loop may come to it when everything else here is gone.
      loops_->at(i).post([logs = all_->logs, i] {
        if ((*logs)[i] != nullptr) (*logs)[i]->end();
      });
    }
  }

 private:
  shared_parts* all_;
  rill::loop_group* loops_;
};

/// What is said on a loop goes to its log, for as long as there is one.
class known_log {
 public:
  known_log(shared_parts& all, unsigned index, rill::chat::history_log* log)
      : kept_(*all.hub, index, log), place_(&(*all.logs)[index]) {
    *place_ = log;
  }
  known_log(const known_log&) = delete;
  known_log& operator=(const known_log&) = delete;
  ~known_log() { *place_ = nullptr; }

 private:
  rill::chat::hub::keeping kept_;
  rill::chat::history_log** place_;
};

/// From the beginning of a drain on, members leave without a word to those who are told anyway.
rill::task<> quiet_drain(rill::chat::shard& part) {
  struct beginning {
    explicit beginning(rill::chat::shard& of) : part(&of) {}
    beginning(const beginning&) = delete;
    beginning& operator=(const beginning&) = delete;
    ~beginning() { part->begin_drain(); }
    rill::chat::shard* part;
  };
  const beginning when_cancelled(part);
  rill::event never;
  co_await never.wait();
}

rill::task<> serve_members(rill::tcp_listener listener, rill::chat::branch& here, shared_parts& all,
                           rill::serve_limits limits) {
  const auto plain = [&](rill::tcp_stream peer, rill::drain_signal& drain) {
    return rill::chat::session(std::move(peer), here, &drain);
  };
  const auto secure = [&](rill::tcp_stream peer, rill::drain_signal& drain) -> rill::task<> {
    peer.set_idle(true);
    auto hidden = co_await rill::tls::accept(std::move(peer), *all.tls);
    co_await rill::chat::session(std::move(hidden), here, &drain);
  };
  if (all.tls) {
    co_await rill::serve(listener, secure, limits);
  } else {
    co_await rill::serve(listener, plain, limits);
  }
}

rill::task<> serve_pages(rill::tcp_listener listener, rill::chat::branch& here, shared_parts& all,
                         rill::serve_limits limits, std::size_t page_max,
                         const std::vector<std::string>& origins) {
  rill::http::router routes;
  routes.get("/", [](rill::http::request&) {
    return rill::http::response::fixed(chat_page, "text/html; charset=utf-8");
  });
  rill::websocket::server_options how;
  constexpr std::size_t message_size_max = 16 * 1024;  // what a page says is far shorter
  how.connection.limits.message_size_max = message_size_max;
  how.origins = origins;
  const auto browse = [&here](rill::websocket::connection& peer, rill::drain_signal& drain) {
    return rill::chat::browse(peer, here, &drain);
  };
  routes.get("/ws", [&](rill::http::request& asked) {
    return rill::websocket::accept(asked, browse, how);
  });
  statistics_page statistics(*all.hub, all.connection_count);
  routes.get("/stats", [&](rill::http::request&) { return statistics.answer(); });
  limits.connection_max = page_max;
  limits.shared_count = &all.http_count;
  co_await rill::http::serve(listener, routes, rill::http::session_options(), limits);
}

rill::task<> chat_server(const options& chosen) {
  port members(co_await rill::tcp_listener::bind(chosen.host, chosen.port), chosen.threads);
  port pages(co_await rill::tcp_listener::bind(chosen.host, chosen.http_port), chosen.threads);
  const std::string lines =
      program::ready_lines("chat", members.locals) + program::ready_lines("http", pages.locals);
  shared_parts all(chosen.per_address_max);
  if (!chosen.tls_certificate.empty()) {
    all.tls.emplace(
        co_await rill::tls::server_context::from_files(chosen.tls_certificate, chosen.tls_key));
  }

  rill::loop_group loops(chosen.threads);
  std::vector<rill::loop*> each;
  for (unsigned i = 0; i != chosen.threads; ++i) each.push_back(&loops.at(i));
  all.hub = rill::chat::hub::make(each, chosen.hub);
  all.logs = std::make_shared<shared_parts::log_list>(chosen.threads);
  if (!chosen.log.empty()) {
    all.folder.emplace(chosen.log);
    const std::vector<rill::chat::kept_event> kept = co_await all.folder->read();
    all.hub->restore(kept);
    for (const std::string& note : all.folder->notes()) {
      std::fprintf(stderr, "chat_server: %s\n", note.c_str());
    }
  }
  const auto serve_on_loop = [&](unsigned index) -> rill::task<> {
    rill::chat::branch here(all.hub->at(index), chosen.session);
    if (chosen.per_address_max != 0) here.addresses = &all.addresses;
    rill::serve_limits limits;
    limits.connection_max = chosen.connection_max;
    limits.shared_count = &all.connection_count;
    limits.drain_timeout = chosen.drain_timeout;
    std::optional<rill::chat::history_log> log;
    if (all.folder) log.emplace(*all.folder, all.hub->at(index));
    const auto write_log = [&] { return log->run(); };
    const known_log known(all, index, log ? &*log : nullptr);
    co_await rill::with_nursery([&](rill::nursery& outer) -> rill::task<> {
      const logs_ending end_of_logs(all, loops);
      const rill::chat::writers::ending end_of_writers(here.outgoing);
      if (log) outer.start(write_log);
      outer.start([&] { return here.outgoing.run(); });
      rill::tcp_listener listener = members.listener(index);
      if (++all.listening_count == chosen.threads) program::announce(lines);
      co_await rill::with_nursery([&](rill::nursery& servers) -> rill::task<> {
        servers.start(quiet_drain, std::ref(here.part));
        servers.start([&] {
          return serve_pages(pages.listener(index), here, all, limits, chosen.page_max,
                             chosen.origins);
        });
        co_await serve_members(std::move(listener), here, all, limits);
      });
    });
  };
  co_await loops.run(serve_on_loop);
}

}  // namespace

int main(int argc, char** argv) {
  options chosen;
  CLI::App app("Chat server: rooms for line clients, raw ones and browsers, until Ctrl-C.");
  program::add_host(app, chosen.host, "name or address to listen on (localhost)");
  program::add_number(app, "--port", chosen.port,
                      "port of the chat, 0 for any that is free (12345)");
  program::add_number(app, "--http-port", chosen.http_port,
                      "port of the page and of GET /stats, 0 for any free one (8081)");
  app.add_option("--origin", chosen.origins,
                 "another site whose pages may connect, as https://example.org; * for all");
  CLI::Option* certificate =
      app.add_option("--tls-cert", chosen.tls_certificate, "file of the certificates, PEM: TLS");
  CLI::Option* key = app.add_option("--tls-key", chosen.tls_key, "file of the key, PEM");
  certificate->needs(key);
  key->needs(certificate);
  program::add_number(app, "--threads", chosen.threads, "loops, each on a thread (1)")
      ->check(CLI::Range(1U, 1024U));
  program::add_number(
      app, "--max-connections", chosen.connection_max,
      "on each of the two ports, over all loops (what fits: 7 in 8 for members without a "
      "browser, 1 for pages and browsers)");
  program::add_number(app, "--max-per-address", chosen.per_address_max,
                      "connections from one address, 0: any number (0)");
  program::add_number(app, "--history", chosen.hub.history_count,
                      "messages of a room that who joins is given (100)")
      ->check(CLI::Range(std::size_t{0}, std::size_t{100'000}));
  app.add_option("--log", chosen.log, "folder in which the history is kept (in memory only)")
      ->check(CLI::ExistingDirectory);
  program::add_number(app, "--queue", chosen.hub.queue_size_max,
                      "bytes that may wait for one member (256 KiB)")
      ->transform(CLI::AsSizeValue(false));
  app.add_option("--rate", chosen.session.pace.rate,
                 "messages a second of one member, 0: any number (20)")
      ->check(CLI::Range(0.0, 1e9));
  program::add_duration(app, "--idle-timeout", chosen.idle_timeout,
                        "a silent member's time, 0s: for ever (0s)");
  program::add_duration(app, "--drain-timeout", chosen.drain_timeout, "time to finish in (5s)");
  program::add_kernel(app, chosen.kernel);
  program::parse_or_exit(app, argc, argv);
  const std::size_t fitting = program::default_connection_max(chosen.threads);
  // Each port counts for itself, and together they must not take what the log's files need.
  chosen.page_max = chosen.connection_max != 0 ? chosen.connection_max : fitting / 8;
  if (chosen.connection_max == 0) chosen.connection_max = fitting - fitting / 8;
  if (chosen.idle_timeout.count() != 0) chosen.session.idle_timeout = chosen.idle_timeout;
  chosen.session.pace.burst =
      static_cast<unsigned>(std::clamp(2 * chosen.session.pace.rate, 1.0, 1e6));

  rill::run_options how;
  how.kernel = chosen.kernel;
  return rill::run(how, chat_server, std::cref(chosen));
}
