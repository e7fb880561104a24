// From SQE to request: what ends at once is answered from the stack, what has to wait is kept in
// the list of its descriptor and by user_data, for cancelling.
// See epoll_kernel.h. Read next: epoll_descriptors.cpp.
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

#include <rill/runtime/epoll_kernel.h>

namespace rill::detail {
namespace {

// Links, drains, fixed files and forced workers change the order of requests; rill uses none, but
// for a close that waits for the peer.
unsigned known_sqe_flags(const io_uring_sqe& sqe) noexcept {
  constexpr unsigned known = IOSQE_BUFFER_SELECT | IOSQE_CQE_SKIP_SUCCESS;
  return sqe.opcode == IORING_OP_CLOSE ? known | IOSQE_ASYNC : known;
}
constexpr unsigned known_modifiers = IORING_RECVSEND_POLL_FIRST | IORING_RECV_MULTISHOT;
constexpr unsigned known_zero_copy_modifiers =
    IORING_RECVSEND_POLL_FIRST | unsigned{abi::send_zc_report_usage};
constexpr std::size_t piece_max = 1024;  // UIO_MAXIOV

bool is_reading(const request& asked) noexcept {
  return asked.opcode == IORING_OP_RECV || asked.opcode == IORING_OP_RECVMSG ||
         asked.opcode == IORING_OP_READ || asked.opcode == IORING_OP_ACCEPT;
}

bool is_transfer(const request& asked) noexcept {
  return asked.opcode == IORING_OP_SEND || asked.opcode == IORING_OP_SENDMSG ||
         asked.opcode == IORING_OP_RECV || asked.opcode == IORING_OP_RECVMSG;
}

bool is_multishot_receive(const request& asked) noexcept {
  return is_transfer(asked) && (asked.modifiers & IORING_RECV_MULTISHOT) != 0;
}

/// What io_recvmsg_prep() and io_sendmsg_prep() of the ring refuse, and what is not carried out.
int check_transfer(const io_uring_sqe& sqe) noexcept {
  if ((sqe.ioprio & ~known_modifiers) != 0) return -EINVAL;
  const bool multishot = (sqe.ioprio & IORING_RECV_MULTISHOT) != 0;
  const bool selects = (sqe.flags & IOSQE_BUFFER_SELECT) != 0;
  if (sqe.opcode == IORING_OP_SEND || sqe.opcode == IORING_OP_SENDMSG) {
    return multishot || selects ? -EINVAL : 0;
  }
  if (multishot) return is_valid_multishot(sqe) ? 0 : -EINVAL;
  return selects && sqe.opcode == IORING_OP_RECVMSG ? -EINVAL : 0;
}

int check_message(request& asked) noexcept {
  const auto* const header = reinterpret_cast<const msghdr*>(asked.memory);
  if (header == nullptr) return -EFAULT;
  if (header->msg_iovlen > piece_max) return -EMSGSIZE;
  if (is_multishot_receive(asked)) {
    asked.size = header->msg_namelen;
    asked.offset = header->msg_controllen;
    return 0;
  }
  asked.offset = 0;
  for (std::size_t i = 0; i < header->msg_iovlen; ++i) asked.offset += header->msg_iov[i].iov_len;
  return 0;
}

}  // namespace

void epoll_kernel::submit(const io_uring_sqe& sqe) noexcept {
  request asked;
  asked.user_data = sqe.user_data;
  asked.memory = reinterpret_cast<std::byte*>(sqe.addr);
  asked.offset = sqe.off;
  asked.size = sqe.len;
  asked.flags = sqe.msg_flags;
  asked.descriptor = sqe.fd;
  asked.modifiers = sqe.ioprio;
  asked.group = sqe.buf_group;
  asked.opcode = sqe.opcode;
  asked.sqe_flags = sqe.flags;
  if ((sqe.flags & ~known_sqe_flags(sqe)) != 0) {
    answer(asked, -EINVAL);
    return;
  }
  dispatch(asked, sqe);
}

void epoll_kernel::dispatch(request& asked, const io_uring_sqe& sqe) noexcept {
  int status = 0;
  switch (sqe.opcode) {
    case IORING_OP_SEND_ZC:
      // Carried out with a copy, and both completions are posted at once.
      if ((sqe.flags & IOSQE_CQE_SKIP_SUCCESS) != 0) {
        status = -EINVAL;
        break;
      }
      asked.opcode = IORING_OP_SEND;
      asked.notifies = true;
      if ((sqe.ioprio & ~known_zero_copy_modifiers) != 0 || sqe.addr2 != 0) status = -EINVAL;
      break;
    case IORING_OP_SEND:
      if (sqe.addr2 != 0) asked.group = sqe.addr_len;
      [[fallthrough]];
    case IORING_OP_RECV:
      status = check_transfer(sqe);
      break;
    case IORING_OP_SENDMSG:
    case IORING_OP_RECVMSG:
      status = check_transfer(sqe);
      if (status == 0) status = check_message(asked);
      break;
    case IORING_OP_READ:
    case IORING_OP_WRITE:
      if (sqe.rw_flags != 0 || sqe.ioprio != 0) status = -EINVAL;
      break;
    case IORING_OP_POLL_ADD:
      asked.flags = sqe.poll32_events;
      if ((sqe.len & ~IORING_POLL_ADD_MULTI) != 0) status = -EINVAL;
      break;
    case IORING_OP_ACCEPT:
      if ((sqe.ioprio & ~IORING_ACCEPT_MULTISHOT) != 0 || sqe.file_index != 0) status = -EINVAL;
      break;
    case IORING_OP_CONNECT:
      asked.flags = 0;
      break;
    case IORING_OP_CLOSE:
      close_descriptor(sqe.fd, &asked);
      return;
    case IORING_OP_OPENAT:
      start_job(asked, nullptr);
      return;
    case IORING_OP_OPENAT2: {
      open_how how{};
      if (asked.size != sizeof(how)) {
        status = -EINVAL;
        break;
      }
      std::memcpy(&how, reinterpret_cast<const void*>(asked.offset), sizeof(how));
      asked.flags = static_cast<std::uint32_t>(how.flags);
      asked.size = static_cast<std::uint32_t>(how.mode);
      asked.offset = how.resolve;
      start_job(asked, sqe.fd >= 0 ? find(sqe.fd) : nullptr);
      return;
    }
    case IORING_OP_STATX:
    case IORING_OP_FSYNC:
      start_job(asked, sqe.fd >= 0 ? find(sqe.fd) : nullptr);
      return;
    case IORING_OP_ASYNC_CANCEL:
      cancel(asked);
      return;
    case IORING_OP_NOP:
      answer(asked, 0);
      return;
    case IORING_OP_MSG_RING:  // no descriptor here is a ring
      answer(asked, ::fcntl(sqe.fd, F_GETFD) < 0 ? -EBADF : -EBADFD);
      return;
    default:
      answer(asked, -EINVAL);
      return;
  }
  if (status < 0) {
    answer(asked, status);
  } else {
    start_at_descriptor(asked);
  }
}

void epoll_kernel::start_at_descriptor(request& asked) noexcept {
  watch* const on = find(asked.descriptor);
  if (on == nullptr || on->closing) {
    answer(asked, -EBADF);
    return;
  }
  if (!on->made_here && on->is_idle()) {
    // It came from outside, and may have been closed and opened anew there.
    on->registered = 0;
    on->kind = descriptor_kind::unknown;
    on->readable = on->writable = true;
    on->until_empty = on->no_nowait = false;
  }
  if (on->kind == descriptor_kind::unknown) {
    if (const int status = identify(*on); status < 0) {
      answer(asked, status);
      return;
    }
  }
  const bool reads_or_writes = asked.opcode == IORING_OP_READ || asked.opcode == IORING_OP_WRITE;
  if (!reads_or_writes && asked.opcode != IORING_OP_POLL_ADD && !on->is_socket()) {
    answer(asked, -ENOTSOCK);
    return;
  }
  if (asked.notifies && on->kind != descriptor_kind::tcp) {
    answer(asked, -EOPNOTSUPP);
    return;
  }
  if (reads_or_writes && on->kind == descriptor_kind::file) {
    if (asked.opcode == IORING_OP_READ && read_cached(*on, asked) == progress::finished) {
      answer(asked, asked.result);
    } else {
      start_job(asked, on);
    }
    return;
  }
  if (must_wait_first(*on, asked)) {
    wait_at(*on, asked);
    return;
  }
  switch (attempt(*on, asked)) {
    case progress::finished:
      answer(asked, asked.result, asked.completion_flags);
      delete asked.message;
      break;
    case progress::blocked:
      wait_at(*on, asked);
      break;
    case progress::unfinished:
      wait_at(*on, asked);
      queue(*on);
      break;
  }
}

/// True when there is no use in trying: others wait before it, or nothing has come since a call
/// would have blocked, or a receive is armed for the first time, mostly before any bytes are there:
/// epoll then reports those that are.
bool epoll_kernel::must_wait_first(watch& on, const request& asked) noexcept {
  if (asked.opcode == IORING_OP_POLL_ADD) {
    const bool only_reads = (asked.flags & ~unsigned{POLLRDHUP}) == POLLIN;
    return only_reads && !on.readable;
  }
  if (is_transfer(asked) && (asked.flags & unsigned{MSG_DONTWAIT}) != 0) return false;
  if (!is_reading(asked)) {
    return !on.writers.empty() || (!on.writable && asked.opcode != IORING_OP_CONNECT);
  }
  if (is_multishot_receive(asked)) {
    selected_buffer chosen;
    if (!select_buffer(asked, chosen)) return false;  // refused even if there is nothing to receive
    if (on.registered == 0) return true;
  }
  return !on.readers.empty() || !on.readable;
}

void epoll_kernel::wait_at(watch& on, const request& asked) noexcept {
  unsigned events = is_reading(asked) ? 0U : unsigned{EPOLLOUT};
  if (asked.opcode == IORING_OP_POLL_ADD) events = asked.flags & 0xffffU;
  int status = arm(on, events);
  if (status == -EPERM) {  // a device that cannot be polled: it blocks a thread of the pool
    if (asked.opcode == IORING_OP_READ || asked.opcode == IORING_OP_WRITE) {
      start_job(asked, &on);
      return;
    }
    status = -EINVAL;  // as __io_arm_poll_handler() says where there is nothing to wait for
  }
  request* const kept = status < 0 ? nullptr : keep(asked);
  if (kept == nullptr) {
    // What was moved before is told, as withdraw() does.
    const int failure = status < 0 ? status : -ENOMEM;
    answer(asked, asked.done != 0 ? static_cast<int>(asked.done) : failure);
    delete asked.message;
    return;
  }
  kept->target = &on;
  if (asked.opcode == IORING_OP_POLL_ADD) {
    kept->previous = nullptr;
    kept->next = on.pollers;
    if (on.pollers != nullptr) on.pollers->previous = kept;
    on.pollers = kept;
  } else {
    (is_reading(asked) ? on.readers : on.writers).append(*kept);
  }
}

// ---------------------------------------------------------------- the end of requests

void epoll_kernel::answer(const request& ended, int result, unsigned flags) noexcept {
  if (result >= 0 && (ended.sqe_flags & IOSQE_CQE_SKIP_SUCCESS) != 0) return;
  if (!ended.notifies) [[likely]] {
    post(ended.user_data, result, flags);
    return;
  }
  const bool reports = (ended.modifiers & abi::send_zc_report_usage) != 0;
  post(ended.user_data, result, flags | IORING_CQE_F_MORE);
  post(ended.user_data, reports ? static_cast<int>(abi::notification_copied) : 0,
       IORING_CQE_F_NOTIF);
}

void epoll_kernel::end(request& waiting) noexcept {
  answer(waiting, waiting.result, waiting.completion_flags);
  watch* const on = waiting.target;
  if (waiting.job != nullptr || on == nullptr) {
    // In no list.
  } else if (waiting.opcode == IORING_OP_POLL_ADD) {
    (waiting.previous == nullptr ? on->pollers : waiting.previous->next) = waiting.next;
    if (waiting.next != nullptr) waiting.next->previous = waiting.previous;
  } else {
    (is_reading(waiting) ? on->readers : on->writers).remove(waiting);
  }
  drop(waiting);
}

void epoll_kernel::withdraw(request& waiting, int result) noexcept {
  // What was moved before is told, as io_sendrecv_fail() of the ring does.
  waiting.result = waiting.done != 0 ? static_cast<int>(waiting.done) : result;
  waiting.completion_flags = 0;
  watch* const on = waiting.target;
  end(waiting);
  if (on != nullptr && on->closing) close_if_idle(*on);
}

void epoll_kernel::cancel(const request& asking) noexcept {
  constexpr unsigned known =
      IORING_ASYNC_CANCEL_ALL | IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_ANY;
  if ((asking.flags & ~known) != 0) {
    answer(asking, -EINVAL);
    return;
  }
  const bool any = (asking.flags & IORING_ASYNC_CANCEL_ANY) != 0;
  const bool by_descriptor = (asking.flags & IORING_ASYNC_CANCEL_FD) != 0;
  const bool all = any || (asking.flags & IORING_ASYNC_CANCEL_ALL) != 0;
  const auto key = reinterpret_cast<std::uint64_t>(asking.memory);
  std::vector<request*>& found = found_;
  found.clear();
  bool too_late = false;  // a thread of the pool carries it out: it completes by itself
  const auto look_at = [&](request& each) {
    const bool matches = any || !by_descriptor || each.descriptor == asking.descriptor;
    if (!matches || (!all && !found.empty())) return;
    if (each.job != nullptr && !cancel_job(*each.job)) {
      too_late = true;
    } else {
      found.push_back(&each);
    }
  };
  if (any || by_descriptor) {
    by_user_data_.visit_all(look_at);
  } else {
    by_user_data_.visit(key, look_at);
  }
  // The canceller is answered first, as on the ring.
  const int count = static_cast<int>(found.size());
  if (count == 0) {
    answer(asking, too_late ? -EALREADY : -ENOENT);
  } else {
    answer(asking, all ? count : 0);
  }
  for (request* const each : found) withdraw(*each, -ECANCELED);
}

// ---------------------------------------------------------------- requests that wait

void request_list::append(request& added) noexcept {
  added.next = nullptr;
  added.previous = last;
  (last == nullptr ? first : last->next) = &added;
  last = &added;
}

void request_list::remove(request& gone) noexcept {
  (gone.previous == nullptr ? first : gone.previous->next) = gone.next;
  (gone.next == nullptr ? last : gone.next->previous) = gone.previous;
}

/// nullptr: there is no memory.
request* epoll_kernel::keep(const request& asked) noexcept {
  try {
    if (unused_ == nullptr) unused_ = &requests_.emplace_back();
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
  request& kept = *unused_;
  unused_ = kept.next;
  kept = asked;
  by_user_data_.add(kept);
  return &kept;
}

void epoll_kernel::drop(request& gone) noexcept {
  by_user_data_.remove(gone);
  delete std::exchange(gone.message, nullptr);
  gone.next = unused_;
  unused_ = &gone;
}

}  // namespace rill::detail
