// A member of the TCP protocol on a stream of any kind, from `NICK` to its last word.
//   co_await rill::chat::serve(listener, here);
// An idle member owns this session's frame, its stream and its record, and no buffer. Not here:
// what it may say (text_member.h). Read next: examples/chat_server.cpp.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rill/net/buffer.h>
#include <rill/net/serve.h>
#include <rill/net/stream.h>
#include <rill/protocols/chat/branch.h>
#include <rill/protocols/chat/text.h>
#include <rill/protocols/chat/text_member.h>
#include <rill/protocols/chat/writers.h>
#include <rill/runtime/event.h>
#include <rill/runtime/loop.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/timeout.h>

namespace rill::chat {

namespace detail {

// Functions of their own, so that a frame holds one awaiter for each and not its parts as well.
template <byte_stream Stream>
auto receive(Stream& from, std::chrono::nanoseconds limit) {
  return as_result(with_timeout(limit, from.read_lease()));
}

template <byte_stream Stream>
auto transmit(Stream& to, const_buffer bytes, std::chrono::nanoseconds limit) {
  return as_result(with_timeout(limit, to.write_all(bytes)));
}

/// Many small messages in one send.
std::string joined(const std::vector<shared_bytes>& pieces);

/// Owned by the session and, while its queue is written, by that task.
template <byte_stream Stream>
class stream_member final : public text_member, public sender {
 public:
  stream_member(Stream&& stream, branch& of) : stream_(std::move(stream)), branch_(&of) {}

  Stream& stream() noexcept { return stream_; }
  branch& of() const noexcept { return *branch_; }
  void keep_self(const std::shared_ptr<stream_member>& self) noexcept { self_ = self; }

  /// The session is over: out of the hub. What is queued can still be written.
  void leave() noexcept {
    if (home() != nullptr) home()->detach(*this);
  }
  /// Nobody reads or writes any more.
  void drop() noexcept {
    leave();
    Stream dropped(std::move(stream_));
  }

  /// False: there are too many of its address, and it is told so.
  bool is_welcome() {
    if constexpr (requires { stream_.peer(); }) {
      if (branch_->addresses == nullptr) return true;
      if (counted_.enter(*branch_->addresses, stream_.peer())) return true;
      note("there are too many connections from your address");
      return false;
    }
    return true;
  }
  /// Until it has a name and is in the lobby. False: it never came to that.
  task<bool> introduce(drain_signal* drain);
  /// What came faster than it may; until the server drains.
  task<> take_slowly(std::string rest, drain_signal* drain);
  /// As far as its pace allows; the rest is given back.
  std::string take(std::string_view input) {
    const session_options& how = branch_->options;
    text_member::take(input, loop::current().now, how.lines, how.pace);
    return is_done() ? std::string() : std::string(input);
  }
  /// Waits until what is queued has been sent, at most write_timeout, and ends the stream.
  task<> finish(bool lingers);

  task<> write_queue(std::shared_ptr<sender> self) override;

 private:
  /// So much has write_timeout: who reads slowly is no worse than who reads seldom.
  static constexpr std::size_t part_size_max = std::size_t{16} * 1024;

  class notice;
  enum class kind : std::uint8_t { none, line, raw };

  void wake() noexcept override {
    if (!std::exchange(is_writing_, true)) branch_->outgoing.add(self_.lock());
  }
  void claim_changed() noexcept override { changed(); }
  void changed() noexcept {
    if (waiter_ != nullptr) waiter_->set();
  }
  task<kind> read_nickname(nickname_reader& answer, std::string& rest);
  task<bool> is_granted(std::string_view name);

  Stream stream_;
  branch* branch_;
  std::weak_ptr<stream_member> self_;
  address_counter::place counted_;
  rill::event* waiter_ = nullptr;  // set when the claim is answered, or the queue written
  bool is_writing_ = false;
};

/// Lets one task wait for a change of the member's.
template <byte_stream Stream>
class stream_member<Stream>::notice {
 public:
  explicit notice(stream_member& of) noexcept : of_(&of) { of_->waiter_ = &changed_; }
  notice(const notice&) = delete;
  notice& operator=(const notice&) = delete;
  ~notice() { of_->waiter_ = nullptr; }
  auto wait() noexcept { return changed_.wait(); }
  void reset() noexcept { changed_.reset(); }

 private:
  stream_member* of_;
  rill::event changed_;
};

template <byte_stream Stream>
task<> stream_member<Stream>::write_queue(std::shared_ptr<sender>) {
  struct guard {
    explicit guard(stream_member& of) noexcept : of_(&of) {}
    guard(const guard&) = delete;
    guard& operator=(const guard&) = delete;
    ~guard() {
      of_->is_writing_ = false;
      of_->changed();
    }
    stream_member* of_;
  };
  const guard writing(*this);
  while (stream_.is_open()) {
    const std::vector<shared_bytes> pieces = take_queue();
    if (pieces.empty()) co_return;
    std::string together;
    if (pieces.size() > 1) together = joined(pieces);
    std::string_view rest = pieces.size() > 1 ? together : *pieces.front();
    while (!rest.empty()) {
      if (!stream_.is_open()) co_return;
      const const_buffer part(rest.substr(0, part_size_max));
      rest.remove_prefix(part.size());
      const auto written = co_await transmit(stream_, part, branch_->options.write_timeout);
      if (written) continue;
      // It is lost, or takes nothing: the session, which reads, sees the end.
      if (written.error().is_timeout()) {
        shard_statistics::add(branch_->part.statistics().cut_count, 1);
      }
      if (stream_.is_open()) co_await stream_.close();
      co_return;
    }
    sent(pieces);
  }
}

template <byte_stream Stream>
task<typename stream_member<Stream>::kind> stream_member<Stream>::read_nickname(
    nickname_reader& answer, std::string& rest) {
  const session_options& how = branch_->options;
  auto end = loop_clock::after(loop_clock::now(), how.nickname_timeout);
  for (bool begun = false;;) {
    std::string_view input(rest);
    nickname_reader::status status = nickname_reader::status::incomplete;
    if (!input.empty()) {
      status = answer.take(input);
      rest = std::string(input);
      if (!begun) end = loop_clock::after(loop_clock::now(), how.raw_pause);
      begun = true;
    }
    if (status == nickname_reader::status::line) co_return kind::line;
    if (status == nickname_reader::status::too_long) co_return kind::none;
    if (!stream_.is_open()) co_return kind::none;  // what was written to it has failed
    const auto bytes = co_await as_result(with_deadline(end, stream_.read_lease()));
    if (!bytes && bytes.error().is_timeout() && begun) co_return kind::raw;
    if (!bytes || bytes->empty()) co_return kind::none;
    rest = std::string(bytes->text());
  }
}

template <byte_stream Stream>
task<bool> stream_member<Stream>::is_granted(std::string_view name) {
  if (const name_fault fault = check_name(name); fault != name_fault::none) {
    note(describe(fault));
    co_return false;
  }
  notice answered(*this);
  ask_for_name(name);
  if (claim() == claim_state::asked) co_await answered.wait();
  // A queue that was written sets the same event.
  while (claim() == claim_state::asked) {
    answered.reset();
    co_await answered.wait();
  }
  if (claim() == claim_state::granted) co_return true;
  note(std::string(name) + " is taken");
  co_return false;
}

template <byte_stream Stream>
task<bool> stream_member<Stream>::introduce(drain_signal* drain) {
  nickname_reader answer;
  std::string rest;
  for (unsigned attempt = 0; attempt != branch_->options.nickname_attempt_max; ++attempt) {
    send("NICK");
    answer.clear();
    const kind answered = co_await read_nickname(answer, rest);
    if (answered == kind::none) co_return false;
    set_form(answered == kind::line ? member_form::line : member_form::raw);
    const bool granted = co_await is_granted(answer.text());
    if (!granted) continue;
    home()->join(*this, home()->options().lobby);
    if (!rest.empty()) co_await take_slowly(std::move(rest), drain);
    co_return true;
  }
  co_return false;
}

template <byte_stream Stream>
task<> stream_member<Stream>::take_slowly(std::string rest, drain_signal* drain) {
  std::string_view input(rest);
  const session_options& how = branch_->options;
  while (!input.empty() && !is_done() && stream_.is_open()) {
    if (drain != nullptr && drain->is_draining()) break;
    const loop_clock::time_point next(loop_clock::duration(next_time(how.pace)));
    if (next > loop_clock::now() && drain == nullptr) {
      co_await sleep_until(next);
    } else if (next > loop_clock::now()) {
      try {
        co_await with_deadline(next, drain->wait());
      } catch (const timeout_error&) {
        // The next may be taken.
      }
    }
    text_member::take(input, loop::current().now, how.lines, how.pace);
  }
}

template <byte_stream Stream>
task<> stream_member<Stream>::finish(bool lingers) {
  const auto end = loop_clock::after(loop_clock::now(), branch_->options.write_timeout);
  {
    notice written(*this);
    while (is_writing_ && loop_clock::now() < end) {
      written.reset();
      try {
        co_await with_deadline(end, written.wait());
      } catch (const timeout_error&) {
        break;
      }
    }
  }
  if (is_writing_ || !stream_.is_open()) co_return;
  const auto done = co_await as_result(stream_.shutdown_write());
  // Closing with bytes unread would reset the connection, and the last words would be lost.
  constexpr auto linger_timeout = std::chrono::seconds(1);
  const auto linger_end = loop_clock::after(loop_clock::now(), linger_timeout);
  while (lingers && done) {
    const auto dropped = co_await as_result(with_deadline(linger_end, stream_.read_lease()));
    if (!dropped || dropped->empty()) break;
  }
  if (stream_.is_open()) co_await stream_.close();
}

/// In the frame of a session: takes the member out whatever becomes of the frame.
template <byte_stream Stream>
class presence {
 public:
  presence(Stream&& stream, branch& here)
      : of_(std::make_shared<stream_member<Stream>>(std::move(stream), here)) {
    of_->keep_self(of_);
    here.part.attach(*of_);
  }
  presence(const presence&) = delete;
  presence& operator=(const presence&) = delete;
  ~presence() { of_->drop(); }
  stream_member<Stream>* operator->() const noexcept { return of_.get(); }
  stream_member<Stream>& operator*() const noexcept { return *of_; }

 private:
  std::shared_ptr<stream_member<Stream>> of_;
};

}  // namespace detail

/// One connection, until the client has gone, says /quit, takes nothing of what waits for it, or
/// breaks a limit. With a drain signal: when the server drains, its members are told so, and what
/// waits for them is sent first; what they have sent faster than they may is not said any more.
///
/// Errors: none. Cancellation: the member leaves; what was queued for it is lost.
/// Lifetime: `here` and `drain` outlive it; here.outgoing must run.
/// Cost: one frame and one record; per message of its own one receive, for each that it gets, one
/// send or less.
template <byte_stream Stream>
task<> session(Stream stream, branch& here, drain_signal* drain = nullptr) {
  if constexpr (requires { stream.set_idle(true); }) stream.set_idle(true);
  detail::presence<Stream> me(std::move(stream), here);
  bool is_member = me->is_welcome();
  if (is_member) is_member = co_await me->introduce(drain);
  bool goes_on = is_member && !me->is_done() && me->stream().is_open();
  while (goes_on) {
    std::string rest;
    {
      const auto bytes = co_await detail::receive(me->stream(), here.options.idle_timeout);
      goes_on = bytes && !bytes->empty();
      if (goes_on) rest = me->take(bytes->text());
    }
    if (!rest.empty()) {
      co_await me->take_slowly(std::move(rest), drain);
      // Who goes on without a pause would never come to the end of what it has sent.
      if (drain != nullptr && drain->is_draining()) break;
    }
    if (me->is_done() || !me->stream().is_open()) goes_on = false;
  }
  const bool is_draining = drain != nullptr && drain->is_draining();
  if (is_draining) {
    here.part.begin_drain();
    me->note("the server is shutting down");
  }
  me->leave();
  co_await me->finish(me->is_done() || !is_member);
}

/// Serves the members that come through `listener` until it is cancelled; then tells everybody,
/// has what is queued written and ends. See rill::serve for limits and the drain.
/// For several listeners on one loop run here.outgoing beside them, as this does.
template <class Listener>
task<> serve(Listener& listener, branch& here, const serve_limits& limits = serve_limits()) {
  const auto talk = [&here](typename Listener::stream_type peer, drain_signal& drain) {
    return session(std::move(peer), here, &drain);
  };
  co_await with_nursery([&](nursery& outer) -> task<> {
    const writers::ending end(here.outgoing);
    outer.start([&here] { return here.outgoing.run(); });
    co_await rill::serve(listener, talk, limits);
  });
}

}  // namespace rill::chat
