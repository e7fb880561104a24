// From SQE to request: one switch over the opcodes, with what each needs from the SQE copied while
// it is valid. What is not here is refused with EINVAL and a line on stderr. See kernel.h.
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string>

#include <rill/runtime/sim/disk_file.h>
#include <rill/runtime/sim/kernel.h>
#include <rill/runtime/sim/node.h>
#include <rill/runtime/sim/socket.h>
#include <rill/runtime/sim/unix_socket.h>

namespace rill::sim::detail {
namespace {

// Links, drains, fixed files and forced workers change the order of requests; rill uses none.
constexpr unsigned sqe_flags = IOSQE_BUFFER_SELECT | IOSQE_CQE_SKIP_SUCCESS;
constexpr unsigned iovec_max = 1024;  // UIO_MAXIOV
// Bits of sqe->ioprio that we know for receive and send.
constexpr unsigned transfer_modifiers = IORING_RECV_MULTISHOT;
// The same for sends without a copy.
constexpr unsigned lending_modifiers = rill::abi::send_zc_report_usage;

/// What io_recv_prep(), io_recvmsg_prep() and io_sendmsg_prep() refuse, and what we do not model.
int check_transfer(const io_uring_sqe& sqe) noexcept {
  const bool sends = sqe.opcode == IORING_OP_SEND || sqe.opcode == IORING_OP_SENDMSG;
  const bool receives = sqe.opcode == IORING_OP_RECV || sqe.opcode == IORING_OP_RECVMSG;
  if (!sends && !receives) return 0;
  if ((sqe.ioprio & ~transfer_modifiers) != 0) {
    return refuse("ioprio " + std::to_string(sqe.ioprio));
  }
  const bool multishot = (sqe.ioprio & IORING_RECV_MULTISHOT) != 0;
  const bool selects = (sqe.flags & IOSQE_BUFFER_SELECT) != 0;
  if (sends) return multishot || selects ? refuse("sending from provided buffers") : 0;
  if (!multishot) return 0;
  return rill::detail::is_valid_multishot(sqe) ? 0 : -EINVAL;
}

bool is_open(unsigned opcode) noexcept {
  return opcode == IORING_OP_OPENAT || opcode == IORING_OP_OPENAT2;
}

/// What openat2(2) is told, into the places of openat(2): `offset` is `resolve` then.
int copy_how(request& started, const io_uring_sqe& sqe) {
  constexpr std::uint64_t known = RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH;
  open_how how{};
  if (sqe.len != sizeof(how)) return refuse("open_how of another size");
  std::memcpy(&how, reinterpret_cast<const void*>(sqe.off), sizeof(how));
  if ((how.resolve & ~known) != 0) return refuse("resolve flags " + std::to_string(how.resolve));
  if (how.mode != 0 && (how.flags & O_CREAT) == 0) return -EINVAL;
  started.flags = static_cast<std::uint32_t>(how.flags);
  started.size = static_cast<std::uint32_t>(how.mode);
  started.offset = how.resolve;
  return 0;
}

/// The flags of open(2) that file.cpp uses; the path is copied. No disk here has FIFOs or lines, so
/// O_NONBLOCK changes nothing.
int check_open(request& started, const io_uring_sqe& sqe) {
  constexpr int known = O_ACCMODE | O_CREAT | O_EXCL | O_TRUNC | O_APPEND | O_DIRECTORY |
                        O_NOFOLLOW | O_NOCTTY | O_NONBLOCK | O_CLOEXEC | O_TMPFILE;
  const bool is_second = sqe.opcode == IORING_OP_OPENAT2;
  if (const int status = is_second ? copy_how(started, sqe) : 0; status < 0) return status;
  if (sqe.fd != AT_FDCWD && !is_second) return refuse("paths relative to a descriptor");
  if ((static_cast<int>(started.flags) & ~known) != 0) {
    return refuse("open flags " + std::to_string(started.flags));
  }
  if (sqe.file_index != 0) return refuse("opening into fixed files");
  if (started.memory == nullptr) return -EFAULT;
  started.text = static_cast<const char*>(started.memory);
  return 0;
}

}  // namespace

const char* name_of_opcode(unsigned opcode) noexcept {
  switch (opcode) {
    case IORING_OP_NOP:
      return "nop";
    case IORING_OP_POLL_ADD:
      return "poll";
    case IORING_OP_SENDMSG:
      return "sendmsg";
    case IORING_OP_RECVMSG:
      return "recvmsg";
    case IORING_OP_ACCEPT:
      return "accept";
    case IORING_OP_ASYNC_CANCEL:
      return "cancel";
    case IORING_OP_CONNECT:
      return "connect";
    case IORING_OP_CLOSE:
      return "close";
    case IORING_OP_READ:
      return "read";
    case IORING_OP_WRITE:
      return "write";
    case IORING_OP_SEND:
      return "send";
    case IORING_OP_SEND_ZC:
      return "send_zc";
    case IORING_OP_RECV:
      return "recv";
    case IORING_OP_MSG_RING:
      return "msg_ring";
    case IORING_OP_OPENAT:
      return "openat";
    case IORING_OP_OPENAT2:
      return "openat2";
    case IORING_OP_FSYNC:
      return "fsync";
    case IORING_OP_STATX:
      return "statx";
    default:
      return "unknown";
  }
}

bool ends_connection(int error) noexcept {
  return error == ECONNRESET || error == EPIPE || error == ETIMEDOUT || error == EHOSTUNREACH;
}

bool moves_bytes(const io_uring_sqe& sqe) noexcept {
  switch (sqe.opcode) {
    case IORING_OP_RECV:
    case IORING_OP_RECVMSG:
    case IORING_OP_SEND:
    case IORING_OP_SENDMSG:
    case IORING_OP_SEND_ZC:
    case IORING_OP_READ:
    case IORING_OP_WRITE:
      return true;
    default:
      return false;
  }
}

/// As faults know it.
const char* name_of(const io_uring_sqe& sqe) noexcept {
  const bool receives = (sqe.ioprio & IORING_RECV_MULTISHOT) != 0;
  if (sqe.opcode == IORING_OP_RECV && receives) return "recv_multishot";
  if (sqe.opcode == IORING_OP_RECVMSG && receives) return "recvmsg_multishot";
  if (sqe.opcode == IORING_OP_ACCEPT && (sqe.ioprio & IORING_ACCEPT_MULTISHOT) != 0) {
    return "accept_multishot";
  }
  return name_of_opcode(sqe.opcode);
}

/// The one place that every operation passes on its way down.
void sim_kernel::submit(const io_uring_sqe& sqe) noexcept {
  request& started = make_request(sqe);
  started.name = name_of(sqe);
  started.modifiers = sqe.ioprio;
  started.group = sqe.buf_group;
  started.descriptor = sqe.fd;
  started.offset = sqe.off;
  started.memory = reinterpret_cast<void*>(sqe.addr);
  started.size = sqe.len;
  started.flags = sqe.msg_flags;
  trace(trace_record::kind::submit, name_of_opcode(sqe.opcode), sqe.fd);
  if ((sqe.flags & ~sqe_flags) != 0) {
    finish(started, refuse("sqe flags " + std::to_string(sqe.flags)));
    return;
  }
  if (const int error = engine_->interact(node_->id, started.name); error != 0) {
    if (sqe.opcode == IORING_OP_CLOSE) node_->close(sqe.fd);
    // Without memory there is no notification either (io_send_zc_prep()).
    started.lends = sqe.opcode == IORING_OP_SEND_ZC && error != ENOMEM;
    const std::shared_ptr<file> target = ends_connection(error) && moves_bytes(sqe)
                                             ? node_->find_file(sqe.fd)
                                             : std::shared_ptr<file>();
    finish(started, -error);
    if (target != nullptr) target->lose_connection();
    return;
  }
  if (!engine_->faults.empty() && moves_bytes(sqe)) {
    constexpr std::size_t whole = 65536;  // about what one operation moves
    const std::size_t most =
        sqe.len > 1 && sqe.opcode != IORING_OP_RECVMSG && sqe.opcode != IORING_OP_SENDMSG ? sqe.len
                                                                                          : whole;
    const std::size_t limit = engine_->faults.shortened(node_->id, started.name, most);
    if (limit != most) started.size_limit = limit;
  }
  dispatch(started, sqe);
}

void sim_kernel::dispatch(request& started, const io_uring_sqe& sqe) {
  int status = 0;
  switch (sqe.opcode) {
    case IORING_OP_NOP:
      finish(started, 0);
      return;
    case IORING_OP_ASYNC_CANCEL:
      cancel(started, sqe);
      return;
    case IORING_OP_MSG_RING:
      send_message(started, sqe);
      return;
    case IORING_OP_CLOSE:
      finish(started, node_->close(sqe.fd));
      return;
    case IORING_OP_POLL_ADD:
      if ((sqe.len & ~IORING_POLL_ADD_MULTI) != 0) status = refuse("poll updates");
      started.flags = sqe.poll32_events;
      break;
    case IORING_OP_ACCEPT:
      if ((sqe.ioprio & ~IORING_ACCEPT_MULTISHOT) != 0 || sqe.file_index != 0) {
        status = refuse("accept into fixed files");
      } else if ((sqe.accept_flags & ~unsigned{SOCK_CLOEXEC}) != 0) {
        status = refuse("accept flags " + std::to_string(sqe.accept_flags));
      }
      break;
    case IORING_OP_CONNECT:
      started.flags = 0;
      break;
    case IORING_OP_RECVMSG:
    case IORING_OP_SENDMSG:
      status = copy_header(started);
      break;
    case IORING_OP_SEND_ZC:
      if ((sqe.flags & IOSQE_CQE_SKIP_SUCCESS) != 0) {
        status = -EINVAL;
        break;
      }
      started.lends = true;
      if ((sqe.ioprio & ~lending_modifiers) != 0 || sqe.addr2 != 0) {
        status = refuse("sends without a copy of fixed buffers, or to an address");
      }
      started.pieces.push_back({started.memory, sqe.len});
      break;
    case IORING_OP_SEND:
      if (sqe.addr2 != 0) {
        status = copy_destination(started, reinterpret_cast<void*>(sqe.addr2), sqe.addr_len);
      }
      [[fallthrough]];
    case IORING_OP_RECV:
      started.pieces.push_back({started.memory, sqe.len});
      break;
    case IORING_OP_READ:
    case IORING_OP_WRITE:
      if (sqe.rw_flags != 0 || sqe.ioprio != 0) status = refuse("flags of read and write");
      started.flags = 0;
      started.pieces.push_back({started.memory, sqe.len});
      break;
    case IORING_OP_OPENAT:
    case IORING_OP_OPENAT2:
      status = check_open(started, sqe);
      if (status < 0) break;
      if (sqe.fd != AT_FDCWD) started.target = node_->find_file(sqe.fd);
      if (sqe.fd != AT_FDCWD && started.target == nullptr) status = -EBADF;
      if (status < 0) break;
      start_on_disk(started);
      return;
    case IORING_OP_FSYNC:
      if ((sqe.fsync_flags & ~IORING_FSYNC_DATASYNC) != 0 || sqe.off != 0 || sqe.len != 0) {
        status = refuse("a part of a file to sync");
      }
      break;
    case IORING_OP_STATX:
      if (sqe.statx_flags != AT_EMPTY_PATH || sqe.addr == 0 ||
          *reinterpret_cast<const char*>(sqe.addr) != '\0') {
        status = refuse("the status of a path");
      }
      break;
    default:
      status = refuse("opcode " + std::to_string(sqe.opcode));
      break;
  }
  if (status == 0) status = check_transfer(sqe);
  if (status < 0) {
    finish(started, status);
    return;
  }
  start_on_file(started);
}

void sim_kernel::start_on_file(request& started) {
  started.target = node_->find_file(started.descriptor);
  if (started.target == nullptr) {
    finish(started, -EBADF);
    return;
  }
  const bool for_disk = started.opcode == IORING_OP_FSYNC || started.opcode == IORING_OP_STATX;
  if (for_disk && !started.target->is_on_disk()) {
    finish(started, -EINVAL);
    return;
  }
  if (started.target->is_on_disk() &&
      (for_disk || started.opcode == IORING_OP_READ || started.opcode == IORING_OP_WRITE)) {
    start_on_disk(started);
    return;
  }
  const bool for_any_file = started.opcode == IORING_OP_READ || started.opcode == IORING_OP_WRITE ||
                            started.opcode == IORING_OP_POLL_ADD;
  if (!for_any_file && !started.target->is_socket()) {
    finish(started, -ENOTSOCK);
    return;
  }
  if (started.opcode == IORING_OP_SEND || started.opcode == IORING_OP_SENDMSG) {
    const int family = static_cast<detail::socket&>(*started.target).family();
    // An IPv6 socket takes both; what else does not fit is refused, by the socket or here.
    const bool is_unix = !started.text.empty();
    if (started.has_destination &&
        (is_unix != (family == AF_UNIX) || (started.destination.ip.v6 && family == AF_INET))) {
      finish(started, is_unix && family == AF_UNIX ? -EINVAL : -EAFNOSUPPORT);
      return;
    }
  }
  const std::shared_ptr<file> target = started.target;
  target->submit(started);
}

void sim_kernel::start_on_disk(request& started) {
  std::int64_t time = engine_->draw(disk_random_, engine_->options.disk_time);
  if (!engine_->faults.empty()) {
    time += engine_->faults.delay_of(fault_kind::slow_disk, node_->id, started.name);
  }
  engine_->events.arm(started, engine_->now() + time);
}

void sim_kernel::disk_is_done(request& asked) noexcept {
  const bool takes_room = is_open(asked.opcode) || asked.opcode == IORING_OP_WRITE;
  node_->storage.is_full = takes_room && !engine_->faults.empty() &&
                           engine_->faults.hits(fault_kind::full_disk, node_->id, asked.name);
  const int result = is_open(asked.opcode)
                         ? open_path(asked)
                         : static_cast<disk_file&>(*asked.target).carry_out(asked);
  node_->storage.is_full = false;
  finish(asked, result);
}

int sim_kernel::open_path(const request& asked) {
  if (!node_->has_free_descriptor()) return -EMFILE;
  const int flags = static_cast<int>(asked.flags);
  path_start from;
  if (asked.target != nullptr) {
    if (!asked.target->is_on_disk()) return -ENOTDIR;
    from.folder = static_cast<disk_file&>(*asked.target).shared_content();
  }
  from.is_beneath = asked.opcode == IORING_OP_OPENAT2 && (asked.offset & RESOLVE_BENEATH) != 0;
  std::shared_ptr<inode> opened;
  const int status =
      node_->storage.open(asked.text, flags, asked.size, node_->wall_now(), opened, from);
  if (status < 0) return status;
  return node_->open(std::make_shared<disk_file>(*node_, std::move(opened), flags));
}

int sim_kernel::copy_destination(request& started, const void* name, unsigned size) noexcept {
  sa_family_t family = AF_UNSPEC;
  if (size < sizeof(family)) return -EINVAL;
  std::memcpy(&family, name, sizeof(family));
  if (family == AF_UNIX) {
    started.has_destination = true;
    started.destination = endpoint();
    return decode_unix(name, size, started.text);
  }
  if (family != AF_INET && family != AF_INET6) return -EAFNOSUPPORT;
  started.has_destination = true;
  return decode(name, size, family, started.destination);
}

/// The own address that control messages name for a datagram to leave from.
int sim_kernel::copy_source(request& started, msghdr& header) noexcept {
  for (cmsghdr* each = CMSG_FIRSTHDR(&header); each != nullptr; each = CMSG_NXTHDR(&header, each)) {
    const bool v6 = each->cmsg_level == IPPROTO_IPV6 && each->cmsg_type == IPV6_PKTINFO;
    if (!v6 && (each->cmsg_level != IPPROTO_IP || each->cmsg_type != IP_PKTINFO)) {
      return refuse("control message " + std::to_string(each->cmsg_type) + " of level " +
                    std::to_string(each->cmsg_level));
    }
    started.source = detail::address::any(v6);
    if (v6) {
      std::memcpy(started.source.bytes.data(), CMSG_DATA(each), sizeof(in6_addr));  // ipi6_addr
    } else {
      std::memcpy(started.source.bytes.data(), CMSG_DATA(each) + offsetof(in_pktinfo, ipi_spec_dst),
                  sizeof(in_addr));
    }
    started.has_source = !started.source.is_any();
  }
  return 0;
}

int sim_kernel::copy_header(request& started) noexcept {
  auto* const header = static_cast<msghdr*>(started.memory);
  if (header == nullptr) return -EFAULT;
  started.name_size = header->msg_namelen;
  started.control_size = static_cast<unsigned>(header->msg_controllen);
  const bool sends = started.opcode == IORING_OP_SENDMSG;
  const bool multishot = (started.modifiers & IORING_RECV_MULTISHOT) != 0;
  if (header->msg_iovlen > iovec_max) return -EMSGSIZE;
  if ((started.sqe_flags & IOSQE_BUFFER_SELECT) == 0) {
    started.pieces.assign(header->msg_iov, header->msg_iov + header->msg_iovlen);
  } else {
    if (!multishot) return refuse("recvmsg into one provided buffer");
    started.size = 0;  // the whole buffer
  }
  if (sends) {
    if (const int status = copy_source(started, *header); status < 0) return status;
    if (header->msg_name != nullptr && header->msg_namelen != 0) {
      return copy_destination(started, header->msg_name, header->msg_namelen);
    }
  } else if (!multishot) {
    started.header = header;  // where the results go
  }
  return 0;
}

void sim_kernel::send_message(request& asking, const io_uring_sqe& sqe) noexcept {
  const std::shared_ptr<file> target = node_->find_file(sqe.fd);
  if (target == nullptr) {
    finish(asking, -EBADF);
    return;
  }
  auto* const ring = dynamic_cast<ring_file*>(target.get());
  if (ring == nullptr) {
    finish(asking, -EBADFD);
    return;
  }
  if (sqe.addr != IORING_MSG_DATA || sqe.msg_ring_flags != 0) {
    finish(asking, refuse("descriptors sent between rings"));
    return;
  }
  ring->kernel->post(sqe.off, static_cast<int>(sqe.len), 0);
  finish(asking, 0);
}

void sim_kernel::cancel(request& asking, const io_uring_sqe& sqe) noexcept {
  constexpr unsigned known =
      IORING_ASYNC_CANCEL_ALL | IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_ANY;
  if ((sqe.cancel_flags & ~known) != 0) {
    finish(asking, refuse("cancel flags " + std::to_string(sqe.cancel_flags)));
    return;
  }
  const bool any = (sqe.cancel_flags & IORING_ASYNC_CANCEL_ANY) != 0;
  const bool by_descriptor = (sqe.cancel_flags & IORING_ASYNC_CANCEL_FD) != 0;
  const bool all = any || (sqe.cancel_flags & IORING_ASYNC_CANCEL_ALL) != 0;
  std::vector<request*> found;
  bool is_busy = false;
  const auto look_at = [&](request& each) {
    // What a disk works on ends by itself.
    if (each.is_armed()) is_busy = true;
    if (each.waits_in != nullptr && !each.notifies) found.push_back(&each);
  };
  if (any || by_descriptor) {
    for (request* each = flight_first_; each != nullptr; each = each->flight_next) {
      if (any || each->descriptor == sqe.fd) look_at(*each);
    }
  } else {
    by_user_data_.visit(sqe.addr, look_at);
    std::sort(found.begin(), found.end(),
              [](const request* a, const request* b) { return a->number < b->number; });
  }
  // Of several one is meant: the newest, which Linux finds first.
  if (!all && found.size() > 1) found.erase(found.begin(), found.end() - 1);
  // Linux answers the canceller first: the target's completion is work for the end of enter().
  const int count = static_cast<int>(found.size());
  const int none = is_busy ? -EALREADY : -ENOENT;
  finish(asking, count == 0 ? none : (all ? count : 0));
  for (request* each : found) withdraw(*each);
}

void sim_kernel::withdraw(request& target) noexcept {
  // What was moved before is told, as io_sendrecv_fail() does.
  finish(target, target.done != 0 ? static_cast<int>(target.done) : -ECANCELED);
}

progress ring_file::attempt(request& tried) {
  tried.owner->finish(tried, -EINVAL);
  return progress::finished;
}

}  // namespace rill::sim::detail
