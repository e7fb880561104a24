// refused: (no matching|could not convert|no known conversion)
#include <span>
#include <vector>

#include <rill/net/tcp.h>

rill::task<> write(rill::tcp_stream& peer, const std::vector<int>& numbers) {
#ifdef ALLOWED
  co_await peer.write_all(std::as_bytes(std::span(numbers)));
#else
  co_await peer.write_all(numbers);
#endif
}
