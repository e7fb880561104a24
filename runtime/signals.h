// Signals of the process as something to wait for.
//   rill::signals hangup({SIGHUP});
//   for (;;) { const int number = co_await hangup.next(); reload(); }
// Not here: what run() does by itself with SIGINT, SIGTERM and SIGUSR1 (run.h). Read next: run.cpp.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>

#include <rill/runtime/event.h>
#include <rill/runtime/operation.h>
#include <rill/runtime/task.h>

namespace rill {

namespace detail {

struct signal_list;

/// One descriptor that delivers a set of signals, and the read that is always under way on it.
/// A process-wide list passes each signal on to all sources that name it, for the operating
/// system gives it to one of them only.
class signal_source {
 public:
  /// Blocks the signals in this thread, and in those of the other running loops when they take the
  /// message that tells them. Throws io_error, or std::invalid_argument for a number that is none.
  signal_source(loop& on, std::span<const int> numbers);
  signal_source(const signal_source&) = delete;
  signal_source& operator=(const signal_source&) = delete;

  /// Begins to read. REQUIRES: the loop's thread.
  void arm() noexcept;
  /// No more arrived(); closed() follows when the kernel has let go, perhaps before the return.
  void close() noexcept;

  rill::loop& owner_loop() const noexcept { return read_.owner_loop(); }

 protected:
  virtual void arrived(int number) noexcept = 0;
  virtual void closed() noexcept = 0;
  ~signal_source();

 private:
  friend struct signal_list;
  static void prepare(operation& slot, io_uring_sqe& sqe) noexcept;
  static void complete(operation& slot, int result, unsigned flags) noexcept;
  static void settled(operation& slot) noexcept;
  static const operation_type read_type;
  // A signalfd_siginfo is 128 bytes on every architecture (signalfd(2)).
  static constexpr unsigned record_size = 128;

  operation read_;
  std::uint64_t set_ = 0;  // bit n - 1: signal n
  std::uint64_t id_ = 0;
  bool closing_ = false;
  alignas(8) unsigned char record_[record_size];
};

}  // namespace detail

/// The signals of a set, from the making of the object on.
///
/// Sharing: every object that names a signal gets it, on whatever loop, and so does run() when it
///   handles signals; none takes it from another.
/// Effect: from the first object that names a signal until run() returns, that signal has no
///   default effect in this thread, in those of a loop_group and in those of rill's pool; in a
///   thread in which you run a loop yourself, only once that loop has taken a message. Any other
///   thread of your own must block it itself (pthread_sigmask), or it is delivered there.
/// Lifetime: not longer than the loop's outermost task. Thread rule: one loop's thread.
/// Cost: one descriptor, one operation in flight. Example: examples/04_graceful_shutdown.cpp.
class signals {
 public:
  /// Throws io_error when no descriptor is left, std::invalid_argument for a number that names no
  /// signal or one that cannot be waited for (SIGKILL, SIGSTOP). REQUIRES: a loop runs.
  explicit signals(std::initializer_list<int> numbers);
  signals(signals&&) noexcept;
  signals& operator=(signals&&) noexcept;
  ~signals();

  /// Waits for one of the signals and returns its number. What arrives while nobody waits is kept
  /// for the next call, the lowest number first; a signal that arrives again meanwhile counts
  /// once. Of several tasks that wait on one object, one gets it. Cancellation: loses nothing.
  [[nodiscard]] task<int> next();

 private:
  class state;
  state* state_;
};

}  // namespace rill
