// What the simulator costs: echo messages a second of real time, and hours of virtual time.
// An item is one message to the server and back. Not here: what rill itself costs (bench/micro).
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include <rill/net/serve.h>
#include <rill/net/tcp.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/sim/world.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/timeout.h>

using namespace std::chrono_literals;

namespace {

const rill::endpoint server_name(rill::address::v4(10, 0, 0, 1), 8888);

rill::task<> echo(rill::tcp_stream peer) {
  while (auto bytes = co_await peer.read_lease()) co_await peer.write_all(bytes);
}

rill::task<> echo_service() {
  auto listener = rill::tcp_listener::bind(server_name);
  co_await rill::serve(listener, echo);
}

rill::task<> ask(std::size_t size, int times) {
  auto stream = co_await rill::tcp_stream::connect(server_name);
  const std::string question(size, 'x');
  std::string answer(size, ' ');
  for (int i = 0; i < times; ++i) {
    co_await stream.write_all(question);
    co_await stream.read_exactly(answer);
  }
}

rill::task<> ask_beside_each_other(int connections, std::size_t size, int times) {
  co_await rill::with_nursery([&](rill::nursery& all) -> rill::task<> {
    for (int i = 0; i < connections; ++i) all.start(ask, size, times);
    co_return;
  });
}

/// `trace`: events kept, as a test that wants to print them does.
void echo_messages(benchmark::State& state, std::size_t trace) {
  const auto connections = static_cast<int>(state.range(0));
  const auto size = static_cast<std::size_t>(state.range(1));
  const int times = 20'000 / connections;
  std::uint64_t seed = 1;
  for (auto _ : state) {
    rill::sim::world_options options;
    options.trace_max = trace;
    rill::sim::world world(seed++, options);
    auto& server = world.add_host("server", "10.0.0.1");
    auto& client = world.add_host("client", "10.0.0.2");
    server.run(echo_service);
    world.run_for(1ms);
    world.run(client.run(ask_beside_each_other, connections, size, times));
  }
  state.SetItemsProcessed(state.iterations() * connections * times);
}
BENCHMARK_CAPTURE(echo_messages, without_trace, 0)
    ->Args({1, 64})
    ->Args({100, 64})
    ->Args({100, 4096})
    ->Args({1, 1 << 16})
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(echo_messages, with_trace, std::size_t{1} << 17)
    ->Args({1, 64})
    ->Args({100, 64})
    ->Unit(benchmark::kMillisecond);

/// A thousand connections whose readers give up after an hour.
void an_idle_hour(benchmark::State& state) {
  for (auto _ : state) {
    rill::sim::world_options options;
    options.descriptor_max = 4096;
    rill::sim::world world(1, options);
    world.add_host("server", "10.0.0.1").run([]() -> rill::task<> {
      auto listener = rill::tcp_listener::bind(server_name);
      const auto wait_an_hour = [](rill::tcp_stream peer) -> rill::task<> {
        co_await rill::as_result(rill::with_timeout(1h, peer.read_lease()));
      };
      co_await rill::serve(listener, wait_an_hour);
    });
    auto& client = world.add_host("client", "10.0.0.2").run([]() -> rill::task<> {
      std::vector<rill::tcp_stream> idle;
      for (int i = 0; i < 1000; ++i)
        idle.push_back(co_await rill::tcp_stream::connect(server_name));
      co_await rill::sleep_for(1h + 1min);
    });
    world.run(client);
  }
}
BENCHMARK(an_idle_hour)->Unit(benchmark::kMillisecond);

/// A world with two hosts that exchange one message: what one seed of a property costs at least.
void a_small_world(benchmark::State& state) {
  std::uint64_t seed = 1;
  for (auto _ : state) {
    rill::sim::world world(seed++);
    world.add_host("server", "10.0.0.1").run(echo_service);
    auto& client = world.add_host("client", "10.0.0.2");
    world.run_for(1ms);
    world.run(client.run(ask, std::size_t{5}, 1));
  }
}
BENCHMARK(a_small_world)->Unit(benchmark::kMicrosecond);

}  // namespace

BENCHMARK_MAIN();
