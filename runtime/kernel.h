// The seam: everything the runtime asks of an operating system, below the ring.
// Above it, operations are written as SQEs into shared memory and read back as CQEs, once, for all
// kernels. Below it stand `uring` (Linux), `epoll` (where io_uring is blocked), or a simulated
// network (runtime/sim). One virtual call a loop turn, none per operation; nothing may bypass it,
// time and randomness included.
// Not here: any knowledge of tasks. Read next: uring_kernel.cpp, then loop.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>

struct io_uring;

namespace rill {

class loop;

/// The kernel cannot be used here. what() is one sentence that names the cause and the remedy.
class kernel_error : public std::runtime_error {
 public:
  kernel_error(int number, const std::string& sentence)
      : std::runtime_error(sentence), number_(number) {}
  /// The errno behind it: EPERM (blocked), ENOSYS (absent), EINVAL (too old), ENOMEM ...
  int number() const noexcept { return number_; }

 private:
  int number_;
};

/// A call that may block, handed to kernel::offload. Its owner keeps it until finished() was
/// called.
class offload_job {
 public:
  /// The call itself; on a thread of the pool, or inline in the simulator.
  virtual void run() noexcept = 0;
  /// Follows run() on the same thread.
  virtual void finished() noexcept = 0;

 protected:
  ~offload_job() = default;
};

/// What a further loop of the process does, handed to kernel::start_thread. Its owner keeps it
/// until the thread has been joined.
class loop_thread {
 public:
  /// All of it, on a thread of its own.
  virtual void run() noexcept = 0;
  /// The same where there are no threads, in pieces that do not wait: the first call starts the
  /// loop's task, each of the others takes a turn. False: this was the last, and its loop may be
  /// gone.
  virtual bool turn() noexcept = 0;
  virtual loop& owner_loop() noexcept = 0;

 protected:
  ~loop_thread() = default;
};

/// Sizes of the queues, in entries; both powers of two, `completion` not less than `submission`.
/// The kernel takes 32,768 and 65,536 at most, and less where more is asked for.
struct queue_sizes {
  /// Operations started in one turn before some wait in the loop's backlog. 64 bytes each, and
  /// walked through in a circle: a small queue stays in the cache.
  unsigned submission = 256;
  /// Completions that fit before the kernel keeps them in its overflow list. 16 bytes each.
  unsigned completion = 4096;
};

/// Calls return a value >= 0, or a negative errno, unless they say otherwise. All but wake() belong
/// to the thread that runs the loop; open() may be called before that thread exists.
class kernel {
 public:
  static constexpr std::int64_t no_deadline = INT64_MAX;

  kernel() = default;
  kernel(const kernel&) = delete;
  kernel& operator=(const kernel&) = delete;
  virtual ~kernel() = default;

  /// "uring", "epoll", "sim".
  virtual std::string_view name() const noexcept = 0;

  /// Makes the queues: memory of liburing's layout, valid as long as this object. When the
  /// submission queue has an index array, it is filled with the identity here, once. Throws
  /// kernel_error.
  virtual io_uring& open(const queue_sizes& sizes) = 0;
  /// The calling thread becomes the one that enters. Once, before the first enter().
  virtual void start() = 0;

  /// Takes `to_submit` published SQEs, then waits until `min_complete` CQEs lie in the queue or
  /// the clock has reached `deadline` (nanoseconds of now()). May return early. Returns the number
  /// of SQEs taken, or a negative errno: EINTR, ETIME and EAGAIN are ordinary.
  virtual int enter(unsigned to_submit, unsigned min_complete, std::int64_t deadline) noexcept = 0;

  /// Lends a buffer ring (io_uring_buf_ring, page-aligned) to operations that select from `group`.
  virtual int register_buffer_ring(void* ring, unsigned entry_count,
                                   std::uint16_t group) noexcept = 0;
  virtual int unregister_buffer_ring(std::uint16_t group) noexcept = 0;

  /// socket(2) with SOCK_CLOEXEC; blocking as far as the ring is concerned.
  virtual int socket(int family, int type, int protocol) noexcept = 0;
  /// Two connected sockets, as socketpair(2).
  virtual int socket_pair(int family, int type, int (&descriptors)[2]) noexcept = 0;
  virtual int bind(int descriptor, const void* address, unsigned size) noexcept = 0;
  virtual int listen(int descriptor, int backlog) noexcept = 0;
  /// shutdown(2): a call, because the ring would hand it to a worker thread.
  virtual int shutdown(int descriptor, int how) noexcept = 0;
  /// True if a read would not wait: bytes are there, the end or an error. poll(2) without waiting.
  virtual bool is_readable(int descriptor) noexcept = 0;
  virtual int set_option(int descriptor, int level, int option, const void* value,
                         unsigned size) noexcept = 0;
  /// `size` holds the room on entry and the length on return.
  virtual int get_option(int descriptor, int level, int option, void* value,
                         unsigned& size) noexcept = 0;
  virtual int local_name(int descriptor, void* address, unsigned& size) noexcept = 0;
  virtual int peer_name(int descriptor, void* address, unsigned& size) noexcept = 0;
  /// A pipe whose ends close on exec: read end, write end.
  virtual int pipe(int (&descriptors)[2]) noexcept = 0;
  /// sendfile(2) that never waits for the socket: EAGAIN when its buffer is full. Advances
  /// `offset`.
  virtual std::int64_t sendfile(int socket, int file, std::int64_t& offset,
                                std::size_t size) noexcept = 0;
  /// Removes the file of a Unix socket on which nobody listens any more, as a killed server leaves
  /// it. 0, or a negative errno: it is in use, or no socket.
  virtual int remove_dead_socket(const char* path) noexcept;
  /// Gives an open file a name, also one that was opened without any (O_TMPFILE). 0, or a negative
  /// errno: EEXIST if the name is taken, EXDEV on another file system.
  virtual int link_file(int descriptor, const char* path) noexcept;
  /// A descriptor that was opened elsewhere is this kernel's from now on, until it is closed or
  /// released here: operations wait on it as on any other, even if it had O_NONBLOCK, which is what
  /// the result says.
  virtual bool adopt(int) noexcept { return false; }
  /// Somebody else has the descriptor from now on, with O_NONBLOCK if `nonblocking` is set.
  /// REQUIRES: no operation uses it.
  virtual void release(int, bool /*nonblocking*/) noexcept {}
  /// For descriptors that no operation holds. Sockets in use are closed by IORING_OP_CLOSE.
  virtual void close(int descriptor) noexcept = 0;

  /// From now on the signals in `numbers` no longer interrupt: they are read from the returned
  /// descriptor as signalfd_siginfo records of 128 bytes, the number in the first four.
  virtual int signals(std::span<const int> numbers) noexcept = 0;

  /// Nanoseconds on a clock that never steps.
  virtual std::int64_t now() noexcept = 0;
  /// now(), or what it was a few milliseconds ago at most, if that is cheaper to know.
  virtual std::int64_t recent_now() noexcept { return now(); }
  /// Nanoseconds since 1970-01-01 UTC.
  virtual std::int64_t wall_now() noexcept = 0;
  /// Fills with random bytes fit for query ids and keys.
  virtual void random(std::span<std::byte> bytes) noexcept = 0;

  /// Ends the wait of enter() soon, from any thread: a CQE with user_data `wake_tag`, or the wake
  /// descriptor becomes readable.
  virtual void wake() noexcept = 0;
  /// The descriptor that wake() makes readable, or -1 when wake() posts a CQE by itself.
  virtual int wake_descriptor() const noexcept = 0;
  /// What IORING_OP_MSG_RING names to reach this kernel's queue, or -1.
  virtual int ring_descriptor() const noexcept = 0;

  /// True: what a send without a copy has lent may be read after this object is gone, until the
  /// peer has acknowledged it.
  virtual bool reads_after_end() const noexcept { return false; }

  /// Runs a job where it may block: a thread pool, or inline at a seeded time in the simulator.
  virtual void offload(offload_job& job) = 0;

  /// A kernel of the same kind, for a further loop of this process. Nothing is opened yet. Throws
  /// kernel_error.
  virtual std::unique_ptr<kernel> make_sibling() = 0;
  /// Lets a further loop run beside this one: on a thread, which is returned to be joined, or, in
  /// the simulator, as a program of the same host, and then there is nothing to join. `started`
  /// runs on a loop whose kernel is this one's sibling. Throws io_error: EAGAIN.
  virtual std::thread start_thread(loop_thread& started) = 0;
  /// Loops have threads, which can be kept on cores.
  virtual bool has_threads() const noexcept { return true; }
};

/// user_data of a CQE that only ends a wait.
inline constexpr std::uint64_t wake_tag = 1;

/// io_uring, Linux 6.1 or newer. Nothing is opened yet.
std::unique_ptr<kernel> make_uring_kernel();
/// The same operations by non-blocking calls and epoll, for places where io_uring is blocked or too
/// old. Nothing is opened yet.
std::unique_ptr<kernel> make_epoll_kernel();

/// Why io_uring cannot be used here, as one sentence; empty when it can. Opens a ring to see.
std::string uring_obstacle();

/// The kernel named by `name`: "uring", "epoll", or "auto". "auto" is what the environment variable
/// RILL_KERNEL names, if it is set; else the best that works here: uring, or epoll with one line on
/// stderr that says why, once in a process. Throws std::invalid_argument for a name that is none.
std::unique_ptr<kernel> make_kernel(std::string_view name);

}  // namespace rill
