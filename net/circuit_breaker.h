// circuit_breaker: spares a peer that fails again and again, and those who wait for it.
// After so many failures in a row the circuit opens: operations are refused without being begun.
// When the peer has had its rest, one of them is let through; its success closes the circuit.
// Not here: repeating (retry.h), which goes around a breaker, so that its attempts are counted.
// Read next: circuit_breaker.cpp.
#pragma once

#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <rill/runtime/error.h>
#include <rill/runtime/task.h>
#include <rill/runtime/timeout.h>

namespace rill {

enum class circuit_state : std::uint8_t {
  closed,     ///< operations are begun
  open,       ///< they are refused
  half_open,  ///< the rest is over: one is let through, the others are refused
};

/// An operation that was refused: "circuit breaker NAME: Resource temporarily unavailable".
class circuit_open_error : public io_error {
 public:
  explicit circuit_open_error(std::string_view name);
};

/// When a circuit opens, for how long, and what counts as a failure.
class circuit_options {
 public:
  circuit_options() {}

  /// What the error calls it: the name of the peer.
  std::string name;
  /// So many failures in a row open the circuit; 0 is as good as 1.
  unsigned failure_count_max = 5;
  /// How long it stays open.
  std::chrono::nanoseconds open_time = std::chrono::seconds(10);
  /// Whether an error says that the peer is not well; others count as its answer, a success.
  /// Empty: every std::exception does.
  std::function<bool(const std::exception&)> is_failure;
};

/// Shared by all operations on one peer. Thread rule: one loop's thread.
/// REQUIRES: outlives its permits and its run()s.
class circuit_breaker {
 public:
  /// The right to one operation, whose outcome is to be told. Destroyed without one, as by a
  /// cancellation, it has told nothing.
  class [[nodiscard]] permit {
   public:
    permit() noexcept {}
    permit(permit&& other) noexcept
        : from_(std::exchange(other.from_, nullptr)), is_trial_(other.is_trial_) {}
    permit& operator=(permit&& other) noexcept {
      if (this != &other) {
        let_go();
        from_ = std::exchange(other.from_, nullptr);
        is_trial_ = other.is_trial_;
      }
      return *this;
    }
    ~permit() { let_go(); }

    void succeeded() noexcept;
    void failed() noexcept;
    explicit operator bool() const noexcept { return from_ != nullptr; }

   private:
    friend class circuit_breaker;
    permit(circuit_breaker& from, bool is_trial) noexcept : from_(&from), is_trial_(is_trial) {}
    void let_go() noexcept;

    circuit_breaker* from_ = nullptr;
    bool is_trial_ = false;
  };

  explicit circuit_breaker(circuit_options options = circuit_options())
      : options_(std::move(options)) {}
  circuit_breaker(const circuit_breaker&) = delete;
  circuit_breaker& operator=(const circuit_breaker&) = delete;

  circuit_state state() const noexcept;
  /// An empty permit (false) when the operation is not to be begun.
  permit try_acquire() noexcept;

  /// Runs `operation()`, which returns a task or an operation, unless the circuit is open, and
  /// counts its outcome.
  ///
  /// Errors: circuit_open_error, and what the operation throws.
  /// Cancellation: counts as neither; if it was the one that tries the peer, the next one does.
  /// Lifetime: as the operation of retry(). Cost: a frame.
  template <class Operation>
  [[nodiscard]] auto run(Operation&& operation) {
    static_assert(
        std::is_lvalue_reference_v<Operation> || std::is_trivially_destructible_v<Operation>,
        "capture by reference, or give the operation a name: a temporary lambda with captures by "
        "value is destroyed twice by g++ 12");
    using result_type = await_result_t<std::invoke_result_t<Operation&>>;
    return run_counted<result_type, Operation>(std::forward<Operation>(operation));
  }

 private:
  template <class T, class Operation>
  task<T> run_counted(Operation operation) {
    permit mine = acquire();
    try {
      if constexpr (std::is_void_v<T>) {
        co_await operation();
        mine.succeeded();
      } else {
        T value = co_await operation();
        mine.succeeded();
        co_return static_cast<T&&>(value);
      }
    } catch (const std::exception& error) {
      count(mine, error);
      throw;
    }
  }

  permit acquire();  // throws circuit_open_error
  void count(permit& of, const std::exception& error);
  void close() noexcept;

  circuit_options options_;
  unsigned failure_count_ = 0;
  loop_clock::time_point opened_at_{};
  bool is_closed_ = true;
  bool is_on_trial_ = false;  // the operation that tries the peer is under way
};

}  // namespace rill
