// How signals reach tasks. See signals.h.
#include <rill/runtime/signals.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <rill/runtime/loop.h>
#include <rill/runtime/uring_abi.h>

namespace rill {
namespace {

constexpr std::uint64_t bit_of(int number) noexcept { return std::uint64_t{1} << (number - 1); }

std::uint64_t set_of(std::span<const int> numbers) {
  std::uint64_t set = 0;
  for (const int number : numbers) {
    if (number < 1 || number > 64 || number == SIGKILL || number == SIGSTOP) {
      throw std::invalid_argument("no task can wait for signal " + std::to_string(number));
    }
    set |= bit_of(number);
  }
  return set;
}

/// The kernel blocks the signals on the calling thread; a signal that another loop's thread leaves
/// open would be delivered there, with its default effect.
void block_on_other_loops(const loop& mine, std::uint64_t set) {
  loop::for_each_running([&](loop& each) {
    if (&each == &mine) return;
    each.post([set] {
      sigset_t blocked;
      sigemptyset(&blocked);
      for (int number = 1; number <= 64; ++number) {
        if ((set & bit_of(number)) != 0) sigaddset(&blocked, number);
      }
      ::pthread_sigmask(SIG_BLOCK, &blocked, nullptr);
    });
  });
}

}  // namespace

/// All sources of the process, in the order of their making.
struct detail::signal_list {
  std::mutex mutex;
  std::vector<signal_source*> sources;
  std::uint64_t next_id = 1;

  static signal_list& shared() {
    static auto* const all = new signal_list;  // never destroyed: threads may outlive main()
    return *all;
  }

  void add(signal_source& source) {
    const std::scoped_lock lock(mutex);
    source.id_ = next_id++;
    sources.push_back(&source);
  }
  void remove(signal_source& source) noexcept {
    const std::scoped_lock lock(mutex);
    std::erase(sources, &source);
  }
  /// `reader` has read `number`: all on its loop get it now, the others by message.
  void pass_on(const signal_source& reader, int number) noexcept {
    loop& here = reader.owner_loop();
    // Without a real descriptor to wake it the kernel is a simulated one, and so are its signals.
    if (here.kernel().wake_descriptor() >= 0) {
      const std::scoped_lock lock(mutex);
      for (const signal_source* const each : sources) {
        loop& there = each->owner_loop();
        if ((each->set_ & bit_of(number)) == 0 || &there == &here) continue;
        there.post([this, id = each->id_, number] { deliver(id, number); });
      }
    }
    std::uint64_t last = 0;
    while (signal_source* const next = next_on(here, number, last)) {
      last = next->id_;
      next->arrived(number);
    }
  }

 private:
  /// The first on `here` that names `number` and was made after number `last`. Sources come and go
  /// on their own loop's thread only, so it can be told with the list unlocked, which may take
  /// its time: a task tree is written to a slow stderr.
  signal_source* next_on(const loop& here, int number, std::uint64_t last) noexcept {
    const std::scoped_lock lock(mutex);
    for (signal_source* const each : sources) {
      if (each->id_ > last && &each->owner_loop() == &here && (each->set_ & bit_of(number)) != 0) {
        return each;
      }
    }
    return nullptr;
  }
  signal_source* find(std::uint64_t id) noexcept {
    const std::scoped_lock lock(mutex);
    const auto found = std::ranges::find(sources, id, &signal_source::id_);
    return found == sources.end() ? nullptr : *found;
  }
  void deliver(std::uint64_t id, int number) noexcept {
    if (signal_source* const source = find(id)) source->arrived(number);
  }
};

detail::signal_source::signal_source(loop& on, std::span<const int> numbers)
    : read_(on, this), set_(set_of(numbers)) {
  const int descriptor = on.kernel().signals(numbers);
  if (descriptor < 0) {
    throw io_error(std::error_code(-descriptor, std::system_category()), "watch signals", {});
  }
  read_.descriptor = descriptor;
  try {
    block_on_other_loops(on, set_);
    signal_list::shared().add(*this);
  } catch (...) {
    on.kernel().close(descriptor);
    throw;
  }
}

detail::signal_source::~signal_source() = default;

const detail::operation_type detail::signal_source::read_type{
    "wait for signals", prepare, complete, nullptr, false, settled};

void detail::signal_source::prepare(operation& slot, io_uring_sqe& sqe) noexcept {
  auto& source = *static_cast<signal_source*>(slot.owner);
  ::io_uring_prep_read(&sqe, slot.descriptor, source.record_, record_size, 0);
}

void detail::signal_source::complete(operation& slot, int result, unsigned) noexcept {
  auto& source = *static_cast<signal_source*>(slot.owner);
  // EINTR, EAGAIN: another source of the same signal was quicker. ECANCELED: close().
  RILL_ASSERT(result == static_cast<int>(record_size) || result == -EINTR || result == -EAGAIN ||
                  result == -ECANCELED,
              "a signal could not be read");
  if (result > 0) {
    std::uint32_t number = 0;  // ssi_signo, the first member
    std::memcpy(&number, source.record_, sizeof(number));
    signal_list::shared().pass_on(source, static_cast<int>(number));
  }
  if (source.closing_) {
    settled(slot);
  } else {
    source.arm();
  }
}

void detail::signal_source::settled(operation& slot) noexcept {
  auto& source = *static_cast<signal_source*>(slot.owner);
  if (!source.closing_ || !slot.is_settled()) return;
  slot.owner_loop().kernel().close(slot.descriptor);
  source.closed();
}

void detail::signal_source::arm() noexcept { read_.submit(read_type); }

void detail::signal_source::close() noexcept {
  closing_ = true;
  signal_list::shared().remove(*this);
  if (read_.in_flight()) {
    read_.request_cancel();
  } else {
    settled(read_);
  }
}

/// What a `signals` holds: it outlives the object until the kernel has answered the last read.
class signals::state final : public detail::signal_source, public detail::loop_object {
 public:
  state(loop& on, std::span<const int> numbers) : signal_source(on, numbers) {
    on.object_opened(*this);
    arm();
  }

  void describe(std::string& text) const override { text += "signals"; }

  task<int> next() {
    while (pending_ == 0) {
      any_.reset();
      co_await any_.wait();
    }
    const int number = std::countr_zero(pending_) + 1;
    pending_ &= pending_ - 1;
    co_return number;
  }

 private:
  void arrived(int number) noexcept override {
    pending_ |= bit_of(number);
    any_.set();
  }
  void closed() noexcept override {
    owner_loop().object_closed(*this);
    delete this;
  }

  event any_;
  std::uint64_t pending_ = 0;
};

signals::signals(std::initializer_list<int> numbers)
    : state_(new state(loop::current(), {numbers.begin(), numbers.size()})) {}

signals::signals(signals&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}

signals& signals::operator=(signals&& other) noexcept {
  if (this != &other) {
    if (state_ != nullptr) state_->close();
    state_ = std::exchange(other.state_, nullptr);
  }
  return *this;
}

signals::~signals() {
  if (state_ != nullptr) state_->close();
}

task<int> signals::next() { return state_->next(); }

}  // namespace rill
