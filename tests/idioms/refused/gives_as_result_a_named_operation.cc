// refused: give the operation itself
#include <array>

#include <rill/net/tcp.h>
#include <rill/runtime/operation.h>

rill::task<> read(rill::tcp_stream& peer) {
  std::array<char, 8> buffer;
#ifdef ALLOWED
  static_cast<void>(co_await rill::as_result(peer.read(buffer)));
#else
  auto reading = peer.read(buffer);
  static_cast<void>(co_await rill::as_result(reading));
#endif
}
