// Names and options of sockets. See socket.h.
#include <rill/runtime/sim/socket.h>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace rill::sim::detail {
namespace {

// SO_SNDBUF and SO_RCVBUF: what is set is doubled for the kernel's own accounting, and kept within
// these bounds (SOCK_MIN_SNDBUF, SOCK_MIN_RCVBUF, net.core.wmem_max and rmem_max). The half that
// is not accounting is what bytes fit into here.
constexpr int send_buffer_min = 2304;
constexpr int receive_buffer_min = 1152;
constexpr int buffer_max = 212992;

constexpr std::int64_t second = 1'000'000'000;
constexpr std::int64_t millisecond = 1'000'000;

int clamped(int value, int least) noexcept {
  return value < 0 ? buffer_max : std::clamp(value, least, buffer_max);
}

int refuse_option(int level, int option) {
  refuse("socket option " + std::to_string(option) + " of level " + std::to_string(level));
  return -ENOPROTOOPT;
}

}  // namespace

int socket::write_now(const std::byte*, std::size_t) { return -EINVAL; }

internet_socket::internet_socket(node& on, int socket_family, int socket_type)
    : node_(&on),
      engine_(&on.world),
      family_(socket_family),
      type_(socket_type),
      send_size_(on.world.options.send_buffer_size),
      receive_size_(on.world.options.receive_buffer_size) {
  claim_.local.ip.v6 = family_ == AF_INET6;
}

int internet_socket::bind(const void* name, unsigned size) {
  endpoint wanted;
  if (const int status = decode(name, size, family_, wanted); status < 0) return status;
  if (!may_bind()) return -EINVAL;
  if (!wanted.ip.v6 && family_ == AF_INET6 && v6_only_) return -EINVAL;
  if (!wanted.ip.is_any() && !node_->owns(wanted.ip)) return -EADDRNOTAVAIL;
  claim_.local = wanted;
  claim_.is_explicit = true;
  return claim_port();
}

int internet_socket::claim_port() {
  claim_.dual = family_ == AF_INET6 && !v6_only_ && claim_.local.ip.v6;
  if (claim_.local.port == 0) {
    if (!ports().choose(claim_, node_->random)) return -EADDRINUSE;
  } else if (ports().conflicts(claim_)) {
    claim_.local.port = 0;
    return -EADDRINUSE;
  }
  ports().add(claim_);
  is_bound_ = true;
  return 0;
}

void internet_socket::give_up_port() noexcept {
  if (is_bound_) ports().remove(claim_);
  is_bound_ = false;
}

int internet_socket::resolve(const void* name, unsigned size, endpoint& to) const noexcept {
  if (const int status = decode(name, size, family_, to); status < 0) return status;
  if (!to.ip.v6 && family_ == AF_INET6 && v6_only_) return -ENETUNREACH;
  if (to.ip.is_any()) to.ip = address::loopback(to.ip.v6);
  if (to.ip.is_multicast()) return refuse("multicast");
  return 0;
}

int internet_socket::local_name(void* name, unsigned& size) {
  encode(local(), family_, name, size);
  return 0;
}

int internet_socket::peer_name(void* name, unsigned& size) {
  const endpoint* const to = peer();
  if (to == nullptr) return -ENOTCONN;
  encode(*to, family_, name, size);
  return 0;
}

// ---------------------------------------------------------------- options

int internet_socket::set_option(int level, int option, const void* value, unsigned size) {
  if (value == nullptr) return -EFAULT;
  if (size < sizeof(int)) return -EINVAL;
  int number = 0;
  std::memcpy(&number, value, sizeof(number));
  if (level == SOL_SOCKET) return set_socket_option(option, number, value, size);
  if (level == IPPROTO_TCP) {
    if (type_ != SOCK_STREAM) return -ENOPROTOOPT;
    return set_tcp_option(option, number);
  }
  if (level == IPPROTO_IPV6 && option == IPV6_V6ONLY) {
    if (family_ != AF_INET6) return -ENOPROTOOPT;
    if (is_bound_) return -EINVAL;
    v6_only_ = number != 0;
    return 0;
  }
  return refuse_option(level, option);
}

int internet_socket::set_socket_option(int option, int value, const void* raw, unsigned size) {
  switch (option) {
    case SO_REUSEADDR:
      claim_.reuse_address = value != 0;
      break;
    case SO_REUSEPORT:
      claim_.reuse_port = value != 0;
      break;
    case SO_BROADCAST:
      keeps_broadcast_ = value != 0;
      break;
    case SO_KEEPALIVE:
      timing_.keep_alive = value != 0;
      break;
    case SO_SNDBUF:
      send_size_ = static_cast<std::size_t>(clamped(value, send_buffer_min));
      break;
    case SO_RCVBUF:
      receive_size_ = static_cast<std::size_t>(clamped(value, receive_buffer_min));
      break;
    case SO_LINGER: {
      ::linger given{};
      if (size < sizeof(given)) return -EINVAL;
      std::memcpy(&given, raw, sizeof(given));
      if (given.l_onoff != 0 && given.l_linger != 0) {
        return refuse("SO_LINGER with a time: close would have to wait");
      }
      linger_ = given.l_onoff != 0;
      linger_seconds_ = given.l_linger;
      break;
    }
    default:
      return refuse_option(SOL_SOCKET, option);
  }
  options_changed();
  return 0;
}

int internet_socket::set_tcp_option(int option, int value) {
  // The limits are those of do_tcp_setsockopt().
  switch (option) {
    case TCP_NODELAY:
      no_delay_ = value != 0;
      break;
    case TCP_QUICKACK:
      break;  // a hint: acknowledgements are never waited for by a user
    case TCP_KEEPIDLE:
      if (value < 1 || value > 32767) return -EINVAL;
      timing_.keep_idle = value * second;
      break;
    case TCP_KEEPINTVL:
      if (value < 1 || value > 32767) return -EINVAL;
      timing_.keep_interval = value * second;
      break;
    case TCP_KEEPCNT:
      if (value < 1 || value > 127) return -EINVAL;
      timing_.keep_count = value;
      break;
    case TCP_USER_TIMEOUT:
      if (value < 0) return -EINVAL;
      timing_.user_timeout = value * millisecond;
      break;
    default:
      return refuse_option(IPPROTO_TCP, option);
  }
  options_changed();
  return 0;
}

int internet_socket::option_value(int level, int option, int& value) {
  if (level == SOL_SOCKET) {
    switch (option) {
      case SO_REUSEADDR:
        value = claim_.reuse_address;
        return 0;
      case SO_REUSEPORT:
        value = claim_.reuse_port;
        return 0;
      case SO_BROADCAST:
        value = keeps_broadcast_;
        return 0;
      case SO_KEEPALIVE:
        value = timing_.keep_alive;
        return 0;
      case SO_SNDBUF:
        value = static_cast<int>(send_size_ * 2);
        return 0;
      case SO_RCVBUF:
        value = static_cast<int>(receive_size_ * 2);
        return 0;
      case SO_ERROR:
        value = pending_error();
        return 0;
      case SO_TYPE:
        value = type_;
        return 0;
      case SO_DOMAIN:
        value = family_;
        return 0;
      case SO_PROTOCOL:
        value = type_ == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP;
        return 0;
      case SO_ACCEPTCONN:
        value = claim_.listening;
        return 0;
      default:
        break;
    }
  } else if (level == IPPROTO_TCP && type_ == SOCK_STREAM) {
    switch (option) {
      case TCP_NODELAY:
        value = no_delay_;
        return 0;
      case TCP_QUICKACK:
        value = 1;
        return 0;
      case TCP_KEEPIDLE:
        value = static_cast<int>(timing_.keep_idle / second);
        return 0;
      case TCP_KEEPINTVL:
        value = static_cast<int>(timing_.keep_interval / second);
        return 0;
      case TCP_KEEPCNT:
        value = timing_.keep_count;
        return 0;
      case TCP_USER_TIMEOUT:
        value = static_cast<int>(timing_.user_timeout / millisecond);
        return 0;
      default:
        break;
    }
  } else if (level == IPPROTO_IPV6 && option == IPV6_V6ONLY && family_ == AF_INET6) {
    value = v6_only_;
    return 0;
  }
  return refuse_option(level, option);
}

int internet_socket::get_option(int level, int option, void* value, unsigned& size) {
  if (value == nullptr) return -EFAULT;
  if (level == SOL_SOCKET && option == SO_LINGER) {
    const ::linger held{linger_ ? 1 : 0, linger_seconds_};
    size = std::min<unsigned>(size, sizeof(held));
    std::memcpy(value, &held, size);
    return 0;
  }
  int number = 0;
  if (const int status = option_value(level, option, number); status < 0) return status;
  size = std::min<unsigned>(size, sizeof(number));
  std::memcpy(value, &number, size);
  return 0;
}

}  // namespace rill::sim::detail
