// Echo over UDP. See datagrams.h.
#include <rill/protocols/echo/datagrams.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <system_error>

#include <rill/runtime/sleep.h>

namespace rill::echo {
namespace {

bool is_answerable(const datagram& received, std::uint16_t own_port) {
  const endpoint& peer = received.peer();
  return peer.is_ip() && peer.port() != 0 && peer.port() != own_port && !received.is_truncated();
}

bool is_one_of(const error& cause, std::initializer_list<std::errc> known) {
  return std::any_of(known.begin(), known.end(), [&](std::errc each) { return cause == each; });
}

/// The network's answers to what was sent before; they say nothing about the socket.
bool concerns_a_peer(const error& cause) {
  return is_one_of(cause, {std::errc::connection_refused, std::errc::host_unreachable,
                           std::errc::network_unreachable, std::errc::network_down,
                           std::errc::message_size, std::errc::operation_not_permitted,
                           std::errc::permission_denied, std::errc::interrupted});
}

/// Refusals of one answer: to an address that cannot be sent to.
bool concerns_one_answer(const error& cause) {
  return is_one_of(cause, {std::errc::invalid_argument, std::errc::address_not_available});
}

}  // namespace

task<> serve_datagrams(udp_socket socket, std::string prefix) {
  const endpoint local = socket.local();
  // On a wildcard an answer is to leave from the address that was asked: a peer that is connected
  // takes it from no other, and route alone would choose another on a host with several.
  const bool is_wildcard = local.is_ip() && local.ip()->address().is_any();
  if (is_wildcard) socket.set_packet_info(true);
  std::string answer;
  for (;;) {
    const auto received = co_await as_result(socket.receive());
    if (!received) {
      const error cause = received.error();
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

}  // namespace rill::echo
