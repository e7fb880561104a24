// Unix domain sockets: connecting, binding, credentials. See unix.h.
#include <rill/net/unix.h>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <string>

namespace rill {
namespace {

/// A socket file that no socket is bound to is what a killed server leaves behind: a connect is
/// refused. A datagram socket asks: live streams answer EPROTOTYPE and are not disturbed (unix(7)).
/// It asks past the kernel seam: a file system's names are no part of it, connect(2) there is an
/// operation of the ring, which a call that is no coroutine cannot await, and no simulated host has
/// Unix sockets.
bool is_stale(const endpoint& to) {
  if (to.kind() != endpoint_kind::unix_path) return false;
  const std::string path(to.unix_name());
  struct stat status{};
  if (::lstat(path.c_str(), &status) != 0 || !S_ISSOCK(status.st_mode)) return false;
  const int probe = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (probe < 0) return false;
  const std::span<const std::byte> name = to.native();
  const bool refused = ::connect(probe, reinterpret_cast<const sockaddr*>(name.data()),
                                 static_cast<socklen_t>(name.size())) != 0 &&
                       errno == ECONNREFUSED;
  ::close(probe);
  return refused;
}

/// What `bind` gives, after the removal of a stale file if need be.
template <class Bind>
auto bind_or_replace(const endpoint& to, Bind bind) {
  try {
    return bind();
  } catch (const io_error& failure) {
    if (failure.code() != std::errc::address_in_use || !is_stale(to)) throw;
  }
  ::unlink(std::string(to.unix_name()).c_str());
  return bind();
}

}  // namespace

task<unix_stream> unix_stream::connect(endpoint to) {
  loop& on = loop::current();
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
  unix_stream first{detail::socket_handle(detail::socket_state::make(on, descriptors[0]))};
  unix_stream second{detail::socket_handle(detail::socket_state::make(on, descriptors[1]))};
  return {std::move(first), std::move(second)};
}

unix_stream unix_stream::adopt(int descriptor) {
  loop& on = loop::current();
  unix_stream stream{detail::socket_handle(detail::socket_state::make(on, descriptor))};
  detail::make_blocking(on, descriptor);
  return stream;
}

peer_credentials unix_stream::peer_credentials() const {
  ucred found{};
  read_option(SOL_SOCKET, SO_PEERCRED, {reinterpret_cast<std::byte*>(&found), sizeof(found)},
              "SO_PEERCRED");
  return {found.pid, found.uid, found.gid};
}

unix_listener unix_listener::bind(const endpoint& to, const listen_options& options) {
  return bind_or_replace(to,
                         [&] { return unix_listener(std::span<const endpoint>(&to, 1), options); });
}

unix_datagram unix_datagram::bind(const endpoint& to) {
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
  return unix_datagram{detail::socket_handle(detail::make_datagram_state(on, descriptor))};
}

unix_datagram unix_datagram::adopt(int descriptor) {
  return unix_datagram{detail::adopt_datagram_socket(descriptor)};
}

}  // namespace rill
