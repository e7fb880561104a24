// Which kernel a loop gets. See kernel.h.
#include <rill/runtime/kernel.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>

namespace rill {
namespace {

std::unique_ptr<kernel> best_kernel() {
  const std::string obstacle = uring_obstacle();
  if (obstacle.empty()) return make_uring_kernel();
  static std::atomic<bool> told{false};
  if (!told.exchange(true)) {
    const std::string line =
        std::string(::program_invocation_short_name) + ": running on epoll, for " + obstacle + '\n';
    std::fputs(line.c_str(), stderr);
  }
  return make_epoll_kernel();
}

}  // namespace

std::unique_ptr<kernel> make_kernel(std::string_view name) {
  if (name == "auto" || name.empty()) {
    const char* const wanted = std::getenv("RILL_KERNEL");
    name = wanted == nullptr ? std::string_view("auto") : std::string_view(wanted);
    if (name == "auto" || name.empty()) return best_kernel();
  }
  if (name == "uring") return make_uring_kernel();
  if (name == "epoll") return make_epoll_kernel();
  throw std::invalid_argument("no kernel is called '" + std::string(name) +
                              "'; there are: auto, uring, epoll");
}

}  // namespace rill
