// A TCP connection for a test, and what a call says when it fails.
#pragma once

#include <functional>
#include <string>
#include <utility>

#include "support.h"
#include <rill/net/tcp.h>
#include <rill/runtime/error.h>

namespace rill::test {

/// Any free port of the loopback interface.
inline const endpoint any_port(address::loopback_v4(), 0);

/// Runs body(left, right) over a connection from a listener with these options.
template <class Body>
void with_pair(const listen_options& options, Body body) {
  run_loop([&]() -> task<> {
    tcp_listener listener = tcp_listener::bind(any_port, options);
    tcp_stream left = co_await tcp_stream::connect(listener.local());
    tcp_stream right = co_await listener.accept();
    co_await body(left, right);
  });
}
template <class Body>
void with_pair(Body body) {
  with_pair(listen_options(), std::move(body));
}

/// What is said when `call` fails; empty if it does not.
inline std::string failure_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const io_error& failure) {
    return failure.what();
  }
  return {};
}

}  // namespace rill::test
