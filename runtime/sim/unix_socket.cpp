// Names and options of Unix sockets. See unix_socket.h.
#include <rill/runtime/sim/unix_socket.h>

#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include <rill/runtime/sim/node.h>

namespace rill::sim::detail {
namespace {

constexpr unsigned family_size = sizeof(sa_family_t);
// net.core.wmem_default, which is what a Unix socket may have under way.
constexpr std::size_t send_size_default = 212992;
constexpr int send_size_min = 2304;
constexpr int send_size_max = 212992;
// Every program of a simulated host is one process of root.
constexpr int process_number = 1000;

int refuse_option(int option) {
  refuse("option " + std::to_string(option) + " of Unix sockets");
  return -ENOPROTOOPT;
}

}  // namespace

int decode_unix(const void* from, unsigned size, std::string& name) noexcept {
  sa_family_t given = 0;
  if (from == nullptr || size < family_size || size > sizeof(sockaddr_un)) return -EINVAL;
  std::memcpy(&given, from, family_size);
  if (given != AF_UNIX) return -EINVAL;
  const char* const begin = static_cast<const char*>(from) + family_size;
  const std::size_t room = size - family_size;
  name.assign(begin, room != 0 && *begin != '\0' ? ::strnlen(begin, room) : room);
  return 0;
}

void encode_unix(const std::string& name, void* to, unsigned& size) noexcept {
  sockaddr_un made{};
  made.sun_family = AF_UNIX;
  const std::size_t length = std::min(name.size(), sizeof(made.sun_path));
  std::memcpy(made.sun_path, name.data(), length);
  const unsigned room = size;
  const bool is_path = !name.empty() && name.front() != '\0';
  size = static_cast<unsigned>(family_size + length + (is_path ? 1 : 0));
  const unsigned copied = std::min<unsigned>({room, size, unsigned{sizeof(made)}});
  if (to != nullptr) std::memcpy(to, &made, copied);
}

unix_socket::unix_socket(node& on, int socket_type)
    : node_(&on), type_(socket_type), send_size_(send_size_default) {}

unix_socket::~unix_socket() {
  if (!name_.empty() && inode_ == nullptr) node_->abstract_names.erase({type_, name_});
}

int unix_socket::family() const noexcept { return AF_UNIX; }

int unix_socket::bind(const void* name, unsigned size) {
  std::string wanted;
  if (const int status = decode_unix(name, size, wanted); status < 0) return status;
  std::shared_ptr<inode> there;
  const bool is_path = !wanted.empty() && wanted.front() != '\0';
  if (is_path && node_->storage.find(wanted, there) == 0) return -EADDRINUSE;
  if (!name_.empty()) return -EINVAL;
  if (wanted.empty()) return autobind();
  const auto self = std::static_pointer_cast<unix_socket>(shared_from_this());
  if (!is_path) {
    if (!node_->abstract_names.try_emplace({type_, wanted}, self).second) return -EADDRINUSE;
  } else {
    const int status = node_->storage.bind_socket(wanted, node_->wall_now(), inode_);
    if (status < 0) return status;
    inode_->bound = self;
  }
  name_ = shown_name_ = wanted;
  return 0;
}

int unix_socket::autobind() {
  // Five hexadecimal digits; Linux begins at a random one.
  const auto self = std::static_pointer_cast<unix_socket>(shared_from_this());
  do {
    char digits[8];
    std::snprintf(digits, sizeof(digits), "%05x", node_->next_autobind++ & 0xfffffU);
    name_ = std::string(1, '\0') + digits;
  } while (!node_->abstract_names.try_emplace({type_, name_}, self).second);
  shown_name_ = name_;
  return 0;
}

int unix_socket::find_bound(const std::string& name, std::shared_ptr<unix_socket>& found) const {
  std::shared_ptr<file> bound;
  if (name.empty()) return -EINVAL;
  if (name.front() == '\0') {
    const auto at = node_->abstract_names.find({type_, name});
    if (at == node_->abstract_names.end()) return -ECONNREFUSED;
    bound = at->second.lock();
  } else {
    std::shared_ptr<inode> at;
    if (const int status = node_->storage.find(name, at); status < 0) return status;
    if (at->what != inode::kind::socket) return -ECONNREFUSED;
    bound = at->bound.lock();
  }
  if (bound == nullptr) return -ECONNREFUSED;
  found = std::static_pointer_cast<unix_socket>(bound);
  return found->type_ == type_ ? 0 : -EPROTOTYPE;
}

int unix_socket::local_name(void* name, unsigned& size) {
  encode_unix(shown_name_, name, size);
  return 0;
}

// ---------------------------------------------------------------- options

int unix_socket::set_option(int level, int option, const void* value, unsigned size) {
  if (value == nullptr) return -EFAULT;
  if (level != SOL_SOCKET) return -EOPNOTSUPP;
  int number = 0;
  if (size < sizeof(number)) return -EINVAL;
  std::memcpy(&number, value, sizeof(number));
  switch (option) {
    case SO_SNDBUF:
      send_size_ = static_cast<std::size_t>(
          number < 0 ? send_size_max : std::clamp(number, send_size_min, send_size_max));
      return 0;
    case SO_RCVBUF:
    case SO_REUSEADDR:
      return 0;  // without effect on Unix sockets
    default:
      return refuse_option(option);
  }
}

int unix_socket::get_option(int level, int option, void* value, unsigned& size) {
  if (value == nullptr) return -EFAULT;
  if (level != SOL_SOCKET) return -EOPNOTSUPP;
  if (option == SO_PEERCRED) {
    ucred told{};
    told.pid = has_peer() ? process_number : 0;
    told.uid = told.gid = has_peer() ? 0U : static_cast<uid_t>(-1);
    size = std::min<unsigned>(size, sizeof(told));
    std::memcpy(value, &told, size);
    return 0;
  }
  int number = 0;
  switch (option) {
    case SO_SNDBUF:
      number = static_cast<int>(send_size_);
      break;
    case SO_ERROR:
      number = pending_error();
      break;
    case SO_TYPE:
      number = type_;
      break;
    case SO_DOMAIN:
      number = AF_UNIX;
      break;
    case SO_PROTOCOL:
      number = 0;
      break;
    case SO_ACCEPTCONN:
      number = is_listening() ? 1 : 0;
      break;
    default:
      return refuse_option(option);
  }
  size = std::min<unsigned>(size, sizeof(number));
  std::memcpy(value, &number, size);
  return 0;
}

}  // namespace rill::sim::detail
