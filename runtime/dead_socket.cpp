// What Linux does for kernel::remove_dead_socket, whatever lies beneath the ring. See kernel.h.
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include <rill/runtime/kernel.h>

namespace rill {

int kernel::remove_dead_socket(const char* path) noexcept {
  struct stat status{};
  if (::lstat(path, &status) != 0) return -errno;
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  const std::size_t length = std::strlen(path);
  if (!S_ISSOCK(status.st_mode) || length >= sizeof(name.sun_path)) return -EADDRINUSE;
  std::memcpy(name.sun_path, path, length);
  // A datagram socket asks: live streams answer EPROTOTYPE and are not disturbed (unix(7)).
  const int probe = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (probe < 0) return -errno;
  const bool refused =
      ::connect(probe, reinterpret_cast<const sockaddr*>(&name), sizeof(name)) != 0 &&
      errno == ECONNREFUSED;
  ::close(probe);
  if (!refused) return -EADDRINUSE;
  return ::unlink(path) == 0 ? 0 : -errno;
}

}  // namespace rill
