// An upload over HTTP with every interaction, moment and allocation made to fail: what the client
// was told is true, and the disk holds a whole file or none. See every_point_test.cpp.
#include <chrono>
#include <cstdio>
#include <exception>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "sim/echo.h"
#include "support/scenarios.h"
#include <rill/net/serve.h>
#include <rill/net/tcp.h>
#include <rill/protocols/http/form.h>
#include <rill/protocols/http/router.h>
#include <rill/protocols/http/session.h>
#include <rill/runtime/sim/exhaustive.h>

namespace rill {
namespace {

using namespace std::chrono_literals;
using sim::require;
using test::at;
using test::patience;

const std::string content(70'000, 'x');

task<http::response> take_upload(http::request& asked) {
  http::upload got = co_await http::read_upload(asked, "/var");
  require(got.files().size() == 1, "one file comes");
  co_await got.files().front().save_as("/var/kept");
  co_return http::response(201);
}

task<> upload_service() {
  http::router routes;
  routes.post("/", take_upload);
  http::session_options options;
  options.on_error = [](const http::request&, const std::exception_ptr&) {};
  auto listener = tcp_listener::bind(at("0.0.0.0:80"));
  co_await serve(listener,
                 [&](tcp_stream peer) { return http::session(std::move(peer), routes, options); });
}

/// Gives the status line of the answer in `status`.
task<> upload(std::string& status) {
  const std::string body =
      "--b\r\nContent-Disposition: form-data; name=f; filename=x\r\n\r\n" + content + "\r\n--b--";
  const std::string head = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: " +
                           std::to_string(body.size()) +
                           "\r\nContent-Type: multipart/form-data; boundary=b\r\n\r\n";
  auto stream = co_await with_timeout(patience, tcp_stream::connect(at("10.0.0.1:80")));
  co_await with_timeout(patience, stream.write_all(head + body));
  std::string answer;
  for (;;) {
    const auto part = co_await with_timeout(patience, stream.read_lease());
    if (part.empty()) break;
    answer += part.text();
  }
  if (answer.find("\r\n\r\n") != answer.npos) status = answer.substr(0, answer.find('\r'));
}

/// The file as it is on the host; empty without it.
std::string kept_on(const sim::host& server) {
  try {
    return server.read_file("/var/kept");
  } catch (const std::exception&) {
    return {};
  }
}

void one_upload(sim::trial& run) {
  sim::host& server = run.world().add_host("server", "10.0.0.1");
  sim::host& client = run.world().add_host("client", "10.0.0.2");
  server.write_file("/var/other", "x");
  std::string status;
  server.run(upload_service);
  run.settle(1ms);
  run.run(client.run(upload, std::ref(status)), server);
  const std::string kept = kept_on(server);
  require(kept.empty() || kept == content, "a file is whole or is not there");
  require(status != "HTTP/1.1 201 Created" || kept == content, "what was confirmed is there");
  require(!run.is_undisturbed() || status == "HTTP/1.1 201 Created",
          "undisturbed, an upload is taken");
}

TEST(sim_http_points, upload) {
  const sim::exhaustive_report report = sim::every_point("http upload", one_upload);
  std::printf("[   points ] %s\n", report.summary.c_str());
  EXPECT_EQ(report.failure, "");
}

}  // namespace
}  // namespace rill
