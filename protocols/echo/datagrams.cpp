// Echo over UDP. See datagrams.h.
#include <rill/protocols/echo/datagrams.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <system_error>

#include <rill/runtime/combine.h>
#include <rill/runtime/event.h>
#include <rill/runtime/loop.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/timeout.h>

namespace rill::echo {
namespace {

bool is_answerable(const datagram& received, std::uint16_t own_port) {
  const endpoint& peer = received.peer();
  return peer.is_ip() && peer.port() != 0 && peer.port() != own_port && !received.is_truncated();
}

bool is_one_of(const error& cause, std::initializer_list<std::errc> known) {
  return std::any_of(known.begin(), known.end(), [&](std::errc each) { return cause == each; });
}

/// The network's answers to what was sent before; they say nothing about the socket. Of a peer whom
/// ICMP calls unknown or isolated Linux says EHOSTDOWN and ENONET (icmp_err_convert), which have no
/// std::errc.
bool concerns_a_peer(const error& cause) {
  const auto is_errno = [&](int number) {
    return cause.code() == std::error_code(number, std::system_category());
  };
  return is_one_of(cause, {std::errc::connection_refused, std::errc::host_unreachable,
                           std::errc::network_unreachable, std::errc::network_down,
                           std::errc::message_size, std::errc::operation_not_permitted,
                           std::errc::permission_denied, std::errc::interrupted,
                           std::errc::protocol_error, std::errc::no_protocol_option}) ||
         is_errno(EHOSTDOWN) || is_errno(ENONET);
}

/// Refusals of one answer: to an address that cannot be sent to.
bool concerns_one_answer(const error& cause) {
  return is_one_of(cause, {std::errc::invalid_argument, std::errc::address_not_available});
}

/// Until the loop's clock says `until`, and then until nothing is left that has arrived.
task<> answer_all(udp_socket& socket, const std::string& prefix, loop_clock::time_point until) {
  const endpoint local = socket.local();
  std::string answer;
  for (;;) {
    const auto received = co_await as_result(with_deadline(until, socket.receive()));
    if (!received) {
      const error cause = received.error();
      if (cause == std::errc::timed_out && loop_clock::now() >= until) co_return;
      if (rill::detail::is_shortage(cause.code())) {
        co_await sleep_for(std::chrono::milliseconds(10));
      } else if (!concerns_a_peer(cause)) {
        throw_error(cause, local.to_string());
      }
      continue;
    }
    const address from = received->local();
    if (!is_answerable(*received, local.port())) continue;
    const_buffer bytes(received->bytes());
    if (!prefix.empty()) {
      answer.assign(prefix).append(received->text());
      bytes = const_buffer(answer);
    }
    const auto sent = co_await as_result(socket.send_to(bytes, received->peer(), from));
    if (sent) continue;
    const error cause = sent.error();
    if (!rill::detail::is_shortage(cause.code()) && !concerns_a_peer(cause) &&
        !concerns_one_answer(cause)) {
      throw_error(cause, local.to_string());
    }
  }
}

/// Until `stopping` is set, and then the rest.
task<> answer_until(event& stopping, udp_socket& socket, const std::string& prefix,
                    std::chrono::nanoseconds drain_timeout) {
  co_await any_of(answer_all(socket, prefix, loop_clock::time_point::max()), stopping.wait());
  co_await any_of(answer_all(socket, prefix, loop_clock::now()), sleep_for(drain_timeout),
                  loop::current().hurry().wait());
}

}  // namespace

task<> serve_datagrams(udp_socket socket, std::string prefix,
                       std::chrono::nanoseconds drain_timeout) {
  // On a wildcard an answer is to leave from the address that was asked: a peer that is connected
  // takes it from no other, and route alone would choose another on a host with several.
  const endpoint local = socket.local();
  if (local.is_ip() && local.ip()->address().is_any()) socket.set_packet_info(true);
  event stopping;
  co_await with_nursery([&](nursery& tasks) -> task<> {
    tasks.start([&]() -> task<> {
      co_await shielded(answer_until(stopping, socket, prefix, drain_timeout));
    });
    struct at_cancellation {
      ~at_cancellation() { stopping.set(); }
      event& stopping;
    };
    const at_cancellation tells{stopping};
    event never;
    co_await never.wait();
  });
}

}  // namespace rill::echo
