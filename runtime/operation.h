// One operation in flight: the slot that a CQE's user_data names.
// Sockets own two of them (read and write), listeners one; sleeps and file operations take one
// from the loop's pool. An awaiter is a few words that point to a slot, so frames stay small and a
// stream can move while its operations run. Not here: what the operations are (net/socket.cpp,
// file.cpp). Read next: loop.cpp, which fills SQEs through `operation_type` and stores CQEs.
#pragma once

#include <chrono>
#include <coroutine>
#include <cstdint>
#include <string>
#include <utility>

#include <rill/runtime/chain.h>
#include <rill/runtime/error.h>
#include <rill/runtime/task.h>
#include <rill/runtime/timer.h>

struct io_uring_sqe;

namespace rill {
class buffer_pool;
}

namespace rill::detail {

class operation;

/// What distinguishes one kind of operation from another. Static tables, one beside each kind.
struct operation_type {
  /// As errors and the task tree name it: "read".
  const char* name;
  /// Fills the SQE from the slot; user_data is set by the loop.
  void (*prepare)(operation& slot, io_uring_sqe& sqe) noexcept;
  /// Stores one CQE: `result` as the kernel gave it, `flags` the CQE's. The loop has already
  /// taken an operation without IORING_CQE_F_MORE out of flight.
  void (*complete)(operation& slot, int result, unsigned flags) noexcept;
  /// Appends what the operation is about, for the task tree; nullptr: nothing.
  void (*describe)(const operation& slot, std::string& text);
  /// A waiter that is cancelled or timed out leaves at once and the operation stays armed: what it
  /// brings is kept by the owner for the next caller (multishot receive and accept).
  bool outlives_waiter = false;
  /// The answer to a cancel request came after the last completion; nullptr: nothing to do.
  void (*settled)(operation& slot) noexcept = nullptr;
};

class operation final : public waiting, public timer_node {
 public:
  explicit operation(loop& on, const void* owner_object = nullptr) noexcept
      : owner(const_cast<void*>(owner_object)), loop_(&on) {}
  ~operation();

  /// Suspends the innermost frame on this slot until wake() and, with a deadline, no longer than
  /// that. False when the chain is being cancelled, or gets ENOMEM because memory is too short for
  /// the deadline: start nothing.
  bool wait(promise_base& innermost, const operation_type& type) noexcept;
  /// The kernel is to carry it out: takes an SQE, or a place in the backlog.
  void submit(const operation_type& type) noexcept;
  /// wait() and submit() in one; what a single-shot operation does.
  void start(promise_base& innermost, const operation_type& type) noexcept {
    if (wait(innermost, type)) submit(type);
  }

  /// The awaited thing has come (or a time-out, or a refusal): the waiter, if any, is made ready.
  void wake(int with_result) noexcept;
  /// Asks the kernel to end the operation. Its CQE comes in any case.
  void request_cancel() noexcept;

  /// As submit(), but it is `carrier` that the kernel knows, a slot with more completions to come
  /// than this one waits for: whoever gets the first of them calls hand_back() here. Until then
  /// this slot is in flight, and a request to cancel it goes to the carrier.
  void submit_by(operation& carrier, const operation_type& type) noexcept;
  /// Not in flight any more; the carrier goes its own way.
  void hand_back() noexcept;
  /// The loop is at its end and stores no completion any more.
  void forget() noexcept {
    in_flight_ = false;
    cancels_pending_ = 0;
  }

  /// The next wait() ends at `deadline`, nanoseconds on the loop's clock.
  void set_deadline(std::int64_t deadline) noexcept { wait_deadline_ = deadline; }

  void cancel(chain& waiter) noexcept override;
  void describe(std::string& text) const override;
  void expired() noexcept override;

  rill::loop& owner_loop() const noexcept { return *loop_; }
  const operation_type* type() const noexcept { return type_; }
  bool has_waiter() const noexcept { return waiter_ != nullptr; }
  bool in_flight() const noexcept { return in_flight_; }
  bool cancel_sent() const noexcept { return cancel_sent_; }
  /// No CQE that names this slot is due: it may be freed.
  bool is_settled() const noexcept { return !in_flight_ && cancels_pending_ == 0; }
  int result() const noexcept { return result_; }
  /// `result` of a CQE, with what our own cancel request has done to a worker thread of the ring as
  /// ECANCELED: a call that blocks there is interrupted as by a signal.
  int unless_interrupted(int result) const noexcept;
  /// The result as a value: an errno, a time-out of ours, or a count.
  rill::result<std::size_t> take_result() const noexcept;

  // What the operation works on; its type knows the meaning. Public: the types are plain functions.
  void* owner;               ///< the socket_state, file operation ... or nullptr
  void* buffer = nullptr;    ///< bytes or an address, as the type has it
  std::size_t size = 0;      ///< of the buffer
  std::uint64_t offset = 0;  ///< bytes already done, or an offset in a file
  int descriptor = -1;
  unsigned argument = 0;  ///< flags, a buffer group, a mode

 private:
  friend class rill::loop;
  friend class rill::buffer_pool;
  friend class pooled_operation;

  rill::loop* loop_;
  const operation_type* type_ = nullptr;
  chain* waiter_ = nullptr;
  // Or in the line for large buffers, or of what is retired; or the slot that carries this one.
  operation* next_in_backlog_ = nullptr;
  std::int64_t wait_deadline_ = never;
  int result_ = 0;
  bool in_flight_ = false;  // submitted, or in the backlog; a final CQE is due
  bool in_backlog_ = false;
  bool submitted_ = false;  // its SQE is filled; what waits in the backlog is a cancel request
  bool abandoned_ = false;  // its holder is gone: free it once it is settled
  unsigned char cancels_pending_ = 0;
  bool cancel_sent_ = false;
  bool timed_out_ = false;
  bool is_carried_ = false;
};

/// A slot from the loop's pool that lives as long as the awaiter that holds it.
class pooled_operation {
 public:
  pooled_operation() = default;
  pooled_operation(pooled_operation&& other) noexcept
      : slot_(std::exchange(other.slot_, nullptr)) {}
  pooled_operation& operator=(const pooled_operation&) = delete;
  ~pooled_operation() { release(); }

  operation& acquire(rill::loop& on, const void* owner = nullptr);
  void release() noexcept;
  static void free(operation& slot) noexcept;
  operation* operator->() const noexcept { return slot_; }
  operation& operator*() const noexcept { return *slot_; }
  explicit operator bool() const noexcept { return slot_ != nullptr; }

 private:
  operation* slot_ = nullptr;
};

}  // namespace rill::detail

namespace rill {

/// An awaiter of one operation: it can be given a deadline and can give its result as a value.
template <class Awaiter>
concept operation_awaiter = awaiter<Awaiter> && requires(Awaiter& a, std::int64_t deadline) {
  a.set_deadline(deadline);
  a.take_result();
};

namespace detail {

template <operation_awaiter Awaiter>
class result_awaiter {
 public:
  using rill_awaiter = void;
  explicit result_awaiter(Awaiter&& inner) noexcept : inner_(std::move(inner)) {}

  bool await_ready() { return inner_.await_ready(); }
  template <class Promise>
  auto await_suspend(std::coroutine_handle<Promise> frame) {
    return inner_.await_suspend(frame);
  }
  auto await_resume() { return inner_.take_result(); }
  void set_deadline(std::int64_t deadline) noexcept { inner_.set_deadline(deadline); }
  auto take_result() { return inner_.take_result(); }

 private:
  Awaiter inner_;
};

}  // namespace detail

/// `co_await as_result(stream.read(buffer))` gives a result<T> instead of throwing: for loops in
/// which an error is ordinary. Costs nothing; cancellation and lifetime are the operation's own.
template <operation_awaiter Awaiter>
[[nodiscard]] auto as_result(Awaiter&& awaited) noexcept {
  static_assert(!std::is_lvalue_reference_v<Awaiter>, "give the operation itself");
  return detail::result_awaiter<Awaiter>(std::forward<Awaiter>(awaited));
}

}  // namespace rill
