// byte_stream: what a protocol needs of a connection, whatever carries it (TCP, a Unix socket,
// memory, TLS), and the few algorithms that every one of them can use.
// Not here: reading line by line or collecting small writes (buffered.h), what only one kind of
// stream can do (tcp.h). A new kind of stream is checked against tests/support/stream_contract.h.
// Read next: buffered.h.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <system_error>
#include <type_traits>

#include <rill/net/buffer.h>
#include <rill/runtime/buffer_pool.h>
#include <rill/runtime/operation.h>
#include <rill/runtime/task.h>

namespace rill {

namespace detail {

/// An operation that gives a Value, or, through as_result, a result<Value>.
template <class Operation, class Value>
concept operation_giving = operation_awaiter<Operation> && requires(Operation& operation) {
  { operation.await_resume() } -> std::same_as<Value>;
  { operation.take_result() } -> std::same_as<result<Value>>;
};

/// An operation whose value, if it has one, is the number of bytes that the caller knows anyway.
template <class Operation>
concept operation_doing = operation_awaiter<Operation> && requires(Operation& operation) {
  { operation.take_result() } -> std::same_as<result<std::size_t>>;
};

}  // namespace detail

/// A connection that carries bytes both ways, in order, each exactly once.
///
/// 1. `read(into)` waits for bytes and gives how many came, 1 to into.size(). 0: the peer has
///    finished sending, which stays so, or `into` is empty.
/// 2. `read_lease()` is the same with memory that the stream lends; an empty lease is the end. A
///    holder that waits for more bytes of the same stream copies and releases the lease first.
/// 3. `write_all(bytes)` and `write_all(pieces)`, at most 1,024 of them, complete when all bytes
///    are on their way; they wait as long as the peer does not read (back-pressure). Several
///    pieces are one message: nothing comes between them.
/// 4. `shutdown_write()` ends the own direction: the peer reads what was written, then the end.
///    Reading goes on.
/// 5. `close()` ends both at once, and waits until the stream has let go of everything. Whoever
///    else waits on the stream gets ECANCELED. Afterwards is_open() is false and any use of the
///    stream but closing, assigning and destroying it is a programmer's error (an assertion).
///    Destroying an open stream closes it; nothing needs to be awaited.
/// 6. Errors: io_error, or with as_result the same as a value. After the peer has closed, reading
///    gives what it had sent, unless the connection was reset, and writing gives, once the news
///    has arrived, EPIPE or ECONNRESET. An error of a direction lasts, and a connection that a
///    write was told is lost does not end for a read as if the peer had finished.
/// 7. Concurrency: one read and one write at once. A second read beside a first, or write beside a
///    write (shutdown_write() is one), is a programmer's error and asserted.
/// 8. Cancellation and time-outs (with_timeout(d, stream.read(b)) and the like): a read that ends
///    so has taken nothing, the bytes are there for the next one. A write that ends so may have
///    sent some, all or none of its bytes: only closing is left.
/// 9. Memory given to an operation, the array of pieces too, must live until the co_await is over.
///    The stream may be moved meanwhile.
///
/// Every operation is an awaiter that as_result and with_timeout understand, so that a hot loop
/// pays neither an exception nor a frame; close() may be any awaiter.
template <class Stream>
concept byte_stream =
    std::movable<Stream> && requires(Stream& stream, const Stream& seen, mutable_buffer into,
                                     const_buffer bytes, std::span<const const_buffer> pieces) {
      { stream.read(into) } -> detail::operation_giving<std::size_t>;
      { stream.read_lease() } -> detail::operation_giving<lease>;
      { stream.write_all(bytes) } -> detail::operation_doing;
      { stream.write_all(pieces) } -> detail::operation_doing;
      { stream.shutdown_write() } -> detail::operation_doing;
      { stream.close() } -> awaiter;
      { seen.is_open() } -> std::same_as<bool>;
    };

/// What can go wrong with a stream and has no errno: the codes of category "stream".
enum class stream_error {
  unexpected_end = 1,  ///< the peer finished sending in the middle of a message
};

/// The category "stream"; the same object in every call.
const std::error_category& stream_category() noexcept;
std::error_code make_error_code(stream_error error) noexcept;

namespace detail {
/// "read: the stream ended in the middle of a message"
[[noreturn]] void throw_unexpected_end();
/// "read more than 8192 bytes: Message too long" (EMSGSIZE)
[[noreturn]] void throw_too_long(std::size_t size_max);
}  // namespace detail

/// Everything until the end of the stream.
///
/// Errors: those of the stream; EMSGSIZE as soon as more than `size_max` bytes have come: the
///   stream still works, but what was read so far is lost.
/// Cancellation: what was read so far is lost.
/// Cost: one frame; the bytes are copied once into the string.
template <byte_stream Stream>
task<std::string> read_all(Stream& from, std::size_t size_max) {
  std::string all;
  while (lease bytes = co_await from.read_lease()) {
    if (bytes.size() > size_max - all.size()) detail::throw_too_long(size_max);
    all.append(bytes.text());
  }
  co_return all;
}

/// One direction of a proxy: passes on what `from` brings until it ends, and then ends that
/// direction of `to`. Gives the number of bytes. Two of them, in a nursery, are a proxy.
///
/// Holds one buffer while `to` cannot take it and reads no further, so a slow receiver slows the
/// sender down (back-pressure). Waits as long as the streams do: a proxy that must notice a peer
/// that is silent for ever has an idle time-out, as the example.
/// Errors: those of both streams; nothing is shut down then. `to` must not be closed as usual then,
///   nor what a direction beside it writes to: their peers would take what has come for all there
///   is. set_linger(0s) of a TCP stream, before it is destroyed, makes the close a reset.
/// Cancellation: bytes that were being written may have been sent in part; the same holds.
/// A reset is told once. If a write to `from` is about to be told, an end may be passed on before
///   it; a proxy waits for that write.
/// Example: examples/05_tcp_proxy.cpp, which copies by itself and does all of this.
/// Lifetime: both streams outlive it. Cost: one frame, no copy, no allocation.
template <byte_stream From, byte_stream To>
task<std::uint64_t> copy(From& from, To& to) {
  std::uint64_t size = 0;
  while (lease bytes = co_await from.read_lease()) {
    co_await to.write_all(bytes);
    size += bytes.size();
  }
  co_await to.shutdown_write();
  co_return size;
}

}  // namespace rill

template <>
struct std::is_error_code_enum<rill::stream_error> : std::true_type {};
