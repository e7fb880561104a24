// refused: deleted .*tcp_stream
#include <utility>

#include <rill/net/tcp.h>

rill::tcp_stream given_on(rill::tcp_stream& inner) {
#ifdef ALLOWED
  rill::tcp_stream other = std::move(inner);
#else
  rill::tcp_stream other = inner;
#endif
  return other;
}
