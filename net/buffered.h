// buffered_reader and buffered_writer: lines, exact sizes and small writes over any byte_stream.
// A reader keeps the buffer that the loop lent as long as that holds whole messages, and copies
// only a message that lies across two of them; between messages it owns no memory.
// Not here: message formats; a codec takes fill(), buffered() and consume().
// Read next: tests/net/buffered_test.cpp.
#pragma once

#include <algorithm>
#include <climits>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <rill/net/stream.h>
#include <rill/runtime/loop.h>

namespace rill {

/// Reads messages of a stream that it refers to; the stream outlives it and stays in its place.
/// Bytes that the reader has taken from the stream and not given out are its own: read on through
/// the same reader.
///
/// Views: what a call gives out stays valid until the next call of any member but buffered().
/// End: a stream that ends between two messages gives nothing (nullopt, an empty view). One that
///   ends within a message is io_error with stream_error::unexpected_end.
/// Limits: a message of more than `size_max` bytes is io_error with std::errc::message_size. At
///   most `size_max` bytes and one buffer of the loop's are held before that shows.
/// Cancellation, time-outs and both errors lose nothing: the bytes stay in the reader.
/// Concurrency: one call at a time.
/// Cost: fill() is one operation; the others add a frame from the cache. A message that lies in one
///   lease is not copied, another is copied once.
template <byte_stream Stream>
class buffered_reader {
  class fill_awaiter;

 public:
  explicit buffered_reader(Stream& from) noexcept : stream_(&from) {}
  buffered_reader(const buffered_reader&) = delete;
  buffered_reader& operator=(const buffered_reader&) = delete;

  /// What has come and was not consumed.
  const_buffer buffered() const noexcept {
    const std::span<const std::byte> all =
        own_.empty() ? std::span<const std::byte>(lease_) : std::span<const std::byte>(own_);
    return {all.data() + offset_, all.size() - offset_};
  }
  /// Drops the first `size` bytes of buffered(). Views of them stay valid.
  void consume(std::size_t size) noexcept {
    RILL_ASSERT(size <= buffered().size(), "more was consumed than is buffered");
    offset_ += size;
  }

  /// Bytes that were taken from the stream before. REQUIRES: nothing is buffered.
  void put_back(std::string_view bytes) {
    RILL_ASSERT(buffered().empty(), "bytes were put back behind others");
    lease_.release();
    const const_buffer all(bytes);
    own_.assign(all.data(), all.data() + all.size());
    offset_ = 0;
  }
  /// Gives away what is buffered, so that somebody else can go on with the stream.
  std::string take_buffered() {
    std::string all(buffered().text());
    own_ = {};
    lease_.release();
    offset_ = 0;
    return all;
  }

  /// Reads on, behind what is buffered, and gives how many bytes came; 0: the stream has ended.
  /// For as_result and with_timeout. What is buffered moves: views become invalid.
  [[nodiscard]] auto fill() {
    make_room();
    return fill_awaiter(*this);
  }

  /// The bytes up to `delimiter`, which is consumed and not part of them; nullopt at the end.
  /// `size_max` does not count the delimiter, which must live until the co_await is over.
  task<std::optional<std::string_view>> read_until(std::string_view delimiter,
                                                   std::size_t size_max) {
    RILL_ASSERT(!delimiter.empty(), "read_until needs a delimiter");
    std::size_t searched = 0;
    for (;;) {
      const std::string_view text = buffered().text();
      const std::size_t found = text.find(delimiter, searched);
      if (found != std::string_view::npos) {
        if (found > size_max) break;
        consume(found + delimiter.size());
        co_return text.substr(0, found);
      }
      if (text.size() > size_max && text.size() - size_max >= delimiter.size()) break;
      // A delimiter may have begun in the last bytes.
      searched = text.size() - std::min(text.size(), delimiter.size() - 1);
      const std::size_t came = co_await fill();
      if (came == 0) co_return nothing_or_throw();
    }
    detail::throw_too_long(size_max);
  }

  /// The next line without its LF or CRLF, which `size_max` does not count; nullopt at the end. A
  /// CR elsewhere is a byte like others. For protocols that allow CRLF only: read_until("\r\n").
  task<std::optional<std::string_view>> read_line(std::size_t size_max) {
    std::size_t searched = 0;
    for (;;) {
      const std::string_view text = buffered().text();
      const std::size_t found = text.find('\n', searched);
      if (found != std::string_view::npos) {
        std::string_view line = text.substr(0, found);
        if (line.ends_with('\r')) line.remove_suffix(1);
        if (line.size() > size_max) break;
        consume(found + 1);
        co_return line;
      }
      if (text.size() > size_max && text.size() - size_max >= 2) break;
      searched = text.size();
      const std::size_t came = co_await fill();
      if (came == 0) co_return nothing_or_throw();
    }
    detail::throw_too_long(size_max);
  }

  /// Exactly `size` bytes; nullopt if the stream has ended before the first of them.
  task<std::optional<const_buffer>> read_exactly(std::size_t size) {
    while (buffered().size() < size) {
      const std::size_t came = co_await fill();
      if (came != 0) continue;
      nothing_or_throw();
      co_return std::nullopt;
    }
    const const_buffer taken(buffered().data(), size);
    consume(size);
    co_return taken;
  }

  /// The next `size` bytes, which stay buffered; fewer only if the stream ends before.
  task<const_buffer> peek(std::size_t size) {
    while (buffered().size() < size) {
      const std::size_t came = co_await fill();
      if (came == 0) break;
    }
    co_return const_buffer(buffered().data(), std::min(size, buffered().size()));
  }

  /// Whatever comes next, at most one lease and what was buffered; empty: the stream has ended.
  task<const_buffer> read_some() {
    if (buffered().empty()) co_await fill();
    const const_buffer taken = buffered();
    consume(taken.size());
    co_return taken;
  }

 private:
  using lease_operation = decltype(std::declval<Stream&>().read_lease());

  class fill_awaiter {
   public:
    using rill_awaiter = void;
    explicit fill_awaiter(buffered_reader& reader) noexcept
        : reader_(&reader), inner_(reader.stream_->read_lease()) {}

    bool await_ready() { return inner_.await_ready(); }
    template <class Promise>
    auto await_suspend(std::coroutine_handle<Promise> frame) {
      return inner_.await_suspend(frame);
    }
    std::size_t await_resume() { return reader_->keep(inner_.await_resume()); }
    result<std::size_t> take_result() {
      result<lease> taken = inner_.take_result();
      if (!taken) return tl::unexpected(taken.error());
      return reader_->keep(std::move(*taken));
    }
    void set_deadline(std::int64_t deadline) noexcept { inner_.set_deadline(deadline); }

   private:
    buffered_reader* reader_;
    lease_operation inner_;
  };

  /// Forgets what was consumed; moves what is left of a lease into memory of our own, because a
  /// reader that holds one while it waits for more keeps it from the others of the loop.
  void make_room() {
    if (own_.empty()) {
      const const_buffer left = buffered();
      own_.assign(left.data(), left.data() + left.size());
      lease_.release();
    } else if (offset_ == own_.size()) {
      own_ = {};
      offset_ = 0;
      if (!lease_.empty()) make_room();
    } else {
      own_.erase(own_.begin(), own_.begin() + static_cast<std::ptrdiff_t>(offset_));
      own_.insert(own_.end(), lease_.data(), lease_.data() + lease_.size());
      lease_.release();
    }
    offset_ = 0;
  }

  /// Nothing is lost if memory is short: own_ and a lease behind it is a state like others.
  std::size_t keep(lease&& taken) {
    lease_ = std::move(taken);
    const std::size_t size = lease_.size();
    if (!own_.empty()) {
      own_.insert(own_.end(), lease_.data(), lease_.data() + size);
      lease_.release();
    }
    return size;
  }

  std::nullopt_t nothing_or_throw() const {
    if (!buffered().empty()) detail::throw_unexpected_end();
    return std::nullopt;
  }

  Stream* stream_;
  lease lease_;                 // behind own_, if that is not empty
  std::vector<std::byte> own_;  // released as soon as it is consumed
  std::size_t offset_ = 0;      // bytes consumed of own_, or of lease_ if own_ is empty
};

/// Collects small writes and sends them in few operations. It refers to a stream that outlives it.
///
/// Nothing is sent by itself except when the buffer is full: flush() before waiting for an answer,
/// and before the writer is destroyed, which drops what is left.
/// Cancellation, time-outs and errors: some, all or none of what was buffered may have been sent:
///   close the stream. Using the writer afterwards is an assertion.
/// Concurrency: one call at a time, also asserted.
/// Cost: one allocation of `capacity` bytes at the first write; a write that fits is a copy,
///   without suspension; one that does not goes out with what is buffered in one gathered
///   operation, not copied.
template <byte_stream Stream>
class buffered_writer {
  class write_awaiter;

 public:
  explicit buffered_writer(Stream& to, std::size_t capacity = 4096) noexcept
      : stream_(&to), capacity_(capacity) {}
  buffered_writer(const buffered_writer&) = delete;
  buffered_writer& operator=(const buffered_writer&) = delete;

  /// Takes all of it: into the buffer, or, with what is buffered, to the stream. Memory must live
  /// until the co_await is over. For as_result and with_timeout.
  [[nodiscard]] auto write(const_buffer bytes) noexcept {
    return write_awaiter(*this, bytes, false);
  }
  /// Sends what is buffered.
  [[nodiscard]] auto flush() noexcept { return write_awaiter(*this, const_buffer(), true); }
  /// Without waiting: false, and nothing taken, if it does not fit.
  bool try_write(const_buffer bytes) {
    RILL_ASSERT(!sending_,
                "a buffered_writer is used by two tasks at once, or after a write that "
                "failed or was cancelled: close the stream");
    if (bytes.size() > capacity_ - buffer_.size()) return false;
    if (buffer_.capacity() == 0) buffer_.reserve(capacity_);
    buffer_.insert(buffer_.end(), bytes.data(), bytes.data() + bytes.size());
    return true;
  }
  /// Bytes that wait to be flushed.
  std::size_t size() const noexcept { return buffer_.size(); }

 private:
  using gathered_operation =
      decltype(std::declval<Stream&>().write_all(std::span<const const_buffer>()));

  class write_awaiter {
   public:
    using rill_awaiter = void;
    write_awaiter(buffered_writer& writer, const_buffer bytes, bool flushing) noexcept
        : writer_(&writer), bytes_(bytes), flushing_(flushing) {}

    bool await_ready() {
      is_done_ = flushing_ ? writer_->buffer_.empty() : writer_->try_write(bytes_);
      return is_done_ && loop::current().may_continue();
    }
    template <class Promise>
    auto await_suspend(std::coroutine_handle<Promise> frame) {
      using answer = decltype(inner_->await_suspend(frame));
      if (is_done_) {  // the others' turn
        frame.promise().owner_chain->yield(frame.promise());
        if constexpr (std::is_void_v<answer>) {
          return;
        } else if constexpr (std::is_same_v<answer, bool>) {
          return true;
        } else {
          return answer(std::noop_coroutine());
        }
      }
      inner_.emplace(writer_->send(bytes_));
      inner_->set_deadline(deadline_);
      return inner_->await_suspend(frame);
    }
    void await_resume() {
      if (!inner_) return;
      inner_->await_resume();
      writer_->sent();
    }
    result<std::size_t> take_result() {
      if (inner_) {
        result<std::size_t> taken = inner_->take_result();
        if (!taken) return taken;
        writer_->sent();
      }
      return bytes_.size();
    }
    void set_deadline(std::int64_t deadline) noexcept { deadline_ = deadline; }

   private:
    buffered_writer* writer_;
    const_buffer bytes_;
    std::int64_t deadline_ = INT64_MAX;
    std::optional<gathered_operation> inner_;
    bool flushing_;
    bool is_done_ = false;
  };

  gathered_operation send(const_buffer bytes) {
    RILL_ASSERT(!sending_,
                "a buffered_writer is used by two tasks at once, or after a write that "
                "failed or was cancelled: close the stream");
    sending_ = true;
    pieces_[0] = const_buffer(buffer_);
    pieces_[1] = bytes;
    return stream_->write_all(std::span<const const_buffer>(pieces_));
  }
  void sent() noexcept {
    sending_ = false;
    buffer_.clear();
  }

  Stream* stream_;
  std::size_t capacity_;
  std::vector<std::byte> buffer_;
  const_buffer pieces_[2];
  bool sending_ = false;  // and for ever, if that did not end well
};

}  // namespace rill
