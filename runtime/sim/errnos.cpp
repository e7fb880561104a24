// The errors of each operation. See errnos.h.
#include <rill/runtime/sim/errnos.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <iterator>

namespace rill::sim::detail {
namespace {

struct row {
  std::string_view name;
  std::array<int, 14> errors;  // 0 where there are no more
};

// By the names in the trace. Errors of a wrong call (EBADF, EINVAL, EFAULT) are left out: they tell
// of a bug in the caller, not of the world.
constexpr row rows[] = {
    // System calls: socket(2), bind(2), listen(2), setsockopt(2), getsockname(2) ...
    {"socket", {EMFILE, ENFILE, ENOBUFS, ENOMEM, EAFNOSUPPORT}},
    {"socket_pair", {EMFILE, ENFILE, ENOMEM}},
    {"bind", {EADDRINUSE, EADDRNOTAVAIL, EACCES, ENOMEM}},
    {"listen", {EADDRINUSE}},
    {"shutdown", {ENOTCONN}},
    {"set_option", {ENOPROTOOPT, ENOMEM}},
    {"get_option", {ENOBUFS}},
    {"local_name", {ENOBUFS}},
    {"peer_name", {ENOTCONN, ENOBUFS}},
    {"pipe", {EMFILE, ENFILE}},
    {"sendfile", {EIO, ENOMEM, EPIPE, ECONNRESET, EINTR}},
    {"link_file", {EEXIST, ENOSPC, EDQUOT, EIO, ENOMEM, EACCES}},
    {"signals", {EMFILE, ENFILE, ENOMEM}},
    {"register_buffers", {ENOMEM}},
    // Another loop: io_uring_setup(2), pthread_create(3).
    {"ring", {EMFILE, ENFILE, ENOMEM}},
    {"thread", {EAGAIN}},
    // Entering: io_uring_enter(2).
    {"enter", {EAGAIN, EBUSY}},
    {"wait", {EINTR}},
    // Operations: the man page of the call that each stands for.
    // accept(2): Linux passes on what had already happened to the new connection.
    {"accept",
     {ECONNABORTED, EMFILE, ENFILE, ENOBUFS, ENOMEM, EINTR, EPERM, EPROTO, ENOPROTOOPT, ENETDOWN,
      ENETUNREACH, EHOSTDOWN, EHOSTUNREACH, ENONET}},
    {"accept_multishot",
     {ECONNABORTED, EMFILE, ENFILE, ENOBUFS, ENOMEM, EINTR, EPERM, EPROTO, ENOPROTOOPT, ENETDOWN,
      ENETUNREACH, EHOSTDOWN, EHOSTUNREACH, ENONET}},
    {"connect",
     {ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, ENETUNREACH, EADDRNOTAVAIL, ECONNRESET, EINTR, EACCES,
      EPERM}},
    // No EAGAIN: io_uring waits where a call would not block, unless the descriptor is O_NONBLOCK,
    // which none of ours is while the ring has it.
    // Only with provided buffers can there be none left.
    {"recv", {ECONNRESET, ETIMEDOUT, EHOSTUNREACH, ENOMEM, EINTR}},
    {"recv_multishot", {ECONNRESET, ETIMEDOUT, EHOSTUNREACH, ENOBUFS, ENOMEM, EINTR}},
    // What ICMP said of a peer: icmp_err_convert of net/ipv4/icmp.c.
    {"recvmsg", {ECONNREFUSED, ENOMEM, EINTR, ECONNRESET, EHOSTUNREACH, EHOSTDOWN, ENONET, EPROTO}},
    {"recvmsg_multishot",
     {ECONNREFUSED, ENOBUFS, ENOMEM, EINTR, ECONNRESET, EHOSTUNREACH, EHOSTDOWN, ENONET, EPROTO}},
    {"send", {ECONNRESET, EPIPE, ETIMEDOUT, ENOBUFS, ENOMEM, EINTR}},
    {"send_zc", {ECONNRESET, EPIPE, ETIMEDOUT, ENOBUFS, ENOMEM, EINTR, EOPNOTSUPP}},
    {"sendmsg",
     {ECONNREFUSED, EPERM, EHOSTUNREACH, ENOBUFS, ENOMEM, EINTR, EPIPE, ECONNRESET, ENETUNREACH,
      EACCES, EMSGSIZE}},
    {"poll", {ENOMEM}},
    {"close", {EIO, EINTR}},
    // The kernel may miss an operation that it has in hand just then.
    {"cancel", {ENOENT}},
    {"openat", {EMFILE, ENFILE, ENOMEM, EACCES, EIO, EINTR, ENOSPC}},
    {"openat2", {EMFILE, ENFILE, ENOMEM, EACCES, EIO, EINTR, ENOSPC, EAGAIN}},
    {"read", {EIO, EINTR}},
    {"write", {EIO, ENOSPC, EDQUOT, EINTR}},
    {"fsync", {EIO, ENOSPC}},
    {"statx", {EIO, ENOMEM}},
};

const row* find(std::string_view operation) noexcept {
  const auto* const found = std::find_if(std::begin(rows), std::end(rows),
                                         [&](const row& each) { return each.name == operation; });
  return found == std::end(rows) ? nullptr : found;
}

}  // namespace

std::span<const int> possible_errors(std::string_view operation) noexcept {
  const row* const found = find(operation);
  if (found == nullptr) return {};
  const auto* const end = std::find(found->errors.begin(), found->errors.end(), 0);
  return {found->errors.begin(), end};
}

bool may_give(std::string_view operation, int error_number) noexcept {
  const std::span<const int> possible = possible_errors(operation);
  return std::find(possible.begin(), possible.end(), error_number) != possible.end();
}

}  // namespace rill::sim::detail
