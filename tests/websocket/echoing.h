// An end that echoes, over a stream in memory, and what it answers to frames written by hand.
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support.h"
#include "websocket/frames.h"
#include <rill/net/memory_stream.h>
#include <rill/protocols/websocket/connection.h>
#include <rill/runtime/nursery.h>

namespace rill::websocket::test {

/// A frame that may break any rule.
struct sent_frame {
  int code = 1;
  std::string payload;
  bool is_final = true;
  int reserved = 0;     ///< the three bits: 4 is RSV1
  std::size_t cut = 0;  ///< bytes at its end that are never sent

  std::string bytes(bool is_masked) const {
    std::string made = frame(static_cast<opcode>(code), payload, is_final, is_masked);
    made[0] = static_cast<char>(static_cast<unsigned char>(made[0]) |
                                static_cast<unsigned>(reserved) << 4U);
    return made.substr(0, made.size() - cut);
  }
};

template <byte_stream Stream>
task<> echo_until_end(basic_connection<Stream>& peer) {
  for (;;) {
    const std::optional<message> came = co_await peer.read();
    if (!came) break;
    co_await peer.write(*came);
  }
}

/// What an echoing end of this role sends back to bytes that are written `chop` at a time (0: all
/// at once), until it ends, or, with `waits_for_more`, until it has nothing to do.
inline record answers_of_echo(role own, const std::string& bytes, std::size_t chop,
                              bool waits_for_more, const negotiated& agreed = negotiated()) {
  connection_options options;
  options.limits.message_size_max = 32 * 1024 * 1024;
  fed_decoder heard(own == role::server ? role::client : role::server, options.limits,
                    agreed.deflate);
  rill::test::run_loop([&]() -> task<> {
    auto pair = memory_stream_pair();
    basic_connection<memory_stream> echoing(std::move(pair.second), own, options, agreed);
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> { co_await echo_until_end(echoing); });
      tasks.start([&]() -> task<> {
        std::string_view rest = bytes;
        const std::size_t size = chop == 0 ? rest.size() : chop;
        while (!rest.empty()) {
          const auto written =
              co_await as_result(pair.first.write_all(const_buffer(rest.substr(0, size))));
          if (!written) co_return;
          rest.remove_prefix(std::min(size, rest.size()));
        }
        if (!waits_for_more) co_await as_result(pair.first.shutdown_write());
      });
      // An end that waits says nothing: a few turns are enough to know.
      tasks.start([&]() -> task<> {
        for (;;) {
          const auto part = co_await as_result(pair.first.read_lease());
          if (!part || part->empty()) break;
          heard.feed(part->text());
        }
        tasks.cancel();
      });
      if (!waits_for_more) co_return;
      co_await rill::test::settle(200);
      if (!heard.has_ended()) tasks.cancel();
    });
  });
  return heard.events;
}

/// The same to frames. Of a message that is not whole the rest is waited for.
inline record answers_of_echo(role own, const std::vector<sent_frame>& sent, std::size_t chop) {
  std::string bytes;
  for (const sent_frame& each : sent) bytes += each.bytes(own == role::server);
  return answers_of_echo(own, bytes, chop, sent.back().cut != 0 || !sent.back().is_final);
}

}  // namespace rill::websocket::test
