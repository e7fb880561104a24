// A server's session by itself, asked by a client that knows no more than bytes: bodies both ways,
// streams, files, uploads, one after the other and pipelined. Every point made to fail, and many
// seeds of weather. What must hold: answers come in the order of their requests, each is that to
// its request and whole, or the client can tell; what the disk was said to hold it holds.
#include <chrono>
#include <cstdio>
#include <exception>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/echo.h"
#include "sim/storm.h"
#include "support/http_answers.h"
#include "support/scenarios.h"
#include <rill/protocols/http/files.h>
#include <rill/protocols/http/form.h>
#include <rill/protocols/http/router.h>
#include <rill/protocols/http/session.h>
#include <rill/runtime/sim/exhaustive.h>
#include <rill/runtime/sim/world.h>
#include <rill/runtime/sleep.h>

namespace rill {
namespace {

using namespace std::chrono_literals;
using sim::require;
using test::at;
using test::http_answer;
using test::patience;

/// Bytes that belong to one request.
std::string content_of(int number, std::size_t size) {
  std::string made = std::to_string(number) + ':';
  for (std::size_t i = 0; made.size() < size; ++i) {
    made += static_cast<char>('a' + (i + i / 100 + static_cast<std::size_t>(number)) % 26);
  }
  return made;
}
const std::string page = content_of(0, 40'000);  // goes out by sendfile
constexpr std::size_t body_size = 20'000;
constexpr std::size_t part_size = 5'000;

// ---------------------------------------------------------------- the server

int number_of(const http::request& asked) {
  return std::stoi(std::string(asked.parameter("number")));
}

task<http::response> echo_body(http::request& asked) {
  co_return http::response::text(co_await asked.read_body());
}

http::answer stream_body(http::request& asked) {
  return http::response::stream(
      [whole = content_of(number_of(asked), body_size)](http::body_writer& to) -> task<> {
        for (std::size_t at = 0; at < whole.size(); at += part_size) {
          co_await to.write(const_buffer(std::string_view(whole).substr(at, part_size)));
          co_await sleep_for(1ms);
        }
      },
      "text/plain");
}

task<http::response> keep_upload(http::request& asked) {
  http::upload got = co_await http::read_upload(asked, "/var");
  require(got.files().size() == 1, "one file comes");
  co_await got.files().front().save_as("/var/kept" + std::to_string(number_of(asked)));
  co_return http::response(201);
}

/// One listener after the other: in bad weather it may not be had at once.
task<> serve_until_cancelled(http::service& all) {
  http::session_options options;
  options.on_error = [](const http::request&, const std::exception_ptr&) {};
  serve_limits limits;
  limits.on_error = [](const endpoint&, std::exception_ptr) {};
  for (;;) {
    try {
      auto listener = tcp_listener::bind(at("0.0.0.0:80"));
      co_await http::serve(listener, all, options, limits);
    } catch (const io_error&) {
    }
    co_await sleep_for(10ms);
  }
}

task<> web_service(http::handler echo, http::handler stream) {
  http::router routes;
  routes.post("/echo/{number}", std::move(echo)).get("/stream/{number}", std::move(stream));
  routes.post("/upload/{number}", keep_upload).get("/files/{path...}", http::files("/srv/www"));
  co_await serve_until_cancelled(routes);
}

// ---------------------------------------------------------------- the client

enum class kind { echo, chunked_echo, stream, page, range, head, upload, nothing };
constexpr std::uint64_t last_kind = static_cast<std::uint64_t>(kind::nothing);

std::string with_length(const std::string& start, const std::string& body) {
  return start + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

std::string chunked(const std::string& body) {
  char size[20];
  std::string made;
  for (std::size_t at = 0; at < body.size(); at += part_size) {
    const std::string part = body.substr(at, part_size);
    std::snprintf(size, sizeof(size), "%zx\r\n", part.size());
    made += size + part + "\r\n";
  }
  return made + "0\r\n\r\n";
}

struct question {
  kind what;
  int number;

  std::string text() const {
    const std::string id = std::to_string(number);
    const std::string rest = " HTTP/1.1\r\nHost: a\r\n";
    const std::string body = content_of(number, body_size);
    switch (what) {
      case kind::echo:
        return with_length("POST /echo/" + id + rest, body);
      case kind::chunked_echo:
        return "POST /echo/" + id + rest + "Transfer-Encoding: chunked\r\n\r\n" + chunked(body);
      case kind::stream:
        return "GET /stream/" + id + rest + "\r\n";
      case kind::page:
        return "GET /files/page.txt" + rest + "\r\n";
      case kind::range:
        return "GET /files/page.txt" + rest + "Range: bytes=" + id + "-20000\r\n\r\n";
      case kind::head:
        return "HEAD /files/page.txt" + rest + "\r\n";
      case kind::upload:
        return with_length(
            "POST /upload/" + id + rest + "Content-Type: multipart/form-data; boundary=b\r\n",
            "--b\r\nContent-Disposition: form-data; name=f; filename=x\r\n\r\n" + body +
                "\r\n--b--");
      default:
        return "GET /nothing/" + id + rest + "\r\n";
    }
  }
  int status() const {
    return what == kind::upload    ? 201
           : what == kind::range   ? 206
           : what == kind::nothing ? 404
                                   : 200;
  }
  std::string answer() const {
    if (what == kind::page) return page;
    if (what == kind::range)
      return page.substr(static_cast<std::size_t>(number),
                         20'001U - static_cast<std::size_t>(number));
    if (what == kind::nothing) return "Not Found\n";
    return what == kind::head || what == kind::upload ? "" : content_of(number, body_size);
  }
};

/// One connection, what is asked on it, and what has come back.
struct visit {
  std::vector<question> asked;
  bool is_pipelined = false;
  std::string received;

  std::vector<http_answer> answers() const {
    std::vector<std::string> methods;
    for (const question& each : asked)
      methods.emplace_back(each.what == kind::head ? "HEAD" : "GET");
    return test::read_http_answers(received, methods);
  }
  std::size_t whole_count() const {
    const auto all = answers();
    return all.size() - (!all.empty() && !all.back().is_whole ? 1U : 0U);
  }
  /// Throws unless what came are the answers, in order, each of them right as far as it goes.
  /// `confirmed` gets the numbers of the uploads that were.
  void check(std::vector<int>& confirmed) const {
    const auto all = answers();
    require(all.size() <= asked.size(), "nothing comes that was not asked for");
    for (std::size_t i = 0; i < all.size(); ++i) {
      const http_answer& got = all[i];
      const std::string right = asked[i].answer();
      require(got.is_whole || i + 1 == all.size(), "nothing follows an answer that is cut");
      if (got.status >= 500 || got.status == 403) continue;  // descriptors, memory, the disk
      require(got.status == asked[i].status(), "an answer is that to its request");
      require(right.starts_with(got.body), "a body is that to its request");
      require(!got.is_whole || got.body == right, "an answer that seems whole is whole");
      if (asked[i].what == kind::upload && got.is_whole) confirmed.push_back(asked[i].number);
    }
  }
};

/// Sends what is to be sent at once, and reads until all of it is answered or the server leaves.
task<> ask(tcp_stream& stream, std::string text, visit& so_far, std::size_t count, bool& goes_on) {
  co_await with_nursery([&](nursery& both) -> task<> {
    both.start([&]() -> task<> { co_await with_timeout(patience, stream.write_all(text)); });
    while (so_far.whole_count() < count) {
      const lease bytes = co_await with_timeout(patience, stream.read_lease());
      goes_on = !bytes.empty();
      if (!goes_on) break;
      so_far.received += bytes.text();
    }
    if (!goes_on) both.cancel();
  });
}

task<> ask_all(visit& so_far) {
  auto stream = co_await with_timeout(patience, tcp_stream::connect(at("10.0.0.1:80")));
  bool goes_on = true;
  std::string text;
  for (std::size_t i = 0; i < so_far.asked.size() && goes_on; ++i) {
    text += so_far.asked[i].text();
    if (so_far.is_pipelined && i + 1 != so_far.asked.size()) continue;
    co_await ask(stream, std::exchange(text, {}), so_far, i + 1, goes_on);
  }
  if (!goes_on) co_return;
  co_await with_timeout(patience, stream.shutdown_write());
  while (lease bytes = co_await with_timeout(patience, stream.read_lease())) {
    so_far.received += bytes.text();
  }
}

/// Written down before anything can fail.
void add_files(sim::host& server) {
  server.write_file("/srv/www/page.txt", page);
  server.write_file("/var/other", "x");
}

void check_disk(const sim::host& server, const visit& so_far, const std::vector<int>& confirmed) {
  for (const question& each : so_far.asked) {
    const std::string path = "/var/kept" + std::to_string(each.number);
    const bool is_there = each.what == kind::upload && server.has_file(path);
    const bool is_confirmed =
        std::find(confirmed.begin(), confirmed.end(), each.number) != confirmed.end();
    require(!is_there || server.read_file(path) == content_of(each.number, body_size),
            "a file is whole or is not there");
    require(!is_confirmed || is_there, "what was confirmed is there");
  }
}

// ---------------------------------------------------------------- every point

void one_connection(sim::trial& run, bool is_pipelined) {
  sim::host& server = run.world().add_host("server", "10.0.0.1");
  sim::host& client = run.world().add_host("client", "10.0.0.2");
  add_files(server);
  visit made;
  made.is_pipelined = is_pipelined;
  for (std::uint64_t i = 0; i <= last_kind; ++i) {
    made.asked.push_back({static_cast<kind>(i), static_cast<int>(i + 1)});
  }
  server.run(web_service, http::handler(echo_body), http::handler(stream_body));
  run.settle(1ms);
  run.run(client.run(ask_all, std::ref(made)), server);
  std::vector<int> confirmed;
  made.check(confirmed);
  require(!run.is_undisturbed() || made.whole_count() == made.asked.size(),
          "undisturbed, all is answered");
  if (!server.is_down()) check_disk(server, made, confirmed);
}

TEST(sim_http_session_points, bodies_both_ways_on_one_connection) {
  const sim::exhaustive_report report = sim::every_point(
      "http bodies both ways", [](sim::trial& run) { one_connection(run, false); });
  std::printf("[   points ] %s\n", report.summary.c_str());
  EXPECT_EQ(report.failure, "");
}

TEST(sim_http_session_points, pipelined_requests) {
  const sim::exhaustive_report report =
      sim::every_point("http pipelined", [](sim::trial& run) { one_connection(run, true); });
  std::printf("[   points ] %s\n", report.summary.c_str());
  EXPECT_EQ(report.failure, "");
}

// ---------------------------------------------------------------- many seeds

/// A connection or two of drawn requests in the weather of this seed.
void visit_in_a_storm(std::uint64_t seed, const http::handler& echo, const http::handler& stream) {
  visit made;
  std::vector<int> confirmed;
  sim::world world(seed);
  sim::host& server = world.add_host("server", "10.0.0.1");
  sim::host& client = world.add_host("client", "10.0.0.2");
  add_files(server);
  test::storm weather(world, seed);
  server.run(web_service, echo, stream);
  world.run_for(1ms);
  weather.shake_kernels();
  weather.shake_network();
  const bool is_calm = weather.draw(2) == 0;
  if (!is_calm) {
    weather.break_connections();
    weather.shake_disk(server);
  }
  made.is_pipelined = weather.draw(1) == 0;
  const int count = static_cast<int>(1 + weather.draw(5));
  for (int i = 1; i <= count; ++i) {
    made.asked.push_back({static_cast<kind>(weather.draw(last_kind)), i});
  }
  sim::program& session = client.run([&]() -> task<> {
    try {
      co_await ask_all(made);
    } catch (const io_error&) {
      // The client was told.
    }
  });
  if (!is_calm && weather.draw(3) == 0) {
    world.run_for(weather.moment(20ms));
    server.crash();
    server.restart();
  }
  world.run(session);
  made.check(confirmed);
  require(!is_calm || made.whole_count() == made.asked.size(), "what TCP hides costs no answer");
  check_disk(server, made, confirmed);
}

TEST(sim_property_http_session,
     answers_are_those_to_their_requests_and_whole_or_the_client_can_tell) {
  const std::string failure = sim::run_seeds(
      test::many_seeds, [](std::uint64_t seed) { visit_in_a_storm(seed, echo_body, stream_body); });
  EXPECT_EQ(failure, "");
}

/// A request whose body comes later than its head, about when the server begins to drain.
void upload_into_a_drain(std::uint64_t seed) {
  sim::world world(seed);
  auto& server = world.add_host("server", "10.0.0.1");
  auto& client = world.add_host("client", "10.0.0.2");
  test::storm weather(world, seed);
  auto& service = server.run([]() -> task<> {
    http::router routes;
    routes.post("/", echo_body);
    auto listener = tcp_listener::bind(at("0.0.0.0:80"));
    co_await http::serve(listener, routes);
  });
  world.run_for(1ms);
  weather.shake_kernels();
  std::string received;
  sim::program& session = client.run([&]() -> task<> {
    auto stream = co_await with_timeout(patience, tcp_stream::connect(at("10.0.0.1:80")));
    co_await sleep_for(1ms + weather.moment(200us));
    try {
      co_await stream.write_all("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nfirst");
      co_await sleep_for(3ms);
      co_await stream.write_all("-last");
      while (lease bytes = co_await with_timeout(patience, stream.read_lease())) {
        received += bytes.text();
      }
    } catch (const io_error&) {
      // It came too late.
    }
  });
  world.run_for(1ms + weather.moment(1ms));
  service.cancel();
  world.run(session);
  world.run(service);
  require(received.empty() ||
              (received.starts_with("HTTP/1.1 200 ") && received.ends_with("\r\n\r\nfirst-last")),
          "a request is answered as if nothing was drained, or not at all");
}

TEST(sim_property_http_session, a_drain_cuts_no_body_of_a_request_whose_head_has_come) {
  EXPECT_EQ(sim::run_seeds(test::many_seeds, upload_into_a_drain), "");
}

TEST(sim_property_http_session, canary_a_server_that_swaps_two_answers_is_caught) {
  const auto swapped = [](http::request& asked) -> http::answer {
    return http::response::text(content_of(number_of(asked) ^ 1, body_size));
  };
  const std::string failure = sim::run_seeds(
      test::many_seeds, [&](std::uint64_t seed) { visit_in_a_storm(seed, echo_body, swapped); });
  EXPECT_THAT(failure, testing::HasSubstr("not kept: a body is that to its request"));
}

TEST(sim_property_http_session,
     canary_a_server_that_ends_half_a_body_as_if_it_were_whole_is_caught) {
  const auto half = [](http::request& asked) -> http::answer {
    return http::response::stream(
        [whole = content_of(number_of(asked), body_size)](http::body_writer& to) -> task<> {
          co_await to.write(const_buffer(std::string_view(whole).substr(0, part_size)));
        },
        "text/plain");
  };
  const std::string failure = sim::run_seeds(
      test::many_seeds, [&](std::uint64_t seed) { visit_in_a_storm(seed, echo_body, half); });
  EXPECT_THAT(failure, testing::HasSubstr("not kept: an answer that seems whole is whole"));
}

}  // namespace
}  // namespace rill
