// Says something on a subject of NATS and prints what others say there. With --stream the messages
// are kept: who comes later sees them all, in one order, and none is lost or doubled.
//
//   nats-server --jetstream &
//   build/release/bin/nats_pub_sub chat.lobby hello                  said, and gone
//   build/release/bin/nats_pub_sub chat.lobby --stream CHAT hello    said, and kept
//   build/release/bin/nats_pub_sub chat.lobby --stream CHAT          all of it, then what comes
//
// User and password come from RILL_NATS_USER and RILL_NATS_PASSWORD. Ends on Ctrl-C.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "program.h"
#include <rill/net/printable.h>
#include <rill/protocols/nats/client.h>
#include <rill/protocols/nats/jetstream.h>
#include <rill/protocols/nats/ordered_consumer.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/run.h>

namespace {

namespace nats = rill::nats;
using namespace std::chrono_literals;

struct options {
  std::string subject;
  std::string text;
  std::string stream;
  std::vector<std::string> servers{"nats://localhost:4222"};
  std::string kernel = "auto";
};

/// Whoever may publish would write on the terminal as he pleases.
void print(const std::string& subject, const std::string& payload) {
  std::printf("%s: %s\n", rill::printable(subject).c_str(), rill::printable(payload).c_str());
  std::fflush(stdout);
}

/// At most once: who is not there hears nothing.
rill::task<> say_and_listen(nats::client& bus, const options& chosen) {
  if (!chosen.text.empty()) {
    co_await bus.publish(chosen.subject, chosen.text);
    co_await bus.flush(10s);
    co_return;
  }
  auto heard = bus.subscribe(chosen.subject);
  while (auto each = co_await heard.next()) print(each->subject, each->payload);
}

/// Exactly once, and kept.
rill::task<> say_and_listen_to_stream(nats::client& bus, const options& chosen) {
  nats::jetstream js(bus);
  nats::stream_config config;
  config.name = chosen.stream;
  config.subjects.push_back(chosen.subject);
  co_await js.create_or_update_stream(config);
  if (!chosen.text.empty()) {
    const auto kept = co_await js.publish(chosen.subject, chosen.text);
    std::printf("kept as number %llu\n", static_cast<unsigned long long>(kept.sequence));
    co_return;
  }
  auto all = js.consume(chosen.stream, nats::consume_options());
  for (;;) {
    const auto each = co_await all.next();
    print(std::to_string(each.sequence) + ' ' + each.subject, each.payload);
  }
}

rill::task<> nats_pub_sub(const options& chosen) {
  nats::client_options how;
  how.servers = chosen.servers;
  if (const char* const user = std::getenv("RILL_NATS_USER")) how.credentials.user = user;
  if (const char* const password = std::getenv("RILL_NATS_PASSWORD")) {
    how.credentials.password = password;
  }
  how.on_event = [](const nats::client_event& each) {
    std::fprintf(stderr, "nats_pub_sub: %s: %s\n", each.server.c_str(), each.text.c_str());
  };
  nats::client bus(how);
  co_await rill::with_nursery([&](rill::nursery& tasks) -> rill::task<> {
    tasks.start([&] { return bus.run(); });
    if (chosen.stream.empty()) {
      co_await say_and_listen(bus, chosen);
    } else {
      co_await say_and_listen_to_stream(bus, chosen);
    }
    bus.close();
  });
}

}  // namespace

int main(int argc, char** argv) {
  options chosen;
  CLI::App app("Says TEXT on SUBJECT, or without TEXT prints what is said there.");
  app.add_option("SUBJECT", chosen.subject, "such as chat.lobby; to listen also chat.*")
      ->required();
  app.add_option("TEXT", chosen.text, "what to say");
  app.add_option("--stream", chosen.stream, "keep the messages in this stream of JetStream");
  app.add_option("--server", chosen.servers, "nats://HOST:PORT; again for others of a cluster")
      ->allow_extra_args(false);
  program::add_kernel(app, chosen.kernel);
  program::parse_or_exit(app, argc, argv);
  rill::run_options how;
  how.kernel = chosen.kernel;
  return rill::run(how, nats_pub_sub, std::cref(chosen));
}
