// Listening by name and socket activation. See listen.h and sd_listen_fds(3).
#include <rill/net/listen.h>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <span>
#include <string_view>

#include <rill/runtime/loop.h>

namespace rill {
namespace {

/// Descriptors handed over begin here (SD_LISTEN_FDS_START).
constexpr int first_descriptor = 3;
/// More sockets than any unit has, and few enough to count without harm.
constexpr int descriptor_count_max = 4096;
/// With port 0: how often another number is tried when the other family has one taken already.
constexpr int port_attempt_max = 16;

// ---------------------------------------------------------------- socket activation

/// What was handed over and is not taken yet. Of the process, as the descriptors are.
class activation {
 public:
  static activation& instance() {
    static activation only;
    return only;
  }

  /// Removes the sockets for which `wanted` holds and returns them.
  template <class Predicate>
  std::vector<activated_socket> take(loop& on, Predicate wanted) {
    const std::scoped_lock lock(mutex_);
    read_environment(on);
    std::vector<activated_socket> taken;
    std::vector<activated_socket> rest;
    for (activated_socket& each : waiting_) {
      (wanted(each) ? taken : rest).push_back(std::move(each));
    }
    waiting_ = std::move(rest);
    return taken;
  }

 private:
  void read_environment(loop& on);

  std::mutex mutex_;
  std::vector<activated_socket> waiting_;
};

std::optional<int> number_in(const char* text) {
  const std::string_view digits(text);
  int number = 0;
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (parsed.ec != std::errc() || parsed.ptr != digits.data() + digits.size()) return std::nullopt;
  return number;
}

[[noreturn]] void refuse(int number, const std::string& subject) {
  throw io_error(error::from_errno(number, "activate"), subject);
}

activated_socket examine(loop& on, int descriptor, std::string name) {
  const std::string subject = "descriptor " + std::to_string(descriptor);
  const int flags = ::fcntl(descriptor, F_GETFD);
  if (flags < 0 || ::fcntl(descriptor, F_SETFD, flags | FD_CLOEXEC) < 0) refuse(errno, subject);
  const int type = detail::get_option(on, descriptor, SOL_SOCKET, SO_TYPE, "activate");
  const endpoint local = detail::local_endpoint(on, descriptor);
  auto kind = local.is_ip() ? activated_socket::kind::udp : activated_socket::kind::unix_datagram;
  if (type == SOCK_STREAM) {
    // A connection (Accept=yes) would be no listener.
    if (detail::get_option(on, descriptor, SOL_SOCKET, SO_ACCEPTCONN, "activate") == 0) {
      refuse(EINVAL, subject);
    }
    kind = local.is_ip() ? activated_socket::kind::tcp_listener
                         : activated_socket::kind::unix_listener;
  } else if (type != SOCK_DGRAM) {
    refuse(ESOCKTNOSUPPORT, subject);
  }
  return activated_socket(descriptor, kind, std::move(name), local);
}

void activation::read_environment(loop& on) {
  const char* const process = std::getenv("LISTEN_PID");
  const char* const count_text = std::getenv("LISTEN_FDS");
  // A simulated host has neither an environment nor descriptors from outside.
  if (process == nullptr || count_text == nullptr || on.kernel().name() == "sim") return;
  const std::string subject = "LISTEN_FDS=" + detail::printable_name(count_text);
  const std::optional<int> for_process = number_in(process);
  const std::optional<int> count = number_in(count_text);
  const char* const names_text = std::getenv("LISTEN_FDNAMES");
  std::string names(names_text == nullptr ? "" : names_text);
  for (const char* const variable :
       {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"}) {
    ::unsetenv(variable);
  }
  if (for_process && *for_process != ::getpid()) return;  // inherited: meant for a parent
  if (!for_process || !count || *count < 0 || *count > descriptor_count_max) {
    refuse(EINVAL, subject);
  }
  std::vector<activated_socket> found;
  for (int i = 0; i != *count; ++i) {
    const std::string name = names.substr(0, names.find(':'));
    names.erase(0, name.size() + 1);
    found.push_back(examine(on, first_descriptor + i, name.empty() ? "unknown" : name));
  }
  for (activated_socket& each : found) waiting_.push_back(std::move(each));
}

/// The sockets of one kind that satisfy a call with this port.
std::vector<int> take_activated(loop& on, activated_socket::kind kind, std::uint16_t port) {
  std::vector<int> descriptors;
  const auto wanted = [=](const activated_socket& each) {
    return each.type() == kind && (port == 0 || each.local().port() == port);
  };
  for (activated_socket& each : activation::instance().take(on, wanted)) {
    descriptors.push_back(each.release());
  }
  return descriptors;
}

// ---------------------------------------------------------------- addresses

bool is_missing(const std::error_code& code) {
  return code == std::errc::address_family_not_supported ||
         code == std::errc::address_not_available;
}

/// True if sockets can be bound to the address of `to`: asked with a UDP socket on any port, which
/// disturbs nobody. With `free_bind` it need not be the machine's, only of a family that it has.
bool is_present(const endpoint& to, bool free_bind) {
  try {
    udp_options options;
    options.free_bind = free_bind;
    udp_socket::bind(endpoint(to.ip()->address(), 0), options);
    return true;
  } catch (const io_error& failure) {
    return !is_missing(failure.code());
  }
}

/// The endpoints of `host` that this machine has; all of them, if it has none.
task<std::vector<endpoint>> own_endpoints(std::string host, std::uint16_t port, bool free_bind,
                                          resolver* with) {
  std::vector<endpoint> all;
  if (host.empty()) {
    all.emplace_back(address::any_v6(), port);
    all.emplace_back(address::any_v4(), port);
  } else {
    resolve_options options;
    options.with = with;
    all = co_await resolve(std::move(host), port, options);
  }
  std::vector<endpoint> present;
  for (const endpoint& each : all) {
    if (is_present(each, free_bind)) present.push_back(each);
  }
  if (present.empty()) co_return all;
  co_return present;
}

task<std::uint16_t> port_number(service named, resolver* with) {
  if (with != nullptr) co_return co_await with->port_of(std::move(named));
  resolver fresh;
  co_return co_await fresh.port_of(std::move(named));
}

/// `bind_all` with all of `to`; when they leave the number to the kernel and the one that the first
/// was given is taken in another family, again.
template <class Bind>
auto bind_same_port(const std::vector<endpoint>& to, Bind bind_all) {
  const bool may_choose = to.size() > 1 && to.front().port() == 0;
  for (int attempt = 1; may_choose && attempt != port_attempt_max; ++attempt) {
    try {
      return bind_all(to);
    } catch (const io_error& failure) {
      if (failure.code() != std::errc::address_in_use) throw;
    }
  }
  return bind_all(to);
}

}  // namespace

activated_socket::~activated_socket() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

activated_socket& activated_socket::operator=(activated_socket&& other) noexcept {
  if (this != &other) {
    if (descriptor_ >= 0) ::close(descriptor_);
    descriptor_ = std::exchange(other.descriptor_, -1);
    kind_ = other.kind_;
    name_ = std::move(other.name_);
    local_ = other.local_;
  }
  return *this;
}

std::vector<activated_socket> activated_listeners() {
  return activation::instance().take(loop::current(), [](const activated_socket&) { return true; });
}

task<tcp_listener> listen(std::string host, service to, listen_options options, resolver* with) {
  const std::uint16_t port = co_await port_number(std::move(to), with);
  const std::vector<int> activated =
      take_activated(loop::current(), activated_socket::kind::tcp_listener, port);
  if (!activated.empty()) co_return tcp_listener::adopt(activated);
  const std::vector<endpoint> endpoints =
      co_await own_endpoints(std::move(host), port, options.free_bind, with);
  co_return bind_same_port(endpoints, [&](const std::vector<endpoint>& all) {
    return tcp_listener::bind(all, options);
  });
}

task<tcp_listener> tcp_listener::bind(std::string host, std::uint16_t port,
                                      listen_options options) {
  return listen(std::move(host), port, options);
}

task<std::vector<udp_socket>> bind_udp(std::string host, service to, udp_options options,
                                       resolver* with) {
  const std::uint16_t port = co_await port_number(std::move(to), with);
  std::vector<udp_socket> sockets;
  for (const int each : take_activated(loop::current(), activated_socket::kind::udp, port)) {
    sockets.push_back(udp_socket::adopt(each));
  }
  if (!sockets.empty()) co_return sockets;
  const std::vector<endpoint> endpoints =
      co_await own_endpoints(std::move(host), port, options.free_bind, with);
  co_return bind_same_port(endpoints, [&](const std::vector<endpoint>& all) {
    std::vector<udp_socket> made;
    for (const endpoint& each : all) {
      const bool is_chosen = each.port() == 0 && !made.empty();
      const std::uint16_t number = is_chosen ? made.front().local().port() : each.port();
      made.push_back(udp_socket::bind(endpoint(each.ip()->address(), number), options));
    }
    return made;
  });
}

}  // namespace rill
