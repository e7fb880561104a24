// Queues, completions, buffer rings and control calls of a simulated kernel. See kernel.h.
#include <rill/runtime/sim/kernel.h>

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <string>
#include <utility>

#include <rill/runtime/error.h>
#include <rill/runtime/sim/node.h>
#include <rill/runtime/sim/signals.h>
#include <rill/runtime/sim/tcp_socket.h>
#include <rill/runtime/sim/udp.h>

namespace rill::sim::detail {
namespace {

// 2026-01-01 00:00:00 UTC, when every world begins.
constexpr std::int64_t epoch = 1'767'225'600'000'000'000;
// IORING_MAX_ENTRIES and its double of Linux.
constexpr unsigned submission_max = 32768;
constexpr unsigned completion_max = 65536;

bool is_power_of_two(unsigned number) noexcept {
  return number != 0 && (number & (number - 1)) == 0;
}

/// A job that blocks in a background thread, in life.
class offload_event final : public rill::detail::timer_node {
 public:
  offload_event(sim_kernel& from, offload_job& of) noexcept : kernel_(&from), job_(&of) {
    ++kernel_->of().offload_count;
  }
  ~offload_event() { --kernel_->of().offload_count; }
  void expired() noexcept override {
    job_->run();
    job_->finished();
    if (kernel_->on_completion) kernel_->on_completion();  // it has left a message for the loop
    delete this;
  }

 private:
  sim_kernel* kernel_;
  offload_job* job_;
};

}  // namespace

sim_kernel::sim_kernel(engine& of, node& on, std::uint32_t number)
    : engine_(&of), node_(&on), random_(of.seed, "kernel", number) {}

sim_kernel::~sim_kernel() {
  on_completion = nullptr;
  while (flight_first_ != nullptr) {
    request& each = *flight_first_;
    if (each.waits_in != nullptr) each.waits_in->remove(each);
    free_request(each);
  }
  if (ring_descriptor_ >= 0) node_->close(ring_descriptor_);
}

// ---------------------------------------------------------------- the queues

io_uring& sim_kernel::open(const queue_sizes& sizes) {
  if (!is_power_of_two(sizes.submission) || sizes.submission > submission_max ||
      !is_power_of_two(sizes.completion) || sizes.completion > completion_max ||
      sizes.completion < sizes.submission) {
    throw kernel_error(EINVAL,
                       "sim: the queue sizes must be powers of two, completions not fewer "
                       "than submissions");
  }
  ring_descriptor_ = node_->open(std::make_shared<ring_file>(*this));
  if (ring_descriptor_ < 0) throw kernel_error(EMFILE, "sim: the table of descriptors is full");

  submissions_.resize(sizes.submission);
  submission_array_.resize(sizes.submission);
  for (unsigned i = 0; i < sizes.submission; ++i) submission_array_[i] = i;
  completions_.resize(sizes.completion);
  submission_entries_ = sizes.submission;
  submission_mask_ = sizes.submission - 1;
  completion_entries_ = sizes.completion;
  completion_mask_ = sizes.completion - 1;

  io_uring_sq& sq = ring_.sq;
  sq.khead = &submission_head_;
  sq.ktail = &submission_tail_;
  sq.kring_mask = &submission_mask_;
  sq.kring_entries = &submission_entries_;
  sq.kflags = &submission_flags_;
  sq.kdropped = &submission_dropped_;
  sq.array = submission_array_.data();
  sq.sqes = submissions_.data();
  sq.ring_mask = submission_mask_;
  sq.ring_entries = submission_entries_;
  io_uring_cq& cq = ring_.cq;
  cq.khead = &completion_head_;
  cq.ktail = &completion_tail_;
  cq.kring_mask = &completion_mask_;
  cq.kring_entries = &completion_entries_;
  cq.kflags = &completion_flags_;
  cq.koverflow = &completion_overflow_;
  cq.cqes = completions_.data();
  cq.ring_mask = completion_mask_;
  cq.ring_entries = completion_entries_;
  ring_.ring_fd = -1;  // nobody may pass it to the real kernel
  ring_.enter_ring_fd = -1;
  return ring_;
}

bool sim_kernel::has_work() const noexcept {
  return completion_tail_ != completion_head_ || !overflow_.empty() ||
         ring_.sq.sqe_tail != submission_head_;
}

int sim_kernel::enter(unsigned to_submit, unsigned, std::int64_t) noexcept {
  flush_overflow();
  const unsigned published = std::min(to_submit, submission_tail_ - submission_head_);
  for (unsigned i = 0; i < published; ++i) {
    const unsigned index = submission_array_[submission_head_ & submission_mask_];
    const io_uring_sqe sqe = submissions_[index & submission_mask_];
    ++submission_head_;
    submit(sqe);
  }
  return static_cast<int>(published);
}

bool sim_kernel::queue_is_full() const noexcept {
  return completion_tail_ - completion_head_ >= completion_entries_;
}

bool sim_kernel::place(const completion& posted) noexcept {
  if (queue_is_full()) return false;
  io_uring_cqe& cqe = completions_[completion_tail_ & completion_mask_];
  cqe.user_data = posted.user_data;
  cqe.res = posted.result;
  cqe.flags = posted.flags;
  ++completion_tail_;
  return true;
}

void sim_kernel::flush_overflow() noexcept {
  while (!overflow_.empty() && place(overflow_.front())) overflow_.pop_front();
  if (overflow_.empty()) submission_flags_ &= ~IORING_SQ_CQ_OVERFLOW;
}

void sim_kernel::post(std::uint64_t user_data, int result, unsigned flags) noexcept {
  const completion posted{user_data, result, flags};
  if (!overflow_.empty() || !place(posted)) {
    overflow_.push_back(posted);
    submission_flags_ |= IORING_SQ_CQ_OVERFLOW;
    engine_->trace(trace_record::kind::note, "completion queue overflow", node_->id,
                   static_cast<std::int64_t>(overflow_.size()));
  }
  if (on_completion) on_completion();
}

void sim_kernel::trace_completion(const request& of, int result, unsigned flags) noexcept {
  engine_->trace(trace_record::kind::complete, name_of_opcode(of.opcode), node_->id, of.descriptor,
                 result, flags);
}

void sim_kernel::finish(request& ended, int result, unsigned flags) noexcept {
  trace_completion(ended, result, flags);
  if (ended.waits_in != nullptr) ended.waits_in->remove(ended);
  const bool skipped = result >= 0 && (ended.sqe_flags & IOSQE_CQE_SKIP_SUCCESS) != 0;
  const std::uint64_t user_data = ended.user_data;
  free_request(ended);
  if (!skipped) post(user_data, result, flags);
}

bool sim_kernel::post_more(request& continued, int result, unsigned flags) noexcept {
  if (!overflow_.empty() || queue_is_full()) return false;
  trace_completion(continued, result, flags | IORING_CQE_F_MORE);
  post(continued.user_data, result, flags | IORING_CQE_F_MORE);
  return true;
}

// ---------------------------------------------------------------- requests

request& sim_kernel::make_request() noexcept {
  if (unused_.empty()) {
    requests_.push_back(std::make_unique<request>());
    unused_.reserve(requests_.size());
    unused_.push_back(requests_.back().get());
  }
  request& made = *unused_.back();
  unused_.pop_back();
  made.owner = this;
  made.flight_next = nullptr;
  made.flight_previous = flight_last_;
  (flight_last_ == nullptr ? flight_first_ : flight_last_->flight_next) = &made;
  flight_last_ = &made;
  ++in_flight_count_;
  return made;
}

void sim_kernel::free_request(request& gone) noexcept {
  request* const before = gone.flight_previous;
  request* const after = gone.flight_next;
  (before == nullptr ? flight_first_ : before->flight_next) = after;
  (after == nullptr ? flight_last_ : after->flight_previous) = before;
  --in_flight_count_;
  gone.target.reset();
  gone.done = 0;
  gone.started = false;
  gone.header = nullptr;
  gone.pieces.clear();
  gone.name_size = 0;
  gone.control_size = 0;
  gone.has_destination = false;
  unused_.push_back(&gone);
}

// ---------------------------------------------------------------- buffer rings

int sim_kernel::register_buffer_ring(void* ring, unsigned entry_count,
                                     std::uint16_t group) noexcept {
  return system_call(call::register_buffers, group, [&] {
    constexpr std::uintptr_t page_mask = 4095;
    constexpr unsigned entry_max = 32768;
    if (ring == nullptr) return -EFAULT;
    if ((reinterpret_cast<std::uintptr_t>(ring) & page_mask) != 0) return -EINVAL;
    if (!is_power_of_two(entry_count) || entry_count > entry_max) return -EINVAL;
    if (groups_.count(group) != 0) return -EEXIST;
    groups_[group] = {static_cast<io_uring_buf_ring*>(ring), entry_count, 0};
    return 0;
  });
}

int sim_kernel::unregister_buffer_ring(std::uint16_t group) noexcept {
  return system_call(call::unregister_buffers, group,
                     [&] { return groups_.erase(group) == 0 ? -EINVAL : 0; });
}

bool sim_kernel::select_buffer(const request& asked, selected_buffer& chosen) noexcept {
  const auto found = groups_.find(asked.group);
  if (found == groups_.end()) return false;
  const buffer_group& group = found->second;
  const std::uint16_t tail =
      std::atomic_ref<__u16>(group.ring->tail).load(std::memory_order_acquire);
  if (tail == group.head) return false;
  // The first entry lies where the ring begins; its last two bytes are the tail.
  const auto* const entries = reinterpret_cast<const io_uring_buf*>(group.ring);
  const io_uring_buf& entry = entries[group.head & (group.entry_count - 1)];
  chosen.memory = reinterpret_cast<std::byte*>(entry.addr);
  chosen.size = asked.size == 0 ? entry.len : std::min<std::size_t>(asked.size, entry.len);
  chosen.flags = IORING_CQE_F_BUFFER | (unsigned{entry.bid} << IORING_CQE_BUFFER_SHIFT);
  return true;
}

void sim_kernel::take_buffer(const request& asked) noexcept { ++groups_[asked.group].head; }

// ---------------------------------------------------------------- control calls

/// The one place that every system call passes.
template <class Body>
int sim_kernel::system_call(call what, int descriptor, Body body) noexcept {
  const int result = body();
  engine_->trace_call(node_->id, what, descriptor, result);
  return result;
}

template <class Body>
int sim_kernel::socket_call(call what, int descriptor, Body body) noexcept {
  return system_call(what, descriptor, [&] {
    const std::shared_ptr<file> found = node_->find_file(descriptor);
    if (found == nullptr) return -EBADF;
    if (!found->is_socket()) return -ENOTSOCK;
    return body(static_cast<detail::socket&>(*found));
  });
}

int sim_kernel::socket(int family, int type, int protocol) noexcept {
  return system_call(call::socket, type, [&] {
    if (family != AF_INET && family != AF_INET6) {
      refuse("address family " + std::to_string(family));
      return -EAFNOSUPPORT;
    }
    const int kind = type & ~(SOCK_CLOEXEC | SOCK_NONBLOCK);
    if ((type & SOCK_NONBLOCK) != 0) return refuse("sockets with SOCK_NONBLOCK");
    if (kind == SOCK_STREAM && (protocol == 0 || protocol == IPPROTO_TCP)) {
      return node_->open(std::make_shared<tcp_socket>(*node_, family));
    }
    if (kind == SOCK_DGRAM && (protocol == 0 || protocol == IPPROTO_UDP)) {
      return node_->open(std::make_shared<udp_socket>(*node_, family));
    }
    refuse("socket type " + std::to_string(type) + ", protocol " + std::to_string(protocol));
    return -EPROTONOSUPPORT;
  });
}

int sim_kernel::socket_pair(int, int, int (&)[2]) noexcept {
  return system_call(call::socket_pair, -1, [] { return refuse("socket pairs"); });
}

int sim_kernel::bind(int descriptor, const void* address, unsigned size) noexcept {
  return socket_call(call::bind, descriptor,
                     [&](detail::socket& on) { return on.bind(address, size); });
}

int sim_kernel::listen(int descriptor, int backlog) noexcept {
  return socket_call(call::listen, descriptor,
                     [&](detail::socket& on) { return on.listen(backlog); });
}

int sim_kernel::set_option(int descriptor, int level, int option, const void* value,
                           unsigned size) noexcept {
  return socket_call(call::set_option, descriptor,
                     [&](detail::socket& on) { return on.set_option(level, option, value, size); });
}

int sim_kernel::get_option(int descriptor, int level, int option, void* value,
                           unsigned& size) noexcept {
  return socket_call(call::get_option, descriptor,
                     [&](detail::socket& on) { return on.get_option(level, option, value, size); });
}

int sim_kernel::local_name(int descriptor, void* address, unsigned& size) noexcept {
  return socket_call(call::local_name, descriptor,
                     [&](detail::socket& on) { return on.local_name(address, size); });
}

int sim_kernel::peer_name(int descriptor, void* address, unsigned& size) noexcept {
  return socket_call(call::peer_name, descriptor,
                     [&](detail::socket& on) { return on.peer_name(address, size); });
}

int sim_kernel::pipe(int (&)[2]) noexcept {
  return system_call(call::pipe, -1, [] { return refuse("pipes"); });
}

std::int64_t sim_kernel::sendfile(int socket, int, std::int64_t&, std::size_t) noexcept {
  return system_call(call::sendfile, socket, [] { return refuse("sendfile"); });
}

void sim_kernel::close(int descriptor) noexcept {
  system_call(call::close, descriptor, [&] { return node_->close(descriptor); });
}

int sim_kernel::signals(std::span<const int> numbers) noexcept {
  return system_call(call::signals, static_cast<int>(numbers.size()), [&] {
    for (const int number : numbers) {
      if (number < 1 || number >= NSIG) return -EINVAL;
    }
    return node_->open(std::make_shared<signal_file>(*this, numbers));
  });
}

std::int64_t sim_kernel::wall_now() noexcept { return epoch + engine_->now(); }

void sim_kernel::random(std::span<std::byte> bytes) noexcept {
  while (!bytes.empty()) {
    std::uint64_t word = random_.next();
    for (int i = 0; i < 8 && !bytes.empty(); ++i, word >>= 8) {
      bytes.front() = static_cast<std::byte>(word & 0xff);
      bytes = bytes.subspan(1);
    }
  }
}

void sim_kernel::offload(offload_job& job) {
  auto event = std::make_unique<offload_event>(*this, job);
  const std::int64_t time = engine_->draw(random_, engine_->options.offload_time);
  engine_->events.arm(*event, engine_->now() + time);
  event.release();  // NOLINT(bugprone-unused-return-value): it deletes itself
}

}  // namespace rill::sim::detail
