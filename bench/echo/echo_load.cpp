// The load for the servers: ping-pong on many connections, messages a second and latencies.
//
// Every reply is checked. With --http it asks an HTTP server instead of echoing, and a message is a
// request with its answer. One thread; it should be pinned to another core than the server. With
// --rate the schedule is fixed beforehand and latency counts from the intended time of sending, so
// that a stalling server cannot hide its stalls. With --idle it only holds connections open.

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <CLI/CLI.hpp>

#include "echo_protocol.h"
#include "http_protocol.h"
#include "load_engine.h"

namespace {

struct options {
  std::string host = "127.0.0.1";
  std::string port;
  std::size_t connection_count = 50;
  std::size_t message_size = 64;
  std::string http_path;  // empty: echo
  std::size_t pipeline = 1;
  bench::load_options load;
  bool has_duration = false;
  bool json = false;
  bool idle = false;
};

options parse(int argc, char** argv) {
  options chosen;
  CLI::App app{"Loads an echo server and measures it."};
  std::map<std::string, double> units{{"us", 1e-6}, {"ms", 1e-3}, {"s", 1}, {"m", 60}};
  CLI::AsNumberWithUnit duration(units, CLI::AsNumberWithUnit::UNIT_OPTIONAL);
  app.add_option("--host", chosen.host, "name or address of the server");
  app.add_option("--port", chosen.port, "its port")->required();
  app.add_option("--connections", chosen.connection_count)->check(CLI::Range(1, 1'000'000));
  app.add_option("--size", chosen.message_size, "bytes of a message")
      ->check(CLI::Range(1, 1 << 30));
  app.add_option("--http", chosen.http_path, "GET this path by HTTP/1.1, as /plaintext");
  app.add_option("--pipeline", chosen.pipeline, "requests in flight on each connection (--http)")
      ->check(CLI::Range(1, 1024));
  auto* time = app.add_option("--duration", chosen.load.duration_seconds, "measured time, as 5s");
  time->transform(duration);
  app.add_option("--warmup", chosen.load.warmup_seconds, "time before it, as 1s")
      ->transform(duration);
  app.add_option("--rate", chosen.load.rate, "messages a second in all; 0: as fast as they return");
  app.add_flag("--spin", chosen.load.spin, "never sleep: takes the waking of the load out of it");
  app.add_flag("--json", chosen.json, "print the result as one line of JSON");
  app.add_flag("--idle", chosen.idle, "connect, send nothing, wait for SIGTERM or --duration");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    std::exit(app.exit(error));
  }
  chosen.has_duration = time->count() > 0;
  return chosen;
}

void raise_descriptor_limit() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

// Closing by reset leaves no TIME_WAIT behind: thousands of them would disturb the next run.
int connect_one(const addrinfo& address) {
  int descriptor = ::socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (descriptor < 0) throw bench::load_error(std::string("socket: ") + std::strerror(errno));
  int on = 1;
  ::setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  linger reset{1, 0};
  ::setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  if (::connect(descriptor, address.ai_addr, address.ai_addrlen) < 0) {
    throw bench::load_error(std::string("connect: ") + std::strerror(errno));
  }
  return descriptor;
}

// In batches with a breath between them: 16,000 at once overflow any backlog, and a dropped SYN
// comes again only after a second.
std::vector<int> connect_all(const options& chosen) {
  constexpr std::size_t batch_size = 256;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  int error = ::getaddrinfo(chosen.host.c_str(), chosen.port.c_str(), &hints, &found);
  if (error != 0) throw bench::load_error(chosen.host + ": " + ::gai_strerror(error));
  std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> address(found, ::freeaddrinfo);
  std::vector<int> descriptors;
  for (std::size_t i = 0; i < chosen.connection_count; ++i) {
    descriptors.push_back(connect_one(*address));
    if (i % batch_size == batch_size - 1) {
      std::this_thread::sleep_for(std::chrono::milliseconds(4));
    }
  }
  return descriptors;
}

double microseconds(std::uint64_t nanoseconds) { return static_cast<double>(nanoseconds) / 1e3; }

// A latency is that of an exchange: of a whole batch, when requests are pipelined.
void report(const options& chosen, bench::load_result result) {
  result.messages *= chosen.pipeline;
  double per_second = static_cast<double>(result.messages) / result.seconds;
  const bench::latency_histogram& latency = result.latency;
  const char* form = chosen.json
                         ? "{\"connections\":%zu,\"size\":%zu,\"rate\":%.0f,\"seconds\":%.3f,"
                           "\"messages\":%llu,\"messages_per_second\":%.1f,\"p50_us\":%.1f,"
                           "\"p99_us\":%.1f,\"p999_us\":%.1f,\"max_us\":%.1f,\"unsent\":%llu,"
                           "\"load_cpu\":%.3f}\n"
                         : "connections %zu, size %zu, rate %.0f, %.3f s\n"
                           "messages %llu, %.1f a second\n"
                           "latency us: p50 %.1f, p99 %.1f, p99.9 %.1f, max %.1f\n"
                           "unsent %llu, cpu of the load %.2f\n";
  std::printf(form, chosen.connection_count, chosen.message_size, chosen.load.rate, result.seconds,
              static_cast<unsigned long long>(result.messages), per_second,
              microseconds(latency.percentile(0.5)), microseconds(latency.percentile(0.99)),
              microseconds(latency.percentile(0.999)), microseconds(latency.max()),
              static_cast<unsigned long long>(result.unsent), result.cpu_share);
}

template <class Protocol>
void measure(const options& chosen, Protocol protocol) {
  auto engine =
      std::make_unique<bench::load_engine<Protocol>>(protocol, connect_all(chosen), chosen.load);
  report(chosen, engine->run());
}

void hold_idle(const options& chosen) {
  std::vector<int> descriptors = connect_all(chosen);
  std::printf("idle: %zu connected\n", descriptors.size());
  std::fflush(stdout);
  do {
    std::this_thread::sleep_for(std::chrono::duration<double>(chosen.load.duration_seconds));
  } while (!chosen.has_duration);
}

}  // namespace

int main(int argc, char** argv) {
  options chosen = parse(argc, argv);
  raise_descriptor_limit();
  ::prctl(PR_SET_TIMERSLACK, 1UL);  // the schedule of --rate is finer than the default of 50 us
  try {
    if (chosen.idle) {
      hold_idle(chosen);
      return 0;
    }
    if (chosen.http_path.empty()) {
      measure(chosen, bench::echo_protocol(chosen.message_size));
    } else {
      measure(chosen, bench::http_protocol(chosen.host, chosen.http_path, chosen.pipeline));
    }
  } catch (const bench::load_error& error) {
    std::fprintf(stderr, "error: %s:%s: %s\n", chosen.host.c_str(), chosen.port.c_str(),
                 error.what());
    return 1;
  }
  return 0;
}
