// The driver: one connection to one server, from its INFO to its end. Joins the core to any
// byte_stream.
// Read next: client_core.cpp.
#pragma once

#include <algorithm>
#include <chrono>
#include <string>
#include <string_view>

#include <rill/net/stream.h>
#include <rill/protocols/nats/client_core.h>
#include <rill/protocols/nats/packet.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/timeout.h>

namespace rill::nats::detail {

/// The next packet, waiting for it until `deadline`. The packet's views are valid until the next
/// read.
template <byte_stream Stream>
task<result<packet>> read_packet(Stream& from, packet_reader& reader,
                                 loop_clock::time_point deadline) {
  for (;;) {
    packet read;
    const packet_state state = reader.next(read);
    if (state == packet_state::complete) co_return read;
    if (state == packet_state::failed) {
      co_return tl::unexpected(error_from(reader.error(), "read"));
    }
    auto came = co_await as_result(with_deadline(deadline, from.read_lease()));
    if (!came) co_return tl::unexpected(came.error());
    if (came->empty()) co_return tl::unexpected(error_from(nats_error::disconnected, "read"));
    reader.append(came->text());
  }
}

/// What a server begins with.
template <byte_stream Stream>
task<result<server_info>> read_info(Stream& from, packet_reader& reader,
                                    loop_clock::time_point deadline) {
  const result<packet> read = co_await read_packet(from, reader, deadline);
  if (!read) co_return tl::unexpected(read.error());
  if (read->type == packet_type::error) {
    const auto why = client_core::meaning_of(read->text);
    co_return tl::unexpected(error_from(why.value_or(nats_error::refused), "connect"));
  }
  const auto info =
      read->type == packet_type::info
          ? server_info::parse(read->text)
          : tl::expected<server_info, nats_error>(tl::unexpected(nats_error::bad_info));
  if (!info) co_return tl::unexpected(error_from(info.error(), "connect"));
  co_return *info;
}

/// CONNECT, and the first PONG: the server has taken us. Gives why it has not.
template <byte_stream Stream>
task<std::optional<error>> shake_hands(client_core& core, Stream& stream, packet_reader& reader,
                                       const std::string& hello, loop_clock::time_point deadline) {
  const auto sent =
      co_await as_result(with_deadline(deadline, stream.write_all(const_buffer(hello))));
  if (!sent) co_return sent.error();
  for (;;) {
    const result<packet> read = co_await read_packet(stream, reader, deadline);
    if (!read) co_return read.error();
    // A read of what is there already meets no deadline.
    if (loop_clock::now() >= deadline) co_return error::timed_out("connect");
    if (read->type == packet_type::pong) co_return std::nullopt;
    if (read->type == packet_type::error) {
      const auto why = client_core::meaning_of(read->text);
      co_return error_from(why.value_or(nats_error::refused), "connect");
    }
    const auto wrong = core.handle(*read);
    if (wrong) co_return *wrong;
  }
}

template <byte_stream Stream>
task<error> write_loop(client_core& core, Stream& stream) {
  constexpr std::size_t piece_size = std::size_t{64} * 1024;
  std::string sending;
  for (;;) {
    while (!core.take_output(sending)) {
      core.work.reset();
      co_await core.work.wait();
    }
    std::string_view rest = sending;
    while (!rest.empty()) {
      const std::string_view piece = rest.substr(0, piece_size);
      const auto done = co_await as_result(
          with_timeout(core.options.write_timeout, stream.write_all(const_buffer(piece))));
      if (!done) co_return done.error();
      rest.remove_prefix(piece.size());
      core.sent(piece.size());
    }
    if (sending.capacity() > piece_size) sending = std::string();
  }
}

/// Handles what comes until the connection is lost, and asks a silent server for a sign of life.
template <byte_stream Stream>
task<error> read_loop(client_core& core, Stream& stream, packet_reader& reader) {
  constexpr std::chrono::milliseconds lame_duck_step(50);
  const client_options& options = core.options;
  bool awaits_pong = false;
  auto deadline = loop_clock::after(loop_clock::now(), options.ping_interval);
  std::optional<loop_clock::time_point> leave_at;
  for (;;) {
    packet read;
    packet_state state = packet_state::complete;
    while (state == packet_state::complete) {
      state = reader.next(read);
      if (state != packet_state::complete) break;
      const auto wrong = core.handle(read);
      if (wrong) co_return *wrong;
    }
    if (state == packet_state::failed) co_return error_from(reader.error(), "read");
    if (core.is_lame_duck()) {
      const auto now = loop_clock::now();
      if (!leave_at) leave_at = loop_clock::after(now, options.lame_duck_wait);
      if (core.has_finished() || now >= *leave_at) {
        co_return error_from(nats_error::lame_duck, "read");
      }
    }
    auto until = deadline;
    if (leave_at) until = std::min(until, loop_clock::after(loop_clock::now(), lame_duck_step));
    auto came = co_await as_result(with_deadline(until, stream.read_lease()));
    if (came && came->empty()) co_return error_from(nats_error::disconnected, "read");
    if (came) {
      reader.append(came->text());
      awaits_pong = false;
      deadline = loop_clock::after(loop_clock::now(), options.ping_interval);
      continue;
    }
    if (!came.error().is_timeout()) co_return came.error();
    if (loop_clock::now() < deadline) continue;
    if (awaits_pong) co_return error_from(nats_error::stale, "read");
    awaits_pong = true;
    core.send_ping();
    deadline = loop_clock::after(loop_clock::now(), options.ping_timeout);
  }
}

/// The session is over when this goes, cancelled or not.
class session_end {
 public:
  explicit session_end(client_core& of) noexcept : core_(&of) {}
  session_end(const session_end&) = delete;
  session_end& operator=(const session_end&) = delete;
  ~session_end() { core_->end_session(); }

 private:
  client_core* core_;
};

/// All that follows INFO; `deadline` is that of the handshake. Gives why it has ended.
template <byte_stream Stream>
task<error> run_session(client_core& core, Stream& stream, packet_reader& reader,
                        const server_address& to, const server_info& info, bool over_tls,
                        loop_clock::time_point deadline) {
  core.begin_handshake(to, info);
  const std::string hello = core.hello(over_tls);
  const auto refused = co_await shake_hands(core, stream, reader, hello, deadline);
  if (refused) co_return *refused;
  error why = error_from(nats_error::disconnected, "read");
  const session_end at_last(core);
  core.begin_session();
  co_await with_nursery([&](nursery& tasks) -> task<> {
    tasks.start([&]() -> task<> {
      why = co_await write_loop(core, stream);
      tasks.cancel();
    });
    why = co_await read_loop(core, stream, reader);
    tasks.cancel();
  });
  co_return why;
}

}  // namespace rill::nats::detail
