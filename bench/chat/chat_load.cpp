// Members of a chat who join, listen, and of whom one in each room speaks at a steady rate. Prints
// how many of the messages came, and how long they took from the speaker to each listener.
//
//   build/release/bin/chat_server --rate 0 --port 12345 &
//   build/release/bin/chat_load --port 12345 --connections 10000 --rooms 1 --rate 10 --duration 10s
//
// A message carries the time at which it was due, so a server that holds up the speaker is charged
// for it. One thread: with thousands of listeners it takes as much of a core as the server does.
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "latency.h"
#include <rill/net/tcp.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/run.h>
#include <rill/runtime/semaphore.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/timeout.h>

namespace {

struct options {
  std::uint16_t port = 12345;
  unsigned connections = 1000;
  unsigned rooms = 1;
  double rate = 10;  // messages a second, of all rooms together
  unsigned seconds = 10;
  unsigned idle_seconds = 0;
  unsigned at_once = 256;
};

struct counts {
  bench::latency_histogram latencies;
  std::uint64_t joined = 0;
  std::uint64_t lost_members = 0;
  std::uint64_t missed = 0;
};

std::int64_t now() { return rill::loop_clock::now().time_since_epoch().count(); }

/// Addresses of 127.0.0.0/8, 20,000 connections from each: ports are few.
rill::endpoint source_of(unsigned member) {
  const unsigned host = 2 + member / 20'000;
  return *rill::endpoint::parse("127.0." + std::to_string(host / 250) + '.' +
                                std::to_string(host % 250 + 1) + ":0");
}

/// Takes lines from the front and keeps what is left of one.
void take_lines(std::string& held, std::string_view bytes, counts& all) {
  if (!held.empty()) {
    held += bytes;
    bytes = held;
  }
  std::size_t end = 0;
  const std::int64_t time = now();
  while ((end = bytes.find('\n')) != std::string_view::npos) {
    const std::string_view line = bytes.substr(0, end);
    bytes.remove_prefix(end + 1);
    if (const std::size_t found = line.find(": @"); found != std::string_view::npos) {
      std::int64_t sent = 0;
      std::from_chars(line.data() + found + 3, line.data() + line.size(), sent);
      all.latencies.record(static_cast<std::uint64_t>(time > sent ? time - sent : 0));
    } else if (line.starts_with("-- you missed ")) {
      std::uint64_t count = 0;
      std::from_chars(line.data() + 14, line.data() + line.size(), count);
      all.missed += count;
    }
  }
  held = std::string(bytes);
}

rill::task<> listen(rill::tcp_stream& stream, std::string held, counts& all) {
  for (;;) {
    const auto bytes = co_await rill::as_result(stream.read_lease());
    if (!bytes || bytes->empty()) break;
    take_lines(held, bytes->text(), all);
  }
  ++all.lost_members;
}

rill::task<> join(rill::tcp_stream& stream, unsigned number, const options& chosen) {
  const rill::endpoint to = *rill::endpoint::parse("127.0.0.1:" + std::to_string(chosen.port));
  rill::connection_options from;
  from.local = source_of(number);
  stream = co_await rill::tcp_stream::connect(to, from);
  std::string hello = "m" + std::to_string(number) + "\n";
  const bool moves = chosen.rooms > 1;
  if (moves) hello += "/join r" + std::to_string(number % chosen.rooms) + "\n";
  co_await stream.write_all(hello);
}

rill::task<> speak(rill::tcp_stream& stream, const options& chosen, unsigned room,
                   std::uint64_t& said) {
  const auto interval =
      std::chrono::nanoseconds(static_cast<std::int64_t>(1e9 / (chosen.rate / chosen.rooms)));
  auto due = rill::loop_clock::now() + interval * room / chosen.rooms;
  const auto end = rill::loop_clock::now() + std::chrono::seconds(chosen.seconds);
  for (; due < end; due += interval) {
    co_await rill::sleep_until(due);
    const std::string text = "@" + std::to_string(due.time_since_epoch().count()) + "\n";
    co_await stream.write_all(text);
    ++said;
  }
}

rill::task<> load(const options& chosen) {
  counts all;
  std::vector<rill::tcp_stream> streams(chosen.connections);
  std::vector<std::uint64_t> said(chosen.rooms);
  rill::semaphore connecting(chosen.at_once);
  const std::int64_t begin = now();
  co_await rill::with_nursery([&](rill::nursery& members) -> rill::task<> {
    for (unsigned i = 0; i != chosen.connections; ++i) {
      rill::semaphore::permit joining = co_await connecting.acquire();
      members.start(
          [&](unsigned number, rill::semaphore::permit place) -> rill::task<> {
            co_await join(streams[number], number, chosen);
            ++all.joined;
            place.release();
            co_await listen(streams[number], std::string(), all);
          },
          i, std::move(joining));
    }
    while (all.joined != chosen.connections) co_await rill::sleep_for(std::chrono::milliseconds(5));
    // All that is said about who joins has come when nothing comes for a while.
    co_await rill::sleep_for(std::chrono::seconds(2));
    std::printf("%u connections in %.1f s\n", chosen.connections,
                static_cast<double>(now() - begin) / 1e9);
    std::fflush(stdout);
    co_await rill::sleep_for(std::chrono::seconds(chosen.idle_seconds));
    co_await rill::with_nursery([&](rill::nursery& speakers) -> rill::task<> {
      for (unsigned room = 0; room != chosen.rooms; ++room) {
        speakers.start([&](unsigned of) { return speak(streams[of], chosen, of, said[of]); }, room);
      }
      co_return;
    });
    co_await rill::sleep_for(std::chrono::seconds(1));
    members.cancel();
  });
  std::uint64_t said_count = 0;
  std::uint64_t expected = 0;
  for (unsigned room = 0; room != chosen.rooms; ++room) {
    const unsigned size =
        chosen.connections / chosen.rooms + (room < chosen.connections % chosen.rooms ? 1U : 0U);
    said_count += said[room];
    expected += said[room] * (size - 1);
  }
  const auto milliseconds = [&](double share) {
    return static_cast<double>(all.latencies.percentile(share)) / 1e6;
  };
  std::printf("%llu messages, %llu of %llu deliveries, %llu told as missed, %llu members lost\n",
              static_cast<unsigned long long>(said_count),
              static_cast<unsigned long long>(all.latencies.count()),
              static_cast<unsigned long long>(expected),
              static_cast<unsigned long long>(all.missed),
              static_cast<unsigned long long>(all.lost_members));
  std::printf("latency: p50 %.2f ms, p99 %.2f ms, p99.9 %.2f ms, max %.2f ms\n", milliseconds(0.5),
              milliseconds(0.99), milliseconds(0.999),
              static_cast<double>(all.latencies.max()) / 1e6);
}

}  // namespace

int main(int argc, char** argv) {
  options chosen;
  CLI::App app("Members of a chat: joins, speaks, and measures how long messages take.");
  app.add_option("--port", chosen.port, "port of the server on 127.0.0.1 (12345)");
  app.add_option("--connections", chosen.connections, "members (1000)");
  app.add_option("--rooms", chosen.rooms, "rooms, with as many members each (1)");
  app.add_option("--rate", chosen.rate, "messages a second, of all rooms together (10)");
  app.add_option("--duration", chosen.seconds, "seconds of speaking (10)");
  app.add_option("--idle", chosen.idle_seconds, "seconds of silence before that (0)");
  app.add_option("--at-once", chosen.at_once, "members that join at once (256)");
  CLI11_PARSE(app, argc, argv);
  return rill::run(load, std::cref(chosen));
}
