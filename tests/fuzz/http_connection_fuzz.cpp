// A whole connection of an HTTP server in a simulated world, whose client sends what the input
// says, in pieces and with pauses. The answers are taken apart by a reader written a second time:
// they are well-formed, one for each request at most, and what the handlers gave; a client that
// does not read makes the server wait; the session ends and leaves nothing.
#include <algorithm>
#include <cctype>
#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fuzz/input.h"
#include "fuzz/world.h"
#include "support/http_answers.h"
#include <rill/net/tcp.h>
#include <rill/protocols/http/files.h>
#include <rill/protocols/http/form.h>
#include <rill/protocols/http/router.h>
#include <rill/protocols/http/session.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/sim/faults.h>
#include <rill/runtime/sleep.h>

namespace {

using namespace std::chrono_literals;
using rill::endpoint;
using rill::task;
using rill::fuzz::check;
namespace http = rill::http;

constexpr std::size_t buffer_size = 16 * 1024;  // of each end of the connection
constexpr std::size_t large_size = 40'000;
/// What may be on its way to a client that reads nothing: two buffers, answers that are collected,
/// and the one that is too large for them.
constexpr std::size_t unread_max = 2 * buffer_size + 32 * 1024 + large_size + 32 * 1024;

const std::string large(large_size, 'L');

// ---------------------------------------------------------------- the server

/// A request that was handled, and the body of its answer if the handler knows.
struct handled {
  std::string method;
  std::optional<std::string> body;
};

class recording final : public http::service {
 public:
  recording() {
    routes_.post("/echo", [this](http::request& asked) { return echo(asked); });
    routes_.get("/large", [this](http::request&) { return give(large); });
    routes_.post("/ignore", [this](http::request&) { return give("ignored"); });
    routes_.get("/stream/{name}", [this](http::request& asked) { return stream(asked); });
    routes_.get("/files/{path...}", http::files("/srv/www"));
    routes_.post("/upload", upload);
    routes_.get("/throw", [](http::request&) -> http::answer { throw std::runtime_error("no"); });
  }

  http::answer handle(http::request& asked) override {
    all.push_back({std::string(asked.method()), {}});
    return routes_.handle(asked);
  }

  std::vector<handled> all;
  std::size_t produced_size = 0;

 private:
  http::response give(std::string body) {
    produced_size += body.size();
    all.back().body = body;
    return http::response::text(std::move(body));
  }
  task<http::response> echo(http::request& asked) {
    std::string body = co_await asked.read_body();
    co_return give(std::move(body));
  }
  http::answer stream(http::request& asked) {
    const std::string name(asked.parameter("name"));
    all.back().body = name + name + name;
    return http::response::stream(
        [name](http::body_writer& to) -> task<> {
          for (int i = 0; i < 3; ++i) {
            co_await to.write(rill::const_buffer(name));
            if (i == 1) co_await to.flush();
          }
        },
        "text/plain");
  }
  static task<http::response> upload(http::request& asked) {
    const http::upload got = co_await http::read_upload(asked, "/var");
    co_return http::response(201);
  }

  http::router routes_;
};

task<> serve_one(recording& service) {
  http::session_options options;
  options.head = {1024, 2048, 32};
  options.body.size_max = 1024;
  options.on_error = [](const http::request&, const std::exception_ptr&) {};
  auto listener = rill::tcp_listener::bind(endpoint(rill::address::any_v4(), 80));
  auto peer = co_await listener.accept();
  co_await http::session(std::move(peer), service, options);
}

// ---------------------------------------------------------------- the client

/// What the input says about the client.
struct manners {
  bool is_deaf;    ///< reads nothing until all is sent, or cannot be
  bool half_ends;  ///< says that nothing follows; otherwise waits until the server leaves
  bool leaves;     ///< once all is sent
  std::chrono::nanoseconds pause;
  std::size_t piece_size;  ///< 0: all at once
};

task<> send_all(rill::tcp_stream& stream, std::string_view text, manners how) {
  try {
    while (!text.empty()) {
      const std::size_t size = how.piece_size == 0 ? text.size() : how.piece_size;
      co_await stream.write_all(text.substr(0, size));
      text.remove_prefix(std::min(size, text.size()));
      if (how.pause != 0s) co_await rill::sleep_for(how.pause);
    }
    if (how.half_ends) co_await stream.shutdown_write();
  } catch (const rill::io_error&) {
    // The server has left.
  }
}

task<> converse(std::string_view text, manners how, const recording& service,
                std::string& received) {
  auto stream = co_await rill::tcp_stream::connect(endpoint(*rill::address::parse("10.0.0.1"), 80));
  co_await rill::with_nursery([&](rill::nursery& both) -> task<> {
    both.start([&]() { return send_all(stream, text, how); });
    if (how.is_deaf) {
      co_await rill::sleep_for(1s);
      check(service.produced_size <= unread_max, "who does not read makes the server wait");
    }
    if (how.leaves) {
      both.cancel();
      co_return;
    }
    try {
      while (rill::lease bytes = co_await stream.read_lease()) received += bytes.text();
    } catch (const rill::io_error&) {
      // What had come before it counts.
    }
    both.cancel();
  });
}

/// How many requests there are at most. nullopt: a head says something about its body that is not a
/// plain Content-Length.
std::optional<std::size_t> count_requests(std::string_view text) {
  constexpr std::string_view length = "content-length:";
  for (std::size_t count = 0;; ++count) {
    const std::size_t end = text.find("\r\n\r\n");
    if (end == text.npos) return count;
    std::string head(text.substr(0, end + 2));
    for (char& each : head)
      each = static_cast<char>(std::tolower(static_cast<unsigned char>(each)));
    text.remove_prefix(end + 4);
    if (head.find("transfer-encoding") != head.npos) return std::nullopt;
    const std::size_t at = head.find(length);
    if (at == head.npos) continue;
    const std::string value =
        head.substr(at + length.size(), head.find("\r\n", at) - at - length.size());
    const bool is_plain = value.size() >= 2 && value.size() < 6 && value[0] == ' ' &&
                          value.find_first_not_of("0123456789", 1) == value.npos &&
                          head.find(length, at + 1) == head.npos;
    if (!is_plain) return std::nullopt;
    text.remove_prefix(std::min<std::size_t>(std::stoul(value), text.size()));
  }
}

void check_answers(std::string_view text, const std::string& received, const recording& service,
                   bool has_left) {
  std::vector<std::string> methods;
  for (const handled& each : service.all) methods.push_back(each.method);
  const auto answers = rill::test::read_http_answers(received, methods);
  const std::optional<std::size_t> count = count_requests(text);
  check(service.all.size() <= count.value_or(text.size()), "no request comes out of a body");
  check(answers.size() <= service.all.size() + 1, "one answer for each request, and a refusal");
  for (std::size_t i = 0; i < answers.size(); ++i) {
    const rill::test::http_answer& each = answers[i];
    const bool is_last = i + 1 == answers.size();
    // A refused HEAD has no body; of what was refused the reader here does not know the method.
    const bool may_be_head =
        i >= service.all.size() && each.body.empty() && text.find("HEAD ") != text.npos;
    check(each.is_whole || each.is_unframed || may_be_head, "an answer is whole");
    check(!each.is_unframed || is_last, "what lasts until the end is the last");
    check(each.find("connection") != "close" || is_last, "nothing follows what was the last");
    if (i >= service.all.size()) {
      check(each.status >= 400, "what was not handled is refused");
      check(each.find("connection") == "close", "a refusal is the last answer");
    } else if (each.status == 200 && service.all[i].body && service.all[i].method != "HEAD") {
      check(each.body == *service.all[i].body, "an answer is what its handler gave");
    }
  }
  check(has_left || answers.size() >= service.all.size(), "what was handled is answered");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t size_max = 4096;
  if (size > size_max) return -1;
  rill::fuzz::input from(data, size);
  const unsigned how = from.byte();
  manners manner{};
  manner.is_deaf = (how & 1U) != 0;
  manner.half_ends = (how & 2U) == 0;
  manner.leaves = (how & 4U) != 0;
  manner.pause = (how & 8U) == 0 ? 0ns : (how & 16U) == 0 ? 300us : 4s;
  manner.piece_size = from.number(255);
  const std::string_view text = from.rest();
  recording service;
  std::string received;
  rill::sim::world_options options = rill::fuzz::small_world();
  options.send_buffer_size = options.receive_buffer_size = buffer_size;
  rill::fuzz::in_a_world(
      1,
      [&](rill::sim::world& world) {
        auto& server = world.add_host("server", "10.0.0.1");
        auto& client = world.add_host("client", "10.0.0.2");
        server.write_file("/srv/www/index.html", "index");
        server.write_file("/srv/www/large.txt", large);
        server.write_file("/var/other", "x");
        std::vector<rill::sim::fault_guard> shaken;
        if ((how & 32U) != 0) {
          shaken.push_back(world.inject(rill::sim::short_transfers().sometimes(0.3)));
          shaken.push_back(world.inject(rill::sim::early_end().sometimes(0.3)));
        }
        auto& session = server.run(serve_one, std::ref(service));
        world.run_for(100us);
        world.run(client.run(converse, text, manner, std::cref(service), std::ref(received)));
        world.run(session);
        check(server.descriptor_count() == 1, "no descriptor is left but the ring's");
      },
      options);
  check_answers(text, received, service, manner.leaves);
  return 0;
}
