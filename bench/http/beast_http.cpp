// HTTP by Boost.Beast on Boost.Asio with C++20 coroutines, on its epoll reactor: a whole parser and
// serializer, as Beast's own examples use them.

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>

#include <ctime>
#include <string>

#include "server.h"

namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;

const std::string& date() {
  static std::time_t written = 0;
  static std::string text;
  const std::time_t now = std::time(nullptr);
  if (now != written) {
    written = now;
    tm parts{};
    ::gmtime_r(&now, &parts);
    char line[40];
    std::strftime(line, sizeof line, "%a, %d %b %Y %H:%M:%S GMT", &parts);
    text = line;
  }
  return text;
}

asio::awaitable<void> answer(tcp::socket socket) {
  beast::flat_buffer buffer;
  boost::system::error_code error;
  for (;;) {
    http::request<http::empty_body> asked;
    co_await http::async_read(socket, buffer, asked,
                              asio::redirect_error(asio::use_awaitable, error));
    if (error) co_return;
    const bool found = asked.target() == "/plaintext";
    http::response<http::string_body> made(found ? http::status::ok : http::status::not_found,
                                           asked.version());
    made.set(http::field::date, date());
    made.set(http::field::server, "beast");
    made.set(http::field::content_type, "text/plain");
    made.keep_alive(asked.keep_alive());
    made.body() = found ? "Hello, World!" : "Not Found";
    made.prepare_payload();
    co_await http::async_write(socket, made, asio::redirect_error(asio::use_awaitable, error));
    if (error || !made.keep_alive()) co_return;
  }
}

asio::awaitable<void> accept_all(tcp::acceptor& acceptor) {
  boost::system::error_code error;
  for (;;) {
    tcp::socket socket =
        co_await acceptor.async_accept(asio::redirect_error(asio::use_awaitable, error));
    if (error) continue;
    socket.set_option(tcp::no_delay(true));
    asio::co_spawn(acceptor.get_executor(), answer(std::move(socket)), asio::detached);
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::uint16_t port = 0;
  CLI::App app{"HTTP by Boost.Beast."};
  app.add_option("--port", port, "port on 127.0.0.1, 0 for any free one");
  bench::parse_or_exit(app, argc, argv);

  bench::raise_descriptor_limit();
  asio::io_context context(1);
  tcp::acceptor acceptor(context);
  const tcp::endpoint endpoint(asio::ip::address_v4::loopback(), port);
  acceptor.open(endpoint.protocol());
  acceptor.set_option(tcp::acceptor::reuse_address(true));
  acceptor.bind(endpoint);
  acceptor.listen(4096);
  asio::co_spawn(context, accept_all(acceptor), asio::detached);
  bench::announce_ready(acceptor.local_endpoint().port());
  context.run();
}
