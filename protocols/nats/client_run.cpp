// How a client gets its connections: which server, when, and why not. See client_core.h.
#include <algorithm>
#include <chrono>
#include <exception>
#include <string>
#include <utility>

#include <rill/net/connect.h>
#include <rill/net/tls/stream.h>
#include <rill/protocols/nats/client_core.h>
#include <rill/protocols/nats/session.h>
#include <rill/runtime/sleep.h>

namespace rill::nats::detail {
namespace {

/// A connection that stood shorter counts as an attempt that failed: a server that takes clients
/// and drops them is not to be asked without a pause.
constexpr std::chrono::seconds steady_after(1);

/// From now on closing resets: what the kernel still holds of a connection that was given up must
/// not arrive after it has been sent again elsewhere.
void forget_unsent(tcp_stream& stream) noexcept {
  try {
    stream.set_linger(std::chrono::seconds(0));
  } catch (const std::exception&) {
    // It has no connection any more.
  }
}

}  // namespace

std::optional<tls::client_context>& client_core::trusted() {
  if (!options.tls) options.tls.emplace();
  return options.tls;
}

/// One connection, from its beginning to its end. Throws what connecting and TLS throw.
task<error> client_core::attempt(const server_address& to) {
  connect_options how;
  how.timeout = options.connect_timeout;
  how.with = options.with;
  const auto deadline = loop_clock::after(loop_clock::now(), options.connect_timeout);
  tcp_stream plain = co_await connect(to.host, to.port, how);
  packet_reader reader(packet_reader::sender::server, options.limits);
  const result<server_info> info = co_await read_info(plain, reader, deadline);
  if (!info) co_return info.error();
  const bool wants_tls = to.wants_tls || options.require_tls;
  if (!wants_tls && !info->requires_tls) {
    const error why = co_await run_session(*this, plain, reader, to, *info, false, deadline);
    forget_unsent(plain);
    co_return why;
  }
  // What came behind INFO came without TLS, from whoever stands between.
  if (!info->offers_tls || reader.buffered_size() != 0) {
    co_return error_from(nats_error::tls_required, "connect");
  }
  forget_unsent(plain);
  const auto left = std::max(deadline - loop_clock::now(), loop_clock::duration(1));
  auto secure = co_await tls::connect(std::move(plain), *trusted(), to.name_for_tls(), left);
  co_return co_await run_session(*this, secure, reader, to, *info, true, deadline);
}

task<> client_core::pause(std::size_t failure_count) {
  const std::size_t rounds = failure_count / std::max<std::size_t>(pool_.size(), 1);
  std::chrono::nanoseconds delay = options.reconnect_delay;
  const bool is_round_over = failure_count != 0 && failure_count % pool_.size() == 0;
  for (std::size_t i = 1; i < rounds && delay < options.reconnect_delay_max; ++i) delay *= 2;
  delay = std::min(delay, options.reconnect_delay_max);
  // Within a round the next server follows almost at once.
  const double share = is_round_over ? (1 + random_share()) / 2 : random_share() / 4;
  if (!is_round_over) delay = std::min(delay, options.reconnect_delay);
  co_await sleep_for(std::chrono::nanoseconds(
      static_cast<std::int64_t>(static_cast<double>(delay.count()) * share)));
}

task<> client_core::supervise() {
  pool_.start_at(static_cast<std::size_t>(random_share() * static_cast<double>(pool_.size())));
  std::size_t failure_count = 0;
  std::size_t refusal_count = 0;
  for (;;) {
    const server_address to = pool_.next();
    const std::uint64_t connection = counts.connection_count;
    const auto begun = loop_clock::now();
    std::error_code reason;
    std::string text;
    try {
      const error why = co_await attempt(to);
      reason = why.code();
      text = why.message();
    } catch (const io_error& failed) {
      reason = failed.code();
      text = failed.what();
    }
    const bool stood = counts.connection_count != connection;
    const bool was_steady = stood && loop_clock::now() - begun >= steady_after;
    failure_count = was_steady ? 0 : failure_count + 1;
    server_ = to;
    last_failure = to.to_string() + ": " + text;
    tell(stood ? client_event::kind::disconnected : client_event::kind::unreachable, reason, text);
    refusal_count = reason == nats_error::authorization ? refusal_count + 1 : 0;
    if (!was_connected_ && refusal_count >= pool_.size()) {
      throw io_error(reason, "connect", to.to_string());
    }
    co_await pause(failure_count);
  }
}

}  // namespace rill::nats::detail
