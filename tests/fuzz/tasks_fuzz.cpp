// A small random program of tasks: the input says what each does (sleeps, sockets, channels, files,
// calls that block), how they stand below each other (nurseries, time-outs, all_of, any_of,
// shields), when whom is cancelled, and what the kernel and the network do meanwhile. Whatever it
// is: it ends, a scope outlives what it has started, an echo is what was sent, a channel delivers
// each value once, and neither frame nor descriptor is left.
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fuzz/input.h"
#include "fuzz/world.h"
#include <rill/net/serve.h>
#include <rill/net/tcp.h>
#include <rill/net/udp.h>
#include <rill/net/unix.h>
#include <rill/runtime/blocking.h>
#include <rill/runtime/channel.h>
#include <rill/runtime/combine.h>
#include <rill/runtime/event.h>
#include <rill/runtime/file.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/semaphore.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/timeout.h>

namespace {

using namespace std::chrono_literals;
using rill::endpoint;
using rill::task;
using rill::fuzz::check;

endpoint at(std::string_view text) { return *endpoint::parse(text); }

/// What a task throws to see its siblings cancelled.
struct mishap {};

/// Counts a task as long as its frame lives.
class alive {
 public:
  explicit alive(int& count) : count_(&count) { ++count; }
  alive(const alive&) = delete;
  alive& operator=(const alive&) = delete;
  ~alive() { --*count_; }

 private:
  int* count_;
};

/// Byte `index` of what connection `seed` sends.
char pattern(std::size_t index, unsigned seed) {
  return static_cast<char>((index * 7 + index / 256 + seed) % 251);
}

/// A connection to the echo server, and how far both directions have come.
template <class Stream>
class conversation {
 public:
  conversation(Stream&& stream, unsigned seed, bool may_break)
      : stream_(std::move(stream)), seed_(seed), may_break_(may_break) {}

  bool is_open() const { return stream_.is_open(); }
  bool may_write() const { return is_open() && !is_shut_; }

  task<> write(std::size_t size, std::chrono::nanoseconds limit) {
    std::string bytes(size, ' ');
    for (std::size_t i = 0; i < size; ++i) bytes[i] = pattern(sent_ + i, seed_);
    // Until it has completed only closing is left, and that is what a destroyed frame means, too.
    is_shut_ = true;
    sent_ += size;
    const auto done = co_await rill::as_result(
        rill::with_timeout(limit, stream_.write_all(rill::const_buffer(bytes))));
    if (succeeded(done)) is_shut_ = false;
  }

  task<> read(std::size_t size, std::chrono::nanoseconds limit) {
    std::string room(size, ' ');
    const auto came = co_await rill::as_result(
        rill::with_timeout(limit, stream_.read(rill::mutable_buffer(room))));
    if (succeeded(came)) take(std::string_view(room).substr(0, *came), size != 0);
  }

  task<> read_lease(std::chrono::nanoseconds limit, std::chrono::nanoseconds keep) {
    const auto came = co_await rill::as_result(rill::with_timeout(limit, stream_.read_lease()));
    if (!succeeded(came)) co_return;
    if (keep != 0ns) co_await rill::sleep_for(keep);
    take(came->text(), true);
  }

  /// All or nothing, and no byte is lost if it is nothing.
  task<> read_exactly(std::size_t size, std::chrono::nanoseconds limit) {
    std::string room(size, ' ');
    try {
      const bool whole =
          co_await rill::with_timeout(limit, stream_.read_exactly(rill::mutable_buffer(room)));
      if (whole) take(room, false);
    } catch (const rill::timeout_error&) {
    } catch (const rill::io_error&) {
      check(may_break_, "nothing breaks in good weather");
    }
  }

  task<> shut_down(std::chrono::nanoseconds limit) {
    is_shut_ = true;
    co_await rill::as_result(rill::with_timeout(limit, stream_.shutdown_write()));
  }

  task<> close() { co_await stream_.close(); }

 private:
  void take(std::string_view bytes, bool empty_is_end) {
    check(received_ + bytes.size() <= sent_, "nothing comes that was not sent");
    for (const char each : bytes) {
      check(each == pattern(received_, seed_), "what comes is what was sent, in order");
      ++received_;
    }
    check(!has_ended_ || bytes.empty(), "nothing comes after the end");
    if (bytes.empty() && empty_is_end) has_ended_ = true;
  }

  template <class Result>
  bool succeeded(const Result& done) const {
    check(done || done.error().is_timeout() || may_break_, "nothing breaks in good weather");
    return done.has_value();
  }

  Stream stream_;
  unsigned seed_;
  bool may_break_;
  std::size_t sent_ = 0;
  std::size_t received_ = 0;
  bool is_shut_ = false;
  bool has_ended_ = false;
};

class program {
 public:
  program(rill::fuzz::input& from, bool may_break_now)
      : may_break(may_break_now), from_(&from), values_(from.number(3)) {}

  /// The outermost task.
  task<> run() {
    try {
      co_await act(0);
    } catch (const mishap&) {
    }
  }

  int living = 0;
  const bool may_break;  // the weather may: connections, and what needs memory or descriptors

 private:
  static constexpr int depth_max = 6;
  static constexpr int task_count_max = 60;

  std::chrono::nanoseconds a_while() {
    const std::size_t drawn = from_->byte();
    return std::chrono::microseconds(drawn * drawn / 8);
  }

  /// What a task does until the input says that it ends.
  task<> act(int depth) {
    const alive here(living);
    std::optional<conversation<rill::tcp_stream>> tcp;
    std::optional<conversation<rill::unix_stream>> local;
    while (!from_->empty()) {
      const int what = from_->byte() % 32;
      if (what == 0) co_return;
      if (what == 1) {
        throw mishap();
      } else if (what < 10) {
        if (depth < depth_max) co_await scope(what, depth + 1);
      } else if (what < 18) {
        co_await wait(what);
      } else if (what == 18) {
        if (!tcp) co_await connect(tcp, at("10.0.0.1:80"));
      } else if (what == 19) {
        if (!local) co_await connect(local, at("unix:/run/echo"));
      } else if (what == 20) {
        tcp.reset();
      } else if (what == 21) {
        local.reset();
      } else if (what < 28) {
        if (tcp) co_await talk(*tcp, what);
      } else if (what < 31) {
        if (local) co_await talk(*local, what == 28 ? 22 : what == 29 ? 24 : 26);
      } else {
        co_await ask_by_datagram();
      }
    }
  }

  /// The same for whoever starts it, who learns whether its frame is still there.
  task<> act_for(int depth, int& count) {
    const alive here(count);
    co_await act(depth);
  }

  // ---------------------------------------------------------------- scopes

  task<> scope(int what, int depth) {
    if (++task_count_ > task_count_max) co_return;
    int inside = 0;
    try {
      co_await open_scope(what, depth, inside);
    } catch (const mishap&) {
    } catch (const rill::timeout_error&) {
      check(what == 4 || what == 8, "only a deadline is late");
    }
    check(inside == 0, "a scope outlives what it has started");
  }

  task<> open_scope(int what, int depth, int& inside) {
    if (what == 2 || what == 3) {
      const std::size_t count = from_->number(3);
      const auto before_cancel = a_while();
      co_await rill::with_nursery([&](rill::nursery& tasks) -> task<> {
        for (std::size_t i = 0; i < count; ++i) {
          tasks.start([this, depth, &inside]() { return act_for(depth, inside); });
        }
        if (what == 2) {
          co_await act_for(depth, inside);
        } else {
          co_await rill::sleep_for(before_cancel);
          tasks.cancel();
        }
      });
    } else if (what == 4) {
      co_await rill::with_timeout(a_while(), act_for(depth, inside));
    } else if (what == 5) {
      co_await rill::all_of(act_for(depth, inside), act_for(depth, inside));
    } else if (what == 6) {
      co_await rill::any_of(act_for(depth, inside), rill::sleep_for(a_while()));
    } else if (what == 7) {
      co_await rill::any_of(act_for(depth, inside), act_for(depth, inside));
    } else if (what == 8) {
      co_await shield(depth, inside);
    } else {
      const auto turn = co_await permits_.acquire();
      ++holders_;
      check(holders_ <= 2, "no more permits than there are");
      const release_note note(holders_);
      co_await rill::sleep_for(a_while());
    }
  }

  class release_note {
   public:
    explicit release_note(int& count) : count_(&count) {}
    release_note(const release_note&) = delete;
    release_note& operator=(const release_note&) = delete;
    ~release_note() { --*count_; }

   private:
    int* count_;
  };

  /// A shield with a deadline inside: nothing else ends it.
  task<> shield(int depth, int& inside) {
    const auto limited = [this, depth, &inside]() -> task<> {
      co_await rill::with_timeout(a_while(), act_for(depth, inside));
    };
    co_await rill::shielded(limited());
  }

  // ---------------------------------------------------------------- waiting

  task<> wait(int what) {
    if (what == 10) {
      co_await rill::sleep_for(a_while());
    } else if (what == 11) {
      co_await rill::yield();
    } else if (what == 12) {
      co_await send_value();
    } else if (what == 13) {
      co_await receive_value();
    } else if (what == 14) {
      bell_.set();
      bell_.reset();
    } else if (what == 15) {
      try {
        co_await rill::with_timeout(a_while(), bell_.wait());
      } catch (const rill::timeout_error&) {
      }
    } else if (what == 16) {
      const int number = from_->byte();
      const int twice = co_await rill::run_blocking([](int n) { return n * 2; }, number);
      check(twice == number * 2, "a blocking call gives its result");
    } else {
      co_await use_file();
    }
  }

  /// A value that is being sent: if that is late or cancelled, nobody has it.
  class sending_note {
   public:
    sending_note(std::set<int>& all, int value) : all_(&all), value_(value) { all.insert(value); }
    sending_note(const sending_note&) = delete;
    sending_note& operator=(const sending_note&) = delete;
    ~sending_note() {
      if (!sent) check(all_->erase(value_) == 1, "a send that has not completed has not sent");
    }
    bool sent = false;

   private:
    std::set<int>* all_;
    int value_;
  };

  task<> send_value() {
    const int value = next_value_++;
    sending_note note(sending_, value);
    try {
      note.sent = co_await rill::with_timeout(a_while(), values_.send(value));
      check(note.sent, "a channel that is open takes a value");
    } catch (const rill::timeout_error&) {
    }
  }

  task<> receive_value() {
    try {
      const std::optional<int> got = co_await rill::with_timeout(a_while(), values_.receive());
      check(got.has_value(), "a channel that is open has a value");
      check(sending_.erase(*got) == 1, "each value is delivered once");
    } catch (const rill::timeout_error&) {
    }
  }

  task<> use_file() {
    const std::string path = "/tmp/" + std::to_string(from_->number(3));
    try {
      auto one = co_await rill::file::open(path, rill::open_mode::write | rill::open_mode::create);
      const std::string text(from_->number(300), 'f');
      co_await one.write_all_at(std::as_bytes(std::span(text)), 0);
      const auto status = co_await one.stat();
      check(status.size >= text.size(), "what was written is there");
    } catch (const rill::io_error&) {
      check(may_break, "a file fails only if the weather is bad");
    }
  }

  // ---------------------------------------------------------------- sockets

  template <class Stream>
  task<> connect(std::optional<conversation<Stream>>& to, const endpoint where) {
    try {
      auto stream = co_await rill::with_timeout(a_while(), Stream::connect(where));
      to.emplace(std::move(stream), next_seed_++, may_break);
    } catch (const rill::timeout_error&) {
    } catch (const rill::io_error&) {
      check(may_break, "a connection is refused only if the weather is bad");
    }
  }

  template <class Stream>
  task<> talk(conversation<Stream>& with, int what) {
    if (!with.is_open()) co_return;
    if (what == 22) {
      const std::size_t size = from_->number(255) * 40;
      if (with.may_write()) co_await with.write(size, a_while());
    } else if (what == 23) {
      const std::size_t size = from_->number(255) * 20;
      co_await with.read(size, a_while());
    } else if (what == 24) {
      const auto limit = a_while();
      co_await with.read_lease(limit, a_while());
    } else if (what == 25) {
      const std::size_t size = from_->number(255) * 20;
      co_await with.read_exactly(size, a_while());
    } else if (what == 26) {
      if (with.may_write()) co_await with.shut_down(a_while());
    } else {
      co_await with.close();
    }
  }

  task<> ask_by_datagram() {
    const std::size_t size = from_->number(255) * 8;
    const std::string text(size, static_cast<char>('a' + from_->number(25)));
    try {
      auto socket = rill::udp_socket::open(rill::address_family::ipv4);
      co_await socket.connect(at("10.0.0.1:7"));
      co_await rill::with_timeout(a_while(), socket.send(rill::const_buffer(text)));
      std::string room(4096, ' ');
      const auto came =
          co_await rill::with_timeout(a_while(), socket.recv_from(rill::mutable_buffer(room)));
      check(std::string_view(room).substr(0, came.size()) == text, "a datagram comes back whole");
    } catch (const rill::io_error&) {
    }
  }

  rill::fuzz::input* from_;
  rill::channel<int> values_;
  rill::event bell_;
  rill::semaphore permits_{2};
  int holders_ = 0;
  int next_value_ = 0;
  std::set<int> sending_;
  unsigned next_seed_ = 0;
  int task_count_ = 0;
};

// ---------------------------------------------------------------- the server and the weather

task<> echo(rill::tcp_stream peer) {
  while (auto bytes = co_await peer.read_lease()) co_await peer.write_all(bytes);
}
task<> unix_echo(rill::unix_stream peer) {
  while (auto bytes = co_await peer.read_lease()) co_await peer.write_all(bytes);
}

task<> serve_tcp() {
  auto listener = rill::tcp_listener::bind(at("0.0.0.0:80"));
  co_await rill::serve(listener, echo);
}
task<> serve_unix() {
  auto listener = rill::unix_listener::bind(at("unix:/run/echo"));
  co_await rill::serve(listener, unix_echo);
}
task<> serve_datagrams() {
  auto socket = rill::udp_socket::bind(at("0.0.0.0:7"));
  for (;;) {
    const auto message = co_await rill::as_result(socket.receive());
    if (message) co_await rill::as_result(socket.send_to(message->bytes(), message->peer()));
  }
}

/// The bits of those that nobody notices.
constexpr unsigned hidden_faults = 0x7fb;

/// Two bytes of the input: a fault for each bit that is set.
std::vector<rill::sim::fault_guard> weather(rill::sim::world& world, rill::sim::host& client,
                                            unsigned bits) {
  namespace sim = rill::sim;
  const sim::fault faults[] = {
      sim::failure("recv_multishot", ENOBUFS).sometimes(0.2),
      sim::failure("recv_multishot", EINTR).sometimes(0.2),
      sim::failure("accept_multishot", ECONNABORTED).sometimes(0.2),
      sim::failure("enter", EBUSY).sometimes(0.1),
      sim::failure("cancel", ENOENT).sometimes(0.3),
      sim::short_transfers().sometimes(0.4),
      sim::early_end().sometimes(0.4),
      sim::late_completions(200us).sometimes(0.3),
      sim::disordered_completions().sometimes(0.4),
      sim::slow_submission().sometimes(0.3),
      sim::completion_overflow().sometimes(0.2),
      sim::loss(0.1),
      sim::reset_after(5'000),
      sim::failure("send", ECONNRESET).sometimes(0.1),
      sim::no_memory().on(client).sometimes(0.02),
      sim::no_descriptors().on(client).sometimes(0.3),
  };
  std::vector<rill::sim::fault_guard> guards;
  for (std::size_t i = 0; i < std::size(faults); ++i) {
    if ((bits >> i & 1U) != 0) guards.push_back(world.inject(faults[i]));
  }
  return guards;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t size_max = 512;
  if (size > size_max) return -1;
  rill::fuzz::input from(data, size);
  const std::uint64_t seed = from.byte();
  const unsigned bits = from.byte() | unsigned{from.byte()} << 8;
  const std::size_t cancel_after = from.byte();
  program one(from, (bits & ~hidden_faults) != 0);
  rill::fuzz::in_a_world(seed, [&](rill::sim::world& world) {
    auto& server = world.add_host("server", "10.0.0.1");
    auto& client = world.add_host("client", "10.0.0.2");
    client.write_file("/tmp/0", "");
    client.write_file("/run/none", "");
    rill::sim::program* const services[] = {&server.run(serve_tcp), &server.run(serve_datagrams),
                                            &client.run(serve_unix)};
    world.run_for(100us);
    const auto guards = weather(world, client, bits);
    auto& session = client.run([&]() { return one.run(); });
    if (cancel_after < 128) {
      world.run_for(std::chrono::microseconds(cancel_after * cancel_after / 2));
      session.cancel();
    }
    world.run(session);
    check(one.living == 0, "every task has ended");
    for (rill::sim::program* each : services) each->cancel();
    for (rill::sim::program* each : services) world.run(*each);
    check(server.descriptor_count() == 2, "no descriptor of the server is left but its rings'");
    check(client.descriptor_count() == 2, "no descriptor of the client is left but its rings'");
  });
  return 0;
}
