// refused: give the operation itself
#include <array>
#include <chrono>

#include <rill/net/tcp.h>
#include <rill/runtime/timeout.h>

rill::task<> read(rill::tcp_stream& peer) {
  std::array<char, 8> buffer;
#ifdef ALLOWED
  co_await rill::with_timeout(std::chrono::seconds(1), peer.read(buffer));
#else
  auto reading = peer.read(buffer);
  co_await rill::with_timeout(std::chrono::seconds(1), reading);
#endif
}
