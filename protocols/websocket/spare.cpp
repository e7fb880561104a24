// See spare.h.
#include <rill/protocols/websocket/spare.h>

#include <utility>
#include <vector>

namespace rill::websocket::detail {
namespace {

/// Few, for a message is read and answered before the next connection's turn, and none too large.
constexpr std::size_t spare_max = 16;
constexpr std::size_t spare_size_max = 64 * 1024;

std::vector<std::string>& spares() {
  thread_local std::vector<std::string> all;
  return all;
}

}  // namespace

std::string take_spare_string() {
  std::vector<std::string>& all = spares();
  if (all.empty()) return {};
  std::string taken = std::move(all.back());
  all.pop_back();
  return taken;
}

void give_spare_string(std::string& from) noexcept {
  std::string given = std::exchange(from, std::string());
  std::vector<std::string>& all = spares();
  if (given.capacity() <= sizeof(std::string) || given.capacity() > spare_size_max) return;
  if (all.capacity() == 0) {
    try {
      all.reserve(spare_max);
    } catch (...) {
      return;
    }
  }
  if (all.size() == spare_max) return;
  given.clear();
  all.push_back(std::move(given));
}

}  // namespace rill::websocket::detail
