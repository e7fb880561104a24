// refused: nodiscard
#include <rill/net/tcp.h>

rill::task<> greet(rill::tcp_stream& peer) {
#ifdef ALLOWED
  co_await peer.write_all("hello");
#else
  peer.write_all("hello");
  co_return;
#endif
}
