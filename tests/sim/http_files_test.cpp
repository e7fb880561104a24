// Files over HTTP in virtual time: a reader that is slow and steady, every interaction with the
// kernel failing once, and many seeds of weather. What must hold: an answer is whole and right, or
// its client can tell.
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "sim/echo.h"
#include "sim/storm.h"
#include "support/scenarios.h"
#include <rill/net/serve.h>
#include <rill/protocols/http/files.h>
#include <rill/protocols/http/head.h>
#include <rill/protocols/http/router.h>
#include <rill/protocols/http/session.h>
#include <rill/runtime/sim/exhaustive.h>
#include <rill/runtime/sim/seeds.h>
#include <rill/runtime/sim/world.h>
#include <rill/runtime/sleep.h>

namespace rill {
namespace {

using namespace std::chrono_literals;
using sim::require;
using test::at;
using test::patience;

std::string make_content() {
  std::string made(100'000, ' ');
  for (std::size_t i = 0; i < made.size(); ++i) {
    made[i] = static_cast<char>('a' + (i * 7 + i / 256) % 26);
  }
  return made;
}
const std::string content = make_content();

/// Writes the files down before anything can fail.
void add_files(sim::host& server) {
  server.write_file("/srv/www/page.txt", content);
  server.write_file("/srv/www/folder/index.html", "index");
}

task<> file_service() {
  http::router routes;
  routes.get("/files/{path...}", http::files("/srv/www"));
  http::session_options options;
  options.on_error = [](const http::request&, const std::exception_ptr&) {};
  auto listener = tcp_listener::bind(at("0.0.0.0:80"));
  const auto handle = [&](tcp_stream peer) {
    return http::session(std::move(peer), routes, options);
  };
  co_await serve(listener, handle);
}

constexpr std::string_view requests =
    "GET /files/page.txt HTTP/1.1\r\nHost: a\r\n\r\n"  // by sendfile
    "GET /files/page.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=10-99,50000-50999\r\n\r\n"
    "GET /files/folder/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// Everything that comes until the end, or until the connection fails.
task<> ask_for_files(endpoint where, std::string& received) {
  auto stream = co_await with_timeout(patience, tcp_stream::connect(where));
  co_await with_timeout(patience, stream.write_all(const_buffer(requests)));
  for (;;) {
    const auto bytes = co_await with_timeout(patience, stream.read_lease());
    if (bytes.empty()) break;
    received += bytes.text();
  }
}

/// Part by part of a body of multipart/byteranges: right as far as it goes.
void check_parts(std::string_view body) {
  const std::string first = content.substr(10, 90);
  const std::string second = content.substr(50'000, 1000);
  const std::size_t one = body.find("\r\n\r\n");
  if (one == body.npos) return;
  body.remove_prefix(one + 4);
  require(first.starts_with(body.substr(0, first.size())), "the first part is of the file");
  const std::size_t two = body.find("\r\n\r\n");
  if (two == body.npos) return;
  body.remove_prefix(two + 4);
  require(second.starts_with(body.substr(0, second.size())), "the second part is of the file");
}

/// How many answers are whole. Throws if one is wrong, or belongs to another request.
int count_answers(std::string_view received, bool is_undisturbed) {
  int whole = 0;
  for (; whole < 3; ++whole) {
    http::response_head head;
    const http::parse_state state = head.parse(received, "GET");
    if (state == http::parse_state::incomplete) break;
    require(state == http::parse_state::complete, "what comes is HTTP");
    received.remove_prefix(head.size());
    const std::string_view body = received.substr(0, head.content_length());
    if (head.status() == 503 || head.status() == 500 || head.status() == 403) {
      require(!is_undisturbed, "undisturbed, nothing is refused");
    } else if (whole == 0) {
      require(head.status() == 200 && head.content_length() == content.size(), "the page");
      require(content.starts_with(body), "what comes is the file");
    } else if (whole == 1) {
      require(head.status() == 206, "ranges");
      check_parts(body);
    } else {
      require(head.status() == 200 && std::string_view("index").starts_with(body), "the index");
    }
    if (body.size() < head.content_length()) break;  // cut: so nothing may follow
    received.remove_prefix(body.size());
  }
  require(whole != 3 || received.empty(), "nothing comes that was not asked for");
  return whole;
}

TEST(sim_http_files, every_answer_is_whole_or_its_client_can_tell_at_every_point) {
  sim::exhaustive_options options;
  options.world.send_buffer_size = 16 * 1024;
  options.world.receive_buffer_size = 16 * 1024;
  const sim::exhaustive_report report = sim::every_point(
      "files over http",
      [](sim::trial& run) {
        sim::host& server = run.world().add_host("server", "10.0.0.1");
        sim::host& client = run.world().add_host("client", "10.0.0.2");
        add_files(server);
        std::string received;
        server.run(file_service);
        run.settle(1ms);
        auto& session =
            client.run([&]() -> task<> { co_await ask_for_files(at("10.0.0.1:80"), received); });
        run.run(session, server);
        const int whole = count_answers(received, run.is_undisturbed());
        require(!run.is_undisturbed() || whole == 3, "undisturbed, all answers are whole");
      },
      options);
  std::printf("[   points ] %s\n", report.summary.c_str());
  EXPECT_EQ(report.failure, "");
}

TEST(sim_property_http_files, every_answer_is_whole_or_its_client_can_tell_in_any_weather) {
  const std::string failure = sim::run_seeds(test::many_seeds, [](std::uint64_t seed) {
    sim::world world(seed);
    sim::host& server = world.add_host("server", "10.0.0.1");
    sim::host& client = world.add_host("client", "10.0.0.2");
    add_files(server);
    std::string received;
    test::storm weather(world, seed);
    weather.shake_kernels();
    weather.shake_network();
    server.run(file_service);
    world.run_for(1ms);
    auto& session = client.run([&]() -> task<> {
      try {
        co_await ask_for_files(at("10.0.0.1:80"), received);
      } catch (const io_error&) {  // the client has been told
      }
    });
    world.run(session);
    count_answers(received, false);
  });
  EXPECT_EQ(failure, "");
}

/// The status of an answer about a file, when opening it fails once, or always.
int status_when_opening_fails(int number, bool always) {
  sim::world world(1);
  sim::host& server = world.add_host("server", "10.0.0.1");
  sim::host& client = world.add_host("client", "10.0.0.2");
  add_files(server);
  server.run(file_service);
  world.run_for(1ms);
  const sim::fault failing = sim::failure("openat2", number);
  const auto guard = world.inject(always ? failing : failing.only(1));
  int status = 0;
  auto& asking = client.run([&]() -> task<> {
    auto stream = co_await tcp_stream::connect(at("10.0.0.1:80"));
    co_await stream.write_all("GET /files/page.txt HTTP/1.1\r\nHost: a\r\n\r\n");
    const lease bytes = co_await stream.read_lease();
    status = std::stoi(std::string(bytes.text().substr(9, 3)));
  });
  world.run(asking);
  return status;
}

TEST(sim_http_files, a_file_that_cannot_be_opened_is_answered_by_its_errno) {
  EXPECT_EQ(status_when_opening_fails(EACCES, false), 403);
  EXPECT_EQ(status_when_opening_fails(EIO, false), 500);
  EXPECT_EQ(status_when_opening_fails(EMFILE, false), 503);
  EXPECT_EQ(status_when_opening_fails(ENFILE, false), 503);
  EXPECT_EQ(status_when_opening_fails(ENOMEM, false), 503);
  EXPECT_EQ(status_when_opening_fails(EAGAIN, false), 200);  // another file was renamed
  EXPECT_EQ(status_when_opening_fails(EAGAIN, true), 503);
}

TEST(sim_http_files, a_slow_but_steady_reader_gets_its_file) {
  sim::world_options options;
  options.send_buffer_size = 16 * 1024;
  options.receive_buffer_size = 16 * 1024;
  sim::world world(1, options);
  sim::host& server = world.add_host("server", "10.0.0.1");
  sim::host& client = world.add_host("client", "10.0.0.2");
  add_files(server);
  server.run(file_service);
  world.run_for(1ms);
  std::string received;
  auto& reading = client.run([&]() -> task<> {
    auto stream = co_await tcp_stream::connect(at("10.0.0.1:80"));
    co_await stream.write_all(requests.substr(0, requests.find("GET", 1)));
    char room[4096];
    while (received.size() < content.size() + 200) {
      const std::size_t came = co_await stream.read(room);
      if (came == 0) break;
      received.append(room, came);
      co_await sleep_for(5s);  // in all many times the limit for one that stands still
    }
  });
  world.run(reading);
  EXPECT_GT(world.now(), 100s);
  EXPECT_TRUE(received.ends_with(content)) << received.size();
}

}  // namespace
}  // namespace rill
