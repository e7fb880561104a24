// Echo over UDP (RFC 862): every datagram goes back to its sender.
// Not here: the session over streams (echo.h).
#pragma once

#include <chrono>
#include <string>

#include <rill/net/udp.h>
#include <rill/runtime/task.h>

namespace rill::echo {

/// Answers each datagram with one of the same bytes, `prefix` put before them, until cancelled.
///
/// Cancellation: what has arrived by then is answered, until nothing waits any more, the
///   `drain_timeout` is over or somebody calls loop::stop_now().
/// Not answered: what came cut short, and what claims to come from port 0 or from the port number
///   of this socket, on whatever address: one forged datagram would make the server answer itself,
///   or another server like it, for ever. At most one answer a datagram, and without a prefix never
///   larger than it, so the server is no amplifier. On a wildcard address the answer leaves from
///   the address that was asked.
/// Errors: those that one peer causes (unreachable, too large with the prefix) are passed over;
///   those of the socket itself are thrown.
/// Cost: one receive and one send a datagram, no copy without a prefix, no allocation.
task<> serve_datagrams(udp_socket socket, std::string prefix,
                       std::chrono::nanoseconds drain_timeout = std::chrono::seconds(5));

}  // namespace rill::echo
