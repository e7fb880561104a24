// Echo over UDP. See datagrams.h.
#include <rill/protocols/echo/datagrams.h>

namespace rill::echo {
namespace {

bool is_answerable(const datagram& received, const endpoint& local) {
  const auto peer = received.peer().ip();
  const auto own = local.ip();
  if (!peer || peer->port() == 0 || received.is_truncated()) return false;
  if (!own || peer->port() != own->port()) return true;
  return !own->address().is_any() && peer->address() != own->address();
}

/// Failures that say something about one peer or one moment, and nothing about the socket.
bool is_passing(const error& cause) {
  const std::errc known[] = {std::errc::connection_refused,
                             std::errc::host_unreachable,
                             std::errc::network_unreachable,
                             std::errc::message_size,
                             std::errc::operation_not_permitted,
                             std::errc::permission_denied,
                             std::errc::no_buffer_space,
                             std::errc::not_enough_memory,
                             std::errc::network_down,
                             std::errc::invalid_argument,
                             std::errc::address_not_available,
                             std::errc::interrupted};
  for (const std::errc each : known) {
    if (cause == each) return true;
  }
  return false;
}

}  // namespace

task<> serve_datagrams(udp_socket socket, std::string prefix) {
  const endpoint local = socket.local();
  std::string answer;
  for (;;) {
    const auto received = co_await as_result(socket.receive());
    if (!received) {
      if (!is_passing(received.error())) throw_error(received.error(), local.to_string());
      continue;
    }
    if (!is_answerable(*received, local)) continue;
    const_buffer bytes(received->bytes());
    if (!prefix.empty()) {
      answer.assign(prefix).append(received->text());
      bytes = const_buffer(answer);
    }
    const auto sent = co_await as_result(socket.send_to(bytes, received->peer()));
    if (!sent && !is_passing(sent.error())) throw_error(sent.error(), local.to_string());
  }
}

}  // namespace rill::echo
