// The ring without io_uring: SQEs are read from the queue and carried out with non-blocking calls;
// what would block waits for epoll; CQEs are posted as the ring posts them.
//
//   epoll_kernel.cpp       the queues, enter(): waiting, and what epoll reports
//   epoll_submit.cpp       from SQE to request; waiting; cancelling
//   epoll_descriptors.cpp  what is known of a descriptor, registering and closing it
//   epoll_attempt.cpp      the operations, each tried until it would block
//   epoll_files.cpp        calls that a disk may hold up, in the thread pool
//
// Not here: control calls (system_kernel.h). Read next: epoll_kernel.cpp.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include <rill/runtime/heap_ring.h>
#include <rill/runtime/request_table.h>
#include <rill/runtime/system_kernel.h>
#include <rill/runtime/uring_abi.h>

struct epoll_event;

namespace rill::detail {

class file_job;
struct watch;

/// The pieces of a message that is sent in several parts, copied when the first part has gone.
struct message_copy {
  msghdr header;
  std::vector<iovec> pieces;
};

/// One operation that an SQE has asked for. Those that end at once live on the stack only.
struct request {
  std::uint64_t user_data = 0;
  request* next = nullptr;  // in the list of its descriptor
  request* previous = nullptr;
  request* next_in_bucket = nullptr;
  watch* target = nullptr;  // the descriptor at which it waits
  file_job* job = nullptr;  // the call in the thread pool that carries it out
  std::byte* memory = nullptr;
  std::uint64_t offset = 0;  // sqe->off, or a second address
  std::size_t done = 0;      // bytes already moved
  message_copy* message = nullptr;
  std::uint32_t size = 0;
  std::uint32_t flags = 0;
  int descriptor = -1;
  int result = 0;  // once it has finished
  unsigned completion_flags = 0;
  std::uint16_t modifiers = 0;  // sqe->ioprio
  std::uint16_t group = 0;
  std::uint8_t opcode = 0;
  std::uint8_t sqe_flags = 0;
  bool started = false;   // a connect that is under way
  bool notifies = false;  // a send without a copy, as far as the ring is concerned
};

/// Requests in order of submission.
struct request_list {
  request* first = nullptr;
  request* last = nullptr;

  bool empty() const noexcept { return first == nullptr; }
  void append(request& added) noexcept;
  void remove(request& gone) noexcept;
};

enum class descriptor_kind : std::uint8_t {
  unknown,
  tcp,
  stream_socket,
  datagram_socket,
  stream,  ///< pipe, terminal, eventfd, signalfd: read(2) and write(2), but no disk
  file,    ///< a disk may be behind it: the thread pool reads and writes it
};

/// What is known of one descriptor. It is registered with epoll once, edge-triggered, when an
/// operation first has to wait, and stays so until it is closed.
struct alignas(64) watch {
  request_list readers;
  request_list writers;
  request* pollers = nullptr;  // list of one or two, newest first
  watch* next_queued = nullptr;
  std::uint32_t generation = 0;  // in the event's data: tells apart the lives of one number
  std::uint32_t registered = 0;  // events that epoll watches for; 0: not registered
  int descriptor = -1;
  std::uint16_t job_count = 0;  // calls in the thread pool that use it
  descriptor_kind kind = descriptor_kind::unknown;
  // False only after a call would have blocked, with epoll watching: then there is no need to try
  // before epoll reports something.
  bool readable : 1 = true;
  bool writable : 1 = true;
  bool until_empty : 1 = false;  // a short read does not mean that all was read
  bool made_here : 1 = false;    // or adopted: this kernel knows when the number begins anew
  bool queued : 1 = false;       // in the list of those that go on with the next enter()
  bool closing : 1 = false;      // closed, as far as new operations are concerned
  bool no_nowait : 1 = false;    // RWF_NOWAIT does not work on it
  bool stalled : 1 = false;      // in stalled_

  bool is_idle() const noexcept {
    return readers.empty() && writers.empty() && pollers == nullptr && job_count == 0;
  }
  bool is_socket() const noexcept {
    return kind == descriptor_kind::tcp || kind == descriptor_kind::stream_socket ||
           kind == descriptor_kind::datagram_socket;
  }
};

enum class progress {
  finished,    ///< request::result is the last completion's
  blocked,     ///< waits for epoll
  unfinished,  ///< has used up its share of this turn
};

/// What epoll's event carries for job_descriptor_; no descriptor has this number.
inline constexpr std::uint64_t job_tag = UINT64_MAX;

descriptor_kind kind_of_socket(int family, int type, int protocol) noexcept;
/// Of what is no socket: by stat::st_mode.
descriptor_kind kind_of_file(unsigned mode) noexcept;

class epoll_kernel final : public system_kernel {
 public:
  epoll_kernel() = default;
  ~epoll_kernel() override;

  std::string_view name() const noexcept override { return "epoll"; }
  io_uring& open(const queue_sizes& sizes) override;
  void start() override {}
  int enter(unsigned to_submit, unsigned min_complete, std::int64_t deadline) noexcept override;
  int register_buffer_ring(void* ring, unsigned entry_count, std::uint16_t group) noexcept override;
  int unregister_buffer_ring(std::uint16_t group) noexcept override;

  int socket(int family, int type, int protocol) noexcept override;
  int socket_pair(int family, int type, int (&descriptors)[2]) noexcept override;
  int pipe(int (&descriptors)[2]) noexcept override;
  bool adopt(int descriptor) noexcept override;
  void release(int descriptor, bool nonblocking) noexcept override;
  void close(int descriptor) noexcept override;
  int signals(std::span<const int> numbers) noexcept override;
  /// There is no ring that a message could name.
  int ring_descriptor() const noexcept override { return -1; }

  /// From a thread of the pool: the call has returned.
  void job_finished(file_job& job) noexcept;

 private:
  friend class file_job;

  struct completion {
    std::uint64_t user_data;
    std::int32_t result;
    std::uint32_t flags;
  };
  // A receive of a flood, or an accept of a storm, goes on for this many completions at most before
  // the others have their turn. The ring stops after 32 (MULTISHOT_MAX_RETRY).
  static constexpr int share_max = 16;
  static constexpr unsigned watch_block_size = 256;

  // epoll_kernel.cpp
  unsigned take_submissions(unsigned count) noexcept;
  int wait(unsigned min_complete, std::int64_t deadline) noexcept;
  int wait_for_events(epoll_event* events, int count, std::int64_t deadline) noexcept;
  void handle(std::uint64_t tag, unsigned events) noexcept;
  void serve(watch& on) noexcept;
  bool serve_list(watch& on, request_list& waiting, bool readers) noexcept;
  void tell_pollers(watch& on, unsigned events) noexcept;
  void serve_queued(watch* first) noexcept;
  void queue(watch& on) noexcept;
  void stall(watch& on) noexcept;
  void retry_stalled() noexcept;
  void post(std::uint64_t user_data, int result, unsigned flags) noexcept;
  void flush_overflow() noexcept;
  bool select_buffer(const request& asked, selected_buffer& chosen) const noexcept {
    return queues_.select_buffer(asked.group, chosen);
  }

  // epoll_submit.cpp
  void submit(const io_uring_sqe& sqe) noexcept;
  void dispatch(request& asked, const io_uring_sqe& sqe) noexcept;
  void start_at_descriptor(request& asked) noexcept;
  bool must_wait_first(watch& on, const request& asked) noexcept;
  void wait_at(watch& on, const request& asked) noexcept;
  void answer(const request& ended, int result, unsigned flags = 0) noexcept;
  void end(request& waiting) noexcept;
  void withdraw(request& waiting, int result) noexcept;
  void cancel(const request& asking) noexcept;
  request* keep(const request& asked) noexcept;
  void drop(request& gone) noexcept;

  // epoll_descriptors.cpp
  watch* find(int descriptor) noexcept;
  bool add_watch_block(unsigned block) noexcept;
  int begin_life(int descriptor, descriptor_kind kind) noexcept;
  void begin_anew(watch& on, descriptor_kind kind) noexcept;
  int begin_lives(int (&descriptors)[2], descriptor_kind kind) noexcept;
  void forget(watch& on) noexcept;
  int identify(watch& on) noexcept;
  int arm(watch& on, unsigned events) noexcept;
  int close_descriptor(int descriptor, const request* asking) noexcept;
  void close_if_idle(watch& on) noexcept;

  // epoll_attempt.cpp
  progress attempt(watch& on, request& tried) noexcept;
  progress receive(watch& on, request& tried) noexcept;
  progress receive_many(watch& on, request& tried) noexcept;
  progress receive_message(watch& on, request& tried) noexcept;
  progress receive_messages(watch& on, request& tried) noexcept;
  progress send(watch& on, request& tried) noexcept;
  progress accept(watch& on, request& tried) noexcept;
  progress connect(watch& on, request& tried) noexcept;
  progress poll(watch& on, request& tried) noexcept;
  progress read_stream(watch& on, request& tried) noexcept;
  progress write_stream(watch& on, request& tried) noexcept;
  progress poll_completed(request& tried, unsigned events) noexcept;
  progress would_block(watch& on, request& tried, bool reading) noexcept;
  bool post_more(request& continued, int result, unsigned flags) noexcept;

  // epoll_files.cpp
  int open_job_descriptor() noexcept;
  void start_job(const request& asked, watch* on) noexcept;
  file_job* make_job(request& kept, watch* on) noexcept;
  progress read_cached(watch& on, request& tried) noexcept;
  bool cancel_job(file_job& job) noexcept;
  void take_finished_jobs() noexcept;
  void wait_for_jobs() noexcept;

  heap_ring queues_;
  std::deque<completion> overflow_;

  int epoll_ = -1;
  bool has_precise_wait_ = true;  // epoll_pwait2(2), Linux 5.11
  bool looked_ = true;            // at epoll, in the last enter()
  std::vector<std::unique_ptr<watch[]>> watches_;
  watch* queued_first_ = nullptr;
  watch* queued_last_ = nullptr;
  std::vector<watch*> stalled_;     // what goes to a Unix socket whose queue is full: see stall()
  std::int64_t stalled_until_ = 0;  // when these are tried again

  std::deque<request> requests_;  // addresses stay valid
  request* unused_ = nullptr;
  request_table<request> by_user_data_;  // those that wait
  std::vector<request*> found_;          // of cancel(), kept for its memory

  int job_descriptor_ = -1;  // readable when a job has finished; -1 before the first job
  std::mutex job_mutex_;
  std::condition_variable job_ended_;
  std::vector<file_job*> finished_jobs_;  // under the mutex
  std::size_t running_job_count_ = 0;     // under the mutex: not yet in finished_jobs_
};

}  // namespace rill::detail
