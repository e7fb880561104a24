// The HTTP client in a simulated world, whose server sends what the input says, whatever it is
// asked: in pieces, cut off, unasked. A request ends in time, with a client_error or with a
// response that is whole by its framing, as a reader written a second time sees it, and within the
// limits; the pool is in order and nothing is left.
#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fuzz/input.h"
#include "fuzz/world.h"
#include "support/http_answers.h"
#include <rill/net/buffered.h>
#include <rill/net/tcp.h>
#include <rill/protocols/http/client.h>
#include <rill/protocols/http/cookies.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/sim/faults.h>
#include <rill/runtime/sleep.h>

namespace {

using namespace std::chrono_literals;
using rill::endpoint;
using rill::task;
using rill::fuzz::check;
namespace http = rill::http;

constexpr std::size_t body_max = 32 * 1024;
constexpr auto patience = 20s;

// ---------------------------------------------------------------- the server

/// In the input: the next request is waited for; the connection ends, and what follows is for the
/// next one.
constexpr std::string_view waits = "\xff\xfe";
constexpr std::string_view ends = "\xff\xff";

/// Takes off what stands before `mark`, and the mark.
std::string_view take_until(std::string_view& text, std::string_view mark) {
  const std::size_t at = text.find(mark);
  const std::string_view taken = text.substr(0, at);
  text.remove_prefix(at == text.npos ? text.size() : at + mark.size());
  return taken;
}

/// What the input says about the server.
struct script {
  std::string_view text;
  bool closes;  ///< after the last byte; otherwise it waits until the client leaves
  std::size_t piece_size;
  std::chrono::nanoseconds pause;
};

task<> play(rill::tcp_stream peer, std::string_view text, script how) {
  try {
    rill::buffered_reader<rill::tcp_stream> reader(peer);
    while (!text.empty()) {
      if (!co_await reader.read_until("\r\n\r\n", 64 * 1024)) co_return;
      for (std::string_view part = take_until(text, waits); !part.empty();) {
        const std::size_t size = how.piece_size == 0 ? part.size() : how.piece_size;
        co_await peer.write_all(part.substr(0, size));
        part.remove_prefix(std::min(size, part.size()));
        if (how.pause != 0s) co_await rill::sleep_for(how.pause);
      }
    }
    if (how.closes) co_return;
    while (rill::lease bytes = co_await peer.read_lease()) {
    }
  } catch (const rill::io_error&) {
    // The client has left.
  }
}

task<> serve(script how) {
  auto listener = rill::tcp_listener::bind(endpoint(rill::address::any_v4(), 80));
  co_await rill::with_nursery([&](rill::nursery& sessions) -> task<> {
    for (;;) {
      auto peer = co_await listener.accept();
      sessions.start(play, std::move(peer), take_until(how.text, ends), how);
    }
  });
}

// ---------------------------------------------------------------- the client

/// What the input says about the client.
struct errand {
  std::string method;
  bool reads_pieces;
  int count;
  unsigned redirect_max;
};

struct outcome {
  std::optional<int> status;  // of the last response
  std::string body;
  bool is_decoded = false;
};

void check_response(const http::client_response& got, const std::string& body,
                    const std::string& method) {
  check(body.size() <= body_max, "a body is no larger than its limit");
  const http::response_head& head = got.head();
  if (got.find("content-encoding") || method == "HEAD" || head.status() == 304) return;
  if (head.framing() == http::body_framing::length) {
    check(body.size() == head.content_length(), "a body is as long as it was said to be");
  }
}

task<> ask_once(http::client& client, const errand& asked, outcome& last) {
  http::client_request request(asked.method, "http://10.0.0.1/path");
  if (asked.method == "POST") request.text("a body");
  request.redirect_max(asked.redirect_max);
  if (!asked.reads_pieces) {
    const http::client_response got = co_await client.send(request);
    check_response(got, got.body(), asked.method);
    last.status = got.status();
    last.body = got.body();
    last.is_decoded = got.find("content-encoding").has_value();
    co_return;
  }
  http::client_response got = co_await client.open(request);
  std::string body = co_await got.read_body(body_max);
  check_response(got, body, asked.method);
  last.status = got.status();
  last.body = std::move(body);
  last.is_decoded = got.find("content-encoding").has_value();
}

task<> run_errand(const errand& asked, outcome& last) {
  http::cookie_jar cookies;
  http::client_options options;
  options.proxies.emplace();
  options.cookies = &cookies;
  options.body_size_max = body_max;
  options.head = {1024, 2048, 32};
  options.timeouts.connect = options.timeouts.idle = 5s;
  options.timeouts.total = patience;
  http::client client(options);
  for (int i = 0; i < asked.count; ++i) {
    last = {};
    const auto begin = rill::loop_clock::now();
    try {
      co_await ask_once(client, asked, last);
    } catch (const http::client_error& error) {
      check(bool(error.code()), "an error says what happened");
    }
    check(rill::loop_clock::now() - begin <= patience + 1s, "a request ends in time");
    check(client.connection_count() == client.idle_count(), "the pool has every connection");
  }
}

/// Ends a line with LF alone somewhere, which the client takes and the reader does not.
bool has_bare_line(std::string_view text) {
  for (std::size_t at = text.find('\n'); at != text.npos; at = text.find('\n', at + 1)) {
    if (at == 0 || text[at - 1] != '\r') return true;
  }
  return false;
}

/// Whoever sees a response where the second reader sees none, or another, has been fooled. What a
/// server may not send the reader refuses, and the client may be lenient.
void compare(std::string_view sent, const std::string& method, const outcome& got) {
  if (!got.status) return;
  rill::test::http_answer right;
  try {
    rill::test::http_answer_reader reader(sent);
    do {
      if (!reader.next(method, right)) {
        check(has_bare_line(sent), "a response has a head");
        return;
      }
    } while (right.status < 200);
  } catch (const rill::sim::promise_broken&) {
    return;
  }
  check(right.is_whole || right.is_unframed, "a response is whole");
  check(*got.status == right.status, "a response has its status");
  check(got.is_decoded || got.body == right.body, "a response has its body");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t size_max = 4096;
  if (size > size_max) return -1;
  rill::fuzz::input from(data, size);
  const unsigned how = from.byte();
  const char* const methods[] = {"GET", "HEAD", "POST", "GET"};
  const errand asked{methods[how & 3U], (how & 3U) == 3, (how & 16U) == 0 ? 1 : 2,
                     (how & 32U) == 0 ? 0U : 3U};
  script plan{};
  plan.closes = (how & 4U) != 0;
  plan.pause = (how & 8U) == 0 ? 0ns : 1ms;
  plan.piece_size = from.number(255);
  plan.text = from.rest();
  outcome last;
  rill::fuzz::in_a_world(1, [&](rill::sim::world& world) {
    auto& server = world.add_host("server", "10.0.0.1");
    auto& client = world.add_host("client", "10.0.0.2");
    std::vector<rill::sim::fault_guard> shaken;
    if ((how & 64U) != 0) {
      shaken.push_back(world.inject(rill::sim::short_transfers().sometimes(0.3)));
      shaken.push_back(world.inject(rill::sim::early_end().sometimes(0.3)));
    }
    server.run(serve, plan);
    world.run_for(100us);
    world.run(client.run(run_errand, std::cref(asked), std::ref(last)));
    check(client.descriptor_count() == 1, "no descriptor is left but the ring's");
  });
  const bool is_plain = plan.text.find('\xff') == plan.text.npos;
  // What comes after the next request was sent cannot be told from its answer.
  const bool is_at_once = plan.piece_size == 0 && (how & 64U) == 0;
  if (is_plain && asked.redirect_max == 0) {
    if (asked.count == 1) compare(plan.text, asked.method, last);
    check(asked.count == 1 || !is_at_once || !last.status,
          "what came unasked answers no later request");
  }
  return 0;
}
