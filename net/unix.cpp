// Unix domain sockets: connecting, binding, credentials. See unix.h.
#include <rill/net/unix.h>

#include <sys/socket.h>

#include <cerrno>
#include <new>
#include <string>

namespace rill {
namespace {

int bound_datagram_socket(loop& on, const endpoint& to, bool bind) {
  const int descriptor = detail::open_socket(on, to, SOCK_DGRAM);
  if (!bind) return descriptor;
  const std::span<const std::byte> name = to.native();
  const int status = on.kernel().bind(descriptor, name.data(), static_cast<unsigned>(name.size()));
  if (status < 0) {
    on.kernel().close(descriptor);
    detail::throw_call_error(status, "bind", to.to_string());
  }
  return descriptor;
}

}  // namespace

task<unix_stream> unix_stream::connect(endpoint to) {
  loop& on = loop::current();
  const int descriptor = detail::open_socket(on, to, SOCK_STREAM);
  unix_stream stream{detail::socket_handle(detail::socket_state::make(on, descriptor))};
  const std::span<const std::byte> name = to.native();
  auto connected = co_await as_result(detail::write_awaiter(
      stream.state(), const_buffer(name.data(), name.size()), detail::socket_state::connect_type));
  if (!connected) throw_error(connected.error(), to.to_string());
  co_return stream;
}

std::pair<unix_stream, unix_stream> unix_stream::pair() {
  loop& on = loop::current();
  int descriptors[2] = {};
  detail::checked(on.kernel().socket_pair(AF_UNIX, SOCK_STREAM, descriptors), "socketpair", "unix");
  detail::socket_state* const one = detail::socket_state::try_make(on, descriptors[0]);
  if (one == nullptr) {
    for (const int each : descriptors) on.kernel().close(each);
    throw std::bad_alloc();
  }
  unix_stream first{detail::socket_handle(*one)};
  unix_stream second{detail::socket_handle(detail::socket_state::make(on, descriptors[1]))};
  return {std::move(first), std::move(second)};
}

peer_credentials unix_stream::peer_credentials() const {
  ucred found{};
  unsigned size = sizeof(found);
  detail::checked(
      owner_loop().kernel().get_option(descriptor(), SOL_SOCKET, SO_PEERCRED, &found, size),
      "SO_PEERCRED", "descriptor " + std::to_string(descriptor()));
  return {found.pid, found.uid, found.gid};
}

unix_listener unix_listener::bind(const endpoint& to, const listen_options& options) {
  const std::span<const endpoint> only(&to, 1);
  try {
    return unix_listener(only, options);
  } catch (const io_error& failure) {
    if (failure.code() != std::errc::address_in_use) throw;
    if (to.kind() != endpoint_kind::unix_path) throw;
    const std::string path(to.unix_name());
    if (loop::current().kernel().remove_dead_socket(path.c_str()) < 0) throw;
  }
  return unix_listener(only, options);
}

unix_datagram unix_datagram::bind(const endpoint& to) {
  loop& on = loop::current();
  const int descriptor = bound_datagram_socket(on, to, true);
  return unix_datagram{detail::socket_handle(detail::make_datagram_state(on, descriptor))};
}

unix_datagram unix_datagram::open() {
  loop& on = loop::current();
  const int descriptor = bound_datagram_socket(on, endpoint(), false);
  return unix_datagram{detail::socket_handle(detail::make_datagram_state(on, descriptor))};
}

}  // namespace rill
