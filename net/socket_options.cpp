// Control calls on sockets: making, options, names. They go through the kernel seam and never wait.
// See the end of socket.h.
#include <sys/socket.h>

#include <string>

#include <rill/net/socket.h>

namespace rill::detail {

void throw_call_error(int negative_errno, const char* operation, const std::string& subject) {
  throw io_error(error::from_errno(-negative_errno, operation), subject);
}

int open_socket(loop& on, const endpoint& of, int type) {
  int family = AF_UNIX;
  if (of.kind() == endpoint_kind::ipv4) family = AF_INET;
  if (of.kind() == endpoint_kind::ipv6) family = AF_INET6;
  return checked(on.kernel().socket(family, type, 0), "socket", of.to_string());
}

void set_option(loop& on, int descriptor, int level, int option, int value, const char* operation) {
  checked(on.kernel().set_option(descriptor, level, option, &value, sizeof(value)), operation,
          "descriptor " + std::to_string(descriptor));
}

int get_option(loop& on, int descriptor, int level, int option, const char* operation) {
  int value = 0;
  unsigned size = sizeof(value);
  checked(on.kernel().get_option(descriptor, level, option, &value, size), operation,
          "descriptor " + std::to_string(descriptor));
  return value;
}

namespace {

endpoint to_endpoint(int status, const std::byte* bytes, unsigned size) {
  if (status < 0) return endpoint();
  return endpoint::from_native({bytes, size}).value_or(endpoint());
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

}  // namespace rill::detail
