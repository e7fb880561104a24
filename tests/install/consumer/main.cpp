// Uses a little of every library, so that a missing header, archive or dependency shows.
#include <rill/net/tcp.h>
#include <rill/net/tls/stream.h>
#include <rill/protocols/echo/echo.h>
#include <rill/protocols/smtp/auth.h>
#include <rill/runtime/run.h>
#include <rill/runtime/sim/world.h>
#include <rill/runtime/task.h>

rill::task<> nothing() { co_return; }

int main() {
  const rill::tls::client_context trusted;
  if (rill::smtp::hmac_md5("key", "text").size() != 32) return 1;
  return rill::run(nothing);
}
