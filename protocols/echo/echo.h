// The echo session (RFC 862) over any byte_stream: what comes in goes out again.
// The shortest useful protocol, and the one that every figure in bench/ is measured with: two
// awaits a message, no copy, no allocation. Not here: accepting connections (net/serve.h).
// Read next: examples/echo_server.cpp.
#pragma once

#include <chrono>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

#include <rill/net/buffer.h>
#include <rill/net/stream.h>
#include <rill/runtime/task.h>
#include <rill/runtime/timeout.h>

namespace rill::echo {

/// What a session adds to its answers, and how patient it is.
struct session_options {
  /// Put before each message, which is whatever one read brings. Must outlive the session.
  std::string_view prefix = {};
  /// How long a peer may neither send nor take what it is sent before the session ends.
  std::chrono::nanoseconds idle_timeout = std::chrono::minutes(5);
};
static_assert(std::is_trivially_destructible_v<session_options>);

namespace detail {

// Functions of their own, so that the frame holds one awaiter for each and not its parts as well:
// that is 130 bytes a connection.
template <byte_stream Stream>
auto receive(Stream& peer, std::chrono::nanoseconds limit) {
  return as_result(with_timeout(limit, peer.read_lease()));
}

template <byte_stream Stream, class Message>
auto send(Stream& peer, const Message& message, std::chrono::nanoseconds limit) {
  return as_result(with_timeout(limit, peer.write_all(message)));
}

template <byte_stream Stream>
task<> plain_session(Stream peer, std::chrono::nanoseconds idle_timeout) {
  for (;;) {
    const auto bytes = co_await receive(peer, idle_timeout);
    if (!bytes || bytes->empty()) co_return;
    const auto sent = co_await send(peer, *bytes, idle_timeout);
    if (!sent) co_return;
  }
}

template <byte_stream Stream>
task<> prefixing_session(Stream peer, session_options options) {
  const_buffer pieces[2] = {const_buffer(options.prefix)};
  const std::span<const const_buffer> message(pieces);
  for (;;) {
    const auto bytes = co_await receive(peer, options.idle_timeout);
    if (!bytes || bytes->empty()) co_return;
    pieces[1] = const_buffer(*bytes);
    const auto sent = co_await send(peer, message, options.idle_timeout);
    if (!sent) co_return;
  }
}

}  // namespace detail

/// Sends back whatever `peer` sends, until it has finished sending, and closes.
///
/// Errors: none. A reset, a time-out, a peer that does not take its answer: the session ends.
/// Cancellation: between two messages nothing is lost; a message on its way back may be cut.
/// Cost: one frame; per message one receive and one send, no copy, no allocation on a warm loop.
/// With a prefix the two parts go out in one gathered send.
template <byte_stream Stream>
task<> session(Stream peer, session_options options = {}) {
  // Two coroutines, so that the common one has the smaller frame.
  if (options.prefix.empty()) {
    return detail::plain_session(std::move(peer), options.idle_timeout);
  }
  return detail::prefixing_session(std::move(peer), options);
}

}  // namespace rill::echo
