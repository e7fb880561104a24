// Queues, completions, buffer rings and control calls of a simulated kernel. See kernel.h.
#include <rill/runtime/sim/kernel.h>

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstring>
#include <string>
#include <utility>

#include <rill/runtime/error.h>
#include <rill/runtime/sim/disk_file.h>
#include <rill/runtime/sim/node.h>
#include <rill/runtime/sim/signals.h>
#include <rill/runtime/sim/tcp_socket.h>
#include <rill/runtime/sim/udp.h>
#include <rill/runtime/sim/unix_socket.h>

namespace rill::sim::detail {

/// A job that blocks in a background thread, in life.
class offload_event final : public rill::detail::timer_node {
 public:
  offload_event(sim_kernel& from, offload_job& of) noexcept : kernel_(&from), job_(&of) {
    ++kernel_->engine_->offload_count;
  }
  ~offload_event() { --kernel_->engine_->offload_count; }
  void expired() noexcept override {
    std::erase(kernel_->offloaded_, this);
    job_->run();
    job_->finished();  // which leaves a message for the loop, and wakes it
    delete this;
  }

 private:
  sim_kernel* kernel_;
  offload_job* job_;
};

namespace {

/// Of memory that must stay as it is; never 0.
std::uint64_t digest_of(const void* memory, std::size_t size) noexcept {
  constexpr std::uint64_t prime = 0x100000001b3;  // of FNV-1a, here by words
  std::uint64_t sum = 0xcbf29ce484222325;
  const auto* const bytes = static_cast<const std::byte*>(memory);
  for (std::size_t done = 0; done < size; done += sizeof(std::uint64_t)) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes + done, std::min(sizeof(word), size - done));
    sum = (sum ^ word) * prime;
  }
  return sum | 1;
}

}  // namespace

sim_kernel::sim_kernel(engine& of, node& on, std::uint32_t number, loop_driver* driver)
    : engine_(&of),
      node_(&on),
      driver_(driver),
      loop_number_(on.next_loop_number()),
      random_(of.seed, "kernel", number),
      disk_random_(of.seed, "disk time", number),
      wake_random_(of.seed, "wake", number),
      show_(of.events, *this, &sim_kernel::show_held),
      wake_(of.events, *this, &sim_kernel::woken) {}

sim_kernel::~sim_kernel() {
  RILL_ASSERT(offloaded_.empty(), "a loop was destroyed before its blocking calls had ended");
  if (driver_ != nullptr) driver_->kernel_gone();
  driver_ = nullptr;
  while (flight_first_ != nullptr) {
    request& each = *flight_first_;
    if (each.waits_in != nullptr) each.waits_in->remove(each);
    free_request(each);
  }
  for (const std::unique_ptr<request>& each : requests_) engine_->events.remove(*each);
  if (ring_descriptor_ >= 0) node_->close(ring_descriptor_);
}

// ---------------------------------------------------------------- the queues

io_uring& sim_kernel::open(const queue_sizes& sizes) {
  const below_program here;
  if (!std::has_single_bit(sizes.submission) || sizes.submission > rill::detail::ring_entry_max ||
      !std::has_single_bit(sizes.completion) ||
      sizes.completion > 2 * rill::detail::ring_entry_max || sizes.completion < sizes.submission) {
    throw kernel_error(EINVAL,
                       "sim: the queue sizes must be powers of two, completions not fewer "
                       "than submissions");
  }
  ring_descriptor_ = node_->open(std::make_shared<ring_file>(*this));
  if (ring_descriptor_ < 0) throw kernel_error(EMFILE, "sim: the table of descriptors is full");

  return queues_.open(sizes.submission, sizes.completion);
}

bool sim_kernel::has_work() const noexcept {
  return queues_.completion_count() != 0 || !overflow_.empty() || queues_.has_submissions();
}

int sim_kernel::enter(unsigned to_submit, unsigned min_complete, std::int64_t) noexcept {
  const below_program here;
  flush_overflow();
  unsigned published = std::min(to_submit, queues_.published_count());
  if (!detached_ && (published != 0 || min_complete != 0)) {
    // With something submitted its number is the answer, whatever ended the waiting.
    const char* const name = published != 0 ? "enter" : "wait";
    if (const int error = engine_->interact(node_->id, name); error != 0) {
      trace(trace_record::kind::call, name, static_cast<std::int64_t>(published), -error);
      return -error;
    }
    if (published > 1 && !engine_->faults.empty() &&
        engine_->faults.hits(fault_kind::submission_full, node_->id, "enter")) {
      published = (published + 1) / 2;
      trace(trace_record::kind::note, "the kernel takes no more submissions than", published);
    }
  }
  for (unsigned i = 0; i < published; ++i) {
    const io_uring_sqe sqe = queues_.take();
    if (detached_) {
      submit_detached(sqe);
    } else {
      submit(sqe);
    }
  }
  return static_cast<int>(published);
}

bool sim_kernel::place(const completion& posted) noexcept {
  if (!queues_.place(posted.user_data, posted.result, posted.flags)) return false;
  if (queues_.completion_count() > 1 && !detached_ && !engine_->faults.empty()) {
    io_uring_cqe& last = queues_.placed(0);
    io_uring_cqe& before = queues_.placed(1);
    if (before.user_data != last.user_data &&
        engine_->faults.hits(fault_kind::swap_completions, node_->id, posted.name)) {
      std::swap(before.user_data, last.user_data);
      std::swap(before.res, last.res);
      std::swap(before.flags, last.flags);
      trace(trace_record::kind::note, "a completion overtakes, waiting:",
            static_cast<std::int64_t>(queues_.completion_count()));
    }
  }
  return true;
}

void sim_kernel::flush_overflow() noexcept {
  while (!overflow_.empty() && place(overflow_.front())) overflow_.pop_front();
  queues_.tell_overflow(!overflow_.empty());
}

void sim_kernel::post(std::uint64_t user_data, int result, unsigned flags,
                      const char* name) noexcept {
  const completion posted{user_data, result, flags, name};
  if (!engine_->faults.empty() || !held_.empty()) {
    if (hold(posted)) return;
  }
  show(posted);
}

/// True when a fault lets the completion wait: then it is shown later.
bool sim_kernel::hold(const completion& posted) noexcept {
  if (detached_ || posted.user_data <= wake_tag) return false;
  fault_board& faults = engine_->faults;
  std::int64_t delay = faults.delay_of(fault_kind::delay_completion, node_->id, posted.name);
  if ((posted.flags & IORING_CQE_F_NOTIF) != 0) {
    delay += faults.delay_of(fault_kind::delay_notification, node_->id, posted.name);
  }
  std::int64_t time = delay == 0 ? 0 : engine_->now() + delay;
  // Those of one operation keep their order.
  for (const held_completion& each : held_) {
    if (each.posted.user_data == posted.user_data) time = std::max(time, each.time);
  }
  if (time == 0) return false;
  held_.push_back({time, posted});
  if (time < show_.deadline()) show_.arm(time);
  return true;
}

void sim_kernel::show_held() noexcept {
  const std::int64_t now = engine_->now();
  std::vector<held_completion> due;
  std::int64_t next = rill::detail::timer_node::never;
  for (const held_completion& each : held_) {
    if (each.time <= now) due.push_back(each);
    if (each.time > now) next = std::min(next, each.time);
  }
  std::erase_if(held_, [now](const held_completion& each) { return each.time <= now; });
  if (next != rill::detail::timer_node::never) show_.arm(next);
  for (const held_completion& each : due) show(each.posted);
}

void sim_kernel::show(const completion& posted) noexcept {
  const bool crowded = !detached_ && !engine_->faults.empty() &&
                       engine_->faults.hits(fault_kind::completion_full, node_->id, posted.name);
  if (!overflow_.empty() || crowded || !place(posted)) {
    overflow_.push_back(posted);
    queues_.tell_overflow(true);
    trace(trace_record::kind::note, "completion queue overflow",
          static_cast<std::int64_t>(overflow_.size()));
  }
  if (driver_ != nullptr && !detached_) driver_->needs_turn();
}

void sim_kernel::trace_completion(const request& of, int result, unsigned flags) noexcept {
  if (detached_) return;
  trace(trace_record::kind::complete, name_of_opcode(of.opcode), of.descriptor, result, flags);
}

/// The first completion of a send without a copy; the notification follows when the bytes are read
/// no more.
void sim_kernel::hand_over(request& sent, int result) noexcept {
  trace_completion(sent, result, IORING_CQE_F_MORE);
  if (sent.waits_in != nullptr) sent.waits_in->remove(sent);
  sent.lends = false;
  sent.notifies = true;
  sent.copied = true;
  post(sent.user_data, result, IORING_CQE_F_MORE, sent.name);
  // The notification does not keep the file open.
  const std::shared_ptr<file> target = std::move(sent.target);
  if (result > 0 && target != nullptr && target->keep_until_acknowledged(sent)) {
    sent.digest = digest_of(sent.memory, sent.done);
  } else {
    finish(sent, 0);
  }
}

void sim_kernel::finish(request& ended, int result, unsigned flags) noexcept {
  if (ended.lends) {
    hand_over(ended, result);
    return;
  }
  if (ended.notifies) {
    RILL_ASSERT(
        detached_ || ended.digest == 0 || ended.digest == digest_of(ended.memory, ended.done),
        "bytes of a send without a copy were changed before their notification");
    const bool reports = (ended.modifiers & rill::abi::send_zc_report_usage) != 0;
    result = reports && ended.copied ? static_cast<int>(rill::abi::notification_copied) : 0;
    flags = IORING_CQE_F_NOTIF;
  }
  trace_completion(ended, result, flags);
  if (ended.waits_in != nullptr) ended.waits_in->remove(ended);
  const bool skipped = result >= 0 && (ended.sqe_flags & IOSQE_CQE_SKIP_SUCCESS) != 0;
  const std::uint64_t user_data = ended.user_data;
  const char* const name = ended.name;
  free_request(ended);
  if (!skipped) post(user_data, result, flags, name);
}

bool sim_kernel::post_more(request& continued, int result, unsigned flags) noexcept {
  if (!overflow_.empty() || queues_.is_full()) return false;
  if (!engine_->faults.empty() &&
      engine_->faults.hits(fault_kind::end_multishot, node_->id, continued.name)) {
    return false;
  }
  trace_completion(continued, result, flags | IORING_CQE_F_MORE);
  post(continued.user_data, result, flags | IORING_CQE_F_MORE, continued.name);
  return true;
}

// ---------------------------------------------------------------- requests

request& sim_kernel::make_request(const io_uring_sqe& sqe) noexcept {
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
  made.user_data = sqe.user_data;
  made.opcode = sqe.opcode;
  made.sqe_flags = sqe.flags;
  made.number = next_request_++;
  by_user_data_.add(made);
  return made;
}

void sim_kernel::free_request(request& gone) noexcept {
  request* const before = gone.flight_previous;
  request* const after = gone.flight_next;
  (before == nullptr ? flight_first_ : before->flight_next) = after;
  (after == nullptr ? flight_last_ : after->flight_previous) = before;
  --in_flight_count_;
  by_user_data_.remove(gone);
  gone.disarm();
  gone.name = "";
  gone.text.clear();
  gone.size_limit = SIZE_MAX;
  gone.target.reset();
  gone.done = 0;
  gone.started = false;
  gone.lends = gone.notifies = gone.copied = false;
  gone.digest = 0;
  gone.header = nullptr;
  gone.pieces.clear();
  gone.name_size = 0;
  gone.control_size = 0;
  gone.has_destination = false;
  gone.has_source = false;
  unused_.push_back(&gone);
}

// ---------------------------------------------------------------- buffer rings

int sim_kernel::register_buffer_ring(void* ring, unsigned entry_count,
                                     std::uint16_t group) noexcept {
  return system_call(call::register_buffers, group,
                     [&] { return queues_.register_buffers(ring, entry_count, group); });
}

int sim_kernel::unregister_buffer_ring(std::uint16_t group) noexcept {
  return system_call(call::unregister_buffers, group,
                     [&] { return queues_.unregister_buffers(group); });
}

bool sim_kernel::select_buffer(const request& asked, selected_buffer& chosen) noexcept {
  if (!queues_.select_buffer(asked.group, chosen)) return false;
  if (asked.size != 0) chosen.size = std::min<std::size_t>(asked.size, chosen.size);
  return true;
}

void sim_kernel::take_buffer(const request& asked) noexcept { queues_.use_buffer(asked.group); }

// ---------------------------------------------------------------- control calls

/// The one place that every system call passes.
template <class Body>
int sim_kernel::system_call(call what, int descriptor, Body body) noexcept {
  const below_program here;
  if (detached_) return what == call::unregister_buffers ? 0 : -EIO;
  const int error = engine_->interact(node_->id, name_of(what));
  const int result = error == 0 || what == call::close ? body() : -error;
  trace(trace_record::kind::call, name_of(what), descriptor, result);
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
    if (family != AF_INET && family != AF_INET6 && family != AF_UNIX) {
      refuse("address family " + std::to_string(family));
      return -EAFNOSUPPORT;
    }
    const int kind = type & ~(SOCK_CLOEXEC | SOCK_NONBLOCK);
    if ((type & SOCK_NONBLOCK) != 0) return refuse("sockets with SOCK_NONBLOCK");
    if (family == AF_UNIX) {
      if (protocol != 0) return -EPROTONOSUPPORT;
      if (kind == SOCK_STREAM) return node_->open(std::make_shared<unix_stream>(*node_));
      if (kind == SOCK_DGRAM) return node_->open(std::make_shared<unix_datagram>(*node_));
    }
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

int sim_kernel::open_two(std::shared_ptr<file> first, std::shared_ptr<file> second,
                         int (&descriptors)[2]) noexcept {
  const int one = node_->open(std::move(first));
  if (one < 0) return one;
  const int other = node_->open(std::move(second));
  if (other < 0) {
    node_->close(one);
    return other;
  }
  descriptors[0] = one;
  descriptors[1] = other;
  return 0;
}

int sim_kernel::socket_pair(int family, int type, int (&descriptors)[2]) noexcept {
  return system_call(call::socket_pair, type, [&] {
    if (family != AF_UNIX) return -EOPNOTSUPP;
    std::shared_ptr<file> first;
    std::shared_ptr<file> second;
    const int kind = type & ~SOCK_CLOEXEC;
    if (kind == SOCK_STREAM) {
      unix_stream::make_pair(*node_, first, second);
    } else if (kind == SOCK_DGRAM) {
      unix_datagram::make_pair(*node_, first, second);
    } else {
      return refuse("pairs of sockets of type " + std::to_string(type));
    }
    return open_two(std::move(first), std::move(second), descriptors);
  });
}

int sim_kernel::bind(int descriptor, const void* address, unsigned size) noexcept {
  return socket_call(call::bind, descriptor,
                     [&](detail::socket& on) { return on.bind(address, size); });
}

int sim_kernel::listen(int descriptor, int backlog) noexcept {
  return socket_call(call::listen, descriptor,
                     [&](detail::socket& on) { return on.listen(backlog); });
}

int sim_kernel::shutdown(int descriptor, int how) noexcept {
  return socket_call(call::shutdown, descriptor,
                     [&](detail::socket& on) { return on.shutdown(how); });
}

bool sim_kernel::is_readable(int descriptor) noexcept {
  const std::shared_ptr<detail::file> found = node_->find_file(descriptor);
  return found == nullptr || (found->poll_state() & (POLLIN | POLLERR | POLLHUP)) != 0;
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

int sim_kernel::pipe(int (&descriptors)[2]) noexcept {
  return system_call(call::pipe, -1, [&] {
    std::shared_ptr<file> reader;
    std::shared_ptr<file> writer;
    pipe_end::make(reader, writer);
    return open_two(std::move(reader), std::move(writer), descriptors);
  });
}

std::int64_t sim_kernel::sendfile(int socket, int file, std::int64_t& offset,
                                  std::size_t size) noexcept {
  bool is_carried_out = false;
  const auto sent = socket_call(call::sendfile, socket, [&](detail::socket& to) {
    is_carried_out = true;
    const std::shared_ptr<detail::file> from = node_->find_file(file);
    if (from == nullptr) return -EBADF;
    if (!from->is_on_disk()) return -ESPIPE;
    if (offset < 0) return -EINVAL;
    const auto& source = static_cast<const disk_file&>(*from);
    if (const int status = source.may_send(); status < 0) return status;
    const std::vector<std::byte>& bytes = source.content().bytes;
    const auto begin = static_cast<std::uint64_t>(offset);
    if (begin >= bytes.size() || size == 0) return 0;
    std::size_t most = std::min<std::size_t>({size, bytes.size() - begin, INT_MAX});
    if (!engine_->faults.empty()) most = engine_->faults.shortened(node_->id, "sendfile", most);
    const int count = to.write_now(bytes.data() + begin, most);
    if (count > 0) offset += count;
    return count;
  });
  // A fault says so; what the socket says itself is no news to it.
  if (!is_carried_out && ends_connection(-sent)) {
    if (const std::shared_ptr<detail::file> lost = node_->find_file(socket)) {
      lost->lose_connection();
    }
  }
  return sent;
}

int sim_kernel::remove_dead_socket(const char* path) noexcept {
  return system_call(call::remove_dead_socket, -1, [&] {
    std::shared_ptr<inode> found;
    if (const int status = node_->storage.find(path, found); status < 0) return status;
    if (found->what != inode::kind::socket || !found->bound.expired()) return -EADDRINUSE;
    return node_->storage.unlink(path, false);
  });
}

int sim_kernel::link_file(int descriptor, const char* path) noexcept {
  return system_call(call::link_file, descriptor, [&] {
    const std::shared_ptr<detail::file> found = node_->find_file(descriptor);
    if (found == nullptr) return -EBADF;
    if (!found->is_on_disk()) return -EXDEV;
    return node_->storage.link(static_cast<const disk_file&>(*found).shared_content(), path);
  });
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

std::int64_t sim_kernel::wall_now() noexcept { return node_->wall_now(); }

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
  const below_program here;
  auto event = std::make_unique<offload_event>(*this, job);
  const std::int64_t time = engine_->draw(random_, engine_->options.offload_time);
  offloaded_.push_back(event.get());
  engine_->events.arm(*event, engine_->now() + time);
  event.release();  // NOLINT(bugprone-unused-return-value): it deletes itself
}

// ---------------------------------------------------------------- other loops

void sim_kernel::wake() noexcept {
  const below_program here;
  if (detached_) {
    post(wake_tag, 0, 0);
  } else if (!wake_.is_armed()) {
    wake_.arm(engine_->now() + engine_->draw(wake_random_, engine_->options.wake_latency));
  }
}

void sim_kernel::woken() noexcept {
  trace(trace_record::kind::note, "woken by another loop", 0);
  post(wake_tag, 0, 0);
}

std::unique_ptr<rill::kernel> sim_kernel::make_sibling() {
  const int status = system_call(call::ring, -1, [] { return 0; });
  if (status < 0) {
    throw kernel_error(-status,
                       "sim: no ring for another loop: " + std::system_category().message(-status));
  }
  const below_program here;
  return driver_->make_sibling();
}

std::thread sim_kernel::start_thread(loop_thread& started) {
  const int status = system_call(call::thread, -1, [] { return 0; });
  if (status < 0) {
    throw io_error(std::error_code(-status, std::system_category()), "start a thread", {});
  }
  const below_program here;
  static_cast<sim_kernel&>(started.owner_loop().kernel()).driver_->start(started);
  return {};
}

// ---------------------------------------------------------------- a crashed host

void sim_kernel::detach() {
  detached_ = true;
  wake_.disarm();
  ring_descriptor_ = -1;
  for (const held_completion& each : std::exchange(held_, {})) show(each.posted);
  show_.disarm();
  while (flight_first_ != nullptr) finish(*flight_first_, -ECANCELED);
}

void sim_kernel::skip_to(std::int64_t time) noexcept {
  detached_time_ = std::max(detached_time_, time - engine_->now());
}

bool sim_kernel::end_everything() noexcept {
  const bool any = flight_first_ != nullptr || !offloaded_.empty();
  while (flight_first_ != nullptr) {
    finish(*flight_first_, flight_first_->opcode == IORING_OP_READ ? -ECANCELED : -EIO);
  }
  while (!offloaded_.empty()) {
    engine_->events.remove(*offloaded_.front());
    offloaded_.front()->expired();
  }
  return any;
}

void sim_kernel::submit_detached(const io_uring_sqe& sqe) noexcept {
  request& started = make_request(sqe);
  if (sqe.opcode == IORING_OP_CLOSE) {
    finish(started, 0);
  } else if (sqe.opcode == IORING_OP_ASYNC_CANCEL) {
    request* target = flight_first_;
    while (target != nullptr && (target == &started || target->user_data != sqe.addr)) {
      target = target->flight_next;
    }
    finish(started, target == nullptr ? -ENOENT : 0);
    if (target != nullptr) finish(*target, -ECANCELED);
  }
}

}  // namespace rill::sim::detail
