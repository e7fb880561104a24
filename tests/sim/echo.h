// The services that the tests run: ordinary rill code, which knows nothing of the simulator.
#pragma once

#include <cstddef>
#include <string>

#include <gtest/gtest.h>

#include <rill/net/tcp.h>
#include <rill/net/udp.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/task.h>

namespace rill::test {

inline endpoint at(const std::string& text) { return endpoint::parse(text).value(); }

inline task<> echo(tcp_stream peer) {
  while (auto bytes = co_await peer.read_lease()) {
    co_await peer.write_all(bytes);
  }
}

/// Serves until it is cancelled.
inline task<> tcp_echo_service(std::string where) {
  auto listener = tcp_listener::bind(at(where));
  co_await with_nursery([&](nursery& sessions) -> task<> {
    for (;;) sessions.start(echo, co_await listener.accept());
  });
}

inline task<> udp_echo_service(std::string where) {
  auto socket = udp_socket::bind(at(where));
  for (;;) {
    const datagram message = co_await socket.receive();
    co_await socket.send_to(message.bytes(), message.peer());
  }
}

/// Sends `times` messages, each after the answer to the one before.
inline task<> tcp_echo_client(std::string where, std::string text, int times) {
  auto stream = co_await tcp_stream::connect(at(where));
  std::string answer(text.size(), ' ');
  for (int i = 0; i < times; ++i) {
    co_await stream.write_all(const_buffer(text));
    const bool whole = co_await stream.read_exactly(mutable_buffer(answer));
    EXPECT_TRUE(whole);
    EXPECT_EQ(answer, text);
  }
}

}  // namespace rill::test
