// Descriptors in tests: how many are open, and how many may be.
#pragma once

#include <sys/resource.h>
#include <unistd.h>

#include <cstddef>
#include <filesystem>
#include <iterator>
#include <optional>

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

}  // namespace rill::test
