// HTTP by Debian's standalone Asio with C++20 coroutines, on its epoll reactor, with the minimal
// parser (minimal_http.h): what Asio's loop allows, whatever stands on it.

#define ASIO_HAS_CO_AWAIT 1  // see asio_echo.cpp
#define ASIO_HAS_STD_COROUTINE 1
#define ASIO_NO_DEPRECATED 1
#include <memory>
#include <string_view>

#include <asio.hpp>
#include <asio/experimental/as_tuple.hpp>

#include "minimal_http.h"
#include "server.h"

namespace {

using asio::ip::tcp;

constexpr auto as_result = asio::experimental::as_tuple(asio::use_awaitable);
constexpr std::size_t buffer_size = 16 * 1024;

bench::answer_block block;

asio::awaitable<void> answer(tcp::socket socket) {
  auto buffer = std::make_unique_for_overwrite<char[]>(buffer_size);
  bench::request_counter requests;
  for (;;) {
    auto [read_error, got] =
        co_await socket.async_read_some(asio::buffer(buffer.get(), buffer_size), as_result);
    if (read_error) co_return;
    const std::size_t count = requests.count({buffer.get(), got});
    if (count == 0) continue;
    const std::string_view due = block.answers(std::min(count, bench::answer_block::count_max));
    auto [write_error, sent] =
        co_await asio::async_write(socket, asio::buffer(due.data(), due.size()), as_result);
    if (write_error) co_return;
  }
}

asio::awaitable<void> accept_all(tcp::acceptor& acceptor) {
  for (;;) {
    auto [error, socket] = co_await acceptor.async_accept(as_result);
    if (error) continue;
    socket.set_option(tcp::no_delay(true));
    asio::co_spawn(acceptor.get_executor(), answer(std::move(socket)), asio::detached);
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::uint16_t port = 0;
  CLI::App app{"HTTP by Asio coroutines, minimal parser."};
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
