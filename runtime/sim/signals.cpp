// Reading signals. See signals.h.
#include <rill/runtime/sim/signals.h>

#include <poll.h>
#include <sys/signalfd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <rill/runtime/sim/kernel.h>
#include <rill/runtime/sim/node.h>

namespace rill::sim::detail {

signal_file::signal_file(sim_kernel& of, std::span<const int> numbers)
    : node_(&of.host()), kernel_(&of), numbers_(numbers.begin(), numbers.end()) {
  node_->add_signal_file(*this);
}

signal_file::~signal_file() { node_->remove_signal_file(*this); }

void signal_file::add(int number) {
  // A signal that is pending already is not counted twice (signal(7), standard signals).
  if (std::find(pending_.begin(), pending_.end(), number) == pending_.end()) {
    pending_.push_back(number);
  }
  changed(true, false);
}

unsigned signal_file::poll_state() noexcept { return pending_.empty() ? 0U : unsigned{POLLIN}; }

progress signal_file::attempt(request& tried) {
  if (tried.opcode != IORING_OP_READ || tried.pieces.empty() ||
      tried.pieces[0].iov_len < sizeof(signalfd_siginfo)) {
    tried.owner->finish(tried, -EINVAL);
    return progress::finished;
  }
  if (pending_.empty()) return progress::would_block;
  const std::size_t room = tried.pieces[0].iov_len / sizeof(signalfd_siginfo);
  auto* into = static_cast<std::byte*>(tried.pieces[0].iov_base);
  std::size_t count = 0;
  for (; count < room && !pending_.empty(); ++count) {
    signalfd_siginfo record{};
    record.ssi_signo = static_cast<std::uint32_t>(pending_.front());
    pending_.pop_front();
    std::memcpy(into + count * sizeof(record), &record, sizeof(record));
  }
  tried.owner->finish(tried, static_cast<int>(count * sizeof(signalfd_siginfo)));
  return progress::finished;
}

}  // namespace rill::sim::detail
