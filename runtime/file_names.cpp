// What Linux does for the names of files, whatever lies beneath the ring. See kernel.h.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
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

int kernel::link_file(int descriptor, const char* path) noexcept {
  char own_name[32];
  std::snprintf(own_name, sizeof(own_name), "/proc/self/fd/%d", descriptor);
  // By the descriptor itself (AT_EMPTY_PATH) it takes CAP_DAC_READ_SEARCH (linkat(2)).
  return ::linkat(AT_FDCWD, own_name, AT_FDCWD, path, AT_SYMLINK_FOLLOW) == 0 ? 0 : -errno;
}

}  // namespace rill
