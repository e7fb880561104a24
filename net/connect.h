// connect: a TCP connection to a host by name, whichever of its addresses works first.
// Happy eyeballs, RFC 8305: attempts begin with the first answer of the name servers and follow
// each other a quarter of a second apart, so that a broken IPv6 costs that much and no more.
// Not here: looking up (resolver.h), one address (tcp_stream::connect). Read next: connect.cpp.
#pragma once

#include <chrono>
#include <string>
#include <type_traits>

#include <rill/net/endpoint.h>
#include <rill/net/resolver.h>
#include <rill/net/tcp.h>
#include <rill/runtime/task.h>

namespace rill {

/// How connect() goes about it.
struct connect_options {
  /// RFC 8305 section 5 and 8: recommended, and the least that is allowed.
  static constexpr std::chrono::milliseconds attempt_delay_default{250};
  static constexpr std::chrono::milliseconds attempt_delay_min{10};
  /// RFC 8305 section 3: how long IPv4 addresses that came first wait for IPv6 ones.
  static constexpr std::chrono::milliseconds resolution_delay{50};
  /// The kernel alone would try for two minutes.
  static constexpr std::chrono::seconds timeout_default{30};

  /// Of everything: look-up and all attempts.
  std::chrono::nanoseconds timeout = timeout_default;
  /// After an attempt that is still in progress the next one begins so much later; after one that
  /// failed, at once.
  std::chrono::nanoseconds attempt_delay = attempt_delay_default;
  family_preference families = family_preference::both;
  /// Of each attempt's socket. If `connection.local` is named, only the host's addresses of its
  /// family are tried.
  connection_options connection{};
  /// Who looks up the host; must outlive the call. nullptr: as resolve_options::with.
  resolver* with = nullptr;
};
static_assert(std::is_trivially_destructible_v<connect_options>);

/// Connects to `host`, a name or an address.
///
/// Completes when one attempt has succeeded; the others have been cancelled by then, and the kernel
///   has been asked to close their sockets.
/// Errors: with one address as tcp_stream::connect, "connect 127.0.0.1:1: Connection refused", or
///   "connect 127.0.0.1:1: bind 192.0.2.7:0: ..." when another step failed. With several: "connect
///   localhost:1: [::1]:1: Connection refused; 127.0.0.1:1: Connection refused"; the code is that
///   of the last one named, which is one that a peer caused, if any was. A name that does not
///   resolve: as resolver::resolve. timeout_error after options.timeout, with what had been tried
///   until then; "resolve HOST: Connection timed out" if the look-up had brought no address yet.
/// Cancellation: at any time; nothing is left behind.
/// Cost: that of the look-up, and a socket and two tasks for each attempt.
/// Example: examples/echo_client.cpp.
[[nodiscard]] task<tcp_stream> connect(std::string host, service to,
                                       connect_options options = connect_options());

}  // namespace rill
