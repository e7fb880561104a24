// The kernel of one loop in a simulated world: takes SQEs from the queue, makes requests of them,
// posts CQEs. It never blocks: waiting is the world's affair (world.cpp).
// Three places are meant for faults and traces: submit() sees every SQE, post() every completion,
// system_call() every control call. Not here: sockets (tcp_socket.h, udp.h).
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <thread>
#include <vector>

#include <rill/runtime/heap_ring.h>
#include <rill/runtime/kernel.h>
#include <rill/runtime/request_table.h>
#include <rill/runtime/sim/engine.h>
#include <rill/runtime/sim/file.h>
#include <rill/runtime/sim/node.h>
#include <rill/runtime/uring_abi.h>

namespace rill::sim::detail {

class offload_event;
class socket;

using rill::detail::selected_buffer;

/// What gives a kernel's loop its turns (world_state.h). It outlives the kernel.
class loop_driver {
 public:
  /// A completion was posted.
  virtual void needs_turn() noexcept = 0;
  /// A kernel on the same host, with a driver of its own.
  virtual std::unique_ptr<rill::kernel> make_sibling() = 0;
  /// The loop of this driver's kernel begins to run.
  virtual void start(loop_thread& started) = 0;
  /// The kernel is being destroyed, and its loop with it.
  virtual void kernel_gone() noexcept = 0;

 protected:
  ~loop_driver() = default;
};

class sim_kernel final : public rill::kernel {
 public:
  /// Without a driver: whoever made it takes its completions out of the queue.
  sim_kernel(engine& of, node& on, std::uint32_t number, loop_driver* driver = nullptr);
  ~sim_kernel() override;

  /// SQEs or CQEs lie in the queues.
  bool has_work() const noexcept;

  /// The host has crashed: from now on nothing that the loop asks for has any effect on the world.
  /// What was in flight ends with ECANCELED, closing succeeds, everything else fails or never ends,
  /// so that the tasks can be cancelled and their destructors run.
  void detach();
  /// The host has crashed after this kernel's program had ended: its ring is gone too.
  void forget_ring() noexcept { ring_descriptor_ = -1; }
  /// A detached loop waits: lets its own clock go on to `time`.
  void skip_to(std::int64_t time) noexcept;
  /// A detached loop waits and has no timer: ends what would never end. False: there is nothing.
  bool end_everything() noexcept;

  // --- the seam ---
  std::string_view name() const noexcept override { return "sim"; }
  io_uring& open(const queue_sizes& sizes) override;
  void start() override {}
  int enter(unsigned to_submit, unsigned min_complete, std::int64_t deadline) noexcept override;
  int register_buffer_ring(void* ring, unsigned entry_count, std::uint16_t group) noexcept override;
  int unregister_buffer_ring(std::uint16_t group) noexcept override;
  int socket(int family, int type, int protocol) noexcept override;
  int socket_pair(int family, int type, int (&descriptors)[2]) noexcept override;
  int bind(int descriptor, const void* address, unsigned size) noexcept override;
  int listen(int descriptor, int backlog) noexcept override;
  int shutdown(int descriptor, int how) noexcept override;
  bool is_readable(int descriptor) noexcept override;
  int set_option(int descriptor, int level, int option, const void* value,
                 unsigned size) noexcept override;
  int get_option(int descriptor, int level, int option, void* value,
                 unsigned& size) noexcept override;
  int local_name(int descriptor, void* address, unsigned& size) noexcept override;
  int peer_name(int descriptor, void* address, unsigned& size) noexcept override;
  int pipe(int (&descriptors)[2]) noexcept override;
  std::int64_t sendfile(int socket, int file, std::int64_t& offset,
                        std::size_t size) noexcept override;
  int remove_dead_socket(const char* path) noexcept override;
  int link_file(int descriptor, const char* path) noexcept override;
  void close(int descriptor) noexcept override;
  int signals(std::span<const int> numbers) noexcept override;
  std::int64_t now() noexcept override { return engine_->now() + detached_time_; }
  std::int64_t wall_now() noexcept override;
  void random(std::span<std::byte> bytes) noexcept override;
  /// Takes its time, so that what several loops do for each other comes in many orders.
  void wake() noexcept override;
  int wake_descriptor() const noexcept override { return -1; }
  int ring_descriptor() const noexcept override { return ring_descriptor_; }
  void offload(offload_job& job) override;
  std::unique_ptr<rill::kernel> make_sibling() override;
  std::thread start_thread(loop_thread& started) override;
  bool has_threads() const noexcept override { return false; }

  // --- for files, which complete requests ---
  /// Posts the last completion of a request and frees it.
  void finish(request& ended, int result, unsigned flags = 0) noexcept;
  /// Posts one of several completions. False when the queue is full: then the request must end,
  /// as a multishot does on Linux.
  bool post_more(request& continued, int result, unsigned flags) noexcept;
  /// The next buffer of the request's group, not yet taken; false: the ring is empty (ENOBUFS).
  bool select_buffer(const request& asked, selected_buffer& chosen) noexcept;
  void take_buffer(const request& asked) noexcept;
  /// The time that the disk took for a request is over.
  void disk_is_done(request& asked) noexcept;

  node& host() const noexcept { return *node_; }
  engine& of() const noexcept { return *engine_; }
  loop_driver* driver() const noexcept { return driver_; }
  std::size_t in_flight_count() const noexcept { return in_flight_count_; }

 private:
  struct completion {
    std::uint64_t user_data;
    std::int32_t result;
    std::uint32_t flags;
    const char* name;  ///< of its operation, as faults know it
  };
  /// One that a fault shows later than it happened.
  struct held_completion {
    std::int64_t time;
    completion posted;
  };
  friend class offload_event;

  template <class Body>
  int system_call(call what, int descriptor, Body body) noexcept;
  int open_two(std::shared_ptr<file> first, std::shared_ptr<file> second,
               int (&descriptors)[2]) noexcept;
  template <class Body>
  int socket_call(call what, int descriptor, Body body) noexcept;

  // submission.cpp
  void submit(const io_uring_sqe& sqe) noexcept;
  void dispatch(request& started, const io_uring_sqe& sqe);
  void start_on_file(request& started);
  void start_on_disk(request& started);
  void submit_detached(const io_uring_sqe& sqe) noexcept;
  int open_path(const request& asked);
  void cancel(request& asking, const io_uring_sqe& sqe) noexcept;
  void withdraw(request& target) noexcept;
  void send_message(request& asking, const io_uring_sqe& sqe) noexcept;
  int copy_source(detail::request& started, msghdr& header) noexcept;
  int copy_header(request& started) noexcept;
  int copy_destination(request& started, const void* name, unsigned size) noexcept;

  void hand_over(request& sent, int result) noexcept;
  void post(std::uint64_t user_data, int result, unsigned flags, const char* name = "") noexcept;
  bool hold(const completion& posted) noexcept;
  void show_held() noexcept;
  void show(const completion& posted) noexcept;
  bool place(const completion& posted) noexcept;
  void flush_overflow() noexcept;
  void woken() noexcept;
  void trace(trace_record::kind what, const char* about, std::int64_t first,
             std::int64_t second = 0, std::int64_t third = 0) {
    engine_->trace(what, about, node_->id, first, second, third, loop_number_);
  }
  request& make_request(const io_uring_sqe& sqe) noexcept;
  void free_request(request& gone) noexcept;
  void trace_completion(const request& of, int result, unsigned flags) noexcept;

  engine* engine_;
  node* node_;
  loop_driver* driver_;
  std::uint32_t loop_number_;  // of the host's, for traces
  random_source random_;
  random_source disk_random_;
  random_source wake_random_;
  int ring_descriptor_ = -1;
  bool detached_ = false;
  std::int64_t detached_time_ = 0;

  rill::detail::heap_ring queues_;
  std::deque<completion> overflow_;
  std::vector<held_completion> held_;  // by order of happening
  owned_timer<sim_kernel> show_;
  owned_timer<sim_kernel> wake_;

  std::vector<std::unique_ptr<request>> requests_;
  std::vector<request*> unused_;
  rill::detail::request_table<request> by_user_data_;
  std::uint64_t next_request_ = 0;
  request* flight_first_ = nullptr;
  request* flight_last_ = nullptr;
  std::size_t in_flight_count_ = 0;
  std::vector<offload_event*> offloaded_;
};

/// What a ring descriptor names, for IORING_OP_MSG_RING.
class ring_file final : public file {
 public:
  explicit ring_file(sim_kernel& of) noexcept : kernel(&of) {}
  unsigned poll_state() noexcept override { return 0; }

  sim_kernel* kernel;

 protected:
  progress attempt(request& tried) override;
};

/// Errors after which a connection is no more (tcp_reset(), tcp_write_err()).
bool ends_connection(int error) noexcept;
const char* name_of_opcode(unsigned opcode) noexcept;
const char* name_of(const io_uring_sqe& sqe) noexcept;
/// Its result is a number of bytes.
bool moves_bytes(const io_uring_sqe& sqe) noexcept;

}  // namespace rill::sim::detail
