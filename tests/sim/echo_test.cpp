// Echo under the simulator: the same rill code as in production, on simulated hosts.
#include <rill/runtime/sim/world.h>

#include <gtest/gtest.h>

#include <string>

#include <rill/net/tcp.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/sleep.h>

namespace {

rill::endpoint at(const char* text) { return rill::endpoint::parse(text).value(); }
rill::const_buffer bytes_of(const std::string& text) { return rill::const_buffer(text); }

rill::task<> echo(rill::tcp_stream peer) {
  while (auto bytes = co_await peer.read_lease()) {
    co_await peer.write_all(bytes);
  }
}

rill::task<> echo_service() {
  auto listener = rill::tcp_listener::bind(at("0.0.0.0:8888"));
  co_await rill::with_nursery([&](rill::nursery& sessions) -> rill::task<> {
    for (;;) sessions.start(echo, co_await listener.accept());
  });
}

rill::task<> say(std::string text, int times) {
  auto stream = co_await rill::tcp_stream::connect(at("10.0.0.1:8888"));
  for (int i = 0; i < times; ++i) {
    co_await stream.write_all(bytes_of(text));
    std::string answer(text.size(), ' ');
    const bool whole = co_await stream.read_exactly(rill::mutable_buffer(answer));
    EXPECT_TRUE(whole);
    EXPECT_EQ(answer, text);
  }
}

TEST(sim_echo, tcp_returns_what_was_sent) {
  rill::sim::world world(1);
  auto& server = world.add_host("server", "10.0.0.1");
  auto& client = world.add_host("client", "10.0.0.2");
  server.run(echo_service);
  auto& test = client.run(say, std::string("hello"), 3);
  world.run(test);
  std::puts(world.trace().c_str());
}

}  // namespace
