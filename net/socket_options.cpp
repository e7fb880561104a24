// Control calls on sockets: making, names, options. They go through the kernel seam and never wait.
// See socket_options.h and the end of socket.h.
#include <rill/net/socket_options.h>

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <string>

namespace rill::detail {

bool is_shortage(const std::error_code& code) noexcept {
  return code == std::errc::too_many_files_open ||
         code == std::errc::too_many_files_open_in_system || code == std::errc::no_buffer_space ||
         code == std::errc::not_enough_memory;
}

void throw_call_error(int negative_errno, const char* operation, const std::string& subject) {
  throw io_error(error::from_errno(-negative_errno, operation), subject);
}

int open_socket(loop& on, const endpoint& of, int type) {
  int family = AF_UNIX;
  if (of.kind() == endpoint_kind::ipv4) family = AF_INET;
  if (of.kind() == endpoint_kind::ipv6) family = AF_INET6;
  return checked(on.kernel().socket(family, type, 0), "socket", of.to_string());
}

void check_family(const endpoint& to, bool is_ip, const char* operation) {
  if (to.is_ip() != is_ip) throw_call_error(-EAFNOSUPPORT, operation, to.to_string());
}

void check_adopted(loop& on, int descriptor, adopted_kind kind, bool is_ip) {
  const auto refuse = [&](int number) {
    throw_call_error(-number, "adopt", "descriptor " + std::to_string(descriptor));
  };
  const auto get = [&](int option) {
    int value = 0;
    unsigned size = sizeof(value);
    const int status = on.kernel().get_option(descriptor, SOL_SOCKET, option, &value, size);
    if (status < 0) refuse(-status);
    return value;
  };
  if (get(SO_TYPE) != (kind == adopted_kind::datagrams ? SOCK_DGRAM : SOCK_STREAM)) {
    refuse(EPROTOTYPE);
  }
  const int family = get(SO_DOMAIN);
  if (is_ip ? family != AF_INET && family != AF_INET6 : family != AF_UNIX) refuse(EAFNOSUPPORT);
  if ((get(SO_ACCEPTCONN) != 0) != (kind == adopted_kind::listener)) refuse(EINVAL);
}

void check_or_close(loop& on, int descriptor, adopted_kind kind, bool is_ip) {
  try {
    check_adopted(on, descriptor, kind, is_ip);
  } catch (...) {
    on.kernel().close(descriptor);
    throw;
  }
}

int duplicate(int descriptor, const endpoint& local) {
  const int made = ::fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
  return checked(made < 0 ? -errno : made, "share", local.to_string());
}

bool has_linger(loop& on, int descriptor) noexcept {
  ::linger value{};
  unsigned size = sizeof(value);
  const int status = on.kernel().get_option(descriptor, SOL_SOCKET, SO_LINGER, &value, size);
  return status >= 0 && value.l_onoff != 0 && value.l_linger != 0;
}

void set_option(loop& on, int descriptor, int level, int option, int value, const char* operation) {
  const int status = on.kernel().set_option(descriptor, level, option, &value, sizeof(value));
  if (status < 0) throw_call_error(status, operation, name_of_socket(on, descriptor));
}

int get_option(loop& on, int descriptor, int level, int option, const char* operation) {
  int value = 0;
  unsigned size = sizeof(value);
  const int status = on.kernel().get_option(descriptor, level, option, &value, size);
  if (status < 0) throw_call_error(status, operation, name_of_socket(on, descriptor));
  return value;
}

// ---------------------------------------------------------------- names

namespace {

endpoint to_endpoint(int status, const std::byte* bytes, unsigned size) {
  if (status < 0) return endpoint();
  return endpoint::from_native({bytes, size}).value_or(endpoint());
}

/// A reader of a log can tell which socket is meant: not so by "0.0.0.0:0".
bool is_telling(const endpoint& name) {
  return name.is_ip() ? name.port() != 0 : name.kind() != endpoint_kind::unnamed;
}

}  // namespace

endpoint local_endpoint(loop& on, int descriptor) {
  alignas(8) std::byte bytes[endpoint::native_size_max] = {};
  unsigned size = sizeof(bytes);
  const int status = on.kernel().local_name(descriptor, bytes, size);
  return to_endpoint(status, bytes, size);
}

endpoint peer_endpoint(loop& on, int descriptor) {
  alignas(8) std::byte bytes[endpoint::native_size_max] = {};
  unsigned size = sizeof(bytes);
  const int status = on.kernel().peer_name(descriptor, bytes, size);
  return to_endpoint(status, bytes, size);
}

std::string name_of_socket(loop& on, int descriptor) {
  const endpoint peer = peer_endpoint(on, descriptor);
  if (is_telling(peer)) return peer.to_string();
  const endpoint local = local_endpoint(on, descriptor);
  if (is_telling(local)) return local.to_string();
  return "descriptor " + std::to_string(descriptor);
}

std::string socket_state::subject() const {
  if (has_ip_peer) return peer.to_string();
  // While it is being closed the number may be somebody else's already.
  if (closing) return "descriptor " + std::to_string(read.descriptor);
  return name_of_socket(owner_loop(), read.descriptor);
}

void socket_state::throw_read_error(const error& cause) const { throw_error(cause, subject()); }

error socket_state::write_error(const operation_type& type) const noexcept {
  const error cause = write.take_result().error();
  return error(cause.code(), type.name, cause.is_timeout());
}

void socket_state::throw_write_error(const operation_type& type) const {
  throw_error(write_error(type), subject());
}

void describe_socket(const operation& slot, std::string& text) {
  const std::string number = "descriptor " + std::to_string(slot.descriptor);
  const std::string subject = socket_of(slot).subject();
  text += subject == number ? ' ' + number : ' ' + subject + " (" + number + ')';
}

void throw_option_error(int status, const char* verb, int level, int name,
                        const std::string& subject) {
  const std::string operation =
      std::string(verb) + " option " + std::to_string(name) + " of level " + std::to_string(level);
  throw io_error(std::error_code(-status, std::system_category()), operation, subject);
}

}  // namespace rill::detail

// ---------------------------------------------------------------- socket_base

namespace rill {

shared_socket::~shared_socket() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

int shared_socket::duplicate() const { return detail::duplicate(descriptor_, local_); }

void socket_base::write_option(int level, int name, const_buffer value, const char* text) {
  const int status = owner_loop().kernel().set_option(descriptor(), level, name, value.data(),
                                                      static_cast<unsigned>(value.size()));
  if (level == SOL_SOCKET && name == SO_LINGER) {
    socket_->lingers = detail::has_linger(owner_loop(), descriptor());
  }
  if (status >= 0) return;
  const std::string subject = socket_->subject();
  if (text == nullptr) detail::throw_option_error(status, "set", level, name, subject);
  detail::throw_call_error(status, text, subject);
}

std::size_t socket_base::read_option(int level, int name, mutable_buffer value,
                                     const char* text) const {
  auto size = static_cast<unsigned>(value.size());
  const int status =
      owner_loop().kernel().get_option(descriptor(), level, name, value.data(), size);
  if (status >= 0) return size;
  const std::string subject = socket_->subject();
  if (text == nullptr) detail::throw_option_error(status, "get", level, name, subject);
  detail::throw_call_error(status, text, subject);
}

void socket_base::set_number(int level, int name, int value, const char* text) {
  write_option(level, name, {reinterpret_cast<const std::byte*>(&value), sizeof(value)}, text);
}

int socket_base::number(int level, int name, const char* text) const {
  int value = 0;
  read_option(level, name, {reinterpret_cast<std::byte*>(&value), sizeof(value)}, text);
  return value;
}

std::string socket_base::read_text_option(int level, int name, const char* text) const {
  std::string value(255, '\0');
  value.resize(read_option(level, name, value, text));
  if (const std::size_t end = value.find('\0'); end != std::string::npos) value.resize(end);
  return value;
}

void socket_base::set_send_buffer_size(int size) {
  set_number(SOL_SOCKET, SO_SNDBUF, size, "SO_SNDBUF");
}
int socket_base::send_buffer_size() const { return number(SOL_SOCKET, SO_SNDBUF, "SO_SNDBUF"); }
void socket_base::set_receive_buffer_size(int size) {
  set_number(SOL_SOCKET, SO_RCVBUF, size, "SO_RCVBUF");
}
int socket_base::receive_buffer_size() const { return number(SOL_SOCKET, SO_RCVBUF, "SO_RCVBUF"); }

void socket_base::set_priority(int priority) {
  set_number(SOL_SOCKET, SO_PRIORITY, priority, "SO_PRIORITY");
}
int socket_base::priority() const { return number(SOL_SOCKET, SO_PRIORITY, "SO_PRIORITY"); }

void socket_base::set_mark(unsigned mark) {
  set_number(SOL_SOCKET, SO_MARK, static_cast<int>(mark), "SO_MARK");
}
unsigned socket_base::mark() const {
  return static_cast<unsigned>(number(SOL_SOCKET, SO_MARK, "SO_MARK"));
}

void socket_base::bind_to_device(std::string_view interface) {
  write_option(SOL_SOCKET, SO_BINDTODEVICE, interface, "SO_BINDTODEVICE");
}
std::string socket_base::bound_device() const {
  return read_text_option(SOL_SOCKET, SO_BINDTODEVICE, "SO_BINDTODEVICE");
}

void socket_base::set_type_of_service(int byte) {
  if (is_v6()) {
    set_number(IPPROTO_IPV6, IPV6_TCLASS, byte, "IPV6_TCLASS");
  } else {
    set_number(IPPROTO_IP, IP_TOS, byte, "IP_TOS");
  }
}
int socket_base::type_of_service() const {
  return is_v6() ? number(IPPROTO_IPV6, IPV6_TCLASS, "IPV6_TCLASS")
                 : number(IPPROTO_IP, IP_TOS, "IP_TOS");
}

std::error_code socket_base::pending_error() {
  return std::error_code(number(SOL_SOCKET, SO_ERROR, "SO_ERROR"), std::system_category());
}

}  // namespace rill
