// Asks a web server for a page over a bare TCP stream and prints the first 200 characters of what
// comes: what a browser does at the bottom. How it is done in earnest: http_client.cpp.
//
//   build/release/bin/simple_web_client www.example.org       HTTP/1.1 200 OK ...
//   build/release/bin/simple_web_client localhost /index.html --port 8080
#include <chrono>
#include <cstdio>
#include <string>

#include "program.h"
#include <rill/net/connect.h>
#include <rill/runtime/run.h>
#include <rill/runtime/timeout.h>

namespace {

struct options {
  std::string host;
  std::string path = "/";
  std::string port = "80";
  std::chrono::milliseconds timeout = std::chrono::seconds(10);
  std::string kernel = "auto";
};

rill::task<std::string> simple_web_client(const options& chosen) {
  // 1. and 2.: pick up the telephone and dial.
  rill::tcp_stream server = co_await rill::connect(chosen.host, chosen.port);
  // 3.: start talking.
  const std::string request =
      "GET " + chosen.path + " HTTP/1.1\r\nHost: " + chosen.host + "\r\n\r\n";
  co_await server.write_all(request);
  // 4.: listen for the answer, or for its beginning.
  std::string response(1024, ' ');
  response.resize(co_await server.read(rill::mutable_buffer(response)));
  // 5.: hang up.
  co_await server.close();
  co_return response;
}

rill::task<> print_page(const options& chosen) {
  const std::string page = co_await rill::with_timeout(chosen.timeout, simple_web_client(chosen));
  std::printf("%.200s\n", page.c_str());
}

}  // namespace

int main(int argc, char** argv) {
  options chosen;
  CLI::App app("Prints the first 200 characters of what the web server on HOST answers.");
  app.add_option("HOST", chosen.host, "name or address")->required();
  app.add_option("PATH", chosen.path, "the page (/)");
  app.add_option("--port", chosen.port, "port number or service name (80)");
  program::add_duration(app, "--timeout", chosen.timeout, "for all of it (10s)");
  program::add_kernel(app, chosen.kernel);
  program::parse_or_exit(app, argc, argv);

  rill::run_options how;
  how.kernel = chosen.kernel;
  return rill::run(how, print_page, std::cref(chosen));
}
