// any_stream: a byte_stream whatever carries it, for code that is compiled once and cannot know:
// what a handler of HTTP is handed after an upgrade, for instance.
//   rill::any_stream peer(std::move(tcp_or_tls_or_memory));
// Not for hot loops over one kind of stream: a template costs no virtual call.
// Read next: any_stream.cpp.
#pragma once

#include <concepts>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>
#include <variant>

#include <rill/net/buffer.h>
#include <rill/net/endpoint.h>
#include <rill/net/stream.h>
#include <rill/runtime/buffer_pool.h>
#include <rill/runtime/operation.h>
#include <rill/runtime/timer.h>

namespace rill {

namespace detail {

/// The stream with its operations: one that reads, one that writes, and the last, which closes.
/// They live here and not in their awaiters, so that the frame of an idle connection stays small.
class any_stream_state {
 public:
  enum class slot : unsigned char { reading, writing, closing };

  any_stream_state() = default;
  any_stream_state(const any_stream_state&) = delete;
  any_stream_state& operator=(const any_stream_state&) = delete;
  virtual ~any_stream_state();

  virtual void begin_lease() = 0;
  virtual void begin_read(mutable_buffer into) = 0;
  virtual void begin_write(const_buffer bytes) = 0;
  virtual void begin_write(std::span<const const_buffer> pieces) = 0;
  virtual void begin_shutdown() = 0;
  virtual void begin_close() = 0;
  virtual bool is_ready(slot of) = 0;
  virtual transfer_result suspend(slot of, promise_base& frame) = 0;
  virtual void set_deadline(slot of, std::int64_t deadline) noexcept = 0;
  virtual lease resume_lease() = 0;
  virtual result<lease> take_lease() = 0;
  virtual std::size_t resume(slot of) = 0;
  virtual result<std::size_t> take(slot of) = 0;
  virtual void end(slot of) noexcept = 0;

  virtual endpoint peer() const = 0;
  virtual void set_idle(bool idle) noexcept = 0;
  /// The owner is gone: closes, as destroying the stream does, also under an operation.
  virtual void drop() noexcept = 0;
};

/// What the awaiters share. The operation begins when it is awaited.
class any_stream_awaiter {
 public:
  using rill_awaiter = void;

  any_stream_awaiter(std::shared_ptr<any_stream_state> of, any_stream_state::slot which) noexcept
      : state_(std::move(of)), slot_(which) {}
  /// Before it is awaited only.
  any_stream_awaiter(any_stream_awaiter&& other) noexcept
      : state_(std::move(other.state_)), deadline_(other.deadline_), slot_(other.slot_) {}
  ~any_stream_awaiter() {
    if (has_begun_) state_->end(slot_);
  }
  void set_deadline(std::int64_t deadline) noexcept { deadline_ = deadline; }

 protected:
  transfer_result suspend(promise_base& frame) {
    if (deadline_ != timer_node::never) state_->set_deadline(slot_, deadline_);
    return state_->suspend(slot_, frame);
  }

  std::shared_ptr<any_stream_state> state_;
  std::int64_t deadline_ = timer_node::never;
  any_stream_state::slot slot_;
  bool has_begun_ = false;
};

/// `Self` begins the operation.
template <class Self>
class any_stream_operation : public any_stream_awaiter {
 public:
  bool await_ready() {
    begin_once();
    return state_->is_ready(slot_);
  }
  template <class Promise>
  transfer_result await_suspend(std::coroutine_handle<Promise> frame) {
    begin_once();  // not every caller asks whether it is ready
    return suspend(frame.promise());
  }
  std::size_t await_resume() { return state_->resume(slot_); }
  result<std::size_t> take_result() { return state_->take(slot_); }

 private:
  friend Self;
  any_stream_operation(std::shared_ptr<any_stream_state> of, any_stream_state::slot which) noexcept
      : any_stream_awaiter(std::move(of), which) {}

  void begin_once() {
    if (has_begun_) return;
    static_cast<Self*>(this)->begin();
    has_begun_ = true;
  }
};

class any_lease_awaiter : public any_stream_operation<any_lease_awaiter> {
 public:
  explicit any_lease_awaiter(std::shared_ptr<any_stream_state> of) noexcept
      : any_stream_operation(std::move(of), any_stream_state::slot::reading) {}
  void begin() { state_->begin_lease(); }
  lease await_resume() { return state_->resume_lease(); }
  result<lease> take_result() { return state_->take_lease(); }
};

class any_read_awaiter : public any_stream_operation<any_read_awaiter> {
 public:
  any_read_awaiter(std::shared_ptr<any_stream_state> of, mutable_buffer into) noexcept
      : any_stream_operation(std::move(of), any_stream_state::slot::reading), into_(into) {}
  void begin() { state_->begin_read(into_); }

 private:
  mutable_buffer into_;
};

template <class Bytes>
class any_write_awaiter : public any_stream_operation<any_write_awaiter<Bytes>> {
 public:
  any_write_awaiter(std::shared_ptr<any_stream_state> of, Bytes bytes) noexcept
      : any_stream_operation<any_write_awaiter>(std::move(of), any_stream_state::slot::writing),
        bytes_(bytes) {}
  void begin() { this->state_->begin_write(bytes_); }

 private:
  Bytes bytes_;
};

class any_shutdown_awaiter : public any_stream_operation<any_shutdown_awaiter> {
 public:
  explicit any_shutdown_awaiter(std::shared_ptr<any_stream_state> of) noexcept
      : any_stream_operation(std::move(of), any_stream_state::slot::writing) {}
  void begin() { state_->begin_shutdown(); }
};

class any_close_awaiter : public any_stream_operation<any_close_awaiter> {
 public:
  explicit any_close_awaiter(std::shared_ptr<any_stream_state> of) noexcept
      : any_stream_operation(std::move(of), any_stream_state::slot::closing) {}
  void begin() { state_->begin_close(); }
  /// A stream that is closed already has nothing to wait for.
  bool await_ready() { return state_ == nullptr || any_stream_operation::await_ready(); }
  std::size_t await_resume() {
    return state_ == nullptr ? 0 : any_stream_operation::await_resume();
  }
};

/// Over one kind of stream.
template <byte_stream Stream>
class any_stream_over final : public any_stream_state {
  using lease_operation = decltype(std::declval<Stream&>().read_lease());
  using read_operation = decltype(std::declval<Stream&>().read(mutable_buffer()));
  using write_operation = decltype(std::declval<Stream&>().write_all(const_buffer()));
  using pieces_operation =
      decltype(std::declval<Stream&>().write_all(std::span<const const_buffer>()));
  using shutdown_operation = decltype(std::declval<Stream&>().shutdown_write());
  using close_operation = decltype(std::declval<Stream&>().close());

  /// Built where it stays: what `make` gives is not moved.
  template <class Operation>
  struct holder {
    template <class Make>
    explicit holder(Make make) : operation(make()) {}
    Operation operation;
  };

 public:
  explicit any_stream_over(Stream stream) noexcept : stream_(std::move(stream)) {}

  void begin_lease() override {
    begin<1>(reading_, [&] { return stream_.read_lease(); });
  }
  void begin_read(mutable_buffer into) override {
    begin<2>(reading_, [&] { return stream_.read(into); });
  }
  void begin_write(const_buffer bytes) override {
    begin<1>(writing_, [&] { return stream_.write_all(bytes); });
  }
  void begin_write(std::span<const const_buffer> pieces) override {
    begin<2>(writing_, [&] { return stream_.write_all(pieces); });
  }
  void begin_shutdown() override {
    begin<3>(writing_, [&] { return stream_.shutdown_write(); });
  }
  void begin_close() override {
    begin<1>(closing_, [&] { return stream_.close(); });
  }

  bool is_ready(slot of) override {
    return visit<bool>(of, [](auto& operation) { return operation.await_ready(); });
  }
  transfer_result suspend(slot of, promise_base& frame) override {
    return visit<transfer_result>(of, [&](auto& operation) -> transfer_result {
      // Awaiters take the frame's promise from the handle, and nothing else.
      const auto handle = std::coroutine_handle<promise_base>::from_promise(frame);
      using answer = decltype(operation.await_suspend(handle));
      if constexpr (std::is_same_v<answer, bool>) {
        if (!operation.await_suspend(handle)) {
          return transfer_to(frame.owner_chain->on(), frame.self);
        }
        return transfer_to_loop();
      } else if constexpr (std::is_same_v<answer, transfer_result>) {
        return operation.await_suspend(handle);
      } else {
        operation.await_suspend(handle);
        return transfer_to_loop();
      }
    });
  }
  void set_deadline(slot of, std::int64_t deadline) noexcept override {
    visit<void>(of, [&](auto& operation) {
      if constexpr (operation_awaiter<std::remove_reference_t<decltype(operation)>>) {
        operation.set_deadline(deadline);
      }
    });
  }
  lease resume_lease() override { return std::get<1>(reading_).operation.await_resume(); }
  result<lease> take_lease() override { return std::get<1>(reading_).operation.take_result(); }
  std::size_t resume(slot of) override {
    return visit<std::size_t>(of, [](auto& operation) -> std::size_t {
      using value = decltype(operation.await_resume());
      if constexpr (std::is_same_v<value, std::size_t>) {
        return operation.await_resume();
      } else {
        operation.await_resume();
        return 0;
      }
    });
  }
  result<std::size_t> take(slot of) override {
    return visit<result<std::size_t>>(of, [](auto& operation) -> result<std::size_t> {
      if constexpr (requires {
                      { operation.take_result() } -> std::same_as<result<std::size_t>>;
                    }) {
        return operation.take_result();
      } else {
        return std::size_t{0};
      }
    });
  }
  void end(slot of) noexcept override {
    if (of == slot::reading) {
      reading_.template emplace<0>();
    } else if (of == slot::writing) {
      writing_.template emplace<0>();
    } else {
      closing_.template emplace<0>();
    }
  }

  endpoint peer() const override {
    if constexpr (requires { stream_.peer(); }) {
      return stream_.peer();
    } else {
      return endpoint();
    }
  }
  void set_idle(bool idle) noexcept override {
    if constexpr (requires { stream_.set_idle(idle); }) stream_.set_idle(idle);
  }
  void drop() noexcept override { [[maybe_unused]] const Stream dropped = std::move(stream_); }

 private:
  template <std::size_t Index, class Slot, class Make>
  void begin(Slot& in, Make make) {
    RILL_ASSERT(in.index() == 0,
                "two operations of one kind at once on one object (two writes of one stream, say)");
    in.template emplace<Index>(make);
  }
  template <class Result, class Slot, class Function>
  Result visit_in(Slot& in, Function function) {
    return std::visit(
        [&](auto& each) -> Result {
          if constexpr (requires { each.operation; }) {
            return function(each.operation);
          } else {
            assertion_failed("begin", "an operation of any_stream has not begun", __FILE__,
                             __LINE__);
          }
        },
        in);
  }
  template <class Result, class Function>
  Result visit(slot of, Function function) {
    if (of == slot::reading) return visit_in<Result>(reading_, function);
    if (of == slot::writing) return visit_in<Result>(writing_, function);
    return visit_in<Result>(closing_, function);
  }

  Stream stream_;
  // By place, for some streams have one type of several operations.
  std::variant<std::monostate, holder<lease_operation>, holder<read_operation>> reading_;
  std::variant<std::monostate, holder<write_operation>, holder<pieces_operation>,
               holder<shutdown_operation>>
      writing_;
  std::variant<std::monostate, holder<close_operation>> closing_;
};

}  // namespace detail

/// Owns a stream of any kind and is one: all that byte_stream promises, the stream itself keeps.
///
/// Cost: one allocation when it is made, with room for the operations; then two or three virtual
///   calls for each of them, no frame and no allocation.
/// Thread rule: the stream's own.
class any_stream {
 public:
  any_stream() noexcept {}
  template <class Stream>
    requires(!std::is_same_v<Stream, any_stream> && byte_stream<Stream>)
  explicit any_stream(Stream stream)
      : state_(std::make_shared<detail::any_stream_over<Stream>>(std::move(stream))) {}
  any_stream(any_stream&& other) noexcept = default;
  any_stream& operator=(any_stream&& other) noexcept {
    if (this != &other) {
      drop();
      state_ = std::move(other.state_);
    }
    return *this;
  }
  ~any_stream() { drop(); }

  [[nodiscard]] auto read(mutable_buffer into) noexcept {
    return detail::any_read_awaiter(open_state(), into);
  }
  [[nodiscard]] auto read_lease() noexcept { return detail::any_lease_awaiter(open_state()); }
  [[nodiscard]] auto write_all(const_buffer bytes) noexcept {
    return detail::any_write_awaiter<const_buffer>(open_state(), bytes);
  }
  [[nodiscard]] auto write_all(std::span<const const_buffer> pieces) noexcept {
    return detail::any_write_awaiter<std::span<const const_buffer>>(open_state(), pieces);
  }
  [[nodiscard]] auto shutdown_write() noexcept {
    return detail::any_shutdown_awaiter(open_state());
  }
  /// From the call on the stream is closed for its owner.
  [[nodiscard]] auto close() noexcept { return detail::any_close_awaiter(std::move(state_)); }
  bool is_open() const noexcept { return state_ != nullptr; }

  /// Unnamed where the stream has no peer with an address.
  endpoint peer() const { return open_state()->peer(); }
  /// See stream_socket::set_idle; nothing where the stream has no such thing.
  void set_idle(bool idle) noexcept { open_state()->set_idle(idle); }

 private:
  void drop() noexcept {
    if (state_ != nullptr) std::exchange(state_, nullptr)->drop();
  }
  const std::shared_ptr<detail::any_stream_state>& open_state() const noexcept {
    RILL_ASSERT(state_ != nullptr, "a closed or moved-from stream was used");
    return state_;
  }

  std::shared_ptr<detail::any_stream_state> state_;
};

static_assert(byte_stream<any_stream>);

}  // namespace rill
