// buffered_reader and buffered_writer over a stream in memory, beside plain strings. The input says
// what comes, in which pieces and when, and what is called; each call gives what the string gives,
// or waits, in which case its time-out or cancellation loses nothing.
#include <cerrno>
#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "fuzz/input.h"
#include "fuzz/world.h"
#include <rill/net/buffered.h>
#include <rill/net/memory_stream.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/timeout.h>

namespace {

using namespace std::chrono_literals;
using rill::const_buffer;
using rill::memory_stream;
using rill::task;
using rill::fuzz::check;

/// How a call ended.
enum class ending { value, end_of_stream, too_long, cut_short, failed, timed_out };

struct outcome {
  explicit outcome(ending how, std::string_view what = {}) : how(how), bytes(what) {}
  ending how;
  std::string_view bytes;
};

std::string_view text_of(const_buffer bytes) { return bytes.text(); }
std::string_view text_of(std::string_view text) { return text; }

template <class T>
outcome outcome_with(const std::optional<T>& came) {
  return came ? outcome(ending::value, text_of(*came)) : outcome(ending::end_of_stream);
}
outcome outcome_with(const_buffer came) { return outcome(ending::value, came.text()); }

outcome outcome_with(const std::error_code& code) {
  if (code == std::errc::message_size) return outcome(ending::too_long);
  if (code == rill::stream_error::unexpected_end) return outcome(ending::cut_short);
  check(code == std::errc::connection_reset, "only the error that was injected");
  return outcome(ending::failed);
}

/// Later than everything that is under way.
constexpr auto patience = 1ms;

template <class T>
task<outcome> outcome_of(task<T> reading) {
  try {
    const T came = co_await rill::with_timeout(patience, std::move(reading));
    co_return outcome_with(came);
  } catch (const rill::timeout_error&) {
    co_return outcome(ending::timed_out);
  } catch (const rill::io_error& error) {
    co_return outcome_with(error.code());
  }
}

class session {
 public:
  session(rill::fuzz::input& from, memory_stream& near, memory_stream& far)
      : from_(&from),
        near_(&near),
        far_(&far),
        reader_(near),
        capacity_(1 + from.number(63)),
        writer_(near, capacity_) {}

  task<> run() {
    co_await rill::with_nursery([this](rill::nursery& tasks) -> task<> {
      while (!from_->empty()) {
        const int what = from_->byte() % 18;
        if (what < 6) {
          co_await prepare(what, tasks);
        } else if (what < 14) {
          co_await read(what);
        } else {
          co_await write(what);
        }
        check_buffered();
      }
    });
    check(held_ == copy_, "a view stays what it was");
  }

 private:
  // ---------------------------------------------------------------- what comes

  task<> prepare(int what, rill::nursery& tasks) {
    if (what == 0 && !ended_) {
      co_await settle();
      const std::string_view more = next_piece();
      co_await far_->write_all(const_buffer(more));
    } else if (what == 1 && !ended_) {  // while somebody waits for it, perhaps
      const auto when = std::chrono::microseconds(1 + from_->number(100));
      const std::string_view more = next_piece();
      // In order: what comes later must not overtake.
      due_ = std::max(due_ + 1us, rill::loop_clock::now() + when);
      tasks.start([this, more, at = due_]() -> task<> {
        co_await rill::sleep_until(at);
        co_await far_->write_all(const_buffer(more));
        --under_way_;
      });
      ++under_way_;
    } else if (what == 2) {
      near_->set_read_size_max(1 + from_->number(40));
    } else if (what == 3 && !ended_) {
      co_await settle();
      ended_ = true;
      co_await far_->shutdown_write();
    } else if (what == 4 && fails_at_ == std::string::npos) {
      const std::size_t size = from_->number(60);
      co_await settle();
      fails_at_ = read_ + reader_.buffered().size() + size;
      near_->fail_reads_after(size, ECONNRESET);
    } else if (what == 5) {
      co_await rill::sleep_for(std::chrono::microseconds(from_->number(50)));
    }
  }

  /// Nothing is under way any more.
  task<> settle() {
    while (under_way_ != 0) co_await rill::sleep_for(1us);
  }

  std::string_view next_piece() {
    const std::string_view piece = from_->text(from_->number(80));
    content_ += piece;
    return piece;
  }

  // ---------------------------------------------------------------- reading

  /// What may still be read, if one waits long enough.
  std::string_view left() const {
    const std::string_view all(content_);
    return all.substr(0, fails_at_).substr(read_);
  }
  /// How a call ends that needs more than is left.
  ending at_the_end() const {
    if (fails_at_ <= content_.size()) return ending::failed;
    if (!ended_) return ending::timed_out;
    return left().empty() ? ending::end_of_stream : ending::cut_short;
  }

  void check_buffered() const {
    const std::string_view buffered = reader_.buffered().text();
    check(left().starts_with(buffered), "what is buffered is what comes next");
  }

  task<> read(int what) {
    check(held_ == copy_, "a view stays what it was until the next call");
    if (what == 6) {
      static constexpr std::string_view delimiters[] = {"\n", "\r\n", "aab", "abab", "...."};
      const std::string_view delimiter = delimiters[from_->number(4)];
      const std::size_t most = from_->number(100);
      outcome expected(at_the_end());
      const std::size_t found = left().find(delimiter);
      if (found != std::string_view::npos) {
        expected = found <= most ? outcome(ending::value, left().substr(0, found))
                                 : outcome(ending::too_long);
      } else if (left().size() >= most + delimiter.size()) {
        expected = outcome(ending::too_long);
      }
      const outcome came = co_await outcome_of(reader_.read_until(delimiter, most));
      take(came, expected, delimiter.size());
    } else if (what == 7) {
      const std::size_t most = from_->number(100);
      outcome expected(at_the_end());
      std::size_t ending_size = 1;
      const std::size_t found = left().find('\n');
      if (found != std::string_view::npos) {
        std::string_view line = left().substr(0, found);
        if (line.ends_with('\r')) {
          line.remove_suffix(1);
          ending_size = 2;
        }
        expected = line.size() <= most ? outcome(ending::value, line) : outcome(ending::too_long);
      } else if (left().size() >= most + 2) {
        expected = outcome(ending::too_long);
      }
      const outcome came = co_await outcome_of(reader_.read_line(most));
      take(came, expected, ending_size);
    } else if (what == 8) {
      const std::size_t size = from_->number(120);
      const outcome came = co_await outcome_of(reader_.read_exactly(size));
      take(came, exactly(size), 0);
    } else if (what == 9) {
      const std::size_t size = from_->number(120);
      outcome expected = exactly(size);
      const bool short_of_it =
          expected.how == ending::end_of_stream || expected.how == ending::cut_short;
      if (short_of_it) expected = outcome(ending::value, left());
      const outcome came = co_await outcome_of(reader_.peek(size));
      take(came, expected, 0);
      if (came.how == ending::value) read_ -= came.bytes.size();  // it stays
    } else if (what == 10) {
      const outcome came = co_await outcome_of(reader_.read_some());
      co_await take_part(came);
    } else if (what == 11) {
      co_await fill();
    } else if (what == 12) {
      const std::size_t size = from_->number(reader_.buffered().size());
      reader_.consume(size);
      read_ += size;
    } else {
      co_await read_and_cancel();
    }
  }

  outcome exactly(std::size_t size) const {
    return left().size() >= size ? outcome(ending::value, left().substr(0, size))
                                 : outcome(at_the_end());
  }

  void take(const outcome& came, const outcome& expected, std::size_t behind) {
    hold({});
    check(came.how == expected.how, "a call ends as the string says");
    check(came.bytes == expected.bytes, "a call gives what the string gives");
    if (came.how != ending::value) return;
    read_ += came.bytes.size() + behind;
    hold(came.bytes);
  }

  /// Of read_some: how much comes is the stream's affair.
  task<> take_part(const outcome& came) {
    hold({});
    if (came.how == ending::value && !came.bytes.empty()) {
      check(left().starts_with(came.bytes), "bytes come in their order");
      read_ += came.bytes.size();
      hold(came.bytes);
      co_return;
    }
    check(left().empty(), "what has come is given out");
    const bool is_end = at_the_end() == ending::end_of_stream;
    check(is_end ? came.how == ending::value : came.how == at_the_end(), "an end is an empty view");
  }

  task<> fill() {
    hold({});
    const std::size_t before = reader_.buffered().size();
    const bool all_buffered = before == left().size();
    const auto came = co_await rill::as_result(rill::with_timeout(patience, reader_.fill()));
    if (came) {
      check(reader_.buffered().size() == before + *came, "fill says how many bytes came");
      check(*came != 0 || (all_buffered && ended_ && fails_at_ > content_.size()),
            "no bytes are the end");
      co_return;
    }
    check(reader_.buffered().size() == before, "a fill that fails loses nothing");
    check(all_buffered, "what has come is taken");
    const bool fails = fails_at_ <= content_.size();
    check(came.error().is_timeout() == !fails, "a fill fails as the stream does");
    check(fails || !ended_, "a stream that has ended does not wait");
  }

  /// Another chain reads and is cancelled some turns later: it has all or nothing.
  task<> read_and_cancel() {
    hold({});
    const std::size_t size = from_->number(60);
    const std::size_t turns = from_->number(4);
    std::optional<std::string> got;
    bool ended = false;
    co_await rill::with_nursery([&](rill::nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        try {
          const auto bytes = co_await reader_.read_exactly(size);
          ended = true;
          if (bytes) got.emplace(bytes->text());
        } catch (const rill::io_error&) {
          ended = true;
        }
      });
      for (std::size_t i = 0; i < turns; ++i) co_await rill::sleep_for(1us);
      tasks.cancel();
    });
    if (!ended) co_return;
    const outcome expected = exactly(size);
    check(got.has_value() == (expected.how == ending::value), "it ends as the string says");
    if (!got) co_return;
    check(*got == expected.bytes, "it gives what the string gives");
    read_ += size;
  }

  void hold(std::string_view view) {
    held_ = view;
    copy_ = view;
  }

  // ---------------------------------------------------------------- writing

  task<> write(int what) {
    if (what == 14) {
      const std::string_view text = from_->text(from_->number(90));
      const bool fits = writer_.size() + text.size() <= capacity_;
      co_await writer_.write(const_buffer(text));
      written_ += text;
      if (!fits) sent_ = written_.size();
    } else if (what == 15) {
      const std::string_view text = from_->text(from_->number(90));
      const bool fits = writer_.size() + text.size() <= capacity_;
      check(writer_.try_write(const_buffer(text)) == fits, "what fits is taken");
      if (fits) written_ += text;
    } else if (what == 16) {
      co_await writer_.flush();
      sent_ = written_.size();
    } else {
      std::string room(1 + from_->number(100), ' ');
      const auto came = co_await rill::as_result(
          rill::with_timeout(patience, far_->read(rill::mutable_buffer(room))));
      check(came.has_value() == (received_ < sent_), "what was sent has arrived, and no more");
      if (came) {
        check(written_.compare(received_, *came, room, 0, *came) == 0,
              "and it is what was written");
        received_ += *came;
      }
    }
    check(writer_.size() == written_.size() - sent_, "the writer knows what it holds");
  }

  rill::fuzz::input* from_;
  memory_stream* near_;
  memory_stream* far_;
  rill::buffered_reader<memory_stream> reader_;
  std::string content_;  // all that has come or is on its way
  std::size_t read_ = 0;
  bool ended_ = false;
  std::size_t fails_at_ = std::string::npos;
  rill::loop_clock::time_point due_{};  // of the latest piece that is under way
  int under_way_ = 0;
  std::string_view held_;
  std::string copy_;
  std::size_t capacity_;
  rill::buffered_writer<memory_stream> writer_;
  std::string written_;
  std::size_t sent_ = 0;
  std::size_t received_ = 0;
};

task<> run(rill::fuzz::input from) {
  auto pair = rill::memory_stream_pair();
  session one(from, pair.first, pair.second);
  co_await one.run();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t size_max = 2048;
  if (size > size_max) return -1;
  rill::fuzz::in_a_world(1, [&](rill::sim::world& world) {
    world.add_host("host", "10.0.0.1").run(run, rill::fuzz::input(data, size));
    world.run();
  });
  return 0;
}
