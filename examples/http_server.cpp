// An HTTP server that could be deployed: HTTP and HTTPS, files, uploads, events, several threads.
//
//   build/release/bin/http_server                       ready: http [::1]:8080
//                                                       ready: http 127.0.0.1:8080
//   curl localhost:8080/json                            {"message":"Hello, World!"}
//   curl localhost:8080/echo -d 'some text'             some text
//   curl -N localhost:8080/events                       a line a second
//   curl localhost:8080/upload -F a=@README.md          its name, size and SHA-256
//   http_server --root . then curl localhost:8080/files/README.md
//   http_server --tls-port 8443 --tls-cert chain.pem --tls-key key.pem; kill -HUP reads them anew
//   Ctrl-C                                              answers what has begun and ends with 0
//
// Read next: http_routes.h, which is what it answers.
#include <atomic>
#include <csignal>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "http_routes.h"
#include "program.h"
#include <rill/net/listen.h>
#include <rill/net/tls/stream.h>
#include <rill/protocols/http/session.h>
#include <rill/runtime/loop_group.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/run.h>
#include <rill/runtime/signals.h>
#include <rill/runtime/timeout.h>

namespace {

struct options {
  std::string host = "localhost";
  std::uint16_t port = 8080;
  std::optional<std::uint16_t> tls_port;
  std::string tls_certificate;
  std::string tls_key;
  std::string root;
  std::string access_log;
  unsigned threads = 1;
  std::size_t connection_max = 0;
  std::size_t body_max = 16 * 1024 * 1024;
  std::chrono::milliseconds header_timeout = std::chrono::seconds(10);
  std::chrono::milliseconds idle_timeout = std::chrono::seconds(75);
  std::chrono::milliseconds drain_timeout = std::chrono::seconds(5);
  bool reflect = false;
  std::string kernel = "auto";
};

/// The listeners of one address family or two, bound once and joined by every loop.
struct port {
  port(const char* named, rill::tcp_listener bound, unsigned threads)
      : kind(named), first(std::move(bound)), locals(first.locals()) {
    if (threads > 1) shared = first.share();
  }
  rill::tcp_listener listener(unsigned index) {
    return index == 0 ? std::move(first) : rill::tcp_listener::join(shared);
  }

  const char* kind;
  rill::tcp_listener first;
  std::vector<rill::endpoint> locals;
  std::vector<rill::shared_socket> shared;
};

rill::task<> read_certificates_on_hangup(rill::tls::server_context context) {
  rill::signals hangup{SIGHUP};
  for (;;) {
    co_await hangup.next();
    try {
      co_await context.reload();
      program::announce("certificates read anew\n");
    } catch (const rill::io_error& error) {
      std::fprintf(stderr, "the certificates stay as they are: %s\n", error.what());
    }
  }
}

/// What one loop does: its own routes and its own log, and a server for each port.
class site {
 public:
  site(const options& chosen, std::atomic<std::size_t>& connection_count) : chosen_(&chosen) {
    limits_.connection_max = chosen.connection_max;
    limits_.shared_count = &connection_count;
    limits_.drain_timeout = chosen.drain_timeout;
    session_.header_timeout = chosen.header_timeout;
    session_.idle_timeout = chosen.idle_timeout;
    session_.body.size_max = chosen.body_max;
    routes::add(router_, chosen.root);
  }

  rill::task<> open_log() {
    using mode = rill::open_mode;
    rill::file to =
        co_await rill::file::open(chosen_->access_log, mode::write | mode::create | mode::append);
    log_.emplace(std::move(to));
    session_.log = &*log_;
  }
  bool has_log() const { return log_.has_value(); }
  /// Not to be cancelled: it writes what the last answers of a drain have added, until end_log().
  rill::task<> write_log() { co_await rill::shielded(log_->run()); }
  void end_log() {
    if (log_) log_->stop();
  }

  rill::task<> serve(rill::tcp_listener listener) {
    co_await rill::http::serve(listener, service(), session_, limits_);
  }
  rill::task<> serve_tls(rill::tcp_listener listener, rill::tls::server_context context) {
    const auto handle = [&](rill::tcp_stream peer, rill::drain_signal& drain) -> rill::task<> {
      peer.set_idle(true);  // nothing has begun before hands are shaken: a drain need not wait
      auto secure = co_await rill::tls::accept(std::move(peer), context);
      co_await rill::http::session(std::move(secure), service(), session_, &drain);
    };
    co_await rill::serve(listener, handle, limits_);
  }

 private:
  rill::http::service& service() {
    if (chosen_->reflect) return reflection_;
    return router_;
  }

  const options* chosen_;
  rill::http::router router_;
  routes::reflection reflection_;
  rill::http::session_options session_;
  rill::serve_limits limits_;
  std::optional<rill::http::access_log> log_;
};

/// Whoever awaits a server that drains is destroyed, and goes on nowhere: this ends the log then.
class log_end {
 public:
  explicit log_end(site& of) : of_(&of) {}
  log_end(const log_end&) = delete;
  log_end& operator=(const log_end&) = delete;
  ~log_end() { of_->end_log(); }

 private:
  site* of_;
};

rill::task<> http_server(const options& chosen) {
  port plain("http", co_await rill::tcp_listener::bind(chosen.host, chosen.port), chosen.threads);
  std::optional<port> secure;
  std::optional<rill::tls::server_context> context;
  std::string lines = program::ready_lines(plain.kind, plain.locals);
  if (chosen.tls_port) {
    context.emplace(
        co_await rill::tls::server_context::from_files(chosen.tls_certificate, chosen.tls_key));
    rill::tcp_listener bound = co_await rill::tcp_listener::bind(chosen.host, *chosen.tls_port);
    secure.emplace("https", std::move(bound), chosen.threads);
    lines += program::ready_lines(secure->kind, secure->locals);
  }

  std::atomic<std::size_t> connection_count = 0;
  std::atomic<unsigned> listening_count = 0;
  rill::loop_group loops(chosen.threads);
  const auto serve_on_loop = [&](unsigned index) -> rill::task<> {
    site here(chosen, connection_count);
    if (!chosen.access_log.empty()) co_await here.open_log();
    rill::tcp_listener http = plain.listener(index);
    std::optional<rill::tcp_listener> https;
    if (secure) https.emplace(secure->listener(index));
    if (++listening_count == chosen.threads) program::announce(lines);
    co_await rill::with_nursery([&](rill::nursery& outer) -> rill::task<> {
      const log_end end(here);
      if (here.has_log()) outer.start([&] { return here.write_log(); });
      co_await rill::with_nursery([&](rill::nursery& servers) -> rill::task<> {
        if (https) {
          servers.start([&] { return here.serve_tls(std::move(*https), *context); });
          if (index == 0) servers.start(read_certificates_on_hangup, *context);
        }
        co_await here.serve(std::move(http));
      });
    });
  };
  co_await loops.run(serve_on_loop);
}

}  // namespace

int main(int argc, char** argv) {
  options chosen;
  CLI::App app("HTTP and HTTPS server: pages, files, uploads, events, until Ctrl-C.");
  program::add_host(app, chosen.host, "name or address to listen on (localhost)");
  program::add_number(app, "--port", chosen.port, "port of HTTP, 0 for any that is free (8080)");
  const auto take_tls_port = [&](const std::string& text) {
    chosen.tls_port = program::parse_number<std::uint16_t>("--tls-port", text);
  };
  CLI::Option* tls =
      app.add_option_function<std::string>("--tls-port", take_tls_port, "port of HTTPS (none)");
  CLI::Option* certificate =
      app.add_option("--tls-cert", chosen.tls_certificate, "file of the certificates, PEM");
  CLI::Option* key = app.add_option("--tls-key", chosen.tls_key, "file of the key, PEM");
  tls->needs(certificate)->needs(key);
  app.add_option("--root", chosen.root, "folder of /files/ (none)");
  program::add_number(app, "--threads", chosen.threads, "loops, each on a thread (1)")
      ->check(CLI::Range(1U, 1024U));
  program::add_number(app, "--max-connections", chosen.connection_max,
                      "over all loops (what fits)");
  app.add_option("--max-body", chosen.body_max, "bytes of a request's body (16 MiB)")
      ->transform(CLI::AsSizeValue(false));
  program::add_duration(app, "--header-timeout", chosen.header_timeout, "to send a head in (10s)");
  program::add_duration(app, "--idle-timeout", chosen.idle_timeout, "between requests (75s)");
  program::add_duration(app, "--drain-timeout", chosen.drain_timeout, "time to finish in (5s)");
  app.add_option("--access-log", chosen.access_log, "file to append to (none)");
  app.add_flag("--reflect", chosen.reflect, "answer every request with its own body");
  program::add_kernel(app, chosen.kernel);
  program::parse_or_exit(app, argc, argv);
  const std::size_t fitting = program::default_connection_max(chosen.threads);
  if (chosen.connection_max == 0) chosen.connection_max = fitting;

  rill::run_options how;
  how.kernel = chosen.kernel;
  return rill::run(how, http_server, std::cref(chosen));
}
