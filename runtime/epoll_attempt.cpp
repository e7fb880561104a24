// The operations: each is tried with a call that does not wait, and goes on until it has what it
// wants, would block, or has had its share. What the ring says in such a case is said here; where
// that is not obvious, its function is named (Linux 6.18, io_uring/net.c).
// See epoll_kernel.h. Read next: epoll_files.cpp.
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <new>

#include <rill/runtime/epoll_kernel.h>

namespace rill::detail {
namespace {

// A write to a pipe that poll(2) calls writable does not block up to this size (pipe(7), PIPE_BUF).
constexpr std::size_t pipe_write_size_max = 4096;

progress finish(request& ended, std::int64_t result, unsigned flags = 0) noexcept {
  ended.result = static_cast<int>(std::min<std::int64_t>(result, INT_MAX));
  ended.completion_flags = flags;
  return progress::finished;
}

/// What was moved before an error is told instead of it (io_recv(), io_send()).
progress fail(request& ended, int number) noexcept {
  return finish(ended, ended.done != 0 ? static_cast<std::int64_t>(ended.done) : -number);
}

bool has(const request& asked, int flag) noexcept {
  return (asked.flags & static_cast<unsigned>(flag)) != 0;
}

/// Streams only: a datagram is whole as it is.
bool wants_all(const watch& on, const request& asked) noexcept {
  return has(asked, MSG_WAITALL) && on.kind != descriptor_kind::datagram_socket;
}

int call_flags(const request& asked) noexcept {
  return static_cast<int>(asked.flags) | MSG_DONTWAIT;
}

/// To a Unix socket that the message names, where poll(2) looks at the connected one only.
bool names_unix_socket(const request& sent) noexcept {
  const void* name = nullptr;
  if (sent.opcode == IORING_OP_SENDMSG) {
    name = reinterpret_cast<const msghdr*>(sent.memory)->msg_name;
  } else if (sent.opcode == IORING_OP_SEND) {
    name = reinterpret_cast<const void*>(sent.offset);
  }
  return name != nullptr && static_cast<const sockaddr*>(name)->sa_family == AF_UNIX;
}

/// Leaves out of the message what was moved. False: there is no memory for a copy of it.
bool advance(request& asked, std::size_t moved) noexcept {
  if (asked.message == nullptr) {
    const auto& header = *reinterpret_cast<const msghdr*>(asked.memory);
    try {
      asked.message =
          new message_copy{header, {header.msg_iov, header.msg_iov + header.msg_iovlen}};
    } catch (const std::bad_alloc&) {
      return false;
    }
    asked.message->header.msg_iov = asked.message->pieces.data();
    // They have gone, or come, with the first part: io_sendmsg(), io_recvmsg().
    asked.message->header.msg_control = nullptr;
    asked.message->header.msg_controllen = 0;
  }
  msghdr& header = asked.message->header;
  while (header.msg_iovlen != 0 && moved >= header.msg_iov->iov_len) {
    moved -= header.msg_iov->iov_len;
    ++header.msg_iov;
    --header.msg_iovlen;
  }
  if (header.msg_iovlen == 0) return true;
  header.msg_iov->iov_base = static_cast<std::byte*>(header.msg_iov->iov_base) + moved;
  header.msg_iov->iov_len -= moved;
  return true;
}

}  // namespace

progress epoll_kernel::attempt(watch& on, request& tried) noexcept {
  const bool multishot = (tried.modifiers & IORING_RECV_MULTISHOT) != 0;
  switch (tried.opcode) {
    case IORING_OP_RECV:
      return multishot ? receive_many(on, tried) : receive(on, tried);
    case IORING_OP_RECVMSG:
      return multishot ? receive_messages(on, tried) : receive_message(on, tried);
    case IORING_OP_SEND:
    case IORING_OP_SENDMSG:
      return send(on, tried);
    case IORING_OP_READ:
      return on.is_socket() ? receive(on, tried) : read_stream(on, tried);
    case IORING_OP_WRITE:
      return on.is_socket() ? send(on, tried) : write_stream(on, tried);
    case IORING_OP_ACCEPT:
      return accept(on, tried);
    case IORING_OP_CONNECT:
      return connect(on, tried);
    default:
      return poll(on, tried);
  }
}

/// epoll is to be asked before the next attempt; who said MSG_DONTWAIT does not wait for that.
progress epoll_kernel::would_block(watch& on, request& tried, bool reading) noexcept {
  if (reading) {
    on.readable = false;
  } else {
    on.writable = false;
  }
  const bool is_transfer = tried.opcode == IORING_OP_RECV || tried.opcode == IORING_OP_RECVMSG ||
                           tried.opcode == IORING_OP_SEND || tried.opcode == IORING_OP_SENDMSG;
  if (is_transfer && has(tried, MSG_DONTWAIT)) return fail(tried, EAGAIN);
  return progress::blocked;
}

// ---------------------------------------------------------------- receiving

progress epoll_kernel::receive(watch& on, request& tried) noexcept {
  selected_buffer into{tried.memory + tried.done, tried.size - tried.done, 0};
  if ((tried.sqe_flags & IOSQE_BUFFER_SELECT) != 0) {
    if (!select_buffer(tried, into)) return finish(tried, -ENOBUFS);
    if (tried.size != 0) into.size = std::min<std::size_t>(into.size, tried.size);
  }
  for (;;) {
    const ssize_t got = ::recv(tried.descriptor, into.memory, into.size, call_flags(tried));
    if (got < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) return would_block(on, tried, true);
      return fail(tried, errno);
    }
    const auto size = static_cast<std::size_t>(got);
    const bool is_short = size < into.size;
    const bool peeks = has(tried, MSG_PEEK);
    if (is_short && !peeks && on.kind == descriptor_kind::tcp && !on.until_empty) {
      on.readable = false;
    }
    if (got > 0 && is_short && into.flags == 0 && wants_all(on, tried)) {
      if (peeks) {
        if (!on.until_empty) return would_block(on, tried, true);
      } else {
        tried.done += size;
        into.memory += size;
        into.size -= size;
        if (on.readable) continue;
        return would_block(on, tried, true);
      }
    }
    if (into.flags != 0 && got > 0) queues_.use_buffer(tried.group);
    return finish(tried, got + static_cast<std::int64_t>(tried.done), got > 0 ? into.flags : 0);
  }
}

/// A buffer is chosen before there is anything to receive, and an empty ring ends the operation:
/// io_recv().
progress epoll_kernel::receive_many(watch& on, request& tried) noexcept {
  const bool is_tcp = on.kind == descriptor_kind::tcp;
  for (int share = share_max; share > 0; --share) {
    selected_buffer into;
    if (!select_buffer(tried, into)) return finish(tried, -ENOBUFS);
    const ssize_t got = ::recv(tried.descriptor, into.memory, into.size, call_flags(tried));
    if (got < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) return would_block(on, tried, true);
      return finish(tried, -errno);
    }
    if (got == 0) return finish(tried, 0, is_tcp ? IORING_CQE_F_SOCK_NONEMPTY : 0);
    queues_.use_buffer(tried.group);
    unsigned flags = into.flags;
    bool is_empty = false;
    if (is_tcp) {
      // Others are asked until they would block: a Unix socket receives less than there is where
      // the sender's credentials change.
      is_empty = static_cast<std::size_t>(got) < into.size;
      if (!is_empty) {
        int left = 0;
        ::ioctl(tried.descriptor, FIONREAD, &left);
        is_empty = left == 0;
        if (!is_empty) flags |= IORING_CQE_F_SOCK_NONEMPTY;
      }
      if (on.until_empty) is_empty = false;
    }
    if (!post_more(tried, static_cast<int>(got), flags)) return finish(tried, got, flags);
    if (is_empty) return would_block(on, tried, true);
  }
  return progress::unfinished;
}

progress epoll_kernel::receive_message(watch& on, request& tried) noexcept {
  auto* const header = reinterpret_cast<msghdr*>(tried.memory);
  for (;;) {
    msghdr* const into = tried.message == nullptr ? header : &tried.message->header;
    const ssize_t got = ::recvmsg(tried.descriptor, into, call_flags(tried));
    if (got < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) return would_block(on, tried, true);
      return fail(tried, errno);
    }
    const std::size_t left = tried.offset - tried.done;  // of all pieces together
    if (got > 0 && static_cast<std::size_t>(got) < left && wants_all(on, tried) &&
        !has(tried, MSG_PEEK)) {
      tried.done += static_cast<std::size_t>(got);
      if (!advance(tried, static_cast<std::size_t>(got))) return fail(tried, ENOMEM);
      continue;
    }
    return finish(tried, got + static_cast<std::int64_t>(tried.done));
  }
}

/// The buffer begins with io_uring_recvmsg_out, then come room for the name, for control messages
/// and the payload: io_recvmsg_multishot(). An empty datagram ends it.
progress epoll_kernel::receive_messages(watch& on, request& tried) noexcept {
  const std::size_t name_size = tried.size;
  const std::size_t control_size = tried.offset;
  const std::size_t before = sizeof(io_uring_recvmsg_out) + name_size + control_size;
  for (int share = share_max; share > 0; --share) {
    selected_buffer into;
    if (!select_buffer(tried, into)) return finish(tried, -ENOBUFS);
    if (into.size < before) return finish(tried, -EFAULT);
    iovec piece{into.memory + before, into.size - before};
    msghdr header{};
    header.msg_name = name_size == 0 ? nullptr : into.memory + sizeof(io_uring_recvmsg_out);
    header.msg_namelen = static_cast<socklen_t>(name_size);
    header.msg_control = control_size == 0 ? nullptr : into.memory + before - control_size;
    header.msg_controllen = control_size;
    header.msg_iov = &piece;
    header.msg_iovlen = 1;
    const ssize_t got = ::recvmsg(tried.descriptor, &header, call_flags(tried));
    if (got < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) return would_block(on, tried, true);
      return finish(tried, -errno);
    }
    queues_.use_buffer(tried.group);
    io_uring_recvmsg_out out{};
    out.namelen = header.msg_namelen;
    out.controllen = static_cast<std::uint32_t>(header.msg_controllen);
    out.payloadlen = static_cast<std::uint32_t>(got);
    out.flags = static_cast<std::uint32_t>(header.msg_flags);
    std::memcpy(into.memory, &out, sizeof(out));
    const std::size_t size = before + std::min(static_cast<std::size_t>(got), piece.iov_len);
    if (got == 0 || !post_more(tried, static_cast<int>(size), into.flags)) {
      return finish(tried, static_cast<std::int64_t>(size), into.flags);
    }
  }
  return progress::unfinished;
}

// ---------------------------------------------------------------- sending

progress epoll_kernel::send(watch& on, request& tried) noexcept {
  const bool is_message = tried.opcode == IORING_OP_SENDMSG;
  const std::size_t size = is_message ? tried.offset : tried.size;
  const int flags = call_flags(tried) | MSG_NOSIGNAL;  // io_sendmsg_prep()
  for (;;) {
    ssize_t sent = 0;
    if (is_message) {
      const auto* const header = reinterpret_cast<const msghdr*>(tried.memory);
      sent = ::sendmsg(tried.descriptor, tried.message == nullptr ? header : &tried.message->header,
                       flags);
    } else if (tried.opcode == IORING_OP_SEND && tried.offset != 0) {
      sent = ::sendto(tried.descriptor, tried.memory, size, flags,
                      reinterpret_cast<const sockaddr*>(tried.offset), tried.group);
    } else {
      sent = ::send(tried.descriptor, tried.memory + tried.done, size - tried.done, flags);
    }
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) {
        if (on.kind == descriptor_kind::datagram_socket && names_unix_socket(tried)) stall(on);
        return would_block(on, tried, false);
      }
      return fail(tried, errno);
    }
    tried.done += static_cast<std::size_t>(sent);
    const bool is_short = tried.done < size;
    if (is_short && on.kind == descriptor_kind::tcp) on.writable = false;
    if (!is_short || sent == 0 || !wants_all(on, tried)) {
      return finish(tried, static_cast<std::int64_t>(tried.done));
    }
    if (is_message && !advance(tried, static_cast<std::size_t>(sent))) return fail(tried, ENOMEM);
    if (!on.writable) return would_block(on, tried, false);
  }
}

// ---------------------------------------------------------------- connections

progress epoll_kernel::accept(watch& on, request& tried) noexcept {
  const bool multishot = (tried.modifiers & IORING_ACCEPT_MULTISHOT) != 0;
  // For good, not for the call: a loop of another process that has the same listener, and clears
  // the flag between our setting it and our call, would leave us blocked in it.
  if (const int status = make_nonblocking(tried.descriptor); status < 0) {
    return finish(tried, status);
  }
  for (int share = share_max; share > 0; --share) {
    const int made =
        ::accept4(tried.descriptor, reinterpret_cast<sockaddr*>(tried.memory),
                  reinterpret_cast<socklen_t*>(tried.offset), static_cast<int>(tried.flags));
    if (made < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) return would_block(on, tried, true);
      return finish(tried, -errno);
    }
    const int known = begin_life(made, on.kind);
    if (known < 0 || !multishot || !post_more(tried, made, 0)) return finish(tried, known);
  }
  return progress::unfinished;
}

progress epoll_kernel::connect(watch& on, request& tried) noexcept {
  const nonblocking_scope scope(tried.descriptor);
  if (scope.status() != 0) return finish(tried, scope.status());
  const auto* const name = reinterpret_cast<const sockaddr*>(tried.memory);
  if (::connect(tried.descriptor, name, static_cast<socklen_t>(tried.offset)) == 0) {
    return finish(tried, 0);
  }
  const int failure = errno;
  if (failure == EISCONN && tried.started) return finish(tried, 0);
  if (failure == EAGAIN && on.kind == descriptor_kind::stream_socket) {
    stall(on);
  } else if (failure != EINPROGRESS && failure != EALREADY && failure != EINTR) {
    return finish(tried, -failure);
  }
  if (failure == EINPROGRESS || failure == EALREADY) tried.started = true;
  return would_block(on, tried, false);
}

// ---------------------------------------------------------------- polling

progress epoll_kernel::poll(watch& on, request& tried) noexcept {
  pollfd asked{tried.descriptor, static_cast<short>(tried.flags | POLLRDHUP), 0};
  while (::poll(&asked, 1, 0) < 0) {
    if (errno != EINTR) return finish(tried, -errno);
  }
  const auto events = static_cast<unsigned short>(asked.revents);
  if ((events & POLLNVAL) != 0) return finish(tried, -EBADF);
  if (events == 0 && has(tried, POLLIN)) on.readable = false;
  if (events != 0 && on.kind == descriptor_kind::file) return finish(tried, events);
  return poll_completed(tried, events);
}

progress epoll_kernel::poll_completed(request& tried, unsigned events) noexcept {
  const unsigned told = events & (tried.flags | always_polled);
  if (told == 0) return progress::blocked;
  const bool multishot = (tried.size & IORING_POLL_ADD_MULTI) != 0;
  if (multishot && post_more(tried, static_cast<int>(told), 0)) return progress::blocked;
  return finish(tried, told);
}

// ---------------------------------------------------------------- pipes, terminals, event counters

/// What poll(2) says of it now. A signal that is handled just then may make that EINTR.
static bool is_ready(int descriptor, short events) noexcept {
  pollfd asked{descriptor, events, 0};
  int status = 0;
  do {
    status = ::poll(&asked, 1, 0);
  } while (status < 0 && errno == EINTR);
  return status > 0;
}

/// RWF_NOWAIT where the descriptor knows it; else poll(2) first, for the descriptor may be shared
/// with other processes and must go on blocking for them.
progress epoll_kernel::read_stream(watch& on, request& tried) noexcept {
  const iovec piece{tried.memory, tried.size};
  for (;;) {
    ssize_t got = 0;
    if (!on.no_nowait) {
      got = ::preadv2(tried.descriptor, &piece, 1, -1, RWF_NOWAIT);
      if (got < 0 && (errno == EOPNOTSUPP || errno == ENOSYS || errno == EPERM)) {
        on.no_nowait = true;
        continue;
      }
    } else {
      if (!is_ready(tried.descriptor, POLLIN)) return would_block(on, tried, true);
      got = ::read(tried.descriptor, tried.memory, tried.size);
    }
    if (got >= 0) return finish(tried, got);
    if (errno == EINTR) continue;
    if (errno == EAGAIN) return would_block(on, tried, true);
    return finish(tried, -errno);
  }
}

progress epoll_kernel::write_stream(watch& on, request& tried) noexcept {
  const iovec piece{tried.memory, tried.size};
  for (;;) {
    ssize_t sent = 0;
    if (!on.no_nowait) {
      sent = ::pwritev2(tried.descriptor, &piece, 1, -1, RWF_NOWAIT);
      if (sent < 0 && (errno == EOPNOTSUPP || errno == ENOSYS || errno == EPERM)) {
        on.no_nowait = true;
        continue;
      }
    } else {
      if (!is_ready(tried.descriptor, POLLOUT)) return would_block(on, tried, false);
      sent = ::write(tried.descriptor, tried.memory,
                     std::min<std::size_t>(tried.size, pipe_write_size_max));
    }
    if (sent >= 0) return finish(tried, sent);
    if (errno == EINTR) continue;
    if (errno == EAGAIN) return would_block(on, tried, false);
    return finish(tried, -errno);
  }
}

}  // namespace rill::detail
