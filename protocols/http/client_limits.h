// The limits of a client that are about many requests: its pool of connections, its retries.
// Not here: time (client_request.h, client_timeouts), sizes (client.h).
#pragma once

#include <chrono>
#include <cstddef>
#include <type_traits>

namespace rill::http {

/// How many connections a client has, and keeps.
struct pool_limits {
  /// Connections to one origin, idle or in use. Browsers open six.
  std::size_t origin_count_max = 8;
  /// Connections to all of them.
  std::size_t total_count_max = 256;
  /// Requests that wait for a connection; the next one fails.
  std::size_t waiting_count_max = 1000;
  /// A connection that nobody uses is closed after so long: before most servers do it, so that no
  /// request meets a connection that is being closed. 0: none is kept.
  std::chrono::nanoseconds idle_timeout = std::chrono::seconds(50);
};
static_assert(std::is_trivially_destructible_v<pool_limits>);

/// What is tried again: requests of which nothing was sent, and idempotent ones (RFC 9110 section
/// 9.2.2) that failed on the way or were answered 429, 502, 503 or 504.
struct retry_options {
  /// After the first attempt; 0: none.
  unsigned count_max = 0;
  /// Before the first retry; doubled for each one that follows. What is waited is drawn from the
  /// upper half of that, so that many clients do not come back at once.
  std::chrono::nanoseconds delay = std::chrono::milliseconds(250);
  std::chrono::nanoseconds delay_max = std::chrono::seconds(10);
  /// A server that asks for more patience (Retry-After) than this is not asked again.
  std::chrono::nanoseconds retry_after_max = std::chrono::seconds(60);
};
static_assert(std::is_trivially_destructible_v<retry_options>);

}  // namespace rill::http
