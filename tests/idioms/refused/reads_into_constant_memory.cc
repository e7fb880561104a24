// refused: (no matching|could not convert|no known conversion)
#include <array>

#include <rill/net/tcp.h>

rill::task<> read(rill::tcp_stream& peer) {
#ifdef ALLOWED
  std::array<char, 8> buffer{};
#else
  const std::array<char, 8> buffer{};
#endif
  co_await peer.read(buffer);
}
