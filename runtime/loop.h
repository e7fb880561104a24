// The loop: one thread's scheduler. It owns the kernel's queues, the ready list and the timers.
// A turn: 1. publish the SQEs that tasks have filled and enter the kernel, waiting only if nothing
// is ready; 2. store every CQE in its operation; 3. take messages of other threads, expire timers;
// 4. resume what is ready, in order, each chain within its budget.
// Users meet it as rill::run (run.h) and loop_group.h; `loop::current()` is for the rest.
// Read next: loop.cpp.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

#include <rill/runtime/buffer_pool.h>
#include <rill/runtime/chain.h>
#include <rill/runtime/event.h>
#include <rill/runtime/kernel.h>
#include <rill/runtime/task.h>
#include <rill/runtime/timer.h>

struct io_uring_sqe;

namespace rill {

namespace detail {
class operation;

/// What another thread leaves for a loop. Freed by deliver(), or by drop().
struct message {
  message* next = nullptr;
  virtual void deliver() noexcept = 0;
  /// The loop ended before it took the message.
  virtual void drop() noexcept {}

 protected:
  ~message() = default;
};

template <class Function>
struct function_message final : message {
  explicit function_message(Function&& function) : call(std::move(function)) {}
  void deliver() noexcept override {
    call();
    delete this;
  }
  void drop() noexcept override { delete this; }
  Function call;
};

/// Takes the outcome of a task out of its frame.
template <class T>
void keep_outcome(promise_base& root, void* kept) noexcept {
  auto& to = *static_cast<result_storage<T>*>(kept);
  try {
    if constexpr (std::is_void_v<T>) {
      static_cast<task_promise<T>&>(root).take();
    } else {
      to.return_value(static_cast<task_promise<T>&>(root).take());
    }
  } catch (...) {
    to.unhandled_exception();
  }
}

/// The parent of a loop's outermost chain. When that completes, its outcome goes to `kept` and its
/// frame is destroyed at once: what the task owns by value ends with the task.
class root_scope final : public scope {
 public:
  void child_done(chain& child, bool completed) noexcept override;
  void cancel(chain&) noexcept override {}
  void describe(std::string& text) const override { text += "nothing"; }

  bool ended = false;
  bool completed = false;
  void (*keep)(promise_base& root, void* kept) noexcept = nullptr;
  void* kept = nullptr;
};

/// Something that exists outside tasks and that its loop waits for: a file, a call in the pool.
class loop_object {
 public:
  loop_object(const loop_object&) = delete;
  loop_object& operator=(const loop_object&) = delete;
  /// Appends what it is: "file /etc/hosts (descriptor 9)".
  virtual void describe(std::string& text) const = 0;
  /// The loop is to end at once. True: it need not wait for this object, which no longer uses it.
  virtual bool let_go() noexcept { return false; }

 protected:
  loop_object() = default;
  ~loop_object() = default;

 private:
  friend class rill::loop;
  loop_object* previous_object_ = nullptr;
  loop_object* next_object_ = nullptr;
};

/// Memory that the kernel may go on reading though nobody waits for it: of a send without a copy,
/// whose bytes the peer has not acknowledged. No task and no run() waits for these.
class lent_memory {
 public:
  lent_memory(const lent_memory&) = delete;
  lent_memory& operator=(const lent_memory&) = delete;
  /// The loop is destroyed, and stores no completion any more. `is_read`: the kernel may read the
  /// memory for as long as the process lives, so that it must stay as it is. Frees the rest of
  /// this object.
  virtual void loop_ended(bool is_read) noexcept = 0;

 protected:
  lent_memory() = default;
  ~lent_memory() = default;

 private:
  friend class rill::loop;
  lent_memory* previous_lent_ = nullptr;
  lent_memory* next_lent_ = nullptr;
};
}  // namespace detail

/// The sizes of a loop's queues and buffers.
struct loop_options {
  queue_sizes queues{};
  buffer_pool_options buffers{};
};

/// Counters since the loop was made. Reading them costs nothing. Thread rule: the loop's thread, or
/// any when the loop does not run.
struct loop_statistics {
  std::uint64_t turn_count;        ///< calls of kernel::enter
  std::uint64_t completion_count;  ///< CQEs stored
  std::uint64_t submission_count;  ///< SQEs filled
  std::uint64_t backlog_count;     ///< operations that found the submission queue full
  std::uint64_t resume_count;      ///< resumptions of chains
  std::uint64_t chain_count;       ///< chains alive now
  std::uint64_t timer_count;       ///< timers queued now
  std::uint64_t message_count;     ///< messages taken from other threads
};

/// Runs tasks on one thread over one kernel. Thread rule: that thread, but for what says otherwise.
class loop : public detail::scheduler {
 public:
  /// Opens the kernel's queues. Throws kernel_error.
  explicit loop(std::unique_ptr<rill::kernel> kernel, const loop_options& options = {});
  /// REQUIRES that the outermost task has ended and that no socket, file or the like of this loop
  /// is left; if not, the task tree is printed and the program aborts, for that is a leak.
  ~loop();
  /// Destroys a loop. One with objects left is kept for ever instead, since they may still use it,
  /// and its task tree is written to stderr.
  static void destroy_or_keep(std::unique_ptr<loop> ended) noexcept;

  /// The loop that runs on this thread. REQUIRES: the caller is a task, or called by one.
  static loop& current() noexcept;
  /// The same, or nullptr on a thread that runs none.
  static loop* current_or_null() noexcept;

  /// Runs `main` on the calling thread until it and everything below it has ended, and every
  /// socket, file and the like of this loop is gone. Returns its result or rethrows. If it was
  /// cancelled, a task<void> returns and others throw std::system_error with
  /// std::errc::operation_canceled.
  ///
  /// An object that outlives the task (a global, a part of the result) keeps the loop waiting:
  /// after a second a line on stderr names it, and stop() ends the loop all the same.
  template <class T>
  T run(task<T> main);

  /// The parts of run(), for kernels that are driven from outside (the simulator): start() queues
  /// the outermost task, turn() takes one turn and says whether work is left.
  void start(task<void> main);
  bool turn();
  bool main_ended() const noexcept { return root_.ended; }
  /// After main_ended(): rethrows what a task given to start() threw.
  void finish();
  /// Something is ready now, without any event from below.
  bool is_runnable() const noexcept { return has_ready() || message_waiting(); }
  /// The same but for messages, whose sender wakes a loop that sleeps.
  bool has_ready() const noexcept { return ready_count != 0 || buffers_.has_line(); }
  /// Sleeps until its next turn(): whoever posts meanwhile wakes the kernel, as during a wait of
  /// enter(). REQUIRES: nothing is runnable.
  void doze() noexcept { sleeping_.store(true); }
  std::int64_t next_deadline() noexcept { return timers_.next_deadline(); }
  /// The deadline of what may last `amount` nanoseconds from here on. `now` alone would charge it
  /// with what this turn has done before it, which may be a long computation; a few milliseconds
  /// are charged all the same, for the clock that shows them costs eight times as much.
  std::int64_t deadline_in(std::int64_t amount) noexcept {
    return detail::deadline_after(std::max(now, kernel_->recent_now()), amount);
  }

  /// Cancels the outermost task. On the loop's own thread; elsewhere: stop().
  void cancel() noexcept;

  /// Ends the loop's work in good order, as the first SIGTERM does: cancels the outermost task,
  /// and whatever drains on cancellation, such as serve(), drains. From any thread; meant for the
  /// run() that is under way, and without effect when there is none. If only objects are left that
  /// outlived the task, the loop ends without them.
  void stop();
  /// Ends it at once, as the second SIGTERM does: stop(), and hurry() is set. The loop then waits
  /// neither for calls of run_blocking that nobody waits for, nor, for more than a second, for
  /// objects that are left.
  void stop_now();
  /// Set when draining is to end at once; what drains waits for it beside its peers.
  event& hurry() noexcept { return hurry_; }

  /// Calls `function` with every loop that is inside run() in this process, in the order in which
  /// they began. They cannot end meanwhile: use it to post to them, and be short.
  static void for_each_running(const std::function<void(loop&)>& function);
  /// The operating system's number of the thread that is inside run().
  int thread_number() const noexcept { return thread_number_; }

  /// Calls `function` on the loop's thread, soon, in the order of posting from one thread. May be
  /// called from any thread; the loop must outlive the call. Throws std::bad_alloc. `function`
  /// must not throw and cannot await: let it set an event or put into a channel. Between two runs
  /// it lies there for the next; what comes after the last is destroyed with the loop, uncalled.
  template <class Function>
  void post(Function function) {
    send(*new detail::function_message<Function>(std::move(function)));
  }
  void send(detail::message& message) noexcept;

  rill::kernel& kernel() noexcept { return *kernel_; }
  detail::timer_queue& timers() noexcept { return timers_; }
  buffer_pool& buffers() noexcept { return buffers_; }
  const loop_options& options() const noexcept { return options_; }
  loop_statistics statistics() const noexcept;
  /// The live task tree as text: name, file:line, age, operation of every chain.
  std::string task_tree() const;

  // For operations.
  void submit(detail::operation& operation) noexcept;
  void submit_cancel(detail::operation& operation) noexcept;
  io_uring_sqe* next_sqe() noexcept;
  /// Gives the kernel what is queued. It gets it at the end of the turn anyway: this is for those
  /// who are about to compute for long.
  void submit_now();
  /// Calls the type's `settled` at the end of this turn, when every chain that was made ready
  /// before has run: for freeing what such a chain may still look at.
  void retire(detail::operation& operation) noexcept;
  /// Sockets and the like that exist outside tasks count here; the loop ends when none is left.
  void object_opened() noexcept { ++object_count_; }
  void object_closed() noexcept { --object_count_; }
  /// The same for those that can say what they are.
  void object_opened(detail::loop_object& object) noexcept;
  void object_closed(detail::loop_object& object) noexcept;
  /// Memory is lent to the kernel until it is given back. When the loop is destroyed it waits for
  /// a quarter of a second at most, unless it was to end at once, and lets go of the rest.
  void lend(detail::lent_memory& memory) noexcept;
  void give_back(detail::lent_memory& memory) noexcept;
  /// Linux 6.3 or newer, or a kernel that does as it does.
  bool is_ring_of_6_3() const noexcept;

 private:
  bool message_waiting() const noexcept { return mailbox_.load() != nullptr; }
  /// The timer of a loop whose task has ended while objects are left.
  class patience final : public detail::timer_node {
   public:
    explicit patience(loop& on) noexcept : on_(&on) {}
    void give(std::int64_t nanoseconds) noexcept;
    void expired() noexcept override;

   private:
    loop* on_;
  };

  void begin(void (*keep)(detail::promise_base&, void*) noexcept, void* kept);
  void run_to_end();
  /// After a turn that left work, the outermost task having ended: false when it is given up.
  bool wait_for_objects() noexcept;
  void let_go_of_calls() noexcept;
  void finish_closing() noexcept;
  void wait_for_lent() noexcept;
  void describe_objects(std::string& text, std::string_view between) const;
  template <class Function>
  void post_to_this_run(Function function);
  void publish_and_enter(bool may_wait);
  void store_completions() noexcept;
  void cancel_answered(detail::operation& operation, int result) noexcept;
  void add_to_backlog(detail::operation& operation) noexcept;
  void remove_from_backlog(detail::operation& operation) noexcept;
  void refill_from_backlog() noexcept;
  void push(detail::message& message) noexcept;
  void take_messages() noexcept;
  void run_ready() noexcept;
  static void free_retired(detail::operation* first) noexcept;
  void resume(detail::chain& next) noexcept;
  void end(detail::chain& ended, bool completed) noexcept;
  void arm_wake() noexcept;
  bool is_idle() const noexcept;

  loop_options options_;
  std::unique_ptr<rill::kernel> kernel_;
  io_uring* ring_ = nullptr;
  detail::timer_queue timers_;
  buffer_pool buffers_;
  detail::root_scope root_;
  std::unique_ptr<detail::chain> main_;
  detail::operation* backlog_head_ = nullptr;
  detail::operation* backlog_tail_ = nullptr;
  detail::operation* retired_ = nullptr;
  std::size_t object_count_ = 0;
  detail::loop_object* objects_ = nullptr;  // those of them that can say what they are
  detail::lent_memory* lent_ = nullptr;
  patience patience_{*this};
  detail::result_storage<void> started_outcome_;  // of a task given to start()
  std::atomic<detail::message*> mailbox_{nullptr};
  std::atomic<bool> sleeping_{false};
  std::atomic<int> sending_count_{0};  // threads inside send()
  loop_statistics statistics_{};
  event hurry_;
  int thread_number_ = 0;
  std::atomic<std::uint64_t> run_number_{0};  // how often it has begun to run
  bool hurried_ = false;                      // objects are not waited for any longer
  bool told_ = false;                         // patience_ has expired, objects have been named
  loop* next_kept_ = nullptr;                 // in the list of those that could not be destroyed
  bool begun_ = false;
  bool wake_armed_ = false;
  bool waits_for_lent_ = false;
};

template <class T>
T loop::run(task<T> main) {
  detail::result_storage<T> outcome;
  begin(&detail::keep_outcome<T>, &outcome);
  main_ = std::make_unique<detail::chain>(root_, *this);
  main_->start(main.release());
  run_to_end();
  main_.reset();
  if (!root_.completed) {
    if constexpr (std::is_void_v<T>) {
      return;
    } else {
      throw std::system_error(std::make_error_code(std::errc::operation_canceled), "task");
    }
  }
  return outcome.take();
}

}  // namespace rill
