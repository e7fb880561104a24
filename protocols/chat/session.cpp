// The parts of a session that do not depend on its stream; see session.h.
#include <rill/protocols/chat/session.h>

#include <cstddef>

namespace rill::chat::detail {

std::string joined(const std::vector<shared_bytes>& pieces) {
  std::size_t size = 0;
  for (const shared_bytes& each : pieces) size += each->size();
  std::string all;
  all.reserve(size);
  for (const shared_bytes& each : pieces) all += *each;
  return all;
}

}  // namespace rill::chat::detail
