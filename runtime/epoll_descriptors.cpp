// Descriptors: what is known of each, from its making to its close, and when epoll watches it.
// See epoll_kernel.h. Read next: epoll_attempt.cpp.
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <new>

#include <rill/runtime/epoll_kernel.h>

namespace rill::detail {
namespace {

// PRI: urgent data, see watch::until_empty.
constexpr unsigned events_to_read = EPOLLIN | EPOLLRDHUP | EPOLLPRI;
// Far above fs.nr_open as it is; a number beyond it comes from a mistake.
constexpr unsigned descriptor_max = 1U << 26;

}  // namespace

descriptor_kind kind_of_socket(int family, int type, int protocol) noexcept {
  const int kind = type & ~(SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (kind != SOCK_STREAM && kind != SOCK_SEQPACKET) return descriptor_kind::datagram_socket;
  const bool is_tcp = kind == SOCK_STREAM && (family == AF_INET || family == AF_INET6) &&
                      (protocol == 0 || protocol == IPPROTO_TCP);
  return is_tcp ? descriptor_kind::tcp : descriptor_kind::stream_socket;
}

descriptor_kind kind_of_file(unsigned mode) noexcept {
  const bool has_disk = S_ISREG(mode) || S_ISDIR(mode) || S_ISBLK(mode);
  return has_disk ? descriptor_kind::file : descriptor_kind::stream;
}

/// nullptr: no descriptor has such a number, or there is no memory.
watch* epoll_kernel::find(int descriptor) noexcept {
  if (descriptor < 0) return nullptr;
  const auto block = static_cast<unsigned>(descriptor) / watch_block_size;
  if (block >= watches_.size() || watches_[block] == nullptr) [[unlikely]] {
    if (!add_watch_block(block)) return nullptr;
  }
  return &watches_[block][static_cast<unsigned>(descriptor) % watch_block_size];
}

bool epoll_kernel::add_watch_block(unsigned block) noexcept {
  if (block >= descriptor_max / watch_block_size) return false;
  try {
    if (block >= watches_.size()) watches_.resize(block + 1);
    watches_[block] = std::make_unique<watch[]>(watch_block_size);
  } catch (const std::bad_alloc&) {
    return false;
  }
  for (unsigned i = 0; i < watch_block_size; ++i) {
    watches_[block][i].descriptor = static_cast<int>(block * watch_block_size + i);
  }
  return true;
}

/// The number is new: what was known of it is over. The number, or a negative errno: then it is
/// closed.
int epoll_kernel::begin_life(int descriptor, descriptor_kind kind) noexcept {
  watch* const on = find(descriptor);
  if (on == nullptr) {
    ::close(descriptor);
    return -ENOMEM;
  }
  begin_anew(*on, kind);
  return descriptor;
}

void epoll_kernel::begin_anew(watch& on, descriptor_kind kind) noexcept {
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

/// Before the descriptor is closed or given away.
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
    on.kind = kind_of_file(status.st_mode);
  }
  return 0;
}

/// Lets epoll watch for `events` too, and for what is to be read in any case. If they are there
/// already, epoll reports them at once.
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
  } else if (asking != nullptr &&
             (on->kind == descriptor_kind::file || (asking->sqe_flags & IOSQE_ASYNC) != 0)) {
    forget(*on);
    on->closing = true;
    // What a file still has to write may take its time, and so may the peer of a socket.
    start_job(*asking, on);
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

// ---------------------------------------------------------------- control calls that open or close

int epoll_kernel::socket(int family, int type, int protocol) noexcept {
  const int made = system_kernel::socket(family, type, protocol);
  return made < 0 ? made : begin_life(made, kind_of_socket(family, type, protocol));
}

int epoll_kernel::socket_pair(int family, int type, int (&descriptors)[2]) noexcept {
  const int status = system_kernel::socket_pair(family, type, descriptors);
  return status < 0 ? status : begin_lives(descriptors, kind_of_socket(family, type, 0));
}

int epoll_kernel::pipe(int (&descriptors)[2]) noexcept {
  const int status = system_kernel::pipe(descriptors);
  return status < 0 ? status : begin_lives(descriptors, descriptor_kind::stream);
}

/// 0, or a negative errno: then both are closed.
int epoll_kernel::begin_lives(int (&descriptors)[2], descriptor_kind kind) noexcept {
  const int first = begin_life(descriptors[0], kind);
  const int second = begin_life(descriptors[1], kind);
  if (first >= 0 && second >= 0) return 0;
  if (first >= 0) close(first);
  if (second >= 0) close(second);
  return -ENOMEM;
}

/// What was known of the number belongs to a descriptor that somebody else has closed since.
bool epoll_kernel::adopt(int descriptor) noexcept {
  watch* const on = find(descriptor);
  if (on != nullptr) begin_anew(*on, descriptor_kind::unknown);
  // Another loop may be about to accept from the same listener, and counts on O_NONBLOCK.
  int is_listening = 0;
  socklen_t size = sizeof(is_listening);
  ::getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &size);
  return is_listening == 0 && system_kernel::adopt(descriptor);
}

void epoll_kernel::release(int descriptor, bool nonblocking) noexcept {
  watch* const on = find(descriptor);
  if (on != nullptr) forget(*on);
  system_kernel::release(descriptor, nonblocking);
}

void epoll_kernel::close(int descriptor) noexcept { close_descriptor(descriptor, nullptr); }

int epoll_kernel::signals(std::span<const int> numbers) noexcept {
  // Non-blocking: of two descriptors for one signal both are reported, and one has it.
  const int made = open_signals(numbers, SFD_NONBLOCK);
  return made < 0 ? made : begin_life(made, descriptor_kind::stream);
}

}  // namespace rill::detail
