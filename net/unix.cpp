// Unix domain sockets: connecting, binding, credentials. See unix.h.
#include <rill/net/unix.h>

#include <sys/socket.h>

#include <cerrno>
#include <new>
#include <string>

namespace rill {
namespace {

/// What `bind` gives, after the removal of the file that a killed server has left if need be.
template <class Bind>
auto bind_or_replace(const endpoint& to, Bind bind) {
  try {
    return bind();
  } catch (const io_error& failure) {
    if (failure.code() != std::errc::address_in_use) throw;
    if (to.kind() != endpoint_kind::unix_path) throw;
    const std::string path(to.unix_name());
    if (loop::current().kernel().remove_dead_socket(path.c_str()) < 0) throw;
  }
  return bind();
}

}  // namespace

task<unix_stream> unix_stream::connect(endpoint to) {
  loop& on = loop::current();
  detail::check_family(to, false, "connect");
  const int descriptor = detail::open_socket(on, to, SOCK_STREAM);
  unix_stream stream{detail::socket_handle(detail::socket_state::make(on, descriptor))};
  auto connected = co_await as_result(stream.connect_awaiter(to));
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

unix_stream unix_stream::adopt(int descriptor) {
  loop& on = loop::current();
  detail::check_or_close(on, descriptor, detail::adopted_kind::connection, false);
  unix_stream stream{detail::socket_handle(detail::socket_state::make(on, descriptor))};
  stream.socket_->was_nonblocking = on.kernel().adopt(descriptor);
  return stream;
}

peer_credentials unix_stream::peer_credentials() const {
  ucred found{};
  read_option(SOL_SOCKET, SO_PEERCRED, {reinterpret_cast<std::byte*>(&found), sizeof(found)},
              "SO_PEERCRED");
  return {found.pid, found.uid, found.gid};
}

unix_listener unix_listener::bind(const endpoint& to, const listen_options& options) {
  return bind_or_replace(
      to, [&] { return unix_listener(std::span<const endpoint>(&to, 1), options, false); });
}

unix_datagram unix_datagram::bind(const endpoint& to) {
  detail::check_family(to, false, "bind");
  return bind_or_replace(to, [&] {
    unix_datagram made = open();
    const std::span<const std::byte> name = to.native();
    detail::checked(made.owner_loop().kernel().bind(made.descriptor(), name.data(),
                                                    static_cast<unsigned>(name.size())),
                    "bind", to.to_string());
    return made;
  });
}

unix_datagram unix_datagram::open() {
  loop& on = loop::current();
  const int descriptor = detail::open_socket(on, endpoint(), SOCK_DGRAM);
  return unix_datagram{detail::socket_handle(detail::make_datagram_state(on, descriptor, true))};
}

unix_datagram unix_datagram::adopt(int descriptor) {
  return unix_datagram{detail::adopt_datagram_socket(descriptor, true)};
}

}  // namespace rill
