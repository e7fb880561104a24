// From SQE to request: what ends at once is answered from the stack, what has to wait is kept in
// the list of its descriptor and by user_data, for cancelling. Descriptors come and go here too.
// See epoll_kernel.h. Read next: epoll_attempt.cpp.
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include <rill/runtime/epoll_kernel.h>

namespace rill::detail {
namespace {

// Links, drains, fixed files and forced workers change the order of requests; rill uses none.
constexpr unsigned known_sqe_flags = IOSQE_BUFFER_SELECT | IOSQE_CQE_SKIP_SUCCESS;
constexpr unsigned known_modifiers = IORING_RECVSEND_POLL_FIRST | IORING_RECV_MULTISHOT;
constexpr std::size_t piece_max = 1024;  // UIO_MAXIOV
// PRI: urgent data, see watch::until_empty.
constexpr unsigned events_to_read = EPOLLIN | EPOLLRDHUP | EPOLLPRI;

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
int check_transfer(const request& asked) noexcept {
  if ((asked.modifiers & ~known_modifiers) != 0) return -EINVAL;
  const bool multishot = is_multishot_receive(asked);
  const bool selects = (asked.sqe_flags & IOSQE_BUFFER_SELECT) != 0;
  if (asked.opcode == IORING_OP_SEND || asked.opcode == IORING_OP_SENDMSG) {
    return multishot || selects ? -EINVAL : 0;
  }
  if (!multishot) return selects && asked.opcode == IORING_OP_RECVMSG ? -EINVAL : 0;
  // A multishot recvmsg carries one msghdr, a multishot recv no length; both need a buffer ring.
  const unsigned length = asked.opcode == IORING_OP_RECVMSG ? 1 : 0;
  const bool is_right =
      selects && asked.size == length && (asked.flags & unsigned{MSG_WAITALL}) == 0;
  return is_right ? 0 : -EINVAL;
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
  if ((sqe.flags & ~known_sqe_flags) != 0) {
    answer(asked, -EINVAL);
    return;
  }
  dispatch(asked, sqe);
}

void epoll_kernel::dispatch(request& asked, const io_uring_sqe& sqe) noexcept {
  int status = 0;
  switch (sqe.opcode) {
    case IORING_OP_SEND:
      if (sqe.addr2 != 0) asked.group = sqe.addr_len;
      [[fallthrough]];
    case IORING_OP_RECV:
      status = check_transfer(asked);
      break;
    case IORING_OP_SENDMSG:
    case IORING_OP_RECVMSG:
      status = check_transfer(asked);
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
    case IORING_OP_SHUTDOWN: {
      const watch* const on = find(sqe.fd);
      const bool is_closed = on == nullptr || on->closing;
      const int how = static_cast<int>(sqe.len);
      answer(asked, is_closed ? -EBADF : negative_errno(::shutdown(sqe.fd, how)));
      return;
    }
    case IORING_OP_CLOSE:
      close_descriptor(sqe.fd, &asked);
      return;
    case IORING_OP_OPENAT:
      start_job(asked, nullptr);
      return;
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
    case IORING_OP_MSG_RING:
      answer(asked, -EBADFD);  // no descriptor here is a ring
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
  unsigned events = is_reading(asked) ? events_to_read : unsigned{EPOLLOUT};
  if (asked.opcode == IORING_OP_POLL_ADD) events = asked.flags & 0xffffU;
  if (const int status = arm(on, events); status < 0) {
    if (status == -EPERM) {  // a device that cannot be polled: it blocks a thread of the pool
      start_job(asked, &on);
    } else {
      answer(asked, status);
      delete asked.message;
    }
    return;
  }
  request& kept = keep(asked);
  kept.target = &on;
  if (asked.opcode == IORING_OP_POLL_ADD) {
    kept.previous = nullptr;
    kept.next = on.pollers;
    if (on.pollers != nullptr) on.pollers->previous = &kept;
    on.pollers = &kept;
  } else {
    (is_reading(asked) ? on.readers : on.writers).append(kept);
  }
}

// ---------------------------------------------------------------- the end of requests

void epoll_kernel::answer(const request& ended, int result, unsigned flags) noexcept {
  if (result >= 0 && (ended.sqe_flags & IOSQE_CQE_SKIP_SUCCESS) != 0) return;
  post(ended.user_data, result, flags);
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
  const auto look_in = [&](std::size_t bucket) {
    for (request* each = buckets_[bucket]; each != nullptr; each = each->next_in_bucket) {
      const bool matches =
          any || (by_descriptor ? each->descriptor == asking.descriptor : each->user_data == key);
      if (!matches || (!all && !found.empty())) continue;
      if (each->job != nullptr && !cancel_job(*each->job)) {
        too_late = true;
      } else {
        found.push_back(each);
      }
    }
  };
  if (any || by_descriptor) {
    for (std::size_t i = 0; i < buckets_.size(); ++i) look_in(i);
  } else {
    look_in(bucket_of(key));
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

std::size_t epoll_kernel::bucket_of(std::uint64_t user_data) const noexcept {
  // Addresses: the low bits are alike, the product's high ones are not.
  return static_cast<std::size_t>((user_data * 0x9e3779b97f4a7c15U) >> 32) & (buckets_.size() - 1);
}

request& epoll_kernel::keep(const request& asked) noexcept {
  if (unused_ == nullptr) unused_ = &requests_.emplace_back();
  request& kept = *unused_;
  unused_ = kept.next;
  kept = asked;
  if (++waiting_count_ > buckets_.size()) grow_buckets();
  request*& bucket = buckets_[bucket_of(kept.user_data)];
  kept.next_in_bucket = bucket;
  bucket = &kept;
  return kept;
}

void epoll_kernel::drop(request& gone) noexcept {
  request** at = &buckets_[bucket_of(gone.user_data)];
  while (*at != &gone) at = &(*at)->next_in_bucket;
  *at = gone.next_in_bucket;
  --waiting_count_;
  delete std::exchange(gone.message, nullptr);
  gone.next = unused_;
  unused_ = &gone;
}

void epoll_kernel::grow_buckets() noexcept {
  std::vector<request*> before(buckets_.size() * 2);
  before.swap(buckets_);
  for (request* each : before) {
    while (each != nullptr) {
      request* const next = each->next_in_bucket;
      request*& bucket = buckets_[bucket_of(each->user_data)];
      each->next_in_bucket = bucket;
      bucket = each;
      each = next;
    }
  }
}

// ---------------------------------------------------------------- descriptors

descriptor_kind kind_of_socket(int family, int type, int protocol) noexcept {
  const int kind = type & ~(SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (kind != SOCK_STREAM && kind != SOCK_SEQPACKET) return descriptor_kind::datagram_socket;
  const bool is_tcp = kind == SOCK_STREAM && (family == AF_INET || family == AF_INET6) &&
                      (protocol == 0 || protocol == IPPROTO_TCP);
  return is_tcp ? descriptor_kind::tcp : descriptor_kind::stream_socket;
}

watch* epoll_kernel::find(int descriptor) noexcept {
  if (descriptor < 0) return nullptr;
  const auto block = static_cast<unsigned>(descriptor) / watch_block_size;
  // No process may have more (the largest fs.nr_open).
  if (block >= watches_.size() || watches_[block] == nullptr) [[unlikely]] {
    if (block >= (1U << 30) / watch_block_size) return nullptr;
    if (block >= watches_.size()) watches_.resize(block + 1);
    watches_[block] = std::make_unique<watch[]>(watch_block_size);
    for (unsigned i = 0; i < watch_block_size; ++i) {
      watches_[block][i].descriptor = static_cast<int>(block * watch_block_size + i);
    }
  }
  return &watches_[block][static_cast<unsigned>(descriptor) % watch_block_size];
}

/// The number is new: what was known of it is over.
void epoll_kernel::begin_life(int descriptor, descriptor_kind kind) noexcept {
  watch& on = *find(descriptor);
  // Somebody has closed it behind our back: these can only end.
  on.closing = false;
  while (!on.readers.empty()) withdraw(*on.readers.first, -ECANCELED);
  while (!on.writers.empty()) withdraw(*on.writers.first, -ECANCELED);
  while (on.pollers != nullptr) withdraw(*on.pollers, -ECANCELED);
  ++on.generation;
  on.registered = 0;
  on.job_count = 0;
  on.kind = kind;
  on.readable = on.writable = true;
  on.until_empty = on.no_nowait = false;
  on.made_here = true;
}

/// Before the descriptor is closed.
void epoll_kernel::forget(watch& on) noexcept {
  // Closing alone does not end it as long as a copy lives on, in a child process for instance.
  if (on.registered != 0) ::epoll_ctl(epoll_, EPOLL_CTL_DEL, on.descriptor, nullptr);
  ++on.generation;
  on.registered = 0;
  on.kind = descriptor_kind::unknown;
  on.readable = on.writable = true;
  on.until_empty = on.no_nowait = on.closing = on.made_here = false;
}

int epoll_kernel::identify(watch& on) noexcept {
  struct stat status{};
  if (::fstat(on.descriptor, &status) != 0) return -errno;
  if (S_ISSOCK(status.st_mode)) {
    const auto get = [&on](int option) {
      int value = 0;
      socklen_t size = sizeof(value);
      ::getsockopt(on.descriptor, SOL_SOCKET, option, &value, &size);
      return value;
    };
    on.kind = kind_of_socket(get(SO_DOMAIN), get(SO_TYPE), get(SO_PROTOCOL));
  } else {
    const bool is_file =
        S_ISREG(status.st_mode) || S_ISDIR(status.st_mode) || S_ISBLK(status.st_mode);
    on.kind = is_file ? descriptor_kind::file : descriptor_kind::stream;
  }
  return 0;
}

/// Lets epoll watch for `events` too. If they are there already, epoll reports them at once.
int epoll_kernel::arm(watch& on, unsigned events) noexcept {
  // A TCP socket says that it is writable only after it was full, so watching for that costs
  // nothing. Others say it whenever a peer has read.
  unsigned wanted = events | on.registered | events_to_read;
  if (on.kind == descriptor_kind::tcp) wanted |= EPOLLOUT;
  if (wanted == on.registered) return 0;
  epoll_event event{};
  event.events = wanted | EPOLLET;
  event.data.u64 = (std::uint64_t{on.generation} << 32) | static_cast<unsigned>(on.descriptor);
  const int operation = on.registered == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
  int status = ::epoll_ctl(epoll_, operation, on.descriptor, &event);
  // Only of descriptors that came from outside it is not known.
  if (status != 0 && errno == EEXIST) {
    status = ::epoll_ctl(epoll_, EPOLL_CTL_MOD, on.descriptor, &event);
  }
  if (status != 0) return -errno;
  on.registered = wanted;
  return 0;
}

int epoll_kernel::close_descriptor(int descriptor, const request* asking) noexcept {
  watch* const on = find(descriptor);
  int status = 0;
  if (on == nullptr || on->closing) {
    status = -EBADF;
  } else if (!on->is_idle()) {
    on->closing = true;  // takes effect when the last operation lets go, as on the ring
  } else if (on->kind == descriptor_kind::file && asking != nullptr) {
    forget(*on);
    on->closing = true;
    start_job(*asking, on);  // what a file still has to write may take its time
    return 0;
  } else {
    forget(*on);
    status = negative_errno(::close(descriptor));
  }
  if (asking != nullptr) answer(*asking, status);
  return status;
}

void epoll_kernel::close_if_idle(watch& on) noexcept {
  if (!on.is_idle()) return;
  forget(on);
  ::close(on.descriptor);
}

}  // namespace rill::detail
