// Echo by Debian's standalone Asio with C++20 coroutines, on its epoll reactor: the peer that most
// people would otherwise use.
//
// Written as Asio's own coroutine example is, with errors as values (use_awaitable would throw at
// every end of a connection) and the executor's concurrency hint for one thread.

// This Asio (1.22) knows C++20 coroutines by name on g++ only; clang has to be told.
#define ASIO_HAS_CO_AWAIT 1
#define ASIO_HAS_STD_COROUTINE 1
#define ASIO_NO_DEPRECATED 1
#include <memory>

#include <asio.hpp>
#include <asio/experimental/as_tuple.hpp>

#include "server.h"

namespace {

using asio::ip::tcp;

constexpr auto as_result = asio::experimental::as_tuple(asio::use_awaitable);

// A buffer for each connection is Asio's idiom. It is left uninitialised, so pages that a
// connection never touches cost no memory.
constexpr std::size_t buffer_size = 64 * 1024;

asio::awaitable<void> echo(tcp::socket socket) {
  auto buffer = std::make_unique_for_overwrite<char[]>(buffer_size);
  for (;;) {
    auto [read_error, got] =
        co_await socket.async_read_some(asio::buffer(buffer.get(), buffer_size), as_result);
    if (read_error) co_return;
    auto [write_error, sent] =
        co_await asio::async_write(socket, asio::buffer(buffer.get(), got), as_result);
    if (write_error) co_return;
  }
}

asio::awaitable<void> accept_all(tcp::acceptor& acceptor) {
  for (;;) {
    auto [error, socket] = co_await acceptor.async_accept(as_result);
    if (error) continue;
    socket.set_option(tcp::no_delay(true));
    asio::co_spawn(acceptor.get_executor(), echo(std::move(socket)), asio::detached);
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::uint16_t port = 0;
  CLI::App app{"Echo by Asio coroutines."};
  app.add_option("--port", port, "port on 127.0.0.1, 0 for any free one");
  bench::parse_or_exit(app, argc, argv);

  bench::raise_descriptor_limit();
  asio::io_context context(1);
  tcp::acceptor acceptor(context);
  tcp::endpoint endpoint(asio::ip::address_v4::loopback(), port);
  acceptor.open(endpoint.protocol());
  acceptor.set_option(tcp::acceptor::reuse_address(true));
  acceptor.bind(endpoint);
  acceptor.listen(4096);
  asio::co_spawn(context, accept_all(acceptor), asio::detached);
  bench::announce_ready(acceptor.local_endpoint().port());
  context.run();
}
