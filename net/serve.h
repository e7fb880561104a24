// serve: a handler for every connection of a listener, until cancelled.
// The accept loop done right: a nursery of connections, a cap, patience when resources are short,
// and a drain that loses nothing it has accepted. Not here: how connections are accepted (tcp.h).
// Read next: serve.cpp.
#pragma once

#include <atomic>
#include <chrono>
#include <concepts>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <new>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include <rill/net/endpoint.h>
#include <rill/net/socket.h>
#include <rill/net/tcp.h>
#include <rill/runtime/chain.h>
#include <rill/runtime/event.h>
#include <rill/runtime/task.h>

namespace rill {

namespace detail {
class server_base;
}

/// Counters of one serve(). Read them at any time; they cost an increment each.
struct serve_statistics {
  std::uint64_t accepted_count = 0;  ///< connections given to the handler
  std::uint64_t active_count = 0;    ///< handlers running now
  std::uint64_t active_peak = 0;     ///< the most there ever were
  std::uint64_t failed_count = 0;    ///< handlers that ended with an exception
  std::uint64_t short_count = 0;     ///< times accept found descriptors or memory short
  std::uint64_t cut_count = 0;       ///< handlers cancelled when the drain's time was over
};

/// The limits of one serve(), and who is told of what happens in it.
struct serve_limits {
  /// Handlers at once; beyond it connections wait in the kernel's backlog. 0: no limit.
  std::size_t connection_max = 0;
  /// Counts the connections of several serve() calls, on several loops, so that connection_max
  /// holds for all of them together. Must outlive them. A loop that has accepted a connection just
  /// when another loop took the last place keeps it waiting until a place is free. nullptr: each
  /// for itself.
  std::atomic<std::size_t>* shared_count = nullptr;
  /// After the cancellation, how long handlers may go on before they are cancelled too, and how
  /// long what waits in the backlog may wait for descriptors, or for its turn.
  std::chrono::nanoseconds drain_timeout = std::chrono::seconds(5);
  /// How long to wait after EMFILE, ENFILE, ENOBUFS or ENOMEM before the next accept, unless a
  /// connection ends before that.
  std::chrono::nanoseconds short_pause = std::chrono::milliseconds(100);
  /// Where to count; must outlive the call. nullptr: nowhere.
  serve_statistics* statistics = nullptr;
  /// Told of an exception that left a handler. nullptr: what is not an io_error goes to stderr as
  /// one line; a lost peer is no news. Must not throw: that ends the program.
  void (*on_error)(const endpoint& peer, std::exception_ptr error) = nullptr;
};
static_assert(std::is_trivially_destructible_v<serve_limits>);

/// Tells a handler that the server is draining: finish what has begun, say farewell, return.
class drain_signal {
 public:
  bool is_draining() const noexcept { return event_.is_set(); }
  /// Completes when draining begins.
  [[nodiscard]] auto wait() noexcept { return event_.wait(); }

 private:
  friend class detail::server_base;
  event event_;
};

namespace detail {

/// What of serve() depends neither on listener nor handler.
class server_base : public scope {
 public:
  void child_done(chain& child, bool completed) noexcept override;
  /// Begins the drain. The chain is destroyed when the drain is over.
  void cancel(chain&) noexcept override { begin_drain(); }
  void describe(std::string& text) const override;

 protected:
  /// One connection: a chain whose outermost task is the handler's.
  class connection : public chain {
   public:
    connection(server_base& server, scheduler& on) noexcept : chain(server, on) {}
    ~connection() override {
      if (watched != nullptr) watched->observer = nullptr;
    }
    static void* operator new(std::size_t size) { return allocate_frame(size); }
    static void operator delete(void* memory, std::size_t size) noexcept {
      free_frame(memory, size);
    }

    ip_endpoint peer;
    socket_state* watched = nullptr;  // nullptr once the handler has let the stream go
    bool told = false;                // that reading ends
    bool has_peer = false;            // of a Unix socket there is none
  };

  explicit server_base(const serve_limits& limits) noexcept;
  ~server_base() = default;

  virtual void interrupt_accept() noexcept = 0;
  void begin(promise_base& awaiting, task<void> accepting) noexcept;
  void begin_drain() noexcept;
  bool is_full() const noexcept {
    if (limits_.connection_max == 0) return false;
    return (limits_.shared_count != nullptr ? limits_.shared_count->load()
                                            : counts_->active_count) >= limits_.connection_max;
  }
  /// How long a full server waits at most: another loop's connection may end without a word here.
  std::chrono::nanoseconds full_pause() const noexcept {
    return limits_.shared_count != nullptr ? limits_.short_pause : std::chrono::hours(1);
  }
  /// Counts a connection that is to start; false, and nothing counted, if the server is full.
  bool take_place() noexcept;
  void give_place_back() noexcept;
  void started(connection& made, task<void> root) noexcept;
  void never_started(const connection& made, const std::exception_ptr& error) noexcept;
  /// Until a connection has ended or draining begins; at most `limit`.
  task<void> wait_for_change(std::chrono::nanoseconds limit);
  void begin_drain_time() noexcept;
  /// In the drain: tells the connections, all or the idle ones, then waits until one has ended, but
  /// no longer than limits.short_pause. False when the drain's time is over.
  task<bool> wait_in_drain(bool tells_all);
  /// The second half of the drain: tell the connections, wait, cut.
  task<void> finish_connections(bool tells_all);
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

  serve_limits limits_;
  drain_signal drain_;
  serve_statistics* counts_;

 private:
  /// Tells connections, all or the idle ones, by the end of their stream. An idle one of which
  /// something has come is about to begin with it: false if there is such a one.
  bool end_reading(bool of_all);
  task<void> all_ended();
  void report(const connection& ended, const std::exception_ptr& error) noexcept;
  void connection_done(connection& ended, bool completed) noexcept;

  serve_statistics own_counts_;
  alignas(chain) std::byte accept_storage_[sizeof(chain)];
  chain* accept_chain_ = nullptr;
  event changed_;
  std::int64_t drain_end_ = 0;  // on the loop's clock
  std::exception_ptr error_;
};

template <class Listener, class Handler>
class serve_awaiter final : public server_base {
 public:
  using rill_awaiter = void;
  using stream_type = typename Listener::stream_type;

  serve_awaiter(Listener& listener, Handler&& handler, const serve_limits& limits) noexcept
      : server_base(limits), listener_(&listener), handler_(std::forward<Handler>(handler)) {}

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> frame) {
    promise_base& awaiting = frame.promise();
    task<void> accepting = accept_all();  // may throw: before anything has begun
    if (awaiting.owner_chain->suspend(awaiting, *this)) begin(awaiting, std::move(accepting));
  }
  void await_resume() const { rethrow(); }

 private:
  static constexpr bool takes_drain_signal =
      std::is_invocable_v<Handler&, stream_type, drain_signal&>;
  /// Others learn of the drain by the end of their stream, as idle ones do.
  static constexpr bool tells_all = !takes_drain_signal;

  struct connection_of final : connection {
    connection_of(serve_awaiter& server, scheduler& on, stream_type&& accepted) noexcept
        : connection(server, on), stream(std::move(accepted)) {
      if constexpr (requires { stream.state().observer; }) {
        this->watched = &stream.state();
        this->watched->observer = &this->watched;
        this->peer = this->watched->peer;
        this->has_peer = this->watched->has_ip_peer;
      }
    }
    stream_type stream;  // until the handler takes it, or for as long as it borrows it
  };

  void interrupt_accept() noexcept override { listener_->begin_stop(); }

  task<void> accept_all() {
    while (!drain_.is_draining()) {
      if (is_full()) {
        listener_->pause();
        co_await wait_for_change(full_pause());
        continue;
      }
      if (!held_) {
        result<stream_type> peer = co_await as_result(listener_->accept());
        if (!peer) {
          if (co_await accept_failed(peer.error())) continue;
          break;
        }
        held_.emplace(std::move(*peer));
      }
      if (start_held()) continue;
      ++counts_->short_count;
      co_await wait_for_change(limits_.short_pause);
    }
    begin_drain_time();
    co_await listener_->stop();
    co_await serve_backlog();
    listener_->close();
    if (held_) ++counts_->cut_count;
    held_.reset();
    co_await finish_connections(tells_all);
  }

  /// In the drain: whatever the listener still holds, within the limits and the drain's time.
  task<void> serve_backlog() {
    while (true) {
      if (!is_full()) {
        if (!held_) {
          result<stream_type> peer = co_await as_result(listener_->accept());
          // Stopped and with nothing left to claim it says ECANCELED.
          if (!peer && !is_shortage(peer.error().code())) co_return;
          if (peer) held_.emplace(std::move(*peer));
        }
        if (held_ && start_held()) continue;
        ++counts_->short_count;
      }
      if (!co_await wait_in_drain(tells_all)) co_return;
      co_await listener_->stop();  // what there was no descriptor for is in the backlog still
    }
  }

  /// False: the listener has been stopped.
  task<bool> accept_failed(error cause) {
    if (cause == std::errc::operation_canceled) co_return false;
    if (is_shortage(cause.code())) {
      ++counts_->short_count;
      co_await wait_for_change(limits_.short_pause);
      co_return true;
    }
    const std::string subject = listener_->local().to_string();
    listener_->close();
    throw_error(cause, subject);
  }

  /// Gives what is held to the handler, unless another loop has taken the last place. False: there
  /// was no memory for it, and the connection is closed.
  bool start_held() {
    if (!take_place()) return true;
    connection_of* made = nullptr;
    try {
      made = new connection_of(*this, accept_on(), std::move(*held_));
      held_.reset();
      if constexpr (takes_drain_signal) {
        started(*made, std::invoke(handler_, std::move(made->stream), drain_));
      } else {
        started(*made, std::invoke(handler_, std::move(made->stream)));
      }
    } catch (const std::bad_alloc&) {
      give_place_back();
      held_.reset();
      delete made;
      return false;
    } catch (...) {  // a handler that throws before its coroutine exists
      give_place_back();
      never_started(*made, std::current_exception());
      delete made;
    }
    return true;
  }

  scheduler& accept_on() const noexcept { return this->owner()->on(); }

  Listener* listener_;
  Handler handler_;
  std::optional<stream_type> held_;  // accepted, and not given to the handler yet
};

template <class Handler, class Stream>
concept connection_handler = requires(Handler& handler, Stream stream, drain_signal& drain) {
  { std::invoke(handler, std::move(stream)) } -> std::same_as<task<void>>;
} || requires(Handler& handler, Stream stream, drain_signal& drain) {
  { std::invoke(handler, std::move(stream), drain) } -> std::same_as<task<void>>;
};

}  // namespace detail

/// Runs `handler(stream)` or `handler(stream, drain_signal&)`, which return task<>, for every
/// connection of `listener`, all beside each other, until the awaiting chain is cancelled.
///
/// Cancellation drains: no more is accepted; what the backlog still held is served, as descriptors
///   and limits.connection_max allow, which the end of others may take a while to do; connections
///   whose handler takes no drain_signal see the end of their stream (shutdown for reading) after
///   the bytes that have arrived; so do those that call themselves idle (set_idle), once nothing is
///   there to be read. After limits.drain_timeout or on loop::stop_now() the rest is cancelled.
///   When the last handler has ended the chain that awaits serve() is destroyed, as always.
/// Returns: only if somebody else stopped the listener and all its connections have ended.
/// Errors: of the listener itself, after cancelling the connections; short resources are waited
///   out. What a handler throws ends its connection only; see serve_limits::on_error.
/// Lifetime: `listener` must outlive the call and is closed by it. The handler is called through a
///   reference that lives as long; give it a name if it captures by value.
/// Cost: one record and the handler's frame a connection, from the cache.
/// Example: examples/echo_server.cpp.
template <class Listener, class Handler>
  requires detail::connection_handler<std::remove_reference_t<Handler>,
                                      typename Listener::stream_type>
[[nodiscard]] auto serve(Listener& listener, Handler&& handler,
                         const serve_limits& limits = serve_limits()) noexcept {
  static_assert(std::is_lvalue_reference_v<Handler> || std::is_trivially_destructible_v<Handler>,
                "capture by reference, or give the handler a name: a temporary lambda with "
                "captures by value is destroyed twice by g++ 12");
  return detail::serve_awaiter<Listener, Handler>(listener, std::forward<Handler>(handler), limits);
}

}  // namespace rill
