// Descriptors in tests: how many are open, and how many may be.
#pragma once

#include <sys/resource.h>
#include <unistd.h>

#include <cstddef>
#include <filesystem>
#include <iterator>
#include <optional>
#include <vector>

namespace rill::test {

/// Descriptors that are open in this process, one more for the look itself.
inline std::size_t open_descriptor_count() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

/// As many descriptors as the system gives, or fewer, for the life of this object.
class descriptor_limit {
 public:
  explicit descriptor_limit(std::optional<rlim_t> limit = std::nullopt) {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    rlimit wanted = before_;
    wanted.rlim_cur = limit.value_or(before_.rlim_max);
    ::setrlimit(RLIMIT_NOFILE, &wanted);
  }
  descriptor_limit(const descriptor_limit&) = delete;
  descriptor_limit& operator=(const descriptor_limit&) = delete;
  ~descriptor_limit() { ::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

/// The number that the next descriptor will have.
inline rlim_t next_descriptor() {
  const int next = ::dup(0);
  ::close(next);
  return static_cast<rlim_t>(next);
}

/// Leaves this process room for so many descriptors more, for as long as it lives.
class few_descriptors {
 public:
  explicit few_descriptors(int left) {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    // Fills the gaps below, so that only the numbers just freed are left.
    for (int i = 0; i < 64; ++i) fill_.push_back(::dup(0));
    rlimit now = before_;
    now.rlim_cur = static_cast<rlim_t>(fill_.back()) + 1;
    for (int i = 0; i < left; ++i) {
      ::close(fill_.back());
      fill_.pop_back();
    }
    ::setrlimit(RLIMIT_NOFILE, &now);
  }
  few_descriptors(const few_descriptors&) = delete;
  few_descriptors& operator=(const few_descriptors&) = delete;
  ~few_descriptors() {
    ::setrlimit(RLIMIT_NOFILE, &before_);
    for (const int each : fill_) ::close(each);
  }

 private:
  rlimit before_{};
  std::vector<int> fill_;
};

}  // namespace rill::test
