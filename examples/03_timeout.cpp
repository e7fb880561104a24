// Time limits: on one operation, on a whole task, and nested ones, of which the nearest wins.
//
//   build/release/bin/03_timeout
//     an operation: read 127.0.0.1:PORT: Connection timed out
//     as a value: timed out
//     a task: task: Connection timed out
//     in time: 42
//
// Read next: 04_graceful_shutdown.cpp.
#include <array>
#include <chrono>
#include <cstdio>

#include <rill/net/tcp.h>
#include <rill/runtime/run.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/timeout.h>

using namespace std::chrono_literals;

namespace {

rill::task<int> answer_after(std::chrono::milliseconds duration) {
  co_await rill::sleep_for(duration);
  co_return 42;
}

rill::task<> timeouts() {
  // A server that accepts and says nothing.
  const rill::endpoint local(rill::address::loopback_v4(), 0);
  rill::tcp_listener listener = rill::tcp_listener::bind(local);
  rill::tcp_stream client = co_await rill::tcp_stream::connect(listener.local());
  rill::tcp_stream silent = co_await listener.accept();

  std::array<char, 64> buffer{};
  try {
    co_await rill::with_timeout(50ms, client.read(buffer));
  } catch (const rill::timeout_error& error) {
    std::printf("an operation: %s\n", error.what());
  }

  // In loops where a time-out is ordinary, take it as a value.
  const auto received = co_await rill::as_result(rill::with_timeout(50ms, client.read(buffer)));
  if (!received && received.error().is_timeout()) std::printf("as a value: timed out\n");

  try {
    co_await rill::with_timeout(1h, rill::with_timeout(50ms, answer_after(2h)));
  } catch (const rill::timeout_error& error) {
    std::printf("a task: %s\n", error.what());
  }

  const int answer = co_await rill::with_timeout(1h, answer_after(1ms));
  std::printf("in time: %d\n", answer);
}

}  // namespace

int main() { return rill::run(timeouts); }
