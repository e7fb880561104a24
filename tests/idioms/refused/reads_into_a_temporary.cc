// refused: (no matching|could not convert|no known conversion)
#include <string>

#include <rill/net/tcp.h>

rill::task<> read(rill::tcp_stream& peer) {
#ifdef ALLOWED
  std::string text(8, ' ');
  co_await peer.read(text);
#else
  co_await peer.read(std::string(8, ' '));
#endif
}
