// A server for tests of the client that says exactly what the test has it say, well or badly, on
// Linux or in virtual time.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include <gtest/gtest.h>

#include "support.h"
#include <rill/net/buffered.h>
#include <rill/net/tcp.h>
#include <rill/protocols/http/client.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/sim/world.h>

namespace rill::test {

/// One connection, as the server sees it. Time-outs belong to the client.
class http_peer {
 public:
  http_peer(tcp_stream stream, int number)
      : stream_(std::move(stream)), reader_(stream_), number_(number) {}

  /// The head of the next request with its empty line; empty at the end of the connection.
  task<std::string> head() {
    std::string all;
    for (;;) {
      const auto line = co_await reader_.read_until("\r\n", 100'000);
      if (!line) co_return std::string();
      all.append(*line).append("\r\n");
      if (line->empty()) co_return all;
    }
  }
  /// So many bytes; fewer at the end.
  task<std::string> bytes(std::size_t size) {
    const const_buffer got = co_await reader_.peek(size);
    std::string text(got.text());
    reader_.consume(got.size());
    co_return text;
  }
  /// Errors are not the server's affair: the client may have left.
  task<> say(std::string text) { co_await as_result(stream_.write_all(const_buffer(text))); }
  /// "HTTP/1.1 200 OK" with a body.
  task<> answer(std::string body, std::string fields = {}, std::string status = "200 OK") {
    return say("HTTP/1.1 " + status + "\r\nContent-Length: " + std::to_string(body.size()) +
               "\r\n" + fields + "\r\n" + body);
  }
  /// Until the client has ended its side.
  task<> wait_for_end() {
    for (;;) {
      const auto came = co_await as_result(reader_.fill());
      if (!came || *came == 0) co_return;
      reader_.consume(reader_.buffered().size());
    }
  }
  tcp_stream& stream() { return stream_; }
  /// 0 for the first connection.
  int number() const { return number_; }

 private:
  tcp_stream stream_;
  buffered_reader<tcp_stream> reader_;
  int number_;
};

using http_behaviour = std::function<task<>(http_peer&)>;
/// Given the server's URL without a path: "http://127.0.0.1:1234".
using http_visit = std::function<task<>(const std::string&)>;

inline task<> behave(const http_behaviour& behaviour, tcp_stream stream, int number) {
  http_peer peer(std::move(stream), number);
  try {
    co_await behaviour(peer);
  } catch (const io_error&) {
    // The client has gone.
  }
}

inline task<> serve_and_visit(const http_behaviour& behaviour, const http_visit& visit) {
  tcp_listener listener = tcp_listener::bind(endpoint(address::loopback_v4(), 0));
  co_await with_nursery([&](nursery& tasks) -> task<> {
    tasks.start([&]() -> task<> {
      for (int number = 0;; ++number) {
        tcp_stream stream = co_await listener.accept();
        tasks.start(behave, std::ref(behaviour), std::move(stream), number);
      }
    });
    const std::string url = "http://" + listener.local().to_string();
    co_await visit(url);
    tasks.cancel();
  });
}

/// Both in one loop on Linux.
inline void on_linux(const http_behaviour& behaviour, const http_visit& visit) {
  run_loop(serve_and_visit(behaviour, visit));
}
/// Both in the simulator; gives the virtual time that it took.
inline std::chrono::nanoseconds in_virtual_time(const http_behaviour& behaviour,
                                                const http_visit& visit) {
  sim::world world(1);
  sim::host& host = world.add_host("host", "10.0.0.1");
  world.run(host.run([&]() { return serve_and_visit(behaviour, visit); }));
  return world.now();
}

/// Whatever the environment of the tests says.
inline http::client_options direct() {
  http::client_options options;
  options.proxies.emplace();
  return options;
}

/// The error of a request that must fail.
inline task<http::client_error> failure_of(http::client& client, http::client_request asked) {
  http::client_result got = co_await client.send_as_result(std::move(asked));
  if (got) ADD_FAILURE() << "answered " << got->status() << ": " << got->body();
  co_return got ? http::client_error(http::client_phase::request, "nothing", {})
                : std::move(got.error());
}

}  // namespace rill::test
