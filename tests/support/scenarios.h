// Sessions that are made to fail or to end at every point, on all kernels: ordinary rill code that
// says at once when a promise is not kept.
// Read next: tests/sim/every_point_test.cpp, tests/net/cancel_points_test.cpp.
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <rill/net/stream.h>
#include <rill/net/tcp.h>
#include <rill/net/udp.h>
#include <rill/runtime/combine.h>
#include <rill/runtime/error.h>
#include <rill/runtime/event.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/remote_channel.h>
#include <rill/runtime/sim/seeds.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/timeout.h>

namespace rill::test {

using sim::require;

/// How long a session waits for its peer: longer than anything takes, shorter than for ever.
inline constexpr std::chrono::seconds patience{30};

/// What a client asks and how much of it was answered.
struct conversation {
  std::size_t asked = 0;
  std::size_t answered = 0;
};

template <byte_stream Stream>
task<> ask(Stream& stream, std::string question, conversation& so_far) {
  ++so_far.asked;
  co_await with_timeout(patience, stream.write_all(const_buffer(question)));
  std::string answer(question.size(), ' ');
  std::size_t size = 0;
  while (size < answer.size()) {
    const mutable_buffer rest(std::span<char>(answer).subspan(size));
    const std::size_t got = co_await with_timeout(patience, stream.read(rest));
    require(got != 0 || so_far.asked != so_far.answered, "an echo is whole");
    if (got == 0) throw io_error(std::make_error_code(std::errc::connection_reset), "read", "peer");
    size += got;
    require(answer.compare(0, size, question, 0, size) == 0, "an echo is what was sent");
  }
  ++so_far.answered;
}

/// A small question and one that fills the connection, to an echo service.
inline task<> talk(endpoint where, conversation& so_far) {
  auto stream = co_await with_timeout(patience, tcp_stream::connect(where));
  co_await ask(stream, "hello", so_far);
  co_await ask(stream, std::string(70'000, 'x'), so_far);
  co_await with_timeout(patience, stream.shutdown_write());
  char buffer[10];
  require(co_await with_timeout(patience, stream.read(mutable_buffer(buffer))) == 0,
          "nothing comes that was not asked for");
  co_await stream.close();
}

struct datagram_counts {
  int answered = 0;
  int lost = 0;
};

/// Four questions to a UDP echo service.
inline task<> ask_datagrams(endpoint where, datagram_counts& so_far) {
  auto socket =
      udp_socket::open(where.ip()->address().is_v4() ? address_family::ipv4 : address_family::ipv6);
  co_await with_timeout(patience, socket.connect(where));
  for (int i = 0; i < 4; ++i) {
    const std::string text = "question " + std::to_string(i);
    co_await with_timeout(patience, socket.send(const_buffer(text)));
    char buffer[100];
    for (;;) {
      const auto got = co_await as_result(
          with_timeout(std::chrono::seconds(1), socket.recv_from(mutable_buffer(buffer))));
      const std::string_view answer(buffer, got ? got->size() : 0);
      if (got && answer < text) continue;  // to a question that was given up
      require(!got || answer == text, "an answer is to its question");
      ++(got ? so_far.answered : so_far.lost);
      break;
    }
  }
}

/// How long a server bears a connection on which nothing happens: longer than a client waits.
inline constexpr std::chrono::seconds idle_max{60};

inline task<> echo_until_idle(tcp_stream peer) {
  while (auto bytes = co_await with_timeout(idle_max, peer.read_lease())) {
    co_await with_timeout(idle_max, peer.write_all(bytes));
  }
}

/// Both directions of a proxy, which has been idle only when both are.
class passage {
 public:
  passage(tcp_stream& peer, tcp_stream& target) noexcept : peer_(&peer), target_(&target) {}

  task<> both_ways() {
    up_is_written_.set();
    down_is_written_.set();
    co_await all_of(pass(*peer_, *target_, up_is_written_, down_is_written_),
                    pass(*target_, *peer_, down_is_written_, up_is_written_));
  }
  task<> until_idle() {
    while (loop_clock::now() < latest_ + idle_max) co_await sleep_until(latest_ + idle_max);
    throw timeout_error("pass on", peer_->peer().to_string());
  }

 private:
  task<> pass(tcp_stream& from, tcp_stream& to, event& is_written, event& other_is_written) {
    while (auto bytes = co_await from.read_lease()) {
      is_written.reset();
      co_await to.write_all(bytes);
      is_written.set();
      latest_ = loop_clock::now();
    }
    // A write to `from` that is under way may have been told that the connection is lost, and then
    // this is no end: its completion may come behind that of the read.
    co_await other_is_written.wait();
    co_await to.shutdown_write();
  }

  tcp_stream* peer_;
  tcp_stream* target_;
  event up_is_written_;  // unless a write is under way
  event down_is_written_;
  loop_clock::time_point latest_ = loop_clock::now();
};

/// Passes bytes on, both ways, until both have ended or nothing has passed for long. Whoever has
/// not got all of it is reset, whatever happens here: an end would say that there is no more.
inline task<> pass_on(tcp_stream peer, endpoint to) {
  peer.set_linger(std::chrono::seconds(0));
  auto target = co_await with_timeout(patience, tcp_stream::connect(to));
  target.set_linger(std::chrono::seconds(0));
  passage both(peer, target);
  co_await any_of(both.both_ways(), both.until_idle());
  peer.set_linger(std::nullopt);
  target.set_linger(std::nullopt);
}

/// Sends 0, 1, 2 ... 7.
inline task<> send_eight(remote_sender<int> to, int& sent) {
  for (int i = 0; i < 8; ++i) {
    if (!co_await to.send(i)) break;
    ++sent;
  }
}

}  // namespace rill::test
