// refused: (no matching|could not convert|no known conversion)
#include <rill/net/tcp.h>

rill::task<> read(rill::tcp_stream& peer) {
#ifdef ALLOWED
  char buffer[8] = "literal";
  co_await peer.read(buffer);
#else
  co_await peer.read("literal");
#endif
}
