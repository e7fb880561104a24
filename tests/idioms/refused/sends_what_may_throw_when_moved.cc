// refused: send what moves without throwing
#include <rill/runtime/channel.h>

struct value {
  value() = default;
  value(const value&) {}
#ifdef ALLOWED
  value(value&&) noexcept {}
#endif
};

rill::task<> body(rill::channel<value>& queue) { co_await queue.receive(); }
