// Signals of a host, read from a descriptor as signalfd(2) has it.
#pragma once

#include <cstdint>
#include <deque>
#include <set>
#include <span>

#include <rill/runtime/sim/file.h>

namespace rill::sim::detail {

class node;
class sim_kernel;

class signal_file final : public file {
 public:
  signal_file(sim_kernel& of, std::span<const int> numbers);
  ~signal_file() override;

  const sim_kernel& reader() const noexcept { return *kernel_; }
  bool wants(int number) const noexcept { return numbers_.count(number) != 0; }
  void add(int number);
  unsigned poll_state() noexcept override;

 protected:
  progress attempt(request& tried) override;

 private:
  node* node_;  // which outlives the kernels
  const sim_kernel* kernel_;
  std::set<int> numbers_;
  std::deque<int> pending_;
};

}  // namespace rill::sim::detail
